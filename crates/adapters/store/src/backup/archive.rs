//! The file of a backup: the same for SQLite and PostgreSQL, so that a backup of one can be restored into the other.
//!
//! ```text
//! "careen-backup\n", then frames: kind (1 byte), length of what follows (4 bytes, little endian), what follows
//!   'H'  the header, JSON: what the backup is of, and its tables with their columns
//!   'R'  rows, compressed with zstd: table (2 bytes), count (4 bytes), then each row's values in the order of the columns:
//!        0 for NULL, else 1 and the value: 8 bytes, or a length (4 bytes) and as many bytes; all little endian
//!   'E'  the end, JSON: how many rows each table has
//!   'S'  SHA-256 of every byte before this frame
//! ```
//!
//! It decides what a whole backup is. It deliberately does not know what is in the tables. Its input is untrusted: bounded,
//! and anything that is not as written here is an error.

use crate::value::Value;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::io::Read;
use thiserror::Error;

const MAGIC: &[u8] = b"careen-backup\n";
/// The version of this format.
const FORMAT: u32 = 1;
/// The longest header or end, in bytes.
const JSON_BYTES_MAX: usize = 1 << 20;
/// The longest frame, in bytes.
const FRAME_BYTES_MAX: usize = 64 << 20;
/// The most rows that a frame may give, in bytes before compression.
const ROWS_BYTES_MAX: usize = 128 << 20;
/// A frame of rows is closed when it has this many bytes.
const ROWS_BYTES_FULL: usize = 256 << 10;
const COMPRESSION_LEVEL: i32 = 3;

/// Why a backup cannot be read.
#[derive(Debug, Error)]
pub enum ArchiveError {
    /// It is no backup of Careen.
    #[error("this is not a backup made by careen admin backup")]
    NotABackup,
    /// It was made by a newer program.
    #[error("the backup has format {0}, this program knows format {FORMAT}: use the newer program")]
    NewerFormat(u32),
    /// It ends too early: the writing was interrupted, or the copy is not whole.
    #[error("the backup is not whole: it ends too early; take another one")]
    CutOff,
    /// Its bytes are not those that were written.
    #[error("the backup is damaged ({0}); take another one")]
    Damaged(&'static str),
    /// The file cannot be read.
    #[error("the backup cannot be read: {0}")]
    Io(std::io::Error),
}

impl From<std::io::Error> for ArchiveError {
    fn from(error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Self::CutOff,
            _ => Self::Io(error),
        }
    }
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Int,
    Text,
    Blob,
}

/// A table and its columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) name: String,
    pub(crate) columns: Vec<(String, Kind)>,
}

/// What a backup is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// The format of the file.
    pub format: u32,
    /// The schema of the database.
    pub schema: i64,
    /// The version of the program that made it.
    pub careen: String,
    /// When it was made.
    pub created_at: crate::Timestamp,
    /// The incarnation of the database.
    pub incarnation: u64,
    /// The fingerprint of the key file that opens its secrets; empty where the database had none yet.
    pub key_fingerprint: String,
    pub(crate) tables: Vec<Table>,
}

/// How many rows each table has.
pub type RowCounts = BTreeMap<String, u64>;

#[derive(Serialize, Deserialize)]
struct End {
    rows: RowCounts,
}

fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(payload.len() + 5);
    frame.push(kind);
    // What is written here is far below 4 GiB; a longer one would be refused when it is read.
    frame.extend(u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
    frame.extend(payload);
    frame
}

/// Makes the bytes of a backup, piece by piece.
pub(crate) struct ArchiveWriter {
    hash: Sha256,
    counts: RowCounts,
    tables: Vec<Table>,
    open: Vec<u8>,
    open_table: usize,
    open_rows: u32,
}

impl ArchiveWriter {
    /// Begins; the first piece.
    pub(crate) fn begin(header: &Header) -> Result<(Self, Vec<u8>), serde_json::Error> {
        let mut writer = Self {
            hash: Sha256::new(),
            counts: header.tables.iter().map(|table| (table.name.clone(), 0)).collect(),
            tables: header.tables.clone(),
            open: Vec::new(),
            open_table: 0,
            open_rows: 0,
        };
        let mut piece = MAGIC.to_vec();
        piece.extend(frame(b'H', &serde_json::to_vec(header)?));
        writer.hash.update(&piece);
        Ok((writer, piece))
    }

    /// Adds a row of the table at `index`; a piece when enough has come together.
    pub(crate) fn row(&mut self, index: usize, values: &[Value]) -> std::io::Result<Option<Vec<u8>>> {
        let before = if index == self.open_table { None } else { self.close_rows()? };
        self.open_table = index;
        self.open_rows += 1;
        for value in values {
            write_value(&mut self.open, value);
        }
        if let Some(count) = self.tables.get(index).and_then(|table| self.counts.get_mut(&table.name)) {
            *count += 1;
        }
        let after = if self.open.len() >= ROWS_BYTES_FULL { self.close_rows()? } else { None };
        Ok(match (before, after) {
            (Some(mut before), Some(after)) => {
                before.extend(after);
                Some(before)
            }
            (before, after) => before.or(after),
        })
    }

    fn close_rows(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        if self.open_rows == 0 {
            return Ok(None);
        }
        let mut rows = Vec::with_capacity(self.open.len() + 6);
        rows.extend(u16::try_from(self.open_table).unwrap_or(u16::MAX).to_le_bytes());
        rows.extend(self.open_rows.to_le_bytes());
        rows.append(&mut self.open);
        self.open_rows = 0;
        let piece = frame(b'R', &zstd::bulk::compress(&rows, COMPRESSION_LEVEL)?);
        self.hash.update(&piece);
        Ok(Some(piece))
    }

    /// Ends; the last piece.
    pub(crate) fn end(mut self) -> std::io::Result<(Vec<u8>, RowCounts)> {
        let mut piece = self.close_rows()?.unwrap_or_default();
        let end = frame(b'E', &serde_json::to_vec(&End { rows: self.counts.clone() })?);
        self.hash.update(&end);
        piece.extend(end);
        piece.extend(frame(b'S', &self.hash.finalize()));
        Ok((piece, self.counts))
    }
}

fn write_value(out: &mut Vec<u8>, value: &Value) {
    let bytes = |out: &mut Vec<u8>, bytes: &[u8]| {
        out.push(1);
        out.extend(u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        out.extend(bytes);
    };
    match value {
        Value::Int(Some(number)) => {
            out.push(1);
            out.extend(number.to_le_bytes());
        }
        Value::Text(Some(text)) => bytes(out, text.as_bytes()),
        Value::Blob(Some(blob)) => bytes(out, blob),
        Value::Int(None) | Value::Text(None) | Value::Blob(None) => out.push(0),
    }
}

/// Reads a backup, piece by piece.
pub struct ArchiveReader<R> {
    input: R,
    hash: Sha256,
    counts: RowCounts,
    header: Header,
}

/// Some rows of one table.
pub(crate) struct Rows {
    /// Which, in the header.
    pub(crate) table: usize,
    pub(crate) rows: Vec<Vec<Value>>,
}

impl<R: Read> ArchiveReader<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// When this is no backup, a newer one, or damaged already here.
    pub fn open(mut input: R) -> Result<Self, ArchiveError> {
        let mut magic = [0; MAGIC.len()];
        input.read_exact(&mut magic).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => ArchiveError::NotABackup,
            _ => ArchiveError::Io(error),
        })?;
        if magic != MAGIC {
            return Err(ArchiveError::NotABackup);
        }
        let mut hash = Sha256::new();
        hash.update(MAGIC);
        let (kind, payload, raw) = read_frame(&mut input)?;
        if kind != b'H' || payload.len() > JSON_BYTES_MAX {
            return Err(ArchiveError::Damaged("its header"));
        }
        hash.update(&raw);
        let damaged = |_| ArchiveError::Damaged("its header");
        let text: serde_json::Value = serde_json::from_slice(&payload).map_err(damaged)?;
        let format =
            text.get("format").and_then(serde_json::Value::as_u64).and_then(|format| u32::try_from(format).ok());
        match format {
            Some(FORMAT) => {}
            Some(format) if format > FORMAT => return Err(ArchiveError::NewerFormat(format)),
            _ => return Err(ArchiveError::Damaged("its header")),
        }
        let header: Header = serde_json::from_value(text).map_err(damaged)?;
        let counts: RowCounts = header.tables.iter().map(|table| (table.name.clone(), 0)).collect();
        if counts.len() != header.tables.len() {
            return Err(ArchiveError::Damaged("its header"));
        }
        Ok(Self { input, hash, counts, header })
    }

    /// What it is a backup of.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Reads everything and keeps nothing: whether the backup is whole, and how many rows each table has.
    ///
    /// # Errors
    /// When it is not.
    pub fn read_whole(mut self) -> Result<(Header, RowCounts), ArchiveError> {
        while self.next_rows()?.is_some() {}
        Ok((self.header, self.counts))
    }

    /// The next rows; `None` after the last ones, and only if everything before was as it was written.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Rows>, ArchiveError> {
        let (kind, payload, raw) = read_frame(&mut self.input)?;
        self.hash.update(&raw);
        match kind {
            b'R' => self.rows(&payload).map(Some),
            b'E' => {
                let end: End = serde_json::from_slice(&payload).map_err(|_| ArchiveError::Damaged("its end"))?;
                let (kind, checksum, _) = read_frame(&mut self.input)?;
                if kind != b'S' || checksum != self.hash.clone().finalize().as_slice() {
                    return Err(ArchiveError::Damaged("its checksum"));
                }
                if end.rows != self.counts {
                    return Err(ArchiveError::Damaged("the number of its rows"));
                }
                match self.input.read(&mut [0])? {
                    0 => Ok(None),
                    _ => Err(ArchiveError::Damaged("something follows its end")),
                }
            }
            _ => Err(ArchiveError::Damaged("an unknown part")),
        }
    }

    fn rows(&mut self, payload: &[u8]) -> Result<Rows, ArchiveError> {
        let damaged = || ArchiveError::Damaged("its rows");
        let bytes = zstd::bulk::decompress(payload, ROWS_BYTES_MAX).map_err(|_| damaged())?;
        let mut rest = bytes.as_slice();
        let index = usize::from(u16::from_le_bytes(take(&mut rest).ok_or_else(damaged)?));
        let count = u32::from_le_bytes(take(&mut rest).ok_or_else(damaged)?);
        let table = self.header.tables.get(index).filter(|table| !table.columns.is_empty()).ok_or_else(damaged)?;
        let mut rows = Vec::new();
        for _ in 0..count {
            let row =
                table.columns.iter().map(|(_, kind)| read_value(&mut rest, *kind)).collect::<Option<Vec<Value>>>();
            rows.push(row.ok_or_else(damaged)?);
        }
        if !rest.is_empty() {
            return Err(damaged());
        }
        *self.counts.entry(table.name.clone()).or_default() += u64::from(count);
        Ok(Rows { table: index, rows })
    }
}

/// A frame's kind, its payload, and all its bytes.
fn read_frame(input: &mut impl Read) -> Result<(u8, Vec<u8>, Vec<u8>), ArchiveError> {
    let mut head = [0; 5];
    input.read_exact(&mut head)?;
    let [kind, length @ ..] = head;
    let length = u32::from_le_bytes(length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(ArchiveError::Damaged("a length"));
    }
    let mut payload = Vec::new();
    // Grows with what is there, so that a wrong length costs no memory.
    if input.take(length as u64).read_to_end(&mut payload)? != length {
        return Err(ArchiveError::CutOff);
    }
    let mut raw = head.to_vec();
    raw.extend(&payload);
    Ok((kind, payload, raw))
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, left) = rest.split_first_chunk::<N>()?;
    *rest = left;
    Some(*taken)
}

fn read_value(rest: &mut &[u8], kind: Kind) -> Option<Value> {
    let present = match take(rest)? {
        [0] => false,
        [1] => true,
        _ => return None,
    };
    let mut bytes = |present: bool| {
        if !present {
            return Some(None);
        }
        let length = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
        let (taken, left) = rest.split_at_checked(length)?;
        *rest = left;
        Some(Some(taken.to_vec()))
    };
    Some(match kind {
        Kind::Int if present => Value::Int(Some(i64::from_le_bytes(take(rest)?))),
        Kind::Int => Value::Int(None),
        Kind::Blob => Value::Blob(bytes(present)?),
        Kind::Text => match bytes(present)? {
            Some(text) => Value::Text(Some(String::from_utf8(text).ok()?)),
            None => Value::Text(None),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header() -> Header {
        let table = |name: &str, columns: &[(&str, Kind)]| Table {
            name: name.to_owned(),
            columns: columns.iter().map(|(name, kind)| ((*name).to_owned(), *kind)).collect(),
        };
        Header {
            format: FORMAT,
            schema: 2,
            careen: "0.1.0".to_owned(),
            created_at: crate::Timestamp::from_seconds(1),
            incarnation: 3,
            key_fingerprint: "f".to_owned(),
            tables: vec![
                table("first", &[("number", Kind::Int), ("text", Kind::Text), ("bytes", Kind::Blob)]),
                table("second", &[("text", Kind::Text)]),
                table("empty", &[("text", Kind::Text)]),
            ],
        }
    }

    type Row = (usize, Vec<Value>);

    fn written(rows: &[Row]) -> Vec<u8> {
        let (mut writer, mut bytes) = ArchiveWriter::begin(&header()).unwrap();
        for (table, row) in rows {
            bytes.extend(writer.row(*table, row).unwrap().unwrap_or_default());
        }
        bytes.extend(writer.end().unwrap().0);
        bytes
    }

    fn read(bytes: &[u8]) -> Result<Vec<Row>, ArchiveError> {
        let mut reader = ArchiveReader::open(bytes)?;
        let mut all = Vec::new();
        while let Some(rows) = reader.next_rows()? {
            all.extend(rows.rows.into_iter().map(|row| (rows.table, row)));
        }
        Ok(all)
    }

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let first = (any::<Option<i64>>(), any::<Option<String>>(), any::<Option<Vec<u8>>>())
            .prop_map(|(number, text, bytes)| (0, vec![Value::Int(number), Value::Text(text), Value::Blob(bytes)]));
        let second = any::<Option<String>>().prop_map(|text| (1, vec![Value::Text(text)]));
        prop::collection::vec(prop_oneof![first, second], 0..20)
    }

    proptest! {
        #[test]
        fn what_was_written_is_read(rows in rows()) {
            prop_assert_eq!(read(&written(&rows)).unwrap(), rows);
        }

        #[test]
        fn a_part_of_a_backup_is_none(rows in rows(), at in any::<prop::sample::Index>()) {
            let bytes = written(&rows);
            prop_assert!(read(&bytes[..at.index(bytes.len())]).is_err());
        }

        #[test]
        fn any_other_byte_is_noticed(rows in rows(), at in any::<prop::sample::Index>(), flip in 1..=255_u8) {
            let mut bytes = written(&rows);
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            prop_assert!(read(&bytes).is_err());
            bytes[at] ^= flip;
            bytes.push(flip);
            prop_assert!(read(&bytes).is_err(), "more than the backup");
        }

        #[test]
        fn strangers_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(read(&bytes).is_err());
            let framed = [MAGIC, &bytes].concat();
            prop_assert!(read(&framed).is_err());
        }
    }

    #[test]
    fn many_rows_come_in_pieces() {
        let row = (0, vec![Value::Int(Some(7)), Value::Text(Some("text".repeat(1000))), Value::Blob(None)]);
        let rows = vec![row; 500];
        let bytes = written(&rows);
        assert_eq!(bytes.windows(5).filter(|w| w[0] == b'R' && w[3..] == [0, 0]).count().min(2), 2, "several frames");
        assert_eq!(read(&bytes).unwrap(), rows);
    }
}
