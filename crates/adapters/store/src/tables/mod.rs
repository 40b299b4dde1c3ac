//! One module for each domain's tables: how its writes become rows, and how rows are read.

pub(crate) mod access_keys;
pub(crate) mod audit;
pub(crate) mod commands;
pub(crate) mod inventory;
mod inventory_delta;
pub(crate) mod live_output;
pub(crate) mod logs;
pub(crate) mod nodes;
pub(crate) mod patching;
pub(crate) mod people;
pub(crate) mod records;
pub(crate) mod retention;
pub(crate) mod trust;

use crate::connection::Row;
use crate::value::Value;
use crate::{ReadError, Store};
use changes::{Aggregate, Revision, Versioned};
use identifiers::Scope;

/// A query for at most one row beside the revision of its aggregate: `$1` to `$4` are the aggregate's key (scope, kind, id),
/// the rest is the row's own key. Its columns are those of `$table`, named `t`; `$marker` is NULL where there is no row.
macro_rules! select_versioned {
    ($columns:expr, $table:literal, $on:literal) => {
        concat!(
            "SELECT COALESCE(a.revision, 0) AS revision, t.account AS present, ",
            $columns,
            " FROM (SELECT 1 AS one) AS x LEFT JOIN aggregate a ON a.account = $1 AND a.region = $2 AND a.kind = $3 AND a.id = $4 LEFT JOIN ",
            $table,
            " t ON t.account = $1 AND t.region = $2 AND ",
            $on
        )
    };
}
pub(crate) use select_versioned;

impl Store {
    /// Runs a query made by [`select_versioned`].
    pub(crate) async fn get_versioned<T>(
        &self,
        sql: &'static str,
        scope: &Scope,
        aggregate: &Aggregate,
        key: Vec<Value>,
        decode: impl Fn(&Row) -> Result<T, ReadError>,
    ) -> Result<Versioned<Option<T>>, ReadError> {
        let mut values = crate::value::values![&scope.account, &scope.region, aggregate.kind, &aggregate.id];
        values.extend(key);
        let Some(row) = self.fetch_optional(sql, values).await? else {
            return Ok(Versioned::new(Revision(0), None));
        };
        let found = match row.text_or_null("present")? {
            Some(_) => Some(decode(&row)?),
            None => None,
        };
        Ok(Versioned::new(revision_of(&row)?, found))
    }

    /// The revision of an aggregate; 0 where it was never written.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn revision_get(&self, scope: &Scope, aggregate: &Aggregate) -> Result<Revision, ReadError> {
        let sql = "SELECT revision FROM aggregate WHERE account = $1 AND region = $2 AND kind = $3 AND id = $4";
        let key = crate::value::values![&scope.account, &scope.region, aggregate.kind, &aggregate.id];
        self.fetch_optional(sql, key).await?.map_or(Ok(Revision(0)), |row| revision_of(&row))
    }
}

pub(crate) fn revision_of(row: &Row) -> Result<Revision, ReadError> {
    Ok(Revision(row.int("revision")?))
}

/// A row with its revision, from a list.
pub(crate) fn versioned<T>(
    row: &Row,
    decode: impl Fn(&Row) -> Result<T, ReadError>,
) -> Result<Versioned<T>, ReadError> {
    Ok(Versioned::new(revision_of(row)?, decode(row)?))
}

/// A number of a domain's smaller type.
pub(crate) fn small<T: TryFrom<i64>>(row: &Row, column: &str) -> Result<T, ReadError> {
    T::try_from(row.int(column)?).map_err(|_| ReadError::Corrupt(format!("column {column} is out of range")))
}

/// A value of a closed list, from the name it is stored under.
pub(crate) fn named<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, ReadError> {
    let name = row.text(column)?;
    parse(&name).ok_or_else(|| ReadError::Corrupt(format!("column {column} holds the unknown name '{name}'")))
}
