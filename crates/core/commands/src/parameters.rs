//! Parameters of documents: how they are defined, and whether what a caller gives fits.

use crate::documents::{DOCUMENT_BYTES_MAX, Document, DocumentError};
use crate::{GivenParameters, Refused};
use regex_lite::{Regex, RegexBuilder};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The largest program that an allowedPattern may become.
const PATTERN_BYTES_MAX: usize = 1 << 20;

/// What a parameter takes, with the names of the SSM model. The model knows more; Command documents use these two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum ParameterType {
    String,
    StringList,
}

impl ParameterType {
    /// The name in the API.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::String => "String",
            Self::StringList => "StringList",
        }
    }
}

/// A parameter's value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum ParameterValue {
    /// Of a String.
    Text(String),
    /// Of a StringList.
    List(Vec<String>),
}

impl ParameterValue {
    /// As a text: a list is written as JSON, as `DefaultValue` of the API and text replacement have it.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::List(items) => serde_json::Value::from(items.clone()).to_string(),
        }
    }

    fn items(&self) -> &[String] {
        match self {
            Self::Text(text) => std::slice::from_ref(text),
            Self::List(items) => items,
        }
    }
}

/// The values of a document's parameters by name: given ones, and defaults for the rest.
pub type ParameterValues = BTreeMap<String, ParameterValue>;

/// A parameter as its document defines it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parameter {
    /// Letters and digits.
    pub name: String,
    /// What it takes.
    pub kind: ParameterType,
    /// For people.
    pub description: String,
    /// What it is when nothing is given; `None`: it must be given.
    pub default: Option<ParameterValue>,
    /// The only values (of a list: elements) that it takes; empty: any.
    pub allowed_values: Vec<String>,
    /// What a value (of a list: every element) must match from end to end.
    pub allowed_pattern: Option<String>,
    /// How many elements a list has at least.
    pub items_min: Option<usize>,
    /// How many elements a list has at most.
    pub items_max: Option<usize>,
    /// How many characters a value (of a list: every element) has at least.
    pub chars_min: Option<usize>,
    /// How many characters a value (of a list: every element) has at most.
    pub chars_max: Option<usize>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(crate) struct ParameterText {
    #[serde(rename = "type")]
    kind: ParameterType,
    #[serde(default)]
    description: String,
    default: Option<ParameterValue>,
    #[serde(default)]
    allowed_values: Vec<String>,
    allowed_pattern: Option<String>,
    // Only the shape of an input field: read, checked and not kept.
    #[allow(dead_code)]
    display_type: Option<DisplayType>,
    min_items: Option<usize>,
    max_items: Option<usize>,
    min_chars: Option<usize>,
    max_chars: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum DisplayType {
    TextField,
    TextArea,
}

/// Java's `matches` and so the service's check is of the whole value.
fn compile(pattern: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(&format!("^(?:{pattern})$")).size_limit(PATTERN_BYTES_MAX).build()
}

pub(crate) fn check_definition(name: String, text: ParameterText) -> Result<Parameter, DocumentError> {
    // The agent's own rule; others could never be put into a step.
    if name.is_empty() || !name.bytes().all(|b| b.is_ascii_alphanumeric()) {
        return Err(DocumentError(format!("Parameter name '{name}' must be of letters and digits.")));
    }
    let fits = match (&text.default, text.kind) {
        (None, _) => true,
        (Some(ParameterValue::Text(_)), kind) => kind == ParameterType::String,
        (Some(ParameterValue::List(_)), kind) => kind == ParameterType::StringList,
    };
    if !fits {
        return Err(DocumentError(format!("Parameter {name}: the default is not a {}.", text.kind.as_str())));
    }
    if let Some(pattern) = &text.allowed_pattern {
        compile(pattern).map_err(|e| DocumentError(format!("Parameter {name}: allowedPattern: {e}")))?;
    }
    Ok(Parameter {
        name,
        kind: text.kind,
        description: text.description,
        default: text.default,
        allowed_values: text.allowed_values,
        allowed_pattern: text.allowed_pattern,
        items_min: text.min_items,
        items_max: text.max_items,
        chars_min: text.min_chars,
        chars_max: text.max_chars,
    })
}

/// Checks what a caller gives for a document's parameters and fills in the defaults.
///
/// # Errors
/// [`Refused::InvalidParameters`] for one that is missing, unknown or does not fit, or that refers to the
/// Parameter Store (`{{ssm:name}}`), which does not exist yet; [`Refused::MaxDocumentSizeExceeded`] when document and
/// parameters are too large together.
pub fn check_parameters(document: &Document, given: &GivenParameters) -> Result<ParameterValues, Refused> {
    let given_bytes: usize =
        given.iter().map(|(name, values)| name.len() + values.iter().map(String::len).sum::<usize>()).sum();
    if document.content.len().saturating_add(given_bytes) > DOCUMENT_BYTES_MAX {
        return Err(Refused::MaxDocumentSizeExceeded);
    }
    if let Some(unknown) = given.keys().find(|name| document.parameters.iter().all(|p| p.name != **name)) {
        let shown: String = unknown.chars().take(64).collect();
        return Err(Refused::InvalidParameters(format!("Document {} has no parameter '{shown}'.", document.name)));
    }
    let mut values = ParameterValues::new();
    for parameter in &document.parameters {
        let value = match (given.get(&parameter.name), &parameter.default) {
            (Some(items), _) => {
                let value = parameter.read(items)?;
                parameter.check(&value)?;
                value
            }
            (None, Some(default)) => default.clone(),
            (None, None) => return Err(parameter.refuse("is required")),
        };
        values.insert(parameter.name.clone(), value);
    }
    Ok(values)
}

impl Parameter {
    fn refuse(&self, reason: &str) -> Refused {
        Refused::InvalidParameters(format!("Parameter {} {reason}.", self.name))
    }

    /// SSM sends lists of texts for every parameter.
    fn read(&self, items: &[String]) -> Result<ParameterValue, Refused> {
        match (self.kind, items) {
            (ParameterType::StringList, _) => Ok(ParameterValue::List(items.to_vec())),
            (ParameterType::String, [text]) => Ok(ParameterValue::Text(text.clone())),
            (ParameterType::String, _) => Err(self.refuse("takes exactly one value")),
        }
    }

    fn check(&self, value: &ParameterValue) -> Result<(), Refused> {
        let items = value.items();
        if self.kind == ParameterType::StringList {
            if let Some(min) = self.items_min.filter(|min| items.len() < *min) {
                return Err(self.refuse(&format!("must have at least {min} values")));
            }
            if let Some(max) = self.items_max.filter(|max| items.len() > *max) {
                return Err(self.refuse(&format!("must have at most {max} values")));
            }
        }
        let pattern = match &self.allowed_pattern {
            Some(pattern) => Some((pattern, compile(pattern).map_err(|_| self.refuse("has an unusable pattern"))?)),
            None => None,
        };
        for item in items {
            if refers_to_parameter_store(item) {
                return Err(self.refuse("refers to the Parameter Store ({{ssm:name}}), which is not supported yet"));
            }
            let count = item.chars().count();
            if let Some(min) = self.chars_min.filter(|min| count < *min) {
                return Err(self.refuse(&format!("must have at least {min} characters")));
            }
            if let Some(max) = self.chars_max.filter(|max| count > *max) {
                return Err(self.refuse(&format!("must have at most {max} characters")));
            }
            if !self.allowed_values.is_empty() && !self.allowed_values.contains(item) {
                return Err(self.refuse(&format!("must be one of {}", self.allowed_values.join(", "))));
            }
            if let Some((pattern, _)) = pattern.as_ref().filter(|(_, regex)| !regex.is_match(item)) {
                return Err(self.refuse(&format!("must match the pattern {pattern}")));
            }
        }
        Ok(())
    }
}

/// `{{ssm:name}}` or `{{ssm-secure:name}}`, with any spaces.
pub(crate) fn refers_to_parameter_store(text: &str) -> bool {
    text.split("{{").skip(1).any(|rest| {
        let rest = rest.trim_start();
        rest.starts_with("ssm:") || rest.starts_with("ssm-secure:")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::built_in_document;

    fn given(pairs: &[(&str, &[&str])]) -> GivenParameters {
        pairs.iter().map(|(k, v)| ((*k).to_owned(), v.iter().map(|v| (*v).to_owned()).collect())).collect()
    }

    #[test]
    fn the_patch_document_takes_what_aws_documents() {
        let document = built_in_document("AWS-RunPatchBaseline").unwrap();
        let uuid = "6F3C2CF2-3b5c-4d2e-9b1a-0123456789ab";
        for (pairs, fits) in [
            (&[("Operation", &["Scan"][..])][..], true),
            (&[("Operation", &["Install"]), ("RebootOption", &["NoReboot"])], true),
            (&[], false),
            (&[("Operation", &[])], false),
            (&[("Operation", &["scan"])], false),
            (&[("Operation", &["Scan", "Install"])], false),
            (&[("Operation", &["Scan"]), ("RebootOption", &["Never"])], false),
            (&[("Operation", &["Scan"]), ("Colour", &["red"])], false),
            (&[("Operation", &["Scan"]), ("SnapshotId", &[uuid])], true),
            (&[("Operation", &["Scan"]), ("SnapshotId", &[""])], true),
            (&[("Operation", &["Scan"]), ("SnapshotId", &["x"])], false),
            (&[("Operation", &["Scan"]), ("SnapshotId", &["6F3C2CF2-3b5c-4d2e-9b1a-0123456789ab; reboot"])], false),
            (&[("Operation", &["Scan"]), ("AssociationId", &[uuid])], true),
            (&[("Operation", &["Install"]), ("InstallOverrideList", &["https://example.org/list.yaml"])], true),
            (&[("Operation", &["Install"]), ("InstallOverrideList", &["s3://bucket/list.yaml"])], true),
            (&[("Operation", &["Install"]), ("InstallOverrideList", &["file:///etc/list"])], false),
            (&[("Operation", &["Install"]), ("BaselineOverride", &["s3://bucket/base.json"])], true),
            (&[("Operation", &["Install"]), ("BaselineOverride", &["/etc/base.json"])], false),
        ] {
            let found = check_parameters(document, &given(pairs));
            assert_eq!(found.as_ref().err().map(Refused::code), (!fits).then_some("InvalidParameters"), "{pairs:?}");
            if let Ok(values) = found {
                assert_eq!(values.len(), document.parameters.len(), "the rest takes its default");
            }
        }
    }

    #[test]
    fn the_shell_document_takes_commands() {
        let document = built_in_document("AWS-RunShellScript").unwrap();
        let long = "w".repeat(4097);
        for (pairs, code) in [
            (&[("commands", &["uptime", "id"][..])][..], None),
            (&[("commands", &[])], Some("InvalidParameters")),
            (&[], Some("InvalidParameters")),
            (&[("commands", &["echo {{ ssm:password }}"])], Some("InvalidParameters")),
            (&[("commands", &["echo {{ssm-secure:password:1}}"])], Some("InvalidParameters")),
            (&[("commands", &["echo '{{ other }}'"])], None),
            (&[("commands", &["id"]), ("workingDirectory", &[long.as_str()])], Some("InvalidParameters")),
            (&[("commands", &["id"]), ("executionTimeout", &["172800"])], None),
            (&[("commands", &["id"]), ("executionTimeout", &["172801"])], Some("InvalidParameters")),
            (&[("commands", &["id"]), ("executionTimeout", &["0"])], Some("InvalidParameters")),
            (&[("commands", &["id"]), ("executionTimeout", &["1h"])], Some("InvalidParameters")),
        ] {
            let found = check_parameters(document, &given(pairs));
            assert_eq!(found.err().map(|e| e.code()), code, "{pairs:?}");
        }
        let script = "x".repeat(DOCUMENT_BYTES_MAX);
        let found = check_parameters(document, &given(&[("commands", &[script.as_str()])]));
        assert_eq!(found.unwrap_err(), Refused::MaxDocumentSizeExceeded);
    }

    #[test]
    fn lists_and_lengths_are_bounded() {
        let content = r#"{"schemaVersion":"2.2","parameters":{
            "list":{"type":"StringList","minItems":1,"maxItems":2,"minChars":1,"allowedPattern":"[a-z]+|[0-9]"},
            "text":{"type":"String","default":"","minChars":2,"maxChars":3,"displayType":"textfield"}},
            "mainSteps":[{"action":"aws:runShellScript","name":"a"}]}"#;
        let name = identifiers::DocumentName::parse("Mine").unwrap();
        let document = Document::parse(name, "Self", "1", content, identifiers::Timestamp::EPOCH).unwrap();
        for (list, text, fits) in [
            (&["a"][..], None, true),
            (&["a", "9"], Some("äöü"), true),
            (&["a", "b", "c"], None, false),
            (&["a", ""], None, false),
            (&["a", "99"], None, false),
            (&["a\n"], None, false),
            (&["a"], Some("x"), false),
            (&["a"], Some("xxxx"), false),
        ] {
            let mut pairs = vec![("list", list)];
            let text: Option<Vec<&str>> = text.map(|text| vec![text]);
            if let Some(text) = &text {
                pairs.push(("text", text));
            }
            assert_eq!(check_parameters(&document, &given(&pairs)).is_ok(), fits, "{pairs:?}");
        }
    }
}
