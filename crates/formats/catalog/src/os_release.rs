use packages::Distribution;

/// The longest file that is read, in bytes; what is beyond is left out.
const FILE_BYTES_MAX: usize = 64 << 10;

/// Reads `/etc/os-release` (os-release(5)): assignments in the shell's form, the last one of a name counts.
///
/// Where `VERSION_CODENAME` is absent, as on Debian 8 and older, the codename is the word in parentheses of `VERSION`.
/// Without `NAME` or `ID` the manual page's defaults hold (`Linux`, `linux`); an empty text gives an empty distribution.
#[must_use]
pub fn parse_os_release(text: &str) -> Distribution {
    let mut end = text.len().min(FILE_BYTES_MAX);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    let mut distribution = Distribution::default();
    let (mut version, mut any) = (String::new(), false);
    for line in text.get(..end).unwrap_or_default().lines() {
        let line = line.trim();
        if line.starts_with('#') {
            continue;
        }
        let Some((name, value)) = line.split_once('=') else { continue };
        let slot = match name {
            "ID" => &mut distribution.id,
            "NAME" => &mut distribution.name,
            "VERSION_ID" => &mut distribution.version_id,
            "VERSION_CODENAME" => &mut distribution.codename,
            "PRETTY_NAME" => &mut distribution.pretty_name,
            "VERSION" => &mut version,
            _ => continue,
        };
        *slot = unquote(value);
        any = true;
    }
    if !any {
        return distribution;
    }
    for (slot, default) in [(&mut distribution.id, "linux"), (&mut distribution.name, "Linux")] {
        if slot.is_empty() {
            default.clone_into(slot);
        }
    }
    if distribution.codename.is_empty()
        && let Some((_, rest)) = version.split_once('(')
        && let Some((word, _)) = rest.split_once(')')
        && !word.is_empty()
        && word.bytes().all(|byte| byte.is_ascii_lowercase())
    {
        word.clone_into(&mut distribution.codename);
    }
    distribution
}

/// A value as the shell reads an assignment: single quotes take all as it is, a backslash takes the next character as it
/// is (in double quotes only before `"`, `$`, `` ` `` and itself), and outside of quotes a blank ends it. Control
/// characters are dropped.
fn unquote(text: &str) -> String {
    let mut value = String::new();
    let mut quote = None;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        match (quote, character) {
            (Some(open), _) if character == open => quote = None,
            (None, '"' | '\'') => quote = Some(character),
            (None, ' ' | '\t') => break,
            (None | Some('"'), '\\') => {
                let escaped = |next: &char| quote.is_none() || matches!(next, '"' | '$' | '`' | '\\');
                value.push(characters.next_if(escaped).unwrap_or('\\'));
            }
            _ if character.is_control() => {}
            _ => value.push(character),
        }
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use packages::OperatingSystem;
    use proptest::prelude::*;

    #[test]
    fn debian_12() {
        let distribution = parse_os_release(
            "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nNAME=\"Debian GNU/Linux\"\nVERSION_ID=\"12\"\n\
             VERSION=\"12 (bookworm)\"\nVERSION_CODENAME=bookworm\nID=debian\nHOME_URL=\"https://www.debian.org/\"\n",
        );
        assert_eq!(
            distribution,
            Distribution {
                id: "debian".to_owned(),
                name: "Debian GNU/Linux".to_owned(),
                version_id: "12".to_owned(),
                codename: "bookworm".to_owned(),
                pretty_name: "Debian GNU/Linux 12 (bookworm)".to_owned(),
            }
        );
        assert_eq!(OperatingSystem::of(&distribution), Some(OperatingSystem::Debian));
        assert_eq!(distribution.product(), "Debian12");
    }

    #[test]
    fn the_shells_quoting() {
        for (written, meant) in [
            ("a", "a"),
            ("\"a b\"", "a b"),
            ("'a \\ $b'", "a \\ $b"),
            ("\"a\\\"b\\$c\\d\"", "a\"b$c\\d"),
            ("a\\ b c", "a b"),
            ("\"a\"'b'c", "abc"),
            ("\"open", "open"),
            ("a\\", "a\\"),
            ("", ""),
            ("\"a\u{7}b\"", "ab"),
        ] {
            assert_eq!(unquote(written), meant, "{written}");
        }
    }

    #[test]
    fn what_is_absent() {
        assert_eq!(parse_os_release(""), Distribution::default());
        let jessie = parse_os_release("ID=debian\n# ID=other\nVERSION=\"8 (jessie)\"\nVERSION_ID=8\nID=debian\n");
        assert_eq!((jessie.codename.as_str(), jessie.name.as_str()), ("jessie", "Linux"));
        assert_eq!(parse_os_release("VERSION=\"22.04 (Jammy Jellyfish)\"").codename, "");
    }

    proptest! {
        #[test]
        fn nothing_panics(text in "\\PC*", mutated in "(ID|NAME|VERSION)=[\"'\\\\a-z ()é\n]{0,20}") {
            let _ = (parse_os_release(&text), parse_os_release(&mutated));
        }
    }
}
