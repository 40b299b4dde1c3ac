//! What happens without a request. Each reconciler is idempotent, has no input and no retry inside: its next activation is
//! the retry. Each has turns of its own, so that a slow one holds up no other.
//!
//! Adding one is a file with a [`Reconciler`] in it, and its line in [`RECONCILERS`]; the console, `/metrics` and
//! `/readyz` show it then. This module decides when each has its turn. It deliberately does not know what any of them does.

mod access_key_uses;
mod audit_seals;
mod client_tokens;
mod connections;
mod console_sessions;
mod departures;
mod dispatch;
pub(crate) mod heartbeats;
mod live_output;
mod replicas;
mod retention;
mod server_keys;
mod turns;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use tokio::{sync::watch, task::JoinSet};

pub use retention::Retention;
pub use turns::{Turn, TurnEnd, Turns};

use crate::{Error, Server};

/// The shortest time between two turns of one that is woken.
const PAUSE: Duration = Duration::from_millis(20);

/// All of them, in the order in which a single turn of all goes through them.
pub static RECONCILERS: &[Reconciler] = &[
    heartbeats::RECONCILER,
    replicas::RECONCILER,
    connections::RECONCILER,
    departures::RECONCILER,
    client_tokens::RECONCILER,
    dispatch::RECONCILER,
    console_sessions::RECONCILER,
    server_keys::RECONCILER,
    live_output::RECONCILER,
    live_output::LEFTOVERS,
    retention::RECONCILER,
    audit_seals::RECONCILER,
    access_key_uses::RECONCILER,
];

/// Something that is done again and again.
#[derive(Debug)]
pub struct Reconciler {
    /// Its name in logs, metrics and the console: lower case, words joined by underscores.
    pub name: &'static str,
    /// What it does, for people: a sentence.
    pub purpose: &'static str,
    /// The longest time between two turns.
    pub every: Duration,
    /// Whether a wake brings its turn forward; the poll stays the truth.
    pub woken: bool,
    /// Does it, once.
    pub activate: for<'a> fn(&'a Arc<Server>) -> Activation<'a>,
}

/// An activation on its way.
pub type Activation<'a> = Pin<Box<dyn Future<Output = Result<Status, Error>> + Send + 'a>>;

/// What an activation did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Status {
    /// How many of what, in the order in which people want to read it; the words are fixed ones of the program.
    pub done: Vec<(&'static str, u64)>,
    /// In how many places something failed although the activation as a whole did not; the log says what.
    pub failures: u64,
}

impl Status {
    /// One thing was done so many times.
    #[must_use]
    pub fn of(what: &'static str, count: usize) -> Self {
        Self { done: vec![(what, count as u64)], failures: 0 }
    }

    /// How many of `what`; 0 if it was not mentioned.
    #[must_use]
    pub fn count(&self, what: &str) -> u64 {
        self.done.iter().filter(|(name, _)| *name == what).map(|(_, count)| count).sum()
    }
}

/// Runs all reconcilers until `stopped`; a turn that has begun then is ended first.
pub async fn run(server: Arc<Server>, stopped: impl Future<Output = ()>) {
    let (stop, told) = watch::channel(false);
    let mut tasks = JoinSet::new();
    for reconciler in RECONCILERS {
        tasks.spawn(take_turns(Arc::clone(&server), reconciler, told.clone()));
    }
    let mut beside = JoinSet::new();
    beside.spawn(connections::hear_signals(Arc::clone(&server)));
    beside.spawn(Arc::clone(&server).let_go_when_cut_off());
    stopped.await;
    let _ = stop.send(true);
    beside.shutdown().await;
    while tasks.join_next().await.is_some() {}
    // The last heartbeats are kept too.
    if let Err(error) = heartbeats::activate(&server).await {
        tracing::error!("the last heartbeats were not written: {}", error.message);
    }
    if let Err(error) = audit_seals::activate(&server, true).await {
        tracing::error!("the last audit records were not sealed: {}", error.message);
    }
}

async fn take_turns(server: Arc<Server>, reconciler: &'static Reconciler, mut told: watch::Receiver<bool>) {
    loop {
        // In a task of its own: a panic ends this turn and not those that follow.
        let turn = tokio::spawn({
            let server = Arc::clone(&server);
            async move { take_turn(&server, reconciler).await }
        });
        if let Err(panicked) = turn.await {
            let error = Error::internal(panicked);
            server.turns.end(reconciler, Err(&error), server.now());
            tracing::error!(reconciler = reconciler.name, "a reconciler failed: {}", error.detail.unwrap_or_default());
        }
        tokio::select! {
            _ = told.wait_for(|told| *told) => return,
            () = async {
                // What comes at once is looked at together.
                tokio::time::sleep(PAUSE).await;
                server.woken.notified().await;
            }, if reconciler.woken => {}
            () = tokio::time::sleep(reconciler.every) => {}
        }
    }
}

/// One turn of one reconciler, written down.
async fn take_turn(server: &Arc<Server>, reconciler: &'static Reconciler) -> Result<Status, Error> {
    server.turns.begin(reconciler, server.now());
    let result = (reconciler.activate)(server).await;
    server.turns.end(reconciler, result.as_ref(), server.now());
    if let Err(error) = &result
        && !error.is_read_only()
    {
        let detail = error.detail.as_deref().unwrap_or(&error.message);
        tracing::error!(reconciler = reconciler.name, "a reconciler failed: {detail}");
    }
    result
}

/// One turn of each, one after the other, for whoever keeps time itself. What they did, together.
///
/// # Errors
/// The first of those that failed; the others had their turns.
pub async fn activate_all(server: &Arc<Server>) -> Result<Status, Error> {
    let mut together = Status::default();
    let mut failed = None;
    for reconciler in RECONCILERS {
        match take_turn(server, reconciler).await {
            Ok(status) => {
                together.done.extend(status.done);
                together.failures += status.failures;
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    failed.map_or(Ok(together), Err)
}
