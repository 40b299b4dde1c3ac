//! What a decision hands to the store: [`Changes`].
//!
//! A decision reads a snapshot and returns data, never a closure: which aggregates it read and at which revision, what is to
//! be written, and the audit records and events that belong to it. The store applies all of it in one transaction,
//! and only if those revisions still hold. This crate deliberately knows neither the tables nor the domains: the
//! writes are a type parameter that each domain fills with its own enum.

use identifiers::Timestamp;
use serde::{Deserialize, Serialize};

/// The unit of consistency: a kind and an id within one scope. `kind` is a domain's noun such as `node` or `command`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Aggregate {
    /// The domain's noun.
    pub kind: &'static str,
    /// The id within the scope.
    pub id: String,
}

impl Aggregate {
    /// Names an aggregate.
    pub fn new(kind: &'static str, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

/// How often an aggregate has been changed. 0: it was never written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Revision(pub i64);

/// A row as it was read, with the revision that its aggregate had then.
#[derive(Debug, Clone, PartialEq)]
pub struct Versioned<T> {
    /// The revision of the row's aggregate.
    pub revision: Revision,
    /// The row.
    pub row: T,
}

impl<T> Versioned<T> {
    /// A row at a revision.
    #[must_use]
    pub fn new(revision: Revision, row: T) -> Self {
        Self { revision, row }
    }
}

/// Who did what to what, kept for ever beside the change itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditRecord {
    /// When.
    pub at: Timestamp,
    /// The request it belongs to, through log, agent job and `x-amzn-RequestId`.
    pub request_id: String,
    /// Who: `key/AKIA…`, `console/root`, `node/mi-…`, `system`.
    pub principal: String,
    /// From which address; empty for the system itself.
    pub source_address: String,
    /// The action, e.g. `ssm:SendCommand`.
    pub action: String,
    /// On what, e.g. an ARN or an id.
    pub resource: String,
    /// What came of it: `done` or `refused: <reason>`.
    pub outcome: String,
    /// The state before, as JSON; `null` where there was none. Secrets are never in it.
    pub before: serde_json::Value,
    /// The state after, as JSON; `null` where there is none.
    pub after: serde_json::Value,
}

/// Something that happened, for those who follow the log: ordered by a `seq` per scope that the store gives.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// What kind, e.g. `command.invocation.finished`.
    pub kind: String,
    /// About what, e.g. a node id.
    pub subject: String,
    /// The rest, as JSON.
    pub body: serde_json::Value,
}

/// The result of a decision. `W` is the domain's own enum of writes; the store wraps them all into one.
#[derive(Debug, Clone)]
pub struct Changes<W> {
    /// What was read; all of it must still hold when this is applied.
    pub read: Vec<(Aggregate, Revision)>,
    /// What this changes: each gets the next revision, so that decisions made on older snapshots conflict.
    pub touched: Vec<Aggregate>,
    /// What to write, in order.
    pub writes: Vec<W>,
    /// The audit records of the same transaction.
    pub audit: Vec<AuditRecord>,
    /// The events of the same transaction.
    pub events: Vec<Event>,
}

impl<W> Default for Changes<W> {
    fn default() -> Self {
        Self { read: Vec::new(), touched: Vec::new(), writes: Vec::new(), audit: Vec::new(), events: Vec::new() }
    }
}

impl<W> Changes<W> {
    /// Nothing read, nothing written.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Read at `revision` and changed by this.
    pub fn update(&mut self, aggregate: Aggregate, revision: Revision) {
        self.read.push((aggregate.clone(), revision));
        self.touched.push(aggregate);
    }

    /// Whether applying this would do nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.writes.is_empty() && self.audit.is_empty() && self.events.is_empty()
    }

    /// The same changes with each write wrapped, e.g. a domain's into the store's.
    pub fn map<V>(self, wrap: impl FnMut(W) -> V) -> Changes<V> {
        Changes {
            read: self.read,
            touched: self.touched,
            writes: self.writes.into_iter().map(wrap).collect(),
            audit: self.audit,
            events: self.events,
        }
    }

    /// This and then `other`, as one.
    pub fn append(&mut self, mut other: Self) {
        self.read.append(&mut other.read);
        self.touched.append(&mut other.touched);
        self.writes.append(&mut other.writes);
        self.audit.append(&mut other.audit);
        self.events.append(&mut other.events);
    }
}
