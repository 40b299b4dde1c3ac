//! A backup back into a database, whole or not at all.
//!
//! SQLite: into a file beside the one that is meant, which takes its name in the end. PostgreSQL: in one transaction. Either way
//! the database bears a mark until [`Restoring::finish`]; nobody else opens it before, and a restore that was interrupted
//! goes on when it is started again.

use super::RESTORING;
use super::archive::{ArchiveError, ArchiveReader, Header, Table};
use super::source::{meta, tables};
use crate::connection::Connection;
use crate::lock::{FileLock, beside, create_private};
use crate::migrations::{MIGRATIONS, schema_version, step};
use crate::store::{postgres_options, sqlite_options};
use crate::value::{Value, values};
use crate::{ApplyError, OpenError, ReadError, Store, StoreUrl};
use sha2::{Digest, Sha256};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection as _};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;
use thiserror::Error;

/// How many values one statement has at most; SQLite takes 32,766 (<https://www.sqlite.org/limits.html>).
const VALUES_MAX: usize = 16_000;

/// Why nothing was restored.
#[derive(Debug, Error)]
pub enum RestoreError {
    /// The file is no whole backup.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The backup is of a newer program.
    #[error(
        "the backup has schema {found} (made by careen {careen}), this program knows schemas up to {known}: \
         restore it with the newer program"
    )]
    NewerSchema {
        /// The schema of the backup.
        found: i64,
        /// The newest schema known here.
        known: i64,
        /// The program that made it.
        careen: String,
    },
    /// There is a database already.
    #[error(
        "{0} holds a database already; choose an empty place, or give --replace, which keeps the old one beside it"
    )]
    NotEmpty(String),
    /// Servers work on the database that is to be replaced.
    #[error("{0} connections of Careen servers are open to this database; stop the servers first")]
    InUse(i64),
    /// A restore of another backup was interrupted here.
    #[error("the restore of another backup was interrupted here: restore that one again, or give --replace")]
    OtherUnfinished,
    /// The tables of the backup are not those of its schema.
    #[error("the backup's tables are not those of schema {0}")]
    OtherTables(i64),
    /// The database cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The database cannot be written.
    #[error(transparent)]
    Write(#[from] ApplyError),
    /// The database cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A file cannot be written or renamed.
    #[error("{path}: {error}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        error: std::io::Error,
    },
}

impl From<sqlx::Error> for RestoreError {
    fn from(error: sqlx::Error) -> Self {
        Self::Write(error.into())
    }
}

/// Where the database is that was there before.
pub type Replaced = Option<String>;

enum Place {
    File { _lock: FileLock, side: PathBuf, target: PathBuf },
    Postgres { replaced: Replaced },
}

/// A database that holds a backup's rows and is not yet to be opened by a server.
pub struct Restoring {
    store: Store,
    place: Place,
}

impl Restoring {
    /// Puts a backup's rows into an empty place. With `replace` what is there is kept beside it and not deleted.
    ///
    /// # Errors
    /// See [`RestoreError`]; what is there is then as it was.
    pub async fn begin<R: Read + Send>(
        url: &StoreUrl,
        archive: ArchiveReader<R>,
        replace: bool,
    ) -> Result<Self, RestoreError> {
        let header = archive.header();
        let known = MIGRATIONS.last().map_or(0, |migration| migration.version);
        if header.schema > known {
            return Err(RestoreError::NewerSchema { found: header.schema, known, careen: header.careen.clone() });
        }
        match url {
            StoreUrl::Sqlite(path) => Self::begin_sqlite(path, archive, replace).await,
            StoreUrl::Postgres(address) => Self::begin_postgres(address, archive, replace).await,
        }
    }

    async fn begin_sqlite<R: Read + Send>(
        target: &Path,
        archive: ArchiveReader<R>,
        replace: bool,
    ) -> Result<Self, RestoreError> {
        if target.exists() && !replace {
            return Err(RestoreError::NotEmpty(target.display().to_string()));
        }
        let lock = FileLock::take(target)?;
        let side = beside(target, "restoring");
        forget(&side)?;
        let loaded = async {
            create_private(&side)?;
            let mut connection = sqlite_options(&side).connect().await?;
            load(&mut Connection::Sqlite(&mut connection), archive).await?;
            connection.close().await?;
            Ok(Store::open_restoring(&StoreUrl::Sqlite(side.clone())).await?)
        };
        match loaded.await {
            Ok(store) => Ok(Self { store, place: Place::File { _lock: lock, side, target: target.to_owned() } }),
            Err(error) => {
                // A half-filled file would only take room; the next attempt would remove it as well.
                let _ = forget(&side);
                Err(error)
            }
        }
    }

    async fn begin_postgres<R: Read + Send>(
        address: &str,
        archive: ArchiveReader<R>,
        replace: bool,
    ) -> Result<Self, RestoreError> {
        let mut opened = postgres_options(address)?.connect().await?;
        let mut connection = Connection::Postgres(&mut opened);
        let mut replaced = None;
        let unfinished = match schema_version(&mut connection, None).await? {
            0 => None,
            _ => meta(&mut connection, RESTORING).await?,
        };
        // Dropped without COMMIT, the connection takes everything with it.
        if unfinished.as_ref() != Some(&mark(archive.header())) {
            connection.execute_script("BEGIN").await?;
            if !tables(&mut connection).await?.is_empty() {
                match (replace, unfinished) {
                    (true, _) => replaced = Some(move_aside(&mut connection).await?),
                    (false, Some(_)) => return Err(RestoreError::OtherUnfinished),
                    (false, None) => {
                        return Err(RestoreError::NotEmpty(StoreUrl::Postgres(address.to_owned()).to_string()));
                    }
                }
            }
            load_rows(&mut connection, archive).await?;
            connection.execute_script("COMMIT").await?;
        }
        opened.close().await?;
        let store = Store::open_restoring(&StoreUrl::Postgres(address.to_owned())).await?;
        Ok(Self { store, place: Place::Postgres { replaced } })
    }

    /// The database, migrated to the schema of this program, for what must be decided before it may be used.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Puts the database in its place, after [`crate::RecordWrite::RestoreFinish`] was applied. Where it was put before
    /// is told.
    ///
    /// # Errors
    /// When the mark is still there, or a file cannot be renamed; starting the restore again is right then.
    pub async fn finish(self) -> Result<Replaced, RestoreError> {
        let marked = self.store.meta_get(RESTORING).await?;
        self.store.close().await;
        if marked.is_some() {
            return Err(OpenError::Restoring.into());
        }
        match self.place {
            Place::Postgres { replaced } => Ok(replaced),
            Place::File { side, target, .. } => take_place(&side, &target).await,
        }
    }
}

/// A database that bears the mark is nobody's.
pub(crate) async fn refuse_unfinished(connection: &mut Connection<'_>) -> Result<(), OpenError> {
    match meta(connection, RESTORING).await {
        Ok(Some(_)) => Err(OpenError::Restoring),
        Ok(None) => Ok(()),
        Err(ReadError::Corrupt(detail)) => Err(OpenError::Corrupt(detail)),
        Err(ReadError::Unavailable(detail)) => Err(OpenError::Unavailable(detail)),
    }
}

/// Which backup is being restored.
fn mark(header: &Header) -> String {
    let text = serde_json::to_string(header).unwrap_or_default();
    let mut mark = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        // Writing to a String cannot fail.
        let _ = write!(mark, "{byte:02x}");
    }
    mark
}

async fn load<R: Read>(connection: &mut Connection<'_>, archive: ArchiveReader<R>) -> Result<(), RestoreError> {
    connection.execute_script("BEGIN IMMEDIATE").await?;
    load_rows(connection, archive).await?;
    connection.execute_script("COMMIT").await?;
    Ok(())
}

/// The tables of the backup's schema, its rows, and the mark, in the transaction that is open.
async fn load_rows<R: Read>(
    connection: &mut Connection<'_>,
    mut archive: ArchiveReader<R>,
) -> Result<(), RestoreError> {
    let header = archive.header().clone();
    for migration in MIGRATIONS.iter().filter(|migration| migration.version <= header.schema) {
        step(connection, migration).await?;
    }
    if tables(connection).await? != header.tables {
        return Err(RestoreError::OtherTables(header.schema));
    }
    while let Some(rows) = archive.next_rows()? {
        let Some(table) = header.tables.get(rows.table) else { continue };
        insert_all(connection, table, rows.rows).await?;
    }
    let sql = "INSERT INTO meta (name, value) VALUES ($1, $2)";
    connection.execute(sql, values![RESTORING, mark(&header)]).await?;
    Ok(())
}

async fn insert_all(connection: &mut Connection<'_>, table: &Table, rows: Vec<Vec<Value>>) -> Result<(), sqlx::Error> {
    let columns: Vec<String> = table.columns.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let per_statement = (VALUES_MAX / columns.len().max(1)).clamp(1, 500);
    let mut rows = rows.into_iter().peekable();
    while rows.peek().is_some() {
        let mut sql = format!("INSERT INTO \"{}\" ({}) VALUES ", table.name, columns.join(", "));
        let mut values = Vec::new();
        for (index, row) in rows.by_ref().take(per_statement).enumerate() {
            let places: Vec<String> = (1..=row.len()).map(|place| format!("${}", values.len() + place)).collect();
            let _ = write!(sql, "{}({})", if index == 0 { "" } else { ", " }, places.join(", "));
            values.extend(row);
        }
        connection.execute(AssertSqlSafe(sql), values).await?;
    }
    Ok(())
}

/// Gives the schema with everything in it another name, and makes an empty one. Its name afterwards.
async fn move_aside(connection: &mut Connection<'_>) -> Result<String, RestoreError> {
    let others = "SELECT COUNT(*) AS count FROM pg_stat_activity
        WHERE datname = current_database() AND application_name LIKE 'careen%' AND pid <> pg_backend_pid()";
    let count = connection.fetch_optional(others, vec![]).await?.map(|row| row.int("count")).transpose()?.unwrap_or(0);
    if count > 0 {
        return Err(RestoreError::InUse(count));
    }
    let names =
        "SELECT quote_ident(current_schema()) AS old, quote_ident(current_schema() || '_replaced_' || $1) AS new";
    let row =
        connection.fetch_optional(names, values![seconds().to_string()]).await?.ok_or(sqlx::Error::RowNotFound)?;
    let (old, new) = (row.text("old")?, row.text("new")?);
    connection.execute(AssertSqlSafe(format!("ALTER SCHEMA {old} RENAME TO {new}")), vec![]).await?;
    connection.execute(AssertSqlSafe(format!("CREATE SCHEMA {old}")), vec![]).await?;
    Ok(format!("schema {new}"))
}

fn seconds() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> RestoreError {
    move |error| RestoreError::Io { path: path.to_owned(), error }
}

fn remove(path: &Path) -> Result<(), RestoreError> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(failed(path)(error)),
        _ => Ok(()),
    }
}

/// Removes what an interrupted restore left.
fn forget(side: &Path) -> Result<(), RestoreError> {
    for name in ["-wal", "-shm", "-journal", ".lock"] {
        let mut path = side.as_os_str().to_owned();
        path.push(name);
        remove(Path::new(&path))?;
    }
    // Copies made before migrating an older backup.
    for migration in MIGRATIONS {
        remove(&beside(side, &format!("before-{}.backup", migration.version)))?;
        remove(&beside(side, &format!("before-{}.partial", migration.version)))?;
    }
    remove(side)
}

/// Gives the restored file its name. What has it now keeps another, with its write-ahead log if it could not be taken in.
async fn take_place(side: &Path, target: &Path) -> Result<Replaced, RestoreError> {
    let with = |suffix: &str| {
        let mut path = target.as_os_str().to_owned();
        path.push(suffix);
        PathBuf::from(path)
    };
    let folder = target.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let sync_folder = || File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed(folder));
    let mut aside = None;
    if target.exists() {
        take_in_log(target).await;
        let name = beside(target, &format!("replaced-{}", seconds()));
        fs::hard_link(target, &name).map_err(failed(&name))?;
        let log = with("-wal");
        if log.exists() {
            let mut kept = name.as_os_str().to_owned();
            kept.push("-wal");
            fs::hard_link(&log, &kept).map_err(failed(Path::new(&kept)))?;
        }
        sync_folder()?;
        // A log of the old database beside the new one would be taken for its own.
        remove(&log)?;
        remove(&with("-shm"))?;
        aside = Some(name.display().to_string());
    }
    File::open(side).and_then(|file| file.sync_all()).map_err(failed(side))?;
    fs::rename(side, target).map_err(failed(target))?;
    sync_folder()?;
    forget(side)?;
    Ok(aside)
}

/// Moves the old database's write-ahead log into it, if it is still a database.
async fn take_in_log(target: &Path) {
    let closed = async {
        let mut connection = sqlite_options(target).connect().await?;
        Connection::Sqlite(&mut connection).execute_script("PRAGMA wal_checkpoint(TRUNCATE)").await?;
        connection.close().await
    };
    if let Err(error) = closed.await {
        tracing::warn!(%error, "the old database's log was kept beside it as it is");
    }
}
