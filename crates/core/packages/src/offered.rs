use crate::InstalledPackage;
use serde::{Deserialize, Serialize};

/// A package archive as its Release file names it (deb822, "Release files" in the Debian repository format).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Archive {
    /// `Origin`, e.g. `Debian`.
    pub origin: String,
    /// `Label`, e.g. `Debian-Security`.
    pub label: String,
    /// `Suite`, e.g. `stable-security`.
    pub suite: String,
    /// `Codename`, e.g. `bookworm-security`.
    pub codename: String,
    /// The component, e.g. `main`.
    pub component: String,
    /// The host name of the site, empty for local files.
    pub site: String,
}

impl Archive {
    /// Whether this is a security archive: its suite or codename ends in `-security`, or its label is
    /// `Debian-Security`, or its origin starts with `UbuntuESM` and its suite ends in `-security`.
    ///
    /// `/updates` is the form of Debian 10 and older (`buster/updates`).
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.label == "Debian-Security" || [&self.suite, &self.codename].iter().any(|name| name.ends_with("-security"))
    }
}

/// Why apt itself would not take an update although a newer version is offered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum NotTaken {
    /// The package is on hold (`apt-mark hold`).
    Held,
    /// The update is being rolled out in phases and this host's turn has not come.
    Phased {
        /// `Phased-Update-Percentage`: the share of hosts that may have it now.
        percentage: u8,
    },
    /// A pin keeps the newer version from being the candidate.
    Pinned {
        /// The priority of the newer version; the candidate's is higher.
        priority: i32,
    },
}

/// A version newer than the installed one of some package.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AvailableUpdate {
    /// The newer version: apt's candidate, or, with [`NotTaken::Pinned`], the newest version that a pin keeps out.
    pub version: String,
    /// The architecture of the newer version (`all` packages may become native ones and back).
    pub architecture: String,
    /// The source package of the newer version.
    pub source: String,
    /// Its `Section`, e.g. `libs`.
    pub section: String,
    /// Its `Priority`, e.g. `required`.
    pub priority: String,
    /// The archives that offer exactly this version.
    pub archives: Vec<Archive>,
    /// Why apt would leave it alone; `None`: it would take it.
    pub not_taken: Option<NotTaken>,
}

impl AvailableUpdate {
    /// Whether a security archive offers exactly this version.
    #[must_use]
    pub fn is_security(&self) -> bool {
        self.archives.iter().any(Archive::is_security)
    }
}

/// One installed package together with what the repositories say of it: what `patching` decides about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPackage {
    /// What is installed.
    pub installed: InstalledPackage,
    /// The archives that offer exactly the installed version; empty where none does any more.
    pub archives: Vec<Archive>,
    /// A newer version, if one is offered.
    pub update: Option<AvailableUpdate>,
}
