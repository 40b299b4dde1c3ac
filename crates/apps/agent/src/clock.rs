use identifiers::Timestamp;
use rustix::time::{ClockId, clock_gettime};

/// What the true time is taken to be: what the server's clock said last and the time that has passed since, never before the
/// latest instant at which an obeyed order was signed; before the first word of a server, this host's clock.
///
/// Hosts come up with clocks that are wrong and are set right a moment later. Time is therefore counted on from the server's
/// word by a clock that nobody sets and that goes on while the host sleeps.
///
/// Whoever sits in the middle may hold the server's word back; the signed instant bounds how far a stale order can be made to
/// look fresh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    learned: Option<Learned>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Learned {
    server: Timestamp,
    /// The microseconds since boot then.
    uptime_micros: i64,
    offset_micros: i64,
}

/// The microseconds since this host booted, time asleep included.
pub(crate) fn uptime_micros() -> i64 {
    let time = clock_gettime(ClockId::Boottime);
    time.tv_sec.saturating_mul(1_000_000).saturating_add(time.tv_nsec / 1_000)
}

impl Clock {
    /// Learns from the server's `now` at the moment when ours is `local` and the host is up for `uptime_micros`.
    pub(crate) fn learn(&mut self, server: Timestamp, local: Timestamp, uptime_micros: i64) {
        self.learned = Some(Learned { server, uptime_micros, offset_micros: server.micros_since(local) });
    }

    /// The server's clock minus ours when it was learned, in seconds.
    pub(crate) fn offset_seconds(self) -> i64 {
        self.learned.map_or(0, |learned| learned.offset_micros / 1_000_000)
    }

    /// The true time, as far as it is known.
    pub(crate) fn now(self, local: Timestamp, uptime_micros: i64, signed_at: Timestamp) -> Timestamp {
        let counted = self.learned.map(|learned| {
            let passed = uptime_micros.saturating_sub(learned.uptime_micros).max(0);
            Timestamp::from_micros(learned.server.as_micros().saturating_add(passed))
        });
        counted.unwrap_or(local).max(signed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_counts_on_however_ours_is_set_but_not_below_what_was_signed() {
        let at = Timestamp::from_seconds;
        let mut clock = Clock::default();
        assert_eq!(clock.now(at(50), 7_000_000, at(0)), at(50));
        clock.learn(at(1000), at(10), 7_000_000);
        assert_eq!(clock.offset_seconds(), 990);
        for local in [20, 5_000_000, 0] {
            assert_eq!(clock.now(at(local), 17_000_000, at(0)), at(1010));
        }
        assert_eq!(clock.now(at(20), 17_000_000, at(1500)), at(1500));
        clock.learn(at(0), at(2000), 20_000_000);
        assert_eq!(clock.now(at(2010), 30_000_000, at(500)), at(500));
    }

    #[test]
    fn time_passes_since_boot() {
        let before = uptime_micros();
        assert!(before > 0 && uptime_micros() >= before);
    }
}
