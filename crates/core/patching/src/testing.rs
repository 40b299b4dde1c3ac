//! Builders for this crate's tests.

use crate::{PatchBaseline, PatchFilter, PatchFilterKey, Versioned, predefined_default};
use changes::Revision;
use identifiers::{AccountId, Region, Scope, Timestamp};
use packages::{
    Archive, AvailableUpdate, Distribution, HostPackage, InstallState, InstalledPackage, NotTaken, OperatingSystem,
};

/// Codenames of archives: where a version comes from.
pub(crate) const MAIN: &str = "bookworm";
pub(crate) const UPDATES: &str = "bookworm-updates";
pub(crate) const SECURITY: &str = "bookworm-security";

pub(crate) fn archive(codename: &str) -> Archive {
    Archive { origin: "Debian".to_owned(), codename: codename.to_owned(), ..Archive::default() }
}

pub(crate) fn bookworm() -> Distribution {
    Distribution { id: "debian".to_owned(), version_id: "12".to_owned(), ..Distribution::default() }
}

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn scope() -> Scope {
    Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("us-east-1").unwrap() }
}

/// The predefined baseline for Debian.
pub(crate) fn debian() -> PatchBaseline {
    predefined_default(OperatingSystem::Debian).unwrap()
}

/// The same, changed.
pub(crate) fn changed(change: impl FnOnce(&mut PatchBaseline)) -> PatchBaseline {
    let mut baseline = debian();
    change(&mut baseline);
    baseline
}

pub(crate) fn filter(key: PatchFilterKey, values: &[&str]) -> PatchFilter {
    PatchFilter { key, values: values.iter().map(|value| (*value).to_owned()).collect() }
}

pub(crate) fn versioned<T>(revision: i64, row: T) -> Versioned<T> {
    Versioned { revision: Revision(revision), row }
}

/// Version 1.0-1 from the main archive, section web, priority optional, with nothing newer.
pub(crate) fn package(name: &str) -> HostPackage {
    let installed = InstalledPackage {
        name: name.to_owned(),
        architecture: "amd64".to_owned(),
        version: "1.0-1".to_owned(),
        source: name.to_owned(),
        source_version: "1.0-1".to_owned(),
        section: "web".to_owned(),
        priority: "optional".to_owned(),
        state: InstallState::Installed,
        held: false,
    };
    HostPackage { installed, archives: vec![archive(MAIN)], update: None }
}

/// How tests say what is special about a package.
pub(crate) trait Described: Sized {
    fn from(self, codename: &str) -> Self;
    fn unoffered(self) -> Self;
    fn update(self, codename: &str) -> Self;
    fn update_from(self, codenames: &[&str]) -> Self;
    fn with_update(self, change: impl FnOnce(&mut AvailableUpdate)) -> Self;
    fn not_taken(self, why: NotTaken) -> Self;
    fn held(self) -> Self;
    fn state(self, state: InstallState) -> Self;
}

impl Described for HostPackage {
    fn from(mut self, codename: &str) -> Self {
        self.archives = vec![archive(codename)];
        self
    }

    fn unoffered(mut self) -> Self {
        self.archives.clear();
        self
    }

    fn update(self, codename: &str) -> Self {
        self.update_from(&[codename])
    }

    fn update_from(mut self, codenames: &[&str]) -> Self {
        self.update = Some(AvailableUpdate {
            version: format!("{}+deb12u1", self.installed.version),
            architecture: self.installed.architecture.clone(),
            source: self.installed.source.clone(),
            section: self.installed.section.clone(),
            priority: self.installed.priority.clone(),
            archives: codenames.iter().map(|codename| archive(codename)).collect(),
            not_taken: None,
        });
        self
    }

    fn with_update(mut self, change: impl FnOnce(&mut AvailableUpdate)) -> Self {
        change(self.update.as_mut().expect("an update"));
        self
    }

    fn not_taken(self, why: NotTaken) -> Self {
        self.with_update(|update| update.not_taken = Some(why))
    }

    fn held(mut self) -> Self {
        self.installed.held = true;
        self
    }

    fn state(mut self, state: InstallState) -> Self {
        self.installed.state = state;
        self
    }
}
