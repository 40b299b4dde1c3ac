use thiserror::Error;

/// Why a decision of this crate was refused. The text is public and meant for the caller (empty where the model's error has
/// no members); [`Refused::code`] is the name of the error in the SSM model (API version 2014-11-06).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// A value breaks a constraint, or its feature does not exist yet.
    #[error("{0}")]
    Validation(String),
    /// A document parameter is missing, unknown or not acceptable.
    #[error("{0}")]
    InvalidParameters(String),
    /// No such document, or its content is not what the caller expected.
    #[error("{0}")]
    InvalidDocument(String),
    /// No such version of the document.
    #[error("The document version is not valid or does not exist.")]
    InvalidDocumentVersion,
    /// The document and its parameters are too large together.
    #[error("The size limit of a document with its parameters is 64 KB.")]
    MaxDocumentSizeExceeded,
    /// A node is not registered, or not part of the command.
    #[error("{0}")]
    InvalidInstanceId(String),
    /// A node is named twice.
    #[error("")]
    DuplicateInstanceId,
    /// The document does not run on the platform of a node named by its id.
    #[error("{0}")]
    UnsupportedPlatformType(String),
    /// No such command.
    #[error("")]
    InvalidCommandId,
    /// The command has no such invocation.
    #[error("")]
    InvocationDoesNotExist,
    /// The document has no such step, or none was named although there are several.
    #[error("")]
    InvalidPluginName,
    /// Not a filter key of the operation.
    #[error("")]
    InvalidFilterKey,
}

impl Refused {
    /// The error's name in the SSM model.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::InvalidParameters(_) => "InvalidParameters",
            Self::InvalidDocument(_) => "InvalidDocument",
            Self::InvalidDocumentVersion => "InvalidDocumentVersion",
            Self::MaxDocumentSizeExceeded => "MaxDocumentSizeExceeded",
            Self::InvalidInstanceId(_) => "InvalidInstanceId",
            Self::DuplicateInstanceId => "DuplicateInstanceId",
            Self::UnsupportedPlatformType(_) => "UnsupportedPlatformType",
            Self::InvalidCommandId => "InvalidCommandId",
            Self::InvocationDoesNotExist => "InvocationDoesNotExist",
            Self::InvalidPluginName => "InvalidPluginName",
            Self::InvalidFilterKey => "InvalidFilterKey",
        }
    }
}

/// Refuses by name every input that is set although its feature does not exist yet: `(name, whether it is set)`.
///
/// # Errors
/// [`Refused::Validation`] naming the first that is set.
pub fn refuse_unsupported(inputs: &[(&str, bool)]) -> Result<(), Refused> {
    match inputs.iter().find(|(_, set)| *set) {
        Some((name, _)) => Err(Refused::Validation(format!("{name} is not supported yet; leave it out."))),
        None => Ok(()),
    }
}
