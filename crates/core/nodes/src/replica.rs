use identifiers::Timestamp;
use std::collections::BTreeMap;

/// How long a replica's row may stay as it is until the replica counts as gone, in seconds. It renews its row every second.
pub const REPLICA_PATIENCE_SECONDS: i64 = 5;

/// How long a replica's row is kept after its last change, in seconds.
const REPLICA_KEPT_SECONDS: i64 = 600;

/// A server process that works on the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Replica {
    /// Its name: random, new with each start.
    pub name: String,
    /// The program's version.
    pub version: String,
    /// When it began, by its own clock.
    pub started_at: Timestamp,
    /// When it last renewed this row, by its own clock.
    pub seen_at: Timestamp,
}

/// The replicas as one of them has seen their rows change.
///
/// The clocks of two machines are never compared: a replica is gone when its row has not *changed* for
/// [`REPLICA_PATIENCE_SECONDS`] of the observer's own time.
#[derive(Debug, Clone, Default)]
pub struct Replicas {
    noticed: BTreeMap<String, Noticed>,
}

#[derive(Debug, Clone, Copy)]
struct Noticed {
    seen_at: Timestamp,
    /// When the observer saw this for the first time, by its clock.
    changed_at: Timestamp,
    is_gone: bool,
}

impl Replicas {
    /// Takes in all rows, as they were read at `now`.
    pub fn observe(&mut self, rows: &[Replica], now: Timestamp) {
        let before = std::mem::take(&mut self.noticed);
        for row in rows {
            let known = before.get(&row.name).filter(|known| known.seen_at == row.seen_at);
            // A clock that was set back must not keep a dead replica alive.
            let changed_at = known.map_or(now, |known| known.changed_at.min(now));
            let is_gone = now.micros_since(changed_at) > REPLICA_PATIENCE_SECONDS.saturating_mul(1_000_000);
            self.noticed.insert(row.name.clone(), Noticed { seen_at: row.seen_at, changed_at, is_gone });
        }
    }

    /// Whether a replica is known to have stopped. One without a row is not: it may be of a version that writes none.
    #[must_use]
    pub fn is_gone(&self, name: &str) -> bool {
        self.noticed.get(name).is_some_and(|noticed| noticed.is_gone)
    }

    /// The replicas that live, in order.
    pub fn live(&self) -> impl Iterator<Item = &str> {
        self.noticed.iter().filter(|(_, noticed)| !noticed.is_gone).map(|(name, _)| name.as_str())
    }

    /// The replicas whose rows are of no use any more, in order: they may have been paused for minutes, but hardly for longer.
    pub fn forgettable(&self, now: Timestamp) -> impl Iterator<Item = &str> {
        let is_old = move |noticed: &Noticed| {
            noticed.is_gone && now.micros_since(noticed.changed_at) > REPLICA_KEPT_SECONDS.saturating_mul(1_000_000)
        };
        self.noticed.iter().filter(move |(_, noticed)| is_old(noticed)).map(|(name, _)| name.as_str())
    }

    /// Whether others than `own` live.
    #[must_use]
    pub fn has_others(&self, own: &str) -> bool {
        self.live().any(|name| name != own)
    }

    /// Whether `own` is the one to move `subject` on, so that the others need not try what only one can do. Nothing rests
    /// on their agreeing: where two think so, or a version before works beside, revisions decide; where the one is gone,
    /// another has taken its place after [`REPLICA_PATIENCE_SECONDS`].
    #[must_use]
    pub fn is_responsible(&self, own: &str, subject: &str) -> bool {
        let ours = weight(own, subject);
        self.live().filter(|name| *name != own).all(|name| (weight(name, subject), name) < (ours, own))
    }
}

/// Rendezvous hashing with FNV-1a (draft-eastlake-fnv, 64 bits): the same in every version, unlike the standard library's.
fn weight(name: &str, subject: &str) -> u64 {
    let bytes = name.bytes().chain([0]).chain(subject.bytes());
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    // FNV's high bits hardly depend on the last bytes.
    let mixed = (hash ^ (hash >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    mixed ^ (mixed >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn row(name: &str, seen: i64) -> Replica {
        Replica {
            name: name.to_owned(),
            version: "0.1.0".to_owned(),
            started_at: Timestamp::EPOCH,
            seen_at: Timestamp::from_seconds(seen),
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_seconds(second)
    }

    #[test]
    fn a_replica_is_gone_when_its_row_stays_as_it_is_whatever_its_clock_says() {
        let mut replicas = Replicas::default();
        // Its clock is days behind.
        replicas.observe(&[row("a", 5)], at(1_000_000));
        assert!(!replicas.is_gone("a"));
        replicas.observe(&[row("a", 5)], at(1_000_005));
        assert!(!replicas.is_gone("a"));
        replicas.observe(&[row("a", 5)], at(1_000_006));
        assert!(replicas.is_gone("a"));
        assert_eq!(replicas.live().count(), 0);
        replicas.observe(&[row("a", 6)], at(1_000_007));
        assert!(!replicas.is_gone("a"), "it was only paused");
        replicas.observe(&[], at(1_000_008));
        assert!(!replicas.is_gone("a"), "of one without a row nothing is known");
    }

    #[test]
    fn an_observer_that_was_paused_or_whose_clock_was_set_back_judges_by_what_it_reads_now() {
        let mut replicas = Replicas::default();
        replicas.observe(&[row("a", 5), row("dead", 5)], at(100));
        replicas.observe(&[row("a", 65), row("dead", 5)], at(160));
        assert_eq!(replicas.live().collect::<Vec<_>>(), ["a"]);
        replicas.observe(&[row("a", 66), row("dead", 5)], at(50));
        replicas.observe(&[row("a", 67), row("dead", 5)], at(56));
        assert!(replicas.is_gone("dead") && !replicas.is_gone("a"));
        assert_eq!(replicas.forgettable(at(650)).count(), 0);
        assert_eq!(replicas.forgettable(at(651)).collect::<Vec<_>>(), ["dead"]);
    }

    proptest! {
        #[test]
        fn exactly_one_is_responsible(count in 1_usize..6, subject in "[a-f0-9-]{1,36}") {
            let rows: Vec<Replica> = (0..count).map(|n| row(&format!("replica-{n}"), 1)).collect();
            let mut replicas = Replicas::default();
            replicas.observe(&rows, at(1));
            let responsible = rows.iter().filter(|row| replicas.is_responsible(&row.name, &subject)).count();
            prop_assert_eq!(responsible, 1);
            prop_assert!(Replicas::default().is_responsible("alone", &subject));
        }
    }

    #[test]
    fn the_work_is_shared_out() {
        let mut replicas = Replicas::default();
        replicas.observe(&[row("a", 1), row("b", 1)], at(1));
        let mine = (0..1000).filter(|n| replicas.is_responsible("a", &format!("command-{n}"))).count();
        assert!((400..600).contains(&mine), "{mine}");
    }
}
