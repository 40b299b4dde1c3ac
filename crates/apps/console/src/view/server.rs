use std::time::Duration;

use askama::Template;
use control::{
    readiness::Finding,
    reconcilers::{Reconciler, Turn, TurnEnd},
    server_view::ServerView,
};
use identifiers::Timestamp;

use super::{
    Frame, Person,
    text::{SENTENCE_CHARS, When, clean, sentence},
};

/// How soon the page reads itself anew, in seconds.
const RELOAD_SECONDS: u32 = 10;

/// The server: how it is, and what it does by itself.
#[derive(Template)]
#[template(path = "server.html")]
pub(crate) struct Server {
    frame: Frame,
    now: String,
    facts: Vec<(&'static str, String)>,
    checks: Vec<Check>,
    reconcilers: Vec<Line>,
}

struct Check {
    name: String,
    tone: &'static str,
    verdict: &'static str,
    text: String,
}

/// One reconciler.
struct Line {
    name: String,
    purpose: &'static str,
    tone: &'static str,
    outcome: &'static str,
    detail: String,
    began_at: Option<When>,
    took: String,
    every: String,
    ended: u64,
    failed: u64,
}

impl Server {
    pub(crate) fn new(person: &Person, view: &ServerView, now: Timestamp) -> Self {
        let database = &view.database;
        let size = database.size_bytes.map_or_else(|| "size unknown".to_owned(), bytes);
        let log = database.write_ahead_bytes.filter(|log| *log > 0);
        let log = log.map(|log| format!(", write-ahead log {}", bytes(log))).unwrap_or_default();
        let facts = vec![
            ("Version", view.version.to_owned()),
            ("Running", format!("for {}, since {}", span(view.running_for), view.started_at.to_human())),
            ("Name", view.replica.clone()),
            ("Agents connected here", view.agents.to_string()),
            ("Database", format!("{}, schema {}, {size}{log}", view.database_kind, view.schema)),
        ];
        Self {
            frame: Frame::of(person, "server", Some(RELOAD_SECONDS)),
            now: now.to_human(),
            facts,
            checks: view.findings.iter().map(|(name, finding)| check(name, finding)).collect(),
            reconcilers: view.turns.iter().map(|(reconciler, turn)| line(reconciler, turn.as_ref(), now)).collect(),
        }
    }
}

fn check(name: &str, finding: &Finding) -> Check {
    let (tone, verdict, text) = match finding {
        Finding::Good(text) => ("good", "ok", text),
        Finding::Warning(text) => ("warn", "warning", text),
        Finding::Bad(text) => ("bad", "not ready", text),
    };
    Check { name: sentence(name), tone, verdict, text: clean(text, SENTENCE_CHARS) }
}

fn line(reconciler: &Reconciler, turn: Option<&Turn>, now: Timestamp) -> Line {
    let end = turn.and_then(|turn| turn.end.as_ref());
    let (tone, outcome, detail) = match end {
        None => ("", "not yet", String::new()),
        Some(TurnEnd::Failed(reason)) => ("bad", "failed", clean(reason, SENTENCE_CHARS)),
        Some(TurnEnd::Done(status)) => {
            let done = status.done.iter().filter(|(_, count)| *count > 0);
            let done: Vec<String> = done.map(|(what, count)| format!("{count} {}", what.replace('_', " "))).collect();
            let detail = if done.is_empty() { "nothing to do".to_owned() } else { done.join(", ") };
            match status.failures {
                0 => ("good", "done", detail),
                failures => ("bad", "failed in part", format!("{detail}; {failures} failed, see the log")),
            }
        }
    };
    Line {
        name: sentence(&reconciler.name.replace('_', " ")),
        purpose: reconciler.purpose,
        tone,
        outcome,
        detail,
        began_at: turn.map(|turn| When::new(turn.began_at, now)),
        took: turn.filter(|turn| turn.ended > 0).map(|turn| milliseconds(turn.took)).unwrap_or_default(),
        every: span(reconciler.every),
        ended: turn.map_or(0, |turn| turn.ended),
        failed: turn.map_or(0, |turn| turn.failed),
    }
}

fn milliseconds(took: Duration) -> String {
    match took.as_millis() {
        0 => "under 1 ms".to_owned(),
        milliseconds @ 1..=9999 => format!("{milliseconds} ms"),
        milliseconds => format!("{} s", milliseconds / 1000),
    }
}

fn span(span: Duration) -> String {
    match span.as_secs() {
        0 => milliseconds(span),
        seconds @ 1..=119 => format!("{seconds} s"),
        seconds @ 120..=7199 => format!("{} min", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h", seconds / 3600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

fn bytes(count: u64) -> String {
    match count {
        0..=1_048_575 => format!("{} KiB", count / 1024),
        1_048_576..=1_073_741_823 => format!("{} MiB", count / 1_048_576),
        _ => format!("{}.{} GiB", count / 1_073_741_824, count % 1_073_741_824 * 10 / 1_073_741_824),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_and_sizes_are_said_as_people_say_them() {
        assert_eq!(
            [1, 119, 120, 7200, 172_800].map(|s| span(Duration::from_secs(s))),
            ["1 s", "119 s", "2 min", "2 h", "2 days"]
        );
        assert_eq!([4096, 3 << 20, 3 << 29].map(bytes), ["4 KiB", "3 MiB", "1.5 GiB"]);
        assert_eq!(span(Duration::from_millis(500)), "500 ms");
        assert_eq!(milliseconds(Duration::from_micros(10)), "under 1 ms");
    }
}
