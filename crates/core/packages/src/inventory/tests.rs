use super::*;
use proptest::prelude::*;

fn package(name: &str, version: &str) -> InstalledPackage {
    InstalledPackage {
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        version: version.to_owned(),
        source: name.to_owned(),
        source_version: version.to_owned(),
        section: "libs".to_owned(),
        priority: "optional".to_owned(),
        state: InstallState::Installed,
        held: false,
    }
}

fn inventory(packages: &[(&str, &str)]) -> Inventory {
    let packages = packages.iter().map(|(name, version)| package(name, version)).collect();
    Inventory::new(Distribution { id: "debian".to_owned(), ..Distribution::default() }, packages)
}

#[test]
fn the_order_of_arrival_does_not_matter() {
    let one = inventory(&[("b", "1"), ("a", "2"), ("a", "1"), ("b", "1")]);
    let other = inventory(&[("a", "1"), ("b", "1"), ("a", "2")]);
    assert_eq!(one, other);
    assert_eq!(one.digest(), other.digest());
}

#[test]
fn the_digest_is_stable() {
    // Agents of other versions compute it too: it must never change for the same inventory.
    assert_eq!(Inventory::default().digest(), "10077e15e2749e71dff8c555c9a39ffbaf56177906982aa40e8ed4f776b51e98");
    assert_eq!(
        inventory(&[("libc6", "2.36-9+deb12u10")]).digest(),
        "57db53f213cf2bbdc76a0a1c91cb67ceedcd525951ce7bc86b35956b12731433"
    );
}

#[test]
fn every_field_counts_in_the_digest() {
    let base = inventory(&[("a", "1")]);
    let changes: [fn(&mut Inventory); 14] = [
        |i| i.distribution.id = "x".to_owned(),
        |i| i.distribution.name = "x".to_owned(),
        |i| i.distribution.version_id = "x".to_owned(),
        |i| i.distribution.codename = "x".to_owned(),
        |i| i.distribution.pretty_name = "x".to_owned(),
        |i| i.packages[0].name = "x".to_owned(),
        |i| i.packages[0].architecture = "x".to_owned(),
        |i| i.packages[0].version = "x".to_owned(),
        |i| i.packages[0].source = "x".to_owned(),
        |i| i.packages[0].source_version = "x".to_owned(),
        |i| i.packages[0].section = "x".to_owned(),
        |i| i.packages[0].priority = "x".to_owned(),
        |i| i.packages[0].state = InstallState::Unpacked,
        |i| i.packages[0].held = true,
    ];
    let mut digests = vec![base.digest()];
    for change in changes {
        let mut changed = base.clone();
        change(&mut changed);
        digests.push(changed.digest());
    }
    // Moving a character from one field to the next is a change too.
    let mut moved = base.clone();
    moved.packages[0].name = "aa".to_owned();
    moved.packages[0].architecture = "md64".to_owned();
    digests.push(moved.digest());
    digests.sort();
    let count = digests.len();
    digests.dedup();
    assert_eq!(digests.len(), count);
}

#[test]
fn a_delta_names_what_came_changed_and_went() {
    let old = inventory(&[("a", "1"), ("b", "1"), ("c", "1")]);
    let new = inventory(&[("b", "2"), ("c", "1"), ("d", "1")]);
    let delta = InventoryDelta::between(&old, &new);
    assert_eq!(delta.present, [package("b", "2"), package("d", "1")]);
    assert_eq!(delta.absent, [package("a", "1").key()]);
    assert_eq!(delta.distribution, None);
    assert!(InventoryDelta::between(&old, &old).is_empty());
}

#[test]
fn of_two_kernels_one_goes() {
    let old = inventory(&[("kernel", "1"), ("kernel", "2")]);
    let new = inventory(&[("kernel", "2")]);
    let delta = InventoryDelta::between(&old, &new);
    assert_eq!(delta.present, [package("kernel", "2")]);
    assert!(delta.absent.is_empty());
    assert_eq!(old.apply(&delta), new);
}

#[test]
fn a_delta_survives_json() {
    let delta = InventoryDelta::between(&inventory(&[("a", "1")]), &Inventory::default());
    let text = serde_json::to_string(&delta).unwrap();
    assert_eq!(serde_json::from_str::<InventoryDelta>(&text).unwrap(), delta);
    assert!(serde_json::from_str::<InventoryDelta>(r#"{"present":[],"absent":[]}"#).unwrap().is_empty());
}

#[test]
fn state_words() {
    for state in [
        InstallState::Installed,
        InstallState::Unpacked,
        InstallState::HalfConfigured,
        InstallState::HalfInstalled,
        InstallState::TriggersAwaited,
        InstallState::TriggersPending,
        InstallState::ConfigFiles,
    ] {
        assert_eq!(InstallState::parse(state.as_str()), Some(state));
        assert_eq!(serde_json::to_value(state).unwrap(), state.as_str());
    }
    assert_eq!(InstallState::parse("not-installed"), None);
}

fn any_inventory() -> impl Strategy<Value = Inventory> {
    let row = ("[a-d]", "[mi]", "[1-3]", any::<bool>()).prop_map(|(name, architecture, version, held)| {
        InstalledPackage { architecture, held, ..package(&name, &version) }
    });
    (proptest::collection::vec(row, 0..12), "[xy]?")
        .prop_map(|(packages, id)| Inventory::new(Distribution { id, ..Distribution::default() }, packages))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn a_delta_leads_from_old_to_new(old in any_inventory(), new in any_inventory()) {
        let delta = InventoryDelta::between(&old, &new);
        prop_assert_eq!(&old.apply(&delta), &new);
        prop_assert_eq!(delta.is_empty(), old == new);
        prop_assert_eq!(old.digest() == new.digest(), old == new);
    }
}
