use std::path::PathBuf;
use thiserror::Error;

/// Why a host cannot be read, refreshed or patched.
#[derive(Debug, Error)]
pub enum HostError {
    /// There is no dpkg database: not a Debian-like host.
    #[error("{} is not there: this host has no dpkg database, and other package managers are not supported yet", .path.display())]
    NoPackageDatabase {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// apt has no sources.
    #[error("apt has no package sources (sources.list(5)), so nothing is known of updates")]
    NoSources,
    /// None of the lists that the sources name could be read, so nothing is known of updates. Never the same as no updates.
    #[error("no package lists in {}: nothing is known of updates; run apt-get update{hint}", .folder.display())]
    NoPackageLists {
        /// Where they were looked for.
        folder: PathBuf,
        /// What else is known, e.g. why the refresh failed; empty or starting with a separator.
        hint: String,
    },
    /// Changing packages needs root.
    #[error("installing needs root, and this agent does not run as root; it can scan only")]
    NotPrivileged,
    /// Another patch operation or package transaction did not end in time.
    #[error("{what} did not end within {seconds} s")]
    Busy {
        /// What was waited for.
        what: String,
        /// How long, in seconds.
        seconds: u64,
    },
    /// It was cancelled while it waited.
    #[error("cancelled")]
    Cancelled,
    /// A path that cannot be written into apt's configuration.
    #[error("the path {} has characters that apt's configuration cannot hold", .path.display())]
    UnusablePath {
        /// The path.
        path: PathBuf,
    },
    /// A program could not be run.
    #[error("cannot run {program}: {source}")]
    Program {
        /// Which.
        program: String,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be read or written.
    #[error("{}: {source}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

impl HostError {
    /// For `map_err` on file operations.
    pub(crate) fn file(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::File { path: path.to_owned(), source }
    }
}
