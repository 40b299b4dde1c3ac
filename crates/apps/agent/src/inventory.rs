//! What the server knows of this node's packages: the last inventory told to it, and what of it is still on the way.

use crate::AgentError;
use agent_wire::{InventoryReport, ToServerBody};
use execution::{Spool, durable};
use identifiers::{CommandId, Timestamp};
use packages::{Inventory, InventoryDelta};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// An inventory is no larger as JSON.
const FILE_BYTES_MAX: u64 = 64 << 20;

/// The inventory that the last report in the spool leads to, on disk; only its digest is held in memory.
#[derive(Debug)]
pub(crate) struct InventoryRecord {
    path: PathBuf,
    digest: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct Latest {
    digest: String,
    at: Timestamp,
    inventory: Inventory,
}

impl InventoryRecord {
    pub(crate) fn open(node_directory: &Path) -> Result<Self, AgentError> {
        durable::create_directory(node_directory)?;
        let path = node_directory.join("inventory.json");
        // A damaged file is as good as none: the next inventory goes whole.
        let latest = durable::read_json::<Latest>(&path, FILE_BYTES_MAX).ok().flatten();
        Ok(Self { path, digest: latest.map(|latest| latest.digest) })
    }

    /// Whether there is any.
    pub(crate) fn is_known(&self) -> bool {
        self.digest.is_some()
    }

    /// Tells the server of an inventory that was just read: what changed, nothing if nothing did.
    pub(crate) fn note(
        &mut self,
        spool: &mut Spool,
        inventory: Inventory,
        command_id: Option<CommandId>,
        at: Timestamp,
    ) -> Result<(), AgentError> {
        let digest = inventory.digest();
        if self.digest.as_deref() == Some(digest.as_str()) {
            return Ok(());
        }
        let before = durable::read_json::<Latest>(&self.path, FILE_BYTES_MAX).ok().flatten();
        let report = match before {
            Some(before) => report(Some(before), &digest, &inventory, command_id, at),
            None => report(None, &digest, &inventory, command_id, at),
        };
        spool.push(ToServerBody::Inventory(Box::new(report)))?;
        // If the power goes here, the next delta starts from an inventory that the server no longer has; it then asks
        // for everything.
        durable::write_json(&self.path, &Latest { digest: digest.clone(), at, inventory })?;
        self.digest = Some(digest);
        Ok(())
    }

    /// Compares what the server has with what the reports on their way start from. Reports that it has already go; if
    /// none of the rest starts where the server is, all go and everything is told.
    pub(crate) fn reconcile(&mut self, spool: &mut Spool, servers: Option<&str>) -> Result<(), AgentError> {
        let Some(latest) = self.digest.clone() else { return Ok(()) };
        let pending = pending(spool)?;
        let has = |digest: &str| servers == Some(digest);
        if has(&latest) {
            // Only acknowledgements were lost; an older inventory must not come after the newest.
            for (id, _) in &pending {
                spool.remove(*id)?;
            }
            return Ok(());
        }
        let known_up_to = pending.iter().rposition(|(_, report)| has(&report.to_digest));
        let rest = match known_up_to {
            Some(last) => {
                for (id, _) in pending.iter().take(last + 1) {
                    spool.remove(*id)?;
                }
                pending.get(last + 1..).unwrap_or_default()
            }
            None => pending.as_slice(),
        };
        let fits = match rest.first() {
            Some((_, report)) => report.from_digest.is_none() || report.from_digest.as_deref() == servers,
            None => false,
        };
        if fits { Ok(()) } else { self.everything(spool) }
    }

    /// Tells everything, instead of whatever is on its way.
    pub(crate) fn everything(&mut self, spool: &mut Spool) -> Result<(), AgentError> {
        let Some(latest) = durable::read_json::<Latest>(&self.path, FILE_BYTES_MAX)? else { return Ok(()) };
        for (id, _) in pending(spool)? {
            spool.remove(id)?;
        }
        let report = report(None, &latest.digest, &latest.inventory, None, latest.at);
        spool.push(ToServerBody::Inventory(Box::new(report)))?;
        Ok(())
    }
}

fn report(
    before: Option<Latest>,
    digest: &str,
    inventory: &Inventory,
    command_id: Option<CommandId>,
    at: Timestamp,
) -> InventoryReport {
    let (from_digest, before) = match before {
        Some(before) => (Some(before.digest), before.inventory),
        None => (None, Inventory::default()),
    };
    let delta = InventoryDelta::between(&before, inventory);
    InventoryReport {
        at,
        command_id,
        distribution: inventory.distribution.clone(),
        from_digest,
        to_digest: digest.to_owned(),
        present: delta.present,
        absent: delta.absent,
    }
}

/// The inventory reports in the spool, oldest first.
fn pending(spool: &Spool) -> Result<Vec<(u64, InventoryReport)>, AgentError> {
    let reports = spool.messages()?.into_iter().filter_map(|message| match message.body {
        ToServerBody::Inventory(report) => Some((message.id, *report)),
        _ => None,
    });
    Ok(reports.collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use execution::SpoolBounds;
    use packages::{Distribution, InstallState, InstalledPackage};

    fn inventory(names: &[&str]) -> Inventory {
        let package = |name: &&str| InstalledPackage {
            name: (*name).to_owned(),
            architecture: "amd64".to_owned(),
            version: "1".to_owned(),
            source: (*name).to_owned(),
            source_version: "1".to_owned(),
            section: String::new(),
            priority: String::new(),
            state: InstallState::Installed,
            held: false,
        };
        Inventory::new(Distribution::default(), names.iter().map(package).collect())
    }

    struct Node {
        directory: tempfile::TempDir,
        spool: Spool,
        record: InventoryRecord,
    }

    impl Node {
        fn new() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let spool = Spool::open(directory.path(), SpoolBounds::default()).unwrap();
            let record = InventoryRecord::open(directory.path()).unwrap();
            Self { directory, spool, record }
        }

        fn note(&mut self, names: &[&str]) -> String {
            let inventory = inventory(names);
            let digest = inventory.digest();
            self.record.note(&mut self.spool, inventory, None, Timestamp::EPOCH).unwrap();
            digest
        }

        /// (from, to, number of packages present, absent) of each report on its way.
        fn on_the_way(&self) -> Vec<(Option<String>, String, usize, usize)> {
            let reports = pending(&self.spool).unwrap().into_iter();
            reports.map(|(_, r)| (r.from_digest, r.to_digest, r.present.len(), r.absent.len())).collect()
        }

        fn taken(&mut self) {
            for (id, _) in pending(&self.spool).unwrap() {
                self.spool.remove(id).unwrap();
            }
        }
    }

    #[test]
    fn the_first_goes_whole_then_what_changed_then_nothing() {
        let mut node = Node::new();
        let one = node.note(&["a", "b"]);
        let two = node.note(&["b", "c", "d"]);
        node.note(&["b", "c", "d"]);
        let expected = [(None, one.clone(), 2, 0), (Some(one), two.clone(), 2, 1)];
        assert_eq!(node.on_the_way(), expected);
        node.taken();
        let record = InventoryRecord::open(node.directory.path()).unwrap();
        node.record = record;
        node.note(&["b", "c", "d"]);
        assert_eq!(node.on_the_way(), []);
    }

    #[test]
    fn at_a_welcome_only_what_the_server_lacks_is_sent() {
        let mut node = Node::new();
        let one = node.note(&["a"]);
        node.record.reconcile(&mut node.spool, Some(&one)).unwrap();
        assert_eq!(node.on_the_way(), [], "its acknowledgement was lost");
        let two = node.note(&["a", "b"]);
        node.record.reconcile(&mut node.spool, Some(&one)).unwrap();
        assert_eq!(node.on_the_way(), [(Some(one), two.clone(), 1, 0)]);
        node.record.reconcile(&mut node.spool, Some(&two)).unwrap();
        assert_eq!(node.on_the_way(), []);
        node.record.reconcile(&mut node.spool, Some(&two)).unwrap();
        assert_eq!(node.on_the_way(), []);
        node.record.everything(&mut node.spool).unwrap();
        node.record.reconcile(&mut node.spool, Some(&two)).unwrap();
        assert_eq!(node.on_the_way(), [], "all of it was taken, and only that answer was lost");
    }

    #[test]
    fn a_server_that_has_something_else_or_nothing_gets_everything() {
        for servers in [None, Some("something else")] {
            let mut node = Node::new();
            node.note(&["a"]);
            node.taken();
            let two = node.note(&["a", "b"]);
            node.record.reconcile(&mut node.spool, servers).unwrap();
            assert_eq!(node.on_the_way(), [(None, two, 2, 0)]);
        }
        let mut node = Node::new();
        node.record.reconcile(&mut node.spool, None).unwrap();
        node.record.everything(&mut node.spool).unwrap();
        assert_eq!(node.on_the_way(), [], "there is nothing to tell");
    }
}
