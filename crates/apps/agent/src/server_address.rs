use std::fmt;

/// Where the server is: `http://HOST[:PORT]` or `ws://HOST[:PORT]`, which mean the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerAddress {
    host: String,
    port: u16,
}

/// A text that is not an address this agent can call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ServerAddressError {
    /// TLS is not there yet.
    #[error("{0}: this version cannot speak TLS yet; give an http:// or ws:// address")]
    Tls(String),
    /// Anything else.
    #[error("{0}: not a server's address; it looks like http://HOST:PORT")]
    Form(String),
}

impl ServerAddress {
    /// Reads an address.
    ///
    /// # Errors
    /// When it is of another form, or asks for TLS.
    pub fn parse(text: &str) -> Result<Self, ServerAddressError> {
        let form = || ServerAddressError::Form(text.chars().take(256).collect());
        let (scheme, rest) = text.trim().split_once("://").ok_or_else(form)?;
        match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => {}
            "https" | "wss" => return Err(ServerAddressError::Tls(text.chars().take(256).collect())),
            _ => return Err(form()),
        }
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
            None if port.is_empty() => 80,
            None => return Err(form()),
        };
        Ok(Self { host: host.to_owned(), port })
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

    /// Where the WebSocket is.
    pub(crate) fn web_socket(&self) -> String {
        format!("ws://{}{}", self.authority(), agent_wire::AGENT_PATH)
    }

    /// Whether the server is this very host, so that no herd of agents calls it.
    pub(crate) fn is_loopback(&self) -> bool {
        self.host == "localhost" || self.host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    }
}

impl fmt::Display for ServerAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
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
        assert!(matches!(read("https://a"), Err(ServerAddressError::Tls(_))));
        assert!(matches!(read("wss://a"), Err(ServerAddressError::Tls(_))));
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
