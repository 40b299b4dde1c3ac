//! Keys and what is done with them: encryption at rest with a key outside the database, Ed25519 signatures, sealed
//! tokens, proofs, hashes of passwords, certificates of the server's own authority, and the operating system's randomness.
//!
//! It decides how a secret is kept and how a token is sealed. It deliberately does not know where rows are stored,
//! who may do what (`access`), or what the signed texts mean (`agent-wire`).

mod certificates;
mod key_file;
mod password;
mod random;
mod seal;
mod secret;
mod signing;

pub use certificates::{CertificateAuthority, CertificateError, ServerCertificate, certificate_pem};
pub use key_file::{KeyFileError, MasterKey};
pub use password::{PasswordError, PasswordHasher, Verdict};
pub use random::{SystemIds, random_bytes};
pub use seal::{SealError, Sealer};
pub use secret::Secret;
pub use signing::{SigningKey, hmac_sha256, sha256, sha256_hex, verify_ed25519, verify_hmac_sha256};

/// The operating system gave no randomness, or a key could not be made from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operating system gave no randomness")]
pub struct NoRandomness;
