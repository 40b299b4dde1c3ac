use thiserror::Error;

/// Why an operation did not happen: transport-neutral, with a public and a private half.
#[derive(Debug, Error)]
#[error("{code}: {message}")]
pub struct Error {
    /// AWS's name of the error, e.g. `DoesNotExistException`.
    pub code: &'static str,
    /// For the caller; says nothing the caller may not know.
    pub message: String,
    /// For the log alone.
    pub detail: Option<String>,
    /// What to do about it, for people.
    pub hint: Option<String>,
}

impl Error {
    /// An error with AWS's name and a message for the caller.
    pub fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), detail: None, hint: None }
    }

    /// The input is not acceptable, in a way that the model does not name.
    pub fn validation(message: impl Into<String>) -> Self {
        Self::new("ValidationException", message)
    }

    /// Something went wrong here; the detail goes to the log only.
    pub fn internal(detail: impl std::fmt::Display) -> Self {
        Self {
            code: "InternalServerError",
            message: "An error occurred on the server side. The server's log says more under this request's id."
                .to_owned(),
            detail: Some(detail.to_string()),
            hint: None,
        }
    }

    /// Every attempt met changes by others; the same request may succeed later, and AWS's clients try it again by themselves.
    pub fn contended() -> Self {
        Self::new("ThrottlingException", "Others change the same resource at this moment. Try again.")
    }

    /// Too many ask for the same costly thing at once.
    pub fn busy() -> Self {
        Self::new("ThrottlingException", "Too many others ask for the same at this moment. Try again.")
    }

    /// An input whose feature does not exist yet, given at something else than its default.
    pub fn not_yet(member: &str) -> Self {
        Self::validation(format!("{member} is not supported by this version of Careen; leave it out."))
    }

    /// Adds what to do about it.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What callers are told while nothing can be written.
const READ_ONLY: &str = "The server's disk is full; it answers questions but changes nothing until there is room.";

impl Error {
    /// Whether it came of a full disk, which the log has said already.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.message == READ_ONLY
    }
}

impl From<store::ApplyError> for Error {
    fn from(error: store::ApplyError) -> Self {
        match error {
            store::ApplyError::ReadOnly(detail) => Self {
                code: "InternalServerError",
                message: READ_ONLY.to_owned(),
                detail: Some(detail),
                hint: Some("free space on the file system of the data folder".to_owned()),
            },
            other => Self::internal(other),
        }
    }
}

impl From<store::ReadError> for Error {
    fn from(error: store::ReadError) -> Self {
        Self::internal(error)
    }
}

impl From<identity::SealError> for Error {
    fn from(error: identity::SealError) -> Self {
        Self::internal(error)
    }
}

impl From<identity::NoRandomness> for Error {
    fn from(error: identity::NoRandomness) -> Self {
        Self::internal(error)
    }
}

impl From<serde_json::Error> for Error {
    fn from(error: serde_json::Error) -> Self {
        Self::internal(error)
    }
}

impl From<identity::PasswordError> for Error {
    fn from(error: identity::PasswordError) -> Self {
        Self::internal(error)
    }
}

impl From<crate::SetupError> for Error {
    fn from(error: crate::SetupError) -> Self {
        Self::internal(error)
    }
}

impl From<nodes::Refused> for Error {
    fn from(refused: nodes::Refused) -> Self {
        Self::new(refused.code(), refused.to_string())
    }
}

impl From<patching::Refused> for Error {
    fn from(refused: patching::Refused) -> Self {
        Self::new(refused.aws_code(), refused.to_string())
    }
}

impl From<commands::Refused> for Error {
    fn from(refused: commands::Refused) -> Self {
        Self::new(refused.code(), refused.to_string())
    }
}
