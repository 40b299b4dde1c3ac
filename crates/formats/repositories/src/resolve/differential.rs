//! The same hosts seen by the real apt and by us: every version of every installed package with its priority and its
//! archives, the candidate, and what an upgrade would take.

use super::*;
use crate::test_host::{TestHost, Told, apt_is_here};
use proptest::prelude::*;
use proptest::test_runner::{TestCaseError, TestCaseResult};
use std::collections::{BTreeMap, HashSet};
use std::fmt::Write as _;

/// The lists of every test host: the stem of their file names, and which packages' architectures they may have.
const LISTS: [(&str, &[&str]); 7] = [
    ("deb.example_debian_dists_stable_main_binary-amd64_Packages", &["amd64", "all"]),
    ("deb.example_debian_dists_stable_main_binary-i386_Packages", &["i386", "all"]),
    ("deb.example_debian_dists_stable_contrib_binary-amd64_Packages", &["amd64", "all"]),
    ("sec.example_dists_stable-security_main_binary-amd64_Packages", &["amd64", "all"]),
    ("deb.example_debian_dists_stable-backports_main_binary-amd64_Packages", &["amd64", "all"]),
    ("deb.example_debian_dists_experimental_main_binary-amd64_Packages", &["amd64", "all"]),
    ("_srv_local_._Packages", &["amd64", "i386", "all"]),
];

const SOURCES: &str = "deb http://deb.example/debian stable main contrib\n\
    deb https://user:password@sec.example stable-security main\n\
    deb [arch=amd64] http://deb.example/debian stable-backports main\n\
    deb [arch=amd64] http://deb.example/debian experimental main\n\
    deb [trusted=yes] file:/srv/local ./\n";

const RELEASES: [(&str, &str); 4] = [
    (
        "deb.example_debian_dists_stable_InRelease",
        "Origin: Debian\nLabel: Debian\nSuite: stable\nVersion: 12.5\nCodename: bookworm\nComponents: main contrib\n\
         Architectures: all amd64 i386\n",
    ),
    (
        "sec.example_dists_stable-security_Release",
        "Origin: Debian\nLabel: Debian-Security\nSuite: stable-security\nVersion: 12\nCodename: bookworm-security\n",
    ),
    (
        "deb.example_debian_dists_stable-backports_InRelease",
        "Origin: Debian Backports\nLabel: Debian Backports\nSuite: stable-backports\nCodename: bookworm-backports\n\
         NotAutomatic: yes\nButAutomaticUpgrades: yes\n",
    ),
    (
        "deb.example_debian_dists_experimental_InRelease",
        "Origin: Debian\nLabel: Debian\nSuite: experimental\nCodename: rc-buggy\nNotAutomatic: yes\n",
    ),
];

const NAMES: [&str; 6] = ["apache2", "libfoo1", "libfoo-dev", "linux-image-6.1", "perl", "zlib1g"];
const VERSIONS: [&str; 9] =
    ["1.0-1", "1.0-2", "1.0-10", "1.1~rc1-1", "1.1-1", "1:0.9-1", "1.0-1+deb12u1", "1.0-1~bpo12+1", "2.0"];
const SOURCE_LINES: [&str; 4] = ["", "Source: foo\n", "Source: foo (1.0)\n", "Source: linux-signed (6.1)\n"];
/// What makes builds of one version differ.
const BUILD_LINES: [&str; 4] = ["", "Multi-Arch: foreign\n", "Installed-Size: 7\n", "Size: 2\n"];

const PINNED: [&str; 24] = [
    "*",
    "*",
    "*",
    "*",
    "perl",
    "perl zlib1g",
    "lib*",
    "lib?oo1",
    "/^linux-/",
    "/FOO/",
    "PERL",
    "src:foo",
    "src:linux*",
    "src:/^f/",
    "perl:i386",
    "*:i386",
    "lib*:any",
    "src:foo:any",
    "perl:native",
    "* perl",
    "[a-l]*",
    "lib*:linux-any",
    "zlib1g:any-i386",
    "src:foo:amd64",
];
const PINS: [&str; 38] = [
    "release a=stable",
    "release n=bookworm",
    "release a=stable-security",
    "release o=Debian",
    "release l=Debian-Security",
    "release c=contrib",
    "release b=i386",
    "release v=12",
    "release v=12*",
    "release 12*",
    "release stable",
    "release bookworm*",
    "release a=stable, c=main",
    "release a=stable,a=experimental",
    "release o=debian",
    "release /stable/",
    "release n=/^rc/",
    "release *",
    "release a=now",
    "release now",
    "release c=now",
    "release x=y",
    "release",
    "release l=*",
    "release v=*",
    "release a=*",
    "origin deb.example",
    "origin \"sec.example\"",
    "origin \"\"",
    "origin *.example",
    "origin /SEC/",
    "version 1.0*",
    "version 1.0-1",
    "version 1.1~rc1-1",
    "version *",
    "version /^1:/",
    "version 1.*-1",
    "version 2.0",
];
const PRIORITIES: [&str; 14] =
    ["-10", "-1", "1", "50", "100", "101", "499", "500", "501", "990", "999", "1000", "1001", "never"];
const TARGETS: [&str; 10] = ["", "", "", "", "stable", "bookworm-backports", "n=rc-buggy", "12.5", "stable-*", "now"];

#[derive(Debug, Clone)]
struct Stanza {
    name: &'static str,
    architecture: usize,
    version: &'static str,
    source: &'static str,
    build: &'static str,
    phased: Option<u8>,
}

#[derive(Debug, Clone)]
struct Case {
    installed: Vec<(Stanza, bool)>,
    lists: Vec<Vec<Stanza>>,
    preferences: Vec<(&'static str, &'static str, &'static str)>,
    target: &'static str,
    machine: u8,
    phase_policy: bool,
}

fn stanza() -> impl Strategy<Value = Stanza> {
    let build = prop_oneof![8 => Just(""), 3 => proptest::sample::select(&BUILD_LINES[..])];
    let phased = prop_oneof![3 => Just(None), 1 => (0_u8..=100).prop_map(Some)];
    let fields = (
        proptest::sample::select(&NAMES[..]),
        0_usize..12,
        proptest::sample::select(&VERSIONS[..]),
        proptest::sample::select(&SOURCE_LINES[..]),
        build,
        phased,
    );
    fields.prop_map(|(name, architecture, version, source, build, phased)| Stanza {
        name,
        architecture,
        version,
        source,
        build,
        phased,
    })
}

fn case() -> impl Strategy<Value = Case> {
    let record = (
        proptest::sample::select(&PINNED[..]),
        proptest::sample::select(&PINS[..]),
        proptest::sample::select(&PRIORITIES[..]),
    );
    let record = record.prop_map(|(package, pin, priority)| match (package, pin, priority) {
        // What apt itself refuses.
        ("*", pin, priority) if pin.starts_with("version") => ("*", "release a=stable", priority),
        (package, pin, "never") if package != "*" => (package, pin, "-5"),
        record => record,
    });
    let installed = proptest::collection::vec((stanza(), proptest::bool::weighted(0.1)), 1..10);
    let lists = proptest::collection::vec(proptest::collection::vec(stanza(), 0..14), LISTS.len());
    let preferences = proptest::collection::vec(record, 0..6);
    let target = proptest::sample::select(&TARGETS[..]);
    (installed, lists, preferences, target, any::<u8>(), proptest::bool::weighted(0.3)).prop_map(
        |(mut installed, lists, preferences, target, machine, phase_policy)| {
            // dpkg has one version of a package; apt knows `all` by the native architecture.
            let mut seen = Vec::new();
            installed.retain(|(stanza, _)| {
                let key = (stanza.name, architecture(stanza, &["amd64", "i386", "all"]) == "i386");
                let new = !seen.contains(&key);
                seen.push(key);
                new
            });
            Case { installed, lists, preferences, target, machine, phase_policy }
        },
    )
}

fn architecture(stanza: &Stanza, possible: &[&'static str]) -> &'static str {
    possible[stanza.architecture % possible.len()]
}

fn write_stanza(text: &mut String, stanza: &Stanza, possible: &[&'static str], head: &str) {
    let Stanza { name, version, source, build, .. } = stanza;
    let architecture = architecture(stanza, possible);
    write!(text, "Package: {name}\n{head}Architecture: {architecture}\nVersion: {version}\n{source}{build}").unwrap();
    if head.is_empty() {
        let size = if build.starts_with("Size") { "" } else { "Size: 1\n" };
        write!(text, "Filename: {name}.deb\n{size}SHA256: {:064}\n", 0).unwrap();
        if let Some(percentage) = stanza.phased {
            writeln!(text, "Phased-Update-Percentage: {percentage}").unwrap();
        }
    }
    text.push_str("Maintainer: a <a@example.org>\nDescription: x\n\n");
}

fn build(case: &Case) -> TestHost {
    let host = TestHost::new();
    let mut status = String::new();
    for (stanza, held) in &case.installed {
        let build = if stanza.build.starts_with("Size") { "" } else { stanza.build };
        let stanza = &Stanza { build, ..stanza.clone() };
        let head = if *held { "Status: hold ok installed\n" } else { "Status: install ok installed\n" };
        write_stanza(&mut status, stanza, &["amd64", "i386", "all"], head);
    }
    host.write("var/lib/dpkg/status", status.as_bytes());
    host.write("etc/apt/sources.list", SOURCES.as_bytes());
    for (name, text) in RELEASES {
        host.write(&format!("var/lib/apt/lists/{name}"), text.as_bytes());
    }
    for ((stem, architectures), stanzas) in LISTS.iter().zip(&case.lists) {
        let mut text = String::new();
        for stanza in stanzas {
            // Security archives are not phased in.
            let phased = stanza.phased.filter(|_| !stem.starts_with("sec"));
            write_stanza(&mut text, &Stanza { phased, ..stanza.clone() }, architectures, "");
        }
        host.write(&format!("var/lib/apt/lists/{stem}"), text.as_bytes());
    }
    let mut preferences = "# Made for a test.\n\n".to_owned();
    for (package, pin, priority) in &case.preferences {
        write!(
            preferences,
            "Explanation: none\nPackage: {package}\n# comment\nPin: {pin}\nPin-Priority: {priority}\n\n"
        )
        .unwrap();
    }
    host.write("etc/apt/preferences.d/test", preferences.as_bytes());
    let mut settings = format!("APT::Machine-ID \"{:032x}\";\n", u128::from(case.machine) * 0x1_0001_0001);
    if !case.target.is_empty() {
        writeln!(settings, "APT::Default-Release \"{}\";", case.target).unwrap();
    }
    if case.phase_policy {
        settings.push_str("APT { Get { Phase-Policy \"true\"; }; };\n");
    }
    host.write("etc/apt/apt.conf.d/50test", settings.as_bytes());
    host
}

/// What we say of each package, in apt's words.
fn told(host: &TestHost) -> (BTreeMap<String, Told>, Vec<HostPackage>) {
    let inspection = host.inspect();
    let (database, offers, preferences) = inspection.gathered();
    let configuration = inspection.configuration().clone();
    let (preferences, warning) = with_target_release(preferences, &offers, &configuration);
    assert_eq!(warning, None);
    let nothing = Preferences::default();
    let resolver = Resolver::new(&offers, [&preferences, &nothing], &configuration);
    let mut packages = BTreeMap::new();
    for found in &database.packages {
        let package = resolver.pinned_package(&found.package);
        let versions = resolver.versions(found);
        let candidate = resolver.policy.candidate(package, &found.package.version, &versions);
        let table = versions.iter().map(|version| {
            let lists = version.lists.iter().map(|&list| {
                let list = &offers.lists[list];
                match list.archive.component.as_str() {
                    "" => "./".to_owned(),
                    component => format!("{}/{component} {}", list.archive.suite, list.architecture),
                }
            });
            let mut lists: Vec<_> = lists.collect();
            lists.sort();
            (version.version.to_owned(), resolver.policy.priority(package, version), version.installed, lists)
        });
        let told = Told {
            candidate: candidate.map_or("(none)", |candidate| candidate.version).to_owned(),
            versions: table.collect(),
        };
        packages.insert(format!("{}:{}", found.package.name, package.architecture), told);
    }
    (packages, inspection.finish().packages)
}

fn compare(case: &Case) -> TestCaseResult {
    let host = build(case);
    let (ours, packages) = told(&host);
    let names: Vec<_> = ours.keys().cloned().collect();
    prop_assert_eq!(&ours, &host.apt_policy(&names));
    let names: HashSet<_> = packages.iter().map(|package| &package.installed.name).collect();
    if names.len() < packages.len() {
        // Of one package in two architectures apt upgrades both or none, which is a matter of its resolver.
        return Ok(());
    }
    let mut upgrades = host.apt_upgrades();
    for package in &packages {
        let installed = &package.installed;
        let architecture = if installed.architecture == "all" { "amd64" } else { &installed.architecture };
        let key = format!("{}:{architecture}", installed.name);
        let taken = package.update.as_ref().filter(|update| update.not_taken.is_none());
        // What apt does to what is not newer (downgrades, other builds) is no update.
        let newer = |version: &String| compare_dpkg(version, &installed.version) == Ordering::Greater;
        let apt_takes = upgrades.remove(&key).filter(newer);
        if taken.is_some_and(AvailableUpdate::is_security) && apt_takes.is_none() && !installed.held {
            // The one difference that is meant: apt would phase in a security archive's version if another archive that has
            // the same version phases it in.
            continue;
        }
        if apt_takes.is_none() && is_phased_in(case, installed) {
            // apt keeps a package whose *installed* version is still phased in for others, whatever else is offered.
            continue;
        }
        prop_assert_eq!(taken.map(|update| &update.version), apt_takes.as_ref(), "{}: {:?}", key, package);
        check_reason(package, &ours[&key])?;
    }
    prop_assert!(upgrades.is_empty(), "apt would install besides: {:?}", upgrades);
    Ok(())
}

/// Whether some list phases in exactly the version that is installed.
fn is_phased_in(case: &Case, installed: &packages::InstalledPackage) -> bool {
    let same = |stanza: &&Stanza| stanza.name == installed.name && stanza.version == installed.version;
    case.lists.iter().flatten().filter(same).any(|stanza| stanza.phased.is_some_and(|percentage| percentage < 100))
}

/// Whatever is not taken has its reason.
fn check_reason(package: &HostPackage, told: &Told) -> Result<(), TestCaseError> {
    let installed = &package.installed.version;
    let candidate_is_newer =
        told.candidate != "(none)" && compare_dpkg(&told.candidate, installed) == Ordering::Greater;
    match package.update.as_ref().map(|update| (&update.version, &update.not_taken)) {
        None => prop_assert!(!candidate_is_newer),
        Some((version, Some(NotTaken::Pinned { priority }))) => {
            prop_assert!(!candidate_is_newer && compare_dpkg(version, installed) == Ordering::Greater);
            prop_assert!(told.versions.iter().any(|told| told.0 == *version && told.1 == *priority));
        }
        Some((_, Some(NotTaken::Held))) => prop_assert!(candidate_is_newer && package.installed.held),
        Some((version, Some(NotTaken::Phased { percentage }))) => {
            prop_assert!(*percentage < 100 && compare_dpkg(version, installed) == Ordering::Greater);
        }
        Some((version, None)) => prop_assert!(candidate_is_newer && *version == told.candidate),
    }
    Ok(())
}

#[test]
fn this_machine_as_apt_sees_it() {
    if !apt_is_here() {
        return;
    }
    let host = TestHost::this_machine();
    if host.inspect().configuration().native_architecture != "amd64" {
        println!("this machine is not of amd64: it was not compared with apt");
        return;
    }
    let (mut ours, packages) = told(&host);
    let names: Vec<_> = ours.keys().cloned().collect();
    let mut told = host.apt_policy(&names);
    for told in ours.values_mut().chain(told.values_mut()) {
        for place in told.versions.iter_mut().flat_map(|version| &mut version.3) {
            // The sources may name a suite that its Release file calls otherwise.
            *place = place.split_once('/').map_or("", |(_, rest)| rest).to_owned();
        }
    }
    for name in names {
        assert_eq!(ours[&name], told[&name], "{name}");
    }
    for package in packages {
        let architecture =
            if package.installed.architecture == "all" { "amd64" } else { &package.installed.architecture };
        if let Some(told) = told.get(&format!("{}:{architecture}", package.installed.name)) {
            check_reason(&package, told).unwrap();
        }
    }
}

/// Few by default, since each asks apt twice; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let asked = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok());
    let cases = asked.unwrap_or(60);
    ProptestConfig { cases, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn as_apt_decides(case in case()) {
        if apt_is_here() {
            compare(&case)?;
        }
    }
}
