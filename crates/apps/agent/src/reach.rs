//! How the server is reached: through which proxy, and whose certificates count where a balancer answers.

use crate::server_address::ServerAddress;
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::path::PathBuf;

/// What a registration was told of the way to the server. The environment of a run goes before it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Reach {
    /// A file with the authorities, in PEM, that count in place of the host's.
    #[serde(default)]
    pub ca_file: Option<PathBuf>,
    /// The proxy, as `http://[USER:PASSWORD@]HOST[:PORT]`.
    #[serde(default)]
    pub proxy: Option<Proxy>,
    /// Hosts that are called without the proxy, as in `NO_PROXY`.
    #[serde(default)]
    pub no_proxy: String,
}

/// An HTTP proxy that is asked for a tunnel (CONNECT, RFC 9110 section 9.3.6). Its `Debug` form shows no password.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Proxy {
    address: ServerAddress,
    /// `USER:PASSWORD` for Basic authentication (RFC 7617), decoded.
    credentials: Option<String>,
}

/// A text that is no proxy's address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a proxy's address; it looks like http://HOST:PORT or http://USER:PASSWORD@HOST:PORT")]
pub struct ProxyError;

impl Proxy {
    /// Reads an address. A proxy is spoken to over plaintext; what goes through it is TLS from end to end.
    ///
    /// # Errors
    /// When it is of another form. What was given is not repeated: it may hold a password.
    pub fn parse(text: &str) -> Result<Self, ProxyError> {
        let text = text.trim();
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("http") => rest,
            Some(_) => return Err(ProxyError),
            None => text,
        };
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(percent_decoded(credentials).ok_or(ProxyError)?), authority),
            None => (None, rest),
        };
        let address = ServerAddress::parse(&format!("http://{authority}")).map_err(|_| ProxyError)?;
        Ok(Self { address, credentials })
    }

    pub(crate) fn address(&self) -> &ServerAddress {
        &self.address
    }

    pub(crate) fn credentials(&self) -> Option<&str> {
        self.credentials.as_deref()
    }
}

impl std::fmt::Debug for Proxy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Proxy({})", self.address)
    }
}

impl TryFrom<String> for Proxy {
    type Error = ProxyError;
    fn try_from(text: String) -> Result<Self, ProxyError> {
        Self::parse(&text)
    }
}

impl From<Proxy> for String {
    fn from(proxy: Proxy) -> Self {
        match proxy.credentials {
            None => format!("http://{}", proxy.address.authority()),
            Some(credentials) => format!("http://{}@{}", percent_encoded(&credentials), proxy.address.authority()),
        }
    }
}

impl Reach {
    /// What the environment says of the way to a server: `HTTPS_PROXY` or `HTTP_PROXY`, by the server's scheme, and
    /// `NO_PROXY`, in capitals or not. An empty variable means that there is no proxy.
    ///
    /// # Errors
    /// When a variable holds no proxy's address; which one is said.
    pub fn over_environment(
        &self,
        server: &ServerAddress,
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Self, String> {
        let either = |name: &str| variable(name).or_else(|| variable(&name.to_ascii_lowercase()));
        let name = if server.is_tls() { "HTTPS_PROXY" } else { "HTTP_PROXY" };
        let proxy = match either(name) {
            None => self.proxy.clone(),
            Some(text) if text.trim().is_empty() => None,
            Some(text) => Some(Proxy::parse(&text).map_err(|e| format!("{name}: {e}"))?),
        };
        let no_proxy = either("NO_PROXY").unwrap_or_else(|| self.no_proxy.clone());
        Ok(Self { ca_file: self.ca_file.clone(), proxy, no_proxy })
    }

    /// The proxy for a server; this very host is never called through one.
    pub(crate) fn proxy_for(&self, server: &ServerAddress) -> Option<&Proxy> {
        let (host, _) = server.host_and_port();
        let direct = server.is_loopback() || self.no_proxy.split(',').any(|entry| excepts(entry.trim(), host));
        self.proxy.as_ref().filter(|_| !direct)
    }
}

/// Whether an entry of `NO_PROXY` excepts a host: `*`, a name with everything below it, an address, or a network
/// (`10.0.0.0/8`).
fn excepts(entry: &str, host: &str) -> bool {
    if entry == "*" {
        return true;
    }
    if let Ok(address) = host.parse::<IpAddr>() {
        return match entry.split_once('/') {
            None => entry.trim_matches(['[', ']']).parse() == Ok(address),
            Some((network, bits)) => match (network.parse::<IpAddr>(), bits.parse::<u32>()) {
                (Ok(network), Ok(bits)) => is_in(address, network, bits),
                _ => false,
            },
        };
    }
    let name = entry.trim_start_matches("*.").trim_start_matches('.').to_ascii_lowercase();
    let host = host.to_ascii_lowercase();
    !name.is_empty() && (host == name || host.strip_suffix(&name).is_some_and(|rest| rest.ends_with('.')))
}

fn is_in(address: IpAddr, network: IpAddr, bits: u32) -> bool {
    let same = |one: u128, other: u128, width: u32| {
        // A shift by the whole width would not be one.
        bits <= width && (bits == 0 || (one ^ other) >> (width - bits) == 0)
    };
    match (address, network) {
        (IpAddr::V4(one), IpAddr::V4(other)) => same(u128::from(one.to_bits()), u128::from(other.to_bits()), 32),
        (IpAddr::V6(one), IpAddr::V6(other)) => same(one.to_bits(), other.to_bits(), 128),
        _ => false,
    }
}

fn percent_decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::new();
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        bytes.push(match byte {
            b'%' => {
                let digit = |byte: Option<u8>| byte.and_then(|b| char::from(b).to_digit(16));
                let (high, low) = (digit(rest.next())?, digit(rest.next())?);
                u8::try_from(high * 16 + low).ok()?
            }
            other => other,
        });
    }
    let text = String::from_utf8(bytes).ok()?;
    // They would end the header that they travel in.
    Some(text).filter(|text| !text.chars().any(char::is_control))
}

fn percent_encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~:".contains(&byte);
    text.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn server(text: &str) -> ServerAddress {
        ServerAddress::parse(text).unwrap()
    }

    #[test]
    fn proxies_are_read_and_their_passwords_not_shown() {
        let proxy = Proxy::parse("http://fleet:s%40fe%3a@proxy.example:3128/").unwrap();
        assert_eq!(proxy.credentials(), Some("fleet:s@fe:"));
        assert_eq!(proxy.address().authority(), "proxy.example:3128");
        assert_eq!(format!("{proxy:?}"), "Proxy(http://proxy.example:3128)");
        assert_eq!(Proxy::parse(&String::from(proxy.clone())), Ok(proxy));
        assert_eq!(Proxy::parse("proxy:8080").unwrap().address().authority(), "proxy:8080");
        for text in ["", "https://proxy", "socks5://proxy", "http://", "http://a%0d%0ab:c@proxy", "http://%zz@proxy"] {
            assert_eq!(Proxy::parse(text), Err(ProxyError), "{text}");
        }
    }

    #[test]
    fn what_is_excepted_is_called_directly() {
        let reach = Reach {
            proxy: Some(Proxy::parse("http://proxy:3128").unwrap()),
            no_proxy: "internal.example, .corp,10.1.0.0/16,192.0.2.7,2001:db8::/32".to_owned(),
            ..Reach::default()
        };
        let direct = |text: &str| reach.proxy_for(&server(text)).is_none();
        for text in [
            "https://internal.example",
            "https://a.Internal.example",
            "https://a.corp",
            "https://10.1.200.3",
            "https://192.0.2.7",
            "https://[2001:db8::5]",
            "http://127.0.0.1:8470",
        ] {
            assert!(direct(text), "{text}");
        }
        for text in ["https://notinternal.example", "https://10.2.0.1", "https://192.0.2.70", "https://[2001:db9::5]"] {
            assert!(!direct(text), "{text}");
        }
    }

    #[test]
    fn the_environment_goes_before_what_was_registered() {
        let kept = Reach { proxy: Some(Proxy::parse("http://kept:1").unwrap()), ..Reach::default() };
        let with = |server: &ServerAddress, pairs: &[(&str, &str)]| {
            let found = |name: &str| pairs.iter().find(|(n, _)| *n == name).map(|(_, value)| (*value).to_owned());
            kept.over_environment(server, found).map(|reach| reach.proxy.map(|proxy| proxy.address.authority()))
        };
        let (tls, plain) = (server("https://a"), server("http://a"));
        assert_eq!(with(&tls, &[]).unwrap().unwrap(), "kept:1");
        assert_eq!(with(&tls, &[("https_proxy", "http://p:2")]).unwrap().unwrap(), "p:2");
        assert_eq!(with(&plain, &[("HTTPS_PROXY", "http://p:2"), ("HTTP_PROXY", "q:3")]).unwrap().unwrap(), "q:3");
        assert_eq!(with(&tls, &[("HTTPS_PROXY", "")]).unwrap(), None);
        let error = with(&tls, &[("HTTPS_PROXY", "https://u:secret@p")]).unwrap_err();
        assert!(error.starts_with("HTTPS_PROXY: ") && !error.contains("secret"), "{error}");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{0,40}") {
            if let Ok(proxy) = Proxy::parse(&text) {
                prop_assert_eq!(Proxy::parse(&String::from(proxy.clone())), Ok(proxy));
            }
        }

        #[test]
        fn no_entry_makes_it_panic(entry in "\\PC{0,40}", host in "[a-z0-9.:/]{1,20}") {
            let _ = excepts(&entry, &host);
        }
    }
}
