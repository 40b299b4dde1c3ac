//! The documents that come with the system, and the filters of `ListDocuments`.

use crate::Refused;
use crate::documents::Document;
use identifiers::{DocumentName, Timestamp};
use std::sync::LazyLock;

/// The owner of the documents that come with the system, as AWS has it.
pub const BUILT_IN_OWNER: &str = "Amazon";

/// 2026-01-01T00:00:00Z: the age of the built-in texts is nobody's business, but the API must give one.
const MADE_AT_SECONDS: i64 = 1_767_225_600;

const TEXTS: [(&str, &str); 2] = [
    ("AWS-RunPatchBaseline", include_str!("../documents/AWS-RunPatchBaseline.json")),
    ("AWS-RunShellScript", include_str!("../documents/AWS-RunShellScript.json")),
];

static DOCUMENTS: LazyLock<Vec<Document>> = LazyLock::new(|| {
    // A text that could not be read would be missing here; a test holds the two lists against each other.
    TEXTS
        .iter()
        .filter_map(|(name, content)| {
            let name = DocumentName::parse(name).ok()?;
            Document::parse(name, BUILT_IN_OWNER, "1", content, Timestamp::from_seconds(MADE_AT_SECONDS)).ok()
        })
        .collect()
});

/// All documents that come with the system, by name.
#[must_use]
pub fn built_in_documents() -> &'static [Document] {
    &DOCUMENTS
}

/// The one with this name.
#[must_use]
pub fn built_in_document(name: &str) -> Option<&'static Document> {
    DOCUMENTS.iter().find(|document| document.name.as_str() == name)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DocumentKey {
    NamePrefix,
    Owner,
    PlatformType,
    DocumentType,
    TargetType,
    SearchKeyword,
}

/// The filters of `ListDocuments`: every one must hold, one of its values is enough.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DocumentFilters(Vec<(DocumentKey, Vec<String>)>);

impl DocumentFilters {
    /// Reads `Filters` as (key, values); `DocumentFilterList` has one value each.
    ///
    /// # Errors
    /// [`Refused::InvalidFilterKey`] for another key; [`Refused::Validation`] for tags (documents cannot be made yet, so
    /// none is tagged by whoever asks) or without values.
    pub fn parse(filters: &[(String, Vec<String>)]) -> Result<Self, Refused> {
        let mut read = Vec::new();
        for (key, values) in filters {
            let key = match key.as_str() {
                "Name" => DocumentKey::NamePrefix,
                "Owner" => DocumentKey::Owner,
                "PlatformTypes" => DocumentKey::PlatformType,
                "DocumentType" => DocumentKey::DocumentType,
                "TargetType" => DocumentKey::TargetType,
                "SearchKeyword" => DocumentKey::SearchKeyword,
                tag if tag.starts_with("tag:") => {
                    return Err(Refused::Validation("Filtering documents by tag is not supported yet.".to_owned()));
                }
                _ => return Err(Refused::InvalidFilterKey),
            };
            if values.is_empty() {
                return Err(Refused::Validation("A filter must have at least one value.".to_owned()));
            }
            read.push((key, values.clone()));
        }
        Ok(Self(read))
    }

    /// Whether the document is meant.
    #[must_use]
    pub fn matches(&self, document: &Document) -> bool {
        let public = document.owner == BUILT_IN_OWNER;
        self.0.iter().all(|(key, values)| {
            values.iter().any(|value| match key {
                DocumentKey::NamePrefix => document.name.as_str().starts_with(value.as_str()),
                DocumentKey::Owner => match value.as_str() {
                    "All" => true,
                    "Amazon" | "Public" => public,
                    "Self" | "Private" => !public,
                    _ => false,
                },
                DocumentKey::PlatformType => document.platform_types.iter().any(|p| p.as_str() == value),
                DocumentKey::DocumentType => value == "Command",
                // None has a target type of its own, which stands for all.
                DocumentKey::TargetType => value == "/",
                DocumentKey::SearchKeyword => {
                    let (name, word) = (document.name.as_str().to_lowercase(), value.to_lowercase());
                    name.contains(&word) || document.description.to_lowercase().contains(&word)
                }
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ParameterType, Platform, SchemaVersion};

    #[test]
    fn every_text_is_a_document() {
        for (name, content) in TEXTS {
            let made = Document::parse(
                DocumentName::parse(name).unwrap(),
                BUILT_IN_OWNER,
                "1",
                content,
                Timestamp::from_seconds(MADE_AT_SECONDS),
            );
            assert_eq!(built_in_document(name), Some(&made.unwrap()), "{name}");
        }
        assert_eq!(built_in_documents().len(), TEXTS.len());
        assert_eq!(built_in_document("AWS-Noop"), None);
    }

    #[test]
    fn they_have_the_parameters_that_clients_know() {
        let shape = |name: &str| {
            let document = built_in_document(name).unwrap();
            let parameters: Vec<(&str, ParameterType, Option<String>)> = document
                .parameters
                .iter()
                .map(|p| (p.name.as_str(), p.kind, p.default.as_ref().map(crate::ParameterValue::to_text)))
                .collect();
            (document.schema_version, document.platform_types.clone(), parameters)
        };
        let text = |name, default: Option<&str>| (name, ParameterType::String, default.map(str::to_owned));
        assert_eq!(
            shape("AWS-RunShellScript"),
            (
                SchemaVersion::V1_2,
                vec![Platform::Linux, Platform::MacOS],
                vec![
                    ("commands", ParameterType::StringList, None),
                    text("workingDirectory", Some("")),
                    text("executionTimeout", Some("3600")),
                ]
            )
        );
        assert_eq!(
            shape("AWS-RunPatchBaseline"),
            (
                SchemaVersion::V2_2,
                vec![Platform::Linux],
                vec![
                    text("Operation", None),
                    text("AssociationId", Some("")),
                    text("SnapshotId", Some("")),
                    text("InstallOverrideList", Some("")),
                    text("RebootOption", Some("RebootIfNeeded")),
                    text("BaselineOverride", Some("")),
                ]
            )
        );
    }

    #[test]
    fn documents_are_filtered() {
        let found = |key: &str, value: &str| {
            DocumentFilters::parse(&[(key.to_owned(), vec![value.to_owned()])])
                .map(|filters| built_in_documents().iter().filter(|d| filters.matches(d)).count())
                .map_err(|e| e.code())
        };
        for (key, value, expected) in [
            ("Name", "AWS-Run", Ok(2)),
            ("Name", "AWS-RunShell", Ok(1)),
            ("Owner", "Amazon", Ok(2)),
            ("Owner", "Self", Ok(0)),
            ("PlatformTypes", "MacOS", Ok(1)),
            ("PlatformTypes", "Windows", Ok(0)),
            ("DocumentType", "Command", Ok(2)),
            ("DocumentType", "Automation", Ok(0)),
            ("SearchKeyword", "PATCH", Ok(1)),
            ("tag:a", "b", Err("ValidationException")),
            ("Colour", "red", Err("InvalidFilterKey")),
        ] {
            assert_eq!(found(key, value), expected, "{key}={value}");
        }
    }
}
