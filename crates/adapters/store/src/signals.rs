//! What one replica tells the others at once: LISTEN and NOTIFY. Nothing rests on it; a signal that is lost is found out by looking.

use crate::Store;
use crate::connection::Connection;
use crate::value::values;
use identifiers::NodeId;
use sqlx::Executor as _;
use sqlx::postgres::{PgListener, PgPool};
use std::time::Duration;
use tokio::time::{sleep, timeout};

const CHANNEL: &str = "careen";

/// How long nothing is heard until it is checked whether the database is still there.
const SILENCE: Duration = Duration::from_secs(20);

/// How long that check, and connecting, may take.
const CHECK_PATIENCE: Duration = Duration::from_secs(10);

/// The longest pause before it is tried again to listen.
const PAUSE_MAX: Duration = Duration::from_secs(15);

/// What another replica, or this one, has committed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Signal {
    /// Something that reconcilers look at has changed.
    Due,
    /// The connection of a node is to end, whoever has it.
    ConnectionEnded(NodeId),
    /// Signals may have been missed: look at everything.
    Missed,
}

impl Signal {
    fn payload(&self) -> String {
        match self {
            Self::Due | Self::Missed => "due".to_owned(),
            Self::ConnectionEnded(node) => format!("ended {node}"),
        }
    }

    /// What is not understood comes from a newer version, or from somebody else who may write here.
    fn read(payload: &str) -> Self {
        let ended = payload.strip_prefix("ended ").and_then(|node| NodeId::parse(node).ok());
        ended.map_or(Self::Due, Self::ConnectionEnded)
    }
}

/// Sends a signal when the transaction commits. SQLite has no other replica to tell.
pub(crate) async fn notify(connection: &mut Connection<'_>, signal: &Signal) -> Result<(), sqlx::Error> {
    if matches!(connection, Connection::Postgres(_)) {
        connection.fetch_all("SELECT pg_notify($1, $2)", values![CHANNEL, signal.payload()]).await?;
    }
    Ok(())
}

/// Hears the signals of all replicas; connects anew by itself.
pub struct Signals {
    pool: Option<PgPool>,
    listener: Option<PgListener>,
    pause: Duration,
}

impl Store {
    /// The signals of this database; on SQLite none ever comes.
    #[must_use]
    pub fn signals(&self) -> Signals {
        Signals { pool: self.postgres_pool().cloned(), listener: None, pause: Duration::ZERO }
    }
}

impl Signals {
    /// The next signal.
    pub async fn next(&mut self) -> Signal {
        let Some(pool) = self.pool.clone() else { return std::future::pending().await };
        loop {
            let Some(listener) = &mut self.listener else {
                sleep(self.pause).await;
                match timeout(CHECK_PATIENCE, listen(&pool)).await {
                    Ok(Ok(listener)) => {
                        self.listener = Some(listener);
                        self.pause = Duration::ZERO;
                        return Signal::Missed;
                    }
                    failed => self.fail(failed.map_or("no answer".to_owned(), |result| reason(result.err()))),
                }
                continue;
            };
            match timeout(SILENCE, listener.recv()).await {
                Ok(Ok(notification)) => return Signal::read(notification.payload()),
                Ok(Err(error)) => self.fail(error.to_string()),
                Err(_) => match timeout(CHECK_PATIENCE, listener.execute("SELECT 1")).await {
                    Ok(Ok(_)) => {}
                    Ok(Err(error)) => self.fail(error.to_string()),
                    Err(_) => self.fail("no answer".to_owned()),
                },
            }
        }
    }

    fn fail(&mut self, reason: String) {
        tracing::warn!("signals of other servers are not heard: {reason}; looking every second goes on");
        self.listener = None;
        self.pause = (self.pause * 2).clamp(Duration::from_secs(1), PAUSE_MAX);
    }
}

fn reason(error: Option<sqlx::Error>) -> String {
    error.map_or_else(String::new, |error| error.to_string())
}

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut listener = PgListener::connect_with(pool).await?;
    // A connection that was lost may have lost signals too: then this must hear of it.
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    Ok(listener)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_are_read_as_they_are_written_and_others_make_us_look() {
        let node = NodeId::parse("mi-0123456789abcdef0").unwrap();
        for signal in [Signal::Due, Signal::ConnectionEnded(node)] {
            assert_eq!(Signal::read(&signal.payload()), signal);
        }
        for strange in ["", "ended", "ended x", "of a newer version"] {
            assert_eq!(Signal::read(strange), Signal::Due);
        }
    }
}
