use crate::{InvocationState, StepStatus};
use identifiers::{CommandId, JobId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// `ResponseCode` of a step that has not ended.
pub const RESPONSE_CODE_UNKNOWN: i64 = -1;

/// How one step of a document went on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepOutcome {
    /// The step's name; for schema 1.2 the plugin's.
    pub name: String,
    /// The plugin (action) that runs it.
    pub plugin: String,
    /// How far it is.
    pub status: StepStatus,
    /// The exit code; [`RESPONSE_CODE_UNKNOWN`] before there is one.
    pub response_code: i64,
    /// When it began.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
}

/// A command on one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Invocation {
    /// Of which command.
    pub command_id: CommandId,
    /// On which node.
    pub node_id: NodeId,
    /// The node's name when the command was sent.
    pub instance_name: String,
    /// The job that the node gets; it never runs one twice.
    pub job_id: JobId,
    /// How far it is.
    pub state: InvocationState,
    /// Why it is so, for people; empty while there is nothing to say.
    pub trace: String,
    /// When the command was sent.
    pub requested_at: Timestamp,
    /// When it was first handed to a connection.
    pub sent_at: Option<Timestamp>,
    /// When the node began.
    pub started_at: Option<Timestamp>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// From then on it is not begun.
    pub delivery_until: Timestamp,
    /// From then on it counts as not delivered.
    pub expires_at: Timestamp,
    /// Its steps, in order.
    pub steps: Vec<StepOutcome>,
}

/// What one step wrote on one node. Kept apart from the invocation because it is large and read seldom.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct StepOutput {
    /// Of which command.
    pub command_id: CommandId,
    /// On which node.
    pub node_id: NodeId,
    /// The step's name.
    pub step: String,
    /// Its beginning of standard output.
    pub stdout: String,
    /// Its beginning of standard error.
    pub stderr: String,
    /// Whether standard output went on.
    pub stdout_truncated: bool,
    /// Whether standard error went on.
    pub stderr_truncated: bool,
}
