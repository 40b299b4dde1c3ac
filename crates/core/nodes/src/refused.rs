use thiserror::Error;

/// Why a decision of this crate was refused. The text is public and meant for the caller; [`Refused::code`] is the
/// name of the error in the SSM model (API version 2014-11-06).
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// A value breaks a constraint, or its feature does not exist yet.
    #[error("{0}")]
    Validation(String),
    /// A value is well formed but not acceptable.
    #[error("{0}")]
    InvalidParameters(String),
    /// The activation does not exist, or its id is malformed.
    #[error("The activation ID isn't valid. Verify that you entered the correct ActivationId and try again.")]
    InvalidActivationId,
    /// The activation admits no node: wrong code, expired, used up or deleted.
    #[error("{0}")]
    InvalidActivation(String),
    /// No such node, or not in a state for this.
    #[error("{0}")]
    InvalidInstanceId(String),
    /// Not a resource that can carry tags here.
    #[error("The resource type isn't valid: '{0}'.")]
    InvalidResourceType(String),
    /// The resource does not exist, or its id is malformed.
    #[error("The resource ID isn't valid. Verify that you entered the correct ID and try again.")]
    InvalidResourceId,
    /// More than 50 tags.
    #[error("A resource can have at most 50 tags. Remove one or more tags and try again.")]
    TooManyTags,
    /// Not a filter key of the operation, or one that cannot stand beside the others.
    #[error("{0}")]
    InvalidFilterKey(String),
    /// Not a value that the filter key knows.
    #[error("{0}")]
    InvalidInstanceInformationFilterValue(String),
    /// Not a filter of the operation.
    #[error("{0}")]
    InvalidFilter(String),
}

impl Refused {
    /// The error's name in the SSM model.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::InvalidParameters(_) => "InvalidParameters",
            Self::InvalidActivationId => "InvalidActivationId",
            Self::InvalidActivation(_) => "InvalidActivation",
            Self::InvalidInstanceId(_) => "InvalidInstanceId",
            Self::InvalidResourceType(_) => "InvalidResourceType",
            Self::InvalidResourceId => "InvalidResourceId",
            Self::TooManyTags => "TooManyTagsError",
            Self::InvalidFilterKey(_) => "InvalidFilterKey",
            Self::InvalidInstanceInformationFilterValue(_) => "InvalidInstanceInformationFilterValue",
            Self::InvalidFilter(_) => "InvalidFilter",
        }
    }
}
