//! Reading a whole database at one instant.

use super::archive::{ArchiveWriter, Header, Kind, RowCounts, Table};
use super::{INCARNATION, KEY_FINGERPRINT};
use crate::connection::{Connection, Row};
use crate::lock::FileLock;
use crate::migrations::{MIGRATIONS, schema_version};
use crate::store::{postgres_options, sqlite_options};
use crate::value::{Value, values};
use crate::{OpenError, ReadError, StoreUrl, Timestamp};
use futures_util::StreamExt;
use sqlx::postgres::PgConnection;
use sqlx::sqlite::SqliteConnection;
use sqlx::{AssertSqlSafe, ConnectOptions};
use std::path::PathBuf;
use thiserror::Error;
use tokio::sync::mpsc;

/// Why no backup was made.
#[derive(Debug, Error)]
pub enum BackupError {
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// Whoever wanted it has gone.
    #[error("nobody takes the backup any more")]
    NobodyThere,
    /// Something here failed.
    #[error("the backup cannot be written: {0}")]
    Write(#[from] std::io::Error),
}

impl From<sqlx::Error> for BackupError {
    fn from(error: sqlx::Error) -> Self {
        Self::Read(error.into())
    }
}

impl From<serde_json::Error> for BackupError {
    fn from(error: serde_json::Error) -> Self {
        Self::Write(error.into())
    }
}

enum Opened {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// A connection of its own to a database that is only read, so that it holds up nobody: not the writer, not the readers.
pub struct BackupSource {
    opened: Opened,
    file: Option<PathBuf>,
    _lock: Option<FileLock>,
}

impl BackupSource {
    /// Opens a database that no server of this machine has open; it is neither made nor migrated.
    ///
    /// # Errors
    /// When it is not there, in use, not ours, or of a newer program.
    pub async fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        let mut source = match url {
            StoreUrl::Sqlite(path) => {
                if !path.exists() {
                    return Err(OpenError::Unavailable(format!("there is no {}", path.display())));
                }
                let lock = FileLock::take(path)?;
                Self::sqlite(sqlite_options(path).connect().await?, path.clone(), Some(lock))
            }
            StoreUrl::Postgres(address) => Self::postgres(postgres_options(address)?.connect().await?),
        };
        let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
        match source.schema().await? {
            0 => Err(OpenError::Unavailable("there is nothing of Careen in this database".to_owned())),
            found if found > known => Err(OpenError::NewerSchema { found, known }),
            _ => {
                super::refuse_unfinished(&mut source.connection()).await?;
                Ok(source)
            }
        }
    }

    pub(crate) fn sqlite(connection: SqliteConnection, file: PathBuf, lock: Option<FileLock>) -> Self {
        Self { opened: Opened::Sqlite(connection), file: Some(file), _lock: lock }
    }

    pub(crate) fn postgres(connection: PgConnection) -> Self {
        Self { opened: Opened::Postgres(connection), file: None, _lock: None }
    }

    pub(super) fn connection(&mut self) -> Connection<'_> {
        match &mut self.opened {
            Opened::Sqlite(connection) => Connection::Sqlite(connection),
            Opened::Postgres(connection) => Connection::Postgres(connection),
        }
    }

    pub(super) async fn schema(&mut self) -> Result<i64, OpenError> {
        let file = self.file.clone();
        schema_version(&mut self.connection(), file.as_deref()).await
    }

    /// Begins the transaction whose instant everything is read at. On SQLite it keeps the write-ahead log from being
    /// reused while it lasts; nobody waits for it.
    pub(super) async fn freeze(&mut self) -> Result<(), ReadError> {
        match &mut self.opened {
            Opened::Sqlite(_) => {
                self.connection().execute_script("PRAGMA query_only = ON; BEGIN").await?;
                // SQLite's snapshot is taken by the first read.
                self.connection().fetch_all("SELECT COUNT(*) FROM sqlite_master", vec![]).await?;
            }
            Opened::Postgres(_) => {
                self.connection().execute_script("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY").await?;
            }
        }
        Ok(())
    }

    /// Gives the pieces of a backup to `pieces`, as the database is at this instant, and then how many rows it has.
    ///
    /// # Errors
    /// When the database cannot be read, or the receiver is gone; what was given so far is no backup then.
    pub async fn back_up(
        &mut self,
        careen: &str,
        created_at: Timestamp,
        pieces: &mpsc::Sender<Vec<u8>>,
    ) -> Result<(Header, RowCounts), BackupError> {
        self.freeze().await?;
        let schema = self.schema().await?;
        let mut connection = self.connection();
        let header = Header {
            format: 1,
            schema,
            careen: careen.to_owned(),
            created_at,
            incarnation: meta(&mut connection, INCARNATION).await?.and_then(|text| text.parse().ok()).unwrap_or(1),
            key_fingerprint: meta(&mut connection, KEY_FINGERPRINT).await?.unwrap_or_default(),
            tables: tables(&mut connection).await?,
        };
        let (mut writer, first) = ArchiveWriter::begin(&header)?;
        give(pieces, first).await?;
        for (index, table) in header.tables.iter().enumerate() {
            let mut rows = connection.stream(AssertSqlSafe(select_all(table)));
            while let Some(row) = rows.next().await {
                if let Some(piece) = writer.row(index, &values_of(&row?, table)?)? {
                    give(pieces, piece).await?;
                }
            }
        }
        let (last, counts) = writer.end()?;
        give(pieces, last).await?;
        connection.execute_script("ROLLBACK").await?;
        Ok((header, counts))
    }
}

/// A secret as it lies in the database.
pub struct SealedSecret {
    /// Whose it is: what it was sealed together with.
    pub name: String,
    /// Whether it is one of the server's own keys; else it is an access key's.
    pub is_server_key: bool,
    /// The sealed bytes.
    pub sealed: Vec<u8>,
}

impl BackupSource {
    /// The fingerprint of the key file that the database was made with.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn key_fingerprint(&mut self) -> Result<Option<String>, ReadError> {
        meta(&mut self.connection(), KEY_FINGERPRINT).await
    }

    /// The secrets of server and access keys, as they lie there.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn sealed_secrets(&mut self) -> Result<Vec<SealedSecret>, ReadError> {
        let sql = "SELECT name, CAST(1 AS BIGINT) AS is_server_key, secret_sealed FROM server_key
            UNION ALL SELECT access_key_id, CAST(0 AS BIGINT), secret_sealed FROM access_key";
        let rows = self.connection().fetch_all(sql, vec![]).await?;
        let secret = |row: &Row| {
            let is_server_key = row.int("is_server_key")? == 1;
            Ok(SealedSecret { name: row.text("name")?, is_server_key, sealed: row.blob("secret_sealed")? })
        };
        rows.iter().map(secret).collect()
    }
}

async fn give(pieces: &mpsc::Sender<Vec<u8>>, piece: Vec<u8>) -> Result<(), BackupError> {
    pieces.send(piece).await.map_err(|_| BackupError::NobodyThere)
}

pub(super) async fn meta(connection: &mut Connection<'_>, name: &str) -> Result<Option<String>, ReadError> {
    let row = connection.fetch_optional("SELECT value FROM meta WHERE name = $1", values![name]).await?;
    Ok(row.map(|row| row.text("value")).transpose()?)
}

/// Every table but the one that says which schema this is: restoring writes that one itself.
pub(super) async fn tables(connection: &mut Connection<'_>) -> Result<Vec<Table>, ReadError> {
    let sql = match connection {
        Connection::Sqlite(_) => {
            "SELECT m.name AS table_name, c.name AS column_name, c.type AS kind FROM sqlite_master m, pragma_table_info(m.name) c
             WHERE m.type = 'table' AND m.name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY m.name, c.name"
        }
        Connection::Postgres(_) => {
            "SELECT CAST(table_name AS TEXT) AS table_name, CAST(column_name AS TEXT) AS column_name,
                 CAST(data_type AS TEXT) AS kind
             FROM information_schema.columns WHERE table_schema = current_schema()
             ORDER BY CAST(table_name AS TEXT) COLLATE \"C\", CAST(column_name AS TEXT) COLLATE \"C\""
        }
    };
    let mut tables: Vec<Table> = Vec::new();
    for row in connection.fetch_all(sql, vec![]).await? {
        let (name, column) = (row.text("table_name")?, row.text("column_name")?);
        // Others may have tables beside ours in PostgreSQL.
        if !is_ours(&name) {
            continue;
        }
        let plain = |text: &str| {
            !text.is_empty() && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_')
        };
        let kind = match row.text("kind")?.as_str() {
            "BIGINT" | "bigint" => Kind::Int,
            "TEXT" | "text" => Kind::Text,
            "BLOB" | "bytea" => Kind::Blob,
            other => return Err(ReadError::Corrupt(format!("{name}.{column} is a {other}, which Careen has not"))),
        };
        if !plain(&name) || !plain(&column) {
            return Err(ReadError::Corrupt(format!("{name}.{column} is none of Careen's names")));
        }
        match tables.last_mut() {
            Some(table) if table.name == name => table.columns.push((column, kind)),
            _ => tables.push(Table { name, columns: vec![(column, kind)] }),
        }
    }
    Ok(tables)
}

/// Whether a migration makes this table.
fn is_ours(name: &str) -> bool {
    let made = format!("CREATE TABLE {name} (");
    MIGRATIONS.iter().any(|migration| migration.sqlite.contains(&made))
}

fn select_all(table: &Table) -> String {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    format!("SELECT {} FROM \"{}\"", columns.join(", "), table.name)
}

fn values_of(row: &Row, table: &Table) -> Result<Vec<Value>, ReadError> {
    let value = |(name, kind): &(String, Kind)| {
        Ok(match kind {
            Kind::Int => Value::Int(row.int_or_null(name)?),
            Kind::Text => Value::Text(row.text_or_null(name)?),
            Kind::Blob => Value::Blob(row.blob_or_null(name)?),
        })
    };
    let failed = |error: sqlx::Error| ReadError::Corrupt(format!("a row of {}: {error}", table.name));
    table.columns.iter().map(value).collect::<Result<_, _>>().map_err(failed)
}
