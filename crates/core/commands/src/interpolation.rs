//! `{{ name }}` in a step's inputs, replaced by parameters in a single pass (what a value brings in is not read again).

use crate::parameters::{ParameterValue, ParameterValues};
use serde_json::{Map, Value};
use std::ops::Range;

/// The tokens in a text: where each lies, and the name in it. Names are of letters and digits; any other braces are text.
pub(crate) fn tokens(text: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    let mut from = 0;
    std::iter::from_fn(move || {
        loop {
            let start = from + text.get(from..)?.find("{{")?;
            let inner = text.get(start + 2..)?;
            let trimmed = inner.trim_start_matches(' ');
            let length = trimmed.bytes().take_while(u8::is_ascii_alphanumeric).count();
            let (name, rest) = trimmed.split_at_checked(length)?;
            if let (false, Some(after)) = (name.is_empty(), rest.trim_start_matches(' ').strip_prefix("}}")) {
                from = text.len() - after.len();
                return Some((start..from, name));
            }
            // Not a token; the next may begin one brace later.
            from = start + 1;
        }
    })
}

/// The name, if the text is exactly one token.
pub(crate) fn single_token(text: &str) -> Option<&str> {
    tokens(text).next().filter(|(range, _)| *range == (0..text.len())).map(|(_, name)| name)
}

fn text_with(text: &str, values: &ParameterValues) -> Value {
    if let Some(value) = single_token(text).and_then(|name| values.get(name)) {
        // Alone, a parameter keeps its type.
        return match value {
            ParameterValue::Text(text) => Value::from(text.clone()),
            ParameterValue::List(items) => Value::from(items.clone()),
        };
    }
    let mut written = String::new();
    let mut from = 0;
    for (range, name) in tokens(text) {
        if let Some(value) = values.get(name) {
            written.push_str(text.get(from..range.start).unwrap_or_default());
            // AWS's agent halves `$$` here, and documents have come to count on it.
            written.push_str(&value.to_text().replace("$$", "$"));
            from = range.end;
        }
    }
    written.push_str(text.get(from..).unwrap_or_default());
    Value::from(written)
}

fn value_with(value: &Value, values: &ParameterValues) -> Value {
    match value {
        Value::String(text) => text_with(text, values),
        Value::Array(items) => Value::Array(items.iter().map(|item| value_with(item, values)).collect()),
        Value::Object(members) => Value::Object(inputs_with(members, values)),
        other => other.clone(),
    }
}

/// The inputs with parameters put in. The nesting is bounded when the document is read.
pub(crate) fn inputs_with(inputs: &Map<String, Value>, values: &ParameterValues) -> Map<String, Value> {
    let mut replaced: Map<String, Value> =
        inputs.iter().map(|(name, value)| (name.clone(), value_with(value, values))).collect();
    // `runCommand: ["{{ commands }}"]` is written as often as `runCommand: "{{ commands }}"` and means the same.
    if let Some(Value::Array(lines)) = replaced.get_mut("runCommand") {
        *lines = std::mem::take(lines)
            .into_iter()
            .flat_map(|line| match line {
                Value::Array(inner) => inner,
                other => vec![other],
            })
            .collect();
    }
    replaced
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn values() -> ParameterValues {
        ParameterValues::from([
            ("commands".to_owned(), ParameterValue::List(vec!["a \"b\"".into(), "{{ dir }}".into()])),
            ("dir".to_owned(), ParameterValue::Text("/tmp".into())),
            ("cost".to_owned(), ParameterValue::Text("5$$ {{ dir }}".into())),
        ])
    }

    #[test]
    fn tokens_are_replaced_once() {
        for (input, expected) in [
            (json!("{{ dir }}"), json!("/tmp")),
            (json!("{{dir}}"), json!("/tmp")),
            (json!("{{ commands }}"), json!(["a \"b\"", "{{ dir }}"])),
            (json!("ls {{ dir }}/{{dir}} "), json!("ls /tmp//tmp ")),
            (json!("run {{ commands }}"), json!(r#"run ["a \"b\"","{{ dir }}"]"#)),
            (json!("{{ cost }}"), json!("5$$ {{ dir }}")),
            (json!("x{{ cost }}"), json!("x5$ {{ dir }}")),
            (json!("{{ unknown }} {{ dir }}"), json!("{{ unknown }} /tmp")),
            (json!("{{ my_dir }} {{ }} {{ dir"), json!("{{ my_dir }} {{ }} {{ dir")),
            (json!("{{{dir}}}"), json!("{/tmp}")),
            (json!("${{{ dir }}"), json!("${/tmp")),
            (json!([["{{ dir }}"], 1, true, null]), json!([["/tmp"], 1, true, null])),
            (json!({"{{ dir }}": "{{ dir }}"}), json!({"{{ dir }}": "/tmp"})),
            (json!("ä{{ dir }}ö"), json!("ä/tmpö")),
        ] {
            assert_eq!(value_with(&input, &values()), expected, "{input}");
        }
    }

    #[test]
    fn both_ways_to_write_commands_are_one() {
        let once = json!({"runCommand": "{{ commands }}"});
        let nested = json!({"runCommand": ["set -e", "{{ commands }}"]});
        assert_eq!(
            Value::Object(inputs_with(once.as_object().unwrap(), &values())),
            json!({"runCommand": ["a \"b\"", "{{ dir }}"]})
        );
        assert_eq!(
            Value::Object(inputs_with(nested.as_object().unwrap(), &values())),
            json!({"runCommand": ["set -e", "a \"b\"", "{{ dir }}"]})
        );
    }

    proptest! {
        #[test]
        fn any_text_is_read_and_text_without_parameters_stays(text in "[{} a$\\u{e4}]{0,24}") {
            prop_assert_eq!(value_with(&Value::from(text.clone()), &ParameterValues::new()), Value::from(text.clone()));
            for (range, name) in tokens(&text) {
                prop_assert!(text[range].contains(name));
            }
        }
    }
}
