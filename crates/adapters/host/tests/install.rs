//! Installing, with the real apt and dpkg in a root made for the test.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use host::PatchEnd;
use patching::{PatchOperation, PlannedInstall, RebootOption, RejectedPatchesAction};
use std::fs;
use support::{BOOT, Deb, NEXT_BOOT, TestHost, can_install, deb, row, step};

const FINISHED: PatchEnd = PatchEnd::Finished { exit_code: 0 };
const FAILURES: PatchEnd = PatchEnd::Finished { exit_code: 1 };

fn install() -> agent_wire::PatchStep {
    step(PatchOperation::Install, RebootOption::RebootIfNeeded)
}

#[test]
fn exactly_the_approved_versions_come_and_what_they_need() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("tool", "1.0"), deb("plain", "1.0"), deb("library", "1.0")]);
    test.mark_automatic(&["library", "tool"]);
    test.publish("bookworm", &[deb("plain", "2.0"), deb("library", "1.1"), deb("added", "1:5.0")]);
    let newer = "Depends: library (>= 1.1), added\nRecommends: plain (>= 2.0)\n";
    test.publish("bookworm-security", &[Deb { fields: newer, ..deb("tool", "1.1") }]);
    let (outcome, log) = test.run(&install());
    assert_eq!(outcome.end, FINISHED, "{log}");
    assert_eq!(test.dpkg_says("tool"), "1.1 installed");
    assert_eq!(test.dpkg_says("library"), "1.1 installed", "a dependency");
    assert_eq!(test.dpkg_says("added"), "1:5.0 installed", "a new dependency");
    assert_eq!(test.dpkg_says("plain"), "1.0 installed", "only recommended, not approved");
    assert!(row(&outcome, "tool").starts_with("1.1 Installed "), "{log}");
    assert!(row(&outcome, "added").starts_with("1:5.0 InstalledOther"));
    for name in ["tool", "library", "added"] {
        let stanza = format!("Package: {name}\nArchitecture: amd64\nAuto-Installed: 1\n");
        assert!(test.automatic().contains(&stanza), "{name} is still marked as automatic:\n{}", test.automatic());
    }
    assert!(log.contains("Changed: added amd64 not installed -> 1:5.0"), "{log}");
    assert!(log.contains("Setting up tool (1.1)"), "apt's own words are in the log: {log}");
    let archives = fs::read_dir(test.root("var/cache/apt/archives")).unwrap().filter_map(Result::ok);
    assert_eq!(archives.filter(|entry| entry.file_name().to_string_lossy().ends_with(".deb")).count(), 0);
    let (again, log) = test.run(&install());
    assert_eq!((again.end, test.transactions()), (FINISHED, 1), "nothing is left to do: {log}");
}

#[test]
fn one_file_that_is_gone_stops_only_what_needs_it() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("gone", "1.0"), deb("needs-gone", "1.0"), deb("good", "1.0"), deb("fine", "1:1.0")]);
    let needs = Deb { fields: "Depends: gone (>= 1:1.1)\n", ..deb("needs-gone", "1.1") };
    test.publish("bookworm-security", &[deb("gone", "1:1.1"), needs, deb("good", "1.1"), deb("fine", "1:1.1~x+y")]);
    test.lose_file("gone", "1:1.1");
    let (outcome, log) = test.run(&install());
    assert_eq!(outcome.end, FAILURES, "{log}");
    assert_eq!(test.dpkg_says("good"), "1.1 installed");
    assert_eq!(test.dpkg_says("fine"), "1:1.1~x+y installed");
    assert_eq!(test.dpkg_says("gone"), "1.0 installed");
    assert!(row(&outcome, "gone").contains("Failed") && row(&outcome, "gone").contains("404"), "{log}");
    assert!(row(&outcome, "needs-gone").contains("it needs gone 1:1.1: Failed to fetch"), "{log}");
    assert_eq!(outcome.report.unwrap().report.summary.failed_count, 2);
}

#[test]
fn scripts_that_fail_stop_only_their_own_package() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("bad-post", "1.0"), deb("bad-pre", "1.0"), deb("good", "1.0"), deb("zoo", "1.0")]);
    let post = Deb { scripts: &[("postinst", "echo no luck; exit 7")], ..deb("bad-post", "1.1") };
    let pre = Deb { scripts: &[("preinst", "exit 8")], ..deb("bad-pre", "1.1") };
    test.publish("bookworm-security", &[post, pre, deb("good", "1.1"), deb("zoo", "1.1")]);
    let (outcome, log) = test.run(&install());
    assert_eq!(outcome.end, FAILURES, "{log}");
    assert_eq!(test.dpkg_says("good"), "1.1 installed", "{log}");
    assert_eq!(test.dpkg_says("zoo"), "1.1 installed", "{log}");
    assert_eq!(test.dpkg_says("bad-post"), "1.1 half-configured");
    assert_eq!(test.dpkg_says("bad-pre"), "1.0 installed");
    assert!(row(&outcome, "bad-post").contains("error exit status 7"), "{}", row(&outcome, "bad-post"));
    assert!(row(&outcome, "bad-pre").contains("error exit status 8"), "{log}");

    let (outcome, log) = test.run(&install());
    assert_eq!(outcome.end, FAILURES, "{log}");
    assert!(log.contains("dpkg was interrupted and has not finished with: bad-post"), "{log}");
}

#[test]
fn what_would_remove_or_touch_blocked_packages_is_refused_and_the_rest_installed() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("fighter", "1.0"), deb("victim", "1.0"), deb("needy", "1.0"), deb("good", "1.0")]);
    let fighter = Deb { fields: "Conflicts: victim\n", ..deb("fighter", "1.1") };
    let needy = Deb { fields: "Depends: unwanted\n", ..deb("needy", "1.1") };
    test.publish("bookworm", &[deb("unwanted", "1.0")]);
    test.publish("bookworm-security", &[fighter, needy, deb("good", "1.1")]);
    let mut step = install();
    step.baseline.rejected_patches = vec!["unwanted".to_owned()];
    step.baseline.rejected_patches_action = RejectedPatchesAction::Block;
    let (outcome, log) = test.run(&step);
    assert_eq!(outcome.end, FAILURES, "{log}");
    assert!(row(&outcome, "fighter").contains("apt would remove victim"), "{log}");
    assert!(row(&outcome, "needy").contains("it needs unwanted 1.0, which the patch baseline rejects"), "{log}");
    assert_eq!(test.dpkg_says("victim"), "1.0 installed");
    assert_eq!(test.dpkg_says("good"), "1.1 installed");
}

#[test]
fn names_and_versions_that_are_none_never_reach_a_command() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("good", "1.0")]);
    test.publish("bookworm-security", &[deb("good", "1.1")]);
    host::refresh(&test.host, support::now(), true, &|| false).unwrap();
    let planned = |name: &str, architecture: &str, to: &str| PlannedInstall {
        name: name.to_owned(),
        architecture: architecture.to_owned(),
        from: "0".to_owned(),
        to: to.to_owned(),
    };
    let list = [
        planned("--allow-downgrades", "amd64", "1"),
        planned("good", "amd64", "1.1-"),
        planned("good", "-oDir::Bin::dpkg=/bin/true", "1.1"),
        planned("x;touch /tmp/x", "amd64", "1"),
        planned("good", "amd64", "1.1"),
    ];
    let mut log = Vec::new();
    let context = host::InstallContext {
        job_dir: &test.job_dir(),
        log: &mut log,
        cancelled: &|| false,
        on_results: &mut |_| Ok(()),
    };
    let outcome = host::install(&test.host, &list, &[], context).unwrap();
    let failed: Vec<bool> = outcome.results.iter().map(|result| result.failure.is_some()).collect();
    assert_eq!(failed, [true, true, true, true, false], "{}", String::from_utf8_lossy(&log));
    assert_eq!(test.dpkg_says("good"), "1.1 installed");
    assert_eq!(outcome.changed.len(), 1);
}

#[test]
fn with_no_reboot_what_was_installed_waits_until_the_next_boot() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("tool", "1.0")]);
    test.publish("bookworm-security", &[deb("tool", "1.1")]);
    let (outcome, log) = test.run(&step(PatchOperation::Install, RebootOption::NoReboot));
    assert_eq!(outcome.end, FINISHED, "{log}");
    assert!(row(&outcome, "tool").starts_with("1.1 InstalledPendingReboot"), "{log}");
    let scan = step(PatchOperation::Scan, RebootOption::NoReboot);
    assert!(row(&test.run(&scan).0, "tool").starts_with("1.1 InstalledPendingReboot"));
    let (outcome, _) = test.run(&install());
    assert!(matches!(outcome.end, PatchEnd::RebootWanted { .. }), "what waits makes the next run reboot");
    assert!(row(&test.run_in(&scan, NEXT_BOOT, false).0, "tool").starts_with("1.1 Installed "));
}

#[test]
fn a_reboot_is_asked_for_and_the_run_goes_on_after_it_without_installing_again() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("libc6", "2.36-1"), deb("tool", "1.0")]);
    test.publish("bookworm-security", &[deb("libc6", "2.36-2"), deb("tool", "1.1")]);
    let (outcome, log) = test.run(&install());
    let PatchEnd::RebootWanted { reason } = &outcome.end else { panic!("{log}") };
    assert!(reason.contains("libc6"), "{reason}");
    assert!(row(&outcome, "libc6").starts_with("2.36-2 InstalledPendingReboot"));
    let (outcome, log) = test.run_in(&install(), BOOT, true);
    assert!(matches!(outcome.end, PatchEnd::RebootWanted { .. }), "not rebooted yet: {log}");

    let (outcome, log) = test.run_in(&install(), NEXT_BOOT, true);
    assert_eq!(outcome.end, FINISHED, "{log}");
    assert!(log.contains("Going on with a run that was begun earlier."), "{log}");
    assert!(row(&outcome, "libc6").starts_with("2.36-2 Installed "), "{log}");
    assert!(row(&outcome, "tool").starts_with("1.1 Installed "));
    assert_eq!(test.transactions(), 1);
    let summary = outcome.report.unwrap().report.summary;
    assert!(summary.started_at < summary.ended_at);
}

#[test]
fn a_run_does_not_reboot_for_ever() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("libc6", "1")]);
    let boots = ["a", "b", "c", "d", "e"];
    let mut ends = Vec::new();
    for (number, boot) in boots.iter().enumerate() {
        // A repository that has something new after every reboot.
        let version = format!("{}", number + 2);
        test.publish("bookworm-security", &[deb("libc6", &version)]);
        host::refresh(&test.host, support::now(), true, &|| false).unwrap();
        let (outcome, _) = test.run_in(&install(), boot, number > 0);
        let reboots = matches!(outcome.end, PatchEnd::RebootWanted { .. });
        ends.push(reboots);
        if !reboots {
            assert!(row(&outcome, "libc6").contains("Missing"));
            break;
        }
    }
    assert_eq!(ends, [true, true, false]);
    // A reboot that never comes is not asked for without end either.
    let (outcome, _) = test.run_in(&install(), "f", false);
    assert!(matches!(outcome.end, PatchEnd::RebootWanted { .. }));
    assert!(matches!(test.run_in(&install(), "f", true).0.end, PatchEnd::RebootWanted { .. }));
    assert!(matches!(test.run_in(&install(), "f", true).0.end, PatchEnd::RebootWanted { .. }));
    let (outcome, _) = test.run_in(&install(), "f", true);
    assert!(matches!(outcome.end, PatchEnd::Failed { .. }) && outcome.report.is_some());
}
