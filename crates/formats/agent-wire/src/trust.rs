//! Whom a node believes: the server's keys, announced before they are used, so that they can be exchanged without a visit
//! to any node.

use crate::{Bytes32, Bytes64};
use identifiers::{NodeId, Timestamp};
use serde::{Deserialize, Serialize};

/// More keys of one kind are not announced at once: one in use, one that follows, one that is going.
pub const TRUSTED_KEYS_MAX: usize = 4;

/// The server's keys. The later one of two announcements counts: it replaces all of the earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trust {
    /// The incarnation of the server's database.
    pub incarnation: u64,
    /// Counts up within an incarnation; an older announcement than the one that is known is refused.
    pub serial: u64,
    /// When it was signed.
    pub issued_at: Timestamp,
    /// Who the server may show itself as; the first is the one in use.
    pub identity_keys: Vec<Bytes32>,
    /// With what orders may be signed; the first is the one in use.
    pub job_keys: Vec<Bytes32>,
}

impl Trust {
    /// Where it stands among all announcements of its server.
    #[must_use]
    pub fn order(&self) -> (u64, u64) {
        (self.incarnation, self.serial)
    }

    /// Whether it names at least one key of each kind, and not too many.
    #[must_use]
    pub fn is_bounded(&self) -> bool {
        [&self.identity_keys, &self.job_keys].iter().all(|keys| (1..=TRUSTED_KEYS_MAX).contains(&keys.len()))
    }
}

/// An announcement as it travels: the JSON text that was signed, byte for byte, and a signature for each identity key of
/// the server that a node may know it by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SignedTrust {
    /// A [`Trust`] as JSON.
    pub payload: String,
    /// Signatures of [`trust_text`].
    pub signatures: Vec<KeySignature>,
}

/// A signature and the key that made it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeySignature {
    /// The public half.
    pub key: Bytes32,
    /// The signature.
    pub signature: Bytes64,
}

/// What the server's identity keys sign in an announcement.
#[must_use]
pub fn trust_text(payload: &str) -> String {
    format!("careen trust 1\n{payload}")
}

/// What a node's key signs to name the one that follows it.
#[must_use]
pub fn node_key_text(node_id: &NodeId, public_key: &Bytes32) -> String {
    format!("careen node key 1\n{node_id}\n{public_key}\n")
}
