use std::time::Duration;

/// What came before the pause.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// A session that stood: its end may be the server's, and then thousands of agents call again.
    Session,
    /// A call that led to no session.
    Failure,
}

/// How long to wait before the next call: full jitter, so that a herd spreads over half a minute and more, and a single
/// agent never waits longer than a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pauses {
    failures: u32,
    seconds_max: u32,
}

impl Pauses {
    /// `seconds_max`: the longest pause. On loopback there is no herd, and two seconds suffice.
    pub(crate) fn new(seconds_max: u32, loopback: bool) -> Self {
        let seconds_max = seconds_max.clamp(1, 60);
        Self { failures: 0, seconds_max: if loopback { seconds_max.min(2) } else { seconds_max } }
    }

    /// The next pause; `fraction` is random, from 0 to 1.
    pub(crate) fn next(&mut self, after: After, fraction: f64) -> Duration {
        let bound = match after {
            After::Session => {
                self.failures = 3;
                30
            }
            After::Failure => {
                self.failures = self.failures.saturating_add(1);
                2_u32.saturating_pow(self.failures.min(6) + 1)
            }
        };
        let bound = f64::from(bound.min(self.seconds_max));
        let least = 0.5_f64.min(bound);
        Duration::from_secs_f64(least + (bound - least) * fraction.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_lost_session_spreads_over_half_a_minute_and_failures_over_up_to_a_minute() {
        let mut pauses = Pauses::new(60, false);
        assert_eq!(pauses.next(After::Session, 1.0).as_secs(), 30);
        assert_eq!(pauses.next(After::Failure, 1.0).as_secs(), 32);
        assert_eq!(pauses.next(After::Failure, 1.0).as_secs(), 60);
        let mut fresh = Pauses::new(60, false);
        assert_eq!(fresh.next(After::Failure, 1.0).as_secs(), 4);
        assert_eq!(Pauses::new(60, true).next(After::Session, 1.0).as_secs(), 2);
    }

    proptest! {
        #[test]
        fn no_pause_is_longer_than_a_minute_or_none_at_all(steps in proptest::collection::vec((any::<bool>(), 0.0f64..1.0), 1..80)) {
            let mut pauses = Pauses::new(999, false);
            for (session, fraction) in steps {
                let pause = pauses.next(if session { After::Session } else { After::Failure }, fraction);
                prop_assert!(pause >= Duration::from_millis(500) && pause <= Duration::from_secs(60));
            }
        }
    }
}
