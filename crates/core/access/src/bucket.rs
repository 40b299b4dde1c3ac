use identifiers::Timestamp;

/// One token, in the unit that a bucket counts in: a refill of a microsecond is then a whole number.
const TOKEN: i64 = 1_000_000;

/// How much may be spent: a lasting rate, and what may be saved up for a burst.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    /// Tokens a second that flow in.
    pub per_second: u32,
    /// Tokens that the bucket holds.
    pub burst: u32,
}

impl Rate {
    fn capacity(self) -> i64 {
        i64::from(self.burst) * TOKEN
    }

    /// How long it takes, in microseconds, until `missing` millionths of a token have flowed in. Without any inflow never.
    fn micros_for(self, missing: i64) -> i64 {
        match i64::from(self.per_second) {
            0 => i64::MAX,
            per_second => missing.max(0).saturating_add(per_second - 1) / per_second,
        }
    }
}

/// A token bucket: what one principal has left to spend. The rate is an argument, so that a changed setting holds at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bucket {
    /// In millionths of a token; below zero after [`Bucket::spend`] beyond what was there.
    level: i64,
    at: Timestamp,
}

impl Bucket {
    /// A bucket of somebody who has not spent anything yet.
    #[must_use]
    pub fn full(rate: Rate, now: Timestamp) -> Self {
        Self { level: rate.capacity(), at: now }
    }

    /// Lets in what has flowed since. A clock that was set back lets nothing in, and takes nothing away.
    fn refill(&mut self, rate: Rate, now: Timestamp) {
        let elapsed = now.micros_since(self.at).max(0);
        let inflow = elapsed.saturating_mul(i64::from(rate.per_second));
        self.level = self.level.saturating_add(inflow).min(rate.capacity());
        self.at = now;
    }

    /// Takes `tokens` if they are all there; otherwise nothing is taken, and the answer is `false`. What costs more than
    /// the bucket holds is taken from a full one.
    pub fn take(&mut self, rate: Rate, tokens: u32, now: Timestamp) -> bool {
        self.refill(rate, now);
        let price = (i64::from(tokens) * TOKEN).min(rate.capacity());
        let enough = self.level >= price;
        if enough {
            self.level -= price;
        }
        enough
    }

    /// Takes `tokens` whether they are there or not, for what has happened already; how long to wait, in microseconds, until
    /// the debt is paid.
    pub fn spend(&mut self, rate: Rate, tokens: u32, now: Timestamp) -> i64 {
        self.refill(rate, now);
        self.level = self.level.saturating_sub(i64::from(tokens) * TOKEN);
        rate.micros_for(self.level.saturating_neg())
    }

    /// Whether it says no more than that its owner has spent nothing: such a bucket can be forgotten.
    #[must_use]
    pub fn is_full(mut self, rate: Rate, now: Timestamp) -> bool {
        self.refill(rate, now);
        self.level >= rate.capacity()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: i64 = 1_000_000;

    fn at(micros: i64) -> Timestamp {
        Timestamp::from_micros(micros)
    }

    #[test]
    fn a_burst_is_saved_up_and_then_the_rate_holds() {
        let rate = Rate { per_second: 2, burst: 10 };
        let mut bucket = Bucket::full(rate, at(0));
        assert!((0..10).all(|_| bucket.take(rate, 1, at(0))));
        assert!(!bucket.take(rate, 1, at(0)));
        assert!(!bucket.take(rate, 1, at(SECOND / 2 - 1)));
        assert!(bucket.take(rate, 1, at(SECOND / 2)));
        assert!(!bucket.is_full(rate, at(5 * SECOND)));
        assert!(bucket.is_full(rate, at(6 * SECOND)));
    }

    #[test]
    fn what_costs_more_than_the_bucket_holds_is_taken_from_a_full_one() {
        let rate = Rate { per_second: 1, burst: 3 };
        let mut bucket = Bucket::full(rate, at(0));
        assert!(bucket.take(rate, 5, at(0)));
        assert!(!bucket.take(rate, 5, at(2 * SECOND)));
        assert!(bucket.take(rate, 5, at(3 * SECOND)));
    }

    #[test]
    fn a_debt_is_waited_for() {
        let rate = Rate { per_second: 4, burst: 8 };
        let mut bucket = Bucket::full(rate, at(0));
        assert_eq!(bucket.spend(rate, 8, at(0)), 0);
        assert_eq!(bucket.spend(rate, 2, at(0)), SECOND / 2);
        assert_eq!(bucket.spend(rate, 0, at(SECOND / 2)), 0);
        let never = Rate { per_second: 0, burst: 1 };
        assert_eq!(Bucket::full(never, at(0)).spend(never, 2, at(0)), i64::MAX);
    }

    proptest! {
        /// Whatever is asked, whenever, also when the clock is set back: never more than the burst and the rate since.
        #[test]
        fn never_more_than_burst_and_rate(
            per_second in 0_u32..1000,
            burst in 1_u32..1000,
            steps in proptest::collection::vec((-2 * SECOND..2 * SECOND, 1_u32..50), 1..200),
        ) {
            let rate = Rate { per_second, burst };
            let (mut now, mut forward, mut taken) = (10 * SECOND, 0_i64, 0_i64);
            let mut bucket = Bucket::full(rate, at(now));
            for (step, tokens) in steps {
                let before = now;
                now = (now + step).max(0);
                forward += (now - before).max(0);
                if bucket.take(rate, tokens, at(now)) {
                    taken += i64::from(tokens.min(burst));
                }
                prop_assert!(taken * TOKEN <= i64::from(burst) * TOKEN + forward * i64::from(per_second));
            }
        }

        /// Whoever waits as long as told is out of debt, and not a microsecond sooner.
        #[test]
        fn the_wait_is_exact(per_second in 1_u32..100_000, burst in 1_u32..1000, tokens in 1_u32..100_000) {
            let rate = Rate { per_second, burst };
            let mut bucket = Bucket::full(rate, at(0));
            let wait = bucket.spend(rate, tokens, at(0));
            let mut early = bucket;
            prop_assert_eq!(bucket.spend(rate, 0, at(wait)), 0);
            if wait > 0 {
                prop_assert!(early.spend(rate, 0, at(wait - 1)) > 0);
            }
        }

        #[test]
        fn no_number_makes_it_panic(per_second: u32, burst: u32, tokens: u32, first: i64, second: i64) {
            let rate = Rate { per_second, burst };
            let mut bucket = Bucket::full(rate, at(first));
            bucket.take(rate, tokens, at(second));
            bucket.spend(rate, tokens, at(first));
            let _ = bucket.is_full(rate, at(second));
        }
    }
}
