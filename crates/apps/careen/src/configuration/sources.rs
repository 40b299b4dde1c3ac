//! Where values come from: flags over environment over `DIR/careen.toml` over defaults.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::{Arg, ArgAction, ArgMatches, Args, Command, FromArgMatches, parser::ValueSource};
use serde::{Deserialize, Serialize};
use toml::de::{DeTable, DeValue};

use super::table::{DECLARATIONS, Declaration, Places};
use super::value::{Form, Setting};

/// A larger `careen.toml` is not read.
const FILE_BYTES_MAX: u64 = 1 << 20;

/// The place that gave a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A flag on the command line, e.g. `--listen`.
    Flag(String),
    /// An environment variable.
    Variable(String),
    /// A line of a file.
    Line(PathBuf, usize),
    /// Nobody said anything else.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(f, "flag {flag}"),
            Self::Variable(name) => write!(f, "environment {name}"),
            Self::Line(file, line) => write!(f, "{} line {line}", file.display()),
            Self::Default => f.write_str("default"),
        }
    }
}

/// One setting's value as it may be shown, and its place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Resolved {
    /// The setting.
    pub(crate) name: String,
    /// Its value; none where it is not set.
    pub(crate) shown: Option<String>,
    /// Who said so.
    pub(crate) source: Source,
}

/// The texts that each place gives.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    data: PathBuf,
    given: BTreeMap<&'static str, (Vec<String>, Source)>,
}

impl Sources {
    /// Nobody says anything.
    #[cfg(test)]
    pub(crate) fn none(data: PathBuf) -> Self {
        Self { data, ..Self::default() }
    }

    /// Puts flags and environment over the file.
    ///
    /// # Errors
    /// When the file cannot be read or has a setting that does not exist.
    pub(crate) fn read(data: &Path, options: &GivenSettings) -> Result<Self> {
        let mut given = read_file(&data.join("careen.toml"))?;
        for declaration in DECLARATIONS.iter().filter(|declaration| declaration.places == Places::Environment) {
            let variable = declaration.variable();
            if let Some(text) = std::env::var(&variable).ok().filter(|text| !text.is_empty()) {
                given.insert(declaration.name, (vec![text], Source::Variable(variable)));
            }
        }
        given.extend(options.0.clone());
        Ok(Self { data: data.to_owned(), given })
    }

    /// Whether a setting was given as a flag.
    pub(crate) fn is_flag(&self, name: &str) -> bool {
        matches!(self.given.get(name), Some((_, Source::Flag(_))))
    }

    /// The text of a setting, as it was given.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.given.get(name)?.0.first().map(String::as_str)
    }

    pub(super) fn resolve<T: Setting>(
        &self,
        declaration: Option<&'static Declaration>,
        all: &mut Vec<Resolved>,
    ) -> Result<T> {
        let declaration = declaration.context("the table of settings has ended")?;
        let default = || {
            let folder = self.data.display().to_string();
            let text = declaration.default.map(|text| text.replace("DIR", &folder));
            (text.into_iter().collect(), Source::Default)
        };
        let (texts, source) = self.given.get(declaration.name).cloned().unwrap_or_else(default);
        let value = T::read(&texts).with_context(|| format!("{} ({source})", declaration.name))?;
        all.push(Resolved { name: declaration.name.to_owned(), shown: value.show(), source });
        Ok(value)
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<&'static str, (Vec<String>, Source)>> {
    let text = match std::fs::metadata(path) {
        Ok(found) if found.len() > FILE_BYTES_MAX => bail!("{} is too large for settings", path.display()),
        Ok(_) => std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
    };
    parse_file(&text, path)
}

fn parse_file(text: &str, path: &Path) -> Result<BTreeMap<&'static str, (Vec<String>, Source)>> {
    // The parser's message would quote the line, which may hold a password; its place is enough.
    let line_at = |offset: usize| text.get(..offset).map_or(0, |before| before.matches('\n').count()) + 1;
    let table = DeTable::parse(text).map_err(|error| {
        let line = error.span().map_or(1, |span| line_at(span.start));
        anyhow::anyhow!("{} line {line} cannot be understood: {}", path.display(), error.message())
    })?;
    let mut given = BTreeMap::new();
    for (key, value) in table.get_ref() {
        let line = line_at(key.span().start);
        let known = DECLARATIONS.iter().filter(|declaration| declaration.places == Places::All);
        let Some(declaration) = known.clone().find(|declaration| declaration.name == key.get_ref().as_ref()) else {
            let names = known.map(|declaration| declaration.name).collect::<Vec<_>>().join(", ");
            bail!("{} line {line}: there is no setting {:?} here; there are {names}", path.display(), key.get_ref());
        };
        let texts = match (value.get_ref(), declaration.form) {
            (DeValue::Array(items), Form::Many) => items.iter().map(|item| plain(item.get_ref())).collect(),
            (value, _) => plain(value).map(|text| vec![text]),
        };
        let texts: Vec<String> = texts.with_context(|| {
            format!("{} line {line}: {} takes a text, a number, true or false", path.display(), declaration.name)
        })?;
        given.insert(declaration.name, (texts, Source::Line(path.to_owned(), line)));
    }
    Ok(given)
}

fn plain(value: &DeValue<'_>) -> Option<String> {
    match value {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) => Some(number.to_string()),
        DeValue::Boolean(flag) => Some(flag.to_string()),
        DeValue::Float(_) | DeValue::Datetime(_) | DeValue::Array(_) | DeValue::Table(_) => None,
    }
}

/// The settings that flags and environment give.
#[derive(Debug, Clone, Default)]
pub(crate) struct GivenSettings(BTreeMap<&'static str, (Vec<String>, Source)>);

fn argument(declaration: &'static Declaration) -> Arg {
    let help = match declaration.default.filter(|_| declaration.form != Form::Switch) {
        Some(default) => format!("{} [default: {default}]", declaration.help.trim()),
        None => declaration.help.trim().to_owned(),
    };
    let argument = Arg::new(declaration.name)
        .long(declaration.flag())
        .env(declaration.variable())
        .hide_env_values(true)
        .value_name(declaration.value_name)
        .help(help);
    match declaration.form {
        Form::One => argument.action(ArgAction::Set),
        Form::Many => argument.action(ArgAction::Append).value_delimiter(','),
        Form::Switch => {
            argument.action(ArgAction::Set).num_args(0..=1).require_equals(true).default_missing_value("true")
        }
    }
}

impl Args for GivenSettings {
    fn augment_args(command: Command) -> Command {
        let everywhere = DECLARATIONS.iter().filter(|declaration| declaration.places == Places::All);
        everywhere.fold(command, |command, declaration| command.arg(argument(declaration)))
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl FromArgMatches for GivenSettings {
    fn from_arg_matches(matches: &ArgMatches) -> Result<Self, clap::Error> {
        let mut given = Self::default();
        given.update_from_arg_matches(matches)?;
        Ok(given)
    }

    fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
        for declaration in DECLARATIONS.iter().filter(|declaration| declaration.places == Places::All) {
            let texts: Vec<String> =
                matches.get_many::<String>(declaration.name).unwrap_or_default().cloned().collect();
            let source = match matches.value_source(declaration.name) {
                Some(ValueSource::CommandLine) => Source::Flag(format!("--{}", declaration.flag())),
                // An empty variable is as good as none: compose files and units often leave them behind.
                Some(ValueSource::EnvVariable) if texts.iter().any(|text| !text.is_empty()) => {
                    Source::Variable(declaration.variable())
                }
                _ => continue,
            };
            self.0.insert(declaration.name, (texts, source));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::Settings;
    use super::*;

    fn options(arguments: &[&str]) -> GivenSettings {
        let command = GivenSettings::augment_args(Command::new("careen").no_binary_name(true));
        GivenSettings::from_arg_matches(&command.try_get_matches_from(arguments).unwrap()).unwrap()
    }

    #[test]
    fn a_flag_stands_over_the_file_and_the_file_over_the_default_and_each_says_where_it_stands() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("careen.toml");
        std::fs::write(&path, "# mine\nregion = \"eu-west-1\"\n\nallow_plaintext = true\nlisten = '[::1]:1'\n")
            .unwrap();
        let sources = Sources::read(folder.path(), &options(&["--listen", "127.0.0.1:2"])).unwrap();
        let (settings, resolved) = Settings::resolve(&sources).unwrap();
        assert_eq!((settings.listen.port(), settings.region.as_str()), (2, "eu-west-1"));
        assert!(settings.allow_plaintext);
        let source = |name: &str| resolved.iter().find(|one| one.name == name).unwrap().source.clone();
        assert_eq!(source("listen"), Source::Flag("--listen".to_owned()));
        assert_eq!(source("region"), Source::Line(path.clone(), 2));
        assert_eq!(source("allow_plaintext"), Source::Line(path, 4));
        assert_eq!(source("account"), Source::Default);
        let sources = Sources::read(folder.path(), &options(&["--allow-plaintext=false"])).unwrap();
        assert!(!Settings::resolve(&sources).unwrap().0.allow_plaintext, "what the file allows a flag can take back");
        let sources = Sources::read(folder.path(), &options(&["--allow-plaintext", "--region", "x"])).unwrap();
        assert!(Settings::resolve(&sources).unwrap().0.allow_plaintext);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place_and_no_password_is_repeated() {
        let path = Path::new("/srv/careen.toml");
        let refused = |text: &str| parse_file(text, path).unwrap_err().to_string();
        let unknown = refused("listen = '127.0.0.1:1'\nlisten_address = 'x'\n");
        assert!(unknown.contains("line 2") && unknown.contains("listen_address") && unknown.contains("key_file"));
        assert!(refused("root_secret_access_key = 'x'").contains("no setting"), "never in the file");
        assert!(refused("listen = 1.5").contains("line 1"));
        assert!(refused("listen = ['a', 'b']").contains("line 1"));
        let broken = refused("\ndatabase = postgres://careen:hush@host/x\n");
        assert!(broken.contains("line 2") && !broken.contains("hush"), "{broken}");
        let sources =
            Sources { data: "/srv".into(), given: parse_file("database = 'mysql://u:hush@h/x'", path).unwrap() };
        let refused = format!("{:#}", Settings::resolve(&sources).unwrap_err());
        assert!(refused.contains("/srv/careen.toml line 1") && !refused.contains("hush"), "{refused}");
        let sources = Sources { data: "/srv".into(), given: options(&["--listen", "somewhere"]).0 };
        let refused = format!("{:#}", Settings::resolve(&sources).unwrap_err());
        assert!(refused.contains("flag --listen") && refused.contains("somewhere"), "{refused}");
    }

    proptest::proptest! {
        #[test]
        fn no_file_makes_it_panic(text in "\\PC{0,200}|([a-z_]{1,12} ?= ?[\\['\"0-9a-z.:/\\]]{0,20}\n){0,5}") {
            let _ = parse_file(&text, Path::new("careen.toml"));
        }
    }
}
