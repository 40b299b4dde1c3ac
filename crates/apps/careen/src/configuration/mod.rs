//! One typed configuration: flags over environment over `DIR/careen.toml` over defaults.
//!
//! [`table`] declares the settings, [`value`] reads and shows values, [`sources`] finds who gave them. Here is what
//! follows from several of them together.

mod show;
mod sources;
mod table;
mod value;

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result, bail};
use api::Purposes;
use clap::Args;
use control::reconcilers::Retention;
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

/// Where the certificate of the listeners comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TlsSource {
    /// Somebody else's, in files.
    Files {
        /// The certificate and its chain.
        certificate: PathBuf,
        /// Its private key.
        key: PathBuf,
    },
    /// The server's own authority.
    Authority,
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
    /// Each address to listen on, with who is served there.
    pub(crate) listeners: Vec<(SocketAddr, Purposes)>,
    /// Where the certificate comes from; `None`: plaintext.
    pub(crate) tls: Option<TlsSource>,
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
        let listeners = listeners(&settings);
        let tls = tls(&settings, &listeners)?;
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
            listeners,
            tls,
            data,
            settings,
            resolved,
        })
    }

    /// The address that callers of the API (and agents, and people, unless they have their own) use from this machine.
    pub(crate) fn url(&self, wanted: impl Fn(&Purposes) -> bool) -> String {
        let found = self.listeners.iter().find(|(_, purposes)| wanted(purposes));
        let mut address = found.map_or(self.settings.listen, |(address, _)| *address);
        if address.ip().is_unspecified() {
            address.set_ip(Ipv4Addr::LOCALHOST.into());
        }
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{address}")
    }

    /// The line that makes clients of the AWS API trust the server's own authority; `None`: they need none.
    pub(crate) fn trust_line(&self) -> Option<String> {
        let own = self.tls == Some(TlsSource::Authority);
        own.then(|| format!("export AWS_CA_BUNDLE={}", self.data.join("ca.pem").display()))
    }
}

/// Each address with who is served there.
fn listeners(settings: &Settings) -> Vec<(SocketAddr, Purposes)> {
    let addresses = [settings.listen_api, settings.listen_agents, settings.listen_console];
    let [api, agents, console] = addresses.map(|address| address.unwrap_or(settings.listen));
    let mut all = Vec::new();
    for address in [api, agents, console] {
        if !all.contains(&address) {
            all.push(address);
        }
    }
    let purposes = |at: SocketAddr| Purposes { api: at == api, agents: at == agents, console: at == console };
    all.into_iter().map(|at| (at, purposes(at))).collect()
}

/// Where the certificate comes from; `None`: plaintext.
fn tls(settings: &Settings, listeners: &[(SocketAddr, Purposes)]) -> Result<Option<TlsSource>> {
    let elsewhere = listeners.iter().any(|(address, _)| !is_loopback(address.ip()));
    let given = match (settings.tls_certificate.clone(), settings.tls_key.clone()) {
        (Some(certificate), Some(key)) => Some(TlsSource::Files { certificate, key }),
        (None, None) => None,
        _ => bail!("--tls-certificate and --tls-key go together; give both or neither"),
    };
    if settings.allow_plaintext && (given.is_some() || settings.tls) {
        bail!("--allow-plaintext says that no TLS is spoken; leave it out, or --tls, --tls-certificate and --tls-key");
    }
    if let Some(bad) = settings.tls_name.iter().find(|name| !is_name(name)) {
        bail!(
            "{bad:?} in --tls-name is neither a DNS name nor an address; give it without a scheme and without a port"
        );
    }
    Ok(given.or((settings.tls || (elsewhere && !settings.allow_plaintext)).then_some(TlsSource::Authority)))
}

fn is_name(name: &str) -> bool {
    let dns = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
    name.parse::<IpAddr>().is_ok() || (!name.is_empty() && name.len() <= 253 && name.bytes().all(dns))
}

impl Settings {
    /// How long records are kept.
    pub(crate) fn retention(&self) -> Retention {
        Retention {
            commands: self.retention_commands,
            patch_history: self.retention_patch_history,
            package_history: self.retention_package_history,
            events: self.retention_events,
            deregistered_nodes: self.retention_deregistered_nodes,
            audit: self.retention_audit,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Result<Configuration> {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            options: ServerOptions,
        }
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().display().to_string();
        let line = [&["careen", "--data", &data], arguments].concat();
        Configuration::read(&<Line as clap::Parser>::parse_from(line).options)
    }

    #[test]
    fn off_loopback_tls_is_spoken_unless_plaintext_is_allowed() {
        let tls = |arguments: &[&str]| read(arguments).unwrap().tls;
        let files = ["--tls-certificate", "c", "--tls-key", "k"];
        let from_files = Some(TlsSource::Files { certificate: "c".into(), key: "k".into() });
        assert_eq!(tls(&[]), None);
        assert_eq!(tls(&["--tls"]), Some(TlsSource::Authority));
        assert_eq!(tls(&files), from_files);
        assert_eq!(tls(&["--listen", "10.0.0.5:1"]), Some(TlsSource::Authority));
        assert_eq!(tls(&["--listen-agents", "0.0.0.0:1"]), Some(TlsSource::Authority));
        assert_eq!(tls(&["--listen", "10.0.0.5:1", "--allow-plaintext"]), None);
        let refused = |arguments: &[&str]| read(arguments).unwrap_err().to_string();
        assert!(refused(&["--tls-key", "k"]).contains("go together"));
        assert!(refused(&["--allow-plaintext", "--tls"]).contains("leave it out"));
        assert!(refused(&["--tls-name", "https://a"]).contains("without a scheme"));
    }

    #[test]
    fn each_address_serves_who_was_sent_there() {
        let configuration = read(&["--listen-agents", "127.0.0.1:2", "--listen-console", "127.0.0.1:2"]).unwrap();
        let (here, there) = (Purposes { api: true, ..Purposes::default() }, Purposes { api: false, ..Purposes::ALL });
        let expected = [("127.0.0.1:8470", here), ("127.0.0.1:2", there)];
        assert_eq!(configuration.listeners, expected.map(|(text, purposes)| (text.parse().unwrap(), purposes)));
        assert_eq!(configuration.url(|purposes| purposes.console), "http://127.0.0.1:2");
        let one = read(&[]).unwrap();
        assert_eq!(one.listeners, [("127.0.0.1:8470".parse().unwrap(), Purposes::ALL)]);
    }
}
