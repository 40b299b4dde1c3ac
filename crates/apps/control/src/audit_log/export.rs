//! Audit records as lines of a file, piece by piece.

use audit::{Seal, StoredRecord, export};
use changes::Changes;
use identifiers::Timestamp;
use serde::{Deserialize, Serialize};
use store::{Order, Write};

use super::AuditSearch;
use crate::{Context, Error, call::authorise};

/// Records read at once.
const BATCH: u32 = 500;

/// In which form records are exported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ExportForm {
    /// One JSON object a line.
    JsonLines,
    /// One JSON object a line, the seals among them: a file that can be verified. All records, whatever is looked for.
    Sealed,
    /// Comma-separated values.
    Csv,
}

/// Records as lines, until there are none.
pub struct AuditLines {
    context: Context,
    search: AuditSearch,
    form: ExportForm,
    /// The number of the newest record when it began; what came later is left to the next export.
    last_seq: i64,
    place: Place,
}

enum Place {
    Beginning,
    /// Behind this record, oldest first.
    Listing(Option<(Timestamp, i64)>),
    /// In the chain: the seal before, the record before, the seal whose records are being given.
    Chain {
        number: i64,
        seq: i64,
        current: Option<i64>,
    },
    End,
}

impl AuditLines {
    /// Begins to read.
    ///
    /// # Errors
    /// `AccessDeniedException`; when the store cannot be read.
    pub async fn list(context: &Context, search: AuditSearch) -> Result<Self, Error> {
        authorise(context, "careen:ListAuditRecords", vec![context.scope.careen_arn("audit")]).await?;
        Self::new(context, search, ExportForm::JsonLines).await
    }

    /// Begins an export; that it was begun is an audit record itself.
    ///
    /// # Errors
    /// `AccessDeniedException`; when the store fails.
    pub async fn export(context: &Context, search: AuditSearch, form: ExportForm) -> Result<Self, Error> {
        let log = context.scope.careen_arn("audit");
        authorise(context, "careen:ExportAuditRecords", vec![log.clone()]).await?;
        let asked = serde_json::json!({ "search": &search, "form": form });
        let mut changes: Changes<Write> = Changes::new();
        let nothing = serde_json::Value::Null;
        changes.audit.push(context.audit("careen:ExportAuditRecords", log, &nothing, &asked));
        context.server.store.apply(&context.scope, changes).await?;
        Self::new(context, search, form).await
    }

    async fn new(context: &Context, search: AuditSearch, form: ExportForm) -> Result<Self, Error> {
        let last_seq = context.server.store.audit_last_seq(&context.scope).await?;
        Ok(Self { context: context.clone(), search, form, last_seq, place: Place::Beginning })
    }

    /// The next lines, each ended; `None`: that was all.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn next(&mut self) -> Result<Option<String>, Error> {
        match self.place {
            Place::Beginning => {
                self.place = match self.form {
                    ExportForm::Sealed => Place::Chain { number: 0, seq: i64::MIN, current: None },
                    ExportForm::JsonLines | ExportForm::Csv => Place::Listing(None),
                };
                let first = match self.form {
                    ExportForm::Sealed => export::header(&self.context.scope, self.context.now, self.last_seq) + "\n",
                    ExportForm::Csv => format!("{}\r\n", export::CSV_HEADER),
                    ExportForm::JsonLines => String::new(),
                };
                Ok(Some(first))
            }
            Place::Listing(after) => self.listed(after).await,
            Place::Chain { number, seq, current } => self.chained(number, seq, current).await,
            Place::End => Ok(None),
        }
    }

    async fn listed(&mut self, after: Option<(Timestamp, i64)>) -> Result<Option<String>, Error> {
        let query = self.search.query(Order::OldestFirst, after, BATCH);
        let rows = self.context.server.store.audit_stored_list(&self.context.scope, &query).await?;
        let Some(last) = rows.last() else {
            self.place = Place::End;
            return Ok(None);
        };
        self.place = Place::Listing(Some((Timestamp::from_micros(last.at_micros), last.seq)));
        let kept = rows.iter().filter(|row| row.seq <= self.last_seq);
        Ok(Some(match self.form {
            ExportForm::Csv => kept.map(|row| export::csv_line(row) + "\r\n").collect(),
            ExportForm::JsonLines | ExportForm::Sealed => lines(kept),
        }))
    }

    /// Each seal, then its records; behind the last seal the records that are not sealed.
    async fn chained(&mut self, number: i64, seq: i64, current: Option<i64>) -> Result<Option<String>, Error> {
        let (store, scope) = (&self.context.server.store, &self.context.scope);
        let through = current.unwrap_or(self.last_seq);
        if current.is_none() {
            let next = store.audit_seal_list(scope, number, 1).await?.pop();
            if let Some(seal) = next.filter(|seal: &Seal| seal.last_seq <= self.last_seq) {
                self.place = Place::Chain { number: seal.number, seq, current: Some(seal.last_seq) };
                return Ok(Some(export::seal_line(&seal) + "\n"));
            }
        }
        let rows = store.audit_list_after(scope, seq, through, BATCH).await?;
        self.place = match (rows.last(), current) {
            (Some(last), _) => Place::Chain { number, seq: last.seq, current },
            (None, Some(_)) => Place::Chain { number, seq, current: None },
            (None, None) => Place::End,
        };
        Ok(Some(lines(rows.iter())))
    }
}

fn lines<'a>(rows: impl Iterator<Item = &'a StoredRecord>) -> String {
    rows.map(|row| export::record_line(row) + "\n").collect()
}
