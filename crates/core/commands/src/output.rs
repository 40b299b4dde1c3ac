//! How much of what a step wrote is kept and shown. Lengths are in characters, as the API counts them.

use crate::StepOutput;

/// `StandardOutputContent` of `GetCommandInvocation` has at most so many characters.
pub const STDOUT_CHARS_MAX: usize = 24_000;

/// `StandardErrorContent` of `GetCommandInvocation` has at most so many characters.
pub const STDERR_CHARS_MAX: usize = 8_000;

/// `Output` and `TraceOutput` of `ListCommandInvocations` have at most so many characters.
pub const LISTED_CHARS_MAX: usize = 2_500;

/// So many characters of each stream are kept; AWS's console shows as many.
pub const KEPT_CHARS_MAX: usize = 48_000;

const TRUNCATED: &str = "--output truncated--";
const ERROR_TITLE: &str = "\n----------ERROR-------\n";
const OUTPUT_TRUNCATED: &str = "\n---Output truncated---";
const ERROR_TRUNCATED: &str = "\n---Error truncated----";

/// At most `chars_max` characters; where there was more, they end in `mark`.
fn cut(text: &str, chars_max: usize, more: bool, mark: &str) -> String {
    let over = text.char_indices().nth(chars_max).is_some();
    if !over && !more {
        return text.to_owned();
    }
    let room = chars_max.saturating_sub(mark.chars().count());
    text.chars().take(room).chain(mark.chars().take(chars_max)).collect()
}

/// The first `KEPT_CHARS_MAX` characters, and whether there were more.
pub(crate) fn kept(text: &str, truncated: bool) -> (String, bool) {
    match text.char_indices().nth(KEPT_CHARS_MAX) {
        Some((end, _)) => (text.get(..end).unwrap_or_default().to_owned(), true),
        None => (text.to_owned(), truncated),
    }
}

impl StepOutput {
    /// `StandardOutputContent` of `GetCommandInvocation`.
    #[must_use]
    pub fn stdout_content(&self) -> String {
        cut(&self.stdout, STDOUT_CHARS_MAX, self.stdout_truncated, TRUNCATED)
    }

    /// `StandardErrorContent` of `GetCommandInvocation`.
    #[must_use]
    pub fn stderr_content(&self) -> String {
        cut(&self.stderr, STDERR_CHARS_MAX, self.stderr_truncated, TRUNCATED)
    }

    /// `Output` of a plugin in `ListCommandInvocations`: both streams within 2500 characters. Where they do not fit, each
    /// has half of the room, or what the other leaves.
    #[must_use]
    pub fn listed(&self) -> String {
        if self.stderr.is_empty() {
            return cut(&self.stdout, LISTED_CHARS_MAX, self.stdout_truncated, OUTPUT_TRUNCATED);
        }
        let room = LISTED_CHARS_MAX - ERROR_TITLE.len();
        // A stream that was cut before is as long as its room, whatever is left of it.
        let length = |text: &str, truncated: bool| if truncated { room } else { text.chars().count() };
        let stdout_length = length(&self.stdout, self.stdout_truncated);
        let stderr_length = length(&self.stderr, self.stderr_truncated);
        let (half, other_half) = (room / 2, room - room / 2);
        let (stdout_room, stderr_room) = if stdout_length.saturating_add(stderr_length) <= room {
            (stdout_length, stderr_length)
        } else if stderr_length <= other_half {
            (room - stderr_length, stderr_length)
        } else if stdout_length <= half {
            (stdout_length, room - stdout_length)
        } else {
            (half, other_half)
        };
        let stdout = cut(&self.stdout, stdout_room, self.stdout_truncated, OUTPUT_TRUNCATED);
        let stderr = cut(&self.stderr, stderr_room, self.stderr_truncated, ERROR_TRUNCATED);
        format!("{stdout}{ERROR_TITLE}{stderr}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use identifiers::{CommandId, NodeId};

    fn output(stdout: &str, stderr: &str) -> StepOutput {
        StepOutput {
            command_id: CommandId::parse("6f3c2cf2-3b5c-4d2e-9b1a-0123456789ab").unwrap(),
            node_id: NodeId::parse("mi-0123456789abcdef0").unwrap(),
            step: "PatchLinux".into(),
            stdout: stdout.into(),
            stderr: stderr.into(),
            stdout_truncated: false,
            stderr_truncated: false,
        }
    }

    #[test]
    fn long_streams_end_in_a_mark() {
        let all = output(&"ä".repeat(24_000), &"e".repeat(8_000));
        assert_eq!((all.stdout_content(), all.stderr_content()), (all.stdout.clone(), all.stderr.clone()));
        let long = output(&"ä".repeat(24_001), &"e".repeat(8_001));
        for (shown, chars_max) in [(long.stdout_content(), 24_000), (long.stderr_content(), 8_000)] {
            assert_eq!(shown.chars().count(), chars_max);
            assert!(shown.ends_with("--output truncated--"), "{}", &shown[shown.len() - 40..]);
        }
        let cut_before = StepOutput { stdout_truncated: true, ..output("short", "") };
        assert_eq!(cut_before.stdout_content(), "short--output truncated--");
        assert_eq!(kept("ab", false), ("ab".to_owned(), false));
        assert_eq!(kept(&"ä".repeat(48_001), false), ("ä".repeat(48_000), true));
    }

    #[test]
    fn a_list_shows_both_streams_in_2500_characters() {
        assert_eq!(output("out", "").listed(), "out");
        assert_eq!(output("out\n", "err").listed(), "out\n\n----------ERROR-------\nerr");
        for (stdout, stderr, stdout_cut, stderr_cut) in [
            (2500, 0, false, false),
            (2501, 0, true, false),
            (2400, 76, false, false),
            (2400, 77, true, false),
            (10, 9000, false, true),
            (9000, 10, true, false),
            (9000, 9000, true, true),
        ] {
            let shown = output(&"o".repeat(stdout), &"e".repeat(stderr)).listed();
            let length = shown.chars().count();
            assert!(length <= 2500, "{stdout} {stderr}: {length}");
            assert_eq!(shown.contains("\n---Output truncated---"), stdout_cut, "{stdout} {stderr}");
            assert_eq!(shown.ends_with("\n---Error truncated----"), stderr_cut, "{stdout} {stderr}");
            if stdout_cut || stderr_cut {
                assert_eq!(length, 2500, "{stdout} {stderr}: no room is lost");
            }
        }
    }
}
