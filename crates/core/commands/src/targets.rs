use serde::{Deserialize, Serialize};

/// A target as the caller gave it.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Target {
    /// `InstanceIds`, `tag:<key>` or `tag-key`.
    pub key: String,
    /// One of them is enough.
    pub values: Vec<String>,
}
