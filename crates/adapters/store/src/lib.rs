//! The database: SQLite, embedded, or PostgreSQL, behind one [`Store`].
//!
//! It decides how rows are kept and in which transaction, that [`changes::Changes`] apply only while the revisions they were made on
//! hold, and the order of events and audit records. It deliberately does not know why anything is written: rows and writes
//! are the domains' own, and every rule about them is decided there. Nothing is read or written outside a
//! [`identifiers::Scope`], except where a method says why.
//!
//! Reads are named `noun_verb`. A `_get` gives the row, or its absence, with the revision of its aggregate; a `_list` is
//! paged by the key of the last row.

mod address;
mod apply;
mod backup;
mod connection;
mod error;
#[cfg(feature = "faults")]
mod faults;
mod figures;
#[cfg(test)]
mod full_disk_tests;
mod lock;
mod many;
mod migrations;
mod peek;
mod pings;
mod postgres_writer;
mod signals;
mod statement;
mod store;
mod tables;
mod value;
mod writability;
mod write;
mod writer;

pub use address::StoreUrl;
pub use apply::Applied;
pub use backup::{
    ArchiveError, ArchiveReader, BackupError, BackupSource, Finding, Header, Replaced, RestoreError, Restoring,
    RowCounts, SealedSecret,
};
pub use error::{ApplyError, OpenError, ReadError};
#[cfg(feature = "faults")]
pub use faults::Fault;
pub use figures::{Figures, Histogram, Moment};
pub use peek::{Peek, peek};
pub use pings::ConnectionClaim;
pub use signals::{Signal, Signals};
pub use store::Store;
pub use tables::access_keys::{AccessKeyRow, AccessKeyStatus, KeyUse};
pub use tables::audit::{AuditEntry, AuditOutcome, AuditQuery};
pub use tables::commands::{CommandKey, CommandQuery, InvocationKey, InvocationQuery};
pub use tables::inventory::{InventoryApply, InventoryHead, OfferedVersion, PackageChanged, VersionSeen};
pub use tables::logs::{EventEntry, Order};
pub use tables::nodes::{ListedNode, NodeQuery};
pub use tables::patching::{NodePatchSummary, PatchGroupQuery, PatchQuery, PatchStateChanged};
pub use tables::people::{FailureSubject, SessionRow, SignInLinkRow, TokenDigest, UserRow};
pub use tables::records::{IdempotencyRow, ServerKeyRow};
pub use tables::retention::RecordKind;
pub use tables::trust::{TrustWrite, WaitingNodes, server_keys_aggregate};
pub use write::{AuditWrite, InventoryWrite, PeopleWrite, RecordWrite, Write};

use identifiers::Timestamp;
