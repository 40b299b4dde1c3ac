use super::*;
use crate::testing::*;
use crate::{PatchOperation, RebootOption, RunOutcome, assess, plan_patches};
use identifiers::Timestamp;
use packages::{Distribution, HostPackage};

fn report(packages: &[HostPackage], reboot_option: RebootOption, ended: &str) -> PatchReport {
    let outcome = RunOutcome {
        operation: PatchOperation::Install,
        baseline_id: debian().id,
        patch_group: String::new(),
        snapshot_id: String::new(),
        reboot_option,
        started_at: Timestamp::EPOCH,
        ended_at: at(ended),
        installs: Vec::new(),
        pending: Vec::new(),
        boot_id: "boot".to_owned(),
        installed_at: Vec::new(),
    };
    assess(&plan_patches(&debian(), &bookworm(), packages, outcome.ended_at).unwrap(), &outcome)
}

fn rows(packages: &[HostPackage]) -> Vec<PatchRow> {
    report(packages, RebootOption::RebootIfNeeded, "2026-03-01T00:00:00Z").rows
}

#[test]
fn only_changed_states_are_history_and_only_changed_rows_are_written() {
    let before =
        rows(&[package("curl").update(SECURITY), package("gone"), package("same"), package("vim").update(SECURITY)]);
    let after = rows(&[
        package("curl").from(SECURITY),
        package("new"),
        package("same"),
        package("vim").update(SECURITY).with_update(|u| u.version = "1.0-1+deb12u2".to_owned()),
    ]);
    let change = |kb_id: &str, from, to| PatchStateChange { kb_id: kb_id.to_owned(), from, to };
    let (missing, installed, other) = (PatchState::Missing, PatchState::Installed, PatchState::InstalledOther);
    assert_eq!(
        row_changes(&before, &after),
        [
            change("curl.amd64", Some(missing), Some(installed)),
            change("gone.amd64", Some(other), None),
            change("new.amd64", None, Some(other)),
        ]
    );
    let delta = row_delta(&before, &after);
    let put: Vec<String> = delta.put.iter().map(PatchRow::kb_id).collect();
    assert_eq!(put, ["curl.amd64", "new.amd64", "vim.amd64"], "vim is missing as before, but in another version");
    assert_eq!(delta.gone, ["gone.amd64"]);
    assert_eq!(row_delta(&after, &after), RowDelta::default());
    assert_eq!(row_changes(&after, &after), []);
}

fn inventory(packages: &[(&str, &str, InstallState)]) -> Inventory {
    let installed = |(name, version, state): &(&str, &str, InstallState)| {
        let mut installed = package(name).state(*state).installed;
        installed.version = (*version).to_owned();
        installed
    };
    Inventory { distribution: Distribution::default(), packages: packages.iter().map(installed).collect() }
}

fn texts(changes: Vec<PackageChange>) -> Vec<String> {
    let version = |version: Option<String>| version.unwrap_or_else(|| "-".to_owned());
    changes.into_iter().map(|c| format!("{} {} {}", c.name, version(c.from), version(c.to))).collect()
}

#[test]
fn packages_come_go_and_change_their_version() {
    use InstallState::{ConfigFiles, HalfConfigured, Installed};
    let old = inventory(&[
        ("curl", "1", Installed),
        ("purged", "1", Installed),
        ("removed", "1", Installed),
        ("same", "1", Installed),
        ("stumbled", "1", Installed),
    ]);
    let new = inventory(&[
        ("curl", "2", Installed),
        ("new", "1", Installed),
        ("removed", "1", ConfigFiles),
        ("same", "1", Installed),
        ("stumbled", "1", HalfConfigured),
    ]);
    assert_eq!(texts(package_changes(&old, &new)), ["curl 1 2", "new - 1", "purged 1 -", "removed 1 -"]);
}

#[test]
fn versions_side_by_side_come_and_go_one_by_one() {
    use InstallState::Installed;
    let old = inventory(&[("kernel", "1", Installed), ("kernel", "2", Installed)]);
    let new = inventory(&[("kernel", "2", Installed), ("kernel", "3", Installed)]);
    assert_eq!(texts(package_changes(&old, &new)), ["kernel 1 3"]);
    let more = inventory(&[("kernel", "1", Installed), ("kernel", "2", Installed), ("kernel", "3", Installed)]);
    assert_eq!(texts(package_changes(&old, &more)), ["kernel - 3"]);
    assert_eq!(texts(package_changes(&more, &inventory(&[]))), ["kernel 1 -", "kernel 2 -", "kernel 3 -"]);
}

#[test]
fn a_report_is_recorded_as_what_changed_and_keeps_the_last_installation_without_reboot() {
    let node = NodeId::parse("mi-00000000000000001").unwrap();
    let command = CommandId::parse("00000000-0000-4000-8000-000000000000").unwrap();
    let record = |previous: &Versioned<Option<PreviousReport>>, report: &PatchReport| {
        let changes = record_report(&node, &command, previous, report);
        assert_eq!(changes.read, [(aggregate::node_patches(&node), previous.revision)]);
        assert_eq!(changes.touched, [aggregate::node_patches(&node)]);
        let [Write::ReportPut(recorded)] = changes.writes.as_slice() else { panic!("one write") };
        (**recorded).clone()
    };

    let first = report(&[package("curl").update(SECURITY)], RebootOption::NoReboot, "2026-03-01T00:00:00Z");
    let recorded = record(&versioned(0, None), &first);
    assert_eq!((recorded.rows.put.len(), recorded.state_changes.len()), (1, 1));

    let previous = PreviousReport { summary: recorded.summary, rows: first.rows };
    let second = report(&[package("curl").update(SECURITY)], RebootOption::RebootIfNeeded, "2026-03-02T00:00:00Z");
    let recorded = record(&versioned(1, Some(previous)), &second);
    assert_eq!((recorded.rows, recorded.state_changes), (RowDelta::default(), vec![]));
    assert_eq!(recorded.summary.last_no_reboot_install_at, Some(at("2026-03-01T00:00:00Z")));
    assert_eq!(recorded.summary.ended_at, at("2026-03-02T00:00:00Z"));
}
