use ring::{
    digest, hmac,
    signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey},
};

use crate::{NoRandomness, random_bytes};

/// An Ed25519 key pair (RFC 8032): the server's identity, its job key, or a node's key.
pub struct SigningKey {
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl SigningKey {
    /// A new key.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn generate() -> Result<Self, NoRandomness> {
        Self::from_seed(random_bytes::<32>()?)
    }

    /// The key of a stored seed.
    ///
    /// # Errors
    /// Never for 32 bytes; the error type is the one of key making.
    pub fn from_seed(seed: [u8; 32]) -> Result<Self, NoRandomness> {
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| NoRandomness)?;
        Ok(Self { seed, pair })
    }

    /// The private half, to be stored encrypted.
    #[must_use]
    pub fn seed(&self) -> &[u8; 32] {
        &self.seed
    }

    /// The public half.
    #[must_use]
    pub fn public_key(&self) -> [u8; 32] {
        let mut key = [0u8; 32];
        key.copy_from_slice(self.pair.public_key().as_ref());
        key
    }

    /// Signs a text.
    #[must_use]
    pub fn sign(&self, text: &str) -> [u8; 64] {
        let mut signature = [0u8; 64];
        signature.copy_from_slice(self.pair.sign(text.as_bytes()).as_ref());
        signature
    }
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SigningKey(…)")
    }
}

/// Whether `signature` is `public_key`'s signature of `text`.
#[must_use]
pub fn verify_ed25519(public_key: &[u8; 32], text: &str, signature: &[u8; 64]) -> bool {
    UnparsedPublicKey::new(&ED25519, public_key).verify(text.as_bytes(), signature).is_ok()
}

/// HMAC-SHA256 (RFC 2104).
#[must_use]
pub fn hmac_sha256(key: &[u8], text: &[u8]) -> [u8; 32] {
    let mut tag = [0u8; 32];
    tag.copy_from_slice(hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text).as_ref());
    tag
}

/// Whether `tag` is the HMAC-SHA256 of `text`, compared in constant time.
#[must_use]
pub fn verify_hmac_sha256(key: &[u8], text: &[u8], tag: &[u8; 32]) -> bool {
    hmac::verify(&hmac::Key::new(hmac::HMAC_SHA256, key), text, tag).is_ok()
}

/// SHA-256.
#[must_use]
pub fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut digest = [0u8; 32];
    digest.copy_from_slice(digest::digest(&digest::SHA256, bytes).as_ref());
    digest
}

/// SHA-256 in lower-case hex.
#[must_use]
pub fn sha256_hex(bytes: &[u8]) -> String {
    sha256(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_fits_its_key_and_text_alone() {
        let key = SigningKey::generate().unwrap();
        let signature = key.sign("order");
        assert!(verify_ed25519(&key.public_key(), "order", &signature));
        assert!(!verify_ed25519(&key.public_key(), "order.", &signature));
        assert!(!verify_ed25519(&SigningKey::generate().unwrap().public_key(), "order", &signature));
        let same = SigningKey::from_seed(*key.seed()).unwrap();
        assert_eq!(same.public_key(), key.public_key());
        assert_eq!(format!("{key:?}"), "SigningKey(…)");
    }
}
