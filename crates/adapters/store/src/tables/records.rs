use crate::apply::Failure;
use crate::connection::{Connection, Row, to_json};
use crate::statement::{columns, insert, put_global};
use crate::value::values;
use crate::write::RecordWrite;
use crate::{ApplyError, ReadError, Store};
use identifiers::{Scope, Timestamp};
use nodes::Replica;

/// `Debug` that shows the named fields and says that there are more.
macro_rules! sealed_debug {
    ($name:ident: $($field:ident),*) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    };
}
pub(crate) use sealed_debug;

/// One of the server's own keys: identity, jobs, page tokens. Global.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerKeyRow {
    /// What it is for.
    pub name: String,
    /// Its public half; empty where it has none.
    pub public_key: Vec<u8>,
    /// Its secret half, sealed with a key that is not in the database.
    pub secret_sealed: Vec<u8>,
    /// When it was made.
    pub created_at: Timestamp,
}
sealed_debug!(ServerKeyRow: name, created_at);

/// What a client token was first used for, and the answer that is given again.
#[derive(Debug, Clone, PartialEq)]
pub struct IdempotencyRow {
    /// The operation; a token means nothing to another.
    pub operation: String,
    /// The caller's token.
    pub token: String,
    /// A digest of the request; another request under the same token is a mistake.
    pub request_digest: String,
    /// What came of it.
    pub result: serde_json::Value,
    /// When.
    pub at: Timestamp,
}

impl Store {
    /// All server processes that have a row: they work on the whole database, so this belongs to no scope.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn replica_list(&self) -> Result<Vec<Replica>, ReadError> {
        let sql = "SELECT name, version, started_at, seen_at FROM replica ORDER BY name";
        let replica = |row: &Row| {
            Ok(Replica {
                name: row.text("name")?,
                version: row.text("version")?,
                started_at: row.at("started_at")?,
                seen_at: row.at("seen_at")?,
            })
        };
        self.fetch_all(sql, vec![]).await?.iter().map(replica).collect()
    }

    /// One of the server's keys.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn server_key_get(&self, name: &str) -> Result<Option<ServerKeyRow>, ReadError> {
        let sql = "SELECT name, public_key, secret_sealed, created_at FROM server_key WHERE name = $1";
        let row = self.fetch_optional(sql, values![name]).await?;
        row.map(|row| {
            Ok(ServerKeyRow {
                name: row.text("name")?,
                public_key: row.blob("public_key")?,
                secret_sealed: row.blob("secret_sealed")?,
                created_at: row.at("created_at")?,
            })
        })
        .transpose()
    }

    /// A fact about the database itself.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn meta_get(&self, name: &str) -> Result<Option<String>, ReadError> {
        let row = self.fetch_optional("SELECT value FROM meta WHERE name = $1", values![name]).await?;
        Ok(row.map(|row| row.text("value")).transpose()?)
    }

    /// How often the database was made or restored: greater after each restore.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn incarnation(&self) -> Result<u64, ReadError> {
        Ok(self.meta_get(crate::backup::INCARNATION).await?.and_then(|text| text.parse().ok()).unwrap_or(1))
    }

    /// What a client token was first used for.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn idempotency_get(
        &self,
        scope: &Scope,
        operation: &str,
        token: &str,
    ) -> Result<Option<IdempotencyRow>, ReadError> {
        let sql = "SELECT operation, token, request_digest, result, at FROM idempotency
            WHERE account = $1 AND region = $2 AND operation = $3 AND token = $4";
        let row = self.fetch_optional(sql, values![&scope.account, &scope.region, operation, token]).await?;
        row.map(|row| {
            Ok(IdempotencyRow {
                operation: row.text("operation")?,
                token: row.text("token")?,
                request_digest: row.text("request_digest")?,
                result: row.json("result")?,
                at: row.at("at")?,
            })
        })
        .transpose()
    }
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &RecordWrite) -> Result<(), Failure> {
    match write {
        RecordWrite::ServerKeyPut(row) => server_key_put(connection, row).await,
        RecordWrite::MetaPut { name, value } => {
            Ok(put_global(connection, "meta", columns!["name" => name], columns!["value" => value]).await?)
        }
        RecordWrite::RestoreFinish { incarnation } => restore_finish(connection, *incarnation).await,
        RecordWrite::PastRemove { kind, before } => {
            super::retention::remove_past(connection, scope, *kind, *before).await
        }
        RecordWrite::ReplicaPut(row) => {
            let rest = columns!["version" => &row.version, "started_at" => row.started_at, "seen_at" => row.seen_at];
            Ok(put_global(connection, "replica", columns!["name" => &row.name], rest).await?)
        }
        RecordWrite::ReplicaDelete(name) => {
            let sql = "UPDATE node_ping SET connected = 0 WHERE replica = $1 AND connected = 1";
            connection.execute(sql, values![name]).await?;
            connection.execute("DELETE FROM replica WHERE name = $1", values![name]).await?;
            Ok(())
        }
        RecordWrite::IdempotencyPut(row) => idempotency_put(connection, scope, row).await,
        RecordWrite::IdempotencyExpire { before } => {
            let sql = "DELETE FROM idempotency WHERE account = $1 AND region = $2 AND at < $3";
            connection.execute(sql, values![&scope.account, &scope.region, *before]).await?;
            Ok(())
        }
    }
}

async fn server_key_put(connection: &mut Connection<'_>, row: &ServerKeyRow) -> Result<(), Failure> {
    let rest = columns![
        "public_key" => row.public_key.as_slice(),
        "secret_sealed" => row.secret_sealed.as_slice(),
        "created_at" => row.created_at,
    ];
    Ok(put_global(connection, "server_key", columns!["name" => &row.name], rest).await?)
}

/// What was true of servers and browsers when the backup was made is not true of those that come now.
async fn restore_finish(connection: &mut Connection<'_>, incarnation: u64) -> Result<(), Failure> {
    for sql in [
        "DELETE FROM session",
        "DELETE FROM sign_in_link",
        "DELETE FROM replica",
        "UPDATE node_ping SET connected = 0, replica = ''",
    ] {
        connection.execute(sql, vec![]).await?;
    }
    put_global(
        connection,
        "meta",
        columns!["name" => crate::backup::INCARNATION],
        columns!["value" => incarnation.to_string()],
    )
    .await?;
    connection.execute("DELETE FROM meta WHERE name = $1", values![crate::backup::RESTORING]).await?;
    Ok(())
}

async fn idempotency_put(connection: &mut Connection<'_>, scope: &Scope, row: &IdempotencyRow) -> Result<(), Failure> {
    let columns = columns![
        "operation" => &row.operation,
        "token" => &row.token,
        "request_digest" => &row.request_digest,
        "result" => to_json(&row.result)?,
        "at" => row.at,
    ];
    if insert(connection, scope, "idempotency", columns).await? {
        return Ok(());
    }
    let id = format!("{} of {}", row.token, row.operation);
    Err(ApplyError::Duplicate { kind: "client token", id }.into())
}
