use crate::AgentError;
use crate::identity::{DirectoryLock, Identity};
use identifiers::{JobId, NodeId, Timestamp};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What a running agent says of itself: `status.json`, replaced at each change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentStatus {
    /// The agent's process id.
    pub pid: u32,
    /// The agent's version.
    pub version: String,
    /// The node's id.
    pub node_id: NodeId,
    /// The server's address.
    pub server: String,
    /// Whether it is connected, and since when that is so.
    pub connection: Connectedness,
    /// The last thing that went wrong with the connection or a job, and when.
    pub last_error: Option<(Timestamp, String)>,
    /// What it waits for or does next.
    pub next_action: String,
    /// The jobs that are not over.
    pub jobs: Vec<JobLine>,
    /// How many messages the server has not acknowledged.
    pub spooled_messages: usize,
    /// The server's clock minus this host's, in seconds.
    pub clock_offset_seconds: i64,
    /// What the node's own policy restricts; empty: nothing.
    #[serde(default)]
    pub policy: String,
    /// What of its limits can be enforced on this host.
    #[serde(default)]
    pub limits: String,
    /// When this was written.
    pub written_at: Timestamp,
}

/// Whether the agent is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum Connectedness {
    /// It is.
    Connected {
        /// Since when.
        since: Timestamp,
    },
    /// It is not.
    Disconnected {
        /// Since when.
        since: Timestamp,
    },
}

/// One job that is not over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JobLine {
    /// The job.
    pub job_id: JobId,
    /// Its document.
    pub document_name: String,
    /// How far it is, e.g. `queued`, `running step 1 of 2 (patch)`.
    pub progress: String,
}

pub(crate) fn path(data_directory: &Path) -> PathBuf {
    data_directory.join("status.json")
}

/// Replaces the status. It is not synced: after a loss of power nobody asks what was before.
pub(crate) fn write_status(data_directory: &Path, status: &AgentStatus) -> std::io::Result<()> {
    let (path, fresh) = (path(data_directory), data_directory.join("status.json.new"));
    std::fs::write(&fresh, serde_json::to_vec(status)?)?;
    std::fs::rename(fresh, path)
}

/// What the agent that runs with a data folder says of itself; `None` if none runs, or it has said nothing yet.
///
/// # Errors
/// When there is no registration, or the folder cannot be read.
pub fn read_status(data_directory: &Path) -> Result<Option<AgentStatus>, AgentError> {
    Identity::load(data_directory)?;
    if DirectoryLock::try_take(data_directory)?.is_some() {
        return Ok(None);
    }
    Ok(execution::durable::read_json(&path(data_directory), 4 << 20)?)
}
