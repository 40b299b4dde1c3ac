use crate::{CommandState, RateLimit, Target};
use identifiers::{CommandId, DocumentName, NodeId, Timestamp};
use serde::Serialize;
use std::collections::BTreeMap;

/// The parameters of a document as the caller gave them: lists of strings throughout, as SSM has it.
pub type GivenParameters = BTreeMap<String, Vec<String>>;

/// One order to run a document on some nodes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Command {
    /// Its id.
    pub command_id: CommandId,
    /// Which document.
    pub document_name: DocumentName,
    /// The version as the caller wrote it: empty, `$DEFAULT`, `$LATEST` or a number.
    pub document_version: String,
    /// The version that this stood for when the command was sent: a number.
    pub document_version_resolved: String,
    /// For people.
    pub comment: String,
    /// As given; what was left out takes the document's defaults when it is resolved.
    pub parameters: GivenParameters,
    /// The nodes named by id; empty where targets were given.
    pub instance_ids: Vec<NodeId>,
    /// The targets as given.
    pub targets: Vec<Target>,
    /// How long a node has to take it (`TimeoutSeconds`).
    pub delivery_timeout_seconds: i64,
    /// How long its steps may run together.
    pub execution_timeout_seconds: i64,
    /// When it was sent.
    pub requested_at: Timestamp,
    /// From then on no invocation is begun.
    pub delivery_until: Timestamp,
    /// From then on every open invocation counts as not delivered: `requested_at` + both timeouts.
    pub expires_at: Timestamp,
    /// How many may be in flight at once.
    pub max_concurrency: RateLimit,
    /// How many errors are still borne; one more stops it.
    pub max_errors: RateLimit,
    /// How far it is.
    pub state: CommandState,
    /// How many nodes it is for.
    pub target_count: u32,
    /// How many of them are done, well or not.
    pub completed_count: u32,
    /// How many ended as Failed or ExecutionTimedOut.
    pub error_count: u32,
    /// How many ended as DeliveryTimedOut.
    pub delivery_timed_out_count: u32,
    /// When the whole of it was cancelled.
    pub cancel_requested_at: Option<Timestamp>,
    /// When it came to its end.
    pub finished_at: Option<Timestamp>,
    /// Who sent it.
    pub requested_by: String,
    /// The request that sent it.
    pub request_id: String,
}
