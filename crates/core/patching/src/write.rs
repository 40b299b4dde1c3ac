//! What decisions of this crate write, and the aggregates that they read and touch.

use crate::{DefaultBaseline, PatchBaseline, PatchGroupRegistration, PatchStateChange, PatchSummary, RowDelta};
use identifiers::{BaselineId, CommandId, NodeId, PatchGroupName};
use packages::OperatingSystem;

/// One write; the store turns it into SQL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Write {
    /// Inserts or replaces an own baseline.
    BaselinePut(Box<PatchBaseline>),
    /// Deletes an own baseline.
    BaselineDelete(BaselineId),
    /// Sets the default baseline of an operating system.
    DefaultPut(DefaultBaseline),
    /// Sets the baseline of a patch group for an operating system.
    PatchGroupPut(PatchGroupRegistration),
    /// Takes a patch group's baseline for an operating system away.
    PatchGroupDelete {
        /// The group.
        patch_group: PatchGroupName,
        /// The operating system.
        operating_system: OperatingSystem,
    },
    /// Appends a run to a node's history and brings its current view up to date.
    ReportPut(Box<RecordedReport>),
}

/// What one run leaves behind: its summary, and only what changed since the run before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedReport {
    /// The node.
    pub node: NodeId,
    /// The command that ran.
    pub command: CommandId,
    /// The run's counts and circumstances.
    pub summary: PatchSummary,
    /// What to change in the node's current rows.
    pub rows: RowDelta,
    /// For the history: patches whose state changed.
    pub state_changes: Vec<PatchStateChange>,
}

/// The aggregates of this crate: kind and id.
pub mod aggregate {
    use changes::Aggregate;
    use identifiers::{BaselineId, NodeId, PatchGroupName};
    use packages::OperatingSystem;

    /// An own baseline.
    #[must_use]
    pub fn baseline(id: &BaselineId) -> Aggregate {
        Aggregate::new("patch-baseline", id.as_str())
    }

    /// The default baseline of an operating system.
    #[must_use]
    pub fn default(operating_system: OperatingSystem) -> Aggregate {
        Aggregate::new("patch-default", operating_system.as_str())
    }

    /// A patch group's baseline for an operating system: `<OPERATING SYSTEM>/<group>`.
    #[must_use]
    pub fn patch_group(group: &PatchGroupName, operating_system: OperatingSystem) -> Aggregate {
        Aggregate::new("patch-group", format!("{}/{group}", operating_system.as_str()))
    }

    /// A node's patches.
    #[must_use]
    pub fn node_patches(node: &NodeId) -> Aggregate {
        Aggregate::new("node-patches", node.as_str())
    }
}
