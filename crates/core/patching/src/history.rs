//! What changed from one run or inventory to the next: only this is stored.

use crate::{PatchReport, PatchRow, PatchState, PatchSummary, RecordedReport, Versioned, Write, aggregate};
use changes::Changes;
use identifiers::{CommandId, NodeId};
use packages::{InstallState, Inventory};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// One patch whose state changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PatchStateChange {
    /// `name.arch`.
    pub kb_id: String,
    /// The state before; `None`: the package was not there.
    pub from: Option<PatchState>,
    /// The state after; `None`: the package is gone.
    pub to: Option<PatchState>,
}

/// How a node's rows change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct RowDelta {
    /// Rows that are new or differ in anything; each replaces the one with its `kb_id`.
    pub put: Vec<PatchRow>,
    /// `kb_id`s of rows that are gone.
    pub gone: Vec<String>,
}

/// One package that came, went or changed its version.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct PackageChange {
    /// The binary package.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The version before; `None`: it was not there.
    pub from: Option<String>,
    /// The version after; `None`: it is gone.
    pub to: Option<String>,
}

/// A node's current view before a new report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PreviousReport {
    /// The last summary.
    pub summary: PatchSummary,
    /// The current rows.
    pub rows: Vec<PatchRow>,
}

/// The old and the new value under each key that either side has, in the order of the keys.
fn paired<K: Ord, V>(
    old: impl Iterator<Item = (K, V)>,
    new: impl Iterator<Item = (K, V)>,
) -> BTreeMap<K, [Option<V>; 2]> {
    let mut pairs: BTreeMap<K, [Option<V>; 2]> = BTreeMap::new();
    for (key, value) in old {
        pairs.entry(key).or_insert([None, None])[0] = Some(value);
    }
    for (key, value) in new {
        pairs.entry(key).or_insert([None, None])[1] = Some(value);
    }
    pairs
}

fn paired_rows<'a>(previous: &'a [PatchRow], current: &'a [PatchRow]) -> BTreeMap<String, [Option<&'a PatchRow>; 2]> {
    let by_id = |row: &'a PatchRow| (row.kb_id(), row);
    paired(previous.iter().map(by_id), current.iter().map(by_id))
}

/// The patches whose state changed, by `kb_id`.
#[must_use]
pub fn row_changes(previous: &[PatchRow], current: &[PatchRow]) -> Vec<PatchStateChange> {
    paired_rows(previous, current)
        .into_iter()
        .map(|(kb_id, [from, to])| PatchStateChange {
            kb_id,
            from: from.map(|row| row.state),
            to: to.map(|row| row.state),
        })
        .filter(|change| change.from != change.to)
        .collect()
}

/// What to change in a node's rows so that they become `current`, by `kb_id`.
#[must_use]
pub fn row_delta(previous: &[PatchRow], current: &[PatchRow]) -> RowDelta {
    let mut delta = RowDelta::default();
    for (kb_id, [from, to]) in paired_rows(previous, current) {
        match to {
            Some(row) if from != to => delta.put.push(row.clone()),
            Some(_) => {}
            None => delta.gone.push(kb_id),
        }
    }
    delta
}

/// Which package changed from which version to which, by name and architecture. A package of which only configuration
/// files are left is not there. Where several versions stand side by side, as kernels of rpm do, each that came or went is a
/// change of its own.
#[must_use]
pub fn package_changes(old: &Inventory, new: &Inventory) -> Vec<PackageChange> {
    let mut changes = Vec::new();
    for ((name, architecture), [old, new]) in paired(versions(old).into_iter(), versions(new).into_iter()) {
        let (old, new) = (old.unwrap_or_default(), new.unwrap_or_default());
        let gone: Vec<&str> = old.difference(&new).copied().collect();
        let come: Vec<&str> = new.difference(&old).copied().collect();
        let mut change = |from: Option<&str>, to: Option<&str>| {
            changes.push(PackageChange {
                name: name.to_owned(),
                architecture: architecture.to_owned(),
                from: from.map(str::to_owned),
                to: to.map(str::to_owned),
            });
        };
        match (gone.as_slice(), come.as_slice()) {
            ([from], [to]) => change(Some(from), Some(to)),
            (gone, come) => {
                gone.iter().for_each(|from| change(Some(from), None));
                come.iter().for_each(|to| change(None, Some(to)));
            }
        }
    }
    changes
}

fn versions(inventory: &Inventory) -> BTreeMap<(&str, &str), BTreeSet<&str>> {
    let mut versions: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for package in inventory.packages.iter().filter(|package| package.state != InstallState::ConfigFiles) {
        versions.entry((&package.name, &package.architecture)).or_default().insert(&package.version);
    }
    versions
}

/// Appends a run to a node's history and makes it the node's current view. As with AWS the last report wins, whatever
/// baseline it was made with.
#[must_use]
pub fn record_report(
    node: &NodeId,
    command: &CommandId,
    previous: &Versioned<Option<PreviousReport>>,
    report: &PatchReport,
) -> Changes<Write> {
    let (rows, last) = match &previous.row {
        Some(previous) => (previous.rows.as_slice(), previous.summary.last_no_reboot_install_at),
        None => (&[][..], None),
    };
    let mut summary = report.summary.clone();
    summary.notes.clone_from(&report.notes);
    summary.last_no_reboot_install_at = summary.last_no_reboot_install_at.or(last);
    let recorded = RecordedReport {
        node: node.clone(),
        command: command.clone(),
        summary,
        rows: row_delta(rows, &report.rows),
        state_changes: row_changes(rows, &report.rows),
    };
    let mut changes = Changes::new();
    changes.update(aggregate::node_patches(node), previous.revision);
    changes.writes.push(Write::ReportPut(Box::new(recorded)));
    changes
}

#[cfg(test)]
mod tests;
