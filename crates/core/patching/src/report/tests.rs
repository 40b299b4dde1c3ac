use super::*;
use crate::testing::*;
use crate::{PatchBaseline, plan_patches};
use packages::{HostPackage, InstallState, NotTaken};
use proptest::prelude::*;

fn key(name: &str) -> PackageKey {
    PackageKey { name: name.to_owned(), architecture: "amd64".to_owned() }
}

fn outcome() -> RunOutcome {
    RunOutcome {
        operation: PatchOperation::Install,
        baseline_id: debian().id,
        patch_group: "web".to_owned(),
        snapshot_id: String::new(),
        reboot_option: RebootOption::RebootIfNeeded,
        started_at: at("2026-03-01T00:00:00Z"),
        ended_at: at("2026-03-01T00:05:00Z"),
        installs: Vec::new(),
        pending: Vec::new(),
        boot_id: "boot-2".to_owned(),
        installed_at: Vec::new(),
    }
}

fn report(baseline: &PatchBaseline, packages: &[HostPackage], outcome: &RunOutcome) -> PatchReport {
    assess(&plan_patches(baseline, &bookworm(), packages, outcome.ended_at).unwrap(), outcome)
}

fn one(package: HostPackage, change: impl FnOnce(&mut RunOutcome)) -> PatchRow {
    let mut outcome = outcome();
    change(&mut outcome);
    report(&debian(), &[package], &outcome).rows.into_iter().next().unwrap()
}

fn tried(version: &str, failure: Option<&str>) -> impl FnOnce(&mut RunOutcome) {
    let result = InstallResult { key: key("curl"), version: version.to_owned(), failure: failure.map(str::to_owned) };
    |outcome| outcome.installs = vec![result]
}

fn pending(version: &str, boot_id: &str) -> impl FnOnce(&mut RunOutcome) {
    let install = PendingInstall { key: key("curl"), version: version.to_owned(), boot_id: boot_id.to_owned() };
    |outcome| outcome.pending = vec![install]
}

const NEW: &str = "1.0-1+deb12u1";

#[test]
fn an_installation_that_failed_is_failed_with_the_package_managers_words() {
    let row = one(package("curl").update(SECURITY), tried(NEW, Some("no space left")));
    assert_eq!(row.state, PatchState::Failed);
    assert_eq!(row.reason, Reason::InstallFailed { message: "no space left".to_owned() });
    assert_eq!((row.title().as_str(), row.kb_id().as_str()), ("curl.amd64:1.0-1+deb12u1", "curl.amd64"));
    assert_eq!((row.classification.as_str(), row.installed_at), ("Security", Timestamp::EPOCH));
}

#[test]
fn each_result_of_an_installation_leads_to_its_state() {
    use PatchState::{Failed, Installed, Missing};
    let missing = || package("curl").update(SECURITY);
    let done = || package("curl").from(SECURITY);
    let unfinished = || done().state(InstallState::HalfConfigured);
    for (case, package, version, failure, state) in [
        ("success and present", done(), "1.0-1", None, Installed),
        ("a failure that was made good within the run", done(), "1.0-1", Some("timeout"), Installed),
        ("success reported, yet still missing", missing(), NEW, None, Failed),
        ("another version has come out meanwhile", missing(), "1.0-1+deb12u0", None, Missing),
        ("a failure with an older version than is missing now", missing(), "1.0-1+deb12u0", Some("404"), Failed),
        ("unpacked, but its configuration failed", unfinished(), "1.0-1", Some("postinst: exit 1"), Failed),
        ("unfinished, but not by this run", unfinished(), "0.9-1", Some("postinst: exit 1"), Installed),
    ] {
        assert_eq!(one(package, tried(version, failure)).state, state, "{case}");
    }
    assert_eq!(one(missing(), |_| ()).state, Missing, "not tried at all");
    let held = one(missing().not_taken(NotTaken::Held), |_| ());
    assert_eq!((held.state, held.reason), (Missing, Reason::Held));
}

#[test]
fn a_failed_configuration_reports_the_version_that_is_there() {
    let unfinished = package("curl").from(SECURITY).state(InstallState::HalfConfigured);
    let row = one(unfinished, tried("1.0-1", Some("postinst: exit 1")));
    assert_eq!(row.title(), "curl.amd64:1.0-1");
}

#[test]
fn what_we_installed_waits_for_a_reboot_until_the_boot_changes() {
    use PatchState::{Installed, InstalledOther, InstalledPendingReboot, Missing};
    let curl = || package("curl").from(SECURITY);
    for (case, package, version, boot, state) in [
        ("in this boot", curl(), "1.0-1", "boot-2", InstalledPendingReboot),
        ("in an earlier boot", curl(), "1.0-1", "boot-1", Installed),
        ("another version", curl(), "0.9-1", "boot-2", Installed),
        ("a dependency", package("curl").from(MAIN), "1.0-1", "boot-2", InstalledPendingReboot),
        ("a dependency in an earlier boot", package("curl").from(MAIN), "1.0-1", "boot-1", InstalledOther),
        ("missing again since", curl().update(SECURITY), "1.0-1", "boot-2", Missing),
    ] {
        assert_eq!(one(package, pending(version, boot)).state, state, "{case}");
    }
    let mut all = package("curl").from(SECURITY);
    all.installed.architecture = "all".to_owned();
    assert_eq!(one(all, pending("1.0-1", "boot-2")).state, InstalledPendingReboot, "its architecture became all");
    let mut foreign = package("curl").from(SECURITY);
    foreign.installed.architecture = "i386".to_owned();
    assert_eq!(one(foreign, pending("1.0-1", "boot-2")).state, Installed, "the other architecture was not installed");
}

#[test]
fn rejected_and_blocked_is_stronger_than_pending() {
    let baseline = changed(|b| {
        b.rejected_patches = vec!["curl".to_owned()];
        b.rejected_patches_action = crate::RejectedPatchesAction::Block;
    });
    let mut outcome = outcome();
    pending("1.0-1", "boot-2")(&mut outcome);
    let rows = report(&baseline, &[package("curl")], &outcome).rows;
    assert_eq!(rows[0].state, PatchState::InstalledRejected);
}

#[test]
fn the_time_of_installation_is_told_where_it_is_known() {
    let when = at("2026-01-02T03:04:05Z");
    let known = |outcome: &mut RunOutcome| outcome.installed_at = vec![(key("curl"), when)];
    assert_eq!(one(package("curl"), known).installed_at, when);
    assert_eq!(one(package("vim"), known).installed_at, Timestamp::EPOCH);
    assert_eq!(one(package("curl").update(SECURITY), known).installed_at, Timestamp::EPOCH, "a missing patch has none");
}

/// AWS's own sample: one missing and two failed; critical 2, security 2, other 1.
#[test]
fn critical_and_security_overlap_and_other_is_the_rest() {
    let baseline = changed(|b| {
        b.approval_rules[0].enable_non_security = true;
        let section = |name: &str| vec![filter(crate::PatchFilterKey::Section, &[name])];
        b.approval_rules[0].filters = section("net");
        b.approval_rules[0].compliance_level = ComplianceLevel::Critical;
        let mut rest = b.approval_rules[0].clone();
        rest.filters = section("*");
        rest.compliance_level = ComplianceLevel::Low;
        b.approval_rules.push(rest);
    });
    let net = |name, from| package(name).update(from).with_update(|u| u.section = "net".to_owned());
    let packages = [
        net("critical-and-security", SECURITY),
        net("critical", UPDATES),
        package("security").update(SECURITY),
        package("neither").update(UPDATES),
        package("fine").from(SECURITY),
    ];
    let failed = |name: &str| InstallResult { key: key(name), version: NEW.to_owned(), failure: Some("no".to_owned()) };
    let outcome = RunOutcome { installs: vec![failed("critical"), failed("security")], ..outcome() };
    let report = report(&baseline, &packages, &outcome);
    let s = &report.summary;
    assert_eq!((s.missing_count, s.failed_count, s.installed_count, s.non_compliant_count()), (2, 2, 1, 4));
    let counts = (s.critical_non_compliant_count, s.security_non_compliant_count, s.other_non_compliant_count);
    assert_eq!(counts, (2, 2, 1));
    assert_eq!(report.overall_severity(), ComplianceLevel::Critical);
}

#[test]
fn the_summary_carries_the_circumstances() {
    let outcome = RunOutcome { reboot_option: RebootOption::NoReboot, ..outcome() };
    let report = report(&debian(), &[package("curl").from(SECURITY)], &outcome);
    assert_eq!(report.summary.patch_group, "web");
    assert_eq!(report.summary.last_no_reboot_install_at, Some(outcome.ended_at));
    assert_eq!(report.overall_severity(), ComplianceLevel::Unspecified);
    assert_eq!(report.notes.len(), 1, "the plan's notes are kept");
    let scan = RunOutcome { operation: PatchOperation::Scan, ..outcome };
    assert_eq!(super::summarise(&[], &scan).last_no_reboot_install_at, None);
    let json = serde_json::to_string(&report).unwrap();
    assert_eq!(serde_json::from_str::<PatchReport>(&json).unwrap(), report);
}

fn any_row() -> impl Strategy<Value = PatchRow> {
    let states = proptest::sample::select(vec![
        PatchState::Installed,
        PatchState::InstalledOther,
        PatchState::InstalledPendingReboot,
        PatchState::InstalledRejected,
        PatchState::Missing,
        PatchState::Failed,
    ]);
    let levels = proptest::sample::select(ComplianceLevel::ALL.to_vec());
    (states, levels, any::<bool>()).prop_map(|(state, compliance_level, security)| PatchRow {
        state,
        compliance_level,
        classification: if security { "Security".to_owned() } else { String::new() },
        ..one(package("curl"), |_| ())
    })
}

proptest! {
    #[test]
    fn the_counts_add_up(rows in proptest::collection::vec(any_row(), 0..40)) {
        let s = summarise(&rows, &outcome());
        let installed = s.installed_count
            + s.installed_other_count
            + s.installed_pending_reboot_count
            + s.installed_rejected_count;
        prop_assert_eq!(installed + s.missing_count + s.failed_count, u32::try_from(rows.len()).unwrap());
        let (critical, security) = (s.critical_non_compliant_count, s.security_non_compliant_count);
        let either = s.non_compliant_count() - s.other_non_compliant_count;
        prop_assert!(either >= critical.max(security) && either <= critical + security);
    }
}
