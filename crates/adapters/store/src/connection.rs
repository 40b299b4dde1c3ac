use crate::ReadError;
use crate::value::Value;
use futures_util::stream::{BoxStream, StreamExt, TryStreamExt};
use identifiers::Timestamp;
use serde::de::DeserializeOwned;
use sqlx::postgres::{PgConnection, PgRow, Postgres};
use sqlx::sqlite::{Sqlite, SqliteConnection, SqliteRow};
use sqlx::{Row as _, SqlSafeStr};

/// One connection of either database. Statements are the same text for both; `$1` names a value on both
/// (SQLite: <https://www.sqlite.org/lang_expr.html#varparam>, read as a number by sqlx).
pub(crate) enum Connection<'c> {
    Sqlite(&'c mut SqliteConnection),
    Postgres(&'c mut PgConnection),
}

macro_rules! bound {
    ($database:ty, $sql:expr, $values:expr) => {{
        let mut query = sqlx::query::<$database>($sql);
        for value in $values {
            query = match value {
                Value::Int(v) => query.bind(v),
                Value::Text(v) => query.bind(v),
                Value::Blob(v) => query.bind(v),
            };
        }
        query
    }};
}

impl Connection<'_> {
    /// Runs a statement; how many rows it changed.
    pub(crate) async fn execute(&mut self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<u64, sqlx::Error> {
        match self {
            Self::Sqlite(c) => bound!(Sqlite, sql, values).execute(&mut **c).await.map(|done| done.rows_affected()),
            Self::Postgres(c) => bound!(Postgres, sql, values).execute(&mut **c).await.map(|done| done.rows_affected()),
        }
    }

    /// All rows of a query.
    pub(crate) async fn fetch_all(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Vec<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(c) => Ok(wrapped(bound!(Sqlite, sql, values).fetch_all(&mut **c).await?, Row::Sqlite)),
            Self::Postgres(c) => Ok(wrapped(bound!(Postgres, sql, values).fetch_all(&mut **c).await?, Row::Postgres)),
        }
    }

    /// The first row of a query.
    pub(crate) async fn fetch_optional(
        &mut self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Option<Row>, sqlx::Error> {
        match self {
            Self::Sqlite(c) => Ok(bound!(Sqlite, sql, values).fetch_optional(&mut **c).await?.map(Row::Sqlite)),
            Self::Postgres(c) => Ok(bound!(Postgres, sql, values).fetch_optional(&mut **c).await?.map(Row::Postgres)),
        }
    }

    /// The rows of a query without values, one after the other, so that there may be more than fit into memory.
    pub(crate) fn stream(&mut self, sql: impl SqlSafeStr) -> BoxStream<'_, Result<Row, sqlx::Error>> {
        match self {
            Self::Sqlite(c) => sqlx::query::<Sqlite>(sql).fetch(&mut **c).map_ok(Row::Sqlite).boxed(),
            Self::Postgres(c) => sqlx::query::<Postgres>(sql).fetch(&mut **c).map_ok(Row::Postgres).boxed(),
        }
    }

    /// All rows of a statement of PostgreSQL whose values are arrays, one for each column. `None`: this is SQLite, which has none.
    pub(crate) async fn fetch_arrays(
        &mut self,
        sql: impl SqlSafeStr,
        columns: Vec<Array>,
    ) -> Result<Option<Vec<Row>>, sqlx::Error> {
        let Self::Postgres(c) = self else { return Ok(None) };
        let mut query = sqlx::query::<Postgres>(sql);
        for column in columns {
            query = match column {
                Array::Ints(values) => query.bind(values),
                Array::Texts(values) => query.bind(values),
                Array::Blobs(values) => query.bind(values),
            };
        }
        Ok(Some(wrapped(query.fetch_all(&mut **c).await?, Row::Postgres)))
    }

    /// Several statements without values, e.g. a migration.
    pub(crate) async fn execute_script(&mut self, sql: &'static str) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(c) => sqlx::raw_sql(sql).execute(&mut **c).await.map(drop),
            Self::Postgres(c) => sqlx::raw_sql(sql).execute(&mut **c).await.map(drop),
        }
    }
}

/// One column of many rows.
pub(crate) enum Array {
    Ints(Vec<Option<i64>>),
    Texts(Vec<Option<String>>),
    Blobs(Vec<Option<Vec<u8>>>),
}

impl Array {
    /// Rows turned into columns. Each row has the same columns, of the same types.
    pub(crate) fn columns(rows: Vec<Vec<Value>>) -> Vec<Self> {
        let count = rows.len();
        let mut columns: Vec<Self> = Vec::new();
        for row in rows {
            for (index, value) in row.into_iter().enumerate() {
                match (columns.get_mut(index), value) {
                    (None, Value::Int(v)) => columns.push(Self::Ints(first_of(v, count))),
                    (None, Value::Text(v)) => columns.push(Self::Texts(first_of(v, count))),
                    (None, Value::Blob(v)) => columns.push(Self::Blobs(first_of(v, count))),
                    (Some(Self::Ints(values)), Value::Int(v)) => values.push(v),
                    (Some(Self::Texts(values)), Value::Text(v)) => values.push(v),
                    (Some(Self::Blobs(values)), Value::Blob(v)) => values.push(v),
                    // A row of other types makes its column too short, which PostgreSQL fills with NULL and our tables refuse.
                    _ => {}
                }
            }
        }
        columns
    }
}

fn first_of<T>(first: T, count: usize) -> Vec<T> {
    let mut values = Vec::with_capacity(count);
    values.push(first);
    values
}

fn wrapped<R>(rows: Vec<R>, wrap: impl Fn(R) -> Row) -> Vec<Row> {
    rows.into_iter().map(wrap).collect()
}

/// One row of either database, its columns taken by name.
pub(crate) enum Row {
    Sqlite(SqliteRow),
    Postgres(PgRow),
}

macro_rules! column {
    ($($(#[$doc:meta])* $name:ident -> $type:ty),* $(,)?) => {$(
        $(#[$doc])*
        pub(crate) fn $name(&self, column: &str) -> Result<$type, sqlx::Error> {
            match self {
                Self::Sqlite(row) => row.try_get(column),
                Self::Postgres(row) => row.try_get(column),
            }
        }
    )*};
}

impl Row {
    column! {
        int -> i64,
        int_or_null -> Option<i64>,
        text -> String,
        text_or_null -> Option<String>,
        blob -> Vec<u8>,
        blob_or_null -> Option<Vec<u8>>,
    }

    pub(crate) fn at(&self, column: &str) -> Result<Timestamp, sqlx::Error> {
        self.int(column).map(Timestamp::from_micros)
    }

    pub(crate) fn at_or_null(&self, column: &str) -> Result<Option<Timestamp>, sqlx::Error> {
        Ok(self.int_or_null(column)?.map(Timestamp::from_micros))
    }

    /// A TEXT column that holds JSON.
    pub(crate) fn json<T: DeserializeOwned>(&self, column: &str) -> Result<T, ReadError> {
        parse_json(column, &self.text(column)?)
    }

    /// A TEXT column that holds JSON or NULL.
    pub(crate) fn json_or_null<T: DeserializeOwned>(&self, column: &str) -> Result<Option<T>, ReadError> {
        self.text_or_null(column)?.map(|text| parse_json(column, &text)).transpose()
    }

    /// A TEXT column that holds an id.
    pub(crate) fn id<T: TryFrom<String>>(&self, column: &str) -> Result<T, ReadError>
    where
        T::Error: std::fmt::Display,
    {
        T::try_from(self.text(column)?).map_err(|e| ReadError::Corrupt(format!("column {column}: {e}")))
    }
}

pub(crate) fn parse_json<T: DeserializeOwned>(column: &str, text: &str) -> Result<T, ReadError> {
    serde_json::from_str(text).map_err(|e| ReadError::Corrupt(format!("column {column}: {e}")))
}

/// A row's nested part as JSON text.
pub(crate) fn to_json<T: serde::Serialize>(value: &T) -> Result<String, crate::ApplyError> {
    serde_json::to_string(value)
        .map_err(|e| crate::ApplyError::Corrupt(format!("a row cannot be written as JSON: {e}")))
}
