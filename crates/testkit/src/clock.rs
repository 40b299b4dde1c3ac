use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use identifiers::Timestamp;

/// A clock that stands still until it is moved. Clones share the same hands.
#[derive(Debug, Clone)]
pub struct SimulatedClock(Arc<AtomicI64>);

impl SimulatedClock {
    /// A clock that shows `at`.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(Arc::new(AtomicI64::new(at.as_micros())))
    }

    /// What the clock shows.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        Timestamp::from_micros(self.0.load(Ordering::SeqCst))
    }

    /// Moves the clock forward (or, with a negative number, back) and gives the new instant.
    pub fn advance_seconds(&self, seconds: i64) -> Timestamp {
        let moved = self.now().plus_seconds(seconds);
        self.set(moved);
        moved
    }

    /// Sets the clock to `at`.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.as_micros(), Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_the_same_hands() {
        let clock = SimulatedClock::new(Timestamp::from_seconds(1_000));
        let other = clock.clone();
        assert_eq!(clock.advance_seconds(60), Timestamp::from_seconds(1_060));
        assert_eq!(other.now(), Timestamp::from_seconds(1_060));
        other.set(Timestamp::EPOCH);
        assert_eq!(clock.now(), Timestamp::EPOCH);
    }
}
