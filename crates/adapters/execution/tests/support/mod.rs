//! Jobs in a temporary folder, and supervisors as real processes: this very test binary, started again.
#![allow(dead_code, reason = "each test binary uses its own part")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests may panic, and so may what they share")]

use agent_wire::{Bytes64, Job, JobReport, Order, OrderBody, PatchStep, SignedOrder, Step, StepAction};
use execution::{JobContext, JobFolder, JobState, Journal, JournalBounds};
use identifiers::{CommandId, JobId, NodeId, RequestId, Timestamp};
use std::ffi::OsString;
use std::path::Path;
use std::process::Child;
use std::time::{Duration, Instant};

pub(crate) const JOB_ID: &str = "11111111-2222-4333-8444-555555555555";
pub(crate) const COMMAND_ID: &str = "aaaaaaaa-2222-4333-8444-555555555555";

/// Waits until `condition` holds; a test that waits in vain fails.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub(crate) fn script(name: &str, lines: &str) -> Step {
    let lines = lines.lines().map(str::to_owned).collect();
    let action = StepAction::RunShellScript { lines, working_directory: String::new() };
    Step { name: name.to_owned(), plugin: "aws:runShellScript".to_owned(), timeout_seconds: 600, action }
}

pub(crate) fn patch(name: &str) -> Step {
    let baseline = patching::predefined().into_iter().next().expect("a predefined baseline");
    let step = PatchStep {
        operation: patching::PatchOperation::Install,
        reboot_option: patching::RebootOption::RebootIfNeeded,
        baseline,
        patch_group: String::new(),
        snapshot_id: String::new(),
        reboot_policy: None,
    };
    let action = StepAction::Patch(Box::new(step));
    Step { name: name.to_owned(), plugin: "careen:patch".to_owned(), timeout_seconds: 600, action }
}

pub(crate) fn job(id: &str, steps: Vec<Step>) -> Job {
    Job {
        job_id: JobId::parse(id).unwrap(),
        command_id: CommandId::parse(COMMAND_ID).unwrap(),
        document_name: "AWS-RunShellScript".to_owned(),
        steps,
    }
}

pub(crate) fn signed(job: &Job, expires_at: Timestamp) -> SignedOrder {
    let order = Order {
        node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
        incarnation: 1,
        issued_at: Timestamp::EPOCH,
        expires_at,
        request_id: RequestId::parse(COMMAND_ID).unwrap(),
        body: OrderBody::Run(job.clone()),
    };
    // Signatures are the agent's affair; the journal keeps what it is given.
    SignedOrder { payload: agent_wire::write(&order).unwrap(), signature: Bytes64([0; 64]) }
}

pub(crate) fn context() -> JobContext {
    JobContext {
        node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
        region: "eu-north-1".to_owned(),
        platform_name: "Debian GNU/Linux".to_owned(),
        platform_version: "12".to_owned(),
        reboot_command: "systemctl reboot".to_owned(),
    }
}

/// A job with an id of its own: control groups have its name, and tests run side by side.
pub(crate) fn accept(directory: &Path, steps: Vec<Step>) -> JobFolder {
    accept_as(&execution::uuid().unwrap(), directory, steps)
}

pub(crate) fn accept_as(id: &str, directory: &Path, steps: Vec<Step>) -> JobFolder {
    let mut journal = Journal::open(directory, JournalBounds::default()).unwrap();
    let job = job(id, steps);
    journal.accept(&signed(&job, execution::now().plus_seconds(3600)), &job, &context(), execution::now()).unwrap()
}

/// Starts a supervisor; `behaviour` is for the scripted patch runner.
pub(crate) fn start(folder: &JobFolder, behaviour: &str) -> Child {
    let exe = std::env::current_exe().unwrap();
    let argv: Vec<OsString> = vec![
        "/usr/bin/env".into(),
        format!("SUPERVISE_WITH={behaviour}").into(),
        "CAREEN_SECRET=not for scripts".into(),
        exe.into(),
        "--nocapture".into(),
        "--exact".into(),
        "supervisor_process".into(),
    ];
    execution::start_supervisor(&argv, folder).unwrap()
}

/// Runs a supervisor to its end.
pub(crate) fn supervise(folder: &JobFolder, behaviour: &str) {
    let status = start(folder, behaviour).wait().unwrap();
    let log = std::fs::read_to_string(folder.path().join("supervisor.log")).unwrap();
    assert!(status.success(), "{log}");
}

pub(crate) fn result(folder: &JobFolder) -> JobReport {
    folder.result().unwrap().expect("the job has a result")
}

/// Makes the host look as if it had been booted again since the state was written.
pub(crate) fn reboot(folder: &JobFolder) {
    let path = folder.path().join("state.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replace(&execution::boot_id().unwrap(), "an-earlier-boot")).unwrap();
    let _: JobState = folder.state().unwrap();
}

pub(crate) fn lines(path: &Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}

/// Whether a process lives; one that has ended but was not reaped does not.
pub(crate) fn lives(pid: i32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

pub(crate) fn pid_in(path: &Path) -> i32 {
    until("a pid is written", || std::fs::read_to_string(path).is_ok_and(|text| text.ends_with('\n')));
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

pub(crate) fn kill(pid: i32) {
    rustix::process::kill_process(rustix::process::Pid::from_raw(pid).unwrap(), rustix::process::Signal::KILL).unwrap();
}
