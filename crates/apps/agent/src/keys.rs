//! Keys and signatures; ring alone makes them.

use crate::AgentError;
use agent_wire::{ActivationCode, Bytes32, Bytes64};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use ring::rand::{SecureRandom, SystemRandom};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};
use ring::{digest, hmac};
use serde::{Deserialize, Serialize};

/// The node's private key: an Ed25519 key in PKCS #8 (RFC 8410), base64url. Its `Debug` form shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NodeKey(String);

impl std::fmt::Debug for NodeKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("NodeKey(…)")
    }
}

impl NodeKey {
    pub(crate) fn make() -> Result<Self, AgentError> {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new());
        let document = document.map_err(|e| AgentError::system("making the node's key", e))?;
        Ok(Self(URL_SAFE_NO_PAD.encode(document)))
    }

    pub(crate) fn public(&self) -> Result<Bytes32, AgentError> {
        let public = *self.pair()?.public_key();
        let bytes =
            <[u8; 32]>::try_from(public.as_ref()).map_err(|e| AgentError::system("reading the node's key", e))?;
        Ok(Bytes32(bytes))
    }

    pub(crate) fn sign(&self, text: &str) -> Result<Bytes64, AgentError> {
        let signature = self.pair()?.sign(text.as_bytes());
        let bytes = <[u8; 64]>::try_from(signature.as_ref()).map_err(|e| AgentError::system("signing", e))?;
        Ok(Bytes64(bytes))
    }

    fn pair(&self) -> Result<Ed25519KeyPair, AgentError> {
        let document = URL_SAFE_NO_PAD.decode(&self.0).map_err(|e| AgentError::system("reading the node's key", e))?;
        Ed25519KeyPair::from_pkcs8(&document).map_err(|e| AgentError::system("reading the node's key", e))
    }
}

/// Whether `signature` is `key`'s signature of `text` (RFC 8032).
pub(crate) fn holds(key: &Bytes32, text: &str, signature: &Bytes64) -> bool {
    UnparsedPublicKey::new(&ED25519, key.0).verify(text.as_bytes(), &signature.0).is_ok()
}

/// The SHA-256 of a key, as an activation code names it.
pub(crate) fn fingerprint(key: &Bytes32) -> Bytes32 {
    sha256(&key.0)
}

/// The proof of a registration: HMAC-SHA256 of `text`, keyed with the SHA-256 of the code's secret.
pub(crate) fn proof(code: &ActivationCode, text: &str) -> Result<Bytes32, AgentError> {
    let key = hmac::Key::new(hmac::HMAC_SHA256, &sha256(code.secret()).0);
    let tag = hmac::sign(&key, text.as_bytes());
    let bytes = <[u8; 32]>::try_from(tag.as_ref()).map_err(|e| AgentError::system("making the proof", e))?;
    Ok(Bytes32(bytes))
}

/// A fresh nonce.
pub(crate) fn nonce() -> Result<Bytes32, AgentError> {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).map_err(|e| AgentError::system("drawing random bytes", e))?;
    Ok(Bytes32(bytes))
}

/// A number from 0 (inclusive) to 1 (exclusive), for jitter.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    // Without randomness the longest wait is taken, which harms nobody.
    match SystemRandom::new().fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0),
        Err(_) => 0.999,
    }
}

fn sha256(bytes: &[u8]) -> Bytes32 {
    let mut out = [0; 32];
    for (to, from) in out.iter_mut().zip(digest::digest(&digest::SHA256, bytes).as_ref()) {
        *to = *from;
    }
    Bytes32(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signature_holds_for_its_key_and_text_alone() {
        let (ours, other) = (NodeKey::make().unwrap(), NodeKey::make().unwrap());
        let signature = ours.sign("careen").unwrap();
        assert!(holds(&ours.public().unwrap(), "careen", &signature));
        assert!(!holds(&ours.public().unwrap(), "careen!", &signature));
        assert!(!holds(&other.public().unwrap(), "careen", &signature));
        assert_eq!(format!("{ours:?}"), "NodeKey(…)");
    }

    #[test]
    fn jitter_stays_in_its_range() {
        assert!((0..1000).all(|_| (0.0..1.0).contains(&fraction())));
    }
}
