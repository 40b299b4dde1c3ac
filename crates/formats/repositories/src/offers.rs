//! What lists offer: the Packages files of a repository (Debian repository format, "Packages Indices").

use crate::{DecompressionError, Release};
use catalog::deb822::{self, Stanza};
use catalog::{Build, ControlFields, STANZA_BYTES_MAX, VALUE_BYTES_MAX};
use packages::Archive;
use std::borrow::Cow;
use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use thiserror::Error;

/// The most decompressed bytes that are read of one list. bookworm's `main` has 50 MiB, sid's 80.
pub const PACKAGES_BYTES_MAX: u64 = 1 << 30;
/// The most versions that are kept, of all lists together: some repositories keep every version that they ever had.
pub const OFFERS_MAX: usize = 50_000;
/// How much is read at once, in bytes.
const BUFFER_BYTES: usize = 128 << 10;

/// A list, as far as pins see it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OfferingList {
    /// Its archive.
    pub archive: Archive,
    /// `Version` of its Release file.
    pub release_version: String,
    /// Its architecture; empty for a flat repository.
    pub architecture: String,
    /// `NotAutomatic`
    pub not_automatic: bool,
    /// `ButAutomaticUpgrades`
    pub but_automatic_upgrades: bool,
}

impl OfferingList {
    /// A list of a repository at `site`.
    #[must_use]
    pub fn of_release(release: &Release, site: &str, component: &str, architecture: &str) -> Self {
        Self {
            archive: Archive {
                origin: release.origin.clone(),
                label: release.label.clone(),
                suite: release.suite.clone(),
                codename: release.codename.clone(),
                component: component.to_owned(),
                site: site.to_owned(),
            },
            release_version: release.version.clone(),
            architecture: architecture.to_owned(),
            not_automatic: release.not_automatic,
            but_automatic_upgrades: release.but_automatic_upgrades,
        }
    }
}

/// One version of one package in one list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// The list: a position in [`Offers::lists`].
    pub list: usize,
    /// The binary package's name.
    pub name: String,
    /// Its architecture.
    pub architecture: String,
    /// Its version.
    pub version: String,
    /// The source package's name.
    pub source: String,
    /// The source package's version.
    pub source_version: String,
    /// `Section`; empty where there is none.
    pub section: String,
    /// `Priority`; empty where there is none.
    pub priority: String,
    /// `Phased-Update-Percentage`; 100 where there is none.
    pub phased_update_percentage: u8,
    /// Its build.
    pub build: Build,
}

/// Why a list was not read to its end.
#[derive(Debug, Error)]
pub enum ListError {
    /// Reading or decompressing failed.
    #[error("{0}")]
    Read(std::io::Error),
    /// The list cannot be decompressed, or is larger than allowed.
    #[error("{0}")]
    Decompression(#[from] DecompressionError),
    /// The lists together have more versions of the wanted packages than are kept.
    #[error("the lists offer more than {OFFERS_MAX} versions")]
    TooMany,
    /// Stanzas were left out because they are too long or not text; the rest was read.
    #[error("{count} stanzas are malformed and were left out")]
    Malformed {
        /// How many.
        count: usize,
    },
}

impl From<std::io::Error> for ListError {
    fn from(error: std::io::Error) -> Self {
        match error.get_ref().and_then(|inner| inner.downcast_ref::<DecompressionError>()) {
            Some(inner) => Self::Decompression(*inner),
            None => Self::Read(error),
        }
    }
}

/// What lists offer of a set of packages.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Offers {
    names: HashSet<Box<[u8]>>,
    /// The lists.
    pub lists: Vec<OfferingList>,
    /// Their versions of the wanted packages, in the order of the lists.
    pub offers: Vec<Offer>,
}

impl Offers {
    /// Wants these packages and no others.
    #[must_use]
    pub fn of_packages<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self { names: names.into_iter().map(|name| name.as_bytes().into()).collect(), ..Self::default() }
    }

    /// Reads a list of packages. `reader` gives decompressed bytes. Stanzas of other packages are passed over without
    /// being looked at; no more than one stanza is held at a time.
    ///
    /// # Errors
    /// [`ListError`]; what was read before stays.
    pub fn read(&mut self, list: OfferingList, reader: &mut dyn Read) -> Result<(), ListError> {
        let position = self.lists.len();
        self.lists.push(list);
        let mut scan = Scan { offers: self, list: position, malformed: 0 };
        read_stanzas(reader, &mut scan)?;
        match scan.malformed {
            0 => Ok(()),
            count => Err(ListError::Malformed { count }),
        }
    }
}

/// Takes the stanzas of one list.
struct Scan<'a> {
    offers: &'a mut Offers,
    list: usize,
    malformed: usize,
}

impl Scan<'_> {
    fn stanza(&mut self, bytes: &[u8]) -> Result<(), ListError> {
        if !self.is_wanted(bytes) {
            return Ok(());
        }
        let fields = ControlFields::read(&Stanza { offset: 0, bytes });
        // Without a version it only describes a package.
        if fields.version.is_none_or(<[u8]>::is_empty) {
            return Ok(());
        }
        if self.offers.offers.len() >= OFFERS_MAX {
            return Err(ListError::TooMany);
        }
        match offer(&fields, self.list) {
            Some(offer) => self.offers.offers.push(offer),
            None => self.malformed += 1,
        }
        Ok(())
    }

    fn is_wanted(&self, bytes: &[u8]) -> bool {
        // Repositories write the name first; if one does not, its stanzas are read in full.
        let first_line = bytes.strip_prefix(b"Package: ").and_then(|rest| rest.get(..memchr::memchr(b'\n', rest)?));
        let name = match first_line {
            Some(name) if !name.is_empty() => name.trim_ascii(),
            _ => match (Stanza { offset: 0, bytes }).value("Package") {
                Some(field) => field.value,
                None => return false,
            },
        };
        self.offers.names.contains(&*lowered(name))
    }
}

/// apt lowers names as dpkg does; nearly all are already.
fn lowered(name: &[u8]) -> Cow<'_, [u8]> {
    if name.iter().any(u8::is_ascii_uppercase) { name.to_ascii_lowercase().into() } else { name.into() }
}

/// An offer, if every value that is kept is a line of text of reasonable length.
fn offer(fields: &ControlFields<'_>, list: usize) -> Option<Offer> {
    let line = |value: &[u8]| {
        let text = std::str::from_utf8(value).ok()?;
        let sound = text.len() <= VALUE_BYTES_MAX && !text.chars().any(char::is_control);
        sound.then(|| text.to_owned())
    };
    let name = line(&lowered(fields.package?))?;
    let version = line(fields.version?)?;
    let (source, source_version) = match fields.source_parts() {
        Some((source, source_version)) => (line(source)?, source_version.map_or(Some(version.clone()), line)?),
        None => (name.clone(), version.clone()),
    };
    let percentage = fields.phased_update_percentage.and_then(|value| std::str::from_utf8(value).ok()?.parse().ok());
    Some(Offer {
        list,
        name,
        version,
        architecture: line(fields.architecture?)?,
        source,
        source_version,
        section: line(fields.section.unwrap_or_default())?,
        priority: line(fields.priority.unwrap_or_default())?,
        phased_update_percentage: percentage.filter(|percentage: &u8| *percentage <= 100).unwrap_or(100),
        build: fields.build(),
    })
}

/// Cuts what `reader` gives into stanzas. Never holds more than twice [`STANZA_BYTES_MAX`]; looks at each byte a
/// bounded number of times.
fn read_stanzas(reader: &mut dyn Read, scan: &mut Scan<'_>) -> Result<(), ListError> {
    let mut buffer = vec![0; BUFFER_BYTES];
    // buffer[start..filled] is unread; no stanza ends in it before `searched`.
    let (mut start, mut filled, mut searched) = (0_usize, 0_usize, 0_usize);
    let mut carriage_returns = None;
    // Whether the stanza that is being read is too long and passed over.
    let mut passing_over = false;
    loop {
        if start > 0 {
            buffer.copy_within(start..filled, 0);
            (filled, searched, start) = (filled - start, searched - start, 0);
        }
        if filled == buffer.len() {
            if buffer.len() > STANZA_BYTES_MAX {
                // The byte at `searched` may begin its end; after it there can only be carriage returns.
                passing_over = true;
                buffer.copy_within(searched..=searched, 0);
                (filled, searched) = (1, 0);
            }
            if filled == buffer.len() {
                buffer.resize(buffer.len() * 2, 0);
            }
        }
        let count = match reader.read(buffer.get_mut(filled..).unwrap_or_default()) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error.into()),
        };
        filled += count;
        let bytes = buffer.get(..filled).unwrap_or_default();
        if carriage_returns.is_none() && bytes.contains(&b'\n') {
            // The first lines show how all of them end.
            carriage_returns = Some(bytes.contains(&b'\r'));
        }
        while let Some(end) = deb822::stanza_end(bytes, searched, carriage_returns.unwrap_or(true)) {
            if passing_over {
                scan.malformed += 1;
                passing_over = false;
            } else {
                let stanza = bytes.get(start..end.content).unwrap_or_default();
                scan.stanza(stanza.get(deb822::leading_line_ends(stanza)..).unwrap_or_default())?;
            }
            start = end.next;
            searched = start;
        }
        if count == 0 {
            let stanza = bytes.get(start..).unwrap_or_default();
            let stanza = stanza.get(deb822::leading_line_ends(stanza)..).unwrap_or_default();
            scan.malformed += usize::from(passing_over);
            return if passing_over || stanza.is_empty() { Ok(()) } else { scan.stanza(stanza) };
        }
        searched = searched.max(deb822::resume_at(bytes));
    }
}

#[cfg(test)]
mod tests;
