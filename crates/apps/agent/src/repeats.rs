//! Trouble that repeats: said at first, then in growing intervals with a count, and once more when it is over.
//!
//! An agent whose server is down for a weekend tries some three thousand times; its log must not be full of that. This
//! decides what is said and when. It deliberately does not know a clock.

use identifiers::Timestamp;

/// After its first time the same trouble is said again after so many seconds, and then after each doubling of them.
const AGAIN_SECONDS: i64 = 60;
/// It is said again at least so often, in seconds: somebody who looks at the end of the log must see what is.
const AGAIN_SECONDS_MAX: i64 = 6 * 3600;
/// So many kinds of trouble are told apart at once.
const KINDS_MAX: usize = 16;

/// One kind of trouble that is going on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Trouble {
    text: String,
    began_at: Timestamp,
    times: u64,
    said_at: Timestamp,
    pause_seconds: i64,
}

/// What repeats: the kinds of trouble that were said last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Repeats(Vec<Trouble>);

impl Repeats {
    /// It went wrong (again). Gives the line to be written, if any; another text is another trouble.
    pub(crate) fn failed(&mut self, text: &str, now: Timestamp) -> Option<String> {
        let Some(trouble) = self.0.iter_mut().find(|trouble| trouble.text == text) else {
            if self.0.len() >= KINDS_MAX {
                self.0.remove(0);
            }
            let text = text.to_owned();
            let pause_seconds = AGAIN_SECONDS;
            self.0.push(Trouble { text: text.clone(), began_at: now, times: 1, said_at: now, pause_seconds });
            return Some(text);
        };
        trouble.times += 1;
        let waited = now.micros_since(trouble.said_at);
        // A clock that was set back must not silence it for good.
        if (0..trouble.pause_seconds * 1_000_000).contains(&waited) {
            return None;
        }
        trouble.said_at = now;
        trouble.pause_seconds = (trouble.pause_seconds * 2).min(AGAIN_SECONDS_MAX);
        Some(format!("{text} (now {} times in {})", trouble.times, span(trouble.began_at, now)))
    }

    /// It goes well again. Gives what is to be said of the trouble that was, if it repeated.
    pub(crate) fn recovered(&mut self, now: Timestamp) -> Option<String> {
        let times: u64 = self.0.iter().map(|trouble| trouble.times).sum();
        let began_at = std::mem::take(&mut self.0).into_iter().map(|trouble| trouble.began_at).min()?;
        (times > 1).then(|| format!("after {times} failures in {}", span(began_at, now)))
    }
}

/// A time span in its largest fitting unit.
fn span(from: Timestamp, to: Timestamp) -> String {
    match (to.micros_since(from) / 1_000_000).max(0) {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_seconds(1_000_000 + seconds)
    }

    #[test]
    fn a_weekend_without_a_server_is_a_handful_of_lines() {
        let mut repeats = Repeats::default();
        let lines: Vec<String> =
            (0..6000).filter_map(|try_number| repeats.failed("connection refused", at(try_number * 30))).collect();
        assert_eq!(lines[0], "connection refused");
        assert_eq!(lines[1], "connection refused (now 3 times in 60 s)");
        assert!(lines.len() > 10 && lines.len() < 25, "{lines:?}");
        assert!(lines.last().unwrap().ends_with(" h)"), "{lines:?}");
        assert_eq!(repeats.recovered(at(6000 * 30)).unwrap(), "after 6000 failures in 50 h");
        assert_eq!(repeats.recovered(at(6000 * 30)), None, "it is said once");
    }

    #[test]
    fn another_trouble_is_said_at_once_and_two_that_take_turns_are_not_said_for_ever() {
        let mut repeats = Repeats::default();
        assert_eq!(repeats.failed("a", at(0)).unwrap(), "a");
        assert_eq!(repeats.failed("b", at(1)).unwrap(), "b");
        let lines = (2..60).filter_map(|second| repeats.failed(if second % 2 == 0 { "a" } else { "b" }, at(second)));
        assert_eq!(lines.count(), 0);
        assert_eq!(repeats.recovered(at(60)).unwrap(), "after 60 failures in 60 s");
        assert_eq!(repeats.failed("a", at(61)).unwrap(), "a");
        assert_eq!(repeats.recovered(at(62)), None, "a single failure was said already");
        for kind in 0..1000 {
            assert!(repeats.failed(&kind.to_string(), at(63)).is_some());
        }
        assert_eq!(repeats.0.len(), KINDS_MAX);
    }

    #[test]
    fn a_clock_that_is_set_back_does_not_silence_it() {
        let mut repeats = Repeats::default();
        assert!(repeats.failed("a", at(100_000)).is_some());
        assert!(repeats.failed("a", at(0)).is_some());
        assert!(repeats.failed("a", at(1)).is_none());
    }
}
