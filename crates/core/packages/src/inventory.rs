use crate::Distribution;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::cmp::Ordering;

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
    /// The host's distribution, if it changed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub distribution: Option<Distribution>,
    /// Packages that are new, or whose row changed: together they replace all rows with the same [`PackageKey`].
    pub present: Vec<InstalledPackage>,
    /// Packages that are gone.
    pub absent: Vec<PackageKey>,
}

impl InstallState {
    /// dpkg's word for the state.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Installed => "installed",
            Self::Unpacked => "unpacked",
            Self::HalfConfigured => "half-configured",
            Self::HalfInstalled => "half-installed",
            Self::TriggersAwaited => "triggers-awaited",
            Self::TriggersPending => "triggers-pending",
            Self::ConfigFiles => "config-files",
        }
    }

    /// From dpkg's word; `None` for `not-installed` and for unknown words.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "installed" => Self::Installed,
            "unpacked" => Self::Unpacked,
            "half-configured" => Self::HalfConfigured,
            "half-installed" => Self::HalfInstalled,
            "triggers-awaited" => Self::TriggersAwaited,
            "triggers-pending" => Self::TriggersPending,
            "config-files" => Self::ConfigFiles,
            _ => return None,
        })
    }
}

impl InstalledPackage {
    /// What makes it the same package in another inventory.
    #[must_use]
    pub fn key(&self) -> PackageKey {
        PackageKey { name: self.name.clone(), architecture: self.architecture.clone() }
    }

    /// [`Self::key`], borrowed.
    fn key_parts(&self) -> (&str, &str) {
        (&self.name, &self.architecture)
    }
}

impl Inventory {
    /// Sorts the packages; of equal rows one stays. Several versions of one package may stand side by side, as kernels of
    /// rpm do.
    #[must_use]
    pub fn new(distribution: Distribution, mut packages: Vec<InstalledPackage>) -> Self {
        packages.sort_unstable();
        packages.dedup();
        Self { distribution, packages }
    }

    /// The inventory's SHA-256 in lower-case hexadecimal. Two inventories have the same digest exactly if they are equal.
    ///
    /// The digest is formed over these texts: `careen inventory 1` with a line feed; the five fields of the distribution
    /// in the order `id`, `name`, `version_id`, `codename`, `pretty_name`; then for each package, in order,
    /// `name`, `architecture`, `version`, `source`, `source_version`, `section`, `priority`, the word for its state
    /// ([`InstallState::as_str`]) and `held` or nothing. Each text is written as its length in bytes as eight bytes,
    /// big end first, followed by its bytes in UTF-8: so none can run into the next.
    #[must_use]
    pub fn digest(&self) -> String {
        let mut hasher = Sha256::new();
        let mut field = |text: &str| {
            hasher.update((text.len() as u64).to_be_bytes());
            hasher.update(text.as_bytes());
        };
        let Distribution { id, name, version_id, codename, pretty_name } = &self.distribution;
        for text in ["careen inventory 1\n", id, name, version_id, codename, pretty_name] {
            field(text);
        }
        for package in &self.packages {
            let InstalledPackage {
                name,
                architecture,
                version,
                source,
                source_version,
                section,
                priority,
                state,
                held,
            } = package;
            for text in [name, architecture, version, source, source_version, section, priority] {
                field(text);
            }
            field(state.as_str());
            field(if *held { "held" } else { "" });
        }
        hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The inventory after a change.
    ///
    /// For any two inventories made by [`Inventory::new`], `old.apply(&InventoryDelta::between(&old, &new))` is `new`.
    #[must_use]
    pub fn apply(&self, delta: &InventoryDelta) -> Self {
        let mut replaced: Vec<(&str, &str)> = delta.present.iter().map(InstalledPackage::key_parts).collect();
        replaced.extend(delta.absent.iter().map(|key| (key.name.as_str(), key.architecture.as_str())));
        replaced.sort_unstable();
        let stays = |package: &&InstalledPackage| replaced.binary_search(&package.key_parts()).is_err();
        let packages = self.packages.iter().filter(stays).chain(&delta.present).cloned().collect();
        Self::new(delta.distribution.clone().unwrap_or_else(|| self.distribution.clone()), packages)
    }

    /// The packages as runs with the same key.
    fn by_key(&self) -> impl Iterator<Item = &[InstalledPackage]> {
        self.packages.chunk_by(|left, right| left.key_parts() == right.key_parts())
    }
}

impl InventoryDelta {
    /// What changed from `old` to `new`. Both must be sorted, as [`Inventory::new`] leaves them.
    #[must_use]
    pub fn between(old: &Inventory, new: &Inventory) -> Self {
        let mut delta = Self::default();
        if old.distribution != new.distribution {
            delta.distribution = Some(new.distribution.clone());
        }
        let mut old_runs = old.by_key().peekable();
        let mut new_runs = new.by_key().peekable();
        loop {
            // Neither run is ever empty.
            let order = match (old_runs.peek(), new_runs.peek()) {
                (None, None) => return delta,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(old), Some(new)) => run_key(old).cmp(&run_key(new)),
            };
            let gone = if order.is_le() { old_runs.next() } else { None };
            let come = if order.is_ge() { new_runs.next() } else { None };
            match (gone, come) {
                (Some(gone), None) => delta.absent.extend(gone.first().map(InstalledPackage::key)),
                (gone, Some(come)) if gone != Some(come) => delta.present.extend_from_slice(come),
                _ => {}
            }
        }
    }

    /// Whether nothing changed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.distribution.is_none() && self.present.is_empty() && self.absent.is_empty()
    }
}

/// The key of a run of packages that share it.
fn run_key(run: &[InstalledPackage]) -> Option<(&str, &str)> {
    run.first().map(InstalledPackage::key_parts)
}

#[cfg(test)]
mod tests;
