//! dpkg's status database: `/var/lib/dpkg/status` and `/var/lib/dpkg/status.d/*` (dpkg(1), deb-control(5)).

use crate::control::{Build, ControlFields};
use crate::deb822::{self, Stanza};
use packages::{InstallState, InstalledPackage};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use thiserror::Error;

/// The longest stanza that is read, in bytes. The longest of Debian have some 100 KiB.
pub const STANZA_BYTES_MAX: usize = 1 << 20;
/// The longest value of a field that is kept (names, versions and the like), in bytes.
pub const VALUE_BYTES_MAX: usize = 1024;
/// The most stanzas that are read of one database.
pub const STATUS_STANZAS_MAX: usize = 200_000;
/// The most skipped stanzas that are listed.
pub const SKIPPED_MAX: usize = 100;

/// An installed package with what apt tells builds apart by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DpkgPackage {
    /// The package.
    pub package: InstalledPackage,
    /// Its build.
    pub build: Build,
}

/// A package that is removed, but whose configuration files are still there (`rc` in `dpkg -l`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftoverConfiguration {
    /// The binary package's name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// The version whose configuration is left.
    pub version: String,
}

/// What a status database says.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DpkgDatabase {
    /// Everything of which at least parts are unpacked: the states `installed`, `unpacked`, `half-configured`,
    /// `half-installed`, `triggers-awaited` and `triggers-pending`, which are those in which apt sees a current version.
    /// In the order of the file; of two stanzas for one name and architecture the later counts, as for dpkg.
    pub packages: Vec<DpkgPackage>,
    /// Packages in the state `config-files`. They are not installed: no code of theirs is left, and apt offers them no
    /// update. So they are kept apart.
    pub leftover_configurations: Vec<LeftoverConfiguration>,
    /// What could not be read; at most [`SKIPPED_MAX`], see [`Self::skipped_count`].
    pub skipped: Vec<SkippedStanza>,
    /// How many stanzas could not be read.
    pub skipped_count: usize,
}

/// A stanza that was not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SkippedStanza {
    /// Where it starts, in bytes from the start of the file.
    pub offset_bytes: u64,
    /// The package's name, where it could be read.
    pub name: String,
    /// Why.
    pub reason: SkipReason,
}

/// Why a stanza was not read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum SkipReason {
    /// It is longer than [`STANZA_BYTES_MAX`].
    #[error("the stanza is longer than {STANZA_BYTES_MAX} bytes")]
    TooLong,
    /// The database has more than [`STATUS_STANZAS_MAX`] stanzas; this and the following ones are left out.
    #[error("the database has more than {STATUS_STANZAS_MAX} stanzas")]
    TooMany,
    /// A field that must be there is not.
    #[error("the field {0} is missing or empty")]
    Missing(&'static str),
    /// The field `Status` is not three known words.
    #[error("the field Status is malformed")]
    MalformedStatus,
    /// A value that must be one line of text is not UTF-8, or has control characters, or blanks where none may be, or is
    /// longer than [`VALUE_BYTES_MAX`].
    #[error("the field {0} is malformed")]
    Malformed(&'static str),
}

/// Reads `/var/lib/dpkg/status`.
#[must_use]
pub fn parse_dpkg_status(file: &[u8]) -> DpkgDatabase {
    read(file, None)
}

/// Reads one file of `/var/lib/dpkg/status.d/`, where images without dpkg itself (distroless ones) record a package per
/// file. There the field `Status` is usually absent: a package that is recorded is installed.
#[must_use]
pub fn parse_dpkg_status_d(file: &[u8]) -> DpkgDatabase {
    read(file, Some((false, InstallState::Installed)))
}

impl DpkgDatabase {
    /// Adds what another file says. Of two packages with one name and architecture the later counts.
    pub fn merge(&mut self, other: Self) {
        let mut positions = Positions::default();
        let packages = std::mem::take(&mut self.packages).into_iter().chain(other.packages);
        for package in packages {
            positions.put(&mut self.packages, package);
        }
        self.leftover_configurations.extend(other.leftover_configurations);
        self.skipped.extend(other.skipped);
        self.skipped.truncate(SKIPPED_MAX);
        self.skipped_count += other.skipped_count;
    }

    fn skip(&mut self, stanza: &Stanza<'_>, reason: SkipReason) {
        self.skipped_count += 1;
        if self.skipped.len() < SKIPPED_MAX {
            // Of a stanza that is too long only the start is looked at.
            let start = Stanza { bytes: stanza.bytes.get(..VALUE_BYTES_MAX).unwrap_or(stanza.bytes), ..*stanza };
            let name = ControlFields::read(&start).package.unwrap_or_default();
            let name = name.get(..VALUE_BYTES_MAX).unwrap_or(name);
            let name = String::from_utf8_lossy(name).chars().filter(|character| !character.is_control()).collect();
            self.skipped.push(SkippedStanza { offset_bytes: stanza.offset as u64, name, reason });
        }
    }
}

/// Which package stands where, so that a later stanza can replace an earlier one.
#[derive(Default)]
struct Positions(HashMap<(String, String), usize>);

impl Positions {
    fn put(&mut self, packages: &mut Vec<DpkgPackage>, package: DpkgPackage) {
        let key = (package.package.name.clone(), package.package.architecture.clone());
        match self.0.entry(key) {
            Entry::Occupied(position) => {
                if let Some(earlier) = packages.get_mut(*position.get()) {
                    *earlier = package;
                }
            }
            Entry::Vacant(position) => {
                position.insert(packages.len());
                packages.push(package);
            }
        }
    }
}

/// What one stanza is about.
enum Row {
    Present(DpkgPackage),
    Leftover(LeftoverConfiguration),
    NotInstalled,
}

fn read(file: &[u8], without_status: Option<(bool, InstallState)>) -> DpkgDatabase {
    let mut database = DpkgDatabase::default();
    let mut positions = Positions::default();
    for (count, stanza) in deb822::stanzas(file).enumerate() {
        if count >= STATUS_STANZAS_MAX {
            database.skip(&stanza, SkipReason::TooMany);
            break;
        }
        if stanza.bytes.len() > STANZA_BYTES_MAX {
            database.skip(&stanza, SkipReason::TooLong);
            continue;
        }
        match row(&stanza, without_status) {
            Ok(Row::Present(package)) => positions.put(&mut database.packages, package),
            Ok(Row::Leftover(leftover)) => database.leftover_configurations.push(leftover),
            Ok(Row::NotInstalled) => {}
            Err(reason) => database.skip(&stanza, reason),
        }
    }
    database
}

fn row(stanza: &Stanza<'_>, without_status: Option<(bool, InstallState)>) -> Result<Row, SkipReason> {
    let fields = ControlFields::read(stanza);
    let name = word(fields.package, "Package")?.to_ascii_lowercase();
    let (held, state) = match (fields.status, without_status) {
        (Some(words), _) => match status(words)? {
            (held, Some(state)) => (held, state),
            (_, None) => return Ok(Row::NotInstalled),
        },
        (None, Some(assumed)) => assumed,
        (None, None) => return Err(SkipReason::Missing("Status")),
    };
    let version = word(fields.version, "Version")?.to_owned();
    let architecture = word(fields.architecture, "Architecture")?.to_owned();
    if state == InstallState::ConfigFiles {
        return Ok(Row::Leftover(LeftoverConfiguration { name, architecture, version }));
    }
    let (source, source_version) = match fields.source_parts() {
        Some((source, source_version)) => (
            word(Some(source), "Source")?.to_owned(),
            source_version.map_or(Ok(version.as_str()), |text| word(Some(text), "Source"))?.to_owned(),
        ),
        None => (name.clone(), version.clone()),
    };
    let package = InstalledPackage {
        name,
        architecture,
        source,
        source_version,
        section: line(fields.section, "Section")?.to_owned(),
        priority: line(fields.priority, "Priority")?.to_owned(),
        state,
        held,
        version,
    };
    Ok(Row::Present(DpkgPackage { package, build: fields.build() }))
}

/// The three words of `Status`: what is wanted, whether an error stands, and the state. Gives whether the package is held,
/// and the state; `None` for `not-installed`.
fn status(value: &[u8]) -> Result<(bool, Option<InstallState>), SkipReason> {
    let text = std::str::from_utf8(value).map_err(|_| SkipReason::MalformedStatus)?;
    let mut words = text.split_ascii_whitespace();
    let (Some(wanted), Some(error), Some(state), None) = (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(SkipReason::MalformedStatus);
    };
    let wanted_known = ["unknown", "install", "hold", "deinstall", "purge"].contains(&wanted);
    // The last two were written by dpkg before 1.4.
    let error_known = ["ok", "reinstreq", "hold", "hold-reinstreq"].contains(&error);
    if !wanted_known || !error_known {
        return Err(SkipReason::MalformedStatus);
    }
    match InstallState::parse(state) {
        None if state != "not-installed" => Err(SkipReason::MalformedStatus),
        state => Ok((wanted == "hold", state)),
    }
}

/// A value of one line; empty where the field is absent.
fn line<'a>(value: Option<&'a [u8]>, field: &'static str) -> Result<&'a str, SkipReason> {
    let value = value.unwrap_or_default();
    let text = std::str::from_utf8(value).map_err(|_| SkipReason::Malformed(field))?;
    if text.len() > VALUE_BYTES_MAX || text.chars().any(char::is_control) {
        return Err(SkipReason::Malformed(field));
    }
    Ok(text)
}

/// A value of one word that must be there.
fn word<'a>(value: Option<&'a [u8]>, field: &'static str) -> Result<&'a str, SkipReason> {
    let text = line(value, field)?;
    if text.is_empty() {
        return Err(SkipReason::Missing(field));
    }
    if text.contains(' ') {
        return Err(SkipReason::Malformed(field));
    }
    Ok(text)
}

#[cfg(test)]
mod tests;
