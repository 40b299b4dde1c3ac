//! The pins of a host: apt_preferences(5).

use crate::Warning;
use crate::folder::is_read_by_apt;
use crate::pattern::{Expression, is_expression};
use crate::pin::Pin;
use crate::warning::{FileWarnings, excerpt};
use catalog::deb822::{self, Stanza};

/// The largest file of preferences that is read, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The most records.
const RECORDS_MAX: usize = 20_000;
/// The priority that `never` stands for: no other pin overrules it.
pub(crate) const NEVER: i32 = i16::MIN as i32;

/// The pins of a host, in the order in which apt reads them.
#[derive(Debug, Clone, Default)]
pub struct Preferences {
    /// Records of the general form (`Package: *`).
    general: Vec<Record>,
    /// Records for packages.
    specific: Vec<SpecificRecord>,
}

#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) pin: Pin,
    pub(crate) priority: i32,
}

#[derive(Debug, Clone)]
struct SpecificRecord {
    name: PackageName,
    record: Record,
}

/// One word of the field `Package`.
#[derive(Debug, Clone)]
struct PackageName {
    /// Whether it names source packages (`src:`).
    of_source: bool,
    /// The architecture after the last colon; empty: the native one.
    architecture: String,
    name: Name,
}

#[derive(Debug, Clone)]
enum Name {
    Exact(String),
    /// The text too: apt leaves out a package that is called just as the expression is written.
    Expression(String, Expression),
}

/// The package that a version belongs to, as pins see it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PinnedPackage<'a> {
    pub(crate) name: &'a str,
    /// Its architecture; for `all` the native one.
    pub(crate) architecture: &'a str,
    pub(crate) native_architecture: &'a str,
    pub(crate) source: &'a str,
}

impl Preferences {
    /// Reads one file: `/etc/apt/preferences` first, then those of `/etc/apt/preferences.d` in alphabetical order. Files
    /// that apt does not read for their name's sake are ignored.
    ///
    /// A record that is not understood is left out with a warning; apt itself would refuse to work at all.
    pub fn read(&mut self, name: &str, file: &[u8]) -> Vec<Warning> {
        let mut warnings = FileWarnings::of(name);
        if !is_read_by_apt(name, &["pref"], true) {
            return Vec::new();
        }
        if file.len() > FILE_BYTES_MAX {
            warnings.file(format!("it is larger than {FILE_BYTES_MAX} bytes and was not read"));
            return warnings.finish();
        }
        let (mut line, mut counted) = (1, 0);
        for stanza in deb822::stanzas(file) {
            let between = file.get(counted..stanza.offset).unwrap_or_default();
            line += between.iter().filter(|&&byte| byte == b'\n').count();
            counted = stanza.offset;
            if stanza.fields().next().is_none() {
                // Nothing but comments.
                continue;
            }
            if self.general.len() + self.specific.len() >= RECORDS_MAX {
                warnings.line(line, format!("there are more than {RECORDS_MAX} pins; the rest is left out"));
                break;
            }
            if let Err(reason) = self.read_stanza(&stanza) {
                warnings.line(line, reason);
            }
        }
        warnings.finish()
    }

    fn read_stanza(&mut self, stanza: &Stanza<'_>) -> Result<(), String> {
        let packages = stanza.value("Package").map(|field| field.words()).unwrap_or_default();
        if packages.is_empty() {
            return Err("the record has no Package".to_owned());
        }
        let general = packages == ["*"];
        // apt passes over a record without a pin in silence.
        let Some(pin) = stanza.value("Pin") else { return Ok(()) };
        let pin = Pin::parse(&pin.lines().collect::<Vec<_>>().join("\n"), general)?;
        let priority = stanza.value("Pin-Priority").map(|field| field.lines().collect::<String>()).unwrap_or_default();
        let record = Record { pin, priority: parse_priority(priority.trim(), general)? };
        if general {
            self.general.push(record);
            return Ok(());
        }
        for word in &packages {
            let name = PackageName::parse(word)?;
            self.specific.push(SpecificRecord { name, record: record.clone() });
        }
        Ok(())
    }

    /// Puts a target release first (`APT::Default-Release`): "this has precedence over any general priority".
    ///
    /// # Errors
    /// Says what is not understood.
    pub(crate) fn set_target_release(&mut self, release: &str) -> Result<(), String> {
        let pin = Pin::release(release)?;
        self.general.insert(0, Record { pin, priority: 990 });
        Ok(())
    }

    /// Records of the general form, in order.
    pub(crate) fn general(&self) -> &[Record] {
        &self.general
    }

    /// Whether nothing is pinned.
    pub(crate) fn is_empty(&self) -> bool {
        self.general.is_empty() && self.specific.is_empty()
    }

    /// The records for a package, in order.
    pub(crate) fn of_package<'a>(&'a self, package: PinnedPackage<'a>) -> impl Iterator<Item = &'a Record> {
        self.specific.iter().filter(move |specific| specific.name.matches(package)).map(|specific| &specific.record)
    }
}

/// A priority, or `never`, which only the general form may have. As strtol(3) reads it: what follows the digits is ignored.
fn parse_priority(text: &str, general: bool) -> Result<i32, String> {
    if text == "never" {
        return if general { Ok(NEVER) } else { Err("the priority never is for Package: * alone".to_owned()) };
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let digits = unsigned.len() - unsigned.trim_start_matches(|character: char| character.is_ascii_digit()).len();
    let number = text.get(..text.len() - unsigned.len() + digits).unwrap_or_default();
    match number.parse::<i64>() {
        Ok(0) => Err("the priority is zero".to_owned()),
        // Next to the one that means never.
        Ok(priority) if priority == i64::from(NEVER) => Ok(NEVER + 1),
        Ok(priority) => match i16::try_from(priority) {
            Ok(priority) => Ok(i32::from(priority)),
            Err(_) => Err(format!("the priority {priority} is out of range")),
        },
        Err(_) => Err(format!("the priority {} is not a number", excerpt(text))),
    }
}

impl PackageName {
    fn parse(word: &str) -> Result<Self, String> {
        let (of_source, word) = word.strip_prefix("src:").map_or((false, word), |rest| (true, rest));
        let (name, architecture) = word.rsplit_once(':').unwrap_or((word, ""));
        let expression = is_expression(name);
        let text = name.to_owned();
        let name = if expression { Name::Expression(text, Expression::compile(name)?) } else { Name::Exact(text) };
        Ok(Self { of_source, architecture: architecture.to_owned(), name })
    }

    fn matches(&self, package: PinnedPackage<'_>) -> bool {
        let wanted = if self.architecture.is_empty() { package.native_architecture } else { &self.architecture };
        if !architecture_matches(wanted, package.architecture) {
            return false;
        }
        let name = if self.of_source { package.source } else { package.name };
        match &self.name {
            Name::Exact(exact) => exact == name,
            Name::Expression(text, expression) => text != name && expression.matches(name),
        }
    }
}

/// Whether an architecture is one that a specification names: by name, `any`, or one of dpkg's wildcards such as
/// `linux-any` and `any-amd64` (Debian Policy 11.1). Names without a hyphen are of Linux.
fn architecture_matches(wanted: &str, architecture: &str) -> bool {
    if wanted == architecture || wanted == "any" {
        return true;
    }
    let (kernel, machine) = architecture.split_once('-').unwrap_or(("linux", architecture));
    match wanted.split_once('-') {
        Some(("any", wanted)) => wanted == machine || wanted == "any",
        Some((wanted, "any")) => wanted == kernel,
        Some((wanted_kernel, wanted)) => wanted_kernel == kernel && wanted == machine,
        None => false,
    }
}

#[cfg(test)]
mod tests;
