use crate::AgentError;
use crate::identity::Identity;
use std::fmt;

/// Where the server is: `https://HOST[:PORT]` (or `wss://`), or without TLS `http://HOST[:PORT]` (or `ws://`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    tls: bool,
    host: String,
    port: u16,
}

/// A text that is not an address this agent can call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerAddressError {
    /// It is of another form.
    #[error("{0}: not a server's address; it looks like https://HOST:PORT, or http://HOST:PORT without TLS")]
    Form(String),
}

impl ServerAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is of another form.
    pub fn parse(text: &str) -> Result<Self, ServerAddressError> {
        let form = || ServerAddressError::Form(text.chars().take(256).collect());
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(form)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => false,
            "https" | "wss" => true,
            _ => return Err(form()),
        };
        let authority = rest.strip_suffix('/').unwrap_or(rest);
        let (host, port) = match authority.strip_prefix('[') {
            Some(v6) => {
                let (host, port) = v6.split_once(']').ok_or_else(form)?;
                host.parse::<std::net::Ipv6Addr>().map_err(|_| form())?;
                (host, port)
            }
            None => authority.find(':').map_or((authority, ""), |at| authority.split_at(at)),
        };
        let word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_' | b':');
        if host.is_empty() || host.len() > 253 || !host.bytes().all(word) {
            return Err(form());
        }
        let port = match port.strip_prefix(':') {
            Some(digits) => digits.parse().ok().filter(|port| *port != 0).ok_or_else(form)?,
            None if port.is_empty() => {
                if tls {
                    443
                } else {
                    80
                }
            }
            None => return Err(form()),
        };
        Ok(Self { tls, host: host.to_owned(), port })
    }

    /// Host and port as the resolver takes them.
    pub(crate) fn host_and_port(&self) -> (&str, u16) {
        (&self.host, self.port)
    }

    /// `HOST:PORT`.
    #[must_use]
    pub fn authority(&self) -> String {
        if self.host.contains(':') {
            format!("[{}]:{}", self.host, self.port)
        } else {
            format!("{}:{}", self.host, self.port)
        }
    }

    /// Whether it is called with TLS.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.tls
    }

    /// Where the WebSocket is.
    pub(crate) fn web_socket(&self) -> String {
        let scheme = if self.tls { "wss" } else { "ws" };
        format!("{scheme}://{}{}", self.authority(), agent_wire::AGENT_PATH)
    }

    /// Whether the server is this very host, so that no herd of agents calls it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

/// The addresses of one server, or of several on one database: the one that answered last is called first.
#[derive(Debug, Clone)]
pub(crate) struct Servers {
    addresses: Vec<ServerAddress>,
    at: usize,
}

impl Servers {
    pub(crate) fn of(identity: &Identity) -> Result<Self, AgentError> {
        let texts = std::iter::once(&identity.server).chain(&identity.other_servers);
        let addresses: Result<Vec<_>, _> = texts.map(|text| ServerAddress::parse(text)).collect();
        let addresses = addresses.map_err(|e| AgentError::system("reading the identity", e))?;
        Ok(Self { addresses, at: 0 })
    }

    /// The one to call.
    #[allow(clippy::indexing_slicing)] // There is always one, and `at` stays below their number.
    pub(crate) fn current(&self) -> &ServerAddress {
        &self.addresses[self.at]
    }

    /// It did not answer: the next one is called.
    pub(crate) fn give_up_current(&mut self) {
        self.at = (self.at + 1) % self.addresses.len();
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", if self.tls { "https" } else { "http" }, self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn addresses_are_read() {
        let read = |text| ServerAddress::parse(text).map(|address| address.web_socket());
        assert_eq!(read("http://127.0.0.1:8470").unwrap(), "ws://127.0.0.1:8470/agent/v1");
        assert_eq!(read("ws://patch.example/").unwrap(), "ws://patch.example:80/agent/v1");
        assert_eq!(read("http://[::1]:8470").unwrap(), "ws://[::1]:8470/agent/v1");
        assert_eq!(read("https://patch.example").unwrap(), "wss://patch.example:443/agent/v1");
        assert_eq!(read("wss://[::1]:8470/").unwrap(), "wss://[::1]:8470/agent/v1");
        for text in [
            "a",
            "ftp://a",
            "http://",
            "http://a:0",
            "http://a:b",
            "http://a/b",
            "http://a b",
            "http://u@a",
            "http://[::1",
            "http://[a]",
        ] {
            assert!(matches!(read(text), Err(ServerAddressError::Form(_))), "{text}");
        }
    }

    #[test]
    fn loopback_is_known() {
        let loopback = |text| ServerAddress::parse(text).unwrap().is_loopback();
        assert!(loopback("http://127.0.0.1:1") && loopback("http://[::1]:1") && loopback("http://localhost"));
        assert!(!loopback("http://10.0.0.1") && !loopback("http://localhost.example"));
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(text in "\\PC{0,40}") {
            if let Ok(address) = ServerAddress::parse(&text) {
                prop_assert_eq!(ServerAddress::parse(&address.to_string()), Ok(address));
            }
        }
    }
}
