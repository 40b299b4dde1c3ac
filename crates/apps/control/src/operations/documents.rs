//! What the operations on documents share: finding one, and its ARN.

use commands::{Document, built_in_document, document_name_of, no_such_document};

use crate::{Context, Error};

/// The document that a name or an ARN means, in the version asked for.
pub(super) fn named(
    name: Option<&str>,
    version: Option<&str>,
    version_name: Option<&str>,
) -> Result<&'static Document, Error> {
    let name = document_name_of(name.unwrap_or_default())?;
    let document = built_in_document(name.as_str()).ok_or_else(|| no_such_document(name.as_str()))?;
    document.check_version(version)?;
    // Built-in documents have no named versions.
    if version_name.is_some_and(|name| !name.is_empty()) {
        return Err(commands::Refused::InvalidDocumentVersion.into());
    }
    Ok(document)
}

/// The ARN of the document that a caller names.
pub(super) fn named_arn(context: &Context, name: Option<&str>) -> String {
    match name.unwrap_or_default() {
        arn if arn.starts_with("arn:") => arn.to_owned(),
        name => context.scope.ssm_arn(&format!("document/{name}")),
    }
}

/// The names of the platforms that a document runs on.
pub(super) fn platforms(document: &Document) -> Vec<String> {
    document.platform_types.iter().map(|platform| platform.as_str().to_owned()).collect()
}
