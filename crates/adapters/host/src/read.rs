//! Reading a host's package database, apt's configuration and apt's lists: files alone, no package manager.

use crate::dpkg;
use crate::files::{apt_parts, modified_at, read_if_there};
use crate::paths::{AptPaths, may_move_folders};
use crate::refresh::last_refresh;
use crate::{HostError, HostRoot};
use identifiers::Timestamp;
use packages::PackageKey;
use repositories::{Compression, Configuration, HostState, IndexFile, Inspection, Repository};
use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};

/// Lists that were refreshed longer ago are warned of.
const STALE_SECONDS: i64 = 24 * 3600;
/// How often a read is begun anew because the lists changed under it.
const READ_AGAIN_MAX: u32 = 3;

/// What a host's files say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostReading {
    /// Inventory, and what the repositories say of each package.
    pub state: HostState,
    /// The folder whose lists were read.
    pub lists: PathBuf,
    /// When packages were last installed, where that is known.
    pub installed_at: Vec<(PackageKey, Timestamp)>,
    /// What keeps the reading from being complete or current, as sentences for people.
    pub warnings: Vec<String>,
}

/// Reads what is installed and what apt's lists offer. Nothing is fetched or changed.
///
/// # Errors
/// When there is no dpkg database, no package source, or no list at all: never taken for "no updates".
pub fn read_host(host: &HostRoot, now: Timestamp) -> Result<HostReading, HostError> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let reader = Reader::new(host);
        let lists = reader.lists.clone();
        let before = modified_at(&lists);
        let reading = reader.read(host, now);
        // An `apt-get update` beside us replaces lists one by one: what was read is then a mixture.
        if modified_at(&lists) == before || attempts >= READ_AGAIN_MAX {
            return reading;
        }
    }
}

/// Where apt keeps its files, and what to warn of. `apt-config` is asked only if the configuration may move folders.
pub(crate) fn apt_paths(host: &HostRoot) -> (AptPaths, Option<String>) {
    let moved = configuration_files(host).into_iter().any(|path| {
        let file = read_if_there(&path).ok().flatten();
        file.is_some_and(|file| may_move_folders(&file))
    });
    if !moved {
        return (AptPaths::usual(host), None);
    }
    match AptPaths::asked(host) {
        Ok(paths) => (paths, None),
        Err(error) => {
            let warning = format!("apt's configuration moves folders, but it cannot be asked where to: {error}");
            (AptPaths::usual(host), Some(warning))
        }
    }
}

/// The files of apt.conf(5) in the order in which apt reads them.
fn configuration_files(host: &HostRoot) -> Vec<PathBuf> {
    let mut files = apt_parts(&host.path("etc/apt/apt.conf.d"), &["conf"], true).unwrap_or_default();
    files.push(host.path("etc/apt/apt.conf"));
    files
}

struct Reader {
    paths: AptPaths,
    lists: PathBuf,
    warnings: Vec<String>,
}

impl Reader {
    fn new(host: &HostRoot) -> Self {
        let (paths, warning) = apt_paths(host);
        let mut warnings: Vec<String> = warning.into_iter().collect();
        let own = host.state_dir.join("lists");
        let lists = match host.privileged || !has_lists(&own) {
            true => paths.lists.clone(),
            false => own,
        };
        if !host.privileged && lists == paths.lists {
            warnings.push("no lists of our own yet; read the ones that apt keeps for root".to_owned());
        }
        Self { paths, lists, warnings }
    }

    fn read(mut self, host: &HostRoot, now: Timestamp) -> Result<HostReading, HostError> {
        let mut inspection = Inspection::new(self.configuration(host));
        self.small_files(host, &mut inspection)?;
        if inspection.repositories().is_empty() {
            return Err(HostError::NoSources);
        }
        let repositories = inspection.repositories().to_vec();
        for (position, repository) in repositories.iter().enumerate() {
            let file = self.release_file(repository);
            inspection.release(position, file.as_deref());
        }
        let index_files = inspection.index_files().to_vec();
        for (position, index_file) in index_files.iter().enumerate() {
            match self.open_list(index_file) {
                Some((name, file)) => {
                    inspection.index(position, Some((&name, &mut BufReader::with_capacity(1 << 16, file))))
                }
                None => inspection.index(position, None),
            }
        }
        let state = inspection.finish();
        if state.repositories.iter().all(|repository| repository.lists_read == 0) {
            return Err(HostError::NoPackageLists { folder: self.lists, hint: String::new() });
        }
        self.warnings.extend(state.warnings.iter().map(ToString::to_string));
        if dpkg::was_interrupted(host) {
            self.warnings
                .push("dpkg was interrupted: what is installed may be newer than what is read here".to_owned());
        }
        self.warnings.extend(age_warnings(&state, last_refresh(host), now));
        let installed_at = dpkg::installed_at(host, &state.inventory);
        Ok(HostReading { state, lists: self.lists, installed_at, warnings: self.warnings })
    }

    fn configuration(&mut self, host: &HostRoot) -> Configuration {
        let mut configuration = Configuration::default();
        for path in configuration_files(host) {
            if let Some(file) = self.file(&path) {
                let warnings = configuration.read_apt_conf(&path.to_string_lossy(), &file);
                self.warnings.extend(warnings.iter().map(ToString::to_string));
            }
        }
        if let Some(file) = self.file(&host.path("var/lib/dpkg/arch")) {
            configuration.read_dpkg_architectures(&file);
        }
        if configuration.machine_id.is_empty() && !in_chroot(host) {
            let file = self.file(&host.path("etc/machine-id")).unwrap_or_default();
            let text = String::from_utf8_lossy(&file);
            configuration.machine_id = text.lines().next().unwrap_or_default().trim().to_owned();
        }
        configuration
    }

    fn small_files(&mut self, host: &HostRoot, inspection: &mut Inspection) -> Result<(), HostError> {
        for name in ["etc/os-release", "usr/lib/os-release"] {
            if let Some(file) = self.file(&host.path(name)) {
                inspection.os_release(&file);
                break;
            }
        }
        let status = host.path("var/lib/dpkg/status");
        let file = read_if_there(&status).map_err(HostError::file(&status))?;
        let parts = apt_parts(&host.path("var/lib/dpkg/status.d"), &[], true).unwrap_or_default();
        if file.is_none() && parts.is_empty() {
            return Err(HostError::NoPackageDatabase { path: status });
        }
        inspection.dpkg_status(&file.unwrap_or_default());
        for path in parts {
            if let Some(file) = self.file(&path) {
                inspection.dpkg_status_d(&path.to_string_lossy(), &file);
            }
        }
        let sources = apt_parts(&self.paths.sources_parts, &["list", "sources"], false);
        for path in self.with_parts(self.paths.sources_list.clone(), sources) {
            if let Some(file) = self.file(&path) {
                inspection.sources(&path.to_string_lossy(), &file);
            }
        }
        let preferences = apt_parts(&self.paths.preferences_parts, &["pref"], true);
        for path in self.with_parts(self.paths.preferences.clone(), preferences) {
            if let Some(file) = self.file(&path) {
                inspection.preferences(&path.to_string_lossy(), &file);
            }
        }
        Ok(())
    }

    fn with_parts(&mut self, first: PathBuf, parts: std::io::Result<Vec<PathBuf>>) -> Vec<PathBuf> {
        let parts = parts.unwrap_or_else(|error| {
            self.warnings.push(format!("{}.d: {error}", first.display()));
            Vec::new()
        });
        std::iter::once(first).chain(parts).collect()
    }

    /// A file that may be absent; one that cannot be read is warned of.
    fn file(&mut self, path: &Path) -> Option<Vec<u8>> {
        read_if_there(path).unwrap_or_else(|error| {
            self.warnings.push(format!("{} cannot be read: {error}", path.display()));
            None
        })
    }

    fn release_file(&mut self, repository: &Repository) -> Option<Vec<u8>> {
        let lists = self.lists.clone();
        repository.release_file_names.iter().find_map(|name| self.file(&lists.join(name)))
    }

    fn open_list(&mut self, index_file: &IndexFile) -> Option<(String, File)> {
        for name in Compression::file_names(&index_file.file_name_stem) {
            let path = self.lists.join(&name);
            match File::open(&path) {
                Ok(file) => return Some((name, file)),
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
                Err(error) => self.warnings.push(format!("{} cannot be read: {error}", path.display())),
            }
        }
        None
    }
}

/// Whether a folder holds at least one list of packages.
pub(crate) fn has_lists(folder: &Path) -> bool {
    let is_list = |entry: std::fs::DirEntry| entry.file_name().to_string_lossy().contains("Packages");
    std::fs::read_dir(folder).is_ok_and(|mut entries| entries.any(|entry| entry.is_ok_and(is_list)))
}

/// Whether we run in a chroot, where apt takes every phased update: our root is not that of the first process
/// (ischroot(1)). Unknown counts as no, as it does for apt.
fn in_chroot(host: &HostRoot) -> bool {
    use std::os::unix::fs::MetadataExt;
    let identity = |path: &str| std::fs::metadata(path).map(|found| (found.dev(), found.ino())).ok();
    match (host.is_live(), identity("/"), identity("/proc/1/root/")) {
        (true, Some(ours), Some(first)) => ours != first,
        _ => false,
    }
}

/// What is old: the refresh, or a Release file whose validity has ended.
fn age_warnings(state: &HostState, refreshed_at: Option<Timestamp>, now: Timestamp) -> Vec<String> {
    let mut warnings = Vec::new();
    if let Some(at) = refreshed_at.filter(|at| now.micros_since(*at) > STALE_SECONDS * 1_000_000) {
        warnings.push(format!("the package lists were last refreshed at {}", at.to_human()));
    }
    for repository in &state.repositories {
        let Some(release) = &repository.release else { continue };
        if release_date(&release.valid_until).is_some_and(|until| until < now) {
            warnings.push(format!(
                "the lists of {} {} were valid until {}: its mirror has stopped, or this clock is wrong",
                repository.repository.uri, repository.repository.suite, release.valid_until
            ));
        }
    }
    warnings
}

/// A date as Release files have it: `Sat, 22 Nov 2026 15:00:00 UTC` (RFC 1123; apt takes UTC, GMT, Z and +0000).
fn release_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = text.split_once(',').map_or(text, |(_, rest)| rest);
    let mut words = text.split_ascii_whitespace();
    let (day, month, year, time, zone) = (words.next()?, words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))? + 1;
    if !matches!(zone, "UTC" | "GMT" | "Z" | "+0000") {
        return None;
    }
    let day: u8 = day.parse().ok()?;
    let year: u16 = year.parse().ok()?;
    let (hour, rest) = time.split_once(':')?;
    Timestamp::parse(&format!("{year:04}-{month:02}-{day:02}T{hour:0>2}:{rest}Z")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_of_release_files_are_read() {
        let at = release_date("Sat, 08 Aug 2026 09:37:12 UTC").unwrap();
        assert_eq!(at.to_rfc3339_seconds(), "2026-08-08T09:37:12Z");
        assert_eq!(
            release_date("Mon, 2 Mar 2026  1:02:03 +0000").unwrap().to_rfc3339_seconds(),
            "2026-03-02T01:02:03Z"
        );
        for bad in
            ["", "Sat, 08 Foo 2026 09:37:12 UTC", "Sat, 08 Aug 2026 09:37:12 CEST", "Sat, 40 Aug 2026 09:37:12 UTC"]
        {
            assert_eq!(release_date(bad), None, "{bad}");
        }
    }
}
