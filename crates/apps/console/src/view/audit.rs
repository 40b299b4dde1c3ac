use askama::Template;
use aws_wire::careen::{AuditRecord as Record, ListAuditRecordsResult, VerifyAuditLogResult};
use identifiers::Timestamp;
use serde_json::Value;
use url::form_urlencoded::Serializer;

use super::{
    Frame, Person,
    text::{NAME_CHARS, SENTENCE_CHARS, When, clean, counted},
};
use crate::audit_room::AuditAddress;

/// The most differences of one record that are shown.
const DIFFERENCES_MAX: usize = 500;
/// Deeper than this a value is shown as its JSON.
const DEPTH_MAX: usize = 16;

/// The audit log with its search.
#[derive(Template)]
#[template(path = "audit.html")]
pub(crate) struct Audit {
    frame: Frame,
    now: String,
    fields: Vec<Field>,
    outcome: String,
    searched: bool,
    records: Vec<Line>,
    next: Option<String>,
    export_csv: String,
    export_json: String,
}

/// One field of the search.
struct Field {
    name: &'static str,
    label: &'static str,
    kind: &'static str,
    value: String,
    hint: &'static str,
}

/// A record in the list, or as the head of its own page.
struct Line {
    seq: i64,
    at: When,
    principal: String,
    action: String,
    resource: String,
    outcome: String,
    tone: &'static str,
    source_address: String,
    request_id: String,
    sealed: bool,
}

impl Audit {
    pub(crate) fn new(person: &Person, address: &AuditAddress, found: ListAuditRecordsResult, now: Timestamp) -> Self {
        let field = |name, label, kind, value: &str, hint| Field { name, label, kind, value: value.to_owned(), hint };
        let fields = vec![
            field("since", "From (UTC)", "datetime-local", &address.since, ""),
            field("until", "Until (UTC)", "datetime-local", &address.until, ""),
            field("principal", "Principal", "text", &address.principal, "console/root"),
            field("action", "Action", "text", &address.action, "ssm:SendCommand"),
            field("resource", "Resource", "text", &address.resource, "arn:aws:ssm:…"),
            field("source_address", "From address", "text", &address.source_address, "10.0.0.7"),
            field("request_id", "Request", "text", &address.request_id, ""),
        ];
        let given = || {
            let of_fields = fields.iter().map(|field| (field.name, field.value.as_str()));
            of_fields.chain([("outcome", address.outcome.as_str())]).filter(|(_, value)| !value.is_empty())
        };
        let link = |path: &str, more: (&str, &str)| {
            let query = Serializer::new(String::new()).extend_pairs(given()).append_pair(more.0, more.1).finish();
            format!("/console/audit{path}?{query}")
        };
        let searched = given().next().is_some();
        let (export_csv, export_json) = (link("/export", ("format", "csv")), link("/export", ("format", "json")));
        let next = found.next_token.map(|token| link("", ("after", &token)));
        Self {
            frame: Frame::of(person, "audit", None),
            now: now.to_human(),
            outcome: address.outcome.clone(),
            searched,
            records: found.records.unwrap_or_default().into_iter().map(|record| line(&record, now)).collect(),
            next,
            export_csv,
            export_json,
            fields,
        }
    }
}

fn line(record: &Record, now: Timestamp) -> Line {
    let name = |text: &Option<String>| clean(text.as_deref().unwrap_or_default(), NAME_CHARS);
    let outcome = clean(record.outcome.as_deref().unwrap_or_default(), SENTENCE_CHARS);
    Line {
        seq: record.sequence_number.unwrap_or_default(),
        at: When::new(record.at.map_or(Timestamp::EPOCH, Timestamp::from), now),
        principal: name(&record.principal),
        action: name(&record.action),
        resource: name(&record.resource),
        tone: if outcome == "done" { "good" } else { "bad" },
        outcome,
        source_address: name(&record.source_address),
        request_id: name(&record.request_id),
        sealed: record.sealed.unwrap_or_default(),
    }
}

/// One record, and what it changed.
#[derive(Template)]
#[template(path = "audit_record.html")]
pub(crate) struct AuditRecord {
    frame: Frame,
    record: Line,
    /// The instant with all that is known of it.
    exactly_at: String,
    seal: Option<(i64, When)>,
    of_request: String,
    differences: Vec<Difference>,
    more: bool,
}

/// A place in the state that is not as it was before.
#[derive(Debug, PartialEq, Eq)]
struct Difference {
    /// Names and numbers, joined by dots; empty for the state itself.
    place: String,
    /// `None`: it was not there.
    before: Option<String>,
    /// `None`: it is not there any more.
    after: Option<String>,
}

impl AuditRecord {
    pub(crate) fn new(person: &Person, record: Record, now: Timestamp) -> Self {
        let at = record.at.map_or(Timestamp::EPOCH, Timestamp::from);
        let seal = record.seal_number.zip(record.sealed_at.map(|at| When::new(at.into(), now)));
        let state = |text: &Option<String>| {
            let text = text.as_deref().unwrap_or("null");
            serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()))
        };
        let mut differences = Vec::new();
        compare(String::new(), &state(&record.before), &state(&record.after), 0, &mut differences);
        let more = differences.len() > DIFFERENCES_MAX;
        differences.truncate(DIFFERENCES_MAX);
        let line = line(&record, now);
        let of_request = Serializer::new(String::new()).append_pair("request_id", &line.request_id).finish();
        Self {
            frame: Frame::of(person, "audit", None),
            exactly_at: at.to_rfc3339_millis(),
            seal,
            of_request,
            record: line,
            differences,
            more,
        }
    }
}

/// Where `after` is not `before`, in the order of the places.
fn compare(place: String, before: &Value, after: &Value, depth: usize, into: &mut Vec<Difference>) {
    if before == after || into.len() > DIFFERENCES_MAX {
        return;
    }
    let below = |name: &str| if place.is_empty() { name.to_owned() } else { format!("{place}.{name}") };
    match (before, after) {
        (Value::Object(before), Value::Object(after)) if depth < DEPTH_MAX => {
            let names: std::collections::BTreeSet<&String> = before.keys().chain(after.keys()).collect();
            for name in names {
                let (one, other) = (before.get(name), after.get(name));
                compare(below(name), one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null), depth + 1, into);
            }
        }
        (Value::Array(before), Value::Array(after)) if depth < DEPTH_MAX => {
            for index in 0..before.len().max(after.len()) {
                let (one, other) = (before.get(index), after.get(index));
                let place = below(&(index + 1).to_string());
                compare(place, one.unwrap_or(&Value::Null), other.unwrap_or(&Value::Null), depth + 1, into);
            }
        }
        // What is new, or gone, is taken apart too: a line for each of its members is easier to read than their JSON.
        (Value::Null, Value::Object(members)) if depth < DEPTH_MAX && !members.is_empty() => {
            compare(place, &Value::Object(serde_json::Map::new()), after, depth, into);
        }
        (Value::Object(members), Value::Null) if depth < DEPTH_MAX && !members.is_empty() => {
            compare(place, before, &Value::Object(serde_json::Map::new()), depth, into);
        }
        _ => into.push(Difference { place: clean(&place, NAME_CHARS), before: written(before), after: written(after) }),
    }
}

fn written(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(clean(text, SENTENCE_CHARS)),
        other => Some(clean(&other.to_string(), SENTENCE_CHARS)),
    }
}

/// What a verification found.
#[derive(Template)]
#[template(path = "audit_verification.html")]
pub(crate) struct AuditVerification {
    frame: Frame,
    now: String,
    unbroken: bool,
    summary: String,
    faults: Vec<String>,
    more_faults: i64,
    pruned: i64,
    late: String,
    head: String,
    head_number: i64,
    public_key: String,
}

impl AuditVerification {
    pub(crate) fn new(person: &Person, found: &VerifyAuditLogResult, now: Timestamp) -> Self {
        let number = |count: Option<i64>| u64::try_from(count.unwrap_or_default()).unwrap_or_default();
        let records = counted(number(found.record_count), "record", "records");
        let seals = counted(number(found.seal_count), "seal", "seals");
        let unsealed = number(found.unsealed_count);
        let late: Vec<String> = found.late_seal_numbers.iter().flatten().take(20).map(ToString::to_string).collect();
        Self {
            frame: Frame::of(person, "audit", None),
            now: now.to_human(),
            unbroken: found.unbroken.unwrap_or_default(),
            summary: format!("{records}, {seals}, {} not sealed yet", counted(unsealed, "record", "records")),
            faults: found.faults.iter().flatten().map(|fault| clean(fault, SENTENCE_CHARS)).collect(),
            more_faults: found.more_fault_count.unwrap_or_default(),
            pruned: found.pruned_count.unwrap_or_default(),
            late: late.join(", "),
            head: found.head.clone().unwrap_or_default(),
            head_number: found.head_seal_number.unwrap_or_default(),
            public_key: found.public_key.clone().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn differences(before: &Value, after: &Value) -> Vec<(String, String, String)> {
        let mut found = Vec::new();
        compare(String::new(), before, after, 0, &mut found);
        let shown = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        found.into_iter().map(|one| (one.place, shown(one.before), shown(one.after))).collect()
    }

    fn line(place: &str, before: &str, after: &str) -> (String, String, String) {
        (place.to_owned(), before.to_owned(), after.to_owned())
    }

    #[test]
    fn only_what_changed_is_shown() {
        let before = json!({"name": "a", "rules": [{"days": 7}, {"days": 1}], "same": [1, 2], "gone": true});
        let after = json!({"name": "b", "rules": [{"days": 0}], "same": [1, 2], "new": {"x": "y"}});
        assert_eq!(
            differences(&before, &after),
            [
                line("gone", "true", "-"),
                line("name", "a", "b"),
                line("new.x", "-", "y"),
                line("rules.1.days", "7", "0"),
                line("rules.2.days", "1", "-"),
            ]
        );
        assert_eq!(differences(&json!(null), &json!({"a": 1})), [line("a", "-", "1")]);
        assert_eq!(differences(&json!("one"), &json!("two")), [line("", "one", "two")]);
        assert_eq!(differences(&after, &after), []);
    }

    #[test]
    fn no_state_is_too_deep_or_too_wide() {
        let deep = (0..100).fold(json!(1), |inner, _| json!({ "a": inner }));
        assert_eq!(differences(&json!(null), &deep).len(), 1);
        let wide = Value::Array((0..10_000).map(Value::from).collect());
        assert_eq!(differences(&json!([]), &wide).len(), DIFFERENCES_MAX + 1);
    }
}
