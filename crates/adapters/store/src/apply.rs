//! One [`Changes`] in one transaction: revisions, writes, audit, events; the order that every transaction keeps.

use crate::connection::{Connection, to_json};
use crate::error::Cause;
use crate::many;
use crate::statement::insert_rows;
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

/// Checks and raises the revisions of `changes` and writes its rows, or returns why not: SQLite's way, PostgreSQL's writers do
/// it for a batch at once. [`logs_append`] follows, once for all members of the transaction.
///
/// PostgreSQL's locks are taken in one order everywhere: revisions sorted by aggregate, then what is written, the scopes'
/// sequences last, so that they are held for the shortest time.
pub(crate) async fn apply_rows(
    connection: &mut Connection<'_>,
    scope: &Scope,
    changes: &Changes<Write>,
) -> Result<(), Failure> {
    let held = held(changes)?;
    if many::is_worth_it(connection, &held) {
        many::hold_together(connection, scope, &held).await?;
    } else {
        for (aggregate, hold) in held {
            hold_revision(connection, scope, aggregate, hold).await?;
        }
    }
    many::write_all(connection, scope, &changes.writes).await
}

/// Whether refusing `changes` could leave something written behind that must be undone: it is refused at its second
/// aggregate or later, or by a write.
pub(crate) fn may_be_refused_halfway(changes: &Changes<Write>) -> bool {
    let one = |aggregate: &Aggregate| {
        changes.touched.iter().all(|other| other == aggregate)
            && changes.read.iter().all(|(other, _)| other == aggregate)
    };
    let alone = match (changes.touched.first(), changes.read.first()) {
        (Some(aggregate), _) | (None, Some((aggregate, _))) => one(aggregate),
        (None, None) => true,
    };
    !alone || changes.writes.iter().any(Write::may_be_refused)
}

/// What is done with one aggregate.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hold {
    /// The revision it must have.
    pub(crate) expected: Option<Revision>,
    /// Whether it gets the next one.
    pub(crate) touched: bool,
}

/// Each aggregate once, sorted.
pub(crate) fn held(changes: &Changes<Write>) -> Result<BTreeMap<&Aggregate, Hold>, Failure> {
    let mut held: BTreeMap<&Aggregate, Hold> = BTreeMap::new();
    for (aggregate, revision) in &changes.read {
        let hold = held.entry(aggregate).or_default();
        match hold.expected {
            Some(other) if other != *revision => return Err(conflict(aggregate, *revision, other)),
            _ => hold.expected = Some(*revision),
        }
    }
    for aggregate in &changes.touched {
        held.entry(aggregate).or_default().touched = true;
    }
    Ok(held)
}

/// Checks what was read and gives what is touched its next revision. A conflict has changed nothing.
async fn hold_revision(
    connection: &mut Connection<'_>,
    scope: &Scope,
    aggregate: &Aggregate,
    hold: Hold,
) -> Result<(), Failure> {
    if hold.touched && touch(connection, scope, aggregate, hold.expected).await? {
        return Ok(());
    }
    let Some(expected) = hold.expected else { return Ok(()) };
    let found = look(connection, scope, aggregate).await?;
    if hold.touched || expected != found { Err(conflict(aggregate, expected, found)) } else { Ok(()) }
}

pub(crate) fn conflict(aggregate: &Aggregate, expected: Revision, found: Revision) -> Failure {
    ApplyError::Conflict { aggregate: aggregate.clone(), expected, found }.into()
}

/// Raises the revision from the expected one, or from whatever it is; `false` where it is another, and then it stays.
async fn touch(
    connection: &mut Connection<'_>,
    scope: &Scope,
    aggregate: &Aggregate,
    expected: Option<Revision>,
) -> Result<bool, Failure> {
    let mut values = aggregate_key(scope, aggregate);
    let changed = match expected {
        None => {
            let sql = "INSERT INTO aggregate (account, region, kind, id, revision) VALUES ($1, $2, $3, $4, 1)
                ON CONFLICT (account, region, kind, id) DO UPDATE SET revision = aggregate.revision + 1";
            connection.execute(sql, values).await?
        }
        Some(Revision(0)) => {
            let sql = "INSERT INTO aggregate (account, region, kind, id, revision) VALUES ($1, $2, $3, $4, 1)
                ON CONFLICT (account, region, kind, id) DO UPDATE SET revision = 1 WHERE aggregate.revision = 0";
            connection.execute(sql, values).await?
        }
        Some(Revision(expected)) => {
            let sql = "UPDATE aggregate SET revision = revision + 1
                WHERE account = $1 AND region = $2 AND kind = $3 AND id = $4 AND revision = $5";
            values.extend(values![expected]);
            connection.execute(sql, values).await?
        }
    };
    Ok(changed == 1)
}

/// The revision now. The one writer needs no locks.
async fn look(connection: &mut Connection<'_>, scope: &Scope, aggregate: &Aggregate) -> Result<Revision, Failure> {
    let sql = "SELECT revision FROM aggregate WHERE account = $1 AND region = $2 AND kind = $3 AND id = $4";
    let row = connection.fetch_optional(sql, aggregate_key(scope, aggregate)).await?;
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

/// Appends the audit records and events of all members of a transaction, in the order of the members; their places.
pub(crate) async fn logs_append(
    connection: &mut Connection<'_>,
    members: &[(&Scope, &Changes<Write>)],
) -> Result<Vec<Applied>, Failure> {
    let mut applied = vec![Applied { events: 0..0, audit: 0..0 }; members.len()];
    let mut scopes: BTreeMap<&Scope, Vec<usize>> = BTreeMap::new();
    for (index, (scope, _)) in members.iter().enumerate() {
        scopes.entry(scope).or_default().push(index);
    }
    for (scope, indexes) in scopes {
        let of = |index: &usize| members.get(*index).map(|(_, changes)| *changes);
        let audits: Vec<_> = indexes.iter().map(|i| of(i).map_or(&[][..], |changes| &changes.audit)).collect();
        let audits_at = audit_append(connection, scope, &audits).await?;
        let events: Vec<_> = indexes.iter().map(|i| of(i).map_or(&[][..], |changes| &changes.events)).collect();
        let events_at = event_append(connection, scope, &events).await?;
        for ((index, audit), events) in indexes.into_iter().zip(audits_at).zip(events_at) {
            if let Some(place) = applied.get_mut(index) {
                *place = Applied { events, audit };
            }
        }
    }
    Ok(applied)
}

/// Numbers for several lists, one list after the other; empty ranges for empty lists.
async fn numbers<T>(
    connection: &mut Connection<'_>,
    scope: &Scope,
    name: &'static str,
    lists: &[&[T]],
) -> Result<Vec<Range<i64>>, Failure> {
    let count: usize = lists.iter().map(|list| list.len()).sum();
    if count == 0 {
        return Ok(vec![0..0; lists.len()]);
    }
    let mut next = sequence_take(connection, scope, name, count).await?.start;
    let mut ranges = Vec::with_capacity(lists.len());
    for list in lists {
        let end = next + i64::try_from(list.len()).unwrap_or(0);
        ranges.push(if list.is_empty() { 0..0 } else { next..end });
        next = end;
    }
    Ok(ranges)
}

async fn audit_append(
    connection: &mut Connection<'_>,
    scope: &Scope,
    lists: &[&[AuditRecord]],
) -> Result<Vec<Range<i64>>, Failure> {
    let ranges = numbers(connection, scope, "audit", lists).await?;
    let mut rows = Vec::new();
    for (range, list) in ranges.iter().zip(lists) {
        for (seq, record) in range.clone().zip(*list) {
            rows.push(values![
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
            ]);
        }
    }
    let head =
        "INSERT INTO audit (account, region, seq, at, request_id, principal, source_address, action, resource, outcome,
        state_before, state_after)";
    insert_rows(connection, head, rows, "").await?;
    Ok(ranges)
}

async fn event_append(
    connection: &mut Connection<'_>,
    scope: &Scope,
    lists: &[&[Event]],
) -> Result<Vec<Range<i64>>, Failure> {
    let ranges = numbers(connection, scope, "event", lists).await?;
    let mut rows = Vec::new();
    for (range, list) in ranges.iter().zip(lists) {
        for (seq, event) in range.clone().zip(*list) {
            let body = to_json(&event.body)?;
            rows.push(values![&scope.account, &scope.region, seq, event.at, &event.kind, &event.subject, body]);
        }
    }
    let head = "INSERT INTO event (account, region, seq, at, kind, subject, body)";
    insert_rows(connection, head, rows, "").await?;
    Ok(ranges)
}
