//! SHA-256 over length-prefixed fields.

use sha2::{Digest as _, Sha256};
use std::fmt;
use thiserror::Error;

/// A SHA-256 digest; written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// A text or some bytes that are no digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("a digest is written as 64 hexadecimal digits")]
pub struct DigestError;

impl Digest {
    /// What stands before the first seal of a chain.
    pub const NONE: Self = Self([0; 32]);

    /// From its bytes.
    ///
    /// # Errors
    /// When they are not 32.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, DigestError> {
        bytes.try_into().map(Self).map_err(|_| DigestError)
    }

    /// From its text.
    ///
    /// # Errors
    /// When it is not 64 hexadecimal digits.
    pub fn parse(text: &str) -> Result<Self, DigestError> {
        Self::from_bytes(&hex::decode(text).map_err(|_| DigestError)?)
    }

    /// Its bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// A public key as people compare it: 64 hexadecimal digits.
#[must_use]
pub fn public_key_text(key: &[u8; 32]) -> String {
    hex::encode(key)
}

/// Reads a key that [`public_key_text`] wrote; `None` where it did not.
#[must_use]
pub fn public_key_of(text: &str) -> Option<[u8; 32]> {
    hex::decode(text).ok()?.try_into().ok()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({self})")
    }
}

/// Bytes that are hashed: each field with its length before it, so that no two lists of fields have the same bytes.
pub(crate) struct Fields(Sha256);

impl Fields {
    /// `label` says what the fields are and in which version of their form.
    pub(crate) fn new(label: &str) -> Self {
        Self(Sha256::new()).bytes(label.as_bytes())
    }

    /// A field: its length as eight bytes, most significant first, and its bytes.
    pub(crate) fn bytes(mut self, field: &[u8]) -> Self {
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
        self
    }

    /// A number as a field of eight bytes, most significant first.
    pub(crate) fn number(self, number: i64) -> Self {
        self.bytes(&number.to_be_bytes())
    }

    pub(crate) fn digest(self) -> Digest {
        Digest(self.0.finalize().into())
    }
}
