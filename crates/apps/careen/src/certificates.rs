//! Where the certificate of the listeners comes from: files, which are read again when they change, or the server's own
//! authority, whose certificates are renewed in time.

use std::{
    io::Read,
    net::{IpAddr, SocketAddr, UdpSocket},
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context, Result};
use api::{Certificate, ShownCertificate};
use control::{Server, readiness::Finding};
use identifiers::Timestamp;
use tokio::sync::watch;

use crate::configuration::{Configuration, TlsSource};

/// How often files and dates are looked at.
const LOOK: Duration = Duration::from_secs(2);
/// A certificate of the own authority is renewed so long before its end, in seconds: a third of its life.
const RENEW_BEFORE_SECONDS: i64 = 10 * 24 * 60 * 60;
/// More is no certificate, in bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// The name of this check in `/readyz`.
const CHECK: &str = "certificate";

/// Shows a certificate and looks after it.
pub(crate) struct CertificateKeeper {
    server: Arc<Server>,
    source: TlsSource,
    names: Vec<String>,
    authority_file: PathBuf,
    shown: ShownCertificate,
    /// What the shown certificate was made from, and the last that could not be shown.
    made_from: Made,
    broken: Option<Made>,
    /// What stands in `DIR/ca.pem`.
    published: String,
}

/// What a certificate was made from; another one is made when this is no longer the case.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Made {
    /// The SHA-256 of both files.
    Files(String),
    /// By the authority with this certificate.
    Authority { authority: Vec<u8>, renew_at: Timestamp },
}

impl CertificateKeeper {
    /// Finds the first certificate. A server that cannot have one does not start.
    pub(crate) fn open(server: &Arc<Server>, configuration: &Configuration) -> Result<Option<Self>> {
        let Some(source) = configuration.tls.clone() else { return Ok(None) };
        let addresses = configuration.listeners.iter().map(|(address, _)| *address);
        let names = names(&configuration.settings.tls_name, addresses);
        let authority_file = configuration.data.join("ca.pem");
        let (certificate, made_from) = make(server, &source, &names)?;
        let mut keeper = Self {
            server: Arc::clone(server),
            source,
            names,
            authority_file,
            shown: ShownCertificate::new(certificate),
            made_from,
            broken: None,
            published: String::new(),
        };
        keeper.publish_authority()?;
        keeper.report_good();
        Ok(Some(keeper))
    }

    /// What the listeners show.
    pub(crate) fn shown(&self) -> ShownCertificate {
        self.shown.clone()
    }

    /// Looks after it until `stopped`.
    pub(crate) async fn look_after(mut self, mut stopped: watch::Receiver<bool>) -> Result<()> {
        loop {
            tokio::select! {
                _ = stopped.wait_for(|stop| *stop) => return Ok(()),
                () = tokio::time::sleep(LOOK) => {}
            }
            self = tokio::task::spawn_blocking(move || {
                self.look();
                self
            })
            .await?;
        }
    }

    fn look(&mut self) {
        match self.exchanged() {
            Ok(false) => {}
            Ok(true) => {
                tracing::info!("another certificate is shown from now on");
                self.report_good();
            }
            Err(error) => {
                tracing::error!("the certificate is not exchanged, the old one is still shown: {error:#}");
                let text = "the new certificate cannot be used, the old one is still shown; the server's log says why";
                self.server.readiness.report(CHECK, Finding::Warning(text.to_owned()));
            }
        }
    }

    /// Whether another certificate is shown now. The same broken files are complained of once.
    fn exchanged(&mut self) -> Result<bool> {
        if self.is_current() {
            if self.broken.take().is_some() {
                self.report_good();
            }
            return Ok(false);
        }
        let present = present(&self.source);
        if present.is_some() && present == self.broken {
            return Ok(false);
        }
        match make(&self.server, &self.source, &self.names) {
            Ok((certificate, made_from)) => {
                self.shown.exchange(certificate);
                (self.made_from, self.broken) = (made_from, None);
                self.publish_authority()?;
                Ok(true)
            }
            Err(error) => {
                let again = present.is_none() && self.broken.is_some();
                self.broken = present.or(Some(Made::Files(String::new())));
                if again { Ok(false) } else { Err(error) }
            }
        }
    }

    fn is_current(&self) -> bool {
        match &self.made_from {
            Made::Files(_) => present(&self.source).is_some_and(|now| now == self.made_from),
            Made::Authority { authority, renew_at } => {
                self.server.now() < *renew_at
                    && authority == self.server.keys.ring().authority.current.certificate()
                    && self.published == self.server.keys.authority_pem()
            }
        }
    }

    /// `DIR/ca.pem`, for clients of the API on this machine.
    fn publish_authority(&mut self) -> Result<()> {
        if self.source == TlsSource::Authority {
            self.published = self.server.keys.authority_pem();
            write_public(&self.authority_file, &self.published)?;
        }
        Ok(())
    }

    fn report_good(&self) {
        let text = match self.source {
            TlsSource::Files { .. } => "the one of the files is shown",
            TlsSource::Authority => "one of the server's own authority is shown",
        };
        self.server.readiness.report(CHECK, Finding::Good(text.to_owned()));
    }
}

/// Writes a file that everybody may read, whole or not at all; one that already says so is left alone.
fn write_public(path: &Path, text: &str) -> Result<()> {
    if std::fs::read_to_string(path).is_ok_and(|found| found == text) {
        return Ok(());
    }
    let fresh = path.with_extension("new");
    let written = std::fs::write(&fresh, text).and_then(|()| std::fs::rename(&fresh, path));
    written.with_context(|| format!("{} cannot be written", path.display()))
}

fn make(server: &Arc<Server>, source: &TlsSource, names: &[String]) -> Result<(Certificate, Made)> {
    match source {
        TlsSource::Files { certificate, key } => {
            let [chain, private_key] = [read(certificate)?, read(key)?];
            let shown = [certificate, key].map(|path| path.display().to_string());
            let made = Certificate::from_pem(&chain, &private_key, [&shown[0], &shown[1]])?;
            Ok((made, Made::Files(digest(&chain, &private_key))))
        }
        TlsSource::Authority => {
            let authority = &server.keys.ring().authority.current;
            let issued = authority.issue(names, server.now()).context("no certificate could be made")?;
            let renew_at = issued.valid_until.plus_seconds(-RENEW_BEFORE_SECONDS);
            let made = Made::Authority { authority: authority.certificate().to_vec(), renew_at };
            let chain = vec![issued.certificate, authority.certificate().to_vec()];
            Ok((Certificate::from_der(chain, issued.private_key)?, made))
        }
    }
}

/// What `careen doctor` sees of it; nothing is made.
pub(crate) fn found(configuration: &Configuration) -> diagnosis::Certificate {
    let loopback = |address: &SocketAddr| address.ip().to_canonical().is_loopback();
    match &configuration.tls {
        None => diagnosis::Certificate::Plaintext {
            off_loopback: !configuration.listeners.iter().all(|(address, _)| loopback(address)),
        },
        Some(TlsSource::Authority) => diagnosis::Certificate::Own,
        Some(TlsSource::Files { certificate, key }) => {
            let shown = [certificate, key].map(|path| path.display().to_string());
            let made = read(certificate)
                .and_then(|chain| Ok(Certificate::from_pem(&chain, &read(key)?, [&shown[0], &shown[1]])?));
            match made {
                Err(error) => {
                    diagnosis::Certificate::Files { wrong: Some(format!("{error:#}")), uncovered: Vec::new() }
                }
                Ok(made) => {
                    let names = configuration.settings.tls_name.iter();
                    let uncovered = names.filter(|name| !made.covers(name)).cloned().collect();
                    diagnosis::Certificate::Files { wrong: None, uncovered }
                }
            }
        }
    }
}

/// What the files hold now; `None`: it cannot be read, or there are no files.
fn present(source: &TlsSource) -> Option<Made> {
    let TlsSource::Files { certificate, key } = source else { return None };
    Some(Made::Files(digest(&read(certificate).ok()?, &read(key).ok()?)))
}

fn digest(chain: &[u8], key: &[u8]) -> String {
    format!("{} {}", identity::sha256_hex(chain), identity::sha256_hex(key))
}

/// Whatever a name leads to now, so that files may be replaced, renamed over, or be links that change (as in Kubernetes).
fn read(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_end(&mut bytes));
    read.with_context(|| format!("{} cannot be read", path.display()))?;
    Ok(bytes)
}

/// By what a certificate of the own authority says that this server is called: the given names, the host's own, and the
/// addresses listened on.
fn names(given: &[String], addresses: impl Iterator<Item = SocketAddr>) -> Vec<String> {
    let mut names = given.to_vec();
    names.push("localhost".to_owned());
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let dns = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
    names.extend(Some(host.trim().to_owned()).filter(|name| dns(name)));
    for address in addresses {
        match address.ip() {
            ip if ip.is_unspecified() => {
                let loopback: [IpAddr; 2] = [[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()];
                let own = ["0.0.0.0:0", "[::]:0"].into_iter().filter_map(own_address);
                names.extend(loopback.into_iter().chain(own).map(|ip| ip.to_string()));
            }
            ip => names.push(ip.to_canonical().to_string()),
        }
    }
    names.sort_unstable();
    names.dedup();
    names
}

/// The address that this machine would call from. Nothing is sent: a datagram socket only looks for its route.
fn own_address(any: &str) -> Option<IpAddr> {
    /// Addresses for documentation (RFC 5737, RFC 3849): the default route leads there.
    const ELSEWHERE: [&str; 2] = ["192.0.2.1:9", "[2001:db8::1]:9"];
    let socket = UdpSocket::bind(any).ok()?;
    ELSEWHERE.iter().find_map(|elsewhere| socket.connect(elsewhere).ok())?;
    Some(socket.local_addr().ok()?.ip().to_canonical())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_names_what_was_given_the_host_and_the_addresses() {
        let addresses = ["10.0.0.5:8470", "[2001:db8::7]:1", "10.0.0.5:2"].map(|text| text.parse().unwrap());
        let names = names(&["careen.example".to_owned()], addresses.into_iter());
        for wanted in ["careen.example", "localhost", "10.0.0.5", "2001:db8::7"] {
            assert_eq!(names.iter().filter(|name| *name == wanted).count(), 1, "{names:?}");
        }
        let everywhere = super::names(&[], ["0.0.0.0:1".parse().unwrap()].into_iter());
        assert!(everywhere.contains(&"127.0.0.1".to_owned()) && !everywhere.contains(&"0.0.0.0".to_owned()));
    }
}
