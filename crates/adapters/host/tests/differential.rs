//! This machine's apt against ours, package by package, on the lists that are there. Nothing is fetched or changed.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod support;

use host::{HostRoot, read_host};
use patching::{PatchState, plan_patches, predefined_default};
use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// What `apt-cache policy` says of one package.
#[derive(Debug, Default, PartialEq, Eq)]
struct Policy {
    installed: String,
    candidate: String,
    /// The sources (`URI SUITE/COMPONENT ARCH Packages`) of each version.
    sources: BTreeMap<String, Vec<String>>,
}

fn output_of(program: &str, arguments: &[String]) -> String {
    let output = Command::new(program).args(arguments).env("LC_ALL", "C").output().unwrap();
    String::from_utf8(output.stdout).unwrap()
}

/// The sources that are security archives, by the `release` line below each.
fn security_sources() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut source = String::new();
    for line in output_of("apt-cache", &["policy".to_owned()]).lines() {
        if let Some(release) = line.trim().strip_prefix("release ") {
            let is_security = |field: &str| {
                field == "l=Debian-Security"
                    || (field.starts_with("a=") || field.starts_with("n=")) && field.ends_with("-security")
            };
            if release.split(',').any(is_security) {
                found.insert(source.clone());
            }
        } else {
            source = line.trim().split_once(' ').map(|(_, source)| source.trim().to_owned()).unwrap_or_default();
        }
    }
    found
}

fn policies(names: &[String]) -> BTreeMap<String, Policy> {
    let mut all: BTreeMap<String, Policy> = BTreeMap::new();
    let mut arguments = vec!["policy".to_owned()];
    arguments.extend(names.iter().cloned());
    let (mut name, mut version) = (String::new(), String::new());
    for line in output_of("apt-cache", &arguments).lines() {
        let trimmed = line.trim();
        if !line.starts_with(' ') {
            name = line.trim_end_matches(':').to_owned();
            all.entry(name.clone()).or_default();
            continue;
        }
        let policy = all.get_mut(&name).unwrap();
        if let Some(installed) = trimmed.strip_prefix("Installed: ") {
            policy.installed = installed.to_owned();
        } else if let Some(candidate) = trimmed.strip_prefix("Candidate: ") {
            policy.candidate = candidate.to_owned();
        } else if line.starts_with("        ") {
            let source = trimmed.split_once(' ').unwrap().1.to_owned();
            policy.sources.entry(version.clone()).or_default().push(source);
        } else if line.starts_with(" *** ") || line.starts_with("     ") {
            version = trimmed.trim_start_matches("*** ").split(' ').next().unwrap().to_owned();
        }
    }
    all
}

#[test]
fn missing_is_exactly_what_apt_would_take_from_a_security_archive() {
    let state = tempfile::tempdir().unwrap();
    let host = HostRoot { privileged: true, ..HostRoot::live(state.path()) };
    let reading = match read_host(&host, support::now()) {
        Ok(reading) => reading,
        Err(error) => {
            eprintln!("SKIPPED: nothing to compare with on this machine: {error}");
            return;
        }
    };
    let distribution = &reading.state.inventory.distribution;
    let system = packages::OperatingSystem::of(distribution).unwrap();
    let baseline = predefined_default(system).unwrap();
    let plan = plan_patches(&baseline, distribution, &reading.state.packages, support::now()).unwrap();

    let key = |decision: &patching::PatchDecision| format!("{}:{}", decision.key.name, decision.key.architecture);
    let native = output_of("dpkg", &["--print-architecture".to_owned()]).trim().to_owned();
    let names: Vec<String> = plan.decisions.iter().map(key).collect();
    let policies = policies(&names);
    let security = security_sources();
    let mut differences = Vec::new();
    let mut missing = 0;
    for decision in &plan.decisions {
        let name = &decision.key.name;
        let foreign = format!("{name}:{}", decision.key.architecture);
        let is_native = decision.key.architecture == native || decision.key.architecture == "all";
        let policy = policies.get(if is_native { name } else { &foreign }).or_else(|| policies.get(&foreign)).unwrap();
        assert_eq!(policy.installed, decision.installed_version, "{name}");
        let newer = versions::compare_dpkg(&policy.candidate, &policy.installed).is_gt();
        let sources = policy.sources.get(&policy.candidate).map(Vec::as_slice).unwrap_or_default();
        let expected = newer && sources.iter().any(|source| security.contains(source));
        let found = decision.state == PatchState::Missing;
        missing += usize::from(found);
        let same_version = !newer || decision.available_version.as_deref() == Some(policy.candidate.as_str());
        if expected != found || !same_version {
            differences.push(format!("{name}: apt {policy:?}, we {decision:?}"));
        }
    }
    eprintln!("{} packages compared, {missing} missing", plan.decisions.len());
    assert!(differences.is_empty(), "{}", differences.join("\n"));
    assert!(plan.decisions.len() > 50);
}
