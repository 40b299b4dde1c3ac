use crate::Bytes32;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};

/// An activation code: `SECRET.FINGERPRINT`, 64 characters of base64url and one dot.
///
/// The secret has 15 bytes (20 characters, the length of AWS's codes); the fingerprint is the SHA-256 of the
/// server's identity key. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct ActivationCode {
    secret: [u8; 15],
    /// SHA-256 of the server's Ed25519 identity key: whom the code may be shown to.
    pub identity_fingerprint: Bytes32,
}

/// A text that is not an activation code of this system.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "not an activation code: it has 20 characters, a dot and 43 characters; copy it whole, as CreateActivation gave it"
)]
pub struct ActivationCodeError;

impl ActivationCode {
    /// Joins a fresh secret with the fingerprint of the server's identity key.
    #[must_use]
    pub fn new(secret: [u8; 15], identity_fingerprint: Bytes32) -> Self {
        Self { secret, identity_fingerprint }
    }

    /// Reads a code; white space around it is ignored.
    ///
    /// # Errors
    /// When the text does not have the form above.
    pub fn parse(text: &str) -> Result<Self, ActivationCodeError> {
        let (secret, fingerprint) = text.trim().split_once('.').ok_or(ActivationCodeError)?;
        let secret = URL_SAFE_NO_PAD.decode(secret).map_err(|_| ActivationCodeError)?;
        Ok(Self {
            secret: secret.try_into().map_err(|_| ActivationCodeError)?,
            identity_fingerprint: Bytes32::parse(fingerprint).map_err(|_| ActivationCodeError)?,
        })
    }

    /// The secret half; both sides use its SHA-256 as the key of the registration proof.
    #[must_use]
    pub fn secret(&self) -> &[u8] {
        &self.secret
    }

    /// The whole code, to be shown once.
    #[must_use]
    pub fn reveal(&self) -> String {
        format!("{}.{}", URL_SAFE_NO_PAD.encode(self.secret), self.identity_fingerprint)
    }
}

impl std::fmt::Debug for ActivationCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("ActivationCode(…)")
    }
}
