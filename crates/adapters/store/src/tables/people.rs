use super::named;
use super::records::sealed_debug;
use crate::apply::Failure;
use crate::connection::{Connection, Row};
use crate::statement::{columns, delete, put_global};
use crate::value::values;
use crate::write::PeopleWrite;
use crate::{ApplyError, ReadError, Store};
use access::{Failures, Role};
use changes::{Aggregate, Versioned};
use identifiers::{AccountId, Region, Scope, Timestamp, UserName};
use sqlx::AssertSqlSafe;

/// A user of an account, in every region.
#[derive(Clone, PartialEq, Eq)]
pub struct UserRow {
    /// Whose user.
    pub account: AccountId,
    /// The name, as it was first written.
    pub name: UserName,
    /// The id that IAM shows, `AIDA…`; for `root` the account's own.
    pub user_id: String,
    /// What the user may do.
    pub role: Role,
    /// The hash of the password, sealed with a key that is not in the database; `None`: no password signs in.
    pub password_sealed: Option<Vec<u8>>,
    /// Whether neither password nor link nor key lets the user in.
    pub disabled: bool,
    /// When the user was made.
    pub created_at: Timestamp,
    /// When the password was set.
    pub password_changed_at: Option<Timestamp>,
    /// When the user last signed in at the console; written by [`PeopleWrite::UserSignedIn`] alone.
    pub signed_in_at: Option<Timestamp>,
}
sealed_debug!(UserRow: account, name, user_id, role, disabled, created_at, password_changed_at, signed_in_at);

impl UserRow {
    /// The unit of consistency that a user, their keys and their sessions are. It lies in the region that the server calls its home.
    #[must_use]
    pub fn aggregate(name: &UserName) -> Aggregate {
        Aggregate::new("user", name.folded())
    }
}

/// Failed attempts to sign in are counted by these.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FailureSubject {
    /// A user name, or what stands for the many that nobody has.
    Name(String),
    /// A source address.
    Address(String),
}

impl FailureSubject {
    fn key(&self) -> (&'static str, &str) {
        match self {
            Self::Name(name) => ("name", name),
            Self::Address(address) => ("address", address),
        }
    }
}

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
    pub user: UserName,
    /// What its forms must bring.
    pub csrf_token: String,
    /// When it began.
    pub created_at: Timestamp,
    /// From then on it is not valid.
    pub valid_until: Timestamp,
    /// When its holder was last seen, to the minute.
    pub seen_at: Timestamp,
    /// From which address it began; empty where it is unknown.
    pub source_address: String,
    /// What the browser called itself, shortened; empty where it is unknown.
    pub user_agent: String,
}
sealed_debug!(SessionRow: scope, user, created_at, valid_until, seen_at, source_address);

/// A link that opens one console session, once.
#[derive(Clone, PartialEq, Eq)]
pub struct SignInLinkRow {
    /// The digest of the link's token; unique over all scopes.
    pub token_digest: TokenDigest,
    /// Where its session will work.
    pub scope: Scope,
    /// As whom its session will act.
    pub user: UserName,
    /// When it was made.
    pub created_at: Timestamp,
    /// From then on it is not valid.
    pub valid_until: Timestamp,
    /// When it was used.
    pub used_at: Option<Timestamp>,
}
sealed_debug!(SignInLinkRow: scope, user, created_at, valid_until, used_at);

/// The columns of a user, of a table named `u`; `user_present` is NULL where there is none.
pub(super) const USER_COLUMNS: &str =
    "u.account AS user_present, u.account AS user_account, u.name AS user_name, u.user_id,
    u.role, u.password_sealed, u.disabled, u.created_at AS user_created_at, u.password_changed_at, u.signed_in_at";

/// The columns of a session, of a table named `s`.
const SESSION_COLUMNS: &str =
    "s.token_digest, s.account, s.region, s.principal, s.csrf_token, s.created_at, s.valid_until,
    s.seen_at, s.source_address, s.user_agent";

impl Store {
    /// A user of the scope's account, with the revision in this scope.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_get(&self, scope: &Scope, name: &UserName) -> Result<Versioned<Option<UserRow>>, ReadError> {
        let sql = format!(
            "SELECT COALESCE(a.revision, 0) AS revision, {USER_COLUMNS} FROM (SELECT 1 AS one) AS x
            LEFT JOIN aggregate a ON a.account = $1 AND a.region = $2 AND a.kind = $3 AND a.id = $4
            LEFT JOIN account_user u ON u.account = $1 AND u.folded = $4"
        );
        let aggregate = UserRow::aggregate(name);
        let values = values![&scope.account, &scope.region, aggregate.kind, &aggregate.id];
        match self.fetch_optional(AssertSqlSafe(sql), values).await? {
            None => Ok(Versioned::new(changes::Revision(0), None)),
            Some(row) => Ok(Versioned::new(super::revision_of(&row)?, user_or_none(&row)?)),
        }
    }

    /// The users of an account, by name in lower case, after the one of that name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn user_list(
        &self,
        account: &AccountId,
        after: Option<&str>,
        limit: u32,
    ) -> Result<Vec<UserRow>, ReadError> {
        let sql = format!(
            "SELECT {USER_COLUMNS} FROM account_user u WHERE u.account = $1 AND u.folded > $2 ORDER BY u.folded LIMIT $3"
        );
        let values = values![account, after.unwrap_or_default(), i64::from(limit)];
        let rows = self.fetch_all(AssertSqlSafe(sql), values).await?;
        rows.iter().filter_map(|row| user_or_none(row).transpose()).collect()
    }

    /// A console session by the digest of its token, with its user. Looked up in all scopes: the token is what leads to the
    /// scope. Whether it is still valid is for the caller to see.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_get(&self, token: &TokenDigest) -> Result<Option<(SessionRow, Option<UserRow>)>, ReadError> {
        let sql = format!(
            "SELECT {SESSION_COLUMNS}, {USER_COLUMNS} FROM session s LEFT JOIN account_user u ON u.account = s.account
            AND u.folded = lower(s.principal) WHERE s.token_digest = $1"
        );
        let row = self.fetch_optional(AssertSqlSafe(sql), values![token.0.as_slice()]).await?;
        row.map(|row| Ok((session_of(&row)?, user_or_none(&row)?))).transpose()
    }

    /// The console sessions of a user that end after `now`, the newest first, at most so many.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn session_list(
        &self,
        account: &AccountId,
        user: &UserName,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<SessionRow>, ReadError> {
        let sql = format!(
            "SELECT {SESSION_COLUMNS} FROM session s WHERE s.account = $1 AND s.principal = $2 AND s.valid_until > $3
            ORDER BY s.created_at DESC, s.token_digest LIMIT $4"
        );
        let values = values![account, user, now, i64::from(limit)];
        self.fetch_all(AssertSqlSafe(sql), values).await?.iter().map(session_of).collect()
    }

    /// A sign-in link by the digest of its token, used or not. Looked up in all scopes, as a session is.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sign_in_link_get(&self, token: &TokenDigest) -> Result<Option<SignInLinkRow>, ReadError> {
        let sql = "SELECT token_digest, account, region, principal, created_at, valid_until, used_at FROM sign_in_link WHERE token_digest = $1";
        self.fetch_optional(sql, values![token.0.as_slice()]).await?.map(|row| sign_in_link_of(&row)).transpose()
    }

    /// The failed attempts of a name or an address.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sign_in_failures_get(
        &self,
        account: &AccountId,
        subject: &FailureSubject,
    ) -> Result<Option<Failures>, ReadError> {
        let (kind, subject) = subject.key();
        let sql = "SELECT count, last_at FROM sign_in_failure WHERE account = $1 AND kind = $2 AND subject = $3";
        let row = self.fetch_optional(sql, values![account, kind, subject]).await?;
        row.map(|row| Ok(Failures { count: super::small(&row, "count")?, last_at: row.at("last_at")? })).transpose()
    }
}

/// The user that a row has beside its own columns.
pub(super) fn user_or_none(row: &Row) -> Result<Option<UserRow>, ReadError> {
    if row.text_or_null("user_present")?.is_none() {
        return Ok(None);
    }
    Ok(Some(UserRow {
        account: row.id("user_account")?,
        name: row.id("user_name")?,
        user_id: row.text("user_id")?,
        role: named(row, "role", Role::parse)?,
        password_sealed: row.blob_or_null("password_sealed")?,
        disabled: row.int("disabled")? != 0,
        created_at: row.at("user_created_at")?,
        password_changed_at: row.at_or_null("password_changed_at")?,
        signed_in_at: row.at_or_null("signed_in_at")?,
    }))
}

fn session_of(row: &Row) -> Result<SessionRow, ReadError> {
    Ok(SessionRow {
        token_digest: TokenDigest(row.blob("token_digest")?),
        scope: super::nodes::scope_of(row)?,
        user: row.id("principal")?,
        csrf_token: row.text("csrf_token")?,
        created_at: row.at("created_at")?,
        valid_until: row.at("valid_until")?,
        // The version before does not write these.
        seen_at: match row.at_or_null("seen_at")? {
            Some(at) => at,
            None => row.at("created_at")?,
        },
        source_address: row.text_or_null("source_address")?.unwrap_or_default(),
        user_agent: row.text_or_null("user_agent")?.unwrap_or_default(),
    })
}

fn sign_in_link_of(row: &Row) -> Result<SignInLinkRow, ReadError> {
    Ok(SignInLinkRow {
        token_digest: TokenDigest(row.blob("token_digest")?),
        scope: super::nodes::scope_of(row)?,
        user: row.id("principal")?,
        created_at: row.at("created_at")?,
        valid_until: row.at("valid_until")?,
        used_at: row.at_or_null("used_at")?,
    })
}

pub(crate) async fn apply(connection: &mut Connection<'_>, scope: &Scope, write: &PeopleWrite) -> Result<(), Failure> {
    match write {
        PeopleWrite::AccessKeyPut(row) => super::access_keys::access_key_put(connection, row).await,
        PeopleWrite::AccessKeyDelete(id) => super::access_keys::access_key_delete(connection, scope, id).await,
        PeopleWrite::AccessKeyUsed { access_key_id, used } => {
            super::access_keys::access_key_used(connection, scope, access_key_id, used).await
        }
        PeopleWrite::UserPut(row) => user_put(connection, row).await,
        PeopleWrite::UserDelete(name) => user_delete(connection, scope, name).await,
        PeopleWrite::UserSignedIn { name, now } => {
            let sql = "UPDATE account_user SET signed_in_at = $1 WHERE account = $2 AND folded = $3";
            connection.execute(sql, values![*now, &scope.account, name.folded()]).await?;
            Ok(())
        }
        PeopleWrite::SessionPut(row) => session_put(connection, row).await,
        PeopleWrite::SessionSeen { token_digest, now } => {
            let sql = "UPDATE session SET seen_at = $1 WHERE token_digest = $2 AND (seen_at IS NULL OR seen_at < $1)";
            connection.execute(sql, values![*now, token_digest.0.as_slice()]).await?;
            Ok(())
        }
        PeopleWrite::SessionDelete(token) => {
            delete(connection, scope, "session", columns!["token_digest" => token.0.as_slice()]).await?;
            Ok(())
        }
        PeopleWrite::SessionsEnd { user, except } => {
            let except = except.as_ref().map(|token| token.0.clone()).unwrap_or_default();
            let sql = "DELETE FROM session WHERE account = $1 AND lower(principal) = $2 AND token_digest <> $3";
            connection.execute(sql, values![&scope.account, user.folded(), except]).await?;
            let sql = "DELETE FROM sign_in_link WHERE account = $1 AND lower(principal) = $2";
            connection.execute(sql, values![&scope.account, user.folded()]).await?;
            Ok(())
        }
        PeopleWrite::SessionsExpire { now, seen_before } => {
            let sql = "DELETE FROM session WHERE valid_until <= $1 OR (seen_at IS NOT NULL AND seen_at <= $2)";
            connection.execute(sql, values![*now, *seen_before]).await?;
            connection.execute("DELETE FROM sign_in_link WHERE valid_until <= $1", values![*now]).await?;
            Ok(())
        }
        PeopleWrite::SignInLinkPut(row) => sign_in_link_put(connection, row).await,
        PeopleWrite::SignInLinkUse { token_digest, now } => {
            let sql =
                "UPDATE sign_in_link SET used_at = $1 WHERE token_digest = $2 AND used_at IS NULL AND valid_until > $1";
            one(connection.execute(sql, values![*now, token_digest.0.as_slice()]).await?, "use of the sign-in link")
        }
        PeopleWrite::SignInFailed { subject, before, after } => {
            failures_put(connection, scope, subject, before.as_ref(), *after).await
        }
        PeopleWrite::SignInFailuresForget(subject) => {
            let (kind, subject) = subject.key();
            let sql = "DELETE FROM sign_in_failure WHERE account = $1 AND kind = $2 AND subject = $3";
            connection.execute(sql, values![&scope.account, kind, subject]).await?;
            Ok(())
        }
        PeopleWrite::SignInFailuresExpire { before } => {
            let sql = "DELETE FROM sign_in_failure WHERE account = $1 AND last_at <= $2";
            connection.execute(sql, values![&scope.account, *before]).await?;
            Ok(())
        }
    }
}

/// Exactly one row was to change; otherwise somebody else was quicker.
fn one(changed: u64, kind: &'static str) -> Result<(), Failure> {
    match changed {
        1 => Ok(()),
        _ => Err(ApplyError::Duplicate { kind, id: "(not shown)".to_owned() }.into()),
    }
}

async fn user_put(connection: &mut Connection<'_>, row: &UserRow) -> Result<(), Failure> {
    let key = columns!["account" => &row.account, "folded" => row.name.folded()];
    let rest = columns![
        "name" => &row.name,
        "user_id" => &row.user_id,
        "role" => row.role.as_str(),
        "password_sealed" => row.password_sealed.clone(),
        "disabled" => row.disabled,
        "created_at" => row.created_at,
        "password_changed_at" => row.password_changed_at,
    ];
    Ok(put_global(connection, "account_user", key, rest).await?)
}

async fn user_delete(connection: &mut Connection<'_>, scope: &Scope, name: &UserName) -> Result<(), Failure> {
    let sql = "DELETE FROM account_user WHERE account = $1 AND folded = $2";
    connection.execute(sql, values![&scope.account, name.folded()]).await?;
    Ok(())
}

async fn failures_put(
    connection: &mut Connection<'_>,
    scope: &Scope,
    subject: &FailureSubject,
    before: Option<&Failures>,
    after: Failures,
) -> Result<(), Failure> {
    let (kind, subject) = subject.key();
    let count = i64::from(after.count);
    let changed = match before {
        None => {
            let sql = "INSERT INTO sign_in_failure (account, kind, subject, count, last_at) VALUES ($1, $2, $3, $4, $5)
                ON CONFLICT DO NOTHING";
            connection.execute(sql, values![&scope.account, kind, subject, count, after.last_at]).await?
        }
        Some(before) => {
            let sql = "UPDATE sign_in_failure SET count = $1, last_at = $2
                WHERE account = $3 AND kind = $4 AND subject = $5 AND count = $6 AND last_at = $7";
            let expected = values![i64::from(before.count), before.last_at];
            let mut values = values![count, after.last_at, &scope.account, kind, subject];
            values.extend(expected);
            connection.execute(sql, values).await?
        }
    };
    one(changed, "count of failures")
}

fn of_scope(scope: &Scope) -> Vec<crate::statement::Column> {
    let (account, region): (&AccountId, &Region) = (&scope.account, &scope.region);
    columns!["account" => account, "region" => region]
}

async fn session_put(connection: &mut Connection<'_>, row: &SessionRow) -> Result<(), Failure> {
    let mut rest = of_scope(&row.scope);
    rest.extend(columns![
        "principal" => &row.user,
        "csrf_token" => &row.csrf_token,
        "created_at" => row.created_at,
        "valid_until" => row.valid_until,
        "seen_at" => row.seen_at,
        "source_address" => &row.source_address,
        "user_agent" => &row.user_agent,
    ]);
    let key = columns!["token_digest" => row.token_digest.0.as_slice()];
    Ok(put_global(connection, "session", key, rest).await?)
}

async fn sign_in_link_put(connection: &mut Connection<'_>, row: &SignInLinkRow) -> Result<(), Failure> {
    let mut rest = of_scope(&row.scope);
    rest.extend(columns![
        "principal" => &row.user,
        "created_at" => row.created_at,
        "valid_until" => row.valid_until,
        "used_at" => row.used_at,
    ]);
    let key = columns!["token_digest" => row.token_digest.0.as_slice()];
    Ok(put_global(connection, "sign_in_link", key, rest).await?)
}
