//! What the store counts of itself: for whoever watches it, never for a decision.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use crate::ApplyError;

/// Upper bounds of the buckets for durations, in seconds.
const SECONDS: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];
/// Upper bounds of the buckets for members of a batch.
const MEMBERS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// How many observations fell below each of a few bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    count: u64,
    sum: f64,
}

impl Histogram {
    /// An empty one; `bounds` rise.
    #[must_use]
    pub fn new(bounds: &'static [f64]) -> Self {
        Self { bounds, counts: vec![0; bounds.len()], count: 0, sum: 0.0 }
    }

    /// One more observation.
    pub fn observe(&mut self, value: f64) {
        if let Some(place) = self.bounds.iter().position(|bound| value <= *bound)
            && let Some(count) = self.counts.get_mut(place)
        {
            *count += 1;
        }
        self.count += 1;
        self.sum += value;
    }

    /// The upper bounds; above the last one there is no bucket.
    #[must_use]
    pub fn bounds(&self) -> &'static [f64] {
        self.bounds
    }

    /// How many observations each bucket holds, without those of the buckets before it.
    #[must_use]
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// How many observations there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their sum.
    #[must_use]
    pub fn sum(&self) -> f64 {
        self.sum
    }
}

/// How an attempt to write ended, in the order of [`Figures::writes`].
const OUTCOMES: [&str; 7] =
    ["applied", "conflict", "duplicate", "inventory_mismatch", "read_only", "unavailable", "corrupt"];

/// What was counted since the store was opened.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How many attempts to write ended how.
    pub writes: [(&'static str, u64); OUTCOMES.len()],
    /// From asking to being durable, in seconds, of what was applied.
    pub write_seconds: Histogram,
    /// Members of each transaction that SQLite's writer began.
    pub batch_members: Histogram,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            writes: OUTCOMES.map(|outcome| (outcome, 0)),
            write_seconds: Histogram::new(SECONDS),
            batch_members: Histogram::new(MEMBERS),
        }
    }
}

/// The counting itself.
#[derive(Debug, Default)]
pub(crate) struct Counters(Mutex<Figures>);

impl Counters {
    fn with(&self, count: impl FnOnce(&mut Figures)) {
        count(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// A write has ended.
    pub(crate) fn wrote<T>(&self, result: &Result<T, ApplyError>, took: Duration) {
        let outcome = match result {
            Ok(_) => 0,
            Err(ApplyError::Conflict { .. } | ApplyError::Superseded { .. }) => 1,
            Err(ApplyError::Duplicate { .. }) => 2,
            Err(ApplyError::InventoryMismatch { .. }) => 3,
            Err(ApplyError::ReadOnly(_)) => 4,
            Err(ApplyError::Unavailable(_)) => 5,
            Err(ApplyError::Corrupt(_)) => 6,
        };
        self.with(|figures| {
            if let Some((_, count)) = figures.writes.get_mut(outcome) {
                *count += 1;
            }
            if result.is_ok() {
                figures.write_seconds.observe(took.as_secs_f64());
            }
        });
    }

    /// SQLite's writer begins a transaction.
    pub(crate) fn batch(&self, members: usize) {
        self.with(|figures| figures.batch_members.observe(u32::try_from(members).unwrap_or(u32::MAX).into()));
    }

    pub(crate) fn figures(&self) -> Figures {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// How things are at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// How much waits for SQLite's writer; 0 on PostgreSQL.
    pub queued: usize,
    /// Connections of the pool that are open, and those of them that nobody uses.
    pub connections: usize,
    /// See `connections`.
    pub idle_connections: usize,
    /// How large the database is, in bytes; `None`: it could not be found out.
    pub size_bytes: Option<u64>,
    /// How large SQLite's write-ahead log is, in bytes; `None` on PostgreSQL.
    pub write_ahead_bytes: Option<u64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_histogram_counts_each_observation_once() {
        let mut histogram = Histogram::new(&[1.0, 2.0]);
        for value in [0.5, 1.0, 1.5, 100.0] {
            histogram.observe(value);
        }
        assert_eq!((histogram.counts(), histogram.count()), (&[2, 1][..], 4));
        assert!((histogram.sum() - 103.0).abs() < 1e-9);
    }

    #[test]
    fn every_end_of_a_write_is_counted_and_the_time_of_those_that_were_applied() {
        let counters = Counters::default();
        counters.wrote::<()>(&Err(ApplyError::ReadOnly("full".to_owned())), Duration::ZERO);
        counters.wrote(&Ok(()), Duration::from_millis(3));
        let figures = counters.figures();
        assert_eq!(figures.writes[0], ("applied", 1));
        assert_eq!((figures.writes[4].1, figures.write_seconds.count()), (1, 1));
    }
}
