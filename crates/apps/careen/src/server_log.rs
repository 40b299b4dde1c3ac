//! The log on standard error: one line an event, as text for people or as JSON for programs.
//!
//! Its fields are the event's own and those of the spans around it, so that every line of a request carries the
//! request's id. Whatever a caller sends can end up in a field: values are cut, and what could end a line, move a
//! terminal's cursor or reorder text is escaped in both forms. `tracing-subscriber` writes neither flat JSON nor escapes
//! line ends in text, hence this layer.

use std::{fmt::Write as _, io::Write as _};

use anyhow::{Result, bail};
use serde_json::Value;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    EnvFilter, Layer,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::SubscriberInitExt,
};

/// More characters of a value are not written.
const VALUE_CHARS_MAX: usize = 2000;

/// How the log is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// `2026-11-27T09:00:00.000Z  INFO message name=value …`
    Text,
    /// One object a line: `at`, `level`, `message`, `target`, and the fields.
    Json,
}

impl LogFormat {
    /// The form of that name.
    ///
    /// # Errors
    /// When there is none.
    pub(crate) fn parse(text: &str) -> Result<Self> {
        match text {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => bail!("{text:?} is neither text nor json"),
        }
    }

    /// Its name.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Json => "json",
        }
    }
}

/// Starts the log; `RUST_LOG` chooses what is in it, else `default` does.
pub(crate) fn start(default: &str, format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = Lines { format, write: |line: &str| _ = std::io::stderr().write_all(line.as_bytes()) };
    let _ = tracing_subscriber::registry().with(filter).with(lines).try_init();
}

/// Makes lines of events and hands each out in one piece.
struct Lines<W> {
    format: LogFormat,
    write: W,
}

/// What is known of an event or a span, in the order in which it was said; said again it counts anew.
#[derive(Debug, Default, Clone)]
struct Fields(Vec<(&'static str, Value)>);

impl Fields {
    fn put(&mut self, name: &'static str, value: Value) {
        match self.0.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.0.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field.name(), value.into());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field.name(), value.into());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field.name(), value.into());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field.name(), value.into());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field.name(), cut(value).into());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field.name(), cut(&value.to_string()).into());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        self.put(field.name(), cut(&format!("{value:?}")).into());
    }
}

impl<S, W> Layer<S> for Lines<W>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: Fn(&str) + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        span.extensions_mut().insert(fields);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        if let Some(fields) = span.extensions_mut().get_mut::<Fields>() {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut own = Fields::default();
        event.record(&mut own);
        let place = own.0.iter().position(|(name, _)| *name == "message");
        let message = place.map(|place| own.0.remove(place).1);
        let message = message.as_ref().and_then(Value::as_str).unwrap_or_default();
        let mut fields = Fields::default();
        for span in context.event_scope(event).into_iter().flat_map(tracing_subscriber::registry::Scope::from_root) {
            if let Some(known) = span.extensions().get::<Fields>() {
                known.0.iter().for_each(|(name, value)| fields.put(name, value.clone()));
            }
        }
        own.0.into_iter().for_each(|(name, value)| fields.put(name, value));
        let at = control::Clock::now(&control::SystemClock).to_string();
        let metadata = event.metadata();
        (self.write)(&match self.format {
            LogFormat::Text => text_line(&at, *metadata.level(), message, &fields),
            LogFormat::Json => json_line(&at, *metadata.level(), message, metadata.target(), &fields),
        });
    }
}

fn text_line(at: &str, level: Level, message: &str, fields: &Fields) -> String {
    let mut line = format!("{at} {level:>5} ");
    escape(&mut line, message, |c| write_code(c, '{', '}'));
    for (name, value) in &fields.0 {
        let _ = write!(line, " {name}=");
        match value {
            Value::String(text) if is_word(text) => line.push_str(text),
            // Quoted and escaped as JSON has it, so that a value cannot look like two fields.
            value => escape(&mut line, &value.to_string(), |c| write_code(c, '{', '}')),
        }
    }
    line.push('\n');
    line
}

/// Whether a value can stand without quotes: it has no end but the next space.
fn is_word(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !is_unsafe(c) && !matches!(c, '"' | '=' | '\\');
    !text.is_empty() && text.chars().all(plain)
}

fn json_line(at: &str, level: Level, message: &str, target: &str, fields: &Fields) -> String {
    let mut object = serde_json::Map::new();
    for (name, value) in &fields.0 {
        object.insert((*name).to_owned(), value.clone());
    }
    for (name, value) in [("at", at), ("level", level.as_str()), ("message", message), ("target", target)] {
        object.insert(name.to_owned(), value.into());
    }
    let mut line = String::new();
    // Outside of strings JSON has no such characters, so what is escaped here is inside of one.
    escape(&mut line, &Value::Object(object).to_string(), |c| {
        let mut units = [0; 2];
        c.encode_utf16(&mut units).iter().map(|unit| format!("\\u{unit:04x}")).collect()
    });
    line.push('\n');
    line
}

fn write_code(c: char, open: char, close: char) -> String {
    match c {
        '\n' => "\\n".to_owned(),
        '\r' => "\\r".to_owned(),
        '\t' => "\\t".to_owned(),
        c => format!("\\u{open}{:x}{close}", u32::from(c)),
    }
}

/// Characters that end a line, command a terminal, or reorder or hide what is beside them.
fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

fn escape(line: &mut String, text: &str, code: impl Fn(char) -> String) {
    for c in text.chars() {
        match is_unsafe(c) {
            true => line.push_str(&code(c)),
            false => line.push(c),
        }
    }
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(VALUE_CHARS_MAX) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    /// What `say` logs in a form.
    fn logged(format: LogFormat, say: impl FnOnce()) -> String {
        let written = Arc::new(Mutex::new(String::new()));
        let out = Arc::clone(&written);
        let lines = Lines { format, write: move |line: &str| out.lock().unwrap().push_str(line) };
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), say);
        written.lock().unwrap().clone()
    }

    fn a_request(path: &str) {
        let span =
            tracing::error_span!("request", request_id = "r-1", operation = tracing::field::Empty, code = "none");
        let _entered = span.enter();
        span.record("operation", "SendCommand");
        span.record("code", "OK");
        tracing::info!(path, status = 200, "request");
    }

    #[test]
    fn a_line_carries_the_fields_of_its_request() {
        let line = logged(LogFormat::Text, || a_request("/"));
        let (at, rest) = line.split_at(24);
        assert!(at.ends_with('Z'), "{line}");
        assert_eq!(rest, "  INFO request request_id=r-1 code=OK operation=SendCommand path=/ status=200\n");
        let line: Value = serde_json::from_str(&logged(LogFormat::Json, || a_request("/"))).unwrap();
        assert_eq!((&line["message"], &line["level"]), (&"request".into(), &"INFO".into()));
        assert_eq!((&line["request_id"], &line["operation"]), (&"r-1".into(), &"SendCommand".into()));
        assert_eq!((&line["code"], &line["status"]), (&"OK".into(), &200.into()));
    }

    #[test]
    fn nothing_that_is_sent_makes_a_second_line_or_a_second_field() {
        let evil = "/x\n2026 INFO forged\r\u{1b}[2J\u{9b}A\u{202e}\u{2028} status=500 \"quoted\"";
        for format in [LogFormat::Text, LogFormat::Json] {
            let line = logged(format, || a_request(evil));
            assert_eq!(line.lines().count(), 1, "{line}");
            assert!(line.trim_end_matches('\n').chars().all(|c| !is_unsafe(c)), "{line:?}");
        }
        let line = logged(LogFormat::Text, || a_request(evil));
        assert!(line.contains(r#"path="/x\n2026 INFO forged"#) && line.ends_with("\" status=200\n"), "{line}");
        let line: Value = serde_json::from_str(&logged(LogFormat::Json, || a_request(evil))).unwrap();
        assert_eq!(line["path"], evil, "a program reads what was sent");
        let message = logged(LogFormat::Text, || tracing::warn!("two\nlines"));
        assert!(message.ends_with("WARN two\\nlines\n"), "{message}");
    }

    #[test]
    fn a_value_without_end_is_cut() {
        let line = logged(LogFormat::Text, || tracing::info!(path = "é".repeat(1_000_000), "request"));
        assert!(line.chars().count() < VALUE_CHARS_MAX + 100);
    }
}
