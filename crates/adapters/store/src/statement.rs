//! The few shapes of SQL text that are put together here. Every part is a `&'static str` of this crate; whatever comes
//! from outside is a bound value.

use crate::connection::{Array, Connection, Row};
use crate::value::Value;
use identifiers::Scope;
use sqlx::AssertSqlSafe;
use std::fmt::Write as _;

/// A column and its value.
pub(crate) type Column = (&'static str, Value);

/// `column![ "name" => value, ... ]`.
macro_rules! columns {
    ($($name:literal => $value:expr),* $(,)?) => { vec![$(($name, crate::value::Value::from($value))),*] };
}
pub(crate) use columns;

fn scoped(scope: &Scope) -> [Column; 2] {
    [("account", Value::from(&scope.account)), ("region", Value::from(&scope.region))]
}

fn listed(out: &mut String, items: impl Iterator<Item = impl std::fmt::Display>, between: &str) {
    for (index, item) in items.enumerate() {
        let between = if index == 0 { "" } else { between };
        // Writing to a String cannot fail.
        let _ = write!(out, "{between}{item}");
    }
}

fn insert_text(table: &'static str, columns: &[Column]) -> String {
    let mut sql = format!("INSERT INTO {table} (");
    listed(&mut sql, columns.iter().map(|(name, _)| name), ", ");
    sql.push_str(") VALUES (");
    listed(&mut sql, (1..=columns.len()).map(|n| format!("${n}")), ", ");
    sql.push(')');
    sql
}

fn values_of(columns: Vec<Column>) -> Vec<Value> {
    columns.into_iter().map(|(_, value)| value).collect()
}

/// Inserts a row or replaces the one with the same key, within the scope.
pub(crate) async fn put(
    connection: &mut Connection<'_>,
    scope: &Scope,
    table: &'static str,
    key: Vec<Column>,
    rest: Vec<Column>,
) -> Result<(), sqlx::Error> {
    let mut key_columns = scoped(scope).to_vec();
    key_columns.extend(key);
    put_global(connection, table, key_columns, rest).await
}

/// [`put`] for the few tables without a scope.
pub(crate) async fn put_global(
    connection: &mut Connection<'_>,
    table: &'static str,
    key: Vec<Column>,
    rest: Vec<Column>,
) -> Result<(), sqlx::Error> {
    let keys: Vec<&str> = key.iter().map(|(name, _)| *name).collect();
    let replaced: Vec<&str> = rest.iter().map(|(name, _)| *name).collect();
    let mut columns = key;
    columns.extend(rest);
    let mut sql = insert_text(table, &columns);
    sql.push_str(" ON CONFLICT (");
    listed(&mut sql, keys.iter(), ", ");
    if replaced.is_empty() {
        sql.push_str(") DO NOTHING");
    } else {
        sql.push_str(") DO UPDATE SET ");
        listed(&mut sql, replaced.iter().map(|name| format!("{name} = excluded.{name}")), ", ");
    }
    connection.execute(AssertSqlSafe(sql), values_of(columns)).await.map(drop)
}

/// Inserts a row within the scope; `false` where its key is taken, and then nothing changes.
pub(crate) async fn insert(
    connection: &mut Connection<'_>,
    scope: &Scope,
    table: &'static str,
    columns: Vec<Column>,
) -> Result<bool, sqlx::Error> {
    let mut all = scoped(scope).to_vec();
    all.extend(columns);
    let sql = insert_text(table, &all) + " ON CONFLICT DO NOTHING";
    Ok(connection.execute(AssertSqlSafe(sql), values_of(all)).await? == 1)
}

/// Deletes the rows with this key, within the scope; how many.
pub(crate) async fn delete(
    connection: &mut Connection<'_>,
    scope: &Scope,
    table: &'static str,
    key: Vec<Column>,
) -> Result<u64, sqlx::Error> {
    let mut all = scoped(scope).to_vec();
    all.extend(key);
    let mut sql = format!("DELETE FROM {table} WHERE ");
    listed(&mut sql, all.iter().enumerate().map(|(at, (name, _))| format!("{name} = ${}", at + 1)), " AND ");
    connection.execute(AssertSqlSafe(sql), values_of(all)).await
}

/// How many rows go into one statement of [`insert_rows`] on SQLite.
const ROWS_PER_STATEMENT: usize = 64;

/// Inserts many rows of the same columns with few statements. `head` ends with the list of columns, `tail` may be an ON CONFLICT
/// clause.
pub(crate) async fn insert_rows(
    connection: &mut Connection<'_>,
    head: &'static str,
    rows: Vec<Vec<Value>>,
    tail: &'static str,
) -> Result<(), sqlx::Error> {
    insert_rows_returning(connection, head, rows, tail).await.map(drop)
}

/// The same; what a RETURNING in `tail` gives. On PostgreSQL it is one statement, whose text does not depend on how many rows
/// there are.
pub(crate) async fn insert_rows_returning(
    connection: &mut Connection<'_>,
    head: &'static str,
    rows: Vec<Vec<Value>>,
    tail: &'static str,
) -> Result<Vec<Row>, sqlx::Error> {
    let Some(first) = rows.first() else { return Ok(Vec::new()) };
    if matches!(connection, Connection::Postgres(_)) {
        let mut sql = format!("{head} SELECT * FROM unnest(");
        listed(&mut sql, (1..=first.len()).map(|n| format!("${n}")), ", ");
        let _ = write!(sql, ") {tail}");
        let returned = connection.fetch_arrays(AssertSqlSafe(sql), Array::columns(rows)).await?;
        return Ok(returned.unwrap_or_default());
    }
    let mut rows = rows.into_iter().peekable();
    let mut returned = Vec::new();
    while rows.peek().is_some() {
        let mut sql = format!("{head} VALUES");
        let mut values = Vec::new();
        for (index, row) in rows.by_ref().take(ROWS_PER_STATEMENT).enumerate() {
            sql.push_str(if index == 0 { " (" } else { ", (" });
            let first = values.len() + 1;
            listed(&mut sql, (first..first + row.len()).map(|n| format!("${n}")), ", ");
            sql.push(')');
            values.extend(row);
        }
        sql.push(' ');
        sql.push_str(tail);
        returned.extend(connection.fetch_all(AssertSqlSafe(sql), values).await?);
    }
    Ok(returned)
}

/// A SELECT whose conditions depend on what is asked for: the one builder of dynamic filters.
pub(crate) struct Select {
    sql: String,
    values: Vec<Value>,
    conditions: usize,
}

impl Select {
    /// `head`: everything up to WHERE; its own values are numbered from `$1`.
    pub(crate) fn new(head: &'static str, values: Vec<Value>) -> Self {
        Self { sql: head.to_owned(), values, conditions: 0 }
    }

    /// Adds a condition in which each `?` stands for the next of `values`.
    pub(crate) fn filter(&mut self, condition: &'static str, values: Vec<Value>) {
        self.sql.push_str(if self.conditions == 0 { " WHERE " } else { " AND " });
        self.conditions += 1;
        let mut values = values.into_iter();
        for (index, part) in condition.split('?').enumerate() {
            if index > 0
                && let Some(value) = values.next()
            {
                self.values.push(value);
                let _ = write!(self.sql, "${}", self.values.len());
            }
            self.sql.push_str(part);
        }
    }

    /// The rows of one scope; `condition` names the two columns, e.g. `n.account = ? AND n.region = ?`.
    pub(crate) fn scope(&mut self, condition: &'static str, scope: &Scope) {
        self.filter(condition, vec![Value::from(&scope.account), Value::from(&scope.region)]);
    }

    /// `column IN (...)`; with no values nothing matches.
    pub(crate) fn filter_in(&mut self, column: &'static str, values: Vec<Value>) {
        self.sql.push_str(if self.conditions == 0 { " WHERE " } else { " AND " });
        self.conditions += 1;
        if values.is_empty() {
            self.sql.push_str("1 = 0");
            return;
        }
        let first = self.values.len() + 1;
        let _ = write!(self.sql, "{column} IN (");
        listed(&mut self.sql, (first..first + values.len()).map(|n| format!("${n}")), ", ");
        self.sql.push(')');
        self.values.extend(values);
    }

    /// ORDER BY or GROUP BY.
    pub(crate) fn then(&mut self, clause: &'static str) {
        self.sql.push(' ');
        self.sql.push_str(clause);
    }

    /// At most so many rows.
    pub(crate) fn limit(&mut self, limit: u32) {
        self.values.push(Value::from(i64::from(limit)));
        let _ = write!(self.sql, " LIMIT ${}", self.values.len());
    }

    pub(crate) fn into_parts(self) -> (AssertSqlSafe<String>, Vec<Value>) {
        (AssertSqlSafe(self.sql), self.values)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::value::values;

    #[test]
    fn conditions_are_numbered_after_the_heads_own_values() {
        let mut select = Select::new("SELECT a FROM t LEFT JOIN u ON u.k = $1", values!["node"]);
        select.filter("t.b = ?", values![1_i64]);
        select.filter("(t.c, t.d) > (?, ?)", values![2_i64, "x"]);
        select.filter_in("t.e", values!["p", "q"]);
        select.filter_in("t.f", vec![]);
        select.then("ORDER BY t.c");
        select.limit(5);
        let (sql, values) = select.into_parts();
        assert_eq!(
            sql.0,
            "SELECT a FROM t LEFT JOIN u ON u.k = $1 WHERE t.b = $2 AND (t.c, t.d) > ($3, $4) AND t.e IN ($5, $6) \
             AND 1 = 0 ORDER BY t.c LIMIT $7"
        );
        assert_eq!(values.len(), 7);
    }
}
