//! What was present when: at every instant exactly what was reported then.

use crate::support::{Lab, at, node_id, on_both, scope, scope_of, writes};
use identifiers::{CommandId, NodeId, SeededIds, Timestamp};
use packages::{Distribution, InstallState, InstalledPackage, Inventory, InventoryDelta};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use std::collections::BTreeMap;
use store::{ApplyError, InventoryApply, InventoryWrite, OfferedVersion, Order, Store};

fn debian() -> Distribution {
    Distribution {
        id: "debian".into(),
        name: "Debian GNU/Linux".into(),
        version_id: "12".into(),
        codename: "bookworm".into(),
        pretty_name: "Debian GNU/Linux 12 (bookworm)".into(),
    }
}

fn package(name: &str, version: &str) -> InstalledPackage {
    InstalledPackage {
        name: name.into(),
        architecture: "amd64".into(),
        version: version.into(),
        source: format!("src-{name}"),
        source_version: version.into(),
        section: "libs".into(),
        priority: "optional".into(),
        state: InstallState::Installed,
        held: false,
    }
}

pub(crate) fn inventory(packages: &[(&str, &str)]) -> Inventory {
    Inventory::new(debian(), packages.iter().map(|(name, version)| package(name, version)).collect())
}

pub(crate) fn whole(node: &NodeId, at: Timestamp, inventory: &Inventory) -> InventoryApply {
    InventoryApply {
        node_id: node.clone(),
        at,
        command_id: None,
        from_digest: None,
        to_digest: inventory.digest(),
        distribution: inventory.distribution.clone(),
        present: inventory.packages.clone(),
        absent: Vec::new(),
    }
}

pub(crate) fn delta(node: &NodeId, at: Timestamp, old: &Inventory, new: &Inventory) -> InventoryApply {
    let delta = InventoryDelta::between(old, new);
    let from_digest = Some(old.digest());
    InventoryApply { from_digest, present: delta.present, absent: delta.absent, ..whole(node, at, new) }
}

pub(crate) async fn apply(store: &Store, write: InventoryApply) -> Result<(), ApplyError> {
    store.apply(&scope(), writes([InventoryWrite::Apply(Box::new(write))])).await.map(drop)
}

pub(crate) async fn changes(store: &Store, node: &NodeId) -> Vec<(Timestamp, String, Option<String>, Option<String>)> {
    let list = store.package_change_list(&scope(), node, Order::OldestFirst, None, 1000).await.unwrap();
    list.into_iter().map(|c| (c.at, c.change.name, c.change.from, c.change.to)).collect()
}

on_both! {
    async fn a_delta_closes_and_opens_presences_and_tells_what_changed(lab: &Lab) {
        let (store, node) = (&lab.store, node_id(1));
        assert_eq!(store.inventory_get(&scope(), &node).await.unwrap(), None);
        let first = inventory(&[("apt", "1"), ("bash", "1"), ("curl", "1")]);
        apply(store, whole(&node, at(10), &first)).await.unwrap();
        assert_eq!(store.inventory_get(&scope(), &node).await.unwrap(), Some(first.clone()));
        assert_eq!(changes(store, &node).await, [], "what is there at the first look has not changed");

        let second = inventory(&[("apt", "1"), ("bash", "2"), ("dash", "1")]);
        let command = CommandId::generate(&mut SeededIds::new(1));
        let write = InventoryApply { command_id: Some(command.clone()), ..delta(&node, at(20), &first, &second) };
        apply(store, write).await.unwrap();
        assert_eq!(store.inventory_get(&scope(), &node).await.unwrap(), Some(second.clone()));
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(changes(store, &node).await, [
            (at(20), "bash".into(), text("1"), text("2")),
            (at(20), "curl".into(), text("1"), None),
            (at(20), "dash".into(), None, text("1")),
        ]);
        let by_command = store.package_change_list_by_command(&scope(), &command, &node).await.unwrap();
        assert_eq!(by_command.len(), 3);
        assert_eq!(by_command[0].command_id, Some(command));
        for (second_of_day, expected) in [(9, vec![]), (10, first.packages.clone()), (19, first.packages), (20, second.packages.clone()), (99, second.packages)] {
            assert_eq!(store.package_list_at(&scope(), &node, at(second_of_day)).await.unwrap(), expected, "at {second_of_day}");
        }
        let head = store.inventory_head_get(&scope(), &node).await.unwrap().unwrap();
        assert_eq!((head.digest, head.at, head.distribution), (store.inventory_get(&scope(), &node).await.unwrap().unwrap().digest(), at(20), debian()));
        assert_eq!(store.inventory_get(&scope_of("000000000000", "r"), &node).await.unwrap(), None);
    }
}

on_both! {
    async fn a_delta_from_elsewhere_is_refused_and_changes_nothing(lab: &Lab) {
        let (store, node) = (&lab.store, node_id(1));
        let (first, second) = (inventory(&[("apt", "1")]), inventory(&[("apt", "2")]));
        let stored_of = async |write| match apply(store, write).await {
            Err(ApplyError::InventoryMismatch { stored }) => stored,
            other => panic!("{other:?}"),
        };
        assert_eq!(stored_of(delta(&node, at(1), &first, &second)).await, None);
        apply(store, whole(&node, at(2), &first)).await.unwrap();
        assert_eq!(stored_of(delta(&node, at(3), &second, &first)).await, Some(first.digest()));
        let mut other = delta(&node, at(3), &first, &second);
        other.distribution.version_id = "13".into();
        assert_eq!(stored_of(other).await, Some(first.digest()), "a delta cannot change the distribution");
        assert_eq!(store.inventory_get(&scope(), &node).await.unwrap(), Some(first));
        assert_eq!(store.inventory_head_get(&scope(), &node).await.unwrap().unwrap().at, at(2));
    }
}

on_both! {
    async fn held_and_half_removed_packages_are_told_apart(lab: &Lab) {
        let (store, node) = (&lab.store, node_id(1));
        let one = |state, held| Inventory::new(debian(), vec![InstalledPackage { state, held, ..package("apt", "1") }]);
        let steps = [one(InstallState::Installed, false), one(InstallState::Installed, true), one(InstallState::ConfigFiles, false), one(InstallState::Installed, false)];
        apply(store, whole(&node, at(0), &steps[0])).await.unwrap();
        for (index, pair) in steps.windows(2).enumerate() {
            apply(store, delta(&node, at(10 * (index as i64 + 1)), &pair[0], &pair[1])).await.unwrap();
        }
        for (index, step) in steps.iter().enumerate() {
            assert_eq!(store.package_list_at(&scope(), &node, at(10 * index as i64)).await.unwrap(), step.packages, "{index}");
        }
        let text = |t: &str| Some(t.to_owned());
        assert_eq!(changes(store, &node).await, [(at(20), "apt".into(), text("1"), None), (at(30), "apt".into(), None, text("1"))]);
    }
}

on_both! {
    async fn versions_are_shared_by_nodes_and_keep_their_first_sight(lab: &Lab) {
        let store = &lab.store;
        apply(store, whole(&node_id(1), at(10), &inventory(&[("apt", "1"), ("bash", "1")]))).await.unwrap();
        apply(store, whole(&node_id(2), at(20), &inventory(&[("apt", "1"), ("apt", "2")]))).await.unwrap();
        let seen = store.package_version_list(&scope(), "debian", &["apt".into()]).await.unwrap();
        let seen: Vec<_> = seen.into_iter().map(|s| (s.version.version, s.first_seen_at)).collect();
        assert_eq!(seen, [("1".into(), at(10)), ("2".into(), at(20))]);
        assert_eq!(store.inventory_get(&scope(), &node_id(2)).await.unwrap().unwrap().packages.len(), 2, "side by side");
        assert!(store.package_version_list(&scope(), "ubuntu", &["apt".into()]).await.unwrap().is_empty());

        let offered = |version: &str| OfferedVersion { name: "apt".into(), architecture: "amd64".into(), version: version.into() };
        for (second, versions) in [(5, vec![offered("1")]), (6, vec![offered("1"), offered("2")])] {
            let write = InventoryWrite::OfferedVersionsPut { distribution_id: "debian".into(), at: at(second), versions };
            store.apply(&scope(), writes([write])).await.unwrap();
        }
        let seen = store.offered_version_list(&scope(), "debian", &["apt".into(), "bash".into()]).await.unwrap();
        let seen: Vec<_> = seen.into_iter().map(|s| (s.version.version, s.first_seen_at)).collect();
        assert_eq!(seen, [("1".into(), at(5)), ("2".into(), at(6))]);
    }
}

on_both! {
    async fn nodes_that_report_at_once_give_each_version_one_id(lab: &Lab) {
        let store = &lab.store;
        let names: Vec<String> = (0..700).map(|n| format!("package{n}")).collect();
        let all = Inventory::new(debian(), names.iter().map(|name| package(name, "1")).collect());
        let tasks: Vec<_> = (0..6)
            .map(|n| {
                let (store, all) = (store.clone(), all.clone());
                tokio::spawn(async move { apply(&store, whole(&node_id(n), at(n as i64), &all)).await })
            })
            .collect();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        for n in 0..6 {
            assert_eq!(store.inventory_get(&scope(), &node_id(n)).await.unwrap().as_ref(), Some(&all));
        }
        assert_eq!(store.package_version_list(&scope(), "debian", &names).await.unwrap().len(), 700);
    }
}

on_both! {
    async fn changes_are_paged_in_both_orders(lab: &Lab) {
        let (store, node) = (&lab.store, node_id(1));
        let mut last = inventory(&[]);
        apply(store, whole(&node, at(0), &last)).await.unwrap();
        for step in 1..6 {
            let version = step.to_string();
            let next = inventory(&[("apt", &version), ("bash", &version)]);
            apply(store, delta(&node, at(step), &last, &next)).await.unwrap();
            last = next;
        }
        let mut pages = Vec::new();
        for order in [Order::OldestFirst, Order::NewestFirst] {
            let mut seen = Vec::new();
            loop {
                let page = store.package_change_list(&scope(), &node, order, seen.last(), 3).await.unwrap();
                if page.is_empty() { break }
                seen.extend(page);
            }
            assert_eq!(seen.len(), 10);
            pages.push(seen);
        }
        pages[1].reverse();
        assert_eq!(pages[0], pages[1]);
    }
}

/// One report: seconds since the one before, whether it is sent whole, and what is there.
type Report = (i64, bool, BTreeMap<(u8, u8), (u8, u8, bool)>);

fn history() -> impl Strategy<Value = Vec<Report>> {
    let packages = proptest::collection::btree_map((0..5_u8, 0..2_u8), (0..3_u8, 0..3_u8, any::<bool>()), 0..8);
    vec((-1..3_i64, any::<bool>(), packages), 1..7)
}

fn reported(packages: &BTreeMap<(u8, u8), (u8, u8, bool)>) -> Inventory {
    let states = [InstallState::Installed, InstallState::ConfigFiles, InstallState::HalfInstalled];
    let package = |(&(name, architecture), &(version, state, held)): (&(u8, u8), &(u8, u8, bool))| InstalledPackage {
        architecture: ["amd64", "i386"][usize::from(architecture)].into(),
        state: states[usize::from(state)],
        held,
        ..package(&format!("p{name}"), &format!("{version}"))
    };
    Inventory::new(debian(), packages.iter().map(package).collect())
}

/// Applies a history to a new node and compares the past with what was reported.
async fn check(store: &Store, node: &NodeId, history: &[Report]) -> Result<(), TestCaseError> {
    let mut stored: Option<Inventory> = None;
    let (mut now, mut latest) = (at(0), at(0));
    // The last report at each instant is what counts there.
    let mut expected: BTreeMap<Timestamp, Inventory> = BTreeMap::new();
    for (seconds, send_whole, packages) in history {
        let new = reported(packages);
        now = now.plus_seconds(*seconds);
        latest = if stored.is_some() { latest.max(now) } else { now };
        let write = match &stored {
            Some(old) if !send_whole => delta(node, now, old, &new),
            _ => whole(node, now, &new),
        };
        apply(store, write).await.map_err(|e| TestCaseError::fail(e.to_string()))?;
        expected.insert(latest, new.clone());
        stored = Some(new);
    }
    prop_assert_eq!(store.inventory_get(&scope(), node).await.unwrap(), stored);
    for (instant, inventory) in &expected {
        prop_assert_eq!(&store.package_list_at(&scope(), node, *instant).await.unwrap(), &inventory.packages);
        let until = expected.range((std::ops::Bound::Excluded(*instant), std::ops::Bound::Unbounded)).next();
        let just_before_next =
            until.map_or(instant.plus_seconds(50), |(next, _)| Timestamp::from_micros(next.as_micros() - 1));
        prop_assert_eq!(&store.package_list_at(&scope(), node, just_before_next).await.unwrap(), &inventory.packages);
    }
    prop_assert!(store.package_list_at(&scope(), node, at(-100)).await.unwrap().is_empty());
    if expected.len() == history.len() {
        replay(store, node, &expected).await?;
    }
    Ok(())
}

/// The first inventory and the changes since lead to every later one.
async fn replay(store: &Store, node: &NodeId, expected: &BTreeMap<Timestamp, Inventory>) -> Result<(), TestCaseError> {
    let versions = |inventory: &Inventory| -> BTreeMap<(String, String), String> {
        let there = inventory.packages.iter().filter(|p| p.state != InstallState::ConfigFiles);
        there.map(|p| ((p.name.clone(), p.architecture.clone()), p.version.clone())).collect()
    };
    let changes = store.package_change_list(&scope(), node, Order::OldestFirst, None, u32::MAX).await.unwrap();
    let mut present = expected.values().next().map(versions).unwrap_or_default();
    for (instant, inventory) in expected {
        for changed in changes.iter().filter(|changed| changed.at == *instant) {
            let change = changed.change.clone();
            let key = (change.name, change.architecture);
            prop_assert_eq!(present.get(&key), change.from.as_ref());
            match change.to {
                Some(version) => present.insert(key, version),
                None => present.remove(&key),
            };
        }
        prop_assert_eq!(&present, &versions(inventory));
    }
    Ok(())
}

on_both! {
    async fn the_past_is_what_was_reported(lab: &Lab) {
        let cases = if lab.postgres_url().is_some() { 60 } else { 200 };
        let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
        let runtime = tokio::runtime::Handle::current();
        let store = lab.store.clone();
        tokio::task::block_in_place(|| {
            runner.run(&history(), |history| {
                // `run` calls from one thread; each case has a node of its own.
                runtime.block_on(check(&store, &case_node(), &history))
            })
        })
        .unwrap();
    }
}

fn case_node() -> NodeId {
    use std::sync::atomic::{AtomicU64, Ordering};
    static CASES: AtomicU64 = AtomicU64::new(1000);
    node_id(CASES.fetch_add(1, Ordering::Relaxed))
}
