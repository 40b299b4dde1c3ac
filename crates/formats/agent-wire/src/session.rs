//! The session: frames after the handshake.

use crate::{
    Bytes32, Bytes64, HostFacts, InventoryReport, JobReport, OutputChunk, OutputWindow, PatchRunReport, SignedOrder,
    SignedTrust,
};
use identifiers::{JobId, Timestamp};
use serde::{Deserialize, Serialize};

/// The ids of heartbeats begin here, far beyond those of the spool and within what every JSON reader takes for a whole number.
/// A heartbeat without an id (0) is of an older agent and is not acknowledged.
pub const HEARTBEAT_ID_MIN: u64 = 1 << 52;

/// A message of the agent. The agent keeps it in its spool until the server has acknowledged its id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToServer {
    /// Counts up in each agent's spool; heartbeats are not kept there and count from [`HEARTBEAT_ID_MIN`]. The acknowledgement of a
    /// heartbeat holds for those before it. 0: not to be acknowledged.
    pub id: u64,
    /// The message.
    #[serde(flatten)]
    pub body: ToServerBody,
}

/// What the agent says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToServerBody {
    /// It is there.
    Heartbeat {
        /// The current boot.
        boot_id: String,
    },
    /// The host is not what it was at the handshake.
    Facts(Box<HostFacts>),
    /// The job is written down and will be run.
    JobAccepted {
        /// Which one.
        job_id: JobId,
    },
    /// The job will not be run.
    JobRefused {
        /// Which one.
        job_id: JobId,
        /// Why, as a sentence.
        reason: String,
        /// Why, for the server.
        #[serde(default, skip_serializing_if = "JobRefusal::is_other")]
        cause: JobRefusal,
    },
    /// A step begins.
    StepStarted {
        /// Of which job.
        job_id: JobId,
        /// Which step.
        step: String,
        /// When.
        at: Timestamp,
    },
    /// What a step has written, within the window that was opened for it. Not kept for sending, not acknowledged.
    Output(OutputChunk),
    /// The job is over.
    JobFinished(JobReport),
    /// A scan or an installation found this.
    PatchRun(Box<PatchRunReport>),
    /// What is installed.
    Inventory(Box<InventoryReport>),
    /// An order that was not obeyed because something is wrong with it (signature, node, expiry, incarnation).
    OrderRefused {
        /// What was wrong, as a sentence.
        reason: String,
        /// The job it named, if its signature holds and that much could be read.
        job_id: Option<JobId>,
    },
    /// The keys that the server announced are written down.
    TrustKept {
        /// Under which incarnation.
        incarnation: u64,
        /// Which announcement.
        serial: u64,
    },
    /// The node has made a new key for itself, and will show it in place of the one it has.
    NodeKey {
        /// The new key: Ed25519, public half.
        public_key: Bytes32,
        /// The signature of [`crate::node_key_text`] with the key that the node has so far.
        signature: Bytes64,
    },
    /// Whoever answered in the server's place was not the server; told to the server when it is found again.
    ImpostorMet {
        /// When, last.
        at: Timestamp,
        /// Where, as `HOST:PORT`.
        address: String,
        /// What gave it away, as a sentence.
        reason: String,
        /// How often since the server was last there.
        times: u32,
    },
    /// A kind of a newer agent.
    #[serde(other)]
    Unknown,
}

/// Why a job will not be run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobRefusal {
    /// The node's own policy forbids it.
    Policy,
    /// Anything else; also a cause of a newer agent.
    #[default]
    #[serde(other)]
    Other,
}

impl JobRefusal {
    /// Whether it says no more than agents of protocol 1 do; then it is left out, so that they are written as before.
    fn is_other(&self) -> bool {
        *self == Self::Other
    }
}

/// A message of the server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromServer {
    /// The message with this id is durable; the agent may forget it.
    Acknowledged {
        /// The message's id.
        id: u64,
    },
    /// The message with this id is of a kind this server does not know; the agent may forget it.
    Unsupported {
        /// The message's id.
        id: u64,
    },
    /// An order.
    Order(SignedOrder),
    /// Whom the node is to believe from now on; not said in protocol 1.
    Trust(SignedTrust),
    /// The server lacks the inventory a delta builds on: send all of it.
    InventoryWanted,
    /// How far the output of a running step may be sent; only to agents that can ([`crate::OUTPUT_LIVE`]).
    OutputWindow(OutputWindow),
    /// A kind of a newer server.
    #[serde(other)]
    Unknown,
}
