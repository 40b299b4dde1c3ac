//! Expressions of preferences: globs as of fnmatch(3) and POSIX regular expressions between slashes, both without regard to
//! case (apt_preferences(5), "Matching packages in the Package field").

use regex_lite::{Regex, RegexBuilder};

/// The longest expression, in bytes.
const EXPRESSION_BYTES_MAX: usize = 1024;
/// The most memory that one compiled regular expression may take, in bytes.
const REGEX_BYTES_MAX: usize = 1 << 20;

/// A compiled expression.
#[derive(Debug, Clone)]
pub(crate) enum Expression {
    /// A glob; most are plain words.
    Glob(String),
    /// A regular expression; matches anywhere in the text unless it is anchored.
    Regex(Box<Regex>),
}

impl Expression {
    /// Compiles an expression: a regular expression if it stands between slashes, else a glob.
    ///
    /// # Errors
    /// Says why, for a warning.
    pub(crate) fn compile(text: &str) -> Result<Self, String> {
        if text.len() > EXPRESSION_BYTES_MAX {
            return Err(format!("an expression is longer than {EXPRESSION_BYTES_MAX} bytes"));
        }
        let Some(regex) = text.strip_prefix('/').and_then(|rest| rest.strip_suffix('/')) else {
            return Ok(Self::Glob(text.to_owned()));
        };
        let compiled = RegexBuilder::new(regex).case_insensitive(true).size_limit(REGEX_BYTES_MAX).build();
        match compiled {
            Ok(compiled) => Ok(Self::Regex(Box::new(compiled))),
            Err(error) => Err(format!("the regular expression /{regex}/ is not understood: {error}")),
        }
    }

    /// Whether the text matches.
    pub(crate) fn matches(&self, text: &str) -> bool {
        match self {
            Self::Glob(glob) => glob_matches(glob.as_bytes(), text.as_bytes()),
            Self::Regex(regex) => regex.is_match(text),
        }
    }
}

/// Whether a name in the field `Package` stands for many: `*`, `?` and `[` make a glob, slashes a regular expression.
pub(crate) fn is_expression(text: &str) -> bool {
    (text.len() > 1 && text.starts_with('/') && text.ends_with('/')) || text.contains(['*', '[', '?'])
}

/// fnmatch(3) with `FNM_CASEFOLD` and without other flags. Of the last `*` alone it is remembered where to go on, so the
/// work is at most the product of the two lengths.
fn glob_matches(glob: &[u8], text: &[u8]) -> bool {
    let (mut at, mut seen) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    loop {
        let step = match (glob.get(at), text.get(seen)) {
            (None, None) => return true,
            (Some(b'*'), _) => {
                star = Some((at + 1, seen));
                at += 1;
                continue;
            }
            (Some(_), Some(&byte)) => element_matches(glob.get(at..).unwrap_or_default(), byte),
            _ => None,
        };
        match (step, star) {
            (Some(length), _) => {
                at += length;
                seen += 1;
            }
            (None, Some((after, from))) if from < text.len() => {
                star = Some((after, from + 1));
                at = after;
                seen = from + 1;
            }
            _ => return false,
        }
    }
}

/// If the first element of the glob matches the byte: the element's length.
fn element_matches(glob: &[u8], byte: u8) -> Option<usize> {
    let same = |wanted: u8| wanted.eq_ignore_ascii_case(&byte);
    match glob {
        [b'?', ..] => Some(1),
        [b'\\', escaped, ..] => same(*escaped).then_some(2),
        [b'[', rest @ ..] => match bracket_matches(rest, byte.to_ascii_lowercase()) {
            Some((true, length)) => Some(length + 1),
            Some((false, _)) => None,
            None => same(b'[').then_some(1),
        },
        [plain, ..] => same(*plain).then_some(1),
        [] => None,
    }
}

/// Whether a bracket expression (what follows `[`) holds a byte in lower case, and its length with `]`; `None` where it is
/// not closed, in which case `[` stands for itself.
fn bracket_matches(expression: &[u8], byte: u8) -> Option<(bool, usize)> {
    let negated = matches!(expression.first(), Some(b'!' | b'^'));
    let mut at = usize::from(negated);
    let (mut holds, mut first) = (false, true);
    loop {
        let rest = expression.get(at..)?;
        match rest {
            [b']', ..] if !first => return Some((holds != negated, at + 1)),
            [b'[', b':', class @ ..] if class.windows(2).any(|pair| pair == b":]") => {
                let length = class.windows(2).position(|pair| pair == b":]")?;
                holds |= class_holds(class.get(..length)?, byte);
                at += length + 4;
            }
            _ => {
                let (low, after) = bracket_byte(rest)?;
                at += after;
                let range = expression.get(at..)?;
                let high = match range {
                    [b'-', next, ..] if *next != b']' => {
                        let (high, after) = bracket_byte(range.get(1..)?)?;
                        at += after + 1;
                        high
                    }
                    _ => low,
                };
                holds |= (low.to_ascii_lowercase()..=high.to_ascii_lowercase()).contains(&byte);
            }
        }
        first = false;
    }
}

/// A byte of a bracket expression, and how long it is written.
fn bracket_byte(rest: &[u8]) -> Option<(u8, usize)> {
    match rest {
        [b'\\', escaped, ..] => Some((*escaped, 2)),
        [byte, ..] => Some((*byte, 1)),
        [] => None,
    }
}

/// Whether a named class holds a byte.
fn class_holds(class: &[u8], byte: u8) -> bool {
    match class {
        b"alnum" => byte.is_ascii_alphanumeric(),
        // Without regard to case every letter is of both cases.
        b"alpha" | b"lower" | b"upper" => byte.is_ascii_alphabetic(),
        b"blank" => matches!(byte, b' ' | b'\t'),
        b"cntrl" => byte.is_ascii_control(),
        b"digit" => byte.is_ascii_digit(),
        b"graph" => byte.is_ascii_graphic(),
        b"print" => byte.is_ascii_graphic() || byte == b' ',
        b"punct" => byte.is_ascii_punctuation(),
        b"space" => byte.is_ascii_whitespace(),
        b"xdigit" => byte.is_ascii_hexdigit(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn globs() {
        for (glob, text, matches) in [
            ("", "", true),
            ("*", "", true),
            ("a*", "ABC", true),
            ("*b*d", "abcbd", true),
            ("*b*d", "abcb", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "Bx", true),
            ("[!a-c]x", "bx", false),
            ("[^a-c]x", "dx", true),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[", "[", true),
            ("[ab", "[ab", true),
            ("[[:digit:].]*", "1.2", true),
            ("[[:digit:]]", "x", false),
            ("\\*", "*", true),
            ("\\*", "a", false),
            ("libc6", "libc6-dev", false),
            ("lib*-dev", "libc6-dev", true),
            ("a**b", "ab", true),
        ] {
            assert_eq!(Expression::compile(glob).unwrap().matches(text), matches, "{glob} {text}");
        }
    }

    #[test]
    fn regular_expressions() {
        for (regex, text, matches) in [
            ("/kde/", "libKDEcore", true),
            ("/^linux-(image|headers)-/", "linux-image-6.1", true),
            ("/^linux-(image|headers)-/", "xlinux-image-6.1", false),
            ("/^[[:digit:]]+$/", "123", true),
            ("/^a{2,3}$/", "aaa", true),
            ("//", "x", true),
        ] {
            assert_eq!(Expression::compile(regex).unwrap().matches(text), matches, "{regex} {text}");
        }
        assert!(Expression::compile("/(/").is_err());
        assert!(Expression::compile(&"x".repeat(2000)).is_err());
        assert!(Expression::compile("/(a{1000}){1000}/").is_err());
    }

    #[test]
    fn no_glob_takes_long() {
        let glob = "*a".repeat(500);
        let text = "a".repeat(1000) + "b";
        assert!(!Expression::compile(&glob).unwrap().matches(&text));
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn nothing_panics(glob in "[a-c*?\\[\\]!^\\\\:-]{0,16}", regex in "/\\PC{0,16}/", text in "[a-c\\[\\]-]{0,12}") {
            for expression in [glob, regex].iter().filter_map(|text| Expression::compile(text).ok()) {
                let _ = expression.matches(&text);
            }
        }

        #[test]
        fn a_star_is_anything(text in "[a-c]{0,8}", from in 0_usize..9, to in 0_usize..9) {
            let (from, to) = (from.min(to).min(text.len()), to.max(from).min(text.len()));
            let glob = format!("{}*{}", &text[..from], &text[to..]);
            prop_assert!(glob_matches(glob.as_bytes(), text.as_bytes()));
        }
    }
}
