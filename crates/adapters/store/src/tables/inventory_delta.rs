//! What an inventory changes, as a value: which presences end, which begin, which packages changed their version.

use identifiers::Timestamp;
use packages::{Distribution, InstallState, InstalledPackage, PackageKey};
use patching::PackageChange;
use std::collections::{BTreeMap, BTreeSet};

/// What makes two versions one row of `package_version`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Identity {
    pub(crate) distribution_id: String,
    pub(crate) distribution_version_id: String,
    pub(crate) name: String,
    pub(crate) architecture: String,
    pub(crate) version: String,
    pub(crate) source: String,
    pub(crate) source_version: String,
    pub(crate) section: String,
    pub(crate) priority: String,
}

/// A version and how it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Present {
    pub(crate) identity: Identity,
    pub(crate) state: InstallState,
    pub(crate) held: bool,
}

impl Present {
    pub(crate) fn new(distribution: &Distribution, package: &InstalledPackage) -> Self {
        let identity = Identity {
            distribution_id: distribution.id.clone(),
            distribution_version_id: distribution.version_id.clone(),
            name: package.name.clone(),
            architecture: package.architecture.clone(),
            version: package.version.clone(),
            source: package.source.clone(),
            source_version: package.source_version.clone(),
            section: package.section.clone(),
            priority: package.priority.clone(),
        };
        Self { identity, state: package.state, held: package.held }
    }

    pub(crate) fn package(self) -> InstalledPackage {
        InstalledPackage {
            name: self.identity.name,
            architecture: self.identity.architecture,
            version: self.identity.version,
            source: self.identity.source,
            source_version: self.identity.source_version,
            section: self.identity.section,
            priority: self.identity.priority,
            state: self.state,
            held: self.held,
        }
    }

    fn key(&self) -> PackageKey {
        PackageKey { name: self.identity.name.clone(), architecture: self.identity.architecture.clone() }
    }
}

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// An open presence ends.
    Close { package_version_id: i64, from_at: Timestamp },
    /// A presence begins.
    Open(Present),
    /// For the history.
    Change(PackageChange),
}

type Open = (i64, Timestamp, Present);

/// What to do so that `open` becomes what was reported. All of a key's rows are replaced by those in `present`; keys
/// in `absent` lose theirs, and in a whole inventory so do all keys that are not in it.
pub(crate) fn steps(open: Vec<Open>, present: Vec<Present>, absent: &[PackageKey], whole: bool) -> Vec<Step> {
    let mut keys: BTreeMap<PackageKey, (Vec<Open>, BTreeMap<Identity, Present>)> = BTreeMap::new();
    for key in absent {
        keys.entry(key.clone()).or_default();
    }
    for row in present {
        // Said twice, the last word counts.
        keys.entry(row.key()).or_default().1.insert(row.identity.clone(), row);
    }
    for row in open {
        let key = row.2.key();
        if whole {
            keys.entry(key).or_default().0.push(row);
        } else if let Some((old, _)) = keys.get_mut(&key) {
            old.push(row);
        }
    }
    let mut steps = Vec::new();
    for (key, (old, new)) in keys {
        steps.extend(changes(&key, &old, &new).map(Step::Change));
        let mut new = new;
        for (package_version_id, from_at, row) in old {
            if new.get(&row.identity) == Some(&row) {
                new.remove(&row.identity);
            } else {
                steps.push(Step::Close { package_version_id, from_at });
            }
        }
        steps.extend(new.into_values().map(Step::Open));
    }
    steps
}

/// Versions that went and came, paired in their order as text. A package of which only configuration files are left
/// is not there.
fn changes(
    key: &PackageKey,
    old: &[Open],
    new: &BTreeMap<Identity, Present>,
) -> impl Iterator<Item = PackageChange> + use<> {
    fn versions<'a>(rows: impl Iterator<Item = &'a Present>) -> BTreeSet<String> {
        rows.filter(|row| row.state != InstallState::ConfigFiles).map(|row| row.identity.version.clone()).collect()
    }
    let (old, new) = (versions(old.iter().map(|(.., row)| row)), versions(new.values()));
    let mut gone = old.difference(&new).cloned().collect::<Vec<_>>().into_iter();
    let mut come = new.difference(&old).cloned().collect::<Vec<_>>().into_iter();
    let key = key.clone();
    std::iter::from_fn(move || match (gone.next(), come.next()) {
        (None, None) => None,
        (from, to) => Some(PackageChange { name: key.name.clone(), architecture: key.architecture.clone(), from, to }),
    })
}
