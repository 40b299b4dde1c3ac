use serde::{Deserialize, Serialize};

/// What a user may do in the account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything.
    Administrator,
    /// Read: actions named Describe, List or Get; and look after the own password and sessions.
    Reader,
}

impl Role {
    /// The name it is stored and shown under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Administrator => "administrator",
            Self::Reader => "reader",
        }
    }

    /// From the name it is stored under.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Administrator, Self::Reader].into_iter().find(|role| role.as_str() == name)
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
