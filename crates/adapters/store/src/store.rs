use crate::apply::{Applied, Failure};
use crate::backup::BackupSource;
use crate::connection::{Connection, Row};
use crate::figures::{Counters, Figures, Moment};
use crate::lock::{FileLock, create_private};
use crate::migrations::{MIGRATIONS, Migration, migrate};
use crate::pings::ConnectionClaim;
use crate::statement::Select;
use crate::value::Value;
use crate::writability::Writability;
use crate::write::Write;
use crate::writer::{self, Job};
use crate::{ApplyError, OpenError, ReadError, StoreUrl, error::Cause, postgres_writer};
use changes::Changes;
use identifiers::{NodeId, Scope};
use nodes::Ping;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions, SqlSafeStr};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// How long a reader or a starting server waits for a lock of SQLite's.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a call waits for a connection of the pool.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// Connections that read SQLite; each is a thread.
const SQLITE_READERS: u32 = 4;
/// Connections to PostgreSQL, for reading and writing.
const POSTGRES_CONNECTIONS: u32 = 16;
/// How long a transaction waits for another's row before it tries again alone; see `postgres_writer`.
const POSTGRES_LOCK_TIMEOUT: &str = "250ms";
/// How long PostgreSQL works on one statement.
const POSTGRES_STATEMENT_TIMEOUT: &str = "30s";
/// How long PostgreSQL lets a transaction of ours do nothing: a replica that is paused in one must not hold up the others.
const POSTGRES_IDLE_TIMEOUT: &str = "5s";
/// How long we wait for an answer of PostgreSQL, all statements of a transaction together. A link that is cut says nothing.
const POSTGRES_PATIENCE: Duration = Duration::from_secs(35);
/// How long an idle connection may take to say that it is good.
const CHECK_PATIENCE: Duration = Duration::from_secs(2);
/// A connection that was not used for so long is looked at before it is used.
const POSTGRES_UNCHECKED_MAX: Duration = Duration::from_secs(1);

/// The database. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Store {
    pub(crate) backend: Arc<Backend>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) writability: Writability,
    #[cfg(feature = "faults")]
    pub(crate) faults: crate::faults::Faults,
}

pub(crate) enum Backend {
    Sqlite { readers: SqlitePool, writer: mpsc::Sender<Job> },
    Postgres { pool: PgPool, writers: mpsc::Sender<Job> },
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match *self.backend {
            Backend::Sqlite { .. } => "Store(SQLite)",
            Backend::Postgres { .. } => "Store(PostgreSQL)",
        })
    }
}

impl Store {
    /// Opens the database at an address, creating or migrating its tables.
    ///
    /// # Errors
    /// See [`OpenError`]. Nothing has changed then.
    pub async fn open(url: &StoreUrl) -> Result<Self, OpenError> {
        match url {
            StoreUrl::Sqlite(path) => Self::open_sqlite(path).await,
            StoreUrl::Postgres(address) => Self::open_postgres(address).await,
        }
    }

    /// Opens or creates a SQLite file. A file that must be migrated is first copied to `<file>.before-<schema>.backup`.
    ///
    /// The process keeps `<file>.lock` locked until [`Store::close`] or its end.
    ///
    /// # Errors
    /// [`OpenError::InUse`] while another process (or another `Store`) has it, and as [`Store::open`].
    pub async fn open_sqlite(path: &Path) -> Result<Self, OpenError> {
        Self::open_sqlite_with(path, MIGRATIONS, false).await
    }

    /// Opens a database that is being restored, and migrates it.
    pub(crate) async fn open_restoring(url: &StoreUrl) -> Result<Self, OpenError> {
        match url {
            StoreUrl::Sqlite(path) => Self::open_sqlite_with(path, MIGRATIONS, true).await,
            StoreUrl::Postgres(address) => Self::open_postgres_with(address, MIGRATIONS, true).await,
        }
    }

    pub(crate) async fn open_sqlite_with(
        path: &Path,
        migrations: &[Migration],
        restoring: bool,
    ) -> Result<Self, OpenError> {
        let lock = FileLock::take(path)?;
        // Only the owner may read it: it holds sealed secrets, patch sources and command output.
        create_private(path)?;
        let options = sqlite_options(path);
        let mut connection = options.clone().journal_mode(SqliteJournalMode::Wal).connect().await?;
        migrate(&mut Connection::Sqlite(&mut connection), migrations, Some(path), restoring).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(SQLITE_READERS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.pragma("query_only", "ON"));
        let counters = Arc::new(Counters::default());
        let writer = writer::start(connection, lock, Arc::clone(&counters));
        Ok(Self::of(Backend::Sqlite { readers, writer }, counters))
    }

    /// Opens a PostgreSQL database, e.g. `postgres://careen@db.example/careen`.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub async fn open_postgres(url: &str) -> Result<Self, OpenError> {
        Self::open_postgres_with(url, MIGRATIONS, false).await
    }

    async fn open_postgres_with(url: &str, migrations: &[Migration], restoring: bool) -> Result<Self, OpenError> {
        let options = postgres_options(url)?;
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .after_connect(|connection, _| Box::pin(async { refuse_standby(connection).await }))
            .before_acquire(|connection, used| {
                Box::pin(async move {
                    // One that does not answer, or answers from a standby, is closed, and another opened.
                    let check = tokio::time::timeout(CHECK_PATIENCE, refuse_standby(connection));
                    Ok(used.idle_for < POSTGRES_UNCHECKED_MAX || matches!(check.await, Ok(Ok(()))))
                })
            })
            .connect_with(options)
            .await?;
        let mut connection = pool.acquire().await?;
        migrate(&mut Connection::Postgres(&mut connection), migrations, None, restoring).await?;
        drop(connection);
        let writers = postgres_writer::start(&pool);
        Ok(Self::of(Backend::Postgres { pool, writers }, Arc::default()))
    }

    fn of(backend: Backend, counters: Arc<Counters>) -> Self {
        Self {
            backend: Arc::new(backend),
            counters,
            writability: Writability::default(),
            #[cfg(feature = "faults")]
            faults: crate::faults::Faults::default(),
        }
    }

    /// Whether no other process can have this database: it is a file that this one has locked.
    #[must_use]
    pub fn is_exclusive(&self) -> bool {
        #[cfg(feature = "faults")]
        if self.faults.shared {
            return false;
        }
        matches!(*self.backend, Backend::Sqlite { .. })
    }

    pub(crate) fn postgres_pool(&self) -> Option<&PgPool> {
        match &*self.backend {
            Backend::Sqlite { .. } => None,
            Backend::Postgres { pool, .. } => Some(pool),
        }
    }

    /// Has something written, and waits until it is durable.
    async fn write<T>(&self, job: impl FnOnce(oneshot::Sender<Result<T, ApplyError>>) -> Job) -> Result<T, ApplyError> {
        let began = Instant::now();
        let result = self.write_uncounted(job).await;
        self.counters.wrote(&result, began.elapsed());
        result
    }

    async fn write_uncounted<T>(
        &self,
        job: impl FnOnce(oneshot::Sender<Result<T, ApplyError>>) -> Job,
    ) -> Result<T, ApplyError> {
        #[cfg(feature = "faults")]
        self.faults.before_commit()?;
        let done = ask(self.writer(), job).await?;
        #[cfg(feature = "faults")]
        self.faults.after_commit()?;
        Ok(done)
    }

    fn writer(&self) -> &mpsc::Sender<Job> {
        match &*self.backend {
            Backend::Sqlite { writer, .. } => writer,
            Backend::Postgres { writers, .. } => writers,
        }
    }

    /// Applies a decision's changes, all or nothing, and returns once they are durable.
    ///
    /// # Errors
    /// See [`ApplyError`]; on [`ApplyError::Conflict`] load again and decide again.
    pub async fn apply(&self, scope: &Scope, changes: Changes<Write>) -> Result<Applied, ApplyError> {
        let result = self.write(|answer| Job::Apply { scope: scope.clone(), changes, answer }).await;
        self.writability.note(&result);
        result
    }

    /// Makes a connection its node's newest.
    ///
    /// # Errors
    /// [`ApplyError::Superseded`] where another was quicker; when the database cannot be written.
    pub async fn connection_claim(&self, claim: ConnectionClaim) -> Result<(), ApplyError> {
        self.write(|answer| Job::Claim { claim: Box::new(claim), answer }).await
    }

    /// Why nothing can be written at present (the disk is full, say), in the database's words; `None` while all is well.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.writability.read_only()
    }

    /// Keeps the last ping of each node: the hot path, without revisions, audit or events. The caller coalesces. Gives the
    /// nodes whose ping did not come over their newest connection, and was not kept.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn pings_put(&self, pings: Vec<(Scope, Ping)>) -> Result<Vec<NodeId>, ApplyError> {
        self.write(|answer| Job::Pings { pings, answer }).await
    }

    /// Ends what is being written and closes the database. Calls after it fail as [`ApplyError::Unavailable`].
    pub async fn close(&self) {
        if let Backend::Sqlite { readers, .. } = &*self.backend {
            readers.close().await;
        }
        let (done, closed) = oneshot::channel();
        if self.writer().send(Job::Close { done }).await.is_ok() {
            let _ = closed.await;
        }
    }

    /// A connection of its own for reading everything at one instant.
    ///
    /// # Errors
    /// When the database cannot be opened once more.
    pub async fn backup_source(&self) -> Result<BackupSource, OpenError> {
        Ok(match &*self.backend {
            Backend::Sqlite { readers, .. } => {
                let options = readers.connect_options();
                let connection = options.connect().await?;
                BackupSource::sqlite(connection, options.get_filename().to_owned(), None)
            }
            Backend::Postgres { pool, .. } => {
                // It takes as long as it takes, and waits for whoever writes the file.
                let unhurried = [("statement_timeout", "0"), ("idle_in_transaction_session_timeout", "0")];
                let options = (*pool.connect_options()).clone().options(unhurried);
                BackupSource::postgres(options.connect().await?)
            }
        })
    }

    /// Which database it is: `SQLite` or `PostgreSQL`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match *self.backend {
            Backend::Sqlite { .. } => "SQLite",
            Backend::Postgres { .. } => "PostgreSQL",
        }
    }

    /// The version of the schema.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn schema_get(&self) -> Result<i64, ReadError> {
        let sql = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_version";
        Ok(self.fetch_optional(sql, vec![]).await?.map(|row| row.int("version")).transpose()?.unwrap_or(0))
    }

    /// What was counted since the store was opened.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.counters.figures()
    }

    /// How things are now. What cannot be found out is left out.
    pub async fn moment(&self) -> Moment {
        match &*self.backend {
            Backend::Sqlite { readers, writer } => {
                let options = readers.connect_options();
                let path = options.get_filename();
                let size = |path: &Path| std::fs::metadata(path).ok().map(|found| found.len());
                let mut log = path.as_os_str().to_owned();
                log.push("-wal");
                Moment {
                    queued: writer.max_capacity() - writer.capacity(),
                    connections: usize::try_from(readers.size()).unwrap_or(usize::MAX),
                    idle_connections: readers.num_idle(),
                    size_bytes: size(path),
                    write_ahead_bytes: Some(size(Path::new(&log)).unwrap_or(0)),
                }
            }
            Backend::Postgres { pool, .. } => {
                let sql = "SELECT pg_database_size(current_database()) AS bytes";
                let row = self.fetch_optional(sql, vec![]).await.ok().flatten();
                Moment {
                    queued: 0,
                    connections: usize::try_from(pool.size()).unwrap_or(usize::MAX),
                    idle_connections: pool.num_idle(),
                    size_bytes: row.and_then(|row| u64::try_from(row.int("bytes").ok()?).ok()),
                    write_ahead_bytes: None,
                }
            }
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn check(&self) -> Result<(), ReadError> {
        self.fetch_optional("SELECT 1 AS one", vec![]).await.map(drop)
    }

    pub(crate) async fn fetch_all(&self, sql: impl SqlSafeStr, values: Vec<Value>) -> Result<Vec<Row>, ReadError> {
        #[cfg(feature = "faults")]
        self.faults.reading()?;
        Ok(match &*self.backend {
            Backend::Sqlite { readers, .. } => {
                Connection::Sqlite(&mut *readers.acquire().await?).fetch_all(sql, values).await?
            }
            Backend::Postgres { pool, .. } => {
                let sql = sql.into_sql_str();
                patiently(pool, async |c| Connection::Postgres(c).fetch_all(sql, values).await).await?
            }
        })
    }

    pub(crate) async fn fetch_optional(
        &self,
        sql: impl SqlSafeStr,
        values: Vec<Value>,
    ) -> Result<Option<Row>, ReadError> {
        #[cfg(feature = "faults")]
        self.faults.reading()?;
        Ok(match &*self.backend {
            Backend::Sqlite { readers, .. } => {
                Connection::Sqlite(&mut *readers.acquire().await?).fetch_optional(sql, values).await?
            }
            Backend::Postgres { pool, .. } => {
                let sql = sql.into_sql_str();
                patiently(pool, async |c| Connection::Postgres(c).fetch_optional(sql, values).await).await?
            }
        })
    }

    /// All rows of a built query, decoded.
    pub(crate) async fn select<T>(
        &self,
        select: Select,
        decode: impl Fn(&Row) -> Result<T, ReadError>,
    ) -> Result<Vec<T>, ReadError> {
        let (sql, values) = select.into_parts();
        self.fetch_all(sql, values).await?.iter().map(decode).collect()
    }
}

/// How a SQLite file is opened.
pub(crate) fn sqlite_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(false)
        .synchronous(SqliteSynchronous::Full)
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

/// How a PostgreSQL server is connected to.
pub(crate) fn postgres_options(url: &str) -> Result<PgConnectOptions, OpenError> {
    let options: PgConnectOptions = url.parse().map_err(|_| OpenError::Address("postgres".to_owned()))?;
    Ok(options
        .application_name("careen")
        .options([
            ("lock_timeout", POSTGRES_LOCK_TIMEOUT),
            ("statement_timeout", POSTGRES_STATEMENT_TIMEOUT),
            ("idle_in_transaction_session_timeout", POSTGRES_IDLE_TIMEOUT),
        ])
        .statement_cache_capacity(256)
        .disable_statement_logging())
}

pub(crate) async fn ask<T>(
    writer: &mpsc::Sender<Job>,
    job: impl FnOnce(oneshot::Sender<Result<T, ApplyError>>) -> Job,
) -> Result<T, ApplyError> {
    let closed = || ApplyError::Unavailable("the store is closed".to_owned());
    let (answer, answered) = oneshot::channel();
    writer.send(job(answer)).await.map_err(|_| closed())?;
    answered.await.map_err(|_| closed())?
}

/// Does something with a connection to PostgreSQL, within our patience. A connection that failed is not used again: it may lead
/// to a server that is no longer the primary, or to nobody.
pub(crate) async fn patiently<T, E>(
    pool: &PgPool,
    work: impl AsyncFnOnce(&mut PgConnection) -> Result<T, E>,
) -> Result<T, E>
where
    E: From<sqlx::Error> + IsFatal,
{
    let mut connection = pool.acquire().await?;
    let done = tokio::time::timeout(POSTGRES_PATIENCE, work(&mut connection)).await;
    let result = done.unwrap_or_else(|_| {
        let silent = std::io::Error::new(std::io::ErrorKind::TimedOut, "PostgreSQL does not answer");
        Err(sqlx::Error::Io(silent).into())
    });
    if result.as_ref().is_err_and(IsFatal::is_fatal) {
        drop(connection.detach());
    }
    result
}

/// Whether after this failure the connection is no good.
pub(crate) trait IsFatal {
    fn is_fatal(&self) -> bool;
}

impl IsFatal for sqlx::Error {
    fn is_fatal(&self) -> bool {
        matches!(Cause::of(self), Cause::Unavailable | Cause::ReadOnly)
    }
}

impl IsFatal for Failure {
    fn is_fatal(&self) -> bool {
        matches!(self, Self::Database(error) if error.is_fatal())
    }
}

/// After a failover the address may still lead to the old primary, or already to a new standby.
async fn refuse_standby(connection: &mut PgConnection) -> Result<(), sqlx::Error> {
    let standby: bool = sqlx::query_scalar("SELECT pg_is_in_recovery()").fetch_one(connection).await?;
    match standby {
        false => Ok(()),
        true => Err(sqlx::Error::Io(std::io::Error::other("the PostgreSQL server is a standby, not the primary"))),
    }
}
