//! What is offered and yet not taken: held, pinned and other versions are listed with their reason, as apt sees them.

use testkit::{HostPackages, SmallPackage, SmallRepository};

use crate::apt::{Policies, simulated};
use crate::site::{Site, pretty, text};

/// Every security update, and one package from wherever it comes.
fn make_default_baseline(site: &Site) {
    let rules = r#"PatchRules=[{PatchFilterGroup={PatchFilters=[{Key=PRIORITY,Values=["*"]}]}}]"#;
    let arguments =
        ["create-patch-baseline", "--name", "ours", "--operating-system", "DEBIAN", "--approval-rules", rules];
    let approved = ["--approved-patches", "phased", "--approved-patches-enable-non-security"];
    let baseline = text(&site.ssm(&[&arguments[..], &approved].concat())["BaselineId"]);
    site.ssm(&["register-default-patch-baseline", "--baseline-id", &baseline]);
}

#[test]
fn held_pinned_and_other_updates_are_listed_with_their_reason() {
    let Some(site) = Site::for_test() else { return };
    let node = site.node("h1", HostPackages::Frozen);
    let real: Vec<String> = Policies::of(&node.host).missing().into_keys().collect();
    let [held, pinned, ..] = &real[..] else { panic!("the frozen root has too little pending: {real:?}") };
    let package = |version| SmallPackage::new("other", version).field("Priority", "optional");
    let phased = |version| SmallPackage::new("phased", version);
    let main = SmallRepository::main("main").package(package("1")).package(phased("1"));
    node.offer(&site, &main, &["other", "phased"]);
    // Newer, but from the main archive alone; one of them rolled out to nobody yet.
    let rolled_out = phased("2").field("Phased-Update-Percentage", "0");
    node.offer(&site, &main.package(package("2")).package(rolled_out), &[]);
    make_default_baseline(&site);
    let pin = format!("Package: {pinned}\nPin: release l=Debian-Security\nPin-Priority: -1\n");
    node.host.write_file("/etc/apt/preferences.d/pinned", pin, 0o644).unwrap();
    node.host.shell(&format!("apt-get -qq update; apt-mark hold {held}")).unwrap();

    // As apt sees it: the held one has a candidate all the same, the pinned one has none that is newer.
    let policies = Policies::of(&node.host);
    let missing = policies.missing();
    for (name, is_missing) in [(held.as_str(), true), (pinned, false), ("other", false), ("phased", false)] {
        assert_eq!(missing.contains_key(name), is_missing, "{name}");
    }
    let upgrade = simulated(&node.host, "dist-upgrade");
    for (name, upgraded) in [(held.as_str(), false), (pinned, false), ("other", true), ("phased", false)] {
        assert_eq!(upgrade.contains_key(name), upgraded, "{name}: {upgrade:?}");
    }

    let scanned = site.patch(&node, "Scan");
    let output = text(&scanned["StandardOutputContent"]);
    let policy = |name: &str| &policies.all[name];
    let line_of = |name: &str| {
        let mut lines = output.lines().filter(|line| line.trim_start().starts_with(&format!("{name} ")));
        lines.next().unwrap_or_else(|| panic!("{name} is not listed\n{output}")).trim().to_owned()
    };
    for (name, state, reason) in [
        (held.as_str(), "Missing", "the newer version is approved, but the package is on hold"),
        (pinned, "InstalledOther", "a newer version exists, but a pin (priority -1) keeps apt from taking it"),
        ("other", "InstalledOther", "a newer version is offered, but by no security archive"),
        ("phased", "Missing", "the newer version is approved, but so far offered to 0 % of hosts, and not to this one"),
    ] {
        assert!(line_of(name).ends_with(&format!("({reason})")), "{}", line_of(name));
        let kb_id = format!("{name}.{}", policy(name).architecture);
        assert_eq!(site.patch_of(&node, &kb_id), state, "{kb_id}");
    }
    assert!(line_of(held).contains(&policy(held).candidate), "{}", line_of(held));
    let counts = site.patch_state(&node);
    assert_eq!(counts["MissingCount"], missing.len() + 1, "{}", pretty(&counts));
    for name in missing.keys() {
        line_of(name);
    }

    // And so they stay when everything else is installed.
    let installed = site.patch(&node, "Install,RebootOption=NoReboot");
    let after = Policies::of(&node.host);
    for name in [held, pinned, "other", "phased"] {
        assert_eq!(after.all[name].installed, policy(name).installed, "{name}: {}", pretty(&installed));
    }
    assert_eq!(after.missing().keys().collect::<Vec<_>>(), [held], "{}", pretty(&installed));
    assert_eq!(site.patch_state(&node)["MissingCount"], 2);
}
