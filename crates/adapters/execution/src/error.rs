use std::path::{Path, PathBuf};

/// Why something could not be written down, read back or run.
#[derive(Debug, thiserror::Error)]
pub enum ExecutionError {
    /// The file system refused.
    #[error("{doing} {}: {source}", path.display())]
    File {
        /// What was being done, e.g. `writing`.
        doing: &'static str,
        /// To which file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file of ours does not hold what it should.
    #[error("{} is damaged: {reason}", path.display())]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The spool has no room for the message; nothing that matters may be dropped for it.
    #[error("the spool is full ({messages} messages, {bytes} bytes): the server has not taken them")]
    SpoolFull {
        /// How many messages wait.
        messages: usize,
        /// How large they are together.
        bytes: u64,
    },
    /// The system refused something that concerns no file.
    #[error("{doing}: {source}")]
    System {
        /// What was being done.
        doing: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
}

impl ExecutionError {
    pub(crate) fn file(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        move |source| Self::File { doing, path: path.to_owned(), source }
    }

    pub(crate) fn damaged(path: &Path, reason: impl std::fmt::Display) -> Self {
        Self::Damaged { path: path.to_owned(), reason: reason.to_string() }
    }
}
