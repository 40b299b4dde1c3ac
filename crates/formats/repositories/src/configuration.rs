//! apt's settings: apt.conf(5).

use crate::Warning;
use crate::folder::is_read_by_apt;
use crate::sources::boolean;
use crate::warning::{FileWarnings, excerpt};

/// The largest file of settings that is read, in bytes.
const FILE_BYTES_MAX: usize = 1 << 20;
/// The deepest nesting of braces.
const DEPTH_MAX: usize = 32;

/// Which phased updates this host takes (apt_preferences(5), "Phased Updates"). `None`: not set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PhasedUpdates {
    /// `APT::Get::Always-Include-Phased-Updates`
    pub always: Option<bool>,
    /// `Update-Manager::Always-Include-Phased-Updates`, which counts where apt's own setting is absent.
    pub manager_always: Option<bool>,
    /// `APT::Get::Never-Include-Phased-Updates`
    pub never: Option<bool>,
    /// `Update-Manager::Never-Include-Phased-Updates`, which counts where apt's own setting is absent.
    pub manager_never: Option<bool>,
}

impl PhasedUpdates {
    /// Whether all of them are taken: asked before [`Self::is_never`].
    #[must_use]
    pub fn is_always(&self) -> bool {
        self.always.or(self.manager_always) == Some(true)
    }

    /// Whether none is taken before it is complete. If neither holds, the machine's lot decides.
    #[must_use]
    pub fn is_never(&self) -> bool {
        self.never.or(self.manager_never) == Some(true)
    }
}

/// apt's settings that bear on which version it chooses.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Configuration {
    /// `APT::Architecture`. Empty: the architecture of the installed package `dpkg`.
    pub native_architecture: String,
    /// The other architectures of `APT::Architectures`, or of `/var/lib/dpkg/arch`.
    pub foreign_architectures: Vec<String>,
    /// `APT::Default-Release`; empty where it is not set.
    pub default_release: String,
    /// Which phased updates this host takes.
    pub phased_updates: PhasedUpdates,
    /// Whether phasing lowers the priority (`APT::Get::Phase-Policy`) instead of holding packages back at the end.
    pub phase_policy: bool,
    /// `APT::Machine-ID`, else the first line of `/etc/machine-id`. Empty: every phased update is taken, as apt does.
    /// Leave it empty in a chroot (ischroot(1)) or with `SOURCE_DATE_EPOCH` set, again as apt does.
    pub machine_id: String,
    /// `Acquire::URIEncode`: the characters that apt percent-encodes in suites. `None`: apt's own default.
    pub uri_encode: Option<String>,
}

impl Configuration {
    /// All architectures, the native one first.
    #[must_use]
    pub fn architectures(&self) -> Vec<String> {
        let native = Some(&self.native_architecture).filter(|native| !native.is_empty());
        let foreign = self.foreign_architectures.iter().filter(|foreign| **foreign != self.native_architecture);
        native.into_iter().chain(foreign).cloned().collect()
    }

    /// Reads one file of apt.conf(5): `/etc/apt/apt.conf.d/*` in alphabetical order, then `/etc/apt/apt.conf`. A later
    /// setting overrules an earlier one. Files that apt does not read for their name's sake are ignored, and so are the
    /// settings that do not matter here. `#include` and `#clear` are not followed, and give a warning.
    pub fn read_apt_conf(&mut self, name: &str, file: &[u8]) -> Vec<Warning> {
        let mut warnings = FileWarnings::of(name);
        if !is_read_by_apt(name, &["conf"], true) {
            return Vec::new();
        }
        if file.len() > FILE_BYTES_MAX {
            warnings.file(format!("it is larger than {FILE_BYTES_MAX} bytes and was not read"));
            return warnings.finish();
        }
        let text = String::from_utf8_lossy(file);
        let mut tokens = Tokens { rest: &text, line: 1 };
        let mut parser = Parser { scopes: Vec::new(), words: Vec::new() };
        while let Some(token) = tokens.next() {
            let result = match token {
                Token::Directive(directive) => Err(format!("{} is not followed", excerpt(directive))),
                token => parser.step(token, |path, value| self.set(path, value)),
            };
            if let Err(reason) = result {
                warnings.line(tokens.line, reason);
                if parser.scopes.len() >= DEPTH_MAX {
                    break;
                }
            }
        }
        warnings.finish()
    }

    /// Reads `/var/lib/dpkg/arch`: one architecture a line. It is there only on hosts that have added foreign ones.
    pub fn read_dpkg_architectures(&mut self, file: &[u8]) {
        for line in String::from_utf8_lossy(file).lines().take(100).map(str::trim) {
            self.add_architecture(line);
        }
    }

    fn add_architecture(&mut self, name: &str) {
        let sound = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        let known = self.foreign_architectures.iter().any(|known| known == name);
        if sound && !known && self.foreign_architectures.len() < 100 {
            self.foreign_architectures.push(name.to_owned());
        }
    }

    fn set(&mut self, path: &str, value: &str) {
        let setting = path.to_ascii_lowercase();
        match setting.as_str() {
            "apt::architecture" => value.clone_into(&mut self.native_architecture),
            "apt::default-release" => value.clone_into(&mut self.default_release),
            "apt::machine-id" => value.clone_into(&mut self.machine_id),
            "apt::get::phase-policy" => self.phase_policy = boolean(value) == Some(true),
            "acquire::uriencode" => self.uri_encode = Some(value.to_owned()),
            "apt::get::always-include-phased-updates" => self.phased_updates.always = boolean(value),
            "update-manager::always-include-phased-updates" => self.phased_updates.manager_always = boolean(value),
            "apt::get::never-include-phased-updates" => self.phased_updates.never = boolean(value),
            "update-manager::never-include-phased-updates" => self.phased_updates.manager_never = boolean(value),
            _ if setting.starts_with("apt::architectures::") => self.add_architecture(value),
            _ => {}
        }
    }
}

/// The marks and words of apt.conf(5).
enum Token<'a> {
    Open,
    Close,
    End,
    /// A word; quoted ones may be empty or have blanks.
    Word {
        text: &'a str,
        quoted: bool,
    },
    /// `#include`, `#clear` and the like.
    Directive(&'a str),
}

struct Tokens<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Tokens<'a> {
    fn take(&mut self, length: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at_checked(length).unwrap_or((self.rest, ""));
        self.line += taken.bytes().filter(|&byte| byte == b'\n').count();
        self.rest = rest;
        taken
    }

    fn line_end(&self) -> usize {
        self.rest.find('\n').unwrap_or(self.rest.len())
    }

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let blanks = self.rest.len() - self.rest.trim_start().len();
            self.take(blanks);
            let first = self.rest.chars().next()?;
            if self.rest.starts_with("//") {
                self.take(self.line_end());
                continue;
            }
            if let Some(after) = self.rest.strip_prefix("/*") {
                self.take(after.find("*/").map_or(self.rest.len(), |end| end + 4));
                continue;
            }
            return Some(match first {
                '#' => {
                    let line = self.take(self.line_end());
                    let word = line.split_ascii_whitespace().next().unwrap_or_default();
                    match ["#include", "#clear", "#x-apt-configure-index"].contains(&word) {
                        true => Token::Directive(line),
                        false => continue,
                    }
                }
                '{' | '}' | ';' => {
                    self.take(1);
                    match first {
                        '{' => Token::Open,
                        '}' => Token::Close,
                        _ => Token::End,
                    }
                }
                '"' => {
                    self.take(1);
                    let length = self.rest.find('"').unwrap_or(self.rest.len());
                    let text = self.take(length);
                    self.take(1);
                    Token::Word { text, quoted: true }
                }
                _ => {
                    let ends = |character: char| character.is_whitespace() || "{};\"".contains(character);
                    let text = self.take(self.rest.find(ends).unwrap_or(self.rest.len()));
                    Token::Word { text, quoted: false }
                }
            });
        }
    }
}

/// Where in the tree the parser stands, and the words of the statement that it is reading.
struct Parser<'a> {
    scopes: Vec<String>,
    words: Vec<(&'a str, bool)>,
}

impl<'a> Parser<'a> {
    fn step(&mut self, token: Token<'a>, mut set: impl FnMut(&str, &str)) -> Result<(), String> {
        match token {
            // A statement has a name and a value; some files of old have the name in two words.
            Token::Word { text, quoted } if self.words.len() < 8 => self.words.push((text, quoted)),
            Token::Word { .. } => return Err("a statement has too many words".to_owned()),
            Token::Open if self.scopes.len() >= DEPTH_MAX => {
                return Err(format!("braces are nested deeper than {DEPTH_MAX}; the rest is left out"));
            }
            Token::Open => {
                let name = self.words.first().map_or("", |(name, _)| *name);
                self.scopes.push(name.to_owned());
                self.words.clear();
            }
            Token::Close => {
                self.end(&mut set);
                self.words.clear();
                if self.scopes.pop().is_none() {
                    return Err("a brace is closed that was not opened".to_owned());
                }
            }
            Token::End => {
                self.end(&mut set);
                self.words.clear();
            }
            Token::Directive(_) => {}
        }
        Ok(())
    }

    fn end(&self, set: &mut impl FnMut(&str, &str)) {
        let scope = self.scopes.join("::");
        match self.words[..] {
            // A value without a name stands in a list.
            [(value, true)] => set(&format!("{scope}::"), value),
            [(name, _), .., (value, _)] if scope.is_empty() => set(name, value),
            [(name, _), .., (value, _)] => set(&format!("{scope}::{name}"), value),
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests;
