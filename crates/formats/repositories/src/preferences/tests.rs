use super::*;
use crate::OfferingList;
use crate::pin::Place;
use packages::Archive;
use proptest::prelude::*;

fn read(text: &str) -> (Preferences, Vec<String>) {
    let mut preferences = Preferences::default();
    let warnings = preferences.read("/etc/apt/preferences", text.as_bytes());
    (preferences, warnings.iter().map(ToString::to_string).collect())
}

fn package<'a>(name: &'a str, architecture: &'a str, source: &'a str) -> PinnedPackage<'a> {
    PinnedPackage { name, architecture, native_architecture: "amd64", source }
}

fn security() -> OfferingList {
    OfferingList {
        archive: Archive {
            origin: "Debian".to_owned(),
            label: "Debian-Security".to_owned(),
            suite: "oldstable-security".to_owned(),
            codename: "bookworm-security".to_owned(),
            component: "main".to_owned(),
            site: "deb.example".to_owned(),
        },
        release_version: "12".to_owned(),
        architecture: "amd64".to_owned(),
        ..OfferingList::default()
    }
}

/// The priorities of the records for a package, in order.
fn priorities(preferences: &Preferences, package: PinnedPackage<'_>) -> Vec<i32> {
    preferences.of_package(package).map(|record| record.priority).collect()
}

#[test]
fn records_are_found_by_package() {
    let (preferences, warnings) = read(
        "Explanation: why\nPackage: perl\nPin: version 5.32*\nPin-Priority: 1001\n\n\
         # a comment\n\n\
         Package: gnome* /kde/ src:openssl\n# between\nPin: release a=experimental\nPin-Priority: 500\n\n\
         Package: *:any\nPin: origin \"\"\nPin-Priority: 7\n\n\
         Package: *\nPin: origin deb.example\nPin-Priority: -1\n\n\
         Package: no-pin\n\n",
    );
    assert_eq!(warnings, [""; 0]);
    assert_eq!(preferences.general().len(), 1);
    assert_eq!(priorities(&preferences, package("perl", "amd64", "perl")), [1001, 7]);
    assert_eq!(priorities(&preferences, package("gnome-shell", "amd64", "g")), [500, 7]);
    assert_eq!(priorities(&preferences, package("libKDE1", "amd64", "k")), [500, 7]);
    assert_eq!(priorities(&preferences, package("libssl3", "amd64", "openssl")), [500, 7]);
    assert_eq!(priorities(&preferences, package("libssl3", "i386", "openssl")), [7], "the native architecture alone");
}

#[test]
fn pins_are_found_by_place() {
    let security = security();
    for (pin, matches) in [
        ("release a=oldstable-security", true),
        ("release n=bookworm*, l=Debian-Security", true),
        ("release n=bookworm", false),
        ("release bookworm-security", true),
        ("release o=Debian,o=Other", false),
        ("release v=12", true),
        ("release 1*", true),
        ("release c=main, b=amd64", true),
        ("release c=contrib", false),
        ("release x=y", false),
        ("release *", true),
        ("origin deb.example", true),
        ("origin \"DEB.*\"", true),
        ("origin \"\"", false),
    ] {
        let pin = Pin::parse(pin, true).unwrap();
        assert_eq!(pin.matches_place(Place::List(&security)), matches, "{pin:?}");
    }
    for (pin, matches) in
        [("release a=now", true), ("release c=now", true), ("release l=*", false), ("origin *", false)]
    {
        assert_eq!(Pin::parse(pin, true).unwrap().matches_place(Place::Database), matches, "{pin}");
    }
    for (pin, matches) in [
        ("version 1.2-3", true),
        ("version 1.2", false),
        ("version 1.2*", true),
        ("version *", true),
        ("version /^1\\.[0-9]-/", true),
        ("version 1.?-3", true),
    ] {
        assert_eq!(Pin::parse(pin, false).unwrap().matches_version("1.2-3", std::iter::empty()), matches, "{pin}");
    }
}

#[test]
fn priorities_are_read_as_apt_reads_them() {
    for (text, priority) in [
        ("500", Some(500)),
        ("-1", Some(-1)),
        ("+7", Some(7)),
        ("12x", Some(12)),
        ("-32768", Some(-32767)),
        ("0", None),
        ("x", None),
        ("", None),
        ("40000", None),
        ("99999999999999999999", None),
    ] {
        assert_eq!(parse_priority(text, true).ok(), priority, "{text}");
    }
    assert_eq!(parse_priority("never", true), Ok(NEVER));
    assert!(parse_priority("never", false).is_err());
}

#[test]
fn what_apt_would_refuse_is_left_out_by_line() {
    let (preferences, warnings) = read(
        "Pin: release a=x\nPin-Priority: 1\n\n\nPackage: *\nPin: version 1\nPin-Priority: 1\n\n\
         Package: a\nPin: distance 1\nPin-Priority: 1\n\nPackage: /(/\nPin: release *\nPin-Priority: 1\n\n\
         Package: a\nPin: release *\nPin-Priority: 0\n\nPackage: good\nPin: release *\nPin-Priority: 1\n",
    );
    assert_eq!(warnings.len(), 5, "{warnings:#?}");
    assert!(warnings[1].starts_with("/etc/apt/preferences, line 5: a pin by version"), "{warnings:?}");
    assert_eq!(priorities(&preferences, package("good", "amd64", "good")), [1]);
    assert_eq!(priorities(&preferences, package("a", "amd64", "a")), [0; 0]);
}

#[test]
fn architectures() {
    for (wanted, architecture, matches) in [
        ("any", "i386", true),
        ("i386", "i386", true),
        ("linux-any", "i386", true),
        ("hurd-any", "i386", false),
        ("any-amd64", "kfreebsd-amd64", true),
        ("any-any", "arm64", true),
        ("kfreebsd-amd64", "amd64", false),
        ("native", "amd64", false),
    ] {
        assert_eq!(architecture_matches(wanted, architecture), matches, "{wanted} {architecture}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), names in "[a-z*\\[/: (src:)]{0,20}", pin in "(version|release|origin)? ?[a-z=,*/\\[\"é ]{0,20}", priority in "[-+0-9a-z]{0,6}") {
        let _ = Preferences::default().read("a", &bytes);
        let (preferences, _) = read(&format!("Package: {names}\nPin: {pin}\nPin-Priority: {priority}\n"));
        let security = security();
        for record in preferences.general().iter().chain(preferences.of_package(package("libssl3", "amd64", "openssl"))) {
            let _ = record.pin.matches_version("1.2-3", [Place::List(&security), Place::Database].into_iter());
        }
    }
}
