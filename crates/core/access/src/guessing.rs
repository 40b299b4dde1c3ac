//! Guessing passwords is slow: after a few failures each further attempt has to wait, longer each time, per name and per
//! source address. Nobody is locked out for ever: the wait has an end, success forgets the name's failures, and a one-time
//! link from the server's own machine does not pass here at all.

use identifiers::Timestamp;

/// The longest wait, in seconds.
const WAIT_SECONDS_MAX: i64 = 15 * 60;

/// After so long without another failure the earlier ones are forgotten, in seconds.
pub const FORGET_SECONDS: i64 = 24 * 60 * 60;

/// Whose failures are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Those of one user name, from wherever they came.
    Name,
    /// Those of one source address, with whatever name. Many people may be behind one address.
    Address,
}

impl Counted {
    /// How many failures cost nothing yet.
    fn free(self) -> u32 {
        match self {
            Self::Name => 5,
            Self::Address => 20,
        }
    }
}

/// How often it went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Failures {
    /// So many times in a row.
    pub count: u32,
    /// The last time.
    pub last_at: Timestamp,
}

impl Failures {
    /// Whether they are so old that they count no more.
    #[must_use]
    pub fn is_forgotten(self, now: Timestamp) -> bool {
        self.last_at.plus_seconds(FORGET_SECONDS) <= now
    }

    /// One more.
    #[must_use]
    pub fn after(before: Option<Self>, now: Timestamp) -> Self {
        let count = before.filter(|failures| !failures.is_forgotten(now)).map_or(0, |failures| failures.count);
        Self { count: count.saturating_add(1), last_at: now }
    }

    /// From when on another attempt is looked at: at once, until the free failures are used up; then one second after the
    /// last, then two, four, up to a quarter of an hour.
    #[must_use]
    pub fn wait_until(self, counted: Counted) -> Timestamp {
        let seconds = match self.count.checked_sub(counted.free()) {
            None => 0,
            Some(beyond) => 1_i64.checked_shl(beyond.min(30)).unwrap_or(WAIT_SECONDS_MAX).min(WAIT_SECONDS_MAX),
        };
        self.last_at.plus_seconds(seconds)
    }

    /// Whether an attempt at `now` is looked at. A clock that was set back lets nobody wait longer than was ever meant.
    #[must_use]
    pub fn allow(before: Option<Self>, counted: Counted, now: Timestamp) -> bool {
        before.is_none_or(|failures| {
            now >= failures.wait_until(counted) || now.plus_seconds(WAIT_SECONDS_MAX) < failures.last_at
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn failures(count: u32) -> Option<Failures> {
        Some(Failures { count, last_at: Timestamp::from_seconds(1_000_000) })
    }

    fn waits(counted: Counted, count: u32) -> i64 {
        failures(count).unwrap().wait_until(counted).as_seconds() - 1_000_000
    }

    #[test]
    fn delays_grow_and_have_an_end() {
        let of = |counted, counts: &[u32]| counts.iter().map(|count| waits(counted, *count)).collect::<Vec<_>>();
        assert_eq!(of(Counted::Name, &[0, 4, 5, 6, 7, 10, 15, 100, u32::MAX]), [0, 0, 1, 2, 4, 32, 900, 900, 900]);
        assert_eq!(of(Counted::Address, &[1, 19, 20, 21, 30, 1000]), [0, 0, 1, 2, 900, 900]);
    }

    #[test]
    fn old_failures_are_forgotten() {
        let at = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
        assert_eq!(Failures::after(failures(9), at(FORGET_SECONDS - 1)).count, 10);
        assert_eq!(
            Failures::after(failures(9), at(FORGET_SECONDS)),
            Failures { count: 1, last_at: at(FORGET_SECONDS) }
        );
        assert_eq!(Failures::after(None, at(0)).count, 1);
        assert_eq!(Failures::after(failures(u32::MAX), at(0)).count, u32::MAX);
    }

    #[test]
    fn a_clock_that_was_set_back_locks_nobody_out() {
        let at = |seconds: i64| Timestamp::from_seconds(1_000_000 + seconds);
        assert!(!Failures::allow(failures(50), Counted::Name, at(-60)));
        assert!(Failures::allow(failures(50), Counted::Name, at(-3600)));
    }

    proptest! {
        /// In any time a guesser has no more attempts than the free ones, the ones of the growing delays, and one a quarter
        /// of an hour, however cleverly they are placed.
        #[test]
        fn guesses_are_few(pauses in proptest::collection::vec(0_i64..2000, 1..300)) {
            let (mut before, mut now, mut tried) = (None, Timestamp::from_seconds(1_000_000), 0_i64);
            for pause in pauses {
                now = now.plus_seconds(pause);
                if Failures::allow(before, Counted::Name, now) {
                    before = Some(Failures::after(before, now));
                    tried += 1;
                }
            }
            let elapsed = now.as_seconds() - 1_000_000;
            prop_assert!(tried <= 5 + 11 + elapsed / WAIT_SECONDS_MAX);
        }
    }
}
