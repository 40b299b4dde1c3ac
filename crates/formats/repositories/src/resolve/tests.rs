use super::*;
use crate::test_host::TestHost;
use packages::Distribution;

const LISTS: &str = "var/lib/apt/lists/";

fn release(suite: &str, more: &str) -> String {
    format!("Origin: Debian\nLabel: Debian\nSuite: {suite}\nCodename: {suite}\n{more}")
}

fn stanza(name: &str, version: &str, more: &str) -> String {
    format!("Package: {name}\nVersion: {version}\nArchitecture: amd64\nSection: libs\nPriority: optional\n{more}\n")
}

fn installed(name: &str, version: &str, wanted: &str) -> String {
    format!("Package: {name}\nStatus: {wanted} ok installed\nVersion: {version}\nArchitecture: amd64\n\n")
}

/// A host with stable, its security archive and backports.
fn host(status: &str, lists: [&str; 3]) -> TestHost {
    let host = TestHost::new();
    host.write("var/lib/dpkg/status", status.as_bytes());
    host.write(
        "etc/apt/sources.list.d/debian.sources",
        b"Types: deb\nURIs: http://deb.example/debian\nSuites: stable stable-security stable-backports\nComponents: main\n\
          Architectures: amd64\n",
    );
    let backports = "NotAutomatic: yes\nButAutomaticUpgrades: yes\n";
    for ((suite, more), list) in
        [("stable", ""), ("stable-security", ""), ("stable-backports", backports)].iter().zip(lists)
    {
        let stem = format!("{LISTS}deb.example_debian_dists_{suite}_");
        host.write(&format!("{stem}InRelease"), release(suite, more).as_bytes());
        host.write(&format!("{stem}main_binary-amd64_Packages"), list.as_bytes());
    }
    host
}

fn package(host: &TestHost, name: &str) -> HostPackage {
    let state = host.inspect().finish();
    assert_eq!(state.warnings, []);
    state.packages.into_iter().find(|package| package.installed.name == name).unwrap()
}

fn suites(archives: &[Archive]) -> Vec<&str> {
    archives.iter().map(|archive| archive.suite.as_str()).collect()
}

#[test]
fn a_security_update() {
    let old = stanza("libssl3", "1.0-1", "Source: openssl\n");
    let new = stanza("libssl3", "1.0-2", "Source: openssl (1.0)\n");
    let host = host(&installed("libssl3", "1.0-1", "install"), [&old, &new, ""]);
    let package = package(&host, "libssl3");
    assert_eq!(suites(&package.archives), ["stable"]);
    let update = package.update.unwrap();
    assert!(update.is_security());
    assert_eq!(
        update,
        AvailableUpdate {
            version: "1.0-2".to_owned(),
            architecture: "amd64".to_owned(),
            source: "openssl".to_owned(),
            section: "libs".to_owned(),
            priority: "optional".to_owned(),
            archives: vec![Archive {
                origin: "Debian".to_owned(),
                label: "Debian".to_owned(),
                suite: "stable-security".to_owned(),
                codename: "stable-security".to_owned(),
                component: "main".to_owned(),
                site: "deb.example".to_owned(),
            }],
            not_taken: None,
        }
    );
}

#[test]
fn up_to_date_and_gone_from_the_archives() {
    let list = stanza("current", "1", "");
    let status = installed("current", "1", "install") + &installed("local", "1", "install");
    let host = host(&status, [&list, &list, ""]);
    let current = package(&host, "current");
    assert_eq!((suites(&current.archives), current.update), (vec!["stable", "stable-security"], None));
    let local = package(&host, "local");
    assert_eq!((local.archives, local.update), (vec![], None));
}

#[test]
fn a_held_package() {
    let host = host(&installed("a", "1", "hold"), [&stanza("a", "2", ""), "", ""]);
    assert_eq!(package(&host, "a").update.unwrap().not_taken, Some(NotTaken::Held));
}

#[test]
fn backports_are_no_update_and_no_pin() {
    let host = host(&installed("a", "1", "install"), [&stanza("a", "1", ""), "", &stanza("a", "3", "")]);
    assert_eq!(package(&host, "a").update, None);
    // But what came from there is followed, and a pin can ask for it.
    host.write("var/lib/dpkg/status", installed("a", "2", "install").as_bytes());
    assert_eq!(package(&host, "a").update.unwrap().version, "3");
    host.write("var/lib/dpkg/status", installed("a", "1", "install").as_bytes());
    host.write("etc/apt/preferences.d/a", b"Package: a\nPin: release a=stable-backports\nPin-Priority: 500\n");
    assert_eq!(package(&host, "a").update.unwrap().not_taken, None);
}

#[test]
fn a_pin_keeps_the_newest_out() {
    let host = host(&installed("a", "1", "install"), [&stanza("a", "1", ""), &stanza("a", "2", ""), ""]);
    host.write("etc/apt/preferences.d/a", b"Package: a\nPin: version 2\nPin-Priority: -1\n");
    let update = package(&host, "a").update.unwrap();
    assert_eq!((update.version.as_str(), update.not_taken), ("2", Some(NotTaken::Pinned { priority: -1 })));
    // Holding at a version keeps out what is newer.
    host.write("etc/apt/preferences.d/a", b"Package: a\nPin: version 1\nPin-Priority: 1001\n");
    let update = package(&host, "a").update.unwrap();
    assert_eq!(update.not_taken, Some(NotTaken::Pinned { priority: 500 }));
}

#[test]
fn of_several_versions_kept_out_the_rest_counts() {
    let newer = stanza("a", "3", "") + &stanza("a", "2", "");
    let host = host(&installed("a", "1", "install"), [&newer, "", ""]);
    host.write("etc/apt/preferences", b"Package: a\nPin: version 3\nPin-Priority: -1\n");
    let update = package(&host, "a").update.unwrap();
    assert_eq!((update.version.as_str(), update.not_taken), ("2", None));
}

#[test]
fn a_downgrade_is_no_update() {
    let host = host(&installed("a", "2", "install"), [&stanza("a", "1", ""), "", ""]);
    host.write("etc/apt/preferences", b"Package: *\nPin: release a=stable\nPin-Priority: 1001\n");
    assert_eq!(package(&host, "a").update, None);
}

#[test]
fn phases() {
    let phased = stanza("a", "2", "Phased-Update-Percentage: 0\n");
    let host = host(&installed("a", "1", "install"), [&phased, "", ""]);
    assert_eq!(package(&host, "a").update.unwrap().not_taken, None, "without a machine id everything is taken");
    host.write("etc/apt/apt.conf.d/1", b"APT::Machine-ID \"0123456789abcdef0123456789abcdef\";\n");
    assert_eq!(package(&host, "a").update.unwrap().not_taken, Some(NotTaken::Phased { percentage: 0 }));
    host.write("etc/apt/apt.conf.d/2", b"APT::Get::Always-Include-Phased-Updates true;\n");
    assert_eq!(package(&host, "a").update.unwrap().not_taken, None);
    host.write("etc/apt/apt.conf.d/2", b"APT::Get::Phase-Policy true;\n");
    assert_eq!(package(&host, "a").update.unwrap().not_taken, Some(NotTaken::Phased { percentage: 0 }));
}

#[test]
fn security_is_never_phased() {
    let never = b"APT::Get::Never-Include-Phased-Updates true;\n";
    let phased = stanza("a", "3", "Phased-Update-Percentage: 0\n");
    let behind = host(&installed("a", "1", "install"), [&phased, &stanza("a", "2", ""), ""]);
    behind.write("etc/apt/apt.conf.d/1", never);
    assert_eq!(package(&behind, "a").update.unwrap().not_taken, None, "it brings what security brought");
    let ahead = host(&installed("a", "2", "install"), [&phased, &stanza("a", "2", ""), ""]);
    ahead.write("etc/apt/apt.conf.d/1", never);
    assert_eq!(package(&ahead, "a").update.unwrap().not_taken, Some(NotTaken::Phased { percentage: 0 }));
    let itself = host(&installed("a", "1", "install"), [&phased, &stanza("a", "3", ""), ""]);
    itself.write("etc/apt/apt.conf.d/1", never);
    assert_eq!(package(&itself, "a").update.unwrap().not_taken, None);
}

#[test]
fn from_one_architecture_to_all() {
    let list = stanza("a", "2", "").replace("amd64", "all");
    let host = host(&installed("a", "1", "install"), [&list, "", ""]);
    assert_eq!(package(&host, "a").update.unwrap().architecture, "all");
    // But the foreign package is another one.
    host.write("var/lib/dpkg/status", installed("a", "1", "install").replace("amd64", "i386").as_bytes());
    assert_eq!(package(&host, "a").update, None);
}

#[test]
fn what_is_missing_is_said() {
    let host = host(&installed("dpkg", "1", "install"), ["", "", ""]);
    host.write("etc/os-release", b"ID=debian\nVERSION_ID=12\n");
    std::fs::remove_file(host.path(&format!("{LISTS}deb.example_debian_dists_stable_InRelease"))).unwrap();
    let security = format!("{LISTS}deb.example_debian_dists_stable-security_main_binary-amd64_Packages");
    std::fs::remove_file(host.path(&security)).unwrap();
    let backports = format!("{LISTS}deb.example_debian_dists_stable-backports_main_binary-amd64_Packages");
    std::fs::rename(host.path(&backports), host.path(&format!("{backports}.lzma"))).unwrap();
    host.write("etc/apt/apt.conf.d/1", b"APT::Default-Release \"nowhere\";\n");
    let mut inspection = host.inspect();
    inspection.os_release(b"ID=debian\nVERSION_ID=12\n");
    let state = inspection.finish();
    let warnings: Vec<_> = state.warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        warnings,
        [
            "the Release file deb.example_debian_dists_stable_InRelease is missing or cannot be read",
            "the list deb.example_debian_dists_stable-security_main_binary-amd64_Packages is missing",
            "the list deb.example_debian_dists_stable-backports_main_binary-amd64_Packages.lzma was not read to its end: \
             lists compressed as .lzma are not supported",
            "APT::Default-Release nowhere is not heeded: no such release is in the sources",
        ]
    );
    let counts: Vec<_> = state.repositories.iter().map(|known| (known.lists_read, known.lists_missing)).collect();
    assert_eq!(counts, [(1, 0), (0, 1), (0, 1)]);
    let expected = Distribution { id: "debian".to_owned(), ..Distribution::default() };
    assert_eq!(state.inventory.distribution.id, expected.id);
    assert!(state.repositories[0].release.is_none() && state.repositories[1].release.is_some());
}

#[test]
fn lists_that_a_release_does_not_promise_are_not_missed() {
    let host = host(&installed("dpkg", "1", "install"), ["", "", ""]);
    let sources = "deb http://deb.example/debian stable main contrib\n";
    host.write("etc/apt/sources.list.d/debian.sources", b"");
    host.write("etc/apt/sources.list", sources.as_bytes());
    let release = release("stable", "Components: main\nArchitectures: amd64 all\n");
    host.write(&format!("{LISTS}deb.example_debian_dists_stable_InRelease"), release.as_bytes());
    let state = host.inspect().finish();
    assert_eq!(state.warnings, [], "neither contrib nor i386");
}

#[test]
fn the_architecture_of_dpkg_is_the_hosts() {
    let status = installed("dpkg", "1", "install").replace("amd64", "riscv64");
    let mut inspection = crate::Inspection::new(Configuration::default());
    inspection.dpkg_status(status.as_bytes());
    assert_eq!(inspection.configuration().native_architecture, "riscv64");
    let state = crate::Inspection::new(Configuration::default()).finish();
    assert_eq!(state.warnings.len(), 1);
}
