//! By which names this server is called. A page of somebody else's, whose name was made to resolve to this server's address
//! after it was loaded ("DNS rebinding"), names its own host, and is refused by whoever asks here.

use std::sync::Arc;

/// The names that callers may use.
#[derive(Clone)]
pub struct ServerNames {
    given: Arc<[String]>,
    covered: Arc<dyn Fn(&str) -> bool + Send + Sync>,
}

impl ServerNames {
    /// The names that the server was given, and those that its certificate `covered` at the moment of the question.
    pub fn new(given: Vec<String>, covered: impl Fn(&str) -> bool + Send + Sync + 'static) -> Self {
        Self { given: given.into(), covered: Arc::new(covered) }
    }

    /// Whether a `Host` header (with or without a port) names this server. Its own loopback always does.
    #[must_use]
    pub fn has(&self, host: &str) -> bool {
        let Some(name) = name_of(host) else { return false };
        is_loopback_name(name)
            || self.given.iter().any(|given| given.eq_ignore_ascii_case(name))
            || (self.covered)(name.trim_start_matches('[').trim_end_matches(']'))
    }
}

impl std::fmt::Debug for ServerNames {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ServerNames").field(&self.given).finish()
    }
}

/// Whether a `Host` header names the loopback of the caller's own machine.
#[must_use]
pub fn is_loopback_host(host: &str) -> bool {
    name_of(host).is_some_and(is_loopback_name)
}

/// The name without the port; `None`: it is of no form that a browser would send.
fn name_of(host: &str) -> Option<&str> {
    match host.rsplit_once(':') {
        // An address of version 6 has colons of its own.
        Some((name, port)) if !port.ends_with(']') => {
            let digits = !port.is_empty() && port.len() <= 5 && port.bytes().all(|b| b.is_ascii_digit());
            Some(name).filter(|_| digits)
        }
        _ => Some(host),
    }
}

fn is_loopback_name(name: &str) -> bool {
    matches!(name, "127.0.0.1" | "[::1]") || name.eq_ignore_ascii_case("localhost")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_loopback_are_known() {
        for host in ["127.0.0.1", "127.0.0.1:8470", "localhost", "LocalHost:1", "[::1]", "[::1]:65535"] {
            assert!(is_loopback_host(host), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "evil.example:8470",
            "127.0.0.1.evil.example",
            "localhost.evil.example:8470",
            "127.0.0.1:",
            "127.0.0.1:x",
            "127.0.0.1:8470:1",
            "user@127.0.0.1",
            "[::1",
            "::1",
            "10.0.0.1:8470",
            "0.0.0.0:8470",
        ] {
            assert!(!is_loopback_host(host), "{host}");
        }
    }

    #[test]
    fn a_server_goes_by_the_names_it_was_given_and_those_of_its_certificate() {
        let names = ServerNames::new(vec!["careen.example".to_owned()], |name| name == "2001:db8::1");
        for host in ["careen.example", "Careen.Example:8470", "[2001:db8::1]:8470", "localhost:1"] {
            assert!(names.has(host), "{host}");
        }
        for host in ["evil.example", "careen.example.evil.example", "careen.example:", "[2001:db8::2]:8470", ""] {
            assert!(!names.has(host), "{host}");
        }
    }
}
