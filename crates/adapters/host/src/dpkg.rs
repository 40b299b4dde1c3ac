//! What dpkg says is installed, for judging a transaction, and apt's record of what was installed automatically.

use crate::files::{modified_at, read_if_there};
use crate::{HostError, HostRoot};
use identifiers::Timestamp;
use packages::{InstallState, Inventory, PackageKey};
use patching::PlannedInstall;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The packages of a host with version and state, by name and architecture. Two versions of one key do not occur in dpkg.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Installed(BTreeMap<PackageKey, (String, InstallState)>);

impl Installed {
    /// Reads `/var/lib/dpkg/status`.
    pub(crate) fn read(host: &HostRoot) -> Result<Self, HostError> {
        let path = host.path("var/lib/dpkg/status");
        let file = read_if_there(&path).map_err(HostError::file(&path))?;
        let file = file.ok_or(HostError::NoPackageDatabase { path })?;
        let found = catalog::parse_dpkg_status(&file).packages.into_iter().map(|found| found.package);
        Ok(Self(found.map(|package| (package.key(), (package.version, package.state))).collect()))
    }

    /// The version and state of a package, whether or not its architecture has changed to or from `all`.
    pub(crate) fn find(&self, name: &str, architecture: &str) -> Option<(&str, InstallState)> {
        let key = |architecture: &str| PackageKey { name: name.to_owned(), architecture: architecture.to_owned() };
        if let Some((version, state)) = self.0.get(&key(architecture)) {
            return Some((version, *state));
        }
        let mut same_name = self.0.range(key("")..).take_while(|(key, _)| key.name == name);
        same_name
            .find(|(key, _)| key.architecture == "all" || architecture == "all")
            .map(|(_, (version, state))| (version.as_str(), *state))
    }

    /// Whether an approved version is installed and configured.
    pub(crate) fn has(&self, planned: &PlannedInstall) -> bool {
        self.find(&planned.name, &planned.architecture)
            .is_some_and(|(version, state)| versions::compare_dpkg(version, &planned.to).is_eq() && is_working(state))
    }

    /// Names of the packages that dpkg has not finished with.
    pub(crate) fn unfinished(&self) -> BTreeSet<&str> {
        let unfinished = self.0.iter().filter(|(_, (_, state))| *state != InstallState::Installed);
        unfinished.map(|(key, _)| key.name.as_str()).collect()
    }

    /// Every package with its version.
    pub(crate) fn versions(&self) -> impl Iterator<Item = (&PackageKey, &str)> {
        self.0.iter().map(|(key, (version, _))| (key, version.as_str()))
    }
}

/// dpkg treats a package that waits for triggers as working (dpkg(1), "Package states").
fn is_working(state: InstallState) -> bool {
    matches!(state, InstallState::Installed | InstallState::TriggersAwaited | InstallState::TriggersPending)
}

/// Whether dpkg was interrupted while it wrote its journal: numbered files below `updates` (apt asks the same).
pub(crate) fn was_interrupted(host: &HostRoot) -> bool {
    let numbered = |entry: std::fs::DirEntry| {
        entry.file_name().to_str().is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_digit()))
    };
    std::fs::read_dir(host.path("var/lib/dpkg/updates"))
        .is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(numbered)))
}

/// When the packages of an inventory were last installed: dpkg rewrites `info/NAME.list` whenever it unpacks a package.
pub(crate) fn installed_at(host: &HostRoot, inventory: &Inventory) -> Vec<(PackageKey, Timestamp)> {
    let info = host.path("var/lib/dpkg/info");
    let found = inventory.packages.iter().filter_map(|package| {
        // `Multi-Arch: same` packages have their architecture in the name.
        let at = modified_at(&info.join(format!("{}.list", package.name)))
            .or_else(|| modified_at(&info.join(format!("{}:{}.list", package.name, package.architecture))))?;
        Some((package.key(), at))
    });
    found.collect()
}

/// The packages that apt knows as automatically installed, from its `extended_states`. apt keeps `all` packages there
/// under the native architecture.
pub(crate) fn automatic(extended_states: &Path) -> BTreeSet<(String, String)> {
    let text = read_if_there(extended_states).ok().flatten().unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let field = |stanza: &str, name: &str| -> String {
        let line = stanza.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned()).unwrap_or_default()
    };
    text.split("\n\n")
        .filter(|stanza| field(stanza, "Auto-Installed:") == "1")
        .map(|stanza| (field(stanza, "Package:"), field(stanza, "Architecture:")))
        .filter(|(name, architecture)| is_package_name(name) && is_architecture(architecture))
        .collect()
}

/// Whether a text is a package name (Debian Policy 5.6.7).
pub(crate) fn is_package_name(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'+' | b'-' | b'.');
    (2..=200).contains(&text.len())
        && text.bytes().all(allowed)
        && text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric())
}

/// Whether a text is an architecture's name, as dpkg-architecture(1) forms them.
pub(crate) fn is_architecture(text: &str) -> bool {
    (1..=64).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-')
        && !text.starts_with('-')
}

/// Whether a text is a version (Debian Policy 5.6.12) that means nothing else to apt: a final `-` would ask for removal.
pub(crate) fn is_version(text: &str) -> bool {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'+' | b'-' | b'~' | b':');
    (1..=200).contains(&text.len())
        && text.bytes().all(allowed)
        && text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && !text.ends_with('-')
        && versions::DpkgVersion::parse(text).is_valid()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_characters_of_the_policy_are_let_through() {
        for good in ["libstdc++6", "g++", "0ad", "linux-image-6.1.0-40-amd64", "libc6"] {
            assert!(is_package_name(good), "{good}");
        }
        for bad in ["", "a", "-y", "--root=/", "a b", "A", "a/b", "a=1", "a;b", "a\nb", "../x", "a:amd64", "ä1"] {
            assert!(!is_package_name(bad), "{bad}");
        }
        for good in ["1.0", "1:2.0~rc1+b1-1+deb12u3", "0", "20230311+deb12u1"] {
            assert!(is_version(good), "{good}");
        }
        for bad in ["", "-1", "1.0-", "1 0", "1;0", "1/0", "1=0", "$(x)", "a:1\n"] {
            assert!(!is_version(bad), "{bad}");
        }
        assert!(is_architecture("amd64") && is_architecture("kfreebsd-amd64") && is_architecture("all"));
        assert!(!is_architecture("") && !is_architecture("-o") && !is_architecture("amd 64"));
    }

    #[test]
    fn automatic_packages_are_read_and_nonsense_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("extended_states");
        let text = "Package: libssl3\nArchitecture: amd64\nAuto-Installed: 1\n\nPackage: vim\nArchitecture: amd64\n\
                    Auto-Installed: 0\n\nPackage: --bad\nArchitecture: amd64\nAuto-Installed: 1\n";
        std::fs::write(&path, text).unwrap();
        assert_eq!(automatic(&path), BTreeSet::from([("libssl3".to_owned(), "amd64".to_owned())]));
        assert_eq!(automatic(&folder.path().join("absent")), BTreeSet::new());
    }
}
