//! How the processes of a script end: all of them, at once, but for package transactions.

#![allow(clippy::unwrap_used, reason = "tests may panic")]

mod support;

use agent_wire::StepStatus;
use execution::{JobFolder, PatchOutcome, PatchRun, PatchRunner};
use std::path::Path;
use support::*;

/// There are no patch steps here.
struct NoPatches;

impl PatchRunner for NoPatches {
    fn run_patch(&mut self, _: &agent_wire::PatchStep, _: &mut PatchRun<'_>) -> PatchOutcome {
        PatchOutcome { report: None, inventory: None, end: execution::PatchEnd::Stopped }
    }
}

/// The supervisor's main function where this binary is started as one; as a test it does nothing.
#[test]
fn supervisor_process() {
    if std::env::var("SUPERVISE_WITH").is_err() {
        return;
    }
    let folder = std::env::args().next_back().unwrap();
    let limits = policy::Limits::default();
    execution::supervise(&JobFolder::at(Path::new(&folder)), &mut NoPatches, &limits).unwrap();
}

#[test]
fn a_chain_of_forks_that_never_stands_still_is_caught() {
    let directory = tempfile::tempdir().unwrap();
    let (count, go) = (directory.path().join("count"), directory.path().join("go"));
    // Each process starts the next one and ends: whoever looks for it by its number finds it gone. Bounded, in case it gets away.
    let hop = format!(
        "echo x >> {}; [ $1 -lt 20000 ] && {{ sh {} $(($1 + 1)) & }}",
        count.display(),
        directory.path().join("hop").display()
    );
    std::fs::write(directory.path().join("hop"), &hop).unwrap();
    let lines =
        format!("sh {} 1\nuntil [ -e {} ]; do sleep 0.05; done", directory.path().join("hop").display(), go.display());
    let folder = accept(directory.path(), vec![script("first", &lines)]);
    let mut supervisor = start(&folder, "");
    until("it hops", || support::lines(&count) > 20);
    folder.cancel().unwrap();
    assert!(supervisor.wait().unwrap().success());
    let report = result(&folder);
    assert_eq!((report.steps[0].status, report.steps[0].exit_code), (StepStatus::Cancelled, 137));
    assert_eq!(report.steps[0].stderr, "Cancelled: its processes were killed.\n");
    let hops = support::lines(&count);
    assert!(hops < 20_000, "it came to its own end");
    assert_eq!(processes_with(directory.path()), Vec::<String>::new());
}

/// Command lines of living processes that name a folder.
fn processes_with(folder: &Path) -> Vec<String> {
    let name = folder.join("hop").display().to_string();
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    let texts = lines.map(|line| String::from_utf8_lossy(&line).replace('\0', " "));
    texts.filter(|line| line.contains(&name)).collect()
}

#[test]
fn what_holds_the_lock_of_the_package_database_is_left_to_finish() {
    let lock = Path::new("/var/lib/dpkg/lock-frontend");
    let python = std::process::Command::new("python3").arg("--version").output().is_ok();
    if !python || std::fs::File::options().write(true).open(lock).is_err() {
        eprintln!("NOT TESTED: {} cannot be locked here, or there is no python3 to do it", lock.display());
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    // It says more than a pipe holds while it is waited for; its child belongs to it; what a package has started stays.
    let (go, said, daemon) = (path("go"), path("said"), path("daemon"));
    let inner = format!(
        "(until [ -e {go} ]; do sleep 0.02; done; echo child >> {said}) & wait; seq 1 50000; \
         DPKG_MAINTSCRIPT_PACKAGE=web setsid sh -c 'echo $$ > {daemon}; exec sleep 1000' >/dev/null 2>&1 & \
         until [ -s {daemon} ]; do sleep 0.02; done; echo finished >> {said}"
    );
    std::fs::write(directory.path().join("inner"), inner).unwrap();
    let transaction = format!(
        "import fcntl, os, subprocess\nlock = open('{}', 'r+')\nfcntl.lockf(lock, fcntl.LOCK_EX)\n\
         open('{}', 'w').write(f'{{os.getpid()}}\\n')\nsubprocess.run(['sh', '{}'])\n",
        lock.display(),
        path("transaction"),
        path("inner"),
    );
    std::fs::write(directory.path().join("apt"), transaction).unwrap();
    let lines = format!("python3 {} &\n(sleep 1000) &\necho $! > {}\nwait", path("apt"), path("other"));
    let folder = accept(directory.path(), vec![script("first", &lines)]);
    let mut supervisor = start(&folder, "");
    let transaction = pid_in(&directory.path().join("transaction"));
    let other = pid_in(&directory.path().join("other"));
    folder.cancel().unwrap();
    until("the rest is killed", || !lives(other));
    assert!(lives(transaction) && folder.result().unwrap().is_none());
    std::fs::write(directory.path().join("go"), "").unwrap();
    assert!(supervisor.wait().unwrap().success());
    let daemon = pid_in(&directory.path().join("daemon"));
    assert!(lives(daemon), "a package's own daemon was killed");
    kill(daemon);
    assert_eq!(std::fs::read_to_string(directory.path().join("said")).unwrap(), "child\nfinished\n");
    let step = &result(&folder).steps[0];
    assert_eq!((step.status, step.exit_code), (StepStatus::Cancelled, 137));
    assert!(
        step.stderr.contains("The package transaction that it had begun was left to finish first."),
        "{}",
        step.stderr
    );
    assert!(step.stdout.starts_with("1\n2\n") && step.stdout.len() > 90_000);
}

#[test]
fn a_script_has_a_control_group_of_its_own_where_there_can_be_one() {
    let directory = tempfile::tempdir().unwrap();
    let stays = directory.path().join("stays");
    let lines = format!(
        "grep ^0:: /proc/self/cgroup; setsid sh -c 'echo $$ > {}; exec sleep 1000' >/dev/null 2>&1 &",
        stays.display()
    );
    let second = script("second", "grep ^0:: /proc/self/cgroup; sleep 1000");
    let folder =
        accept(directory.path(), vec![script("first", &lines), agent_wire::Step { timeout_seconds: 1, ..second }]);
    supervise(&folder, "");
    let report = result(&folder);
    let daemon = pid_in(&stays);
    assert!(lives(daemon), "what an earlier step left running is not the later one's");
    kill(daemon);
    assert_eq!(report.steps[1].status, StepStatus::TimedOut);
    let said = execution::limits_in_words();
    if said.contains("without limits") {
        eprintln!("NOT TESTED: {said}");
        return;
    }
    let job = folder.job_id().unwrap();
    let stdout = report.steps.iter().map(|step| step.stdout.trim()).collect::<Vec<_>>();
    assert_eq!(stdout, [format!("0::/careen-jobs/{job}/limited/00"), format!("0::/careen-jobs/{job}/limited/01")]);
}
