//! Orders: what the server tells an agent to do, signed with the job key, so that whoever holds the socket cannot make
//! root run anything.

use crate::Bytes64;
use identifiers::{CommandId, JobId, NodeId, RequestId, Timestamp};
use patching::PatchBaseline;
use serde::{Deserialize, Serialize};

/// An order as it travels: the JSON text that was signed, byte for byte, and the signature.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedOrder {
    /// An [`Order`] as JSON.
    pub payload: String,
    /// The job key's signature of [`order_text`].
    pub signature: Bytes64,
}

/// What the job key signs.
#[must_use]
pub fn order_text(payload: &str) -> String {
    format!("careen order 1\n{payload}")
}

/// One order for one node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Order {
    /// The node it is for; any other refuses it.
    pub node_id: NodeId,
    /// The incarnation of the server's database; an older one than the agent has seen is refused.
    pub incarnation: u64,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// From then on it is refused.
    pub expires_at: Timestamp,
    /// The request that led to it.
    pub request_id: RequestId,
    /// What to do.
    pub body: OrderBody,
}

/// What to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "order", rename_all = "snake_case")]
pub enum OrderBody {
    /// Run this job once.
    Run(Job),
    /// Stop this job: its process tree ends, except for a running package transaction.
    Cancel {
        /// Which one.
        job_id: JobId,
    },
}

/// The steps of one invocation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// Unique; an agent runs each at most once.
    pub job_id: JobId,
    /// The command it belongs to.
    pub command_id: CommandId,
    /// The document's name, for logs.
    pub document_name: String,
    /// What to run, in order.
    pub steps: Vec<Step>,
}

/// One step with everything filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The step's name; results are asked for by it.
    pub name: String,
    /// The plugin's name as the document has it, e.g. `aws:runShellScript`.
    pub plugin: String,
    /// How long it may run, in seconds.
    pub timeout_seconds: u32,
    /// What to do.
    #[serde(flatten)]
    pub action: StepAction,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "snake_case")]
pub enum StepAction {
    /// Runs lines with `sh`.
    RunShellScript {
        /// The lines of the script.
        lines: Vec<String>,
        /// Where; empty: the job's own folder.
        working_directory: String,
    },
    /// Scans or patches.
    Patch(Box<PatchStep>),
    /// Does nothing because a precondition does not hold; reported as Skipped.
    Skip {
        /// Why, for the output.
        reason: String,
    },
}

/// A scan or an installation with the baseline that governs it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchStep {
    /// Scan or Install.
    pub operation: patching::PatchOperation,
    /// What may follow an installation.
    pub reboot_option: patching::RebootOption,
    /// The effective baseline, whole.
    pub baseline: PatchBaseline,
    /// The node's patch group; empty if it has none.
    pub patch_group: String,
    /// The snapshot id given with the command; empty if none.
    pub snapshot_id: String,
    /// What "if needed" means for this node; absent: as its agent was started. Agents that do not know this member go by
    /// that too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reboot_policy: Option<patching::RebootPolicy>,
}
