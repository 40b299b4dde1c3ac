//! Checks a parsed input against the generated constraint tables, in AWS's words.
//!
//! Two things can be wrong. A value of the wrong JSON type is a `SerializationException`, and comes first: the real
//! service fails to build its input before it looks at any constraint. A value outside its constraints is a
//! `ValidationException` that lists all of them, here at most [`ERRORS_MAX`]. The walk follows the model, which has no
//! recursive shape (code generation refuses one), so its depth is the model's.

use crate::AwsError;
use crate::shape::{Kind, Member, Shape};
use serde_json::Value;
use std::fmt::Write;

/// As many errors are told; more would only repeat.
const ERRORS_MAX: usize = 10;
/// Of an offending value as many characters are shown.
const SHOWN_CHARS_MAX: usize = 1024;

/// Checks the input of an operation.
pub(crate) fn check(shape: &'static Shape, input: &Value) -> Result<(), AwsError> {
    let mut walk = Walk { errors: Vec::new(), path: String::new() };
    walk.value(shape, input, false)?;
    if walk.errors.is_empty() {
        return Ok(());
    }
    let count = walk.errors.len();
    let noun = if count == 1 { "error" } else { "errors" };
    Err(AwsError::validation(format!("{count} validation {noun} detected: {}", walk.errors.join("; "))))
}

struct Walk {
    errors: Vec<String>,
    /// Where the walk is, as AWS writes it: `approvalRules.patchRules.1.member.patchFilterGroup`.
    path: String,
}

impl Walk {
    /// `hidden`: something above is sensitive, so nothing of this may be shown.
    fn value(&mut self, shape: &'static Shape, value: &Value, hidden: bool) -> Result<(), AwsError> {
        let hidden = hidden || shape.sensitive;
        match (&shape.kind, value) {
            (Kind::Structure(members), Value::Object(object)) => {
                for member in *members {
                    self.member(member, object.get(member.name).filter(|value| !value.is_null()), hidden)?;
                }
                Ok(())
            }
            (Kind::List(element), Value::Array(items)) => {
                self.constraints(shape, value, hidden);
                for (at, item) in items.iter().enumerate() {
                    self.below(format_args!("{}.member", at + 1), |walk| walk.element(element, item, hidden))?;
                }
                self.scalars("Member", element, items.iter().filter_map(Value::as_str), (shape, value, hidden));
                Ok(())
            }
            (Kind::Map { key, value: element }, Value::Object(object)) => {
                self.constraints(shape, value, hidden);
                for (name, item) in object {
                    let shown = if hidden { "*" } else { first_chars(name, 128) };
                    self.below(format_args!("{shown}.member"), |walk| walk.element(element, item, hidden))?;
                }
                self.scalars("Map keys", key, object.keys().map(String::as_str), (shape, value, hidden));
                self.scalars("Map value", element, object.values().filter_map(Value::as_str), (shape, value, hidden));
                Ok(())
            }
            (kind, value) if scalar_fits(kind, value) => {
                self.constraints(shape, value, hidden);
                Ok(())
            }
            (kind, value) => Err(AwsError::serialization(misfit(kind, value))),
        }
    }

    fn member(&mut self, member: &Member, value: Option<&Value>, hidden: bool) -> Result<(), AwsError> {
        let mut chars = member.name.chars();
        let first = chars.next().map(|c| c.to_ascii_lowercase()).unwrap_or_default();
        self.below(format_args!("{first}{}", chars.as_str()), |walk| match value {
            Some(value) => walk.value(member.shape, value, hidden),
            None => {
                if member.required {
                    walk.null();
                }
                Ok(())
            }
        })
    }

    /// An element of a list or map. Its constraints, if it is a scalar, are told at the list: see [`Walk::scalars`].
    fn element(&mut self, shape: &'static Shape, value: &Value, hidden: bool) -> Result<(), AwsError> {
        if value.is_null() {
            self.null();
            return Ok(());
        }
        if !shape.is_scalar() {
            return self.value(shape, value, hidden);
        }
        if scalar_fits(&shape.kind, value) {
            return Ok(());
        }
        Err(AwsError::serialization(misfit(&shape.kind, value)))
    }

    /// The constraints of a list's or map's scalar elements: AWS tells them once, at the list, all in brackets.
    fn scalars<'v>(
        &mut self,
        what: &str,
        element: &Shape,
        mut texts: impl Iterator<Item = &'v str>,
        (shape, whole, hidden): (&Shape, &Value, bool),
    ) {
        let constraints = constraints_of(element);
        if element.is_scalar() && texts.any(|text| constraints.iter().any(|c| !c.holds_for_text(text))) {
            let all: Vec<String> = constraints.iter().map(Constraint::in_words).collect();
            let words = format!("{what} must satisfy constraint: [{}]", all.join(", "));
            self.refuse(shape, whole, hidden || element.sensitive, &words);
        }
    }

    fn constraints(&mut self, shape: &Shape, value: &Value, hidden: bool) {
        for constraint in constraints_of(shape) {
            if !constraint.holds(value) {
                self.refuse(shape, value, hidden, &constraint.in_words());
            }
        }
    }

    fn refuse(&mut self, shape: &Shape, value: &Value, hidden: bool, constraint: &str) {
        let shown = if hidden { String::new() } else { format!(" '{}'", shown(shape, value)) };
        let error = format!("Value{shown} at '{}' failed to satisfy constraint: {constraint}", self.path);
        self.push(error);
    }

    fn null(&mut self) {
        let error = format!("Value null at '{}' failed to satisfy constraint: Member must not be null", self.path);
        self.push(error);
    }

    fn push(&mut self, error: String) {
        if self.errors.len() < ERRORS_MAX {
            self.errors.push(error);
        }
    }

    fn below<R>(&mut self, step: std::fmt::Arguments<'_>, inside: impl FnOnce(&mut Self) -> R) -> R {
        let length = self.path.len();
        if length > 0 {
            self.path.push('.');
        }
        let _ = self.path.write_fmt(step); // A String takes everything.
        let result = inside(self);
        self.path.truncate(length);
        result
    }
}

/// One constraint of a shape.
enum Constraint<'s> {
    LengthAtMost(i64),
    LengthAtLeast(i64),
    NumberAtMost(i64),
    NumberAtLeast(i64),
    Pattern(&'s crate::pattern::Pattern),
    OneOf(&'s [&'s str]),
}

/// The constraints of one value of that shape, in the order in which AWS tells them.
fn constraints_of(shape: &Shape) -> Vec<Constraint<'_>> {
    let number = matches!(shape.kind, Kind::Integer | Kind::Long);
    let mut all = Vec::new();
    if shape.bounds.max != i64::MAX {
        let max = shape.bounds.max;
        all.push(if number { Constraint::NumberAtMost(max) } else { Constraint::LengthAtMost(max) });
    }
    if shape.bounds.min != i64::MIN {
        let min = shape.bounds.min;
        all.push(if number { Constraint::NumberAtLeast(min) } else { Constraint::LengthAtLeast(min) });
    }
    if let Kind::String { pattern, values } = &shape.kind {
        all.extend(pattern.map(Constraint::Pattern));
        if !values.is_empty() {
            all.push(Constraint::OneOf(values));
        }
    }
    all
}

impl Constraint<'_> {
    fn holds(&self, value: &Value) -> bool {
        let length = match value {
            Value::String(text) => return self.holds_for_text(text),
            Value::Array(items) => items.len(),
            Value::Object(object) => object.len(),
            _ => 0,
        };
        let number = value.as_i64().unwrap_or_default();
        match self {
            Self::LengthAtMost(max) => length_fits(length, i64::MIN, *max),
            Self::LengthAtLeast(min) => length_fits(length, *min, i64::MAX),
            Self::NumberAtMost(max) => number <= *max,
            Self::NumberAtLeast(min) => number >= *min,
            Self::Pattern(_) | Self::OneOf(_) => true,
        }
    }

    fn holds_for_text(&self, text: &str) -> bool {
        match self {
            Self::LengthAtMost(max) => length_fits(text.chars().count(), i64::MIN, *max),
            Self::LengthAtLeast(min) => length_fits(text.chars().count(), *min, i64::MAX),
            Self::Pattern(pattern) => pattern.matches(text),
            Self::OneOf(values) => values.contains(&text),
            Self::NumberAtMost(_) | Self::NumberAtLeast(_) => true,
        }
    }

    fn in_words(&self) -> String {
        match self {
            Self::LengthAtMost(max) => format!("Member must have length less than or equal to {max}"),
            Self::LengthAtLeast(min) => format!("Member must have length greater than or equal to {min}"),
            Self::NumberAtMost(max) => format!("Member must have value less than or equal to {max}"),
            Self::NumberAtLeast(min) => format!("Member must have value greater than or equal to {min}"),
            Self::Pattern(pattern) => format!("Member must satisfy regular expression pattern: {}", pattern.text()),
            Self::OneOf(values) => format!("Member must satisfy enum value set: [{}]", values.join(", ")),
        }
    }
}

fn length_fits(length: usize, min: i64, max: i64) -> bool {
    i64::try_from(length).is_ok_and(|length| (min..=max).contains(&length))
}

/// Whether a scalar has the JSON type of its shape. Numbers with a fraction are not whole numbers, even `1.0`.
fn scalar_fits(kind: &Kind, value: &Value) -> bool {
    match kind {
        Kind::String { .. } => value.is_string(),
        Kind::Integer => value.as_i64().is_some_and(|number| i32::try_from(number).is_ok()),
        Kind::Long => value.is_i64(),
        Kind::Boolean => value.is_boolean(),
        Kind::Timestamp => value.is_number(),
        Kind::Structure(_) | Kind::List(_) | Kind::Map { .. } => false,
    }
}

/// What the real services say of a value of the wrong type, as far as it is known.
fn misfit(kind: &Kind, value: &Value) -> String {
    let wanted = match kind {
        Kind::Structure(_) | Kind::Map { .. } => "a structure or map",
        Kind::List(_) => "a list",
        Kind::String { .. } => "a String",
        Kind::Integer => "an Integer",
        Kind::Long => "a Long",
        Kind::Boolean => "a Boolean",
        Kind::Timestamp => "a Timestamp",
    };
    let found = match value {
        Value::Object(_) => return "Start of structure or map found where not expected.".to_owned(),
        Value::Array(_) => return "Start of list found where not expected".to_owned(),
        Value::Null => "NULL_VALUE",
        Value::Bool(true) => "TRUE_VALUE",
        Value::Bool(false) => "FALSE_VALUE",
        Value::Number(_) => "NUMBER_VALUE",
        Value::String(_) => "STRING_VALUE",
    };
    format!("{found} can not be converted to {wanted}")
}

/// A value as Java prints it, cut off where it gets long.
fn shown(shape: &Shape, value: &Value) -> String {
    let mut out = String::new();
    show(shape, value, &mut out);
    let cut = first_chars(&out, SHOWN_CHARS_MAX);
    if cut.len() == out.len() { out } else { format!("{cut}...") }
}

/// Follows the shape, so that sensitive members stay hidden and unknown ones are left out. Stops once there is more
/// than will be shown, so that a large value costs no more than its beginning.
fn show(shape: &Shape, value: &Value, out: &mut String) {
    if out.len() > SHOWN_CHARS_MAX * 4 {
        return;
    }
    match (&shape.kind, value) {
        _ if shape.sensitive => out.push_str("***"),
        (_, Value::String(text)) => out.push_str(first_chars(text, SHOWN_CHARS_MAX + 1)),
        (Kind::List(element), Value::Array(items)) => {
            out.push('[');
            for (at, item) in items.iter().take(SHOWN_CHARS_MAX).enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                show(element, item, out);
            }
            out.push(']');
        }
        (Kind::Map { value: element, .. }, Value::Object(object)) => {
            let entries = object.iter().take(SHOWN_CHARS_MAX).map(|(key, item)| (key.as_str(), *element, item));
            show_entries(entries, out);
        }
        (Kind::Structure(members), Value::Object(object)) => {
            let present = members.iter().filter_map(|m| object.get(m.name).map(|item| (m.name, m.shape, item)));
            show_entries(present, out);
        }
        (_, Value::Object(_) | Value::Array(_)) => {}
        (_, other) => out.push_str(&other.to_string()),
    }
}

fn show_entries<'v>(entries: impl Iterator<Item = (&'v str, &'v Shape, &'v Value)>, out: &mut String) {
    out.push('{');
    for (at, (key, shape, item)) in entries.enumerate() {
        out.push_str(if at > 0 { ", " } else { "" });
        out.push_str(first_chars(key, SHOWN_CHARS_MAX));
        out.push('=');
        show(shape, item, out);
    }
    out.push('}');
}

fn first_chars(text: &str, count: usize) -> &str {
    text.char_indices().nth(count).and_then(|(at, _)| text.get(..at)).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Input, decode, ssm, sts};
    use identifiers::{IdSource, SeededIds};
    use serde_json::json;

    /// A value that often fits the shape and often does not.
    fn anything(shape: &Shape, ids: &mut SeededIds) -> Value {
        let mut dice = [0u8; 4];
        ids.fill(&mut dice);
        let [odds, count, pick, _] = dice;
        let strange =
            [json!(null), json!(5), json!(-1.5), json!("\u{0}é"), json!([[]]), json!({ "a": {} }), json!(true)];
        if odds < 16 {
            return strange[usize::from(pick) % strange.len()].clone();
        }
        match &shape.kind {
            Kind::Structure(members) => {
                let mut object = serde_json::Map::new();
                for member in *members {
                    let mut coin = [0u8];
                    ids.fill(&mut coin);
                    if member.required || coin[0] < 128 {
                        object.insert(member.name.to_owned(), anything(member.shape, ids));
                    }
                }
                Value::Object(object)
            }
            Kind::List(element) => (0..count % 3).map(|_| anything(element, ids)).collect(),
            Kind::Map { value, .. } => json!({ "key": anything(value, ids) }),
            Kind::String { values, .. } if !values.is_empty() => json!(values[usize::from(pick) % values.len()]),
            Kind::String { .. } => json!(ids.hex17()),
            Kind::Integer | Kind::Long | Kind::Timestamp => json!(count),
            Kind::Boolean => json!(pick < 128),
        }
    }

    fn never_surprised<I: Input>(reached: &mut usize) {
        let mut ids = SeededIds::new(7);
        for _ in 0..300 {
            let value = anything(I::OPERATION.shape().input, &mut ids);
            match decode::<I>(value.to_string().as_bytes()) {
                Ok(_) => *reached += 1,
                Err(error) => {
                    assert!(matches!(error.code.as_str(), "ValidationException" | "SerializationException"));
                    let message = error.message.unwrap();
                    // Whatever passes the tables must fit the Rust type.
                    assert_ne!(message, "The request body does not fit the operation", "{value}");
                }
            }
        }
    }

    #[test]
    fn tables_and_types_agree_on_what_fits() {
        let mut reached = 0;
        never_surprised::<ssm::CreateActivationRequest>(&mut reached);
        never_surprised::<ssm::DescribeActivationsRequest>(&mut reached);
        never_surprised::<ssm::DescribeInstanceInformationRequest>(&mut reached);
        never_surprised::<ssm::AddTagsToResourceRequest>(&mut reached);
        never_surprised::<ssm::SendCommandRequest>(&mut reached);
        never_surprised::<ssm::ListCommandsRequest>(&mut reached);
        never_surprised::<ssm::CreatePatchBaselineRequest>(&mut reached);
        never_surprised::<ssm::UpdatePatchBaselineRequest>(&mut reached);
        never_surprised::<ssm::DescribePatchBaselinesRequest>(&mut reached);
        never_surprised::<ssm::DescribeInstancePatchesRequest>(&mut reached);
        never_surprised::<ssm::ListDocumentsRequest>(&mut reached);
        never_surprised::<sts::GetCallerIdentityRequest>(&mut reached);
        assert!(reached > 300, "too few inputs were accepted to mean anything: {reached}");
    }

    fn patterns_compile(shape: &Shape, seen: &mut usize) {
        match &shape.kind {
            Kind::Structure(members) => members.iter().for_each(|member| patterns_compile(member.shape, seen)),
            Kind::List(element) => patterns_compile(element, seen),
            Kind::Map { key, value } => [key, value].iter().for_each(|shape| patterns_compile(shape, seen)),
            Kind::String { pattern: Some(pattern), .. } => {
                assert!(pattern.compiles(), "{}", pattern.text());
                *seen += 1;
            }
            _ => {}
        }
    }

    #[test]
    fn every_pattern_compiles() {
        let mut seen = 0;
        for operation in ssm::Operation::ALL {
            patterns_compile(operation.shape().input, &mut seen);
        }
        assert!(seen > 20, "{seen}");
    }
}
