use super::logs::Order;
use crate::apply::Failure;
use crate::connection::{Connection, Row, parse_json};
use crate::statement::{Select, columns, insert};
use crate::value::values;
use crate::write::AuditWrite;
use crate::{ApplyError, ReadError, Store};
use audit::{Digest, Seal, StoredRecord};
use changes::AuditRecord;
use identifiers::{Scope, Timestamp};

/// What came of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditOutcome {
    /// It was done.
    Done,
    /// It was not, for whatever reason.
    Refused,
}

/// Which audit records. Every filter has an index of its own; a query reads few rows beyond those it gives.
#[derive(Debug, Clone)]
pub struct AuditQuery {
    /// From this instant on.
    pub from: Option<Timestamp>,
    /// Before this instant.
    pub until: Option<Timestamp>,
    /// Only of this principal.
    pub principal: Option<String>,
    /// Only of this action.
    pub action: Option<String>,
    /// Only about this resource.
    pub resource: Option<String>,
    /// Only of this request.
    pub request_id: Option<String>,
    /// Only from this address.
    pub source_address: Option<String>,
    /// Only with this outcome.
    pub outcome: Option<AuditOutcome>,
    /// In which order: by instant, and by `seq` where that is the same.
    pub order: Order,
    /// Only beyond the record of this instant and `seq`.
    pub after: Option<(Timestamp, i64)>,
    /// At most so many.
    pub limit: u32,
}

impl AuditQuery {
    /// All of them, newest first.
    #[must_use]
    pub fn all(limit: u32) -> Self {
        Self {
            from: None,
            until: None,
            principal: None,
            action: None,
            resource: None,
            request_id: None,
            source_address: None,
            outcome: None,
            order: Order::NewestFirst,
            after: None,
            limit,
        }
    }
}

/// An audit record and its place in the scope's log.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditEntry {
    /// Its place; without gaps, in the order of commits.
    pub seq: i64,
    /// The record.
    pub record: AuditRecord,
}

impl TryFrom<StoredRecord> for AuditEntry {
    type Error = ReadError;

    fn try_from(stored: StoredRecord) -> Result<Self, ReadError> {
        let record = AuditRecord {
            at: Timestamp::from_micros(stored.at_micros),
            before: parse_json("state_before", &stored.before)?,
            after: parse_json("state_after", &stored.after)?,
            request_id: stored.request_id,
            principal: stored.principal,
            source_address: stored.source_address,
            action: stored.action,
            resource: stored.resource,
            outcome: stored.outcome,
        };
        Ok(Self { seq: stored.seq, record })
    }
}

const RECORDS: &str = "SELECT seq, at, request_id, principal, source_address, action, resource, outcome, state_before, state_after FROM audit";

const SEALS: &str =
    "SELECT number, first_seq, last_seq, record_count, record_digests, records_digest, previous_digest, sealed_at,
    digest, public_key, signature FROM audit_seal";

impl Store {
    /// Audit records.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_list(&self, scope: &Scope, query: &AuditQuery) -> Result<Vec<AuditEntry>, ReadError> {
        self.audit_stored_list(scope, query).await?.into_iter().map(AuditEntry::try_from).collect()
    }

    /// Audit records as their rows are.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_stored_list(&self, scope: &Scope, query: &AuditQuery) -> Result<Vec<StoredRecord>, ReadError> {
        let mut select = of_scope(RECORDS, scope);
        if let Some(from) = query.from {
            select.filter("at >= ?", values![from]);
        }
        if let Some(until) = query.until {
            select.filter("at < ?", values![until]);
        }
        for (condition, wanted) in [
            ("principal = ?", &query.principal),
            ("action = ?", &query.action),
            ("resource = ?", &query.resource),
            ("request_id = ?", &query.request_id),
            ("source_address = ?", &query.source_address),
        ] {
            if let Some(wanted) = wanted {
                select.filter(condition, values![wanted]);
            }
        }
        match query.outcome {
            Some(AuditOutcome::Done) => select.filter("outcome = 'done'", vec![]),
            Some(AuditOutcome::Refused) => select.filter("outcome <> 'done'", vec![]),
            None => {}
        }
        if let Some((at, seq)) = query.after {
            let beyond = match query.order {
                Order::NewestFirst => "(at, seq) < (?, ?)",
                Order::OldestFirst => "(at, seq) > (?, ?)",
            };
            select.filter(beyond, values![at, seq]);
        }
        select.then(match query.order {
            Order::NewestFirst => "ORDER BY at DESC, seq DESC",
            Order::OldestFirst => "ORDER BY at, seq",
        });
        select.limit(query.limit);
        self.select(select, stored_of).await
    }

    /// The records behind a place of the log, in the order of `seq`, at most up to `through`.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_list_after(
        &self,
        scope: &Scope,
        after: i64,
        through: i64,
        limit: u32,
    ) -> Result<Vec<StoredRecord>, ReadError> {
        let mut select = of_scope(RECORDS, scope);
        select.filter("seq > ? AND seq <= ?", values![after, through]);
        select.then("ORDER BY seq");
        select.limit(limit);
        self.select(select, stored_of).await
    }

    /// The numbers of the records behind a place of the log, in order: what is left where a row cannot be read.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_seq_list_after(
        &self,
        scope: &Scope,
        after: i64,
        through: i64,
        limit: u32,
    ) -> Result<Vec<i64>, ReadError> {
        let mut select = of_scope("SELECT seq FROM audit", scope);
        select.filter("seq > ? AND seq <= ?", values![after, through]);
        select.then("ORDER BY seq");
        select.limit(limit);
        self.select(select, |row| Ok(row.int("seq")?)).await
    }

    /// Each scope that has ever had an audit record, and the number given to its newest.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_scope_list(&self) -> Result<Vec<(Scope, i64)>, ReadError> {
        let sql = "SELECT account, region, last FROM scope_sequence WHERE name = 'audit' ORDER BY account, region";
        let rows = self.fetch_all(sql, vec![]).await?;
        rows.iter().map(|row| Ok((super::nodes::scope_of(row)?, row.int("last")?))).collect()
    }

    /// The number given to the newest audit record; 0 where there was none.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_last_seq(&self, scope: &Scope) -> Result<i64, ReadError> {
        let sql = "SELECT last FROM scope_sequence WHERE account = $1 AND region = $2 AND name = 'audit'";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region]).await?;
        Ok(row.map(|row| row.int("last")).transpose()?.unwrap_or(0))
    }

    /// The seals behind one of the chain, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_seal_list(&self, scope: &Scope, after: i64, limit: u32) -> Result<Vec<Seal>, ReadError> {
        let mut select = of_scope(SEALS, scope);
        select.filter("number > ?", values![after]);
        select.then("ORDER BY number");
        select.limit(limit);
        self.select(select, seal_of).await
    }

    /// The oldest seals whose records are still there, in order.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_seal_list_unpruned(&self, scope: &Scope, limit: u32) -> Result<Vec<Seal>, ReadError> {
        let sql = "SELECT seq FROM audit WHERE account = $1 AND region = $2 ORDER BY seq LIMIT 1";
        let oldest = self.fetch_optional(sql, values![&scope.account, &scope.region]).await?;
        let Some(seq) = oldest.map(|row| row.int("seq")).transpose()? else { return Ok(Vec::new()) };
        match self.audit_seal_of(scope, seq).await? {
            Some(first) => self.audit_seal_list(scope, first.number - 1, limit).await,
            None => Ok(Vec::new()),
        }
    }

    /// The newest seal.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_seal_last(&self, scope: &Scope) -> Result<Option<Seal>, ReadError> {
        let mut select = of_scope(SEALS, scope);
        select.then("ORDER BY number DESC");
        select.limit(1);
        Ok(self.select(select, seal_of).await?.pop())
    }

    /// The seal that covers a record; `None` while it is not sealed.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn audit_seal_of(&self, scope: &Scope, seq: i64) -> Result<Option<Seal>, ReadError> {
        let mut select = of_scope(SEALS, scope);
        select.filter("last_seq >= ?", values![seq]);
        select.then("ORDER BY last_seq");
        select.limit(1);
        Ok(self.select(select, seal_of).await?.pop().filter(|seal| seal.first_seq <= seq))
    }
}

fn of_scope(head: &'static str, scope: &Scope) -> Select {
    let mut select = Select::new(head, vec![]);
    select.scope("account = ? AND region = ?", scope);
    select
}

fn stored_of(row: &Row) -> Result<StoredRecord, ReadError> {
    Ok(StoredRecord {
        seq: row.int("seq")?,
        at_micros: row.int("at")?,
        request_id: row.text("request_id")?,
        principal: row.text("principal")?,
        source_address: row.text("source_address")?,
        action: row.text("action")?,
        resource: row.text("resource")?,
        outcome: row.text("outcome")?,
        before: row.text("state_before")?,
        after: row.text("state_after")?,
    })
}

fn seal_of(row: &Row) -> Result<Seal, ReadError> {
    let number = row.int("number")?;
    let damaged = || ReadError::Corrupt(format!("audit seal {number} cannot be read"));
    let digest = |column| Digest::from_bytes(&row.blob(column)?).map_err(|_| damaged());
    Ok(Seal {
        number,
        first_seq: row.int("first_seq")?,
        last_seq: row.int("last_seq")?,
        record_count: row.int("record_count")?,
        records: Seal::records_of(&row.blob("record_digests")?).ok_or_else(damaged)?,
        records_digest: digest("records_digest")?,
        previous_digest: digest("previous_digest")?,
        sealed_at_micros: row.int("sealed_at")?,
        digest: digest("digest")?,
        public_key: row.blob("public_key")?.try_into().map_err(|_| damaged())?,
        signature: row.blob("signature")?.try_into().map_err(|_| damaged())?,
    })
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &AuditWrite) -> Result<(), Failure> {
    match write {
        AuditWrite::SealPut(seal) => seal_put(connection, scope, seal).await,
        AuditWrite::Prune { through_seal } => prune(connection, scope, *through_seal).await,
    }
}

async fn seal_put(connection: &mut Connection<'_>, scope: &Scope, seal: &Seal) -> Result<(), Failure> {
    let columns = columns![
        "number" => seal.number,
        "first_seq" => seal.first_seq,
        "last_seq" => seal.last_seq,
        "record_count" => seal.record_count,
        "record_digests" => seal.records_bytes(),
        "records_digest" => seal.records_digest.as_bytes().as_slice(),
        "previous_digest" => seal.previous_digest.as_bytes().as_slice(),
        "sealed_at" => seal.sealed_at_micros,
        "digest" => seal.digest.as_bytes().as_slice(),
        "public_key" => seal.public_key.as_slice(),
        "signature" => seal.signature.as_slice(),
    ];
    match insert(connection, scope, "audit_seal", columns).await? {
        true => Ok(()),
        false => Err(ApplyError::Duplicate { kind: "audit seal", id: seal.number.to_string() }.into()),
    }
}

async fn prune(connection: &mut Connection<'_>, scope: &Scope, through_seal: i64) -> Result<(), Failure> {
    let key = || values![&scope.account, &scope.region, through_seal];
    let records = "DELETE FROM audit WHERE account = $1 AND region = $2 AND seq <=
        (SELECT last_seq FROM audit_seal WHERE account = $1 AND region = $2 AND number = $3)";
    connection.execute(records, key()).await?;
    let empty: &[u8] = &[];
    let mut values = key();
    values.extend(values![empty]);
    let lists = "UPDATE audit_seal SET record_digests = $4 WHERE account = $1 AND region = $2 AND number <= $3 AND record_digests <> $4";
    connection.execute(lists, values).await?;
    Ok(())
}
