use crate::connection::Row;
use crate::statement::Select;
use crate::value::values;
use crate::{ReadError, Store};
use changes::{AuditRecord, Event};
use identifiers::{Scope, Timestamp};

/// In which order a log is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Backwards in time.
    NewestFirst,
    /// Forwards in time.
    OldestFirst,
}

/// Which audit records.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Only of this principal.
    pub principal: Option<String>,
    /// Only of this action.
    pub action: Option<String>,
    /// Only about this resource.
    pub resource: Option<String>,
    /// Only of this request.
    pub request_id: Option<String>,
    /// In which order, that of their `seq`.
    pub order: Order,
    /// Only beyond the record with this `seq`.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: u32,
}

impl AuditQuery {
    /// All of them, newest first.
    #[must_use]
    pub fn all(limit: u32) -> Self {
        Self {
            from: None,
            until: None,
            principal: None,
            action: None,
            resource: None,
            request_id: None,
            order: Order::NewestFirst,
            after: None,
            limit,
        }
    }
}

/// An audit record and its place in the scope's log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place; without gaps, in the order of commits.
    pub seq: i64,
    /// The record.
    pub record: AuditRecord,
}

/// An event and its place in the scope's log.
#[derive(Debug, Clone, PartialEq)]
pub struct EventEntry {
    /// Its place; without gaps, in the order of commits.
    pub seq: i64,
    /// The event.
    pub event: Event,
}

impl Store {
    /// Audit records.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_list(&self, scope: &Scope, query: &AuditQuery) -> Result<Vec<AuditEntry>, ReadError> {
        let head = "SELECT seq, at, request_id, principal, source_address, action, resource, outcome, state_before, state_after
            FROM audit";
        let mut select = Select::new(head, vec![]);
        select.scope("account = ? AND region = ?", scope);
        if let Some(from) = query.from {
            select.filter("at >= ?", values![from]);
        }
        if let Some(until) = query.until {
            select.filter("at < ?", values![until]);
        }
        for (condition, wanted) in [
            ("principal = ?", &query.principal),
            ("action = ?", &query.action),
            ("resource = ?", &query.resource),
            ("request_id = ?", &query.request_id),
        ] {
            if let Some(wanted) = wanted {
                select.filter(condition, values![wanted]);
            }
        }
        if let Some(after) = query.after {
            let beyond = match query.order {
                Order::NewestFirst => "seq < ?",
                Order::OldestFirst => "seq > ?",
            };
            select.filter(beyond, values![after]);
        }
        select.then(match query.order {
            Order::NewestFirst => "ORDER BY seq DESC",
            Order::OldestFirst => "ORDER BY seq",
        });
        select.limit(query.limit);
        self.select(select, audit_of).await
    }

    /// The events after `seq` (0: from the first), in order. Whoever follows with the last `seq` seen misses none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn event_list(&self, scope: &Scope, after: i64, limit: u32) -> Result<Vec<EventEntry>, ReadError> {
        let mut select = Select::new("SELECT seq, at, kind, subject, body FROM event", vec![]);
        select.scope("account = ? AND region = ?", scope);
        select.filter("seq > ?", values![after]);
        select.then("ORDER BY seq");
        select.limit(limit);
        self.select(select, event_of).await
    }
}

fn audit_of(row: &Row) -> Result<AuditEntry, ReadError> {
    let record = AuditRecord {
        at: row.at("at")?,
        request_id: row.text("request_id")?,
        principal: row.text("principal")?,
        source_address: row.text("source_address")?,
        action: row.text("action")?,
        resource: row.text("resource")?,
        outcome: row.text("outcome")?,
        before: row.json("state_before")?,
        after: row.json("state_after")?,
    };
    Ok(AuditEntry { seq: row.int("seq")?, record })
}

fn event_of(row: &Row) -> Result<EventEntry, ReadError> {
    let event =
        Event { at: row.at("at")?, kind: row.text("kind")?, subject: row.text("subject")?, body: row.json("body")? };
    Ok(EventEntry { seq: row.int("seq")?, event })
}
