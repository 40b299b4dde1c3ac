use super::*;
use crate::MultiArch;
use proptest::prelude::*;

const STATUS: &str = "\
Package: libssl3
Status: install ok installed
Priority: optional
Section: libs
Installed-Size: 5964
Maintainer: Somebody <a@example.org>
Architecture: amd64
Multi-Arch: same
Source: openssl
Version: 3.0.11-1~deb12u2
Depends: libc6 (>= 2.34)
Description: Secure Sockets Layer toolkit
 Package: not-a-package
 .
 Status: none

Package: libssl3
Status: hold ok installed
Architecture: i386
Multi-Arch: same
Source: openssl
Version: 3.0.11-1~deb12u2

Package: gone
Status: deinstall ok config-files
Architecture: amd64
Version: 1.0-1

Package: never
Status: purge ok not-installed
Architecture: amd64

Package: BinNMU
Status: install reinstreq half-configured
Architecture: all
Source: base (1.0-1)
Version: 1.0-1+b2
";

#[test]
fn a_database() {
    let database = parse_dpkg_status(STATUS.as_bytes());
    assert_eq!(database.skipped, []);
    let [first, second, third] = &database.packages[..] else { panic!("{database:?}") };
    assert_eq!(
        first.package,
        InstalledPackage {
            name: "libssl3".to_owned(),
            architecture: "amd64".to_owned(),
            version: "3.0.11-1~deb12u2".to_owned(),
            source: "openssl".to_owned(),
            source_version: "3.0.11-1~deb12u2".to_owned(),
            section: "libs".to_owned(),
            priority: "optional".to_owned(),
            state: InstallState::Installed,
            held: false,
        }
    );
    assert_eq!(first.build.multi_arch, MultiArch::Same);
    assert_eq!((second.package.architecture.as_str(), second.package.held), ("i386", true));
    assert_eq!(third.package.name, "binnmu", "dpkg lowers names");
    assert_eq!((third.package.source.as_str(), third.package.source_version.as_str()), ("base", "1.0-1"));
    assert_eq!(third.package.state, InstallState::HalfConfigured);
    assert_eq!(
        database.leftover_configurations,
        [LeftoverConfiguration {
            name: "gone".to_owned(),
            architecture: "amd64".to_owned(),
            version: "1.0-1".to_owned()
        }]
    );
}

#[test]
fn the_later_stanza_counts() {
    let file = "Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 1\n\n\
                Package: a\nStatus: install ok installed\nArchitecture: all\nVersion: 2\n";
    let database = parse_dpkg_status(file.as_bytes());
    assert_eq!(database.packages.len(), 1);
    assert_eq!(database.packages[0].package.version, "2");
}

#[test]
fn one_package_per_file() {
    let file = b"Package: base-files\nArchitecture: amd64\nVersion: 12.4\nDescription: x\n";
    let mut database = parse_dpkg_status_d(file);
    database.merge(parse_dpkg_status_d(b"Package: tzdata\nArchitecture: all\nVersion: 2024a\n"));
    database.merge(parse_dpkg_status_d(b"Package: tzdata\nArchitecture: all\nVersion: 2025a\n"));
    let versions: Vec<_> = database.packages.iter().map(|found| found.package.version.as_str()).collect();
    assert_eq!(versions, ["12.4", "2025a"]);
    assert!(database.packages.iter().all(|found| found.package.state == InstallState::Installed));
    assert_eq!(parse_dpkg_status(file).skipped[0].reason, SkipReason::Missing("Status"));
}

#[test]
fn what_cannot_be_read_is_skipped_with_its_reason() {
    let long = format!("Package: a\nStatus: install ok installed\nDescription: {}\n", "x".repeat(STANZA_BYTES_MAX));
    let name = "n".repeat(VALUE_BYTES_MAX + 1);
    for (stanza, reason) in [
        ("Status: install ok installed\n", SkipReason::Missing("Package")),
        ("Package: a\nStatus: install ok installed\nArchitecture: all\n", SkipReason::Missing("Version")),
        ("Package: a\nStatus: install ok installed\nVersion: 1\n", SkipReason::Missing("Architecture")),
        ("Package: a\nStatus: install ok\n", SkipReason::MalformedStatus),
        ("Package: a\nStatus: install ok installed now\n", SkipReason::MalformedStatus),
        ("Package: a\nStatus: want ok installed\n", SkipReason::MalformedStatus),
        ("Package: a\nStatus: install ok broken\n", SkipReason::MalformedStatus),
        ("Package: a b\nStatus: install ok installed\n", SkipReason::Malformed("Package")),
        ("Package: a\nStatus: install ok installed\nVersion: 1\x07\n", SkipReason::Malformed("Version")),
        (&format!("Package: {name}\nStatus: install ok installed\n"), SkipReason::Malformed("Package")),
        (&long, SkipReason::TooLong),
    ] {
        let file = format!("{stanza}\n{STATUS}");
        let database = parse_dpkg_status(file.as_bytes());
        assert_eq!(database.skipped.iter().map(|skipped| skipped.reason).collect::<Vec<_>>(), [reason]);
        assert_eq!(database.packages.len(), 3, "the others are read");
    }
    let not_utf8 = b"Package: a\xff\nStatus: install ok installed\n";
    assert_eq!(parse_dpkg_status(not_utf8).skipped[0].reason, SkipReason::Malformed("Package"));
}

#[test]
fn stanzas_without_end() {
    let file = "Package: a\n\n".repeat(STATUS_STANZAS_MAX + 1000);
    let database = parse_dpkg_status(file.as_bytes());
    assert_eq!(database.skipped.len(), SKIPPED_MAX);
    assert_eq!(database.skipped_count, STATUS_STANZAS_MAX + 1);
}

#[test]
fn a_build_is_the_same_however_dpkg_writes_it() {
    let build = |file: &str| parse_dpkg_status_d(file.as_bytes()).packages[0].build;
    let head = "Package: a\nArchitecture: amd64\nVersion: 1\n";
    let archive = build(&format!("{head}Size: 10\nDepends: b (= 0:1.0), C (<< 2)\nConflicts: d\n"));
    let database = build(&format!("{head}Conflicts:  d\nDepends: b (1.0),c  (<<2)\n"));
    assert!(archive.is_same(&database));
    assert!(!archive.is_same(&build(&format!("{head}Depends: b (= 1.1), c (<< 2)\nConflicts: d\n"))));
    assert!(!archive.is_same(&build(&format!("{head}Size: 11\nDepends: b (= 0:1.0), C (<< 2)\nConflicts: d\n"))));
    assert!(!archive.is_same(&build(&format!("{head}Multi-Arch: same\nDepends: b (= 1.0), c (<< 2)\nConflicts: d\n"))));
}

#[test]
fn this_hosts_own_database() {
    let Ok(file) = std::fs::read("/var/lib/dpkg/status") else {
        println!("no dpkg here: its own database was not read");
        return;
    };
    let output = std::process::Command::new("dpkg-query")
        .args(["-W", "-f=${db:Status-Want} ${db:Status-Status} ${Package} ${Architecture} ${Version} ${source:Package} ${source:Version}\\n"])
        .output()
        .unwrap();
    let mut told: Vec<String> = String::from_utf8(output.stdout)
        .unwrap()
        .lines()
        .filter(|line| !line.contains(" not-installed ") && !line.contains(" config-files "))
        .map(|line| {
            line.replacen("hold", "true", 1).replacen("install ", "false ", 1).replacen("deinstall ", "false ", 1)
        })
        .collect();
    let database = parse_dpkg_status(&file);
    assert_eq!(database.skipped, []);
    let mut read: Vec<String> = database
        .packages
        .iter()
        .map(|DpkgPackage { package, .. }| {
            let state = package.state.as_str();
            let InstalledPackage { held, name, architecture, version, source, source_version, .. } = package;
            format!("{held} {state} {name} {architecture} {version} {source} {source_version}")
        })
        .collect();
    told.sort();
    read.sort();
    assert_eq!(read, told);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn bytes_of_any_kind(file in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = (parse_dpkg_status(&file), parse_dpkg_status_d(&file));
    }

    #[test]
    fn a_mutated_database(changes in proptest::collection::vec((0..STATUS.len(), any::<u8>()), 1..20), cut in 0..STATUS.len()) {
        let mut file = STATUS.as_bytes().to_vec();
        for (position, byte) in changes {
            file[position] = byte;
        }
        file.truncate(cut);
        let database = parse_dpkg_status(&file);
        prop_assert!(database.packages.len() + database.skipped.len() <= 16);
        for DpkgPackage { package, .. } in database.packages {
            prop_assert!(!package.name.is_empty() && !package.version.is_empty() && !package.architecture.is_empty());
        }
    }
}
