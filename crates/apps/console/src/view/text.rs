//! Values as texts for people.

use identifiers::Timestamp;

/// The longest name of a host, package, version, tag.
pub(crate) const NAME_CHARS: usize = 200;
/// The longest sentence.
pub(crate) const SENTENCE_CHARS: usize = 600;
/// The longest output of one step on a page, for each of its two streams; what the API keeps is shorter.
pub(crate) const OUTPUT_CHARS: usize = 64 * 1024;

/// An instant, as `<time>` with its age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct When {
    iso: String,
    shown: String,
    age: String,
}

impl When {
    pub(crate) fn new(at: Timestamp, now: Timestamp) -> Self {
        let iso = at.to_rfc3339_seconds();
        // To the minute; the seconds are in the attribute.
        let shown = iso.get(..16).unwrap_or_default().replace('T', " ");
        Self { iso, shown, age: age(at, now) }
    }
}

impl std::fmt::Display for When {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { iso, shown, age } = self;
        write!(f, r#"<time datetime="{iso}">{shown} UTC</time> <span class="age">{age}</span>"#)
    }
}

// Digits, punctuation and words of this file alone.
impl askama::filters::HtmlSafe for When {}

/// How long ago, in the largest unit that says something.
pub(crate) fn age(at: Timestamp, now: Timestamp) -> String {
    let seconds = now.micros_since(at) / 1_000_000;
    match seconds {
        i64::MIN..=-60 => "in the future".to_owned(),
        -59..60 => "just now".to_owned(),
        60..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} hours ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

/// How long something took.
pub(crate) fn took(from: Timestamp, to: Timestamp) -> String {
    span(to.micros_since(from).max(0) / 1_000_000)
}

/// A number of seconds in words.
pub(crate) fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

/// A number and its noun.
pub(crate) fn counted(number: u64, one: &str, many: &str) -> String {
    format!("{number} {}", if number == 1 { one } else { many })
}

/// A text of a host or a caller on one line: without control characters, of a bounded length.
pub(crate) fn clean(text: &str, chars_max: usize) -> String {
    let one_line = |c: char| if matches!(c, '\n' | '\r' | '\t') { ' ' } else { visible(c) };
    let mut shown: String = text.chars().take(chars_max).map(one_line).collect();
    if text.chars().nth(chars_max).is_some() {
        shown.push('…');
    }
    shown
}

/// A reason as a sentence: it begins with a capital letter.
pub(crate) fn sentence(text: &str) -> String {
    let text = clean(text, SENTENCE_CHARS);
    let mut chars = text.chars();
    match chars.next() {
        Some(first) => first.to_uppercase().chain(chars).collect(),
        None => String::new(),
    }
}

/// The beginning of an output, and whether that is not all of it. Escape sequences of terminals stay readable as what they are.
pub(crate) fn output(text: &str) -> (String, bool) {
    let line = |c: char| if matches!(c, '\n' | '\t') { c } else { visible(c) };
    let shown = text.chars().take(OUTPUT_CHARS).filter(|c| *c != '\r').map(line).collect();
    (shown, text.chars().nth(OUTPUT_CHARS).is_some())
}

/// Control characters become their pictures (Unicode, block "Control Pictures"); what would turn the direction of the text
/// around it (UAX #9, explicit formatting characters) becomes U+FFFD, so that nothing can be made to look like something else.
fn visible(c: char) -> char {
    match c {
        '\u{0}'..='\u{1f}' => char::from_u32(0x2400 + u32::from(c)).unwrap_or('\u{fffd}'),
        '\u{7f}' => '\u{2421}',
        '\u{80}'..='\u{9f}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => '\u{fffd}',
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(seconds)
    }

    #[test]
    fn ages_are_said_in_the_unit_that_tells_something() {
        let now = 10_000_000;
        for (before, said) in [
            (0, "just now"),
            (59, "just now"),
            (60, "1 min ago"),
            (7_199, "119 min ago"),
            (7_200, "2 hours ago"),
            (172_799, "47 hours ago"),
            (172_800, "2 days ago"),
            (-30, "just now"),
            (-60, "in the future"),
        ] {
            assert_eq!(age(at(now - before), at(now)), said, "{before}");
        }
        let when = When::new(at(1_700_000_000), at(1_700_000_090)).to_string();
        let time =
            r#"<time datetime="2023-11-14T22:13:20Z">2023-11-14 22:13 UTC</time> <span class="age">1 min ago</span>"#;
        assert_eq!(when, time);
    }

    #[test]
    fn durations_are_said_in_two_units_at_most() {
        assert_eq!(took(at(10), at(14)), "4 s");
        assert_eq!(took(at(10), at(75)), "1 min 5 s");
        assert_eq!(took(at(0), at(3_723)), "1 h 2 min");
        assert_eq!(took(at(10), at(5)), "0 s");
    }

    #[test]
    fn texts_of_others_are_bounded_and_carry_no_controls() {
        assert_eq!(clean("web\u{1b}[31m\n1\u{202e}", 50), "web␛[31m 1\u{fffd}");
        assert_eq!(clean("abcdef", 3), "abc…");
        assert_eq!(clean("abc", 3), "abc");
        assert_eq!(sentence("the package is on hold"), "The package is on hold");
        assert_eq!(sentence(""), "");
        let (shown, cut) = output(&"é".repeat(OUTPUT_CHARS + 1));
        assert_eq!((shown.chars().count(), cut), (OUTPUT_CHARS, true));
        assert_eq!(output("a\r\n\tb\u{7}"), ("a\n\tb␇".to_owned(), false));
    }
}
