//! SQLite's one writer: takes what is queued, applies each in its own savepoint of one transaction, answers after COMMIT.
//! Savepoints are left out where refusing a member leaves nothing to undo; they would be half of the work.

use crate::ApplyError;
use crate::apply::{Applied, Failure, apply_rows, logs_append, may_be_refused_halfway};
use crate::connection::Connection;
use crate::figures::Counters;
use crate::lock::FileLock;
use crate::pings::{ConnectionClaim, PingPut, claims_put_in, pings_put_in, superseded};
use crate::write::Write;
use changes::Changes;
use identifiers::{NodeId, Scope};
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many members one transaction has at most.
pub(crate) const BATCH_MEMBERS_MAX: usize = 256;
/// How many wait before a caller waits too.
pub(crate) const QUEUE_MEMBERS_MAX: usize = 1024;

/// What is asked of the writer.
pub(crate) enum Job {
    Apply {
        scope: Scope,
        changes: Changes<Write>,
        answer: oneshot::Sender<Result<Applied, ApplyError>>,
    },
    Claim {
        claim: Box<ConnectionClaim>,
        answer: oneshot::Sender<Result<(), ApplyError>>,
    },
    /// Answered with the nodes whose ping does not count.
    Pings {
        pings: Vec<PingPut>,
        answer: oneshot::Sender<Result<Vec<NodeId>, ApplyError>>,
    },
    #[cfg(feature = "faults")]
    PagesMax {
        pages: u32,
        answer: oneshot::Sender<Result<(), ApplyError>>,
    },
    Close {
        done: oneshot::Sender<()>,
    },
}

/// Starts the writer. It owns connection and lock, and ends when it is told to or nobody can ask any more.
pub(crate) fn start(connection: SqliteConnection, lock: FileLock, counters: Arc<Counters>) -> mpsc::Sender<Job> {
    let (sender, receiver) = mpsc::channel(QUEUE_MEMBERS_MAX);
    tokio::spawn(run(connection, lock, receiver, counters));
    sender
}

async fn run(
    mut connection: SqliteConnection,
    lock: FileLock,
    mut receiver: mpsc::Receiver<Job>,
    counters: Arc<Counters>,
) {
    let mut jobs = Vec::new();
    while receiver.recv_many(&mut jobs, BATCH_MEMBERS_MAX).await > 0 {
        let mut close = None;
        let mut batch = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            match job {
                Job::Close { done } => close = Some(done),
                #[cfg(feature = "faults")]
                Job::PagesMax { pages, answer } => {
                    let sql = sqlx::AssertSqlSafe(format!("PRAGMA max_page_count = {pages}"));
                    let done = Connection::Sqlite(&mut connection).fetch_all(sql, vec![]).await;
                    drop(answer.send(done.map(drop).map_err(|e| ApplyError::from(Failure::from(e)))));
                }
                other => batch.push(Member::new(other)),
            }
        }
        if !batch.is_empty() {
            counters.batch(batch.len());
        }
        write_batch(&mut connection, &mut batch).await;
        for member in batch {
            member.answer();
        }
        if let Some(done) = close {
            end(connection).await;
            drop(lock);
            let _ = done.send(());
            return;
        }
    }
    end(connection).await;
}

async fn end(connection: SqliteConnection) {
    if let Err(error) = connection.close().await {
        tracing::warn!(%error, "the database was not closed cleanly; nothing is lost");
    }
}

/// One job of a batch.
pub(crate) struct Member {
    pub(crate) job: Job,
    pub(crate) outcome: Option<Result<Done, ApplyError>>,
}

/// What a member that was written gave.
pub(crate) enum Done {
    /// Where its events and audit records are; without any, nowhere.
    Applied(Applied),
    /// The nodes whose ping does not count.
    Pings(Vec<NodeId>),
}

/// What applying changes without events and audit records gives.
pub(crate) const NOTHING_LOGGED: Applied = Applied { events: 0..0, audit: 0..0 };

impl Member {
    pub(crate) fn new(job: Job) -> Self {
        Self { job, outcome: None }
    }

    async fn apply(&self, connection: &mut Connection<'_>) -> Result<Done, Failure> {
        match &self.job {
            Job::Apply { scope, changes, .. } => apply_rows(connection, scope, changes).await?,
            Job::Claim { claim, .. } => {
                let won = claims_put_in(connection, &[claim.as_ref()]).await? == [true];
                return match won {
                    true => Ok(Done::Applied(NOTHING_LOGGED)),
                    false => Err(superseded(&claim.ping.node_id)),
                };
            }
            Job::Pings { pings, .. } => return Ok(Done::Pings(pings_put_in(connection, pings).await?)),
            _ => {}
        }
        Ok(Done::Applied(NOTHING_LOGGED))
    }

    /// Whether it must be possible to undo this one alone.
    fn needs_savepoint(&self) -> bool {
        matches!(&self.job, Job::Apply { changes, .. } if may_be_refused_halfway(changes))
    }

    pub(crate) fn answer(self) {
        let outcome = self.outcome.unwrap_or_else(|| Err(ApplyError::Unavailable("the writer stopped".to_owned())));
        // Whoever asked may have gone; what was committed stays.
        match self.job {
            Job::Apply { answer, .. } => drop(answer.send(outcome.map(|done| match done {
                Done::Applied(applied) => applied,
                Done::Pings(_) => NOTHING_LOGGED,
            }))),
            Job::Claim { answer, .. } => drop(answer.send(outcome.map(drop))),
            Job::Pings { answer, .. } => drop(answer.send(outcome.map(|done| match done {
                Done::Applied(_) => Vec::new(),
                Done::Pings(superseded) => superseded,
            }))),
            _ => {}
        }
    }
}

/// One transaction for all; if the database itself fails in it, each gets a transaction of its own, so that one which
/// cannot be written (the disk is nearly full, say) takes no other with it.
async fn write_batch(connection: &mut SqliteConnection, batch: &mut [Member]) {
    if batch.is_empty() {
        return;
    }
    let Err(failure) = transaction(connection, batch).await else { return };
    roll_back(connection).await;
    if let [only] = batch {
        only.outcome = Some(Err(failure.into()));
        return;
    }
    tracing::warn!(members = batch.len(), ?failure, "a batch of writes failed; each is tried alone");
    for index in 0..batch.len() {
        let alone = &mut batch[index..=index];
        if let Err(failure) = transaction(connection, alone).await {
            roll_back(connection).await;
            alone[0].outcome = Some(Err(failure.into()));
        }
    }
}

/// The outcome of each member, or why the whole transaction must be rolled back.
async fn transaction(connection: &mut SqliteConnection, batch: &mut [Member]) -> Result<(), Failure> {
    let mut connection = Connection::Sqlite(connection);
    connection.execute("BEGIN IMMEDIATE", vec![]).await?;
    for member in batch.iter_mut() {
        member.outcome = Some(apply_member(&mut connection, member).await?);
    }
    let places = append_logs(&mut connection, batch).await?;
    connection.execute("COMMIT", vec![]).await?;
    tell_places(batch, places);
    Ok(())
}

/// Appends the events and audit records of the members that were applied; their places, in the order of these.
pub(crate) async fn append_logs(connection: &mut Connection<'_>, batch: &[Member]) -> Result<Vec<Applied>, Failure> {
    let logged = batch.iter().filter_map(|member| match (&member.job, &member.outcome) {
        (Job::Apply { scope, changes, .. }, Some(Ok(_))) => Some((scope, changes)),
        _ => None,
    });
    logs_append(connection, &logged.collect::<Vec<_>>()).await
}

/// After the commit: gives each member that was applied its places.
pub(crate) fn tell_places(batch: &mut [Member], places: Vec<Applied>) {
    let mut places = places.into_iter();
    for member in batch.iter_mut() {
        if let (Job::Apply { .. }, Some(Ok(done))) = (&member.job, &mut member.outcome) {
            *done = Done::Applied(places.next().unwrap_or(NOTHING_LOGGED));
        }
    }
}

/// The inner result is the member's own; the outer one is the transaction's.
async fn apply_member(connection: &mut Connection<'_>, member: &Member) -> Result<Result<Done, ApplyError>, Failure> {
    let savepoint = member.needs_savepoint();
    if savepoint {
        connection.execute("SAVEPOINT member", vec![]).await?;
    }
    let outcome = match member.apply(connection).await {
        Ok(done) => Ok(done),
        // Without a savepoint nothing was written before a conflict; anything else was not to be expected.
        Err(Failure::Refused(error)) if savepoint || is_refused_at_once(&error) => Err(error),
        Err(failure) => return Err(failure),
    };
    if savepoint {
        if outcome.is_err() {
            connection.execute("ROLLBACK TO member", vec![]).await?;
        }
        connection.execute("RELEASE member", vec![]).await?;
    }
    Ok(outcome)
}

fn is_refused_at_once(error: &ApplyError) -> bool {
    matches!(error, ApplyError::Conflict { .. } | ApplyError::Superseded { .. })
}

async fn roll_back(connection: &mut SqliteConnection) {
    // SQLite may have rolled back by itself already, and then this fails as it should.
    let _ = Connection::Sqlite(connection).execute("ROLLBACK", vec![]).await;
}
