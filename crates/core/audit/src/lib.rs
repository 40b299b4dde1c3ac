//! The audit log as a chain of sealed batches.
//!
//! It decides the canonical bytes of a record and of a seal ([`StoredRecord::digest`], [`Seal`]), when the newest records
//! are sealed ([`seal_is_due`], [`SealDraft`]), what a change, a removal, an insertion or another order of records or
//! seals looks like afterwards ([`Verifier`]), and how a record is written into a file ([`export`]). It deliberately does
//! not know where rows lie, what a record is about, or any private key: a signature is made and checked by whoever calls.
//!
//! What the chain cannot show: records removed before they were sealed together with the count of them, and a log that was
//! written anew by somebody who holds the signing key. Against the second, keep a head ([`Seal::digest`]) elsewhere: a
//! chain that was written anew does not hold it any more.

mod digest;
pub mod export;
mod pruning;
mod record;
mod seal;
mod verify;

pub use digest::{Digest, DigestError, public_key_of, public_key_text};
pub use pruning::prunable;
pub use record::{PRUNE_ACTION, RecordDigest, StoredRecord};
pub use seal::{SEAL_RECORDS_MAX, SEAL_SECONDS_MAX, Seal, SealDraft, SealedRecord, seal_is_due};
pub use verify::{Fault, LATE_SECONDS, Verification, Verifier, VerifySignature};
