//! What nodes say of their jobs, their patches and their packages, in good order and in bad.

use agent_wire::{
    FromServer, InventoryReport, JobRefusal, JobReport, OfferedVersion, PatchRunReport, StepReport, StepStatus,
    ToServerBody,
};
use aws_wire::ssm::Operation;
use commands::{EndState, Invocation, InvocationState, OpenState};
use identifiers::{CommandId, JobId};
use packages::{Distribution, InstallState, InstalledPackage, Inventory};
use patching::{PatchOperation, PatchReport, PatchSummary, RebootOption};
use serde_json::json;
use store::AuditQuery;
use testkit::fleet::{FleetDatabase, Sending, SimulatedFleet};

use crate::support::{call, home, node, on_both, with_fleet};

const NOBODYS_JOB: &str = "00000000-0000-4000-8000-000000000000";

/// What a command is on one agent's node.
async fn invocation(fleet: &SimulatedFleet, command: &CommandId, agent: usize) -> Invocation {
    let node = fleet.agents()[agent].node_id().unwrap();
    let rows = fleet.invocation_rows(command).await.unwrap();
    rows.into_iter().find(|row| row.node_id == *node).unwrap()
}

async fn state(fleet: &SimulatedFleet, command: &CommandId, agent: usize) -> InvocationState {
    invocation(fleet, command, agent).await.state
}

fn ended(end: EndState) -> InvocationState {
    InvocationState::Ended(end)
}

fn result(job_id: &JobId, command_id: &CommandId, stdout: &str) -> ToServerBody {
    ToServerBody::JobFinished(JobReport {
        job_id: job_id.clone(),
        command_id: command_id.clone(),
        steps: vec![StepReport {
            name: "aws:runShellScript".to_owned(),
            status: StepStatus::Success,
            exit_code: 0,
            started_at: None,
            finished_at: None,
            stdout: stdout.to_owned(),
            stderr: String::new(),
            stdout_truncated: false,
            stderr_truncated: false,
        }],
        finished_at: identifiers::Timestamp::EPOCH,
    })
}

/// A command that has been handed to the first agent and that it has not answered.
async fn handed_out(fleet: &mut SimulatedFleet, sending: Sending) -> (CommandId, JobId) {
    let command = fleet.send(&sending.to(&[0])).await.unwrap();
    fleet.activate().await.unwrap();
    let invocation = invocation(fleet, &command, 0).await;
    assert_eq!(invocation.state, InvocationState::Open(OpenState::Sent));
    (command, invocation.job_id)
}

fn acknowledged(id: u64) -> Vec<FromServer> {
    vec![FromServer::Acknowledged { id }]
}

on_both! {
    a_node_cannot_speak_of_another_nodes_job: 2;
    a_result_counts_once: 1;
    a_cancel_that_overtakes_its_job_cancels_it: 1;
    a_refusal_does_not_end_what_the_node_has: 1;
    a_patch_run_counts_once: 1;
    an_inventory_that_does_not_fit_is_asked_for_whole: 1;
}

async fn a_node_cannot_speak_of_another_nodes_job(fleet: &mut SimulatedFleet) {
    let (command, job) = handed_out(fleet, Sending::shell("true")).await;
    let bodies = [
        ToServerBody::JobAccepted { job_id: job.clone() },
        ToServerBody::StepStarted {
            job_id: job.clone(),
            step: "aws:runShellScript".to_owned(),
            at: fleet.clock().now(),
        },
        ToServerBody::JobRefused { job_id: job.clone(), reason: "no".to_owned(), cause: JobRefusal::Other },
        ToServerBody::OrderRefused { job_id: Some(job.clone()), reason: "no".to_owned() },
        result(&job, &command, "forged"),
        ToServerBody::PatchRun(Box::new(patch_run(fleet, &job, &command, "forged"))),
        ToServerBody::JobAccepted { job_id: JobId::parse(NOBODYS_JOB).unwrap() },
    ];
    for (id, body) in (900..).zip(bodies) {
        // It makes no sense, and said again it would make no more: the agent may forget it.
        assert_eq!(fleet.say(1, id, body).await.unwrap(), acknowledged(id));
    }
    assert_eq!(state(fleet, &command, 0).await, InvocationState::Open(OpenState::Sent), "nothing has changed");
    let other = fleet.agents()[1].node_id().unwrap().clone();
    assert!(fleet.server().store.patch_summary_get(&home(), &other).await.unwrap().row.is_none());
    fleet.exchange(0).await.unwrap();
    while fleet.work(0).await.unwrap() {}
    fleet.exchange(0).await.unwrap();
    assert_eq!(state(fleet, &command, 0).await, ended(EndState::Success), "the right node's word counts");
}

async fn a_result_counts_once(fleet: &mut SimulatedFleet) {
    let (command, job) = handed_out(fleet, Sending::shell("true")).await;
    assert_eq!(fleet.say(0, 900, result(&job, &command, "first")).await.unwrap(), acknowledged(900));
    let first = invocation(fleet, &command, 0).await;
    assert_eq!(first.state, ended(EndState::Success));
    fleet.clock().advance_seconds(60);
    assert_eq!(fleet.say(0, 900, result(&job, &command, "second")).await.unwrap(), acknowledged(900));
    assert_eq!(fleet.say(0, 901, ToServerBody::JobAccepted { job_id: job.clone() }).await.unwrap(), acknowledged(901));
    assert_eq!(invocation(fleet, &command, 0).await, first);
    let outputs = fleet.server().store.step_output_list(&home(), &command, &first.node_id).await.unwrap();
    assert_eq!(outputs.iter().map(|output| output.stdout.as_str()).collect::<Vec<_>>(), ["first"]);
    let events = fleet.server().store.event_list(&home(), 0, 1000).await.unwrap();
    let finished = events.iter().filter(|entry| entry.event.kind == "command.invocation.finished");
    assert_eq!(finished.count(), 1);
}

async fn a_cancel_that_overtakes_its_job_cancels_it(fleet: &mut SimulatedFleet) {
    let (command, _) = handed_out(fleet, Sending::shell("true")).await;
    // The order is on its way when the link goes; the node hears of the cancel first, and will never run the job.
    fleet.sever(0).unwrap();
    fleet.cancel(&command).await.unwrap();
    assert_eq!(state(fleet, &command, 0).await, InvocationState::Open(OpenState::Cancelling));
    assert!(fleet.connect(0).await.unwrap());
    fleet.exchange(0).await.unwrap();
    assert_eq!(state(fleet, &command, 0).await, ended(EndState::Cancelled));
    fleet.activate().await.unwrap();
    assert_eq!(fleet.command_row(&command).await.unwrap().state, commands::CommandState::Cancelled);
    assert!(!fleet.work(0).await.unwrap(), "there is nothing to run");
}

async fn a_refusal_does_not_end_what_the_node_has(fleet: &mut SimulatedFleet) {
    let refusal = |job: &JobId| ToServerBody::OrderRefused { job_id: Some(job.clone()), reason: "expired".to_owned() };
    let (command, job) = handed_out(fleet, Sending::shell("true").within_seconds(60)).await;
    fleet.exchange(0).await.unwrap();
    assert_eq!(state(fleet, &command, 0).await, InvocationState::Open(OpenState::Accepted));
    // A late repetition of the order, which the node refuses.
    assert_eq!(fleet.say(0, 900, refusal(&job)).await.unwrap(), acknowledged(900));
    assert_eq!(state(fleet, &command, 0).await, InvocationState::Open(OpenState::Accepted));
    fleet.cancel(&command).await.unwrap();
    assert_eq!(fleet.say(0, 901, refusal(&job)).await.unwrap(), acknowledged(901));
    assert_eq!(
        state(fleet, &command, 0).await,
        InvocationState::Open(OpenState::Cancelling),
        "nor does a refused cancel"
    );
    let refused = AuditQuery { action: Some("careen:ReceiveOrder".to_owned()), ..AuditQuery::all(10) };
    assert_eq!(fleet.server().store.audit_list(&home(), &refused).await.unwrap().len(), 2, "but each is written down");
    while fleet.work(0).await.unwrap() {}
    fleet.exchange(0).await.unwrap();
    assert!(state(fleet, &command, 0).await.is_ended());

    let (command, job) = handed_out(fleet, Sending::shell("true")).await;
    assert_eq!(fleet.say(0, 902, refusal(&job)).await.unwrap(), acknowledged(902));
    assert_eq!(state(fleet, &command, 0).await, ended(EndState::Undeliverable), "what waits for the node ends");
}

/// A report of a host whose clock is some seconds ahead.
fn patch_run(fleet: &SimulatedFleet, job: &JobId, command: &CommandId, report_id: &str) -> PatchRunReport {
    let started_at = fleet.clock().now();
    let summary = PatchSummary {
        operation: PatchOperation::Scan,
        baseline_id: patching::predefined()[0].id.clone(),
        patch_group: String::new(),
        snapshot_id: String::new(),
        reboot_option: RebootOption::NoReboot,
        started_at,
        ended_at: started_at.plus_seconds(5),
        last_no_reboot_install_at: None,
        installed_count: 1,
        installed_other_count: 0,
        installed_pending_reboot_count: 0,
        installed_rejected_count: 0,
        missing_count: 0,
        failed_count: 0,
        critical_non_compliant_count: 0,
        security_non_compliant_count: 0,
        other_non_compliant_count: 0,
        notes: Vec::new(),
    };
    let offered = OfferedVersion { name: "zlib1g".into(), architecture: "amd64".into(), version: "2".into() };
    PatchRunReport {
        report_id: report_id.to_owned(),
        job_id: job.clone(),
        command_id: command.clone(),
        report: PatchReport { summary, rows: Vec::new(), notes: Vec::new() },
        inventory_digest: String::new(),
        offered: vec![offered],
    }
}

async fn a_patch_run_counts_once(fleet: &mut SimulatedFleet) {
    let (command, job) = handed_out(fleet, Sending::patch("Scan")).await;
    let run = patch_run(fleet, &job, &command, "before the reboot");
    for id in [900, 900, 901] {
        let body = ToServerBody::PatchRun(Box::new(run.clone()));
        assert_eq!(fleet.say(0, id, body).await.unwrap(), acknowledged(id));
        fleet.clock().advance_seconds(30);
    }
    let node = fleet.agents()[0].node_id().unwrap().clone();
    let store = &fleet.server().store;
    let kept = store.patch_report_list(&home(), &node, None, 100).await.unwrap();
    assert_eq!(kept.len(), 1);
    let told = store.event_list(&home(), 0, 1000).await.unwrap();
    assert_eq!(told.iter().filter(|entry| entry.event.kind == "node.patches.reported").count(), 1);
    let seen = store.offered_version_list(&home(), "debian", &["zlib1g".to_owned()]).await.unwrap();
    assert_eq!(seen.len(), 1);
    // The report after a reboot belongs to the same job and is another one.
    let later = patch_run(fleet, &job, &command, "after the reboot");
    fleet.say(0, 902, ToServerBody::PatchRun(Box::new(later))).await.unwrap();
    let store = &fleet.server().store;
    assert_eq!(store.patch_report_list(&home(), &node, None, 100).await.unwrap().len(), 2);
    let again = store.offered_version_list(&home(), "debian", &["zlib1g".to_owned()]).await.unwrap();
    assert_eq!(again, seen, "a version is seen first once");
}

fn inventory(versions: &[(&str, &str)]) -> Inventory {
    let package = |(name, version): &(&str, &str)| InstalledPackage {
        name: (*name).to_owned(),
        architecture: "amd64".to_owned(),
        version: (*version).to_owned(),
        source: (*name).to_owned(),
        source_version: (*version).to_owned(),
        section: String::new(),
        priority: String::new(),
        state: InstallState::Installed,
        held: false,
    };
    let distribution = Distribution { id: "debian".into(), ..Distribution::default() };
    Inventory::new(distribution, versions.iter().map(package).collect())
}

async fn an_inventory_that_does_not_fit_is_asked_for_whole(fleet: &mut SimulatedFleet) {
    let node = fleet.agents()[0].node_id().unwrap().clone();
    let before = fleet.server().store.inventory_get(&home(), &node).await.unwrap().unwrap();
    let now = inventory(&[("a", "1"), ("b", "2")]);
    let report = |from: Option<&str>| {
        ToServerBody::Inventory(Box::new(InventoryReport {
            at: fleet.clock().now(),
            command_id: None,
            distribution: now.distribution.clone(),
            from_digest: from.map(str::to_owned),
            to_digest: now.digest(),
            present: now.packages.clone(),
            absent: Vec::new(),
        }))
    };
    let (strange, whole) = (report(Some(&"0".repeat(64))), report(None));
    let answers = fleet.say(0, 900, strange.clone()).await.unwrap();
    assert_eq!(answers, [FromServer::Acknowledged { id: 900 }, FromServer::InventoryWanted]);
    let store = &fleet.server().store;
    assert_eq!(store.inventory_get(&home(), &node).await.unwrap().unwrap(), before, "nothing of it was kept");
    let digest = store.node_get(&home(), &node).await.unwrap().row.unwrap().inventory_digest;
    assert_eq!(digest, Some(before.digest()), "nor does the node's row say so");
    for id in [901, 902] {
        assert_eq!(fleet.say(0, id, whole.clone()).await.unwrap(), acknowledged(id));
    }
    let store = &fleet.server().store;
    assert_eq!(store.inventory_get(&home(), &node).await.unwrap().unwrap(), now);
    let digest = store.node_get(&home(), &node).await.unwrap().row.unwrap().inventory_digest;
    assert_eq!(digest, Some(now.digest()));
}

#[test]
fn an_inventory_is_kept_though_others_change_the_node_meanwhile() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let id = node(fleet, 0);
        let now = inventory(&[("a", "1")]);
        let report = InventoryReport {
            at: fleet.clock().now(),
            command_id: None,
            distribution: now.distribution.clone(),
            from_digest: None,
            to_digest: now.digest(),
            present: now.packages.clone(),
            absent: Vec::new(),
        };
        let contexts: Vec<_> = (0..3).map(|_| fleet.context().unwrap()).collect();
        let bodies: Vec<_> =
            (0..3).map(|number| json!({"InstanceId": id, "IamRole": format!("service-role/{number}")})).collect();
        let change = |at: usize| crate::support::ask(&contexts[at], Operation::UpdateManagedInstanceRole, &bodies[at]);
        let body = ToServerBody::Inventory(Box::new(report));
        let (one, other, third, said) = tokio::join!(change(0), change(1), change(2), fleet.say(0, 900, body));
        for answer in [one, other, third] {
            answer.unwrap();
        }
        assert_eq!(said.unwrap(), acknowledged(900), "the agent would not say it again for minutes");
    });
}

#[test]
fn after_its_time_no_job_is_handed_out() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let (command, _) = handed_out(fleet, Sending::shell("true").within_seconds(60)).await;
        fleet.sever(0).unwrap();
        fleet.clock().advance_seconds(61);
        fleet.connect(0).await.unwrap();
        assert_eq!(fleet.activate().await.unwrap().count("orders"), 0);
        fleet.exchange(0).await.unwrap();
        assert_eq!(state(fleet, &command, 0).await, InvocationState::Open(OpenState::Sent), "the node may have it");
        fleet.clock().advance_seconds(600);
        fleet.activate().await.unwrap();
        assert_eq!(state(fleet, &command, 0).await, ended(EndState::DeliveryTimedOut));
    });
}

#[test]
fn an_order_is_said_again_until_it_is_answered_but_not_at_every_turn() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let (command, _) = handed_out(fleet, Sending::shell("true")).await;
        assert_eq!(fleet.activate().await.unwrap().count("orders"), 0, "it was said a moment ago");
        fleet.clock().advance_seconds(15);
        assert_eq!(fleet.activate().await.unwrap().count("orders"), 1);
        fleet.exchange(0).await.unwrap();
        fleet.clock().advance_seconds(15);
        assert_eq!(fleet.activate().await.unwrap().count("orders"), 0, "it is answered");
        while fleet.work(0).await.unwrap() {}
        fleet.exchange(0).await.unwrap();
        assert_eq!(state(fleet, &command, 0).await, ended(EndState::Success));
        fleet.activate().await.unwrap();
        assert_eq!(fleet.violations().await.unwrap(), [] as [String; 0], "said twice, run once");
    });
}

#[test]
fn what_a_node_that_was_sent_away_had_to_do_ends() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let (running, job) = handed_out(fleet, Sending::shell("true")).await;
        fleet.exchange(0).await.unwrap();
        let waiting = fleet.send(&Sending::shell("true").to(&[0])).await.unwrap();
        let id = node(fleet, 0);
        call(fleet, Operation::DeregisterManagedInstance, json!({"InstanceId": id})).await;
        for command in [&running, &waiting] {
            assert_eq!(state(fleet, command, 0).await, ended(EndState::Undeliverable));
        }
        fleet.activate().await.unwrap();
        assert!(fleet.command_row(&running).await.unwrap().state.is_ended());
        assert!(fleet.say(0, 900, result(&job, &running, "late")).await.is_err(), "nobody listens any more");
    });
}

#[test]
fn a_node_is_on_line_as_long_as_it_is_heard_of() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let status = async |fleet: &SimulatedFleet| {
            let answer = call(fleet, Operation::DescribeInstanceInformation, json!({})).await;
            answer["InstanceInformationList"][0]["PingStatus"].as_str().unwrap().to_owned()
        };
        for _ in 0..10 {
            fleet.pass(30).await.unwrap();
            fleet.exchange(0).await.unwrap();
            fleet.activate().await.unwrap();
            assert_eq!(status(fleet).await, "Online");
        }
        fleet.sever(0).unwrap();
        fleet.pass(70).await.unwrap();
        assert_eq!(status(fleet).await, "Online", "two and a half heartbeats may pass");
        fleet.pass(10).await.unwrap();
        assert_eq!(status(fleet).await, "ConnectionLost");
        assert!(!fleet.server().is_connected(fleet.agents()[0].node_id().unwrap()), "its connection is given up");
        assert!(fleet.connect(0).await.unwrap());
        assert_eq!(status(fleet).await, "Online", "a call is a sign of life");
        fleet.restart_server().await.unwrap();
        assert_eq!(status(fleet).await, "Online");
        fleet.pass(80).await.unwrap();
        fleet.activate().await.unwrap();
        assert_eq!(status(fleet).await, "ConnectionLost", "the server that it was connected to is gone");
    });
}

#[test]
fn a_message_of_a_newer_kind_is_answered_and_changes_nothing() {
    with_fleet(1, FleetDatabase::Sqlite, async |fleet| {
        let answers = fleet.say(0, 900, ToServerBody::Unknown).await.unwrap();
        assert_eq!(answers, [FromServer::Unsupported { id: 900 }]);
    });
}
