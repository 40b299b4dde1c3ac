//! What is present where: distributions, packages with their source packages, offered updates, inventories and their deltas.
//!
//! It decides when two packages are the same and what changed between two inventories. It deliberately does not know
//! how a package database or a repository is written (see `catalog` and `repositories`) nor which update should be taken
//! (see `patching`).

mod distribution;
mod inventory;
mod offered;

pub use distribution::{Distribution, OperatingSystem};
pub use inventory::{InstallState, InstalledPackage, Inventory, InventoryDelta, PackageKey};
pub use offered::{Archive, AvailableUpdate, HostPackage, NotTaken};
