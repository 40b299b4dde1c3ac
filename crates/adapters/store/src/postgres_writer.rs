//! PostgreSQL's writers: like SQLite's one, each takes what is queued and writes it in one transaction. Revisions of all members are
//! locked, checked and raised with a few statements, so that a decision costs little more than its own rows.

use crate::apply::{Failure, Hold, conflict, held};
use crate::connection::{Array, Connection};
use crate::pings::{ConnectionClaim, claims_put_in, pings_put_in, superseded};
use crate::signals::{Signal, notify};
use crate::store::patiently;
use crate::value::{Value, values};
use crate::write::Write;
use crate::writer::{
    BATCH_MEMBERS_MAX, Done, Job, Member, NOTHING_LOGGED, QUEUE_MEMBERS_MAX, append_logs, tell_places,
};
use crate::{ApplyError, error::Cause};
use changes::{Aggregate, Changes, Revision};
use identifiers::Scope;
use sqlx::Connection as _;
use sqlx::postgres::{PgConnection, PgPool};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio::sync::{Mutex, Semaphore, mpsc};

/// How many batches are written at once.
const WRITERS: u32 = 4;
/// How often a batch is tried again that stood in another transaction's way.
const ATTEMPTS: u32 = 5;
/// The first half of the advisory locks on scopes: an arbitrary number, ours alone.
const LOCK_SPACE: i64 = 0x0ca2_ee18;

/// Starts the writers. They end when they are told to, or nobody can ask any more.
pub(crate) fn start(pool: &PgPool) -> mpsc::Sender<Job> {
    let (sender, receiver) = mpsc::channel(QUEUE_MEMBERS_MAX);
    let queue = Arc::new(Queue { receiver: Mutex::new(receiver), free: Semaphore::new(WRITERS as usize) });
    for _ in 0..WRITERS {
        tokio::spawn(run(pool.clone(), Arc::clone(&queue)));
    }
    sender
}

struct Queue {
    receiver: Mutex<mpsc::Receiver<Job>>,
    /// A permit is with each writer that writes.
    free: Semaphore,
}

async fn run(pool: PgPool, queue: Arc<Queue>) {
    let mut jobs = Vec::new();
    loop {
        let mut receiver = queue.receiver.lock().await;
        if receiver.recv_many(&mut jobs, BATCH_MEMBERS_MAX).await == 0 {
            return;
        }
        let Ok(permit) = queue.free.acquire().await else { return };
        let close = jobs.iter().any(|job| matches!(job, Job::Close { .. }));
        // Whoever closes lets nobody take more.
        let receiver = if close { Some(receiver) } else { None };
        let mut batch: Vec<Member> = Vec::with_capacity(jobs.len());
        let mut closing = None;
        for job in jobs.drain(..) {
            match job {
                Job::Close { done } => closing = Some(done),
                other => batch.push(Member::new(other)),
            }
        }
        write_batch(&pool, &mut batch).await;
        for member in batch {
            member.answer();
        }
        drop(permit);
        if let (Some(mut receiver), Some(done)) = (receiver, closing) {
            receiver.close();
            drop(queue.free.acquire_many(WRITERS).await);
            pool.close().await;
            let _ = done.send(());
            return;
        }
    }
}

/// One transaction for all. Where the database itself fails in it, each gets one of its own, unless the database is not there.
async fn write_batch(pool: &PgPool, batch: &mut [Member]) {
    let Some(failure) = attempt(pool, batch).await.err() else { return };
    match batch {
        [] => {}
        [only] => only.outcome = Some(Err(failure.into())),
        _ if is_unavailable(&failure) => {
            let text = ApplyError::from(failure).to_string();
            for member in batch {
                member.outcome = Some(Err(ApplyError::Unavailable(text.clone())));
            }
        }
        _ => {
            tracing::warn!(members = batch.len(), ?failure, "a batch of writes failed; each is tried alone");
            for alone in batch.chunks_mut(1) {
                if let Err(failure) = attempt(pool, alone).await {
                    alone[0].outcome = Some(Err(failure.into()));
                }
            }
        }
    }
}

fn is_unavailable(failure: &Failure) -> bool {
    match failure {
        Failure::Database(error) => Cause::of(error) == Cause::Unavailable,
        Failure::Refused(error) => matches!(error, ApplyError::Unavailable(_)),
    }
}

/// Aggregates are locked in order, but rows are written in the order that the decisions gave, so that two transactions without a
/// common aggregate may block each other. Whoever waits for long gives up and tries again with its scopes for itself, sooner than
/// PostgreSQL would look for deadlocks.
async fn attempt(pool: &PgPool, batch: &mut [Member]) -> Result<(), Failure> {
    let mut alone = false;
    for _ in 1..ATTEMPTS {
        match patiently(pool, async |connection| transaction(connection, batch, alone).await).await {
            Err(failure) if failure.is_worth_retrying() => alone = true,
            other => return other,
        }
    }
    patiently(pool, async |connection| transaction(connection, batch, true).await).await
}

async fn transaction(connection: &mut PgConnection, batch: &mut [Member], alone: bool) -> Result<(), Failure> {
    // Dropped without COMMIT it is rolled back.
    let mut transaction = connection.begin().await?;
    let mut connection = Connection::Postgres(&mut transaction);
    lock_scopes(&mut connection, batch, alone).await?;
    let mut revisions = Revisions::lock(&mut connection, batch).await?;
    for member in batch.iter_mut() {
        member.outcome = apply_member(&mut connection, &mut revisions, member).await?;
    }
    revisions.write(&mut connection).await?;
    write_claims(&mut connection, batch).await?;
    write_pings(&mut connection, batch).await?;
    let places = append_logs(&mut connection, batch).await?;
    for signal in signals(batch) {
        notify(&mut connection, &signal).await?;
    }
    transaction.commit().await?;
    tell_places(batch, places);
    Ok(())
}

fn changes_of(member: &Member) -> Option<(&Scope, &Changes<Write>)> {
    match &member.job {
        Job::Apply { scope, changes, .. } => Some((scope, changes)),
        _ => None,
    }
}

async fn lock_scopes(connection: &mut Connection<'_>, batch: &[Member], alone: bool) -> Result<(), Failure> {
    let names: BTreeSet<String> =
        batch.iter().filter_map(changes_of).map(|(scope, _)| format!("{}/{}", scope.account, scope.region)).collect();
    for name in names {
        let lock = match alone {
            false => "SELECT pg_advisory_xact_lock_shared(CAST($1 AS INTEGER), hashtext($2))",
            true => {
                "SELECT set_config('lock_timeout', '0', TRUE), pg_advisory_xact_lock(CAST($1 AS INTEGER), hashtext($2))"
            }
        };
        connection.fetch_all(lock, values![LOCK_SPACE, name]).await?;
    }
    Ok(())
}

/// `None`: what it asks for is written with that of others, later.
async fn apply_member(
    connection: &mut Connection<'_>,
    revisions: &mut Revisions,
    member: &Member,
) -> Result<Option<Result<Done, ApplyError>>, Failure> {
    let Some((scope, changes)) = changes_of(member) else { return Ok(None) };
    let held = match held(changes) {
        Err(Failure::Refused(error)) => return Ok(Some(Err(error))),
        other => other?,
    };
    if let Some(error) = revisions.refusal(scope, &held) {
        return Ok(Some(Err(error)));
    }
    let savepoint = changes.writes.iter().any(Write::may_be_refused);
    if savepoint {
        connection.execute("SAVEPOINT member", vec![]).await?;
    }
    for write in &changes.writes {
        match write.apply(connection, scope).await {
            Ok(()) => {}
            Err(Failure::Refused(error)) if savepoint => {
                connection.execute("ROLLBACK TO member", vec![]).await?;
                connection.execute("RELEASE member", vec![]).await?;
                return Ok(Some(Err(error)));
            }
            Err(failure) => return Err(failure),
        }
    }
    if savepoint {
        connection.execute("RELEASE member", vec![]).await?;
    }
    revisions.raise(scope, &held);
    Ok(Some(Ok(Done::Applied(NOTHING_LOGGED))))
}

/// The revisions of all aggregates of a batch, locked until its transaction ends.
struct Revisions {
    now: BTreeMap<(Scope, Aggregate), (Revision, bool)>,
}

impl Revisions {
    /// Reads them, in the one order that all transactions keep. What was never written gets a row to lock, so that nobody can
    /// write it for the first time beside us.
    async fn lock(connection: &mut Connection<'_>, batch: &[Member]) -> Result<Self, Failure> {
        let mut wanted: BTreeMap<(Scope, Aggregate), bool> = BTreeMap::new();
        for (scope, changes) in batch.iter().filter_map(changes_of) {
            // One that contradicts itself is refused when its turn comes.
            for (aggregate, hold) in held(changes).unwrap_or_default() {
                let may_be_new = wanted.entry((scope.clone(), aggregate.clone())).or_default();
                *may_be_new |= !matches!(hold.expected, Some(Revision(revision)) if revision > 0);
            }
        }
        let mut now = BTreeMap::new();
        if wanted.is_empty() {
            return Ok(Self { now });
        }
        let new: Vec<_> =
            wanted.iter().filter(|(_, may_be_new)| **may_be_new).map(|(key, _)| key_values(key)).collect();
        if !new.is_empty() {
            let sql = "INSERT INTO aggregate (account, region, kind, id, revision)
                SELECT k.*, 0 FROM unnest($1, $2, $3, $4) AS k ON CONFLICT DO NOTHING";
            connection.fetch_arrays(sql, Array::columns(new)).await?;
        }
        let sql = "SELECT k.place, a.revision FROM unnest($1, $2, $3, $4, $5) AS k (account, region, kind, id, place)
            JOIN aggregate a ON a.account = k.account AND a.region = k.region AND a.kind = k.kind AND a.id = k.id
            ORDER BY a.account, a.region, a.kind, a.id FOR NO KEY UPDATE OF a";
        let keys: Vec<(Scope, Aggregate)> = wanted.into_keys().collect();
        let numbered = keys.iter().zip(0_i64..).map(|(key, place)| {
            let mut row = key_values(key);
            row.push(Value::from(place));
            row
        });
        let rows = connection.fetch_arrays(sql, Array::columns(numbered.collect())).await?.unwrap_or_default();
        let mut found: BTreeMap<i64, i64> = BTreeMap::new();
        for row in rows {
            found.insert(row.int("place")?, row.int("revision")?);
        }
        for (key, place) in keys.into_iter().zip(0_i64..) {
            now.insert(key, (Revision(found.get(&place).copied().unwrap_or(0)), false));
        }
        Ok(Self { now })
    }

    fn refusal(&self, scope: &Scope, held: &BTreeMap<&Aggregate, Hold>) -> Option<ApplyError> {
        held.iter().find_map(|(aggregate, hold)| {
            let found = self.now.get(&(scope.clone(), (*aggregate).clone())).map_or(Revision(0), |(now, _)| *now);
            let expected = hold.expected.filter(|expected| *expected != found)?;
            match conflict(aggregate, expected, found) {
                Failure::Refused(error) => Some(error),
                Failure::Database(_) => None,
            }
        })
    }

    fn raise(&mut self, scope: &Scope, held: &BTreeMap<&Aggregate, Hold>) {
        for (aggregate, _) in held.iter().filter(|(_, hold)| hold.touched) {
            let (now, raised) = self.now.entry((scope.clone(), (*aggregate).clone())).or_default();
            (now.0, *raised) = (now.0 + 1, true);
        }
    }

    async fn write(self, connection: &mut Connection<'_>) -> Result<(), Failure> {
        let raised = self.now.into_iter().filter(|(_, (_, raised))| *raised).map(|(key, (revision, _))| {
            let mut row = key_values(&key);
            row.push(Value::from(revision.0));
            row
        });
        let raised: Vec<_> = raised.collect();
        if raised.is_empty() {
            return Ok(());
        }
        let sql = "UPDATE aggregate a SET revision = k.revision
            FROM unnest($1, $2, $3, $4, $5) AS k (account, region, kind, id, revision)
            WHERE a.account = k.account AND a.region = k.region AND a.kind = k.kind AND a.id = k.id";
        connection.fetch_arrays(sql, Array::columns(raised)).await?;
        Ok(())
    }
}

fn key_values((scope, aggregate): &(Scope, Aggregate)) -> Vec<Value> {
    values![&scope.account, &scope.region, aggregate.kind, &aggregate.id]
}

async fn write_claims(connection: &mut Connection<'_>, batch: &mut [Member]) -> Result<(), Failure> {
    let of = |member: &Member| matches!(member.job, Job::Claim { .. });
    let claims: Vec<&ConnectionClaim> = batch
        .iter()
        .filter_map(|member| match &member.job {
            Job::Claim { claim, .. } => Some(claim.as_ref()),
            _ => None,
        })
        .collect();
    let won = claims_put_in(connection, &claims).await?;
    for (member, won) in batch.iter_mut().filter(|member| of(member)).zip(won) {
        let Job::Claim { claim, .. } = &member.job else { continue };
        let refused = || Err(superseded(&claim.ping.node_id).into());
        member.outcome = Some(if won { Ok(Done::Applied(NOTHING_LOGGED)) } else { refused() });
    }
    Ok(())
}

async fn write_pings(connection: &mut Connection<'_>, batch: &mut [Member]) -> Result<(), Failure> {
    for member in batch.iter_mut() {
        let Job::Pings { pings, .. } = &member.job else { continue };
        member.outcome = Some(Ok(Done::Pings(pings_put_in(connection, pings).await?)));
    }
    Ok(())
}

/// What other replicas are to hear of once this is committed.
fn signals(batch: &[Member]) -> BTreeSet<Signal> {
    let applied = batch.iter().filter(|member| matches!(member.outcome, Some(Ok(_))));
    let writes = applied.filter_map(changes_of).flat_map(|(_, changes)| &changes.writes);
    writes
        .filter_map(|write| match write {
            Write::Command(_) => Some(Signal::Due),
            Write::Node(nodes::Write::ConnectionEnd(node)) => Some(Signal::ConnectionEnded(node.clone())),
            _ => None,
        })
        .collect()
}
