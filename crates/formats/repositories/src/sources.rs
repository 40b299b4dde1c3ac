//! The sources of a host: sources.list(5).

mod deb822_style;
mod one_line;

use crate::folder::is_read_by_apt;
use crate::uri::{Uri, percent_encode};
use crate::warning::{FileWarnings, excerpt};
use crate::{Configuration, Warning};
use std::collections::{HashMap, HashSet};

/// The largest file of sources that is read, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The most that sources may name, repositories and lists, each counted as often as it is named: a stanza multiplies its
/// URIs, suites, components and architectures.
const NAMED_MAX: usize = 10_000;
/// The longest URI, suite and component together, in bytes: no file system could hold the name of such a list.
const ENTRY_BYTES_MAX: usize = 2048;
/// `Acquire::URIEncode` as apt is delivered.
const URI_ENCODE: &str = "+~ ";

/// One repository that the sources name: an URI with a suite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repository {
    /// Its URI with a final `/`, without user and password.
    pub uri: String,
    /// The host's name as pins see it; empty for `file:` and the like.
    pub site: String,
    /// The suite; ends in `/` for a flat repository.
    pub suite: String,
    /// The names under which apt may have stored its Release file, in the order in which apt looks: `..._InRelease`, then
    /// `..._Release`. Never compressed.
    pub release_file_names: [String; 2],
    /// Whether the sources say `trusted=yes`.
    pub trusted: bool,
}

/// A list of packages that apt would read if it is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexFile {
    /// Its repository: a position in [`Sources::repositories`].
    pub repository: usize,
    /// The component; empty for a flat repository.
    pub component: String,
    /// The architecture in its name (`all` where it is only implied); empty for a flat repository.
    pub architecture: String,
    /// Its name in apt's lists folder (`/var/lib/apt/lists`), without the extension of a compression.
    pub file_name_stem: String,
    /// Whether its absence is normal: the separate list of `all` packages, which few repositories have.
    pub optional: bool,
}

/// What the sources of a host name (sources.list(5)), as far as binary packages go.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sources {
    /// The repositories, in order of appearance.
    pub repositories: Vec<Repository>,
    /// Their lists.
    pub index_files: Vec<IndexFile>,
    /// The position of each repository by the name of its Release file.
    repository_positions: HashMap<String, usize>,
    /// The names of all lists: one that is named twice is read once.
    file_name_stems: HashSet<String>,
    /// How much has been named, repetitions included.
    named: usize,
}

impl Sources {
    /// Reads one file: deb822 if `name` ends in `.sources`, else one source a line. Files that apt does not read for their
    /// name's sake are ignored.
    ///
    /// A source that is not understood is left out with a warning; apt itself would refuse to work at all.
    pub fn read(&mut self, name: &str, file: &[u8], configuration: &Configuration) -> Vec<Warning> {
        let mut warnings = FileWarnings::of(name);
        if !is_read_by_apt(name, &["list", "sources"], false) {
            return Vec::new();
        }
        if file.len() > FILE_BYTES_MAX {
            warnings.file(format!("it is larger than {FILE_BYTES_MAX} bytes and was not read"));
            return warnings.finish();
        }
        if name.ends_with(".sources") {
            deb822_style::read(self, file, configuration, &mut warnings);
        } else {
            one_line::read(self, file, configuration, &mut warnings);
        }
        warnings.finish()
    }

    /// Adds what an entry stands for.
    ///
    /// # Errors
    /// Says what apt would not accept, or that there are too many lists.
    fn add(&mut self, entry: &Entry<'_>, configuration: &Configuration) -> Result<(), String> {
        self.count()?;
        if entry.uri.len() + entry.suite.len() + entry.component.len() > ENTRY_BYTES_MAX {
            return Err(format!("a source's URI, suite and component are longer than {ENTRY_BYTES_MAX} bytes"));
        }
        let uri_text = substitute_architecture(entry.uri, configuration);
        let uri = Uri::parse(&uri_text).ok_or_else(|| format!("{} is not an URI", excerpt(entry.uri)))?;
        let mut base = uri.to_string();
        if !base.ends_with('/') {
            base.push('/');
        }
        let suite = entry.suite;
        let flat = suite.ends_with('/');
        if flat != entry.component.is_empty() {
            let reason = if flat { "names a component although its suite ends in /" } else { "names no component" };
            return Err(format!("the source {} {} {reason}", excerpt(&base), excerpt(suite)));
        }
        let encoded = configuration.uri_encode.as_deref().unwrap_or(URI_ENCODE);
        let folder = match (suite, flat) {
            ("/", _) => base.clone(),
            (_, true) => format!("{base}{}", percent_encode(suite, encoded)),
            (_, false) => format!("{base}dists/{}/", percent_encode(suite, encoded)),
        };
        let stem = file_name(&folder);
        let release_file_names = ["InRelease", "Release"].map(|name| format!("{stem}{name}"));
        let next = self.repositories.len();
        let repository = *self.repository_positions.entry(stem.clone()).or_insert(next);
        if let Some(known) = self.repositories.get_mut(repository) {
            known.trusted |= entry.options.trusted;
        } else {
            let (site, suite) = (uri.host, suite.to_owned());
            let trusted = entry.options.trusted;
            self.repositories.push(Repository { uri: base, site, suite, release_file_names, trusted });
        }
        if flat {
            return self.add_index_file(repository, "", "", format!("{stem}Packages"), false);
        }
        for (architecture, implied) in entry.options.architectures(configuration) {
            let component = entry.component;
            let stem = file_name(&format!("{folder}{component}/binary-{architecture}/Packages"));
            self.add_index_file(repository, component, &architecture, stem, implied)?;
        }
        Ok(())
    }

    /// Counts something named.
    ///
    /// # Errors
    /// When it is too much.
    fn count(&mut self) -> Result<(), String> {
        if self.named >= NAMED_MAX {
            return Err(format!("the sources name more than {NAMED_MAX} repositories and lists; the rest is left out"));
        }
        self.named += 1;
        Ok(())
    }

    fn add_index_file(
        &mut self,
        repository: usize,
        component: &str,
        architecture: &str,
        file_name_stem: String,
        optional: bool,
    ) -> Result<(), String> {
        self.count()?;
        if self.file_name_stems.contains(&file_name_stem) {
            return Ok(());
        }
        self.file_name_stems.insert(file_name_stem.clone());
        let (component, architecture) = (component.to_owned(), architecture.to_owned());
        self.index_files.push(IndexFile { repository, component, architecture, file_name_stem, optional });
        Ok(())
    }
}

/// Refuses a line or stanza that would name too much, before anything is done with it.
fn refuse_product(counts: &[usize]) -> Result<(), String> {
    let product = counts.iter().fold(1_usize, |product, count| product.saturating_mul(*count));
    if product <= NAMED_MAX {
        return Ok(());
    }
    Err(format!("its URIs, suites, components and architectures multiply to more than {NAMED_MAX}"))
}

/// One URI with one suite and one component.
struct Entry<'a> {
    uri: &'a str,
    suite: &'a str,
    component: &'a str,
    options: &'a Options,
}

/// The options of a source that bear on which lists apt reads.
#[derive(Debug, Clone, Default)]
struct Options {
    architectures: Option<Vec<String>>,
    architectures_added: Vec<String>,
    architectures_removed: Vec<String>,
    /// Whether lists of packages are among the targets.
    without_packages: bool,
    trusted: bool,
}

impl Options {
    /// Takes an option in its form of one-line sources; values are separated by commas.
    fn set(&mut self, name: &str, value: &str) {
        let values = || value.split(',').filter(|value| !value.is_empty()).map(str::to_owned);
        match name {
            "arch" => self.architectures = Some(values().collect()),
            "arch+" => self.architectures_added = values().collect(),
            "arch-" => self.architectures_removed = values().collect(),
            "target" => self.without_packages = !values().any(|target| target == "Packages"),
            "target-" => self.without_packages |= values().any(|target| target == "Packages"),
            "Packages" => self.without_packages = boolean(value) == Some(false),
            "trusted" => self.trusted = boolean(value) == Some(true),
            _ => {}
        }
    }

    /// How many architectures it names itself, at least 1.
    fn architectures_named(&self) -> usize {
        let named = self.architectures.as_ref().map_or(0, Vec::len);
        (named + self.architectures_added.len() + self.architectures_removed.len()).max(1)
    }

    /// The architectures whose lists apt reads, each with whether it is only implied.
    fn architectures(&self, configuration: &Configuration) -> Vec<(String, bool)> {
        if self.without_packages {
            return Vec::new();
        }
        let mut architectures = self.architectures.clone().unwrap_or_else(|| configuration.architectures());
        for added in &self.architectures_added {
            if !architectures.contains(added) {
                architectures.push(added.clone());
            }
        }
        architectures.retain(|architecture| !self.architectures_removed.contains(architecture));
        let all = |name: &String| name == "all";
        // Packages of `all` may have a list of their own, if nobody says otherwise.
        let implied = !architectures.iter().any(all) && !self.architectures_removed.iter().any(all);
        let mut architectures: Vec<_> = architectures.into_iter().map(|name| (name, false)).collect();
        if implied {
            architectures.push(("all".to_owned(), true));
        }
        architectures
    }
}

/// apt's words for yes and no.
pub(crate) fn boolean(text: &str) -> Option<bool> {
    let is = |words: [&str; 6]| words.iter().any(|word| word.eq_ignore_ascii_case(text));
    if is(["yes", "true", "with", "on", "enable", "1"]) {
        return Some(true);
    }
    is(["no", "false", "without", "off", "disable", "0"]).then_some(false)
}

fn substitute_architecture(text: &str, configuration: &Configuration) -> String {
    text.replace("$(ARCH)", &configuration.native_architecture)
}

/// As [`crate::file_name_of_uri`], for a folder or file below a source's URI.
fn file_name(uri: &str) -> String {
    crate::file_name_of_uri(uri)
}

#[cfg(test)]
mod tests;
