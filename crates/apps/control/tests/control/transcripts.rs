//! Stories of a fleet, told in files that people can read. `CAREEN_WRITE_TRANSCRIPTS=1` writes them anew.

use std::path::Path;

use testkit::fleet::{FleetDatabase, FleetOptions, Sending, SimulatedFleet, compare_transcript};

use crate::support::run;

fn story(name: &str, agents: usize, told: impl AsyncFnOnce(&mut SimulatedFleet)) {
    run(async {
        let options = FleetOptions { seed: 3, agents, database: FleetDatabase::Sqlite, ..FleetOptions::default() };
        let mut fleet = SimulatedFleet::new(options).await.unwrap();
        told(&mut fleet).await;
        assert_eq!(fleet.violations().await.unwrap(), [] as [String; 0]);
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/control/transcripts").join(name);
        compare_transcript(&path, fleet.transcript()).unwrap();
        fleet.close().await;
    });
}

async fn connect(fleet: &mut SimulatedFleet, agents: impl IntoIterator<Item = usize>) {
    for agent in agents {
        assert!(fleet.connect(agent).await.unwrap());
        fleet.exchange(agent).await.unwrap();
    }
}

/// An agent does all it has to do, and all of it arrives.
async fn finish(fleet: &mut SimulatedFleet, agent: usize) {
    while fleet.work(agent).await.unwrap() {}
    fleet.exchange(agent).await.unwrap();
}

#[test]
fn a_rolling_command_survives_a_cut_link_and_a_server_that_ends() {
    story("rolling_command.txt", 4, async |fleet| {
        connect(fleet, 0..4).await;
        let command = fleet.send(&Sending::shell("true").rate("2", "1")).await.unwrap();
        fleet.activate().await.unwrap();
        for agent in 0..4 {
            fleet.exchange(agent).await.unwrap();
        }
        fleet.note_command(&command).await.unwrap();

        let two: Vec<usize> = (0..4).filter(|agent| fleet.agents()[*agent].jobs() > 0).collect();
        let [cut, other] = two[..] else { panic!("two at once, not {two:?}") };
        fleet.pass(12).await.unwrap();
        fleet.sever(cut).unwrap();
        finish(fleet, cut).await;
        finish(fleet, other).await;
        fleet.activate().await.unwrap();
        fleet.note_command(&command).await.unwrap();

        fleet.pass(5).await.unwrap();
        fleet.restart_server().await.unwrap();
        fleet.pass(30).await.unwrap();
        connect(fleet, 0..4).await;
        for _ in 0..2 {
            fleet.activate().await.unwrap();
            for agent in 0..4 {
                fleet.exchange(agent).await.unwrap();
                finish(fleet, agent).await;
            }
        }
        fleet.activate().await.unwrap();
        fleet.note_command(&command).await.unwrap();
    });
}

#[test]
fn a_command_stops_after_more_errors_than_it_bears() {
    story("stopped_by_errors.txt", 5, async |fleet| {
        connect(fleet, 0..5).await;
        let command = fleet.send(&Sending::shell("exit 3").rate("1", "1")).await.unwrap();
        for _ in 0..3 {
            fleet.activate().await.unwrap();
            for agent in 0..5 {
                fleet.exchange(agent).await.unwrap();
                finish(fleet, agent).await;
            }
            fleet.pass(1).await.unwrap();
            fleet.note_command(&command).await.unwrap();
        }
        fleet.activate().await.unwrap();
        fleet.note_command(&command).await.unwrap();
    });
}

#[test]
fn a_patch_run_goes_on_after_a_loss_of_power_and_a_script_does_not() {
    story("loss_of_power.txt", 2, async |fleet| {
        connect(fleet, 0..2).await;
        let patching = fleet.send(&Sending::patch("Install").to(&[0])).await.unwrap();
        let script = fleet.send(&Sending::shell("true").to(&[1])).await.unwrap();
        fleet.activate().await.unwrap();
        for agent in 0..2 {
            fleet.exchange(agent).await.unwrap();
            fleet.work(agent).await.unwrap();
            fleet.exchange(agent).await.unwrap();
        }
        for agent in 0..2 {
            fleet.lose_power(agent).await.unwrap();
        }
        fleet.pass(40).await.unwrap();
        connect(fleet, 0..2).await;
        for agent in 0..2 {
            finish(fleet, agent).await;
        }
        fleet.activate().await.unwrap();
        fleet.note_command(&patching).await.unwrap();
        fleet.note_command(&script).await.unwrap();
    });
}
