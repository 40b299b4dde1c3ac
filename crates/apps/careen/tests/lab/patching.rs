//! From an activation to a patched and rebooted host, with real pending security updates.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use testkit::{Host, HostPackages};

use crate::apt::{Policies, simulated, versions};
use crate::site::{AGENT_DATA, LONG_BOUND, Node, Site, node_id, pretty, register_by_input, text};

/// Every package's row of `describe-instance-patches`, by name.
fn rows(site: &Site, node: &Node) -> BTreeMap<String, Value> {
    let named = |row: Value| {
        let kb_id = text(&row["KBId"]);
        (kb_id.rsplit_once('.').unwrap().0.to_owned(), row)
    };
    site.patches(node).into_iter().map(named).collect()
}

/// A pending security update that the other ones can do without.
fn lone_update(host: &Host, missing: &BTreeSet<&String>) -> String {
    let stays = |candidate: &&&String| {
        let others: Vec<&str> = missing.iter().filter(|name| *name != *candidate).map(|name| name.as_str()).collect();
        let touched = simulated(host, &format!("--only-upgrade install {}", others.join(" ")));
        !touched.contains_key(candidate.as_str())
    };
    missing.iter().find(stays).expect("a security update that stands alone").to_string()
}

/// A baseline of ours for the patch group `web`: every security update but one.
fn make_baseline(site: &Site, rejected: &str) -> String {
    let rules = r#"PatchRules=[{PatchFilterGroup={PatchFilters=[{Key=PRIORITY,Values=["*"]}]},ComplianceLevel=HIGH}]"#;
    let arguments = ["--name", "web", "--operating-system", "DEBIAN", "--approval-rules", rules];
    let rejects = ["--rejected-patches", rejected, "--rejected-patches-action", "BLOCK"];
    let answer = site.ssm(&[&["create-patch-baseline"], &arguments[..], &rejects[..]].concat());
    let baseline = text(&answer["BaselineId"]);
    site.ssm(&["register-patch-baseline-for-patch-group", "--baseline-id", &baseline, "--patch-group", "web"]);
    baseline
}

/// Asserts that every package's state is what the host's own apt makes of it; `rejected` is rejected and blocked.
fn assert_agrees_with_apt(site: &Site, node: &Node, policies: &Policies, rejected: &str) {
    let rows = rows(site, node);
    assert_eq!(rows.keys().collect::<Vec<_>>(), policies.all.keys().collect::<Vec<_>>());
    let mut differences = Vec::new();
    for (name, policy) in &policies.all {
        let missing = policies.missing().contains_key(name);
        let state = match () {
            () if name == rejected => "InstalledRejected",
            () if missing => "Missing",
            () if policies.is_security(policy, &policy.installed) => "Installed",
            () => "InstalledOther",
        };
        let version = if state == "Missing" { &policy.candidate } else { &policy.installed };
        let title = format!("{name}.{}:{version}", policy.architecture);
        let row = &rows[name];
        let same_title = state == "InstalledOther" || row["Title"] == title.as_str();
        if row["State"] != state || !same_title {
            differences.push(format!("{name}: {state} {title} by {policy:?}, but reported: {row}"));
        }
    }
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    let counted = |state: &str| rows.values().filter(|row| row["State"] == state).count();
    let counts = site.patch_state(node);
    for (count, state) in [
        ("MissingCount", "Missing"),
        ("InstalledCount", "Installed"),
        ("InstalledOtherCount", "InstalledOther"),
        ("InstalledRejectedCount", "InstalledRejected"),
        ("FailedCount", "Failed"),
        ("InstalledPendingRebootCount", "InstalledPendingReboot"),
    ] {
        assert_eq!(counts[count], counted(state), "{count}: {}", pretty(&counts));
    }
}

fn enrol_with_code_from_input(site: &Site, host: &Host) -> Node {
    let tags = ["--default-instance-name", "web", "--registration-limit", "1", "--tags", "Key=env,Value=prod"];
    let activation = site.activation(&tags);
    let registered = register_by_input(host, &activation, &[]).expect_success("register").unwrap();
    let node = Node { id: node_id(host, AGENT_DATA), host: host.clone() };
    assert!(registered.contains(&node.id), "{registered}");
    // Its holder is told that it is used up.
    let again = register_by_input(host, &activation, &["--data", "/root/second"]);
    assert!(again.stderr_text().contains("limit of 1 is reached"), "{}", again.stderr_text());
    node.start_service();
    node
}

fn assert_described(site: &Site, node: &Node) {
    let information = site.information(node).expect("the node is listed");
    for (key, value) in [
        ("PingStatus", "Online"),
        ("PlatformType", "Linux"),
        ("PlatformName", "Debian GNU/Linux"),
        ("PlatformVersion", "12"),
        ("ResourceType", "ManagedInstance"),
        ("ComputerName", "web-1"),
        ("Name", "web"),
        ("IamRole", "fleet"),
    ] {
        assert_eq!(information[key], value, "{}", pretty(&information));
    }
    assert_eq!(information["IPAddress"], node.host.address().as_str());
    let named = ["--resource-type", "ManagedInstance", "--resource-id", &node.id];
    let tags = site.ssm(&[&["list-tags-for-resource"], &named[..]].concat());
    assert_eq!(tags["TagList"], serde_json::json!([{"Key": "env", "Value": "prod"}]));
    site.ssm(&[&["add-tags-to-resource"], &named[..], &["--tags", "Key=PatchGroup,Value=web"]].concat());
}

#[test]
fn a_host_joins_is_scanned_patched_and_rebooted() {
    let Some(site) = Site::for_test() else { return };
    let host = site.host("web-1", HostPackages::Frozen);
    let node = enrol_with_code_from_input(&site, &host);
    assert_described(&site, &node);

    let policies = Policies::of(&host);
    let missing = policies.missing();
    assert!(missing.len() > 1, "the frozen root has too little pending: {missing:?}");
    let rejected = lone_update(&host, &missing.keys().collect());
    let baseline = make_baseline(&site, &rejected);

    // Scan, by the tag; the step's result is asked for by its name.
    let scan = site.send_patch_to(&["--targets", "Key=tag:PatchGroup,Values=web"], "Scan");
    let scanned = site.wait_ended(&scan, &node, LONG_BOUND);
    assert_eq!((&scanned["Status"], &scanned["PluginName"]), (&"Success".into(), &"PatchLinux".into()));
    assert_eq!(scanned["ResponseCode"], 0);
    assert_agrees_with_apt(&site, &node, &policies, &rejected);
    let counts = site.patch_state(&node);
    assert_eq!(counts["BaselineId"], baseline.as_str());
    assert_eq!((&counts["PatchGroup"], &counts["Operation"]), (&"web".into(), &"Scan".into()));
    // What a simulated upgrade would take from the security archive is what is missing, and the rejected one.
    let upgrade = simulated(&host, "dist-upgrade");
    let from_security: BTreeMap<_, _> =
        upgrade.iter().filter(|(_, up)| up.security).map(|(name, up)| (name, &up.to)).collect();
    assert_eq!(from_security, missing.iter().map(|(name, policy)| (name, &policy.candidate)).collect());

    // Install without a reboot: exactly the approved versions, nothing else.
    let before = versions(&host);
    let installed = site.patch(&node, "Install,RebootOption=NoReboot");
    let mut expected = before.clone();
    let approved = missing.iter().filter(|(name, _)| **name != rejected);
    expected.extend(approved.clone().map(|(name, policy)| (name.clone(), policy.candidate.clone())));
    assert_eq!(versions(&host), expected, "{}", pretty(&installed));
    node.assert_dpkg_is_content();
    let pending: BTreeSet<String> = approved.map(|(name, _)| name.clone()).collect();
    let in_state = |state: &str| -> BTreeSet<String> {
        rows(&site, &node).into_iter().filter(|(_, row)| row["State"] == state).map(|(name, _)| name).collect()
    };
    assert_eq!(in_state("InstalledPendingReboot"), pending);
    assert_eq!(in_state("InstalledRejected"), BTreeSet::from([rejected.clone()]));
    assert_eq!((in_state("Missing").len(), in_state("Failed").len()), (0, 0));
    let counts = site.patch_state(&node);
    assert_eq!(counts["InstalledPendingRebootCount"], pending.len());
    assert_eq!(counts["LastNoRebootInstallOperationTime"], counts["OperationEndTime"]);
    assert_eq!(host.boots(), 1, "NoReboot rebooted");

    // After a real reboot and a scan they are installed.
    host.reboot().unwrap();
    node.wait_connected();
    site.patch(&node, "Scan");
    assert_agrees_with_apt(&site, &node, &Policies::of(&host), &rejected);
    assert_eq!(in_state("InstalledPendingReboot").len(), 0);
    assert!(pending.is_subset(&in_state("Installed")), "{pending:?}");
}
