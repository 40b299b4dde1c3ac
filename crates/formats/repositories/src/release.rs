use catalog::deb822::{self, Field, Stanza};

/// The longest value that is kept, in bytes; a longer one counts as absent.
const VALUE_BYTES_MAX: usize = 1024;
/// The most components, and the most architectures.
const WORDS_MAX: usize = 1000;
/// How a clear-signed text starts (RFC 4880, section 7).
const SIGNED: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";

/// What a Release or InRelease file says of its archive (Debian repository format, "Release files").
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Release {
    /// `Origin`
    pub origin: String,
    /// `Label`
    pub label: String,
    /// `Suite`; apt calls it the archive.
    pub suite: String,
    /// `Codename`
    pub codename: String,
    /// `Version`
    pub version: String,
    /// `Date`, as written.
    pub date: String,
    /// `Valid-Until`, as written; empty where there is none.
    pub valid_until: String,
    /// `NotAutomatic: yes`
    pub not_automatic: bool,
    /// `ButAutomaticUpgrades: yes`
    pub but_automatic_upgrades: bool,
    /// `Components`
    pub components: Vec<String>,
    /// `Architectures`
    pub architectures: Vec<String>,
}

impl Release {
    /// Reads a Release file, or the clear-signed text of an InRelease file. The signature is not verified: apt did before it
    /// stored the file. `None` where there is no stanza.
    #[must_use]
    pub fn parse(file: &[u8]) -> Option<Self> {
        let text = signed_text(file).unwrap_or(file);
        let mut release = Self::default();
        let stanza = deb822::stanzas(text).next()?;
        let mut any = false;
        for field in unwrapped(&stanza).fields() {
            any = true;
            release.set(&field);
        }
        any.then_some(release)
    }

    fn set(&mut self, field: &Field<'_>) {
        let value = || field.line().filter(|line| line.len() <= VALUE_BYTES_MAX).unwrap_or_default();
        let words = || field.words().into_iter().take(WORDS_MAX).collect();
        let yes = || crate::sources::boolean(value()) == Some(true);
        match field.name.to_ascii_lowercase().as_slice() {
            b"origin" => value().clone_into(&mut self.origin),
            b"label" => value().clone_into(&mut self.label),
            b"suite" => value().clone_into(&mut self.suite),
            b"codename" => value().clone_into(&mut self.codename),
            b"version" => value().clone_into(&mut self.version),
            b"date" => value().clone_into(&mut self.date),
            b"valid-until" => value().clone_into(&mut self.valid_until),
            b"notautomatic" => self.not_automatic = yes(),
            b"butautomaticupgrades" => self.but_automatic_upgrades = yes(),
            b"components" => self.components = words(),
            b"architectures" => self.architectures = words(),
            _ => {}
        }
    }

    /// Whether it has lists of this component and architecture, as far as it says.
    #[must_use]
    pub(crate) fn has_list(&self, component: &str, architecture: &str) -> bool {
        let names = |known: &String| {
            // Security archives of old write `updates/main`.
            known == component || known.rsplit('/').next() == Some(component)
        };
        (component.is_empty() || self.components.is_empty() || self.components.iter().any(names))
            && (architecture.is_empty()
                || self.architectures.is_empty()
                || self.architectures.iter().any(|known| known == architecture))
    }
}

/// What is between the head of a clear-signed message and its signature. Dashes at the start of a line are escaped there, but
/// no field that matters starts with one.
fn signed_text(file: &[u8]) -> Option<&[u8]> {
    let start = deb822::leading_line_ends(file);
    let message = file.get(start..)?.strip_prefix(SIGNED)?;
    let head = deb822::stanza_end(message, 0, message.contains(&b'\r'))?;
    let text = message.get(head.next..)?;
    let end = memchr::memmem::find(text, b"\n-----BEGIN PGP SIGNATURE-----").unwrap_or(text.len());
    text.get(..end)
}

/// A stanza without the signature of a text that has none, so that a damaged file gives no fields.
fn unwrapped<'a>(stanza: &Stanza<'a>) -> Stanza<'a> {
    let bytes = if stanza.bytes.starts_with(b"-----BEGIN") { &[] } else { stanza.bytes };
    Stanza { bytes, ..*stanza }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RELEASE: &str = "Origin: Debian\nLabel: Debian-Security\nSuite: oldstable-security\nVersion: 12\n\
        Codename: bookworm-security\nDate: Sat, 22 Nov 2025 10:00:00 UTC\nValid-Until: Sat, 29 Nov 2025 10:00:00 UTC\n\
        Acquire-By-Hash: yes\nArchitectures: all amd64 i386\nComponents: updates/main updates/contrib\nNotAutomatic: yes\n\
        ButAutomaticUpgrades: yes\nMD5Sum:\n abc 1 main/x\n Suite: no\n";

    #[test]
    fn plain_and_signed_are_the_same() {
        let plain = Release::parse(RELEASE.as_bytes()).unwrap();
        assert_eq!(plain.codename, "bookworm-security");
        assert_eq!(plain.suite, "oldstable-security");
        assert_eq!(plain.valid_until, "Sat, 29 Nov 2025 10:00:00 UTC");
        assert!(plain.not_automatic && plain.but_automatic_upgrades);
        assert!(plain.has_list("main", "amd64") && plain.has_list("updates/main", "all"));
        assert!(!plain.has_list("main", "arm64") && !plain.has_list("non-free", "amd64"));
        for line_end in ["\n", "\r\n"] {
            let signed = format!(
                "-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n\n{RELEASE}-----BEGIN PGP SIGNATURE-----\n\nabc\n-----END PGP SIGNATURE-----\n"
            );
            assert_eq!(Release::parse(signed.replace('\n', line_end).as_bytes()), Some(plain.clone()));
        }
    }

    #[test]
    fn nothing_to_read() {
        assert_eq!(Release::parse(b""), None);
        assert_eq!(Release::parse(b"\n\n"), None);
        assert_eq!(Release::parse(b"-----BEGIN PGP SIGNED MESSAGE-----\nHash: SHA256\n"), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(1000))]

        #[test]
        fn nothing_panics(bytes in proptest::collection::vec(any::<u8>(), 0..100), cut in 0..RELEASE.len(), at in 0..RELEASE.len(), byte: u8) {
            let _ = Release::parse(&bytes);
            let mut changed = format!("-----BEGIN PGP SIGNED MESSAGE-----\n\n{RELEASE}").into_bytes();
            changed[at] = byte;
            changed.truncate(cut);
            let _ = Release::parse(&changed);
        }
    }
}
