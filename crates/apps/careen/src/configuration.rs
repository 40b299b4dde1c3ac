//! One typed configuration: flags over environment over `DIR/careen.toml` over defaults.

use std::{
    net::{IpAddr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use clap::Args;
use identifiers::{AccountId, Region, Scope};
use serde::Deserialize;

const LISTEN_DEFAULT: &str = "127.0.0.1:8470";

/// The flags of `careen server`.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ServerOptions {
    /// The folder for everything the server keeps [default: /var/lib/careen as root, else the user's data folder]
    #[arg(long, value_name = "DIR", env = "CAREEN_DATA")]
    pub(crate) data: Option<PathBuf>,
    /// Where to listen [default: 127.0.0.1:8470]
    #[arg(long, value_name = "ADDR", env = "CAREEN_LISTEN")]
    pub(crate) listen: Option<SocketAddr>,
    /// A database other than the embedded one: postgres://USER@HOST/NAME
    #[arg(long, value_name = "URL", env = "CAREEN_DATABASE", hide_env_values = true)]
    pub(crate) database: Option<String>,
    /// The account of the administrator's key [default: 000000000000]
    #[arg(long, value_name = "ID", env = "CAREEN_ACCOUNT")]
    pub(crate) account: Option<String>,
    /// The region written to the credentials file and shown in the console [default: us-east-1]
    #[arg(long, value_name = "NAME", env = "CAREEN_REGION")]
    pub(crate) region: Option<String>,
    /// The key that secrets in the database are encrypted with [default: DIR/key]
    #[arg(long, value_name = "F", env = "CAREEN_KEY_FILE")]
    pub(crate) key_file: Option<PathBuf>,
    /// A file with the token that grants /metrics to callers that are not on loopback
    #[arg(long, value_name = "F", env = "CAREEN_METRICS_TOKEN_FILE")]
    pub(crate) metrics_token_file: Option<PathBuf>,
    /// Listen off loopback although there is no TLS yet: only for networks where everyone may read everything
    #[arg(long, env = "CAREEN_ALLOW_PLAINTEXT")]
    pub(crate) allow_plaintext: bool,
}

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
struct FileSettings {
    listen: Option<SocketAddr>,
    database: Option<String>,
    account: Option<String>,
    region: Option<String>,
    key_file: Option<PathBuf>,
    metrics_token_file: Option<PathBuf>,
    allow_plaintext: Option<bool>,
}

/// What the server is started with, everything filled in.
#[derive(Debug, Clone)]
pub(crate) struct Configuration {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) database: String,
    pub(crate) home: Scope,
    pub(crate) key_file: PathBuf,
    pub(crate) metrics_token: Option<String>,
}

impl Configuration {
    /// Reads the file and puts flags and environment over it.
    pub(crate) fn read(options: &ServerOptions) -> Result<Self> {
        let data = data_folder(options.data.as_deref())?;
        let path = data.join("careen.toml");
        let file: FileSettings = match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).with_context(|| format!("{} cannot be understood", path.display()))?,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => FileSettings::default(),
            Err(error) => return Err(error).with_context(|| format!("{} cannot be read", path.display())),
        };
        let listen = options.listen.or(file.listen).map_or_else(|| LISTEN_DEFAULT.parse(), Ok)?;
        if !is_loopback(listen.ip()) && !options.allow_plaintext && file.allow_plaintext != Some(true) {
            bail!(
                "{listen} is not on loopback, and this version has no TLS: keys, commands and outputs would be readable on \
                 the way. Listen on 127.0.0.1, or give --allow-plaintext if that is what you want"
            );
        }
        let account = options.account.clone().or(file.account).unwrap_or_else(|| "000000000000".to_owned());
        let region = options.region.clone().or(file.region).unwrap_or_else(|| "us-east-1".to_owned());
        if let Some(given) = options.database.as_deref()
            && std::env::args().any(|argument| argument.contains(given))
            && given.split_once("://").is_some_and(|(_, rest)| {
                rest.split('@').next().is_some_and(|user| user.contains(':') && rest.contains('@'))
            })
        {
            bail!(
                "the password in --database can be read by everybody on this machine; give the address in CAREEN_DATABASE or \
                 in {}, or the password in ~/.pgpass",
                path.display()
            );
        }
        let database = options.database.clone().or(file.database);
        let token_file = options.metrics_token_file.clone().or(file.metrics_token_file);
        Ok(Self {
            listen,
            database: database.unwrap_or_else(|| format!("sqlite:{}", data.join("careen.db").display())),
            home: Scope { account: AccountId::parse(&account)?, region: Region::parse(&region)? },
            key_file: options.key_file.clone().or(file.key_file).unwrap_or_else(|| data.join("key")),
            metrics_token: token_file.map(|path| read_token(&path)).transpose()?,
            data,
        })
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
