use agent_wire::{RefusalCode, WireError};
use execution::ExecutionError;
use std::path::PathBuf;

/// Why the agent could not do something. The texts are for the log and for people.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Nothing answered, or the connection broke.
    #[error("not connected to {server}: {reason}")]
    Unreachable {
        /// What the system or the protocol said.
        reason: String,
        /// The server's address.
        server: String,
    },
    /// Whoever answers is not the server that this node belongs to; nothing was told to it.
    #[error("not connected: whoever answers at {server} is not our server: {reason}")]
    Impostor {
        /// What gave it away.
        reason: String,
        /// The address.
        server: String,
    },
    /// The server ended the conversation.
    #[error("not connected: the server refused ({code:?}): {message}")]
    Refused {
        /// Why, for the program.
        code: RefusalCode,
        /// Why, for people.
        message: String,
    },
    /// The other side does not keep to the protocol.
    #[error("not connected: {0}")]
    Protocol(String),
    /// A message cannot travel because it is too large, however compressed.
    #[error("the message is too large to be sent: {bytes} bytes")]
    TooLarge {
        /// Its size on the wire.
        bytes: usize,
    },
    /// There is a registration already.
    #[error("{} is registered already as {node}; --force makes a new registration and leaves the old node behind", path.display())]
    Registered {
        /// The data folder.
        path: PathBuf,
        /// The node's id, or what is known of it.
        node: String,
    },
    /// There is no registration.
    #[error("{} has no registration; run 'register' first", .0.display())]
    NotRegistered(PathBuf),
    /// Somebody else could change the data folder, and with it whom the agent believes and what it runs.
    #[error("{} is not used as the agent's data folder: {reason}", path.display())]
    ForeignFolder {
        /// The data folder.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Another agent uses the data folder.
    #[error("another agent is running with {}", .0.display())]
    AlreadyRunning(PathBuf),
    /// A file or the system refused.
    #[error(transparent)]
    Execution(#[from] ExecutionError),
    /// The operating system or the cryptographic library refused.
    #[error("{doing}: {reason}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What was said.
        reason: String,
    },
}

impl From<WireError> for AgentError {
    fn from(error: WireError) -> Self {
        Self::Protocol(error.to_string())
    }
}

impl AgentError {
    pub(crate) fn system(doing: &'static str, reason: impl std::fmt::Display) -> Self {
        Self::System { doing, reason: reason.to_string() }
    }
}
