//! A record and its canonical bytes.

use crate::Digest;
use crate::digest::Fields;
use identifiers::Scope;

/// What the canonical bytes of a record begin with.
const LABEL: &str = "careen audit record 1";

/// The action of the record that retention writes when it removes records: its state after has `through_seq`, the last
/// one that was removed. Records that are absent without it were not removed by Careen.
pub const PRUNE_ACTION: &str = "careen:PruneAuditRecords";

/// An audit record exactly as its row is: what is sealed are the columns' own bytes, so that a change which leaves the
/// meaning alone (another spelling of the same JSON) is found too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in the scope's log; without gaps.
    pub seq: i64,
    /// When, in microseconds since the epoch, UTC.
    pub at_micros: i64,
    /// The request it belongs to.
    pub request_id: String,
    /// Who.
    pub principal: String,
    /// From which address; empty for the system itself.
    pub source_address: String,
    /// The action, e.g. `ssm:SendCommand`.
    pub action: String,
    /// On what.
    pub resource: String,
    /// What came of it.
    pub outcome: String,
    /// The state before, as JSON text.
    pub before: String,
    /// The state after, as JSON text.
    pub after: String,
}

/// A record's place and digest: all that is needed of it to check a seal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RecordDigest {
    /// Its place.
    pub seq: i64,
    /// When, in microseconds since the epoch.
    pub at_micros: i64,
    /// The digest of its canonical bytes.
    pub digest: Digest,
    /// Where it says that retention removed the records up to this one.
    pub prunes_through: Option<i64>,
}

impl StoredRecord {
    /// SHA-256 over the record's canonical bytes, version 1.
    ///
    /// These are fields, each preceded by its length in bytes as eight bytes, most significant first: the label
    /// `careen audit record 1`, account, region, seq, at (microseconds since the epoch), request id, principal, source
    /// address, action, resource, outcome, before, after. Texts are UTF-8, numbers eight bytes, most significant first,
    /// negative ones in two's complement; before and after are the JSON texts as stored.
    #[must_use]
    pub fn digest(&self, scope: &Scope) -> RecordDigest {
        let texts = [
            &self.request_id,
            &self.principal,
            &self.source_address,
            &self.action,
            &self.resource,
            &self.outcome,
            &self.before,
            &self.after,
        ];
        let mut fields = Fields::new(LABEL)
            .bytes(scope.account.as_str().as_bytes())
            .bytes(scope.region.as_str().as_bytes())
            .number(self.seq)
            .number(self.at_micros);
        for text in texts {
            fields = fields.bytes(text.as_bytes());
        }
        RecordDigest {
            seq: self.seq,
            at_micros: self.at_micros,
            digest: fields.digest(),
            prunes_through: self.prunes_through(),
        }
    }

    fn prunes_through(&self) -> Option<i64> {
        if self.action != PRUNE_ACTION || self.outcome != "done" {
            return None;
        }
        serde_json::from_str::<serde_json::Value>(&self.after).ok()?.get("through_seq")?.as_i64()
    }
}
