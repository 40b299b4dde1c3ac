use std::fmt::Write as _;
use std::fmt::{self, Display, Formatter};

/// An URI as apt takes it apart: more lenient than RFC 3986, so that the names of its files come out the same.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Uri {
    access: String,
    pub(crate) host: String,
    port: u32,
    path: String,
}

impl Uri {
    /// Takes an URI apart; `None` where there is no scheme. User and password are dropped.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (access, rest) = text.split_once(':')?;
        let authority_and_path = rest.strip_prefix("//").filter(|rest| !rest.is_empty()).unwrap_or(rest);
        let mut in_brackets = false;
        let slash = authority_and_path.find(|character| {
            in_brackets = (in_brackets || character == '[') && character != ']';
            character == '/' && !in_brackets
        });
        let (authority, path) = authority_and_path.split_at(slash.unwrap_or(authority_and_path.len()));
        let authority = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let (host, port) = host_and_port(authority);
        let path = if path.is_empty() { "/" } else { path };
        Some(Self { access: access.to_owned(), host, port, path: path.to_owned() })
    }

    /// The name of a file that was fetched from here, in apt's lists folder.
    pub(crate) fn file_name(&self) -> String {
        let without_access = Self { access: String::new(), ..self.clone() }.to_string();
        percent_encode(&without_access, "\\|{}[]<>\"^~_=!@#$%^&*").replace('/', "_")
    }
}

impl Display for Uri {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if !self.access.is_empty() {
            write!(f, "{}:", self.access)?;
        }
        if !self.host.is_empty() {
            match self.access.is_empty() {
                true => f.write_str(&self.host)?,
                false if self.host.contains(['/', ':']) => write!(f, "//[{}]", self.host)?,
                false => write!(f, "//{}", self.host)?,
            }
            if self.port != 0 {
                write!(f, ":{}", self.port)?;
            }
        }
        f.write_str(&self.path)
    }
}

/// Splits `host:port`; an address of IPv6 stands in brackets, which are taken away.
fn host_and_port(authority: &str) -> (String, u32) {
    let after_brackets = authority.rfind(']').unwrap_or(0);
    if authority.contains('[') && !authority.contains(']') {
        return (String::new(), 0);
    }
    let colon = authority.rfind(':').filter(|&colon| colon >= after_brackets);
    let (host, port) = match colon {
        Some(colon) => (authority.get(..colon).unwrap_or_default(), authority.get(colon + 1..).unwrap_or_default()),
        None => (authority, ""),
    };
    (host.replace(['[', ']'], ""), port.parse().unwrap_or(0))
}

/// Writes `%` and two hexadecimal digits for the bytes in `encoded`, for everything that is not printable ASCII, and for
/// `%` itself.
pub(crate) fn percent_encode(text: &str, encoded: &str) -> String {
    let mut written = String::with_capacity(text.len());
    for byte in text.bytes() {
        if byte == b'%' || !byte.is_ascii_graphic() || encoded.as_bytes().contains(&byte) {
            // Writing to a string cannot fail.
            let _ = write!(written, "%{byte:02x}");
        } else {
            written.push(char::from(byte));
        }
    }
    written
}

/// The name that apt gives a file fetched from `uri` in its lists folder: without scheme, user and password, with `/`
/// turned into `_`, and with everything unsafe percent-encoded.
#[must_use]
pub fn file_name_of_uri(uri: &str) -> String {
    Uri::parse(uri).unwrap_or_else(|| Uri { path: uri.to_owned(), ..Uri::default() }).file_name()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_lists() {
        for (uri, name) in [
            ("http://deb.example/debian/dists/sid/InRelease", "deb.example_debian_dists_sid_InRelease"),
            ("https://user:pa%40ss@host.example:8080/a_b/~c/", "host.example:8080_a%5fb_%7ec_"),
            ("file:/srv/repo/dists/x/main/binary-amd64/Packages", "_srv_repo_dists_x_main_binary-amd64_Packages"),
            ("file:///srv/repo/./Packages", "_srv_repo_._Packages"),
            ("copy:/srv/repo/Release", "_srv_repo_Release"),
            ("http://[2001:db8::1]:81/a", "2001:db8::1:81_a"),
            ("http://host", "host_"),
            ("cdrom:[Debian 12/x]/dists/", "Debian%2012_x_dists_"),
            ("http://h/a+b%20c", "h_a+b%2520c"),
            ("no-scheme", "no-scheme"),
        ] {
            assert_eq!(file_name_of_uri(uri), name, "{uri}");
        }
    }

    #[test]
    fn uris_are_written_anew() {
        for (uri, written) in [
            ("http://u:p@h:80/a", "http://h:80/a"),
            ("http://h", "http://h/"),
            ("file:///srv", "file:/srv"),
            ("http://[::1]/", "http://[::1]/"),
        ] {
            assert_eq!(Uri::parse(uri).unwrap().to_string(), written, "{uri}");
        }
        assert_eq!(Uri::parse("nothing"), None);
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*", near in "[a-z:/@\\[\\]%é]{0,20}") {
            for text in [text, near] {
                let name = file_name_of_uri(&text);
                prop_assert!(name.is_ascii() && !name.contains('/'));
            }
        }
    }
}
