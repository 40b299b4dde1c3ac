//! Whatever goes wrong on the way, a command runs at most once on each node, keeps to its limits, comes to one end, and
//! every result arrives: histories of a simulated fleet, each chosen by a seed.

use std::collections::BTreeSet;
use std::ops::Range;

use commands::{EndState, InvocationState};
use testkit::fleet::{FleetDatabase, History, Sending, SimulatedFleet};

use crate::support::{on_both, run};

/// Histories whose promises must hold. One that breaks any is told whole, with the command that tells it again.
async fn promises_hold(histories: impl IntoIterator<Item = History>) {
    let mut failing = Vec::new();
    let mut states = BTreeSet::new();
    for history in histories {
        let told = history.tell().await.unwrap();
        states.extend(told.states);
        if !told.broken.is_empty() {
            failing.push(history.seed);
            for line in &told.transcript {
                eprintln!("{line}");
            }
            eprintln!("{history:?} broke:\n  {}", told.broken.join("\n  "));
            eprintln!("tell it again: cargo xtask simulate --seed {} --histories 1", history.seed);
        }
    }
    assert_eq!(failing, [] as [u64; 0], "these seeds break promises");
    // Histories in which nothing goes wrong would prove nothing.
    let seen = |end: &EndState| states.contains(&InvocationState::Ended(*end));
    let ends = [EndState::Success, EndState::Failed, EndState::DeliveryTimedOut, EndState::Cancelled];
    assert!(ends.iter().all(seen), "only {states:?}");
}

macro_rules! histories {
    ($($name:ident: $seeds:expr;)*) => {$(
        #[test]
        fn $name() {
            let seeds: Range<u64> = $seeds;
            run(promises_hold(seeds.map(History::new)));
        }
    )*};
}

// As many as two cores tell within a minute; `cargo xtask simulate` tells a thousand and more.
histories! {
    promises_hold_1_to_25: 1..26;
    promises_hold_26_to_50: 26..51;
    promises_hold_51_to_75: 51..76;
    promises_hold_76_to_100: 76..101;
}

#[test]
fn promises_hold_on_postgres() {
    run(promises_hold((61..67).map(|seed| History { database: FleetDatabase::Postgres, ..History::new(seed) })));
}

#[test]
fn a_seed_tells_the_same_history_each_time() {
    run(async {
        let history = History { agents: 8, ..History::new(6) };
        let (one, other) = (history.tell().await.unwrap(), history.tell().await.unwrap());
        assert_eq!(one.transcript, other.transcript);
        assert!(one.transcript.len() > 300, "something happened");
    });
}

on_both! {
    turns_and_results_that_meet_keep_to_the_limits: 9;
}

/// The one thing that histories of single steps leave out: what happens at the same moment.
async fn turns_and_results_that_meet_keep_to_the_limits(fleet: &mut SimulatedFleet) {
    for (line, at_once, errors) in [("true", "2", "0"), ("exit 3", "3", "2"), ("exit 3", "1", "0")] {
        fleet.send(&Sending::shell(line).rate(at_once, errors)).await.unwrap();
    }
    fleet.send(&Sending::patch("Install").rate("4", "1")).await.unwrap();
    let server = fleet.server().clone();
    for _ in 0..12 {
        let turn = || control::reconcilers::activate_all(&server);
        let (well, one, other, third) = tokio::join!(fleet.go_well(), turn(), turn(), turn());
        well.unwrap();
        assert_eq!([one, other, third].map(|done| done.unwrap().failures), [0; 3]);
    }
    assert_eq!(fleet.violations().await.unwrap(), [] as [String; 0]);
    for command in fleet.commands() {
        assert!(fleet.command_row(command).await.unwrap().state.is_ended());
    }
}
