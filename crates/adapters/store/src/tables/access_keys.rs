use super::named;
use super::people::{UserRow, user_or_none};
use super::records::sealed_debug;
use crate::apply::Failure;
use crate::connection::{Connection, Row};
use crate::statement::{columns, put_global};
use crate::value::values;
use crate::{ReadError, Store};
use identifiers::{AccessKeyId, AccountId, Scope, Timestamp, UserName};
use sqlx::AssertSqlSafe;

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

/// When and for what an access key was used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyUse {
    /// When.
    pub at: Timestamp,
    /// The service that the request was signed for, e.g. `ssm`.
    pub service: String,
    /// The region that the request was signed for.
    pub region: String,
}

/// An access key. It belongs to an account, in every region.
#[derive(Clone, PartialEq, Eq)]
pub struct AccessKeyRow {
    /// Its id, unique over all accounts.
    pub access_key_id: AccessKeyId,
    /// Whose it is.
    pub account: AccountId,
    /// As whom it acts: a user's name.
    pub user: UserName,
    /// The secret, sealed with a key that is not in the database.
    pub secret_sealed: Vec<u8>,
    /// Whether it may be used.
    pub status: AccessKeyStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// The last use that was noted; written by [`crate::PeopleWrite::AccessKeyUsed`] alone.
    pub last_use: Option<KeyUse>,
}
sealed_debug!(AccessKeyRow: access_key_id, account, user, status, created_at);

/// Its columns as everywhere here, of a table named `k`.
const COLUMNS: &str =
    "k.access_key_id, k.account, k.principal, k.secret_sealed, k.status, k.created_at, k.last_used_at,
    k.last_used_service, k.last_used_region";

impl Store {
    /// An access key by its id, with the user whose it is. Looked up in all accounts: the id is what leads to the account.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn access_key_get(&self, id: &AccessKeyId) -> Result<Option<(AccessKeyRow, Option<UserRow>)>, ReadError> {
        let sql = format!(
            "SELECT {COLUMNS}, {} FROM access_key k LEFT JOIN account_user u ON u.account = k.account
            AND u.folded = lower(k.principal) WHERE k.access_key_id = $1",
            super::people::USER_COLUMNS
        );
        let row = self.fetch_optional(AssertSqlSafe(sql), values![id]).await?;
        row.map(|row| Ok((access_key_of(&row)?, user_or_none(&row)?))).transpose()
    }

    /// The access keys of an account, by id; with a user only theirs. There are at most two of each user.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn access_key_list(
        &self,
        account: &AccountId,
        user: Option<&UserName>,
    ) -> Result<Vec<AccessKeyRow>, ReadError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM access_key k WHERE k.account = $1 AND ($2 = '' OR lower(k.principal) = $2)
            ORDER BY k.access_key_id"
        );
        let user = user.map(UserName::folded).unwrap_or_default();
        self.fetch_all(AssertSqlSafe(sql), values![account, user]).await?.iter().map(access_key_of).collect()
    }
}

fn access_key_of(row: &Row) -> Result<AccessKeyRow, ReadError> {
    let last_use = match row.at_or_null("last_used_at")? {
        None => None,
        Some(at) => Some(KeyUse {
            at,
            service: row.text_or_null("last_used_service")?.unwrap_or_default(),
            region: row.text_or_null("last_used_region")?.unwrap_or_default(),
        }),
    };
    Ok(AccessKeyRow {
        access_key_id: row.id("access_key_id")?,
        account: row.id("account")?,
        user: row.id("principal")?,
        secret_sealed: row.blob("secret_sealed")?,
        status: named(row, "status", AccessKeyStatus::parse)?,
        created_at: row.at("created_at")?,
        last_use,
    })
}

pub(super) async fn access_key_put(connection: &mut Connection<'_>, row: &AccessKeyRow) -> Result<(), Failure> {
    let key = columns!["access_key_id" => &row.access_key_id];
    let rest = columns![
        "account" => &row.account,
        "principal" => &row.user,
        "secret_sealed" => row.secret_sealed.as_slice(),
        "status" => row.status.as_str(),
        "created_at" => row.created_at,
    ];
    Ok(put_global(connection, "access_key", key, rest).await?)
}

pub(super) async fn access_key_delete(
    connection: &mut Connection<'_>,
    scope: &Scope,
    id: &AccessKeyId,
) -> Result<(), Failure> {
    let sql = "DELETE FROM access_key WHERE access_key_id = $1 AND account = $2";
    connection.execute(sql, values![id, &scope.account]).await?;
    Ok(())
}

/// An older use than the one that is noted changes nothing: several servers note what they see.
pub(super) async fn access_key_used(
    connection: &mut Connection<'_>,
    scope: &Scope,
    id: &AccessKeyId,
    used: &KeyUse,
) -> Result<(), Failure> {
    let sql = "UPDATE access_key SET last_used_at = $1, last_used_service = $2, last_used_region = $3
        WHERE access_key_id = $4 AND account = $5 AND (last_used_at IS NULL OR last_used_at < $1)";
    connection.execute(sql, values![used.at, &used.service, &used.region, id, &scope.account]).await?;
    Ok(())
}
