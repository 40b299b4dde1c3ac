//! Records and seals as lines of a file: JSON lines, which can be verified again, and CSV for spreadsheets.

use crate::{Digest, Seal, StoredRecord};
use identifiers::{AccountId, Region, Scope, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use thiserror::Error;

/// The version of the form that [`header`] names.
const VERSION: u32 = 1;

/// The first line of a file that can be verified: whose records follow.
#[derive(Debug, Serialize, Deserialize)]
struct HeaderLine {
    careen_audit_export: u32,
    account: AccountId,
    region: Region,
    exported_at: String,
    /// The number that was given to the newest record.
    last_seq: i64,
}

/// A record. The JSON of its states stands in it as it is stored; where that is none that fits on a line, as text.
#[derive(Serialize, Deserialize)]
struct RecordLine {
    seq: i64,
    at: String,
    principal: String,
    action: String,
    resource: String,
    outcome: String,
    source_address: String,
    request_id: String,
    before: Option<Box<RawValue>>,
    after: Option<Box<RawValue>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    before_text: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    after_text: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct SealLine {
    seal: i64,
    first_seq: i64,
    last_seq: i64,
    record_count: i64,
    records: String,
    records_digest: String,
    previous_digest: String,
    sealed_at: String,
    digest: String,
    public_key: String,
    signature: String,
}

/// What a line of an exported file says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Line {
    /// Whose records follow, and the number of the newest.
    Header {
        /// Whose.
        scope: Scope,
        /// The newest.
        last_seq: i64,
    },
    /// A seal; the records it covers follow.
    Seal(Box<Seal>),
    /// A record.
    Record(Box<StoredRecord>),
}

/// A line that is none of an exported file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum LineError {
    /// It is not JSON of one of the three forms.
    #[error("it is no line of an audit export: {0}")]
    Form(String),
    /// A later version wrote it.
    #[error("the file was written by a later version of Careen (form {0})")]
    Version(u32),
}

fn written(line: &impl Serialize) -> String {
    // Texts, numbers and raw JSON: nothing that could not be written.
    serde_json::to_string(line).unwrap_or_default()
}

/// The first line.
#[must_use]
pub fn header(scope: &Scope, exported_at: Timestamp, last_seq: i64) -> String {
    written(&HeaderLine {
        careen_audit_export: VERSION,
        account: scope.account.clone(),
        region: scope.region.clone(),
        exported_at: exported_at.to_rfc3339_micros(),
        last_seq,
    })
}

/// A record as a line of JSON: the sequence number in front, the instant as text.
#[must_use]
pub fn record_line(record: &StoredRecord) -> String {
    let raw = |text: &String| {
        let fits = !text.contains(['\n', '\r']) && text.trim() == text;
        RawValue::from_string(text.clone()).ok().filter(|_| fits)
    };
    let (before, after) = (raw(&record.before), raw(&record.after));
    let odd = |raw: &Option<Box<RawValue>>, text: &String| raw.is_none().then(|| text.clone());
    written(&RecordLine {
        seq: record.seq,
        at: Timestamp::from_micros(record.at_micros).to_rfc3339_micros(),
        principal: record.principal.clone(),
        action: record.action.clone(),
        resource: record.resource.clone(),
        outcome: record.outcome.clone(),
        source_address: record.source_address.clone(),
        request_id: record.request_id.clone(),
        before_text: odd(&before, &record.before),
        after_text: odd(&after, &record.after),
        before,
        after,
    })
}

/// A seal as a line of JSON.
#[must_use]
pub fn seal_line(seal: &Seal) -> String {
    written(&SealLine {
        seal: seal.number,
        first_seq: seal.first_seq,
        last_seq: seal.last_seq,
        record_count: seal.record_count,
        records: hex::encode(seal.records_bytes()),
        records_digest: seal.records_digest.to_string(),
        previous_digest: seal.previous_digest.to_string(),
        sealed_at: Timestamp::from_micros(seal.sealed_at_micros).to_rfc3339_micros(),
        digest: seal.digest.to_string(),
        public_key: hex::encode(seal.public_key),
        signature: hex::encode(seal.signature),
    })
}

/// Reads a line of a file that was exported with its seals.
///
/// # Errors
/// When it is no such line, or of a later form.
pub fn parse_line(text: &str) -> Result<Line, LineError> {
    let form = |error: serde_json::Error| LineError::Form(error.to_string());
    if text.starts_with(r#"{"careen_audit_export""#) {
        let line: HeaderLine = serde_json::from_str(text).map_err(form)?;
        if line.careen_audit_export > VERSION {
            return Err(LineError::Version(line.careen_audit_export));
        }
        let scope = Scope { account: line.account, region: line.region };
        return Ok(Line::Header { scope, last_seq: line.last_seq });
    }
    if text.starts_with(r#"{"seal""#) {
        let line: SealLine = serde_json::from_str(text).map_err(form)?;
        return seal_of(&line).map(|seal| Line::Seal(Box::new(seal)));
    }
    let line: RecordLine = serde_json::from_str(text).map_err(form)?;
    // A member that says null is read as no member at all.
    let state = |raw: Option<Box<RawValue>>, odd: Option<String>| {
        odd.unwrap_or_else(|| raw.map_or_else(|| "null".to_owned(), |raw| raw.get().to_owned()))
    };
    Ok(Line::Record(Box::new(StoredRecord {
        seq: line.seq,
        at_micros: micros(&line.at)?,
        request_id: line.request_id,
        principal: line.principal,
        source_address: line.source_address,
        action: line.action,
        resource: line.resource,
        outcome: line.outcome,
        before: state(line.before, line.before_text),
        after: state(line.after, line.after_text),
    })))
}

fn seal_of(line: &SealLine) -> Result<Seal, LineError> {
    let bad = |what: &str| LineError::Form(format!("{what} of seal {}", line.seal));
    let digest = |text: &str| Digest::parse(text).map_err(|error| LineError::Form(error.to_string()));
    let bytes = |text: &str, what| hex::decode(text).map_err(|_| bad(what));
    Ok(Seal {
        number: line.seal,
        first_seq: line.first_seq,
        last_seq: line.last_seq,
        record_count: line.record_count,
        records: Seal::records_of(&bytes(&line.records, "records")?).ok_or_else(|| bad("records"))?,
        records_digest: digest(&line.records_digest)?,
        previous_digest: digest(&line.previous_digest)?,
        sealed_at_micros: micros(&line.sealed_at)?,
        digest: digest(&line.digest)?,
        public_key: bytes(&line.public_key, "public key")?.try_into().map_err(|_| bad("public key"))?,
        signature: bytes(&line.signature, "signature")?.try_into().map_err(|_| bad("signature"))?,
    })
}

fn micros(text: &str) -> Result<i64, LineError> {
    Timestamp::parse(text).map(Timestamp::as_micros).map_err(|error| LineError::Form(error.to_string()))
}

/// The first line of the records as CSV (RFC 4180).
pub const CSV_HEADER: &str = "seq,at,principal,action,resource,outcome,source_address,request_id,before,after";

/// A record as a line of CSV. A cell that a spreadsheet would take for a formula gets an apostrophe before it
/// (<https://owasp.org/www-community/attacks/CSV_Injection>): names in the log come from whoever made a request.
#[must_use]
pub fn csv_line(record: &StoredRecord) -> String {
    let at = Timestamp::from_micros(record.at_micros).to_rfc3339_micros();
    let cells = [
        &record.principal,
        &record.action,
        &record.resource,
        &record.outcome,
        &record.source_address,
        &record.request_id,
        &record.before,
        &record.after,
    ];
    let mut line = format!("{},{at}", record.seq);
    for cell in cells {
        line.push_str(",\"");
        if cell
            .trim_start_matches([' ', '\u{a0}', '\u{feff}'])
            .starts_with(['=', '+', '-', '@', '\t', '\r', '\n', '＝', '＋', '－', '＠'])
        {
            line.push('\'');
        }
        line.push_str(&cell.replace('"', "\"\""));
        line.push('"');
    }
    line
}
