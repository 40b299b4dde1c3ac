//! Why a request is refused, in the words its caller sees.

use thiserror::Error;

/// A request that cannot be carried out. Its text is public.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Refused {
    /// An input breaks a rule.
    #[error("{0}")]
    Validation(String),
    /// The baseline is well named but not there.
    #[error("{0}")]
    DoesNotExist(String),
    /// What should be deleted is in use.
    #[error("{0}")]
    InUse(String),
    /// Another takes this place already.
    #[error("{0}")]
    AlreadyExists(String),
    /// A text that cannot be the id of a baseline.
    #[error("'{id}' is not the id of a patch baseline: it must be pb- and 17 hex digits, or an ARN that ends so.")]
    InvalidResourceId {
        /// What was given, shortened.
        id: String,
    },
    /// There are too many already.
    #[error("{0}")]
    LimitExceeded(String),
}

impl Refused {
    /// The error's name in the SSM model.
    #[must_use]
    pub fn aws_code(&self) -> &'static str {
        match self {
            Self::Validation(_) => "ValidationException",
            Self::DoesNotExist(_) => "DoesNotExistException",
            Self::InUse(_) => "ResourceInUseException",
            Self::AlreadyExists(_) => "AlreadyExistsException",
            Self::InvalidResourceId { .. } => "InvalidResourceId",
            Self::LimitExceeded(_) => "ResourceLimitExceededException",
        }
    }
}
