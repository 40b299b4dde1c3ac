//! The data model of SSM documents (Command documents of schema 1.2 and 2.2) and how their text is read.

use crate::Refused;
use crate::parameters::{Parameter, ParameterText, check_definition};
use crate::preconditions::platforms_of;
use identifiers::{DocumentName, Timestamp};
use serde::Deserialize;
use serde::de::{Error as _, MapAccess, Visitor};
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use thiserror::Error;

/// The largest document, and the largest one together with its parameters.
pub const DOCUMENT_BYTES_MAX: usize = 65_536;

/// The deepest nesting inside a step's inputs.
const INPUT_DEPTH_MAX: usize = 32;

/// A kind of operating system, with the names of the SSM model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[allow(missing_docs)]
pub enum Platform {
    Linux,
    MacOS,
    Windows,
}

impl Platform {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Linux, Self::MacOS, Self::Windows];

    /// The name in the API and in preconditions.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linux => "Linux",
            Self::MacOS => "MacOS",
            Self::Windows => "Windows",
        }
    }

    /// From the name in the API.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|platform| platform.as_str() == name)
    }
}

/// The form of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub enum SchemaVersion {
    /// `runtimeConfig`: plugins by name, no preconditions.
    #[serde(rename = "1.2")]
    V1_2,
    /// `mainSteps`: named steps in order, with preconditions.
    #[serde(rename = "2.2")]
    V2_2,
}

impl SchemaVersion {
    /// As written in a document.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V2_2 => "2.2",
        }
    }
}

/// One step as the document has it, before parameters are put in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// Its name; for schema 1.2 the plugin's.
    pub name: String,
    /// The plugin that runs it, e.g. `aws:runShellScript`.
    pub plugin: String,
    /// What the plugin gets.
    pub inputs: Map<String, Value>,
    /// On which nodes it runs; `None`: on all that the plugin knows.
    pub precondition: Option<Value>,
    /// Its time limit in seconds, as a number, a text or a parameter; `None`: the default.
    pub timeout: Option<Value>,
}

/// A document: what can be run, and with which parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// Its name.
    pub name: DocumentName,
    /// `Amazon` for those that come with the system.
    pub owner: String,
    /// This version: a number, from 1.
    pub version: String,
    /// Its form.
    pub schema_version: SchemaVersion,
    /// For people.
    pub description: String,
    /// In the order of the text.
    pub parameters: Vec<Parameter>,
    /// In the order in which they run.
    pub steps: Vec<Step>,
    /// Where at least one step runs.
    pub platform_types: Vec<Platform>,
    /// The text as given.
    pub content: String,
    /// Lower-case hex SHA-256 of the text.
    pub hash: String,
    /// When it was made.
    pub created_at: Timestamp,
}

/// Why a text is not a document that can be run here.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct DocumentError(pub String);

impl Document {
    /// Reads a Command document in JSON. Members whose feature does not exist here are refused by name.
    ///
    /// # Errors
    /// [`DocumentError`] with the reason, meant for the document's author.
    pub fn parse(
        name: DocumentName,
        owner: &str,
        version: &str,
        content: &str,
        created_at: Timestamp,
    ) -> Result<Self, DocumentError> {
        if content.len() > DOCUMENT_BYTES_MAX {
            return Err(DocumentError(format!("A document has at most {DOCUMENT_BYTES_MAX} bytes.")));
        }
        let text: DocumentText = serde_json::from_str(content).map_err(|e| DocumentError(e.to_string()))?;
        let parameters = text
            .parameters
            .0
            .into_iter()
            .map(|(name, parameter)| check_definition(name, parameter))
            .collect::<Result<Vec<Parameter>, DocumentError>>()?;
        let steps = match (text.schema_version, text.main_steps, text.runtime_config) {
            (SchemaVersion::V2_2, Some(steps), None) => steps.into_iter().map(Step::from).collect(),
            (SchemaVersion::V1_2, None, Some(plugins)) => steps_of_plugins(plugins.0)?,
            _ => return Err(DocumentError("Schema 2.2 has mainSteps, schema 1.2 has runtimeConfig.".to_owned())),
        };
        check_steps(&steps)?;
        Ok(Self {
            name,
            owner: owner.to_owned(),
            version: version.to_owned(),
            schema_version: text.schema_version,
            description: text.description,
            parameters,
            platform_types: platforms_of(&steps),
            steps,
            content: content.to_owned(),
            hash: hex(&Sha256::digest(content.as_bytes())),
            created_at,
        })
    }

    /// Whether a `DocumentVersion` of a request means this one, which is its only version: nothing, `$DEFAULT`,
    /// `$LATEST` or its number.
    ///
    /// # Errors
    /// [`Refused::InvalidDocumentVersion`] for any other.
    pub fn check_version(&self, requested: Option<&str>) -> Result<(), Refused> {
        match requested {
            None | Some("" | "$DEFAULT" | "$LATEST") => Ok(()),
            Some(number) if number == self.version => Ok(()),
            Some(_) => Err(Refused::InvalidDocumentVersion),
        }
    }

    /// Whether a `DocumentHash` of a request is this document's.
    ///
    /// # Errors
    /// [`Refused::InvalidDocument`] for another hash, [`Refused::Validation`] for a kind other than Sha256.
    pub fn check_hash(&self, hash: Option<&str>, hash_type: Option<&str>) -> Result<(), Refused> {
        if let Some(kind) = hash_type.filter(|kind| !matches!(*kind, "" | "Sha256")) {
            let shown: String = kind.chars().take(16).collect();
            return Err(Refused::Validation(format!("DocumentHashType {shown} is not supported; use Sha256.")));
        }
        match hash {
            Some(hash) if !hash.is_empty() && !hash.eq_ignore_ascii_case(&self.hash) => {
                Err(Refused::InvalidDocument("The document hash doesn't match the document.".to_owned()))
            }
            _ => Ok(()),
        }
    }
}

/// The name in `DocumentName` or `Name` of a request, which may be an ARN (`arn:aws:ssm:…:document/<name>`).
///
/// # Errors
/// [`Refused::InvalidDocument`] for what is neither.
pub fn document_name_of(text: &str) -> Result<DocumentName, Refused> {
    let name = match text.strip_prefix("arn:") {
        Some(arn) => {
            let mut parts = arn.splitn(5, ':');
            let service = parts.nth(1).unwrap_or_default();
            let resource = parts.nth(2).unwrap_or_default();
            if service == "ssm" { resource.strip_prefix("document/").unwrap_or_default() } else { "" }
        }
        None => text,
    };
    DocumentName::parse(name).map_err(|_| no_such_document(text))
}

/// The refusal of a document that does not exist.
#[must_use]
pub fn no_such_document(name: &str) -> Refused {
    let shown: String = name.chars().take(128).collect();
    Refused::InvalidDocument(format!("Document with name {shown} does not exist."))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct DocumentText {
    schema_version: SchemaVersion,
    #[serde(default)]
    description: String,
    #[serde(default)]
    parameters: Ordered<ParameterText>,
    main_steps: Option<Vec<StepText>>,
    runtime_config: Option<Ordered<PluginText>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StepText {
    action: String,
    name: String,
    #[serde(default)]
    inputs: Map<String, Value>,
    precondition: Option<Value>,
    timeout_seconds: Option<Value>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PluginText {
    properties: Vec<Map<String, Value>>,
}

impl From<StepText> for Step {
    fn from(text: StepText) -> Self {
        let mut inputs = text.inputs;
        // Both places are in use: the plugin's own input is the one that users set by a parameter.
        let timeout = inputs.remove("timeoutSeconds").or(text.timeout_seconds);
        Self { name: text.name, plugin: text.action, inputs, precondition: text.precondition, timeout }
    }
}

fn steps_of_plugins(plugins: Vec<(String, PluginText)>) -> Result<Vec<Step>, DocumentError> {
    let mut steps = Vec::new();
    for (plugin, text) in plugins {
        let mut properties = text.properties.into_iter();
        let (Some(mut inputs), None) = (properties.next(), properties.next()) else {
            return Err(DocumentError(format!("{plugin} must have exactly one element in properties.")));
        };
        inputs.remove("id");
        let timeout = inputs.remove("timeoutSeconds");
        steps.push(Step { name: plugin.clone(), plugin, inputs, precondition: None, timeout });
    }
    Ok(steps)
}

fn check_steps(steps: &[Step]) -> Result<(), DocumentError> {
    if steps.is_empty() {
        return Err(DocumentError("Unsupported schema format: a document must have at least one step.".to_owned()));
    }
    for (index, step) in steps.iter().enumerate() {
        let name = &step.name;
        if steps.iter().take(index).any(|earlier| earlier.name == *name) {
            return Err(DocumentError(format!("Step name {name} is used twice.")));
        }
        if let Some(flow) =
            ["finallyStep", "onFailure", "onSuccess"].iter().find(|flow| step.inputs.contains_key(**flow))
        {
            return Err(DocumentError(format!("Step {name}: {flow} is not supported yet.")));
        }
        if step.inputs.values().any(|value| is_deeper_than(value, INPUT_DEPTH_MAX)) {
            return Err(DocumentError(format!("Step {name}: inputs are nested too deeply.")));
        }
    }
    Ok(())
}

fn is_deeper_than(value: &Value, levels: usize) -> bool {
    let Some(below) = levels.checked_sub(1) else { return true };
    match value {
        Value::Array(items) => items.iter().any(|item| is_deeper_than(item, below)),
        Value::Object(members) => members.values().any(|member| is_deeper_than(member, below)),
        _ => false,
    }
}

/// A JSON object in the order of its text; a name given twice is refused.
struct Ordered<T>(Vec<(String, T)>);

impl<T> Default for Ordered<T> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Ordered<T> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct InOrder<T>(std::marker::PhantomData<T>);
        impl<'de, T: Deserialize<'de>> Visitor<'de> for InOrder<T> {
            type Value = Ordered<T>;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Ordered<T>, A::Error> {
                let mut members: Vec<(String, T)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, T>()? {
                    if members.iter().any(|(known, _)| *known == name) {
                        return Err(A::Error::custom(format!("{name} is given twice")));
                    }
                    members.push((name, value));
                }
                Ok(Ordered(members))
            }
        }
        deserializer.deserialize_map(InOrder(std::marker::PhantomData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(content: &str) -> Result<Document, DocumentError> {
        Document::parse(DocumentName::parse("Mine").unwrap(), "Self", "1", content, Timestamp::EPOCH)
    }

    const STEP: &str = r#"{"action":"aws:runShellScript","name":"a","inputs":{"runCommand":["true"]}}"#;

    #[test]
    fn what_cannot_be_run_is_refused_by_name() {
        for (content, word) in [
            (String::from("not json"), "expected"),
            (r#"{"schemaVersion":"2.0","mainSteps":[]}"#.into(), "2.0"),
            (r#"{"schemaVersion":"0.3","mainSteps":[]}"#.into(), "0.3"),
            (r#"{"schemaVersion":"2.2","mainSteps":[]}"#.into(), "at least one step"),
            (format!(r#"{{"schemaVersion":"1.2","mainSteps":[{STEP}]}}"#), "runtimeConfig"),
            (format!(r#"{{"schemaVersion":"2.2","mainSteps":[{STEP},{STEP}]}}"#), "used twice"),
            (format!(r#"{{"schemaVersion":"2.2","mainSteps":[{STEP}],"files":{{}}}}"#), "files"),
            (
                r#"{"schemaVersion":"2.2","mainSteps":[{"action":"x","name":"a","onFailure":"exit"}]}"#.into(),
                "onFailure",
            ),
            (
                r#"{"schemaVersion":"2.2","mainSteps":[{"action":"x","name":"a","inputs":{"finallyStep":true}}]}"#
                    .into(),
                "finallyStep",
            ),
            (
                format!(
                    r#"{{"schemaVersion":"2.2","mainSteps":[{{"action":"x","name":"a","inputs":{{"a":{}{}}}}}]}}"#,
                    "[".repeat(40),
                    "]".repeat(40)
                ),
                "nested",
            ),
            (
                format!(
                    r#"{{"schemaVersion":"2.2","parameters":{{"my_name":{{"type":"String"}}}},"mainSteps":[{STEP}]}}"#
                ),
                "my_name",
            ),
            (
                format!(r#"{{"schemaVersion":"2.2","parameters":{{"n":{{"type":"Integer"}}}},"mainSteps":[{STEP}]}}"#),
                "Integer",
            ),
            (
                format!(
                    r#"{{"schemaVersion":"2.2","parameters":{{"n":{{"type":"String","allowedPattern":"("}}}},"mainSteps":[{STEP}]}}"#
                ),
                "allowedPattern",
            ),
            (
                format!(
                    r#"{{"schemaVersion":"2.2","parameters":{{"n":{{"type":"String"}},"n":{{"type":"String"}}}},"mainSteps":[{STEP}]}}"#
                ),
                "twice",
            ),
            (format!("{{\"description\":\"{}\"}}", "d".repeat(DOCUMENT_BYTES_MAX)), "at most"),
        ] {
            let refused = read(&content).unwrap_err().0;
            assert!(refused.contains(word), "{word}: {refused}");
        }
    }

    #[test]
    fn a_document_is_read_in_its_own_order() {
        let content = format!(
            r#"{{"schemaVersion":"2.2","parameters":{{"z":{{"type":"String"}},"a":{{"type":"StringList","default":["1"]}}}},"mainSteps":[{STEP}]}}"#
        );
        let document = read(&content).unwrap();
        assert_eq!(document.parameters.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(), ["z", "a"]);
        assert_eq!(document.platform_types, [Platform::Linux, Platform::MacOS]);
        assert_eq!((document.content.as_str(), document.hash.len()), (content.as_str(), 64));
    }

    #[test]
    fn the_hash_is_sha_256_of_the_text() {
        // The empty text's digest is a test vector of FIPS 180-4.
        assert_eq!(hex(&Sha256::digest(b"")), "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        let document = read(&format!(r#"{{"schemaVersion":"2.2","mainSteps":[{STEP}]}}"#)).unwrap();
        assert!(document.check_hash(Some(&document.hash.to_uppercase()), Some("Sha256")).is_ok());
        assert!(document.check_hash(None, None).is_ok());
        assert_eq!(document.check_hash(Some("00"), None).unwrap_err().code(), "InvalidDocument");
        assert_eq!(document.check_hash(None, Some("Sha1")).unwrap_err().code(), "ValidationException");
        for (version, fits) in [(None, true), (Some("$LATEST"), true), (Some("1"), true), (Some("2"), false)] {
            assert_eq!(document.check_version(version).is_ok(), fits, "{version:?}");
        }
    }

    #[test]
    fn a_document_goes_by_name_or_arn() {
        for (text, name) in [
            ("AWS-RunShellScript", Some("AWS-RunShellScript")),
            ("arn:aws:ssm:us-east-1::document/AWS-RunShellScript", Some("AWS-RunShellScript")),
            ("arn:aws:ssm:us-east-1:000000000000:document/AWS-RunShellScript", Some("AWS-RunShellScript")),
            ("arn:aws:s3:us-east-1::document/AWS-RunShellScript", None),
            ("arn:aws:ssm:us-east-1::parameter/AWS-RunShellScript", None),
            ("arn:aws", None),
            ("a b", None),
            ("", None),
        ] {
            let found = document_name_of(text);
            assert_eq!(found.as_ref().ok().map(DocumentName::as_str), name, "{text}");
            assert_eq!(found.err().map(|e| e.code()), name.is_none().then_some("InvalidDocument"), "{text}");
        }
    }
}
