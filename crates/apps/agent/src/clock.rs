use identifiers::Timestamp;

/// What the true time is taken to be: this host's clock, moved by what the server's clock said last, and never before
/// the latest instant at which an obeyed order was signed.
///
/// The server's word for the time is not signed, so whoever sits in the middle may lie about it; the signed instant
/// bounds how far a stale order can be made to look fresh.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Clock {
    offset_micros: i64,
}

impl Clock {
    /// Learns from the server's `now` at the moment when ours is `local`.
    pub(crate) fn learn(&mut self, server: Timestamp, local: Timestamp) {
        self.offset_micros = server.micros_since(local);
    }

    /// The server's clock minus ours, in seconds.
    pub(crate) fn offset_seconds(self) -> i64 {
        self.offset_micros / 1_000_000
    }

    /// The true time, as far as it is known.
    pub(crate) fn now(self, local: Timestamp, signed_at: Timestamp) -> Timestamp {
        Timestamp::from_micros(local.as_micros().saturating_add(self.offset_micros)).max(signed_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_servers_clock_corrects_ours_but_not_below_what_was_signed() {
        let at = Timestamp::from_seconds;
        let mut clock = Clock::default();
        assert_eq!(clock.now(at(50), at(0)), at(50));
        clock.learn(at(1000), at(10));
        assert_eq!(clock.now(at(20), at(0)), at(1010));
        assert_eq!(clock.offset_seconds(), 990);
        clock.learn(at(0), at(2000));
        assert_eq!(clock.now(at(2010), at(500)), at(500));
    }
}
