use changes::{Aggregate, Revision};
use identifiers::NodeId;
use std::path::PathBuf;
use thiserror::Error;

/// Why a store could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The text is neither a path nor an address this build understands.
    #[error("'{0}' is not a database address: give a file, sqlite:FILE or postgres://USER@HOST/NAME")]
    Address(String),
    /// Another process has the SQLite file open as its store; the kernel drops that lock when it ends.
    #[error("{path} is in use by another server{holder}; one SQLite file serves one server, replicas need PostgreSQL")]
    InUse {
        /// The database file.
        path: PathBuf,
        /// ` (process 123)`, or empty where the holder is not known.
        holder: String,
    },
    /// The database was written by a newer program.
    #[error(
        "the database has schema {found}, this program knows schemas up to {known}: \
         start the newer program, or restore the backup made before it migrated"
    )]
    NewerSchema {
        /// The schema of the database.
        found: i64,
        /// The newest schema known here.
        known: i64,
    },
    /// A restore has begun here and not ended.
    #[error("the restore of a backup was interrupted here: start it again with the same backup, it goes on")]
    Restoring,
    /// There are tables, but not ours.
    #[error("{0} is a SQLite database of another program; nothing was changed")]
    Foreign(PathBuf),
    /// The file is damaged or no database at all.
    #[error("the database is damaged or not a database: {0}")]
    Corrupt(String),
    /// A migration or the backup before it failed; the database is as it was.
    #[error("migrating the database to schema {version} failed, it is unchanged: {detail}")]
    Migration {
        /// The schema that could not be reached.
        version: i64,
        /// What failed.
        detail: String,
    },
    /// The server or file cannot be reached.
    #[error("the database cannot be opened: {0}")]
    Unavailable(String),
}

/// Why [`crate::Store::apply`] changed nothing. After any of these the database is as if the call had not been made.
#[derive(Debug, Error)]
pub enum ApplyError {
    /// An aggregate has another revision than the one the decision was made on: load again and decide again.
    #[error("{} {} was read at revision {} but is at {}", aggregate.kind, aggregate.id, expected.0, found.0)]
    Conflict {
        /// What has changed.
        aggregate: Aggregate,
        /// The revision in [`changes::Changes::read`].
        expected: Revision,
        /// The stored revision.
        found: Revision,
    },
    /// A natural key is taken already (an invocation's (command, node), a report's id, a client token), or a one-time
    /// thing is used up. What stands is what was there first.
    #[error("{kind} {id} exists already")]
    Duplicate {
        /// The kind of row.
        kind: &'static str,
        /// Its natural key, for people.
        id: String,
    },
    /// Another connection of the node is newer, or it was sent away: what came over this one does not count.
    #[error("another connection of {node} is newer")]
    Superseded {
        /// Whose.
        node: NodeId,
    },
    /// The inventory delta starts from another inventory than the stored one: ask for a full one.
    #[error("the inventory delta does not start from the stored inventory")]
    InventoryMismatch {
        /// The digest of the stored inventory; `None` where none is stored.
        stored: Option<String>,
    },
    /// Nothing can be written: the disk is full or the database is read-only. Reads go on.
    #[error("the database cannot be written: {0}")]
    ReadOnly(String),
    /// The database cannot be reached or is too busy. Whether a change sent to a lost server was kept is not known.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// The database contradicts itself, or refused a statement that should have been right.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
}

/// Why a read gave nothing.
#[derive(Debug, Error)]
pub enum ReadError {
    /// The database cannot be reached or is too busy.
    #[error("the database is not available: {0}")]
    Unavailable(String),
    /// A row cannot be understood, or the file is damaged.
    #[error("the database is damaged: {0}")]
    Corrupt(String),
}

impl From<ReadError> for ApplyError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Unavailable(detail) => Self::Unavailable(detail),
            ReadError::Corrupt(detail) => Self::Corrupt(detail),
        }
    }
}

/// What a database's error means here. Codes: <https://www.sqlite.org/rescode.html> and
/// <https://www.postgresql.org/docs/current/errcodes-appendix.html>.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cause {
    /// A unique key is taken.
    Unique,
    /// The disk is full or the database read-only.
    ReadOnly,
    /// Lost, busy, shutting down.
    Unavailable,
    /// Two transactions stood in each other's way; trying again is right.
    Retry,
    /// Damage, or a fault of ours.
    Corrupt,
}

/// SQLite could not make the index of its write-ahead log larger: the disk is full (SQLITE_IOERR_SHMSIZE).
const IOERR_SHMSIZE: i32 = 4874;

impl Cause {
    pub(crate) fn of(error: &sqlx::Error) -> Self {
        match error {
            sqlx::Error::Database(inner) if inner.is_unique_violation() => Self::Unique,
            sqlx::Error::Database(inner) => {
                let code = inner.code().unwrap_or_default();
                if inner.try_downcast_ref::<sqlx::sqlite::SqliteError>().is_some() {
                    Self::of_sqlite(&code)
                } else {
                    Self::of_postgres(&code)
                }
            }
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::ColumnIndexOutOfBounds { .. }
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::TypeNotFound { .. }
            | sqlx::Error::RowNotFound => Self::Corrupt,
            sqlx::Error::Io(io) if io.kind() == std::io::ErrorKind::StorageFull => Self::ReadOnly,
            _ => Self::Unavailable,
        }
    }

    /// The low byte of an extended code is the primary one.
    fn of_sqlite(code: &str) -> Self {
        let code = code.parse::<i32>().unwrap_or(1);
        if code == IOERR_SHMSIZE {
            return Self::ReadOnly;
        }
        match code & 0xff {
            8 | 13 => Self::ReadOnly,                          // READONLY, FULL
            5 | 6 | 7 | 9 | 10 | 14 | 15 => Self::Unavailable, // BUSY, LOCKED, NOMEM, INTERRUPT, IOERR, CANTOPEN, PROTOCOL
            _ => Self::Corrupt,
        }
    }

    fn of_postgres(code: &str) -> Self {
        match code {
            "40001" | "40P01" | "55P03" => Self::Retry,
            "53100" | "25006" => Self::ReadOnly,
            _ if code.starts_with("08")
                || code.starts_with("53")
                || code.starts_with("57")
                || code.starts_with("28") =>
            {
                Self::Unavailable
            }
            _ => Self::Corrupt,
        }
    }
}

impl From<sqlx::Error> for ApplyError {
    fn from(error: sqlx::Error) -> Self {
        let detail = error.to_string();
        match Cause::of(&error) {
            Cause::ReadOnly => Self::ReadOnly(detail),
            Cause::Unavailable | Cause::Retry => Self::Unavailable(detail),
            Cause::Unique | Cause::Corrupt => Self::Corrupt(detail),
        }
    }
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        let detail = error.to_string();
        match Cause::of(&error) {
            Cause::Corrupt => Self::Corrupt(detail),
            _ => Self::Unavailable(detail),
        }
    }
}

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        let detail = error.to_string();
        match Cause::of(&error) {
            Cause::Corrupt => Self::Corrupt(detail),
            _ => Self::Unavailable(detail),
        }
    }
}
