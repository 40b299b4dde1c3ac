//! Reading and refreshing a host, with the real apt.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use host::{HostError, PatchEnd, read_host, refresh};
use patching::{PatchOperation, RebootOption};
use std::fs;
use support::{TestHost, can_install, deb, now, row, step};

fn refreshed(test: &TestHost) -> host::Refreshed {
    refresh(&test.host, now(), false, &|| false).unwrap()
}

#[test]
fn without_a_database_sources_or_lists_nothing_is_known_and_that_is_an_error() {
    let test = TestHost::new();
    assert!(matches!(read_host(&test.host, now()), Err(HostError::NoPackageLists { .. })));
    fs::write(test.root("etc/apt/sources.list"), "").unwrap();
    assert!(matches!(read_host(&test.host, now()), Err(HostError::NoSources)));
    fs::remove_file(test.root("var/lib/dpkg/status")).unwrap();
    assert!(matches!(read_host(&test.host, now()), Err(HostError::NoPackageDatabase { .. })));
}

#[test]
fn a_refresh_fetches_once_in_ten_minutes_unless_the_sources_change() {
    let test = TestHost::new();
    let first = refreshed(&test);
    assert_eq!((first.skipped, first.failure), (false, None));
    assert_eq!(read_host(&test.host, now()).unwrap().state.repositories.len(), 2);
    let second = refreshed(&test);
    assert!(second.skipped && second.at == first.at);
    assert!(!refresh(&test.host, now().plus_seconds(601), false, &|| false).unwrap().skipped);
    assert!(!refresh(&test.host, now(), true, &|| false).unwrap().skipped, "forced");
    test.write_sources(&["bookworm"]);
    assert!(!refreshed(&test).skipped, "other sources");
    assert!(refreshed(&test).skipped);
    for entry in fs::read_dir(test.root("var/lib/apt/lists")).unwrap().filter_map(Result::ok) {
        let _ = fs::remove_file(entry.path());
    }
    assert!(!refreshed(&test).skipped, "the lists are gone");
}

#[test]
fn a_failed_refresh_is_told_in_apts_words_and_the_old_lists_are_used() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("tool", "1.0")]);
    let scan = step(PatchOperation::Scan, RebootOption::NoReboot);
    test.write_sources(&["absent"]);
    let (outcome, log) = test.run(&scan);
    let PatchEnd::Failed { message } = outcome.end else { panic!("{log}") };
    assert!(message.contains("no package lists") && message.contains("404  Not Found"), "{message}");
    assert_eq!(outcome.report, None);

    test.publish("bookworm-security", &[deb("tool", "1.1")]);
    test.write_sources(&["bookworm", "bookworm-security"]);
    assert_eq!(test.run(&scan).0.warnings, Vec::<String>::new());
    test.write_sources(&["bookworm", "bookworm-security", "absent"]);
    let (outcome, log) = test.run(&scan);
    assert_eq!(outcome.end, PatchEnd::Finished { exit_code: 0 }, "{log}");
    assert!(outcome.warnings.iter().any(|warning| warning.contains("could not be refreshed")), "{log}");
    assert!(row(&outcome, "tool").starts_with("1.1 Missing"), "{log}");
}

#[test]
fn a_scan_says_what_is_missing_and_why_and_changes_nothing() {
    if !can_install() {
        return;
    }
    let test = TestHost::new();
    test.has_installed(&[deb("secure", "1:1.0"), deb("plain", "1.0"), deb("current", "3.0"), deb("held", "1.0")]);
    test.publish("bookworm", &[deb("plain", "2.0"), deb("current", "3.0")]);
    test.publish("bookworm-security", &[deb("secure", "1:1.0+deb12u1"), deb("held", "2.0")]);
    let status = test.root("var/lib/dpkg/status");
    let text = fs::read_to_string(&status).unwrap();
    let held = text.replace("Package: held\nStatus: install ok", "Package: held\nStatus: hold ok");
    assert_ne!(text, held);
    fs::write(&status, held).unwrap();
    let before = fs::read(&status).unwrap();
    let (outcome, log) = test.run(&step(PatchOperation::Scan, RebootOption::NoReboot));
    assert_eq!(outcome.end, PatchEnd::Finished { exit_code: 0 });
    assert!(row(&outcome, "secure").starts_with("1:1.0+deb12u1 Missing approval rule 1"), "{log}");
    assert!(row(&outcome, "held").starts_with("2.0 Missing the newer version is approved, but the package is on hold"));
    assert!(row(&outcome, "plain").starts_with("1.0 InstalledOther a newer version is offered, but by no security"));
    assert!(row(&outcome, "current").starts_with("3.0 InstalledOther"));
    let report = outcome.report.unwrap();
    assert_eq!(report.report.summary.missing_count, 2);
    let offered: Vec<_> = report.offered.iter().map(|o| (o.name.as_str(), o.version.as_str())).collect();
    assert_eq!(offered, [("held", "2.0"), ("plain", "2.0"), ("secure", "1:1.0+deb12u1")]);
    let inventory = outcome.inventory.unwrap();
    assert_eq!((inventory.packages.len(), report.inventory_digest), (4, inventory.digest()));
    assert!(
        report.report.rows.iter().any(|row| row.name == "current" && row.installed_at.as_seconds() > 1_700_000_000)
    );
    assert!(log.contains("secure amd64 1:1.0 -> 1:1.0+deb12u1"), "{log}");
    assert_eq!(fs::read(&status).unwrap(), before);
}

#[test]
fn without_privilege_it_scans_with_lists_of_its_own_and_refuses_to_install() {
    let mut user = TestHost::new();
    user.host.privileged = false;
    user.publish("bookworm-security", &[deb("tool", "1.1")]);
    let stanza = "Package: tool\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.0\n\n";
    fs::write(user.root("var/lib/dpkg/status"), stanza).unwrap();
    let (outcome, log) = user.run(&step(PatchOperation::Scan, RebootOption::NoReboot));
    assert_eq!(outcome.end, PatchEnd::Finished { exit_code: 0 }, "{log}");
    assert!(row(&outcome, "tool").starts_with("1.1 Missing"), "{log}");
    let lists = |folder: std::path::PathBuf| {
        let entries = fs::read_dir(folder).unwrap().filter_map(Result::ok);
        entries.filter(|entry| entry.file_name().to_string_lossy().contains("Packages")).count()
    };
    assert_eq!((lists(user.host.state_dir.join("lists")), lists(user.root("var/lib/apt/lists"))), (2, 0));
    let (outcome, _) = user.run(&step(PatchOperation::Install, RebootOption::NoReboot));
    let PatchEnd::Failed { message } = outcome.end else { panic!("it must refuse") };
    assert!(message.contains("needs root"), "{message}");
}

#[test]
fn folders_that_the_configuration_moves_are_found() {
    let test = TestHost::new();
    let elsewhere = test.folder.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("partial")).unwrap();
    let setting = format!("Dir::State::lists \"{}/\";\n", elsewhere.display());
    fs::write(test.root("etc/apt/apt.conf.d/20moved"), setting).unwrap();
    assert_eq!(refreshed(&test).failure, None);
    let reading = read_host(&test.host, now()).unwrap();
    assert_eq!(reading.lists, elsewhere.join(""));
    assert_eq!(reading.warnings, Vec::<String>::new());
}
