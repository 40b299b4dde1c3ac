use crate::apply::{Applied, Failure, apply_rows, logs_append};
use crate::backup::BackupSource;
use crate::connection::{Connection, Row};
use crate::figures::{Counters, Figures, Moment};
use crate::lock::{FileLock, create_private};
use crate::migrations::{MIGRATIONS, Migration, migrate};
use crate::pings::pings_put_in;
use crate::statement::Select;
use crate::value::Value;
use crate::writability::Writability;
use crate::write::Write;
use crate::writer::{self, Job};
use crate::{ApplyError, OpenError, ReadError, StoreUrl};
use changes::Changes;
use identifiers::Scope;
use nodes::Ping;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
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
/// How often a transaction is tried again in which PostgreSQL saw a deadlock.
const POSTGRES_ATTEMPTS: u32 = 5;
/// How long a transaction waits for another's row before it tries again alone; see `apply_postgres`.
const POSTGRES_LOCK_TIMEOUT: &str = "250ms";
/// The first half of the advisory locks on scopes: an arbitrary number, ours alone.
const POSTGRES_LOCK_SPACE: i64 = 0x0ca2_ee18;

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
    Postgres { pool: PgPool },
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
            .connect_with(options)
            .await?;
        let mut connection = pool.acquire().await?;
        migrate(&mut Connection::Postgres(&mut connection), migrations, None, restoring).await?;
        drop(connection);
        Ok(Self::of(Backend::Postgres { pool }, Arc::default()))
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

    /// Applies a decision's changes, all or nothing, and returns once they are durable.
    ///
    /// # Errors
    /// See [`ApplyError`]; on [`ApplyError::Conflict`] load again and decide again.
    pub async fn apply(&self, scope: &Scope, changes: Changes<Write>) -> Result<Applied, ApplyError> {
        let began = Instant::now();
        let result = self.apply_uncounted(scope, changes).await;
        self.counters.wrote(&result, began.elapsed());
        self.writability.note(&result);
        result
    }

    async fn apply_uncounted(&self, scope: &Scope, changes: Changes<Write>) -> Result<Applied, ApplyError> {
        #[cfg(feature = "faults")]
        self.faults.before_commit()?;
        let applied = match &*self.backend {
            Backend::Sqlite { writer, .. } => {
                ask(writer, |answer| Job::Apply { scope: scope.clone(), changes, answer }).await?
            }
            Backend::Postgres { pool } => apply_postgres(pool, scope, &changes).await?,
        };
        #[cfg(feature = "faults")]
        self.faults.after_commit()?;
        Ok(applied)
    }

    /// Why nothing can be written at present (the disk is full, say), in the database's words; `None` while all is well.
    #[must_use]
    pub fn read_only(&self) -> Option<String> {
        self.writability.read_only()
    }

    /// Keeps the newest ping of each node: the hot path, without revisions, audit or events. The caller coalesces.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn pings_put(&self, pings: Vec<(Scope, Ping)>) -> Result<(), ApplyError> {
        let began = Instant::now();
        let result = self.pings_put_uncounted(pings).await;
        self.counters.wrote(&result, began.elapsed());
        result
    }

    async fn pings_put_uncounted(&self, pings: Vec<(Scope, Ping)>) -> Result<(), ApplyError> {
        #[cfg(feature = "faults")]
        self.faults.before_commit()?;
        match &*self.backend {
            Backend::Sqlite { writer, .. } => ask(writer, |answer| Job::Pings { pings, answer }).await,
            Backend::Postgres { pool } => Ok(pings_put_postgres(pool, &pings).await?),
        }
    }

    /// Ends what is being written and closes the database. Calls after it fail as [`ApplyError::Unavailable`].
    pub async fn close(&self) {
        match &*self.backend {
            Backend::Sqlite { readers, writer } => {
                readers.close().await;
                let (done, closed) = oneshot::channel();
                if writer.send(Job::Close { done }).await.is_ok() {
                    let _ = closed.await;
                }
            }
            Backend::Postgres { pool } => pool.close().await,
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
            Backend::Postgres { pool } => BackupSource::postgres(pool.connect_options().connect().await?),
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
            Backend::Postgres { pool } => {
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
            Backend::Postgres { pool } => {
                Connection::Postgres(&mut *pool.acquire().await?).fetch_all(sql, values).await?
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
            Backend::Postgres { pool } => {
                Connection::Postgres(&mut *pool.acquire().await?).fetch_optional(sql, values).await?
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
        .options([("lock_timeout", POSTGRES_LOCK_TIMEOUT)])
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

/// Revisions are locked in order, but rows are written in the order that the decision gave, so that two decisions without
/// a common aggregate may block each other. Whoever waits for long gives up and tries again with the scope for itself,
/// sooner than PostgreSQL would look for deadlocks.
async fn apply_postgres(pool: &PgPool, scope: &Scope, changes: &Changes<Write>) -> Result<Applied, Failure> {
    let beside_others = "SELECT pg_advisory_xact_lock_shared(CAST($1 AS INTEGER), hashtext($2))";
    let alone =
        "SELECT set_config('lock_timeout', '0', TRUE), pg_advisory_xact_lock(CAST($1 AS INTEGER), hashtext($2))";
    let mut lock = beside_others;
    for _ in 1..POSTGRES_ATTEMPTS {
        match apply_postgres_once(pool, scope, changes, lock).await {
            Err(failure) if failure.is_worth_retrying() => lock = alone,
            other => return other,
        }
    }
    apply_postgres_once(pool, scope, changes, alone).await
}

async fn apply_postgres_once(
    pool: &PgPool,
    scope: &Scope,
    changes: &Changes<Write>,
    lock: &'static str,
) -> Result<Applied, Failure> {
    // Dropped without COMMIT it is rolled back.
    let mut transaction = pool.begin().await?;
    let mut connection = Connection::Postgres(&mut transaction);
    let name = format!("{}/{}", scope.account, scope.region);
    connection.fetch_all(lock, crate::value::values![POSTGRES_LOCK_SPACE, name]).await?;
    apply_rows(&mut connection, scope, changes).await?;
    let applied = logs_append(&mut connection, &[(scope, changes)]).await?.pop();
    transaction.commit().await?;
    Ok(applied.unwrap_or(Applied { events: 0..0, audit: 0..0 }))
}

async fn pings_put_postgres(pool: &PgPool, pings: &[(Scope, Ping)]) -> Result<(), Failure> {
    let mut attempts = 0;
    loop {
        attempts += 1;
        let mut transaction = pool.begin().await?;
        match pings_put_in(&mut Connection::Postgres(&mut transaction), pings).await {
            Ok(()) => return Ok(transaction.commit().await?),
            Err(failure) if failure.is_worth_retrying() && attempts < POSTGRES_ATTEMPTS => {}
            Err(failure) => return Err(failure),
        }
    }
}
