//! One typed configuration: flags over environment over `DIR/careen.toml` over defaults.
//!
//! [`table`] declares the settings, [`value`] reads and shows values, [`sources`] finds who gave them. Here is what
//! follows from several of them together.

mod show;
mod sources;
mod table;
mod value;

use std::{
    net::IpAddr,
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use identifiers::Scope;
use identity::Secret;

pub(crate) use show::{ConfigurationAnswer, show};
pub(crate) use table::Settings;

use sources::{GivenSettings, Resolved, Sources};

/// The flags of everything that needs the whole configuration.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerOptions {
    /// The folder for everything the server keeps [default: /var/lib/careen as root, else the user's data folder]
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    pub(crate) data: Option<PathBuf>,
    #[command(flatten)]
    settings: GivenSettings,
}

/// What the server is started with, everything filled in.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    /// The folder for everything the server keeps.
    pub(crate) data: PathBuf,
    /// Every setting.
    pub(crate) settings: Settings,
    /// The account and region of the administrator's key.
    pub(crate) home: Scope,
    /// The token that grants /metrics.
    pub(crate) metrics_token: Option<String>,
    /// The administrator's key, if it comes from outside.
    pub(crate) root_key: Option<(String, Secret)>,
    resolved: Vec<Resolved>,
}

impl Configuration {
    /// Reads the file and puts flags and environment over it.
    ///
    /// # Errors
    /// When a value cannot be read, or some do not go together; it says which and where it was given.
    pub(crate) fn read(options: &ServerOptions) -> Result<Self> {
        let data = data_folder(options.data.as_deref())?;
        let sources = Sources::read(&data, &options.settings)?;
        let (settings, resolved) = Settings::resolve(&sources)?;
        let listen = settings.listen;
        if !is_loopback(listen.ip()) && !settings.allow_plaintext {
            bail!(
                "{listen} is not on loopback, and this version has no TLS: keys, commands and outputs would be readable on \
                 the way. Listen on 127.0.0.1, or give --allow-plaintext if that is what you want"
            );
        }
        if sources.is_flag("database") && sources.text("database").is_some_and(holds_password) {
            bail!(
                "the password in --database can be read by everybody on this machine; give the address in CAREEN_DATABASE or \
                 in {}, or the password in ~/.pgpass",
                data.join("careen.toml").display()
            );
        }
        Ok(Self {
            home: Scope { account: settings.account.clone(), region: settings.region.clone() },
            metrics_token: settings.metrics_token_file.as_deref().map(read_token).transpose()?,
            root_key: root_key(&settings)?,
            data,
            settings,
            resolved,
        })
    }
}

/// Where things are kept, for those who look after them while no server runs.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// The folder for everything the server keeps.
    pub(crate) data: PathBuf,
    /// Every setting.
    pub(crate) settings: Settings,
}

impl Stored {
    /// Reads the settings without asking whether a server could start with them.
    ///
    /// # Errors
    /// When a value cannot be read; it says which and where it was given.
    pub(crate) fn read(options: &ServerOptions) -> Result<Self> {
        let data = data_folder(options.data.as_deref())?;
        let (settings, _) = Settings::resolve(&Sources::read(&data, &options.settings)?)?;
        Ok(Self { data, settings })
    }

    /// The account and region of the administrator's key.
    pub(crate) fn home(&self) -> Scope {
        Scope { account: self.settings.account.clone(), region: self.settings.region.clone() }
    }
}

fn holds_password(url: &str) -> bool {
    let user = url.split_once("://").and_then(|(_, rest)| rest.split_once('@')).map(|(user, _)| user);
    user.is_some_and(|user| user.contains(':'))
}

/// The administrator's key from the environment, both halves or none.
fn root_key(settings: &Settings) -> Result<Option<(String, Secret)>> {
    match (settings.root_access_key_id.clone(), settings.root_secret_access_key.clone()) {
        (Some(id), Some(secret)) => Ok(Some((id, secret))),
        (None, None) => Ok(None),
        _ => {
            bail!("CAREEN_ROOT_ACCESS_KEY_ID and CAREEN_ROOT_SECRET_ACCESS_KEY go together; set both or neither")
        }
    }
}

fn is_loopback(address: IpAddr) -> bool {
    address.to_canonical().is_loopback()
}

fn read_token(path: &Path) -> Result<String> {
    let text = std::fs::read_to_string(path).with_context(|| format!("{} cannot be read", path.display()))?;
    match text.trim() {
        "" => bail!("{} is empty; write a token into it", path.display()),
        token => Ok(token.to_owned()),
    }
}

/// The folder for everything: as given, else `/var/lib/careen` for root, else the user's data folder
/// (XDG Base Directory Specification).
pub(crate) fn data_folder(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(given) = given {
        return Ok(std::path::absolute(given)?);
    }
    if is_root() {
        return Ok(PathBuf::from("/var/lib/careen"));
    }
    let from_environment = |name: &str| std::env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    from_environment("XDG_DATA_HOME")
        .or_else(|| from_environment("HOME").map(|home| home.join(".local/share")))
        .map(|base| base.join("careen"))
        .context("there is no home folder to keep data in; give --data DIR")
}

/// Whether this process may do everything.
pub(crate) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}
