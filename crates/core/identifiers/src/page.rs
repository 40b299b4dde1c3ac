use serde::{Deserialize, Serialize};

/// Where a page ended: what a page token holds before it is sealed. Keyset, never an offset.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PagePosition {
    /// The operation the token was made for; it is refused by any other.
    pub operation: String,
    /// A digest of the filters; a token does not fit another question.
    pub filter_digest: String,
    /// The key of the last row given.
    pub last_key: Vec<String>,
    /// The form of this token.
    pub version: u32,
}
