//! What one decision writes thousands of (a command to a whole fleet) is written with few statements: SQLite answers each one over a
//! thread, which takes longer than the row does.

use crate::apply::{Failure, Hold, conflict};
use crate::connection::{Connection, to_json};
use crate::statement::{Select, insert_rows};
use crate::value::{Value, values};
use crate::write::Write;
use changes::{Aggregate, Revision};
use commands::Invocation;
use identifiers::Scope;
use std::collections::{BTreeMap, HashMap};

/// From so many on it is worth it.
const TOGETHER_FROM: usize = 8;
/// How many revisions one statement looks up.
const IDS_PER_STATEMENT: usize = 256;

/// Whether the revisions are to be held by [`hold_together`]; it is for the one writer, which needs no locks.
pub(crate) fn is_worth_it(connection: &Connection<'_>, held: &BTreeMap<&Aggregate, Hold>) -> bool {
    matches!(connection, Connection::Sqlite(_)) && held.len() >= TOGETHER_FROM
}

/// Checks all that were read, and gives all that are touched their next revision. A conflict has changed nothing.
pub(crate) async fn hold_together(
    connection: &mut Connection<'_>,
    scope: &Scope,
    held: &BTreeMap<&Aggregate, Hold>,
) -> Result<(), Failure> {
    let mut kinds: BTreeMap<&str, Vec<&Aggregate>> = BTreeMap::new();
    for (aggregate, _) in held.iter().filter(|(_, hold)| hold.expected.is_some()) {
        kinds.entry(aggregate.kind).or_default().push(aggregate);
    }
    for (kind, aggregates) in kinds {
        for some in aggregates.chunks(IDS_PER_STATEMENT) {
            let mut select = Select::new("SELECT id, revision FROM aggregate", vec![]);
            select.scope("account = ? AND region = ?", scope);
            select.filter("kind = ?", values![kind]);
            select.filter_in("id", some.iter().map(|aggregate| Value::from(&aggregate.id)).collect());
            let (sql, values) = select.into_parts();
            let mut found: HashMap<String, i64> = HashMap::new();
            for row in connection.fetch_all(sql, values).await? {
                found.insert(row.text("id")?, row.int("revision")?);
            }
            for aggregate in some {
                let now = Revision(found.get(aggregate.id.as_str()).copied().unwrap_or(0));
                let expected = held.get(aggregate).and_then(|hold| hold.expected);
                if let Some(expected) = expected.filter(|expected| *expected != now) {
                    return Err(conflict(aggregate, expected, now));
                }
            }
        }
    }
    let touched = held.iter().filter(|(_, hold)| hold.touched);
    let rows =
        touched.map(|(aggregate, _)| values![&scope.account, &scope.region, aggregate.kind, &aggregate.id, 1_i64]);
    let head = "INSERT INTO aggregate (account, region, kind, id, revision)";
    let tail = "ON CONFLICT (account, region, kind, id) DO UPDATE SET revision = aggregate.revision + 1";
    Ok(insert_rows(connection, head, rows.collect(), tail).await.map(drop)?)
}

/// Writes in their order; invocations that follow each other together.
pub(crate) async fn write_all(connection: &mut Connection<'_>, scope: &Scope, writes: &[Write]) -> Result<(), Failure> {
    for some in writes.chunk_by(|one, next| invocation(one).is_some() && invocation(next).is_some()) {
        if some.len() < TOGETHER_FROM {
            for write in some {
                write.apply(connection, scope).await?;
            }
        } else {
            invocations_put(connection, scope, some.iter().filter_map(invocation)).await?;
        }
    }
    Ok(())
}

fn invocation(write: &Write) -> Option<&Invocation> {
    match write {
        Write::Command(commands::Write::InvocationPut(invocation)) => Some(invocation),
        _ => None,
    }
}

async fn invocations_put(
    connection: &mut Connection<'_>,
    scope: &Scope,
    invocations: impl Iterator<Item = &Invocation>,
) -> Result<(), Failure> {
    // One statement must not meet a row twice; the last of a node is what counts.
    let mut last: BTreeMap<_, &Invocation> = BTreeMap::new();
    for row in invocations {
        last.insert((&row.command_id, &row.node_id), row);
    }
    let mut rows = Vec::with_capacity(last.len());
    for row in last.into_values() {
        rows.push(values![
            &scope.account,
            &scope.region,
            &row.command_id,
            &row.node_id,
            &row.instance_name,
            &row.job_id,
            row.state.as_str(),
            &row.trace,
            row.requested_at,
            row.sent_at,
            row.started_at,
            row.finished_at,
            row.delivery_until,
            row.expires_at,
            to_json(&row.steps)?,
        ]);
    }
    let head = "INSERT INTO invocation (account, region, command_id, node_id, instance_name, job_id, state, trace, requested_at,
        sent_at, started_at, finished_at, delivery_until, expires_at, steps)";
    let tail =
        "ON CONFLICT (account, region, command_id, node_id) DO UPDATE SET instance_name = excluded.instance_name,
        job_id = excluded.job_id, state = excluded.state, trace = excluded.trace, requested_at = excluded.requested_at,
        sent_at = excluded.sent_at, started_at = excluded.started_at, finished_at = excluded.finished_at,
        delivery_until = excluded.delivery_until, expires_at = excluded.expires_at, steps = excluded.steps";
    Ok(insert_rows(connection, head, rows, tail).await.map(drop)?)
}
