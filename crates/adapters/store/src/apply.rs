//! One [`Changes`] in one transaction: revisions, writes, audit, events; the order that every transaction keeps.

use crate::connection::{Connection, to_json};
use crate::error::Cause;
use crate::value::values;
use crate::write::Write;
use crate::{ApplyError, ReadError};
use changes::{Aggregate, AuditRecord, Changes, Event, Revision};
use identifiers::Scope;
use std::collections::BTreeMap;
use std::ops::Range;

/// What applying [`Changes`] gave: the places of its events and audit records in their logs, each one's own without gaps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Applied {
    /// The `seq` of the events; empty without events.
    pub events: Range<i64>,
    /// The `seq` of the audit records; empty without any.
    pub audit: Range<i64>,
}

/// Why a transaction is rolled back.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The changes are refused; the connection is fine.
    Refused(ApplyError),
    /// The database failed a statement; the transaction may be gone already.
    Database(sqlx::Error),
}

impl Failure {
    /// Whether the same transaction, tried again, may succeed.
    pub(crate) fn is_worth_retrying(&self) -> bool {
        matches!(self, Self::Database(error) if Cause::of(error) == Cause::Retry)
    }
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}
impl From<ApplyError> for Failure {
    fn from(error: ApplyError) -> Self {
        Self::Refused(error)
    }
}
impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        Self::Refused(error.into())
    }
}
impl From<Failure> for ApplyError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Refused(error) => error,
            Failure::Database(error) => error.into(),
        }
    }
}

/// Applies all of `changes`, or returns why not; the caller then rolls back.
///
/// Locks are taken in one order everywhere: revisions sorted by aggregate, then what is written, the scope's sequences
/// last, so that they are held for the shortest time.
pub(crate) async fn apply_in(
    connection: &mut Connection<'_>,
    scope: &Scope,
    changes: &Changes<Write>,
) -> Result<Applied, Failure> {
    hold_revisions(connection, scope, changes).await?;
    for write in &changes.writes {
        write.apply(connection, scope).await?;
    }
    let audit = audit_append(connection, scope, &changes.audit).await?;
    let events = event_append(connection, scope, &changes.events).await?;
    Ok(Applied { events, audit })
}

/// Checks what was read and gives what is touched its next revision; on PostgreSQL both stay locked until the end.
async fn hold_revisions(
    connection: &mut Connection<'_>,
    scope: &Scope,
    changes: &Changes<Write>,
) -> Result<(), Failure> {
    let mut held: BTreeMap<&Aggregate, (Option<Revision>, bool)> = BTreeMap::new();
    for (aggregate, revision) in &changes.read {
        let (expected, _) = held.entry(aggregate).or_default();
        match expected {
            Some(other) if other != revision => return Err(conflict(aggregate, *revision, *other)),
            _ => *expected = Some(*revision),
        }
    }
    for aggregate in &changes.touched {
        held.entry(aggregate).or_default().1 = true;
    }
    for (aggregate, (expected, touched)) in held {
        let found = if touched {
            touch(connection, scope, aggregate).await?
        } else {
            look(connection, scope, aggregate).await?
        };
        if let Some(expected) = expected
            && expected != found
        {
            return Err(conflict(aggregate, expected, found));
        }
    }
    Ok(())
}

fn conflict(aggregate: &Aggregate, expected: Revision, found: Revision) -> Failure {
    ApplyError::Conflict { aggregate: aggregate.clone(), expected, found }.into()
}

/// Raises the revision; the one before.
async fn touch(connection: &mut Connection<'_>, scope: &Scope, aggregate: &Aggregate) -> Result<Revision, Failure> {
    let sql = "INSERT INTO aggregate (account, region, kind, id, revision) VALUES ($1, $2, $3, $4, 1)
        ON CONFLICT (account, region, kind, id) DO UPDATE SET revision = aggregate.revision + 1 RETURNING revision";
    let row = connection.fetch_optional(sql, aggregate_key(scope, aggregate)).await?;
    let revision = row.map(|row| row.int("revision")).transpose()?.unwrap_or(1);
    Ok(Revision(revision - 1))
}

/// The revision now. On PostgreSQL it is locked, and what was never written gets a row to lock, so that nobody can write it
/// for the first time beside us.
async fn look(connection: &mut Connection<'_>, scope: &Scope, aggregate: &Aggregate) -> Result<Revision, Failure> {
    let key = aggregate_key(scope, aggregate);
    let row = match connection {
        // The one writer needs no locks.
        Connection::Sqlite(_) => {
            let sql = "SELECT revision FROM aggregate WHERE account = $1 AND region = $2 AND kind = $3 AND id = $4";
            connection.fetch_optional(sql, key).await?
        }
        Connection::Postgres(_) => {
            let sql =
                "SELECT revision FROM aggregate WHERE account = $1 AND region = $2 AND kind = $3 AND id = $4 FOR SHARE";
            let insert = "INSERT INTO aggregate (account, region, kind, id, revision) VALUES ($1, $2, $3, $4, 0) ON CONFLICT DO NOTHING";
            let row = connection.fetch_optional(sql, key.clone()).await?;
            if row.is_none() {
                connection.execute(insert, key.clone()).await?;
                connection.fetch_optional(sql, key).await?
            } else {
                row
            }
        }
    };
    Ok(Revision(row.map(|row| row.int("revision")).transpose()?.unwrap_or(0)))
}

fn aggregate_key(scope: &Scope, aggregate: &Aggregate) -> Vec<crate::value::Value> {
    values![&scope.account, &scope.region, aggregate.kind, &aggregate.id]
}

/// Takes the next `count` numbers of one of the scope's sequences. Its row stays locked until the transaction ends, so
/// numbers become visible in their order and a rolled-back one is given again.
pub(crate) async fn sequence_take(
    connection: &mut Connection<'_>,
    scope: &Scope,
    name: &'static str,
    count: usize,
) -> Result<Range<i64>, Failure> {
    let count = i64::try_from(count).unwrap_or(i64::MAX);
    let sql = "INSERT INTO scope_sequence (account, region, name, last) VALUES ($1, $2, $3, $4)
        ON CONFLICT (account, region, name) DO UPDATE SET last = scope_sequence.last + excluded.last RETURNING last";
    let row = connection.fetch_optional(sql, values![&scope.account, &scope.region, name, count]).await?;
    let last = row.map(|row| row.int("last")).transpose()?.unwrap_or(count);
    Ok(last - count + 1..last + 1)
}

async fn audit_append(
    connection: &mut Connection<'_>,
    scope: &Scope,
    records: &[AuditRecord],
) -> Result<Range<i64>, Failure> {
    if records.is_empty() {
        return Ok(0..0);
    }
    let range = sequence_take(connection, scope, "audit", records.len()).await?;
    let sql = "INSERT INTO audit (account, region, seq, at, request_id, principal, source_address, action, resource, outcome, state_before, state_after)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";
    for (seq, record) in range.clone().zip(records) {
        let values = values![
            &scope.account,
            &scope.region,
            seq,
            record.at,
            &record.request_id,
            &record.principal,
            &record.source_address,
            &record.action,
            &record.resource,
            &record.outcome,
            to_json(&record.before)?,
            to_json(&record.after)?,
        ];
        connection.execute(sql, values).await?;
    }
    Ok(range)
}

async fn event_append(connection: &mut Connection<'_>, scope: &Scope, events: &[Event]) -> Result<Range<i64>, Failure> {
    if events.is_empty() {
        return Ok(0..0);
    }
    let range = sequence_take(connection, scope, "event", events.len()).await?;
    let sql = "INSERT INTO event (account, region, seq, at, kind, subject, body) VALUES ($1, $2, $3, $4, $5, $6, $7)";
    for (seq, event) in range.clone().zip(events) {
        let body = to_json(&event.body)?;
        let values = values![&scope.account, &scope.region, seq, event.at, &event.kind, &event.subject, body];
        connection.execute(sql, values).await?;
    }
    Ok(range)
}
