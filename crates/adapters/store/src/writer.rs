//! SQLite's one writer: takes what is queued, applies each in its own savepoint of one transaction, answers after COMMIT.

use crate::ApplyError;
use crate::apply::{Applied, Failure, apply_in};
use crate::connection::Connection;
use crate::lock::FileLock;
use crate::pings::{PingPut, pings_put_in};
use crate::write::Write;
use changes::Changes;
use identifiers::Scope;
use sqlx::Connection as _;
use sqlx::sqlite::SqliteConnection;
use tokio::sync::{mpsc, oneshot};

/// How many members one transaction has at most.
const BATCH_MEMBERS_MAX: usize = 256;
/// How many wait before a caller waits too.
const QUEUE_MEMBERS_MAX: usize = 1024;

/// What is asked of the writer.
pub(crate) enum Job {
    Apply { scope: Scope, changes: Changes<Write>, answer: oneshot::Sender<Result<Applied, ApplyError>> },
    Pings { pings: Vec<PingPut>, answer: oneshot::Sender<Result<(), ApplyError>> },
    Close { done: oneshot::Sender<()> },
}

/// Starts the writer. It owns connection and lock, and ends when it is told to or nobody can ask any more.
pub(crate) fn start(connection: SqliteConnection, lock: FileLock) -> mpsc::Sender<Job> {
    let (sender, receiver) = mpsc::channel(QUEUE_MEMBERS_MAX);
    tokio::spawn(run(connection, lock, receiver));
    sender
}

async fn run(mut connection: SqliteConnection, lock: FileLock, mut receiver: mpsc::Receiver<Job>) {
    let mut jobs = Vec::new();
    while receiver.recv_many(&mut jobs, BATCH_MEMBERS_MAX).await > 0 {
        let mut close = None;
        let mut batch = Vec::with_capacity(jobs.len());
        for job in jobs.drain(..) {
            match job {
                Job::Close { done } => close = Some(done),
                other => batch.push(Member { job: other, outcome: None }),
            }
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

struct Member {
    job: Job,
    outcome: Option<Result<Option<Applied>, ApplyError>>,
}

impl Member {
    async fn apply(&self, connection: &mut Connection<'_>) -> Result<Option<Applied>, Failure> {
        match &self.job {
            Job::Apply { scope, changes, .. } => apply_in(connection, scope, changes).await.map(Some),
            Job::Pings { pings, .. } => pings_put_in(connection, pings).await.map(|()| None),
            Job::Close { .. } => Ok(None),
        }
    }

    fn answer(self) {
        let outcome = self.outcome.unwrap_or_else(|| Err(ApplyError::Unavailable("the writer stopped".to_owned())));
        // Whoever asked may have gone; what was committed stays.
        match self.job {
            Job::Apply { answer, .. } => {
                let empty = Applied { events: 0..0, audit: 0..0 };
                let _ = answer.send(outcome.map(|applied| applied.unwrap_or(empty)));
            }
            Job::Pings { answer, .. } => {
                let _ = answer.send(outcome.map(drop));
            }
            Job::Close { done } => {
                let _ = done.send(());
            }
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
        connection.execute("SAVEPOINT member", vec![]).await?;
        let outcome = member.apply(&mut connection).await;
        match outcome {
            Ok(applied) => member.outcome = Some(Ok(applied)),
            Err(Failure::Refused(error)) => {
                connection.execute("ROLLBACK TO member", vec![]).await?;
                member.outcome = Some(Err(error));
            }
            Err(fatal @ Failure::Database(_)) => return Err(fatal),
        }
        connection.execute("RELEASE member", vec![]).await?;
    }
    connection.execute("COMMIT", vec![]).await?;
    Ok(())
}

async fn roll_back(connection: &mut SqliteConnection) {
    // SQLite may have rolled back by itself already, and then this fails as it should.
    let _ = Connection::Sqlite(connection).execute("ROLLBACK", vec![]).await;
}
