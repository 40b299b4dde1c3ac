use super::named;
use crate::apply::Failure;
use crate::connection::{Connection, Row, to_json};
use crate::statement::{columns, delete, insert, put_global};
use crate::value::values;
use crate::write::RecordWrite;
use crate::{ApplyError, ReadError, Store};
use identifiers::{AccessKeyId, AccountId, Region, Scope, Timestamp};

/// Whether an access key may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccessKeyStatus {
    /// It may.
    Active,
    /// It may not, for now.
    Inactive,
}

impl AccessKeyStatus {
    /// The name it is stored under.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
        }
    }

    /// From the name it is stored under.
    #[must_use]
    pub fn parse(name: &str) -> Option<Self> {
        [Self::Active, Self::Inactive].into_iter().find(|status| status.as_str() == name)
    }
}

macro_rules! sealed_debug {
    ($name:ident: $($field:ident),*) => {
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.debug_struct(stringify!($name))$(.field(stringify!($field), &self.$field))*.finish_non_exhaustive()
            }
        }
    };
}

/// An access key. It belongs to an account, in every region.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeyRow {
    /// Its id, unique over all accounts.
    pub access_key_id: AccessKeyId,
    /// Whose it is.
    pub account: AccountId,
    /// As whom it acts, e.g. `root`.
    pub principal: String,
    /// The secret, sealed with a key that is not in the database.
    pub secret_sealed: Vec<u8>,
    /// Whether it may be used.
    pub status: AccessKeyStatus,
    /// When it was made.
    pub created_at: Timestamp,
}
sealed_debug!(AccessKeyRow: access_key_id, account, principal, status, created_at);

/// The digest of a token that only its holder has. Never printed.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenDigest(pub Vec<u8>);

impl std::fmt::Debug for TokenDigest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("TokenDigest(not shown)")
    }
}

/// A console session.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// The digest of what the browser holds; unique over all scopes.
    pub token_digest: TokenDigest,
    /// Where it works.
    pub scope: Scope,
    /// As whom it acts.
    pub principal: String,
    /// What its forms must bring.
    pub csrf_token: String,
    /// When it began.
    pub created_at: Timestamp,
    /// From then on it is not valid.
    pub valid_until: Timestamp,
}
sealed_debug!(SessionRow: scope, principal, created_at, valid_until);

/// A link that opens one console session, once.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInLinkRow {
    /// The digest of the link's token; unique over all scopes.
    pub token_digest: TokenDigest,
    /// Where its session will work.
    pub scope: Scope,
    /// As whom its session will act.
    pub principal: String,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is not valid.
    pub valid_until: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}
sealed_debug!(SignInLinkRow: scope, principal, created_at, valid_until, used_at);

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
    /// An access key by its id. Looked up in all accounts: the id is what leads to the account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn access_key_get(&self, id: &AccessKeyId) -> Result<Option<AccessKeyRow>, ReadError> {
        let sql = "SELECT access_key_id, account, principal, secret_sealed, status, created_at FROM access_key WHERE access_key_id = $1";
        self.fetch_optional(sql, values![id]).await?.map(|row| access_key_of(&row)).transpose()
    }

    /// The access keys of an account, by id. There are few.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn access_key_list(&self, account: &AccountId) -> Result<Vec<AccessKeyRow>, ReadError> {
        let sql = "SELECT access_key_id, account, principal, secret_sealed, status, created_at FROM access_key
            WHERE account = $1 ORDER BY access_key_id";
        self.fetch_all(sql, values![account]).await?.iter().map(access_key_of).collect()
    }

    /// A console session by the digest of its token. Looked up in all scopes: the token is what leads to the scope.
    /// Whether it is still valid is for the caller to see.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_get(&self, token: &TokenDigest) -> Result<Option<SessionRow>, ReadError> {
        let sql = "SELECT token_digest, account, region, principal, csrf_token, created_at, valid_until FROM session WHERE token_digest = $1";
        self.fetch_optional(sql, values![token.0.as_slice()]).await?.map(|row| session_of(&row)).transpose()
    }

    /// A sign-in link by the digest of its token, used or not. Looked up in all scopes, as a session is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sign_in_link_get(&self, token: &TokenDigest) -> Result<Option<SignInLinkRow>, ReadError> {
        let sql = "SELECT token_digest, account, region, principal, created_at, valid_until, used_at FROM sign_in_link WHERE token_digest = $1";
        self.fetch_optional(sql, values![token.0.as_slice()]).await?.map(|row| sign_in_link_of(&row)).transpose()
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

fn access_key_of(row: &Row) -> Result<AccessKeyRow, ReadError> {
    Ok(AccessKeyRow {
        access_key_id: row.id("access_key_id")?,
        account: row.id("account")?,
        principal: row.text("principal")?,
        secret_sealed: row.blob("secret_sealed")?,
        status: named(row, "status", AccessKeyStatus::parse)?,
        created_at: row.at("created_at")?,
    })
}

fn session_of(row: &Row) -> Result<SessionRow, ReadError> {
    Ok(SessionRow {
        token_digest: TokenDigest(row.blob("token_digest")?),
        scope: super::nodes::scope_of(row)?,
        principal: row.text("principal")?,
        csrf_token: row.text("csrf_token")?,
        created_at: row.at("created_at")?,
        valid_until: row.at("valid_until")?,
    })
}

fn sign_in_link_of(row: &Row) -> Result<SignInLinkRow, ReadError> {
    Ok(SignInLinkRow {
        token_digest: TokenDigest(row.blob("token_digest")?),
        scope: super::nodes::scope_of(row)?,
        principal: row.text("principal")?,
        created_at: row.at("created_at")?,
        valid_until: row.at("valid_until")?,
        used_at: row.at_or_null("used_at")?,
    })
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &RecordWrite) -> Result<(), Failure> {
    match write {
        RecordWrite::AccessKeyPut(row) => access_key_put(connection, row).await,
        RecordWrite::AccessKeyDelete(id) => {
            let sql = "DELETE FROM access_key WHERE access_key_id = $1 AND account = $2";
            connection.execute(sql, values![id, &scope.account]).await?;
            Ok(())
        }
        RecordWrite::SessionPut(row) => session_put(connection, row).await,
        RecordWrite::SessionDelete(token) => {
            delete(connection, scope, "session", columns!["token_digest" => token.0.as_slice()]).await?;
            Ok(())
        }
        RecordWrite::SessionsExpire { now } => {
            connection.execute("DELETE FROM session WHERE valid_until <= $1", values![*now]).await?;
            connection.execute("DELETE FROM sign_in_link WHERE valid_until <= $1", values![*now]).await?;
            Ok(())
        }
        RecordWrite::SignInLinkPut(row) => sign_in_link_put(connection, row).await,
        RecordWrite::SignInLinkUse { token_digest, now } => {
            let sql =
                "UPDATE sign_in_link SET used_at = $1 WHERE token_digest = $2 AND used_at IS NULL AND valid_until > $1";
            match connection.execute(sql, values![*now, token_digest.0.as_slice()]).await? {
                1 => Ok(()),
                _ => {
                    Err(ApplyError::Duplicate { kind: "use of the sign-in link", id: "(not shown)".to_owned() }.into())
                }
            }
        }
        RecordWrite::ServerKeyPut(row) => server_key_put(connection, row).await,
        RecordWrite::MetaPut { name, value } => {
            Ok(put_global(connection, "meta", columns!["name" => name], columns!["value" => value]).await?)
        }
        RecordWrite::RestoreFinish { incarnation } => restore_finish(connection, *incarnation).await,
        RecordWrite::PastRemove { kind, before } => {
            super::retention::remove_past(connection, scope, *kind, *before).await
        }
        RecordWrite::IdempotencyPut(row) => idempotency_put(connection, scope, row).await,
        RecordWrite::IdempotencyExpire { before } => {
            let sql = "DELETE FROM idempotency WHERE account = $1 AND region = $2 AND at < $3";
            connection.execute(sql, values![&scope.account, &scope.region, *before]).await?;
            Ok(())
        }
    }
}

async fn access_key_put(connection: &mut Connection<'_>, row: &AccessKeyRow) -> Result<(), Failure> {
    let key = columns!["access_key_id" => &row.access_key_id];
    let rest = columns![
        "account" => &row.account,
        "principal" => &row.principal,
        "secret_sealed" => row.secret_sealed.as_slice(),
        "status" => row.status.as_str(),
        "created_at" => row.created_at,
    ];
    Ok(put_global(connection, "access_key", key, rest).await?)
}

fn of_scope(scope: &Scope) -> Vec<crate::statement::Column> {
    let (account, region): (&AccountId, &Region) = (&scope.account, &scope.region);
    columns!["account" => account, "region" => region]
}

async fn session_put(connection: &mut Connection<'_>, row: &SessionRow) -> Result<(), Failure> {
    let mut rest = of_scope(&row.scope);
    rest.extend(columns![
        "principal" => &row.principal,
        "csrf_token" => &row.csrf_token,
        "created_at" => row.created_at,
        "valid_until" => row.valid_until,
    ]);
    let key = columns!["token_digest" => row.token_digest.0.as_slice()];
    Ok(put_global(connection, "session", key, rest).await?)
}

async fn sign_in_link_put(connection: &mut Connection<'_>, row: &SignInLinkRow) -> Result<(), Failure> {
    let mut rest = of_scope(&row.scope);
    rest.extend(columns![
        "principal" => &row.principal,
        "created_at" => row.created_at,
        "valid_until" => row.valid_until,
        "used_at" => row.used_at,
    ]);
    let key = columns!["token_digest" => row.token_digest.0.as_slice()];
    Ok(put_global(connection, "sign_in_link", key, rest).await?)
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
