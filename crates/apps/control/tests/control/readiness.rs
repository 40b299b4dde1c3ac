//! What a server says of its own state.

use control::{
    readiness::Finding,
    reconcilers::{self, RECONCILERS, Reconciler, Turn, TurnEnd},
};
use testkit::fleet::{Sending, SimulatedFleet};

use crate::support::on_both;

on_both! {
    every_reconciler_says_what_it_did: 3;
    a_server_without_its_database_is_not_ready_and_says_so: 0;
    what_an_edge_reports_counts: 0;
}

async fn every_reconciler_says_what_it_did(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    assert!(server.turns.list().iter().all(|(_, turn)| turn.is_none()));
    fleet.send(&Sending::shell("true")).await.unwrap();
    reconcilers::activate_all(&server).await.unwrap();
    let turns = server.turns.list();
    assert_eq!(turns.len(), RECONCILERS.len());
    for (reconciler, turn) in turns {
        let turn = turn.unwrap();
        assert!(matches!(turn.end, Some(TurnEnd::Done(_))), "{}: {:?}", reconciler.name, turn.end);
        assert!(!turn.running && turn.ended > 0 && turn.failed == 0 && turn.succeeded_at.is_some());
    }
    let is_dispatch = |(reconciler, _): &(&'static Reconciler, Option<Turn>)| reconciler.name == "dispatch";
    let dispatch = server.turns.list().into_iter().find(is_dispatch).unwrap().1.unwrap();
    assert_eq!((dispatch.done["commands"], dispatch.done["orders"]), (1, 3));
}

async fn a_server_without_its_database_is_not_ready_and_says_so(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    server.store.close().await;
    assert!(reconcilers::activate_all(&server).await.is_err());
    let findings = server.readiness().await;
    assert!(matches!(findings[0], ("database", Finding::Bad(_))), "{findings:?}");
    let warned = |(name, finding): &(&str, Finding)| *name == "reconcilers" && matches!(finding, Finding::Warning(_));
    assert!(findings.iter().any(warned), "{findings:?}");
}

async fn what_an_edge_reports_counts(fleet: &mut SimulatedFleet) {
    let server = fleet.server().clone();
    server.readiness.report("certificate", Finding::Bad("it has expired".to_owned()));
    server.readiness.report("certificate", Finding::Warning("it expires soon".to_owned()));
    let findings = server.readiness().await;
    assert_eq!(findings.last(), Some(&("certificate", Finding::Warning("it expires soon".to_owned()))));
    assert!(!findings.iter().any(|(_, finding)| matches!(finding, Finding::Bad(_))), "{findings:?}");
}
