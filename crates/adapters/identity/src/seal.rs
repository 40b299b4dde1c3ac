use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::{
    aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey},
    hkdf,
};

use crate::{NoRandomness, random_bytes};

/// Encrypts and authenticates: AES-256-GCM (NIST SP 800-38D) with a fresh random nonce before each sealed text.
///
/// Each purpose has its own key, derived from the master key with HKDF-SHA256 (RFC 5869).
pub struct Sealer(LessSafeKey);

/// Sealed bytes that this key did not make, or that were changed since.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Not made by this key for this use, or changed since.
    #[error("not sealed by this key, or changed since")]
    Broken,
    /// No nonce could be made.
    #[error(transparent)]
    NoRandomness(#[from] NoRandomness),
}

impl Sealer {
    /// The key for one purpose, e.g. `access-key`, `page-token`.
    #[must_use]
    #[allow(clippy::expect_used)] // Both lengths are constants that ring accepts.
    pub(crate) fn derive(master: &[u8; 32], purpose: &str) -> Self {
        let salt = hkdf::Salt::new(hkdf::HKDF_SHA256, b"careen 1");
        let secret = salt.extract(master);
        let info = [purpose.as_bytes()];
        let material = secret.expand(&info, &AES_256_GCM).expect("32 bytes are fewer than HKDF's bound");
        Self(LessSafeKey::new(UnboundKey::from(material)))
    }

    /// Seals `plain`; `context` must be given again to open it, and is not part of the result.
    ///
    /// # Errors
    /// When no nonce can be made.
    pub fn seal(&self, plain: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let nonce = random_bytes::<NONCE_LEN>()?;
        let mut body = plain.to_vec();
        self.0
            .seal_in_place_append_tag(Nonce::assume_unique_for_key(nonce), Aad::from(context.as_bytes()), &mut body)
            .map_err(|_| SealError::Broken)?;
        let mut sealed = nonce.to_vec();
        sealed.append(&mut body);
        Ok(sealed)
    }

    /// Opens what [`Sealer::seal`] made with the same context.
    ///
    /// # Errors
    /// When it was not made so, or was changed.
    pub fn open(&self, sealed: &[u8], context: &str) -> Result<Vec<u8>, SealError> {
        let (nonce, body) = sealed.split_at_checked(NONCE_LEN).ok_or(SealError::Broken)?;
        let nonce = Nonce::try_assume_unique_for_key(nonce).map_err(|_| SealError::Broken)?;
        let mut body = body.to_vec();
        let plain =
            self.0.open_in_place(nonce, Aad::from(context.as_bytes()), &mut body).map_err(|_| SealError::Broken)?;
        Ok(plain.to_vec())
    }

    /// [`Sealer::seal`] as base64url text.
    ///
    /// # Errors
    /// As `seal`.
    pub fn seal_text(&self, plain: &[u8], context: &str) -> Result<String, SealError> {
        Ok(URL_SAFE_NO_PAD.encode(self.seal(plain, context)?))
    }

    /// Opens a text of [`Sealer::seal_text`].
    ///
    /// # Errors
    /// As `open`.
    pub fn open_text(&self, sealed: &str, context: &str) -> Result<Vec<u8>, SealError> {
        self.open(&URL_SAFE_NO_PAD.decode(sealed).map_err(|_| SealError::Broken)?, context)
    }
}

impl std::fmt::Debug for Sealer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sealer(…)")
    }
}
