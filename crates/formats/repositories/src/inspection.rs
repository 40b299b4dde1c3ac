use crate::offers::{OfferingList, Offers, PACKAGES_BYTES_MAX};
use crate::{Configuration, Decompressed, IndexFile, ListError, Preferences, Release, Repository, Sources, Warning};
use catalog::{DpkgDatabase, LeftoverConfiguration};
use packages::{Distribution, HostPackage, Inventory};
use std::io::BufRead;

/// The largest Release file that is read, in bytes.
const RELEASE_BYTES_MAX: usize = 16 << 20;

/// Everything that is known of a host's packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct HostState {
    /// Its distribution and its packages, sorted.
    pub inventory: Inventory,
    /// Each package with what the repositories say of it, in the order of the inventory.
    pub packages: Vec<HostPackage>,
    /// Removed packages whose configuration is left.
    pub leftover_configurations: Vec<LeftoverConfiguration>,
    /// The repositories and how much of them could be read.
    pub repositories: Vec<RepositoryState>,
    /// What was left out.
    pub warnings: Vec<Warning>,
}

/// A repository and how much of it could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RepositoryState {
    /// The repository.
    pub repository: Repository,
    /// Its Release file, where it could be read.
    pub release: Option<Release>,
    /// How many of its lists were read.
    pub lists_read: usize,
    /// How many of its lists are missing or could not be read to the end. Lists that its Release file does not promise, and
    /// those that few repositories have, do not count.
    pub lists_missing: usize,
}

/// Gathers what the files of a host say, and draws the conclusion.
///
/// The order of calls matters: first [`Self::os_release`], [`Self::dpkg_status`] and [`Self::dpkg_status_d`] (which decide
/// the architecture where the settings do not); then [`Self::sources`] and [`Self::preferences`]; then, for every one of
/// [`Self::repositories`], [`Self::release`]; then, for every one of [`Self::index_files`], [`Self::index`]; then
/// [`Self::finish`].
#[derive(Debug)]
pub struct Inspection {
    configuration: Configuration,
    distribution: Distribution,
    database: DpkgDatabase,
    sources: Sources,
    preferences: Preferences,
    releases: Vec<Option<Release>>,
    /// Made when the first list comes, since it must know what is wanted.
    offers: Option<Offers>,
    /// How many lists of each repository were read, and how many are missing.
    lists: Vec<(usize, usize)>,
    warnings: Vec<Warning>,
}

impl Inspection {
    /// Begins, with apt's settings.
    #[must_use]
    pub fn new(configuration: Configuration) -> Self {
        Self {
            configuration,
            distribution: Distribution::default(),
            database: DpkgDatabase::default(),
            sources: Sources::default(),
            preferences: Preferences::default(),
            releases: Vec::new(),
            offers: None,
            lists: Vec::new(),
            warnings: Vec::new(),
        }
    }

    /// Takes `/etc/os-release`.
    pub fn os_release(&mut self, file: &[u8]) {
        self.distribution = catalog::parse_os_release(&String::from_utf8_lossy(file));
    }

    /// Takes `/var/lib/dpkg/status`.
    pub fn dpkg_status(&mut self, file: &[u8]) {
        self.merge("status", catalog::parse_dpkg_status(file));
    }

    /// Takes one file of `/var/lib/dpkg/status.d/`. Its lists of checksums (`*.md5sums`) are ignored.
    pub fn dpkg_status_d(&mut self, name: &str, file: &[u8]) {
        if !name.ends_with(".md5sums") {
            self.merge(name, catalog::parse_dpkg_status_d(file));
        }
    }

    fn merge(&mut self, name: &str, database: DpkgDatabase) {
        let file = || name.to_owned();
        let skipped = database.skipped.iter().cloned();
        self.warnings.extend(skipped.map(|skipped| Warning::Stanza { file: file(), skipped }));
        let unlisted = database.skipped_count - database.skipped.len();
        if unlisted > 0 {
            self.warnings.push(Warning::File { file: file(), reason: format!("{unlisted} more stanzas were skipped") });
        }
        self.database.merge(database);
        let dpkg = self.database.packages.iter().find(|found| found.package.name == "dpkg");
        if let Some(dpkg) = dpkg.filter(|_| self.configuration.native_architecture.is_empty()) {
            self.configuration.native_architecture.clone_from(&dpkg.package.architecture);
        }
    }

    /// Takes `/etc/apt/sources.list`, then each file of `/etc/apt/sources.list.d` in alphabetical order. Files that apt does
    /// not read for their name's sake (sources.list(5)) are ignored.
    pub fn sources(&mut self, name: &str, file: &[u8]) {
        self.warnings.extend(self.sources.read(name, file, &self.configuration));
    }

    /// Takes `/etc/apt/preferences`, then each file of `/etc/apt/preferences.d` in alphabetical order. Files that apt does
    /// not read for their name's sake (apt_preferences(5)) are ignored.
    pub fn preferences(&mut self, name: &str, file: &[u8]) {
        self.warnings.extend(self.preferences.read(name, file));
    }

    /// The repositories that the sources name, each with its Release file's names.
    #[must_use]
    pub fn repositories(&self) -> &[Repository] {
        &self.sources.repositories
    }

    /// The lists that apt would read. Look for each under the names of [`crate::Compression::file_names`].
    #[must_use]
    pub fn index_files(&self) -> &[IndexFile] {
        &self.sources.index_files
    }

    /// The settings with what the package database added.
    #[must_use]
    pub fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    /// Takes the Release file of the repository at this position in [`Self::repositories`]; `None`: there is none.
    pub fn release(&mut self, repository: usize, file: Option<&[u8]>) {
        let Some(known) = self.sources.repositories.get(repository) else { return };
        let release = file.filter(|file| file.len() <= RELEASE_BYTES_MAX).and_then(Release::parse);
        if release.is_none() {
            let [file_name, _] = known.release_file_names.clone();
            self.warnings.push(Warning::ReleaseMissing { file_name });
        }
        self.releases.resize(self.sources.repositories.len(), None);
        if let Some(slot) = self.releases.get_mut(repository) {
            *slot = release;
        }
    }

    /// Takes the list at this position in [`Self::index_files`]: the name of the file (for its compression) and its bytes.
    /// `None`: there is none. Memory stays bounded however large the list is.
    pub fn index(&mut self, index_file: usize, list: Option<(&str, &mut dyn BufRead)>) {
        let Some(known) = self.sources.index_files.get(index_file).cloned() else { return };
        let Some(repository) = self.sources.repositories.get(known.repository) else { return };
        let release = self.releases.get(known.repository).cloned().flatten();
        let promised = release.as_ref().is_none_or(|release| release.has_list(&known.component, &known.architecture));
        let (read, missing) = match list {
            Some((name, reader)) => {
                let release = release.unwrap_or_default();
                let list = OfferingList::of_release(&release, &repository.site, &known.component, &known.architecture);
                let wanted =
                    || Offers::of_packages(self.database.packages.iter().map(|found| found.package.name.as_str()));
                let offers = self.offers.get_or_insert_with(wanted);
                match read_list(offers, list, name, reader) {
                    Ok(()) => (1, 0),
                    Err(error) => {
                        let (file, reason) = (name.to_owned(), error.to_string());
                        self.warnings.push(Warning::ListUnread { file, reason });
                        (0, 1)
                    }
                }
            }
            None if known.optional || !promised => (0, 0),
            None => {
                self.warnings.push(Warning::ListMissing { file_name_stem: known.file_name_stem });
                (0, 1)
            }
        };
        self.lists.resize(self.sources.repositories.len(), (0, 0));
        if let Some(slot) = self.lists.get_mut(known.repository) {
            *slot = (slot.0 + read, slot.1 + missing);
        }
    }

    /// What has been gathered, for tests that look closer.
    #[cfg(test)]
    pub(crate) fn gathered(&self) -> (&DpkgDatabase, Offers, &Preferences) {
        (&self.database, self.offers.clone().unwrap_or_default(), &self.preferences)
    }

    /// Draws the conclusion.
    #[must_use]
    pub fn finish(mut self) -> HostState {
        if self.configuration.native_architecture.is_empty() {
            let reason = "the host's architecture is not known: neither a setting nor the package dpkg shows it";
            self.warnings.push(Warning::Setting(reason.to_owned()));
        }
        // By name and architecture no two are alike, so both orders are the inventory's.
        self.database.packages.sort_by(|left, right| left.package.cmp(&right.package));
        let offers = self.offers.unwrap_or_default();
        let (packages, warnings) =
            crate::resolve(&self.database.packages, &offers, &self.preferences, &self.configuration);
        self.warnings.extend(warnings);
        let installed = self.database.packages.into_iter().map(|found| found.package).collect();
        let mut releases = self.releases.into_iter();
        let mut lists = self.lists.into_iter();
        let repositories = self.sources.repositories.into_iter().map(|repository| {
            let (lists_read, lists_missing) = lists.next().unwrap_or_default();
            RepositoryState { repository, release: releases.next().flatten(), lists_read, lists_missing }
        });
        HostState {
            inventory: Inventory::new(self.distribution, installed),
            packages,
            leftover_configurations: self.database.leftover_configurations,
            repositories: repositories.collect(),
            warnings: self.warnings,
        }
    }
}

fn read_list(offers: &mut Offers, list: OfferingList, name: &str, reader: &mut dyn BufRead) -> Result<(), ListError> {
    let mut decompressed = Decompressed::new(name, reader, PACKAGES_BYTES_MAX)?;
    offers.read(list, &mut decompressed)
}
