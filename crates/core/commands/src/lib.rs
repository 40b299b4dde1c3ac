//! Documents, commands and their invocations: what may be sent, to how many at once, and how it ends.
//!
//! It decides whether parameters fit a document, what each step becomes, which invocations may start now, when one has
//! run out of time, and what a command's result is. It deliberately does not know how a job reaches a node, what a plugin
//! does there, or where rows and outputs are kept.

mod command;
mod invocation;
mod rate;
mod refused;
mod states;
mod targets;
mod write;

pub use command::{Command, GivenParameters};
pub use invocation::{Invocation, RESPONSE_CODE_UNKNOWN, StepOutcome, StepOutput};
pub use rate::RateLimit;
pub use refused::{Refused, refuse_unsupported};
pub use states::{CommandState, EndState, InvocationState, OpenState, StepStatus, UnknownState};
pub use targets::Target;
pub use write::{Write, command_aggregate, invocation_aggregate};
