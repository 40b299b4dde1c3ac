//! Jobs run by real supervisor processes: steps, signals, deaths and reboots.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use agent_wire::{PatchStep, StepStatus};
use execution::{JobFolder, PatchEnd, PatchOutcome, PatchRun, PatchRunner, StepState};
use std::io::Write;
use std::path::Path;
use support::*;

/// A patch runner that writes down how it was called and does what the test asks for; no package is touched.
struct Scripted(String);

impl PatchRunner for Scripted {
    fn run_patch(&mut self, _: &PatchStep, run: &mut PatchRun<'_>) -> PatchOutcome {
        let folder = std::env::args().next_back().unwrap();
        let calls = Path::new(&folder).join("calls");
        let mut file = std::fs::OpenOptions::new().append(true).create(true).open(&calls).unwrap();
        writeln!(file, "rebooted={} resumed={}", run.rebooted, run.resumed).unwrap();
        writeln!(run.stdout, "patching").unwrap();
        let calls = lines(&calls);
        let end = match self.0.as_str() {
            "reboot-once" if calls == 1 => PatchEnd::RebootWanted { reason: "the kernel changed".to_owned() },
            "hang-once" if calls == 1 => loop {
                std::thread::park();
            },
            "until-stopped" => loop {
                if (run.stop)().is_some() {
                    break PatchEnd::Stopped;
                }
                std::thread::yield_now();
            },
            "fail" => PatchEnd::Failed { reason: "dpkg said no".to_owned() },
            "exit-1" => PatchEnd::Finished { exit_code: 1 },
            _ => PatchEnd::Finished { exit_code: 0 },
        };
        PatchOutcome { report: None, inventory: None, end }
    }
}

/// The supervisor's main function where this binary is started as one; as a test it does nothing.
#[test]
fn supervisor_process() {
    let Ok(behaviour) = std::env::var("SUPERVISE_WITH") else { return };
    let folder = std::env::args().next_back().unwrap();
    let limits = policy::Limits::default();
    execution::supervise(&JobFolder::at(Path::new(&folder)), &mut Scripted(behaviour), &limits).unwrap();
}

#[test]
fn steps_run_in_order_and_a_failed_one_does_not_stop_the_document() {
    let directory = tempfile::tempdir().unwrap();
    let says = "echo $AWS_SSM_INSTANCE_ID $AWS_SSM_REGION_NAME $SSM_COMMAND_ID\necho \"$AWS_SSM_PLATFORM_NAME $AWS_SSM_PLATFORM_VERSION\" >&2\necho secret=$CAREEN_SECRET; pwd; sh -c 'exit 3'";
    let folder = accept(directory.path(), vec![script("first", says), script("second", "exit 0")]);
    supervise(&folder, "");
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Failed);
    assert_eq!(report.steps[0].exit_code, 3);
    let work = folder.path().join("work");
    let expected = format!("mi-0123456789abcdef0 eu-north-1 {COMMAND_ID}\nsecret=\n{}\n", work.display());
    assert_eq!(report.steps[0].stdout, expected);
    assert_eq!(report.steps[0].stderr, "Debian GNU/Linux 12\n");
    assert_eq!((report.steps[1].status, report.steps[1].exit_code), (StepStatus::Success, 0));
    assert!(report.steps[1].started_at >= report.steps[0].finished_at);
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(folder.step_path(0).join("_script.sh")).unwrap().permissions(),
    );
    assert_eq!(mode & 0o777, 0o700);
}

#[test]
fn exit_codes_168_and_169_end_the_document() {
    for (code, status) in [(168, StepStatus::Success), (169, StepStatus::Failed)] {
        let directory = tempfile::tempdir().unwrap();
        let folder = accept(directory.path(), vec![script("first", &format!("exit {code}")), script("second", "true")]);
        supervise(&folder, "");
        let report = result(&folder);
        assert_eq!((report.steps[0].status, report.steps[0].exit_code), (status, code));
        assert!(report.steps[0].stderr.contains("Further document steps will be skipped"));
        assert_eq!(report.steps[1].status, StepStatus::Skipped);
        assert_eq!(report.steps[1].started_at, None);
    }
}

#[test]
fn a_script_that_cannot_be_started_fails_with_a_reason() {
    let directory = tempfile::tempdir().unwrap();
    let mut step = script("first", "true");
    let agent_wire::StepAction::RunShellScript { working_directory, .. } = &mut step.action else { panic!() };
    *working_directory = "/no/such/directory".to_owned();
    let folder = accept(directory.path(), vec![step]);
    supervise(&folder, "");
    let report = result(&folder);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::Failed, 1));
    assert!(report.steps[0].stderr.contains("could not be started"), "{}", report.steps[0].stderr);
}

#[test]
fn cancelling_kills_the_whole_tree_also_what_has_left_the_session() {
    let directory = tempfile::tempdir().unwrap();
    let pid_file = directory.path().join("grandchild");
    // Forked twice and in a session of its own: neither the process group nor the session would find it.
    let lines = format!("(setsid sh -c 'echo $$ > {}; exec sleep 1000' &)\nsleep 1000", pid_file.display());
    let folder = accept(directory.path(), vec![script("first", &lines), script("second", "true")]);
    let mut supervisor = start(&folder, "");
    let grandchild = pid_in(&pid_file);
    assert!(lives(grandchild));
    folder.cancel().unwrap();
    assert!(supervisor.wait().unwrap().success());
    assert!(!lives(grandchild));
    let report = result(&folder);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::Cancelled, 137));
    assert_eq!((report.steps[1].status, report.steps[1].started_at), (StepStatus::Cancelled, None));
}

#[test]
fn a_step_whose_time_is_over_is_killed_and_the_next_one_runs() {
    let directory = tempfile::tempdir().unwrap();
    let mut step = script("first", "echo begun; sleep 1000");
    step.timeout_seconds = 1;
    let folder = accept(directory.path(), vec![step, script("second", "true")]);
    supervise(&folder, "");
    let report = result(&folder);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::TimedOut, 137));
    assert_eq!(report.steps[0].stdout, "begun\n");
    assert_eq!(report.steps[1].status, StepStatus::Success);
}

#[test]
fn a_script_whose_supervisor_died_is_interrupted_and_never_runs_again() {
    let directory = tempfile::tempdir().unwrap();
    let (pid_file, runs) = (directory.path().join("pid"), directory.path().join("runs"));
    let lines_of_script = format!("echo run >> {}; echo $$ > {}; sleep 1000", runs.display(), pid_file.display());
    let folder = accept(directory.path(), vec![script("first", &lines_of_script), script("second", "true")]);
    let mut supervisor = start(&folder, "");
    let shell = pid_in(&pid_file);
    // Until its group is written down, the successor knows the script by its session alone: either way it must go.
    kill(i32::try_from(supervisor.id()).unwrap());
    supervisor.wait().unwrap();
    assert_eq!(folder.result().unwrap(), None);
    supervise(&folder, "");
    supervise(&folder, "");
    let report = result(&folder);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::Interrupted, -1));
    assert!(report.steps[0].stderr.contains("its supervisor died"));
    assert_eq!(report.steps[1].status, StepStatus::Skipped);
    assert_eq!(lines(&runs), 1);
    until("the interrupted script is gone", || !lives(shell));
}

#[test]
fn a_script_that_was_running_when_the_power_went_is_interrupted() {
    let directory = tempfile::tempdir().unwrap();
    let (pid_file, runs) = (directory.path().join("pid"), directory.path().join("runs"));
    let text = format!("echo run >> {}; echo $$ > {}; sleep 1000", runs.display(), pid_file.display());
    let folder = accept(directory.path(), vec![script("first", &text)]);
    let mut supervisor = start(&folder, "");
    let shell = pid_in(&pid_file);
    kill(i32::try_from(supervisor.id()).unwrap());
    supervisor.wait().unwrap();
    kill(shell);
    reboot(&folder);
    supervise(&folder, "");
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Interrupted);
    assert!(report.steps[0].stderr.contains("lost power"));
    assert_eq!(lines(&runs), 1);
}

#[test]
fn only_one_supervisor_works_on_a_job() {
    let directory = tempfile::tempdir().unwrap();
    let (go, runs) = (directory.path().join("go"), directory.path().join("runs"));
    let text = format!("echo run >> {}; until [ -e {} ]; do sleep 0.02; done", runs.display(), go.display());
    let folder = accept(directory.path(), vec![script("first", &text)]);
    let mut one = start(&folder, "");
    until("the script runs", || lines(&runs) == 1);
    supervise(&folder, "");
    assert_eq!(folder.result().unwrap(), None);
    std::fs::write(&go, "").unwrap();
    assert!(one.wait().unwrap().success());
    assert_eq!(result(&folder).steps[0].status, StepStatus::Success);
    assert_eq!(lines(&runs), 1);
}

#[test]
fn what_a_script_leaves_running_on_purpose_goes_on() {
    let directory = tempfile::tempdir().unwrap();
    let (pid_file, go, said) =
        (directory.path().join("pid"), directory.path().join("go"), directory.path().join("said"));
    // It keeps the script's standard output, and writes to it long after the job is over.
    let daemon = format!(
        "echo $$ > {}; until [ -e {} ]; do sleep 0.02; done; echo still here && echo yes > {}",
        pid_file.display(),
        go.display(),
        said.display()
    );
    let mut slow = script("second", "sleep 1000");
    slow.timeout_seconds = 1;
    let folder = accept(directory.path(), vec![script("first", &format!("sh -c '{daemon}' &")), slow]);
    let mut supervisor = start(&folder, "");
    until("the job is over", || folder.result().unwrap().is_some());
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Success);
    assert_eq!(report.steps[1].status, StepStatus::TimedOut);
    // The second step's tree was killed, the first one's daemon was not.
    assert!(lives(pid_in(&pid_file)));
    until("the job's lock is free", || folder.try_lock().unwrap().is_some());
    std::fs::write(&go, "").unwrap();
    assert!(supervisor.wait().unwrap().success());
    assert_eq!(std::fs::read_to_string(&said).unwrap(), "yes\n");
}

#[test]
fn output_is_bounded_on_disk_and_in_the_report() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept(directory.path(), vec![script("first", "yes | head -c 3000000; yes n | head -c 50 >&2")]);
    supervise(&folder, "");
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Success);
    assert_eq!(report.steps[0].stdout.len(), execution::REPORT_BYTES_MAX);
    assert!(report.steps[0].stdout_truncated && !report.steps[0].stderr_truncated);
    assert_eq!(report.steps[0].stderr.len(), 50);
    assert_eq!(std::fs::metadata(folder.step_path(0).join("stdout")).unwrap().len(), 1 << 20);
}

#[test]
fn exit_code_194_waits_for_another_boot_and_runs_the_step_again() {
    let directory = tempfile::tempdir().unwrap();
    let runs = directory.path().join("runs");
    let text = format!("echo run >> {0}; [ $(wc -l < {0}) -gt 1 ] || exit 194", runs.display());
    let folder = accept(directory.path(), vec![script("first", &text), script("second", "true")]);
    supervise(&folder, "");
    assert!(folder.state().unwrap().awaiting_reboot().is_some());
    // The same boot: nothing happens.
    supervise(&folder, "");
    assert_eq!((lines(&runs), folder.result().unwrap()), (1, None));
    reboot(&folder);
    supervise(&folder, "");
    assert_eq!(lines(&runs), 2);
    let report = result(&folder);
    assert!(report.steps.iter().all(|step| step.status == StepStatus::Success), "{report:?}");
}

#[test]
fn a_reboot_that_cannot_be_had_fails_the_step() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept(directory.path(), vec![patch("patch")]);
    supervise(&folder, "reboot-once");
    folder.reboot_failed("systemctl: no such file").unwrap();
    supervise(&folder, "reboot-once");
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Failed);
    assert!(report.steps[0].stderr.contains("cannot be had: systemctl: no such file"));
}

#[test]
fn a_reboot_that_never_comes_fails_the_step() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept(directory.path(), vec![patch("patch")]);
    supervise(&folder, "reboot-once");
    let mut state = folder.state().unwrap();
    let StepState::AwaitingReboot { since, .. } = &mut state.steps[0] else { panic!("{state:?}") };
    *since = since.plus_seconds(-execution::REBOOT_BOUND_SECONDS);
    execution::durable::write_json(&folder.path().join("state.json"), &state).unwrap();
    supervise(&folder, "reboot-once");
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Failed);
    assert!(report.steps[0].stderr.contains("still in the same boot"), "{}", report.steps[0].stderr);
}

#[test]
fn a_patch_step_goes_on_after_the_reboot_it_asked_for() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept(directory.path(), vec![patch("patch")]);
    supervise(&folder, "reboot-once");
    reboot(&folder);
    supervise(&folder, "reboot-once");
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "rebooted=false resumed=false\nrebooted=true resumed=false\n");
    let report = result(&folder);
    assert_eq!(report.steps[0].status, StepStatus::Success);
    assert_eq!(report.steps[0].stdout, "patching\npatching\n");
}

#[test]
fn an_interrupted_patch_step_is_resumed() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept(directory.path(), vec![patch("patch")]);
    let mut supervisor = start(&folder, "hang-once");
    until("it patches", || lines(&folder.path().join("calls")) == 1);
    kill(i32::try_from(supervisor.id()).unwrap());
    supervisor.wait().unwrap();
    supervise(&folder, "hang-once");
    let calls = std::fs::read_to_string(folder.path().join("calls")).unwrap();
    assert_eq!(calls, "rebooted=false resumed=false\nrebooted=false resumed=true\n");
    assert_eq!(result(&folder).steps[0].status, StepStatus::Success);
}

#[test]
fn a_patch_step_fails_with_its_exit_code_or_its_reason() {
    for (behaviour, code, stderr) in [("exit-1", 1, ""), ("fail", 1, "dpkg said no\n")] {
        let directory = tempfile::tempdir().unwrap();
        let folder = accept(directory.path(), vec![patch("patch")]);
        supervise(&folder, behaviour);
        let report = result(&folder);
        assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::Failed, code));
        assert_eq!(report.steps[0].stderr, stderr);
    }
}

#[test]
fn a_patch_step_is_told_to_stop_and_ends_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let folder = accept(directory.path(), vec![patch("patch")]);
    let mut supervisor = start(&folder, "until-stopped");
    until("it patches", || lines(&folder.path().join("calls")) == 1);
    folder.cancel().unwrap();
    assert!(supervisor.wait().unwrap().success());
    assert_eq!(result(&folder).steps[0].status, StepStatus::Cancelled);

    let other = tempfile::tempdir().unwrap();
    let mut step = patch("patch");
    step.timeout_seconds = 1;
    let folder = accept(other.path(), vec![step]);
    supervise(&folder, "until-stopped");
    assert_eq!(result(&folder).steps[0].status, StepStatus::TimedOut);
}
