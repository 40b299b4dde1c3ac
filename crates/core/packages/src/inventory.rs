use crate::Distribution;
use serde::{Deserialize, Serialize};

/// How far a package's installation has come (dpkg(1), "Package states").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum InstallState {
    Installed,
    Unpacked,
    HalfConfigured,
    HalfInstalled,
    TriggersAwaited,
    TriggersPending,
    ConfigFiles,
}

/// A package on a host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct InstalledPackage {
    /// The binary package's name.
    pub name: String,
    /// Its architecture, e.g. `amd64`, `all`.
    pub architecture: String,
    /// Its version, complete (with epoch and revision).
    pub version: String,
    /// The source package's name; equal to `name` where the database does not say otherwise.
    pub source: String,
    /// The source package's version; equal to `version` where the database does not say otherwise.
    pub source_version: String,
    /// `Section`; empty where there is none.
    pub section: String,
    /// `Priority`; empty where there is none.
    pub priority: String,
    /// How far its installation has come.
    pub state: InstallState,
    /// Whether it is on hold.
    pub held: bool,
}

/// What makes two packages of two inventories the same one.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PackageKey {
    /// The binary package's name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
}

/// All packages of one host, sorted by name, architecture and version.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Inventory {
    /// The host's distribution.
    pub distribution: Distribution,
    /// Its packages.
    pub packages: Vec<InstalledPackage>,
}

/// What changed from one inventory to the next.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct InventoryDelta {
    /// Packages that are new, or whose row changed (they replace the row with the same [`PackageKey`]).
    pub present: Vec<InstalledPackage>,
    /// Packages that are gone.
    pub absent: Vec<PackageKey>,
}
