//! Looking at a database without opening it as a store: no lock is taken, nothing is migrated.

use crate::connection::Connection;
use crate::migrations::{MIGRATIONS, schema_version};
use crate::store::{postgres_options, sqlite_options};
use crate::{OpenError, StoreUrl};
use sqlx::ConnectOptions;
use std::time::Duration;

/// How long a database may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// What was seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peek {
    /// Its schema; 0: it has no tables. `None`: the file is not there.
    pub schema: Option<i64>,
    /// The newest schema that this program knows.
    pub known: i64,
    /// PostgreSQL's clock, in seconds since 1970.
    pub clock_seconds: Option<i64>,
}

/// Looks at the database at an address, whoever else uses it.
///
/// # Errors
/// When it cannot be reached, read, or is another program's.
pub async fn peek(url: &StoreUrl) -> Result<Peek, OpenError> {
    let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
    let looking = async {
        match url {
            StoreUrl::Sqlite(path) if !path.exists() => Ok(Peek { schema: None, known, clock_seconds: None }),
            StoreUrl::Sqlite(path) => {
                let mut connection = sqlite_options(path).read_only(true).connect().await?;
                let schema = schema_version(&mut Connection::Sqlite(&mut connection), Some(path)).await?;
                Ok(Peek { schema: Some(schema), known, clock_seconds: None })
            }
            StoreUrl::Postgres(address) => {
                let mut connection = postgres_options(address)?.connect().await?;
                let mut connection = Connection::Postgres(&mut connection);
                let sql = "SELECT CAST(EXTRACT(EPOCH FROM clock_timestamp()) AS BIGINT) AS seconds";
                let row = connection.fetch_optional(sql, vec![]).await?;
                let clock_seconds = row.map(|row| row.int("seconds")).transpose()?;
                let schema = schema_version(&mut connection, None).await?;
                Ok(Peek { schema: Some(schema), known, clock_seconds })
            }
        }
    };
    let late = |_| OpenError::Unavailable(format!("no answer within {} s", ANSWER_MAX.as_secs()));
    tokio::time::timeout(ANSWER_MAX, looking).await.map_err(late)?
}
