//! Documents, commands and their invocations: what may be sent, to how many at once, and how it ends.
//!
//! It decides whether parameters fit a document, what each step becomes, which invocations may start now, when one has
//! run out of time, and what a command's result is. It deliberately does not know how a job reaches a node, what a plugin
//! does there, or where rows and outputs are kept.

mod built_in;
mod command;
mod dispatch;
mod documents;
mod filters;
mod interpolation;
mod invocation;
mod live;
mod output;
mod parameters;
mod preconditions;
mod rate;
mod refused;
mod reports;
mod sending;
mod states;
mod steps;
mod targets;
mod transitions;
mod write;

pub use built_in::{BUILT_IN_OWNER, DocumentFilters, built_in_document, built_in_documents};
pub use command::{Command, GivenParameters};
pub use dispatch::{
    Advance, DispatchPlan, Tally, advance_command, cancel_command, command_status, is_stopped, plan_dispatch,
    restore_command, room,
};
pub use documents::{
    DOCUMENT_BYTES_MAX, Document, DocumentError, Platform, SchemaVersion, Step, document_name_of, no_such_document,
};
pub use filters::{CommandFilters, InvocationFilters};
pub use invocation::{Invocation, RESPONSE_CODE_UNKNOWN, StepOutcome, StepOutput};
pub use live::{LIVE_BYTES_MAX, LiveOutput, OutputPiece, OutputPosition, OutputStream, output_since};
pub use output::{KEPT_CHARS_MAX, LISTED_CHARS_MAX, STDERR_CHARS_MAX, STDOUT_CHARS_MAX};
pub use parameters::{Parameter, ParameterType, ParameterValue, ParameterValues, check_parameters};
pub use rate::RateLimit;
pub use refused::{Refused, refuse_unsupported};
pub use reports::{Report, StepText, apply_report};
pub use sending::{CommandRequest, DELIVERY_TIMEOUT_SECONDS_DEFAULT, TargetNode, send_command};
pub use states::{CommandState, EndState, InvocationState, OpenState, StepStatus, UnknownState};
pub use steps::{
    Disposition, EXECUTION_TIMEOUT_SECONDS_DEFAULT, ResolvedStep, execution_timeout_seconds, resolve_steps,
};
pub use targets::{Selector, Target, parse_targets, selects};
pub use transitions::{AgentRefusal, ImpossibleEvent, InvocationEvent, Outcome, Transition, outcome_of_steps};
pub use write::{Write, command_aggregate, invocation_aggregate};
