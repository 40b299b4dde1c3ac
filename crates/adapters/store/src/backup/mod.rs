//! The whole database as a file, and back: taking a backup while the server works, restoring one into an empty place, and
//! looking whether a database is in order.
//!
//! It decides what belongs to a backup (every table) and that a restored database is whole or not there. It deliberately does
//! not know what a restored database means to nodes and commands; `control` ends what was unfinished before the
//! database may be opened by a server.

pub(crate) mod archive;
mod check;
mod restore;
mod source;

pub use archive::{ArchiveError, ArchiveReader, Header, RowCounts};
pub use check::Finding;
pub use restore::{Replaced, RestoreError, Restoring};
pub use source::{BackupError, BackupSource, SealedSecret};

pub(crate) use restore::refuse_unfinished;

/// The fact in `meta` that says that a restore has begun and not ended: of which backup.
pub(crate) const RESTORING: &str = "restoring";
/// The fact in `meta` that counts how often the database was restored.
pub(crate) const INCARNATION: &str = "incarnation";
/// The fact in `meta` that says which key file opens the secrets.
pub(crate) const KEY_FINGERPRINT: &str = "key-fingerprint";
