//! Whether a log is still what was sealed.

use crate::seal::{SealedRecord, list_digest};
use crate::{Digest, RecordDigest, Seal};
use identifiers::Scope;
use std::fmt;

/// Checks an Ed25519 signature: public key, text, signature.
pub type VerifySignature = fn(&[u8; 32], &str, &[u8; 64]) -> bool;

/// A seal that was made so many seconds after its oldest record is named: until then the record could be changed.
pub const LATE_SECONDS: i64 = 3_600;

/// How many faults are kept; the others are counted.
const FAULTS_MAX: usize = 50;

/// Something that is not as it was sealed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// A record is not the one that was sealed.
    RecordChanged {
        /// Which.
        seq: i64,
        /// In which seal.
        seal: i64,
    },
    /// Records that were sealed are not there, and retention did not remove them.
    RecordsRemoved {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
        /// In which seal.
        seal: i64,
    },
    /// Records were not there any more when their turn to be sealed came, or are missing among the newest.
    RecordsMissing {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// A record stands where none was sealed, or in the wrong order.
    RecordInserted {
        /// Which.
        seq: i64,
    },
    /// The records of a seal whose list was removed are not those that were sealed.
    BatchChanged {
        /// Which seal.
        seal: i64,
    },
    /// A row cannot be read as a record or as a seal.
    Unreadable {
        /// Which, and why.
        detail: String,
    },
    /// There are no seals of these numbers, though there are later ones.
    SealsMissing {
        /// The first.
        from: i64,
        /// The last.
        to: i64,
    },
    /// A seal's own contents do not give its digest, or contradict each other.
    SealChanged {
        /// Which.
        seal: i64,
    },
    /// A seal does not follow the one before it.
    SealUnlinked {
        /// Which.
        seal: i64,
    },
    /// A seal's signature is not that of the audit key.
    SealForged {
        /// Which.
        seal: i64,
    },
    /// The head that was kept elsewhere is not in the chain any more.
    HeadLost {
        /// The head.
        head: Digest,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::RecordChanged { seq, seal } => {
                write!(f, "record {seq} was changed after it was sealed (seal {seal})")
            }
            Self::RecordsRemoved { from, to, seal } => {
                write!(f, "{} removed after being sealed (seal {seal})", records(*from, *to))
            }
            Self::RecordsMissing { from, to } => write!(f, "{} missing", records(*from, *to)),
            Self::RecordInserted { seq } => write!(f, "record {seq} stands where none was sealed"),
            Self::BatchChanged { seal } => write!(f, "the records of seal {seal} are not those that were sealed"),
            Self::Unreadable { detail } => write!(f, "{detail}"),
            Self::SealsMissing { from, to } if from == to => write!(f, "seal {from} is missing"),
            Self::SealsMissing { from, to } => write!(f, "seals {from} to {to} are missing"),
            Self::SealChanged { seal } => write!(f, "seal {seal} was changed"),
            Self::SealUnlinked { seal } => write!(f, "seal {seal} does not follow the seal before it"),
            Self::SealForged { seal } => write!(f, "seal {seal} is not signed with the audit key"),
            Self::HeadLost { head } => {
                write!(f, "the head {head} is not in the chain: the log was written anew or cut off")
            }
        }
    }
}

fn records(from: i64, to: i64) -> String {
    if from == to { format!("record {from} is") } else { format!("records {from} to {to} are") }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Verification {
    /// How many records there are.
    pub records: u64,
    /// How many seals there are.
    pub seals: u64,
    /// How many of the newest records no seal covers yet.
    pub unsealed: u64,
    /// How many records retention has removed; their seals still stand.
    pub pruned: u64,
    /// The instants of the first and the last record, in microseconds since the epoch.
    pub span_micros: Option<(i64, i64)>,
    /// The number and digest of the newest seal: what is worth keeping elsewhere.
    pub head: Option<(i64, Digest)>,
    /// The keys the seals are signed with, each once, in the order of the chain.
    pub public_keys: Vec<[u8; 32]>,
    /// Seals that were made more than [`LATE_SECONDS`] after their oldest record.
    pub late: Vec<i64>,
    /// What is wrong, in the order of the log; at most fifty.
    pub faults: Vec<Fault>,
    /// How many more there are.
    pub faults_more: u64,
}

impl Verification {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_unbroken(&self) -> bool {
        self.faults.is_empty()
    }
}

/// Looks at a chain from its beginning: each seal, then the records it covers, then those that no seal covers.
pub struct Verifier {
    scope: Scope,
    trusted_keys: Vec<[u8; 32]>,
    verify_signature: VerifySignature,
    head: Option<Digest>,
    head_seen: bool,
    found: Verification,
    current: Option<Current>,
    /// The seal before the current one.
    last_digest: Digest,
    last_number: i64,
    /// The last record that a seal covers or that was seen.
    last_seq: i64,
    started: bool,
    pruned_to: i64,
    prunes_through: i64,
}

/// The seal whose records are being looked at.
struct Current {
    seal: Seal,
    /// How many of its list were met.
    met: usize,
    /// The records that were seen, where the seal keeps no list any more.
    unlisted: Vec<SealedRecord>,
    seen: bool,
    oldest_micros: Option<i64>,
}

impl Verifier {
    /// `trusted_keys`: seals signed with another key are forged; with none, any key that the seals name is believed, and
    /// the caller looks at [`Verification::public_keys`].
    #[must_use]
    pub fn new(scope: Scope, trusted_keys: Vec<[u8; 32]>, verify_signature: VerifySignature) -> Self {
        Self {
            scope,
            trusted_keys,
            verify_signature,
            head: None,
            head_seen: false,
            found: Verification::default(),
            current: None,
            last_digest: Digest::NONE,
            last_number: 0,
            last_seq: 0,
            started: false,
            pruned_to: 0,
            prunes_through: 0,
        }
    }

    /// A head that was kept elsewhere and must be part of the chain.
    pub fn expect_head(&mut self, head: Digest) {
        self.head = Some(head);
    }

    /// The next seal.
    pub fn seal(&mut self, seal: Seal) {
        self.close();
        let number = seal.number;
        if number > self.last_number + 1 {
            self.fault(Fault::SealsMissing { from: self.last_number + 1, to: number - 1 });
        } else if seal.previous_digest != self.last_digest || number <= self.last_number {
            self.fault(Fault::SealUnlinked { seal: number });
        }
        let listed = seal.records.is_empty()
            || (list_digest(&seal.records) == seal.records_digest
                && i64::try_from(seal.records.len()).is_ok_and(|count| count == seal.record_count)
                && seal.records.is_sorted_by(|a, b| a.seq < b.seq)
                && seal.records.last().is_some_and(|record| record.seq == seal.last_seq));
        if !listed || seal.computed_digest(&self.scope) != seal.digest || seal.last_seq < seal.first_seq {
            self.fault(Fault::SealChanged { seal: number });
        } else if self.started && seal.first_seq != self.last_seq + 1 {
            self.fault(Fault::SealUnlinked { seal: number });
        }
        let signed = (self.verify_signature)(&seal.public_key, &seal.signed_text(&self.scope), &seal.signature);
        if !signed || !(self.trusted_keys.is_empty() || self.trusted_keys.contains(&seal.public_key)) {
            self.fault(Fault::SealForged { seal: number });
        }
        if !self.found.public_keys.contains(&seal.public_key) && self.found.public_keys.len() < FAULTS_MAX {
            self.found.public_keys.push(seal.public_key);
        }
        self.head_seen |= self.head == Some(seal.digest);
        self.found.seals += 1;
        self.found.head = Some((number, seal.digest));
        (self.last_digest, self.last_number, self.started) = (seal.digest, number, true);
        self.current = Some(Current { seal, met: 0, unlisted: Vec::new(), seen: false, oldest_micros: None });
    }

    /// The next record, in the order of `seq`.
    pub fn record(&mut self, record: &RecordDigest) {
        self.found.records += 1;
        let (first, _) = self.found.span_micros.unwrap_or((record.at_micros, record.at_micros));
        self.found.span_micros = Some((first, record.at_micros));
        self.prunes_through = self.prunes_through.max(record.prunes_through.unwrap_or(0));
        if self.current.as_ref().is_some_and(|current| record.seq > current.seal.last_seq) {
            self.close();
        }
        match self.current.take() {
            Some(mut current) => {
                self.sealed_record(&mut current, record);
                self.current = Some(current);
            }
            None => {
                self.found.unsealed += 1;
                if record.seq <= self.last_seq {
                    return self.fault(Fault::RecordInserted { seq: record.seq });
                }
                self.missing_before(record.seq);
                self.last_seq = record.seq;
            }
        }
    }

    fn sealed_record(&mut self, current: &mut Current, record: &RecordDigest) {
        let seal = current.seal.number;
        current.seen = true;
        current.oldest_micros = Some(current.oldest_micros.map_or(record.at_micros, |at| at.min(record.at_micros)));
        if current.seal.records.is_empty() {
            let full = i64::try_from(current.unlisted.len()).unwrap_or(i64::MAX) > current.seal.record_count;
            if !full {
                current.unlisted.push(SealedRecord { seq: record.seq, digest: record.digest });
            }
            return;
        }
        let from = current.met;
        while current.seal.records.get(current.met).is_some_and(|listed| listed.seq < record.seq) {
            current.met += 1;
        }
        self.removed(current.seal.records.get(from..current.met).unwrap_or_default(), seal);
        match current.seal.records.get(current.met) {
            Some(listed) if listed.seq == record.seq => {
                current.met += 1;
                if listed.digest != record.digest {
                    self.fault(Fault::RecordChanged { seq: record.seq, seal });
                }
            }
            _ => self.fault(Fault::RecordInserted { seq: record.seq }),
        }
    }

    /// The records of the current seal are over.
    fn close(&mut self) {
        let Some(current) = self.current.take() else { return };
        let seal = &current.seal;
        if seal.records.is_empty() && !current.seen {
            if self.pruned_to + 1 < seal.first_seq {
                self.fault(Fault::RecordsRemoved { from: seal.first_seq, to: seal.last_seq, seal: seal.number });
            } else {
                self.pruned_to = seal.last_seq;
                self.found.pruned += u64::try_from(seal.record_count).unwrap_or(0);
            }
        } else if seal.records.is_empty() {
            if list_digest(&current.unlisted) != seal.records_digest {
                self.fault(Fault::BatchChanged { seal: seal.number });
            }
        } else {
            self.removed(seal.records.get(current.met..).unwrap_or_default(), seal.number);
            // Gaps in the list itself: those records were gone before the seal was made.
            let mut next = seal.first_seq;
            for listed in &seal.records {
                if listed.seq > next {
                    self.fault(Fault::RecordsMissing { from: next, to: listed.seq - 1 });
                }
                next = listed.seq.saturating_add(1);
            }
            let late = current.oldest_micros.map(|at| seal.sealed_at_micros.saturating_sub(at));
            if late.is_some_and(|late| late > LATE_SECONDS * 1_000_000) {
                self.found.late.push(seal.number);
            }
        }
        self.last_seq = seal.last_seq;
    }

    fn removed(&mut self, records: &[SealedRecord], seal: i64) {
        if let (Some(first), Some(last)) = (records.first(), records.last()) {
            self.fault(Fault::RecordsRemoved { from: first.seq, to: last.seq, seal });
        }
    }

    fn missing_before(&mut self, seq: i64) {
        if seq > self.last_seq.saturating_add(1) {
            self.fault(Fault::RecordsMissing { from: self.last_seq + 1, to: seq - 1 });
        }
    }

    /// A row that cannot be read; the log goes on behind it.
    pub fn unreadable(&mut self, detail: String) {
        self.fault(Fault::Unreadable { detail });
    }

    fn fault(&mut self, fault: Fault) {
        match self.found.faults.len() < FAULTS_MAX {
            true => self.found.faults.push(fault),
            false => self.found.faults_more += 1,
        }
    }

    /// The end. `last_seq`: the number that was given to the newest record, where that is known; records that are missing
    /// at the end show by it.
    #[must_use]
    pub fn finish(mut self, last_seq: Option<i64>) -> Verification {
        self.close();
        if let Some(last) = last_seq {
            self.missing_before(last.saturating_add(1));
        }
        if self.pruned_to > self.prunes_through {
            let (from, to) = (self.prunes_through + 1, self.pruned_to);
            self.fault(Fault::RecordsMissing { from, to });
        }
        if let Some(head) = self.head.filter(|_| !self.head_seen) {
            self.fault(Fault::HeadLost { head });
        }
        self.found
    }
}
