//! What happens when the process that installs dies.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use host::{HostRoot, PatchEnd};
use patching::{PatchOperation, RebootOption};
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::{BOOT, Deb, NEXT_BOOT, TestHost, can_install, deb, row, run_with, step};

const FOLDER: &str = "HOST_TEST_FOLDER";

/// Not a test of its own: the process that the tests below kill.
#[test]
#[ignore = "run by the tests of this file in a process of its own"]
fn installing_process() {
    let Some(folder) = std::env::var_os(FOLDER) else { return };
    let folder = Path::new(&folder);
    let host = HostRoot { root: folder.join("root"), state_dir: folder.join("state"), privileged: true };
    run_with(&host, &folder.join("job"), &install(), BOOT, false, &mut std::io::sink(), &|| false);
}

fn install() -> agent_wire::PatchStep {
    step(PatchOperation::Install, RebootOption::NoReboot)
}

fn wait_for(what: &str, condition: impl Fn() -> bool) {
    let until = Instant::now() + Duration::from_secs(120);
    while !condition() {
        assert!(Instant::now() < until, "{what} did not happen in time");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// A host whose package `slow` writes the file `begun` when it is configured, and does not end before the file `go` is there.
fn host_with_a_slow_package() -> TestHost {
    let test = TestHost::new();
    test.has_installed(&[deb("slow", "1.0"), deb("tool", "1.0")]);
    let at = test.folder.path().display().to_string();
    let script =
        format!("touch {at}/begun; n=0; while [ ! -e {at}/go ] && [ $n -lt 1000 ]; do sleep 0.1; n=$((n+1)); done");
    test.publish(
        "bookworm-security",
        &[Deb { scripts: &[("postinst", &script)], ..deb("slow", "1.1") }, deb("tool", "1.1")],
    );
    test
}

/// Such a host, and a process that was killed while it installed that package.
fn killed_in_mid_install() -> TestHost {
    let test = host_with_a_slow_package();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "installing_process"])
        .env(FOLDER, test.folder.path())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    wait_for("the installation", || test.folder.path().join("begun").exists());
    child.kill().unwrap();
    child.wait().unwrap();
    test
}

#[test]
fn a_transaction_outlives_its_process_and_the_next_attempt_waits_for_it() {
    if !can_install() {
        return;
    }
    let test = killed_in_mid_install();
    assert!(test.dpkg_says("slow").starts_with("1.1 half-configured"), "{}", test.dpkg_says("slow"));
    let go = test.folder.path().join("go");
    let (outcome, log) = std::thread::scope(|scope| {
        let resumed = scope.spawn(|| {
            let mut log = Waiting { text: Vec::new(), go: go.clone() };
            let outcome = run_with(&test.host, &test.job_dir(), &install(), BOOT, true, &mut log, &|| false);
            (outcome, String::from_utf8_lossy(&log.text).into_owned())
        });
        resumed.join().unwrap()
    });
    assert_eq!(outcome.end, PatchEnd::Finished { exit_code: 0 }, "{log}");
    assert!(log.contains("Waiting for a package transaction of an earlier attempt"), "{log}");
    assert_eq!((test.dpkg_says("slow"), test.dpkg_says("tool")), ("1.1 installed".into(), "1.1 installed".into()));
    assert_eq!(test.transactions(), 1, "it was adopted, not run again: {log}");
    assert!(row(&outcome, "slow").starts_with("1.1 InstalledPendingReboot"), "it counts as this run's: {log}");
}

#[test]
fn a_cancelled_run_begins_nothing_new_but_lets_dpkg_finish() {
    if !can_install() {
        return;
    }
    let test = host_with_a_slow_package();
    let mut log = Vec::new();
    let outcome = run_with(&test.host, &test.job_dir(), &install(), BOOT, false, &mut log, &|| true);
    assert_eq!((outcome.end, test.transactions()), (PatchEnd::Cancelled, 0));

    let begun = test.folder.path().join("begun");
    let cancelled = || begun.exists();
    let outcome = std::thread::scope(|scope| {
        let run = scope
            .spawn(|| run_with(&test.host, &test.job_dir(), &install(), BOOT, false, &mut std::io::sink(), &cancelled));
        wait_for("the installation", || begun.exists());
        fs::write(test.folder.path().join("go"), "").unwrap();
        run.join().unwrap()
    });
    assert_eq!((test.dpkg_says("slow"), test.dpkg_says("tool")), ("1.1 installed".into(), "1.1 installed".into()));
    assert!(row(&outcome, "slow").starts_with("1.1 InstalledPendingReboot"), "it is reported all the same");
}

/// A log that lets the slow package go on as soon as it says that it waits.
struct Waiting {
    text: Vec<u8>,
    go: std::path::PathBuf,
}

impl std::io::Write for Waiting {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.text.extend_from_slice(bytes);
        if String::from_utf8_lossy(&self.text).contains("Waiting for a package transaction") {
            fs::write(&self.go, "")?;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[test]
fn after_a_loss_of_power_dpkg_finishes_first_and_the_rest_follows() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    // As a loss of power leaves it: unpacked but not configured, and one package not begun.
    test.has_installed(&[deb("half", "1.1"), deb("tool", "1.0")]);
    let status = test.root("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    let cut = text.replace("Package: half\nStatus: install ok installed", "Package: half\nStatus: install ok unpacked");
    assert_ne!(text, cut);
    fs::write(&status, cut).unwrap();
    test.publish("bookworm-security", &[deb("half", "1.1"), deb("tool", "1.1")]);
    fs::create_dir_all(test.job_dir()).unwrap();
    let progress = r#"{"job_id":"0d0d0d0d-0d0d-4d0d-8d0d-0d0d0d0d0d0d","started_at":1000000,"stage":"installing",
        "boot_id":"BOOT","before":[],"in_flight":[
        {"name":"half","architecture":"amd64","from":"1.0","to":"1.1"},
        {"name":"tool","architecture":"amd64","from":"1.0","to":"1.1"}],
        "results":[],"boot_results_from":0,"rounds":1,"reboots":0,"reboots_awaited":0}"#;
    fs::write(test.job_dir().join("patch-progress.json"), progress.replace("BOOT", BOOT)).unwrap();
    let (outcome, log) = test.run_in(&install(), NEXT_BOOT, true);
    assert_eq!(outcome.end, PatchEnd::Finished { exit_code: 0 }, "{log}");
    assert!(log.contains("dpkg was interrupted and has not finished with: half"), "{log}");
    assert_eq!((test.dpkg_says("half"), test.dpkg_says("tool")), ("1.1 installed".into(), "1.1 installed".into()));
    assert!(row(&outcome, "half").starts_with("1.1 Installed "), "rebooted since: {log}");
    assert!(row(&outcome, "tool").starts_with("1.1 InstalledPendingReboot"), "{log}");
    assert_eq!(outcome.report.unwrap().report.summary.started_at.as_seconds(), 1);
}
