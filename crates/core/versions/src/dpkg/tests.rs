use super::*;
use proptest::prelude::*;
use std::process::Command;

#[test]
fn tilde_sorts_before_the_end() {
    let sorted = ["1.0~~", "1.0~~a", "1.0~", "1.0", "1.0a", "1.0a+", "1.0b", "1.0+", "1.0-1", "1.0.1"];
    // `1.0-1` has a revision, so it is above `1.0` in the revision alone and below `1.0a` in the upstream version.
    assert_eq!(compare_dpkg("1.0-1", "1.0"), Ordering::Greater);
    assert_eq!(compare_dpkg("1.0-1", "1.0a"), Ordering::Less);
    for pair in sorted.windows(2).filter(|pair| !pair.contains(&"1.0-1")) {
        assert_eq!(compare_dpkg(pair[0], pair[1]), Ordering::Less, "{pair:?}");
    }
}

#[test]
fn equal_however_written() {
    for (left, right) in [
        ("1.0", "0:1.0"),
        ("1.0", "1.0-0"),
        ("1.0", "1.00"),
        ("1.", "1.0"),
        ("", "0"),
        ("00:1", "1"),
        ("a", "a0"),
        ("1.0-", "1.0"),
        ("1.0-00", "1.0"),
    ] {
        assert_eq!(compare_dpkg(left, right), Ordering::Equal, "{left} {right}");
        assert_eq!(dpkg_sort_key(left), dpkg_sort_key(right), "{left} {right}");
        assert_eq!(DpkgVersion::parse(left), DpkgVersion::parse(right));
    }
}

#[test]
fn numbers_of_any_size() {
    let long = "9".repeat(600);
    let longer = format!("1{}", "0".repeat(600));
    assert_eq!(compare_dpkg(&long, &longer), Ordering::Less);
    assert!(dpkg_sort_key(&long) < dpkg_sort_key(&longer));
    for digits in [254, 255, 256, 509, 510, 511] {
        let (shorter, longer) = ("9".repeat(digits), "1".repeat(digits + 1));
        assert!(dpkg_sort_key(&shorter) < dpkg_sort_key(&longer), "{digits}");
        assert!(dpkg_sort_key(&format!("{shorter}z")) < dpkg_sort_key(&longer), "{digits}");
    }
}

#[test]
fn parts() {
    let version = DpkgVersion::parse("2:1.2-rc-3:4-5");
    assert_eq!((version.epoch, version.upstream, version.revision), ("2", "1.2-rc-3:4", "5"));
    assert!(version.is_valid());
}

#[test]
fn validity_is_the_policy() {
    for valid in ["1", "1.0-1", "0:1", "1:1.2~rc1+dfsg-1~bpo12+1", "2:1:2-3", "1-2-3"] {
        assert!(DpkgVersion::parse(valid).is_valid(), "{valid}");
    }
    for invalid in ["", "a", ":1", "x:1", "1:", "1-", "1_2", "1 2", "-1", "1:-1", "99999999999:1", "1-1_1", "é", "+1:1"]
    {
        assert!(!DpkgVersion::parse(invalid).is_valid(), "{invalid}");
    }
}

/// Versions near each other, so that pairs differ late and in every way.
fn version() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => "([0-2]?[0-2]:)?[0-2a.+~]{0,6}(-[0-2a.+~]{0,4})?",
        2 => "([0-9]{1,2}:)?[0-9]{1,3}(\\.[0-9]{1,3}){0,3}(~rc[0-9]|\\+dfsg|\\+really[0-9]\\.[0-9])?(-[0-9]{1,2}(\\+deb12u[0-9]{1,2}|ubuntu[0-9])?)?",
        1 => "\\PC{0,12}",
        1 => "[-:.~+a-zA-Z0-9]{0,10}",
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn keys_sort_as_versions_compare(left in version(), right in version()) {
        let order = compare_dpkg(&left, &right);
        prop_assert_eq!(dpkg_sort_key(&left).cmp(&dpkg_sort_key(&right)), order);
        prop_assert_eq!(compare_dpkg(&right, &left), order.reverse());
    }

    #[test]
    fn the_order_is_total(a in version(), b in version(), c in version()) {
        prop_assert_eq!(compare_dpkg(&a, &a), Ordering::Equal);
        let mut sorted = [a, b, c];
        sorted.sort_by(|left, right| compare_dpkg(left, right));
        prop_assert_ne!(compare_dpkg(&sorted[0], &sorted[1]), Ordering::Greater);
        prop_assert_ne!(compare_dpkg(&sorted[1], &sorted[2]), Ordering::Greater);
        prop_assert_ne!(compare_dpkg(&sorted[0], &sorted[2]), Ordering::Greater);
    }

    #[test]
    fn anything_has_a_place(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
        let text = String::from_utf8_lossy(&bytes);
        let _ = DpkgVersion::parse(&text).is_valid();
        prop_assert_eq!(compare_dpkg(&text, &text), Ordering::Equal);
        prop_assert!(!dpkg_sort_key(&text).is_empty());
    }
}

/// What dpkg itself says; `None` where there is no dpkg.
fn dpkg_order(left: &str, right: &str) -> Option<Ordering> {
    let holds = |operator: &str| {
        let output = Command::new("/usr/bin/dpkg").args(["--compare-versions", "--", left, operator, right]).output();
        output.ok().and_then(|output| output.status.code())
    };
    match (holds("lt")?, holds("gt")?) {
        (0, _) => Some(Ordering::Less),
        (_, 0) => Some(Ordering::Greater),
        _ => Some(Ordering::Equal),
    }
}

#[test]
fn as_dpkg_compares() {
    if !std::path::Path::new("/usr/bin/dpkg").exists() {
        println!("dpkg is not here: its own answers were not compared");
        return;
    }
    let corpus = [
        "0",
        "0~",
        "0~~",
        "0a",
        "1",
        "01",
        "1.0",
        "1.00",
        "1.",
        "1.0-0",
        "1.0-1",
        "1.0-1~bpo12+1",
        "1.0-1+b1",
        "1.0~rc1-1",
        "1.0~rc1",
        "1.0+dfsg-1",
        "1.0+really0.9-1",
        "1.0a",
        "1.0A",
        "1.0z-1",
        "1.0.1",
        "1.0+",
        "1.0-1.1",
        "1.0-10",
        "1.0-2",
        "1:0.1",
        "10:0",
        "1:1.0",
        "2.0",
        "9.99999999999999999999",
        "10",
        "1.0-1ubuntu1",
        "1.0-1ubuntu0.22.04.1",
        "1.0-1build1",
        "20230311",
        "5.10.0-28",
        "6.1.94-1",
        "2:8.2.4-1",
        "1-1-1",
        "1.0~~a",
        "1.0~a",
        "1.0+~",
        "1.0-~",
    ];
    for left in corpus {
        for right in corpus {
            assert_eq!(Some(compare_dpkg(left, right)), dpkg_order(left, right), "{left} {right}");
        }
    }
}
