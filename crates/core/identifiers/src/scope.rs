use crate::ids::IdError;
use serde::{Deserialize, Serialize};

/// A twelve-digit AWS account id. Careen's own default is `000000000000`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// Reads twelve digits.
    ///
    /// # Errors
    /// When the text is anything else.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        if text.len() == 12 && text.bytes().all(|b| b.is_ascii_digit()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdError::new("account id", "twelve digits", text))
        }
    }

    /// The digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A region name: 1 to 32 characters of `[a-z0-9-]`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Region(String);

impl Region {
    /// Reads a region name.
    ///
    /// # Errors
    /// When it is empty, longer than 32 or has other characters than `[a-z0-9-]`.
    pub fn parse(text: &str) -> Result<Self, IdError> {
        let ok = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if ok { Ok(Self(text.to_owned())) } else { Err(IdError::new("region", "1 to 32 of [a-z0-9-]", text)) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Whose data: every row, index, id and page token belongs to one account and one region.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Scope {
    /// The owner of the data.
    pub account: AccountId,
    /// The region the request was signed for.
    pub region: Region,
}

impl Scope {
    /// The ARN of something of the `ssm` service in this scope, e.g. `arn:aws:ssm:us-east-1:000000000000:patchbaseline/pb-…`.
    #[must_use]
    pub fn ssm_arn(&self, resource: &str) -> String {
        self.arn("ssm", resource)
    }

    /// The ARN of something of Careen's own service in this scope, e.g. `arn:aws:careen:us-east-1:000000000000:audit`.
    #[must_use]
    pub fn careen_arn(&self, resource: &str) -> String {
        self.arn("careen", resource)
    }

    fn arn(&self, service: &str, resource: &str) -> String {
        format!("arn:aws:{service}:{}:{}:{resource}", self.region.0, self.account.0)
    }
}

macro_rules! text_conversions {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> { Self::parse(&text) }
        }
        impl From<$name> for String {
            fn from(value: $name) -> Self { value.0 }
        }
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result { f.write_str(&self.0) }
        }
    )*};
}
text_conversions!(AccountId, Region);
