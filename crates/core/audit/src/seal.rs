//! Seals: which records the next one covers, and its canonical bytes.

use crate::digest::Fields;
use crate::{Digest, RecordDigest};
use identifiers::{Scope, Timestamp};

/// What the canonical bytes of a seal begin with.
const LABEL: &str = "careen audit seal 1";
/// What those of the list of record digests begin with.
const LIST_LABEL: &str = "careen audit records 1";

/// A seal covers at most so many records, and so many unsealed ones are sealed at once.
pub const SEAL_RECORDS_MAX: usize = 1_000;

/// A record is sealed at the latest so many seconds after it was written, while a server runs.
pub const SEAL_SECONDS_MAX: i64 = 10;

/// A record as a seal remembers it, so that a change can be shown to the very record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SealedRecord {
    /// Its place.
    pub seq: i64,
    /// The digest of its canonical bytes.
    pub digest: Digest,
}

/// One link of the chain: a batch of records, and the seal before it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seal {
    /// Its place in the chain, from 1; without gaps.
    pub number: i64,
    /// The first record it covers.
    pub first_seq: i64,
    /// The last record it covers.
    pub last_seq: i64,
    /// How many records there were between the two when it was made. Fewer than the numbers between them: some had been
    /// removed before.
    pub record_count: i64,
    /// Each record's place and digest, in order; empty once retention has removed the batch.
    pub records: Vec<SealedRecord>,
    /// The digest of that list.
    pub records_digest: Digest,
    /// The digest of the seal before; [`Digest::NONE`] before the first.
    pub previous_digest: Digest,
    /// When it was made, in microseconds since the epoch.
    pub sealed_at_micros: i64,
    /// The digest of this seal: SHA-256 over its canonical bytes.
    ///
    /// These are fields as those of a record: the label `careen audit seal 1`, account, region, number, first seq, last seq,
    /// count of records, digest of the list of records, digest of the seal before, sealed at. The list's digest covers
    /// the label `careen audit records 1` and, for each record in order, its seq and its digest's 32 bytes.
    pub digest: Digest,
    /// The key it is signed with.
    pub public_key: [u8; 32],
    /// Its Ed25519 signature of [`Seal::signed_text`].
    pub signature: [u8; 64],
}

/// The bytes of one [`SealedRecord`] in a list of them.
const SEALED_RECORD_BYTES: usize = 40;

impl Seal {
    /// The list of records as bytes: of each, its seq as eight bytes, most significant first, and its digest.
    #[must_use]
    pub fn records_bytes(&self) -> Vec<u8> {
        let bytes = |record: &SealedRecord| record.seq.to_be_bytes().into_iter().chain(*record.digest.as_bytes());
        self.records.iter().flat_map(bytes).collect()
    }

    /// Reads what [`Seal::records_bytes`] wrote; `None` where it did not.
    #[must_use]
    pub fn records_of(bytes: &[u8]) -> Option<Vec<SealedRecord>> {
        let (chunks, rest) = bytes.as_chunks::<SEALED_RECORD_BYTES>();
        let record = |chunk: &[u8; SEALED_RECORD_BYTES]| {
            let (seq, digest) = chunk.split_first_chunk::<8>()?;
            Some(SealedRecord { seq: i64::from_be_bytes(*seq), digest: Digest::from_bytes(digest).ok()? })
        };
        rest.is_empty().then(|| chunks.iter().map(record).collect::<Option<Vec<_>>>()).flatten()
    }

    /// The digest that the seal's own contents give.
    #[must_use]
    pub fn computed_digest(&self, scope: &Scope) -> Digest {
        Fields::new(LABEL)
            .bytes(scope.account.as_str().as_bytes())
            .bytes(scope.region.as_str().as_bytes())
            .number(self.number)
            .number(self.first_seq)
            .number(self.last_seq)
            .number(self.record_count)
            .bytes(self.records_digest.as_bytes())
            .bytes(self.previous_digest.as_bytes())
            .number(self.sealed_at_micros)
            .digest()
    }

    /// What the audit key signs: a label, the scope, the seal's number and its digest.
    #[must_use]
    pub fn signed_text(&self, scope: &Scope) -> String {
        format!("{LABEL}\n{}\n{}\n{}\n{}", scope.account, scope.region, self.number, self.digest)
    }
}

/// The digest of a batch's list of digests.
pub(crate) fn list_digest(records: &[SealedRecord]) -> Digest {
    let listed = |fields: Fields, record: &SealedRecord| fields.number(record.seq).bytes(record.digest.as_bytes());
    records.iter().fold(Fields::new(LIST_LABEL), listed).digest()
}

/// Whether the records after the newest seal are to be sealed now: there are [`SEAL_RECORDS_MAX`] of them, or the oldest
/// is [`SEAL_SECONDS_MAX`] old, or `closing` (the server ends).
#[must_use]
pub fn seal_is_due(unsealed: usize, oldest: Option<Timestamp>, now: Timestamp, closing: bool) -> bool {
    let Some(oldest) = oldest.filter(|_| unsealed > 0) else { return false };
    // A record of a moment that is still to come was written by a clock that was set back since: it waits for nothing.
    let age_micros = now.micros_since(oldest);
    closing || unsealed >= SEAL_RECORDS_MAX || !(0..SEAL_SECONDS_MAX * 1_000_000).contains(&age_micros)
}

/// A seal that is not signed yet.
#[derive(Debug, Clone)]
pub struct SealDraft(Seal);

impl SealDraft {
    /// The seal after `previous` over `records`, which are in order, come after it and are at most [`SEAL_RECORDS_MAX`].
    /// `None` without records.
    #[must_use]
    pub fn new(scope: &Scope, previous: Option<&Seal>, records: &[RecordDigest], now: Timestamp) -> Option<Self> {
        let records = records.get(..records.len().min(SEAL_RECORDS_MAX))?;
        let (first, last) = (records.first()?, records.last()?);
        let sealed = |record: &RecordDigest| SealedRecord { seq: record.seq, digest: record.digest };
        let list: Vec<SealedRecord> = records.iter().map(sealed).collect();
        let mut seal = Seal {
            number: previous.map_or(0, |seal| seal.number) + 1,
            // Where records are missing after the seal before, the gap belongs to this one.
            first_seq: previous.map_or(first.seq.min(1), |seal| seal.last_seq + 1),
            last_seq: last.seq,
            record_count: i64::try_from(records.len()).ok()?,
            records_digest: list_digest(&list),
            records: list,
            previous_digest: previous.map_or(Digest::NONE, |seal| seal.digest),
            sealed_at_micros: now.as_micros(),
            digest: Digest::NONE,
            public_key: [0; 32],
            signature: [0; 64],
        };
        seal.digest = seal.computed_digest(scope);
        Some(Self(seal))
    }

    /// What is to be signed.
    #[must_use]
    pub fn text(&self, scope: &Scope) -> String {
        self.0.signed_text(scope)
    }

    /// The finished seal.
    #[must_use]
    pub fn signed(self, public_key: [u8; 32], signature: [u8; 64]) -> Seal {
        Seal { public_key, signature, ..self.0 }
    }
}
