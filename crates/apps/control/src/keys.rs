//! The server's own keys: made at the first start, kept encrypted in the database under the key file's key, and exchanged
//! while they are in use ([`crate::key_rotation`]).

use std::sync::{Arc, PoisonError, RwLock};

use agent_wire::{Bytes32, Bytes64, KeySignature, SignedTrust, Trust, trust_text};
use identifiers::Timestamp;
use identity::{CertificateAuthority, MasterKey, PasswordHasher, Sealer, SigningKey};
use nodes::KeyPlaces;

use crate::people::Passwords;

/// What the server signs and seals with.
#[derive(Debug)]
pub struct Keys {
    /// What the seals of the audit log are signed with.
    pub audit: SigningKey,
    /// Seals the secrets of access keys.
    pub secrets: Sealer,
    /// Seals page tokens.
    pub pages: Sealer,
    /// Seals the secrets of activations.
    pub activations: Sealer,
    /// Hashes passwords, and seals the hashes.
    pub passwords: Passwords,
    /// The incarnation of the database: one more after each restore, so that no old order runs again.
    pub incarnation: u64,
    /// Seals the keys of the ring.
    pub(crate) server_keys: Sealer,
    ring: RwLock<Arc<KeyRing>>,
}

/// The keys that can be exchanged, as they were at one moment.
#[derive(Debug)]
pub struct KeyRing {
    /// Counts up with each exchange.
    pub serial: u64,
    /// Who the server is to its agents.
    pub identity: KeySet<SigningKey>,
    /// What orders are signed with.
    pub job: KeySet<SigningKey>,
    /// Who signs the certificates of the listeners, where none are given.
    pub authority: KeySet<CertificateAuthority>,
}

/// The keys of one kind by their places.
#[derive(Debug)]
pub struct KeySet<K> {
    /// The one in use.
    pub current: Arc<K>,
    /// Since when it is.
    pub since: Timestamp,
    /// The one that was announced.
    pub next: Option<Arc<K>>,
    /// The one that was in use before, and is still valid.
    pub previous: Option<Arc<K>>,
}

impl<K> KeySet<K> {
    /// All of them; the one in use first.
    pub fn all(&self) -> impl Iterator<Item = &Arc<K>> {
        std::iter::once(&self.current).chain(&self.next).chain(&self.previous)
    }

    /// Which places are taken besides the one in use.
    #[must_use]
    pub fn places(&self) -> KeyPlaces {
        KeyPlaces { next: self.next.is_some(), previous: self.previous.is_some() }
    }

    /// The one that was in use at an instant, as far as it is still known: for those who learned of it then and of no other.
    #[must_use]
    pub fn known_at(&self, then: Timestamp) -> &Arc<K> {
        self.previous.as_ref().filter(|_| then < self.since).unwrap_or(&self.current)
    }
}

impl KeyRing {
    /// Whether this is one of the keys that agents know the server by.
    #[must_use]
    pub fn is_identity(&self, key: &[u8; 32]) -> bool {
        self.identity.all().any(|known| known.public_key() == *key)
    }

    /// The announcement for nodes: every valid key, signed by each identity key that a node may know.
    pub(crate) fn announcement(&self, incarnation: u64, now: Timestamp) -> Result<SignedTrust, serde_json::Error> {
        let public = |keys: &KeySet<SigningKey>| keys.all().map(|key| Bytes32(key.public_key())).collect();
        let trust = Trust {
            incarnation,
            serial: self.serial,
            issued_at: now,
            identity_keys: public(&self.identity),
            job_keys: public(&self.job),
        };
        let payload = serde_json::to_string(&trust)?;
        let text = trust_text(&payload);
        let signed = |key: &Arc<SigningKey>| KeySignature {
            key: Bytes32(key.public_key()),
            signature: Bytes64(key.sign(&text)),
        };
        Ok(SignedTrust { signatures: self.identity.all().map(signed).collect(), payload })
    }
}

impl Keys {
    pub(crate) fn new(master: &MasterKey, ring: KeyRing, audit: SigningKey, incarnation: u64) -> Self {
        Self {
            audit,
            secrets: master.sealer("access-key"),
            pages: master.sealer("page-token"),
            activations: master.sealer("activation"),
            server_keys: server_key_sealer(master),
            passwords: Passwords::new(PasswordHasher::standard(), master.sealer("password")),
            incarnation,
            ring: RwLock::new(Arc::new(ring)),
        }
    }

    /// The keys as they are now. Whoever uses several of them takes them from one ring.
    #[must_use]
    pub fn ring(&self) -> Arc<KeyRing> {
        Arc::clone(&self.ring.read().unwrap_or_else(PoisonError::into_inner))
    }

    pub(crate) fn exchange_ring(&self, ring: KeyRing) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(ring);
    }

    /// The certificates of the server's own authority in PEM, for those who are to trust it: also of the one that follows,
    /// and of the one before while it is valid.
    #[must_use]
    pub fn authority_pem(&self) -> String {
        self.ring().authority.all().map(|authority| authority.certificate_pem()).collect()
    }
}

/// Seals the server's own keys.
pub(crate) fn server_key_sealer(master: &MasterKey) -> Sealer {
    master.sealer("server-key")
}
