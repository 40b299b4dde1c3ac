//! When each reconciler had its last turn and what came of it: for people, `/metrics` and `/readyz`.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use identifiers::Timestamp;

use super::{RECONCILERS, Reconciler, Status};
use crate::Error;

/// How an activation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TurnEnd {
    /// It did this.
    Done(Status),
    /// It failed; the sentence is for whoever may see the server's state.
    Failed(String),
}

/// What is known of one reconciler in this process.
#[derive(Debug, Clone)]
pub struct Turn {
    /// When its last turn began, by the server's clock.
    pub began_at: Timestamp,
    /// Whether that turn is still going on.
    pub running: bool,
    /// How long the last turn that ended took.
    pub took: Duration,
    /// How that one ended; `None` before the first has.
    pub end: Option<TurnEnd>,
    /// When a turn last ended well.
    pub succeeded_at: Option<Timestamp>,
    /// How many turns ended, and how many of them failed.
    pub ended: u64,
    /// See `ended`.
    pub failed: u64,
    /// How much was done since the process began, in the words of [`Status`].
    pub done: BTreeMap<&'static str, u64>,
    /// When the last turn began, by the steady clock.
    began: Instant,
    /// When something last happened, by the steady clock.
    stirred: Instant,
}

impl Turn {
    /// How long it has been since a turn began or ended.
    #[must_use]
    pub fn idle_for(&self) -> Duration {
        self.stirred.elapsed()
    }
}

/// The turns of all reconcilers of this process.
#[derive(Debug, Default)]
pub struct Turns(Mutex<BTreeMap<&'static str, Turn>>);

impl Turns {
    /// A turn begins.
    pub(super) fn begin(&self, reconciler: &Reconciler, now: Timestamp) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let instant = Instant::now();
        let turn = turns.entry(reconciler.name).or_insert_with(|| Turn {
            began_at: now,
            running: true,
            took: Duration::ZERO,
            end: None,
            succeeded_at: None,
            ended: 0,
            failed: 0,
            done: BTreeMap::new(),
            began: instant,
            stirred: instant,
        });
        turn.began_at = now;
        turn.running = true;
        (turn.began, turn.stirred) = (instant, instant);
    }

    /// The turn has ended.
    pub(super) fn end(&self, reconciler: &Reconciler, result: Result<&Status, &Error>, now: Timestamp) {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(turn) = turns.get_mut(reconciler.name) else { return };
        turn.running = false;
        turn.stirred = Instant::now();
        turn.took = turn.began.elapsed();
        turn.ended += 1;
        turn.end = Some(match result {
            Ok(status) => {
                turn.succeeded_at = Some(now);
                for (what, count) in &status.done {
                    *turn.done.entry(what).or_default() += count;
                }
                turn.failed += u64::from(status.failures > 0);
                TurnEnd::Done(status.clone())
            }
            Err(error) => {
                turn.failed += 1;
                TurnEnd::Failed(error.message.clone())
            }
        });
    }

    /// Each reconciler with its last turn, in the order of [`RECONCILERS`]; `None`: it had none yet.
    #[must_use]
    pub fn list(&self) -> Vec<(&'static Reconciler, Option<Turn>)> {
        let turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        RECONCILERS.iter().map(|reconciler| (reconciler, turns.get(reconciler.name).cloned())).collect()
    }
}
