use crate::backup::refuse_unfinished;
use crate::connection::Connection;
use crate::lock::{beside, create_private};
use crate::value::values;
use crate::{OpenError, Timestamp};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// One step forward. Both texts lead to the same tables, columns and indexes; a test compares them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Migration {
    pub(crate) version: i64,
    /// The oldest schema whose program may still run once this step is taken.
    pub(crate) serves_from: i64,
    pub(crate) name: &'static str,
    pub(crate) sqlite: &'static str,
    pub(crate) postgres: &'static str,
}

macro_rules! migrations {
    ($($version:literal from $serves_from:literal $file:literal),* $(,)?) => {
        &[$(Migration {
            version: $version,
            serves_from: $serves_from,
            name: $file,
            sqlite: include_str!(concat!("../migrations/sqlite/", $file, ".sql")),
            postgres: include_str!(concat!("../migrations/postgres/", $file, ".sql")),
        }),*]
    };
}

/// All of them, oldest first. Forward only: expand in one version, contract in a later one, so that the version before
/// can still run beside it.
pub(crate) const MIGRATIONS: &[Migration] = migrations![1 from 1 "0001_first", 2 from 1 "0002_ground_floor"];

/// Serialises servers that migrate one PostgreSQL database at once: an arbitrary number, ours alone.
const ADVISORY_LOCK: i64 = 0x0ca2_ee17;

const VERSION_TABLE: &str = "CREATE TABLE IF NOT EXISTS schema_version (version BIGINT NOT NULL PRIMARY KEY, name TEXT NOT NULL, applied_at BIGINT NOT NULL)";

/// Brings the database to the newest of `migrations`. `file`: the SQLite file, which is copied before an existing
/// schema is changed. `restoring`: it is being restored, which nobody else may open. Each step is one transaction.
pub(crate) async fn migrate(
    connection: &mut Connection<'_>,
    migrations: &[Migration],
    file: Option<&Path>,
    restoring: bool,
) -> Result<Option<PathBuf>, OpenError> {
    let known = migrations.last().map_or(0, |m| m.version);
    let found = schema_version(connection, file).await?;
    if found > 0 && !restoring {
        refuse_unfinished(connection).await?;
    }
    if found > known {
        // A newer program has been here. Where it left what this one needs, both may work, so that an update can be rolled back.
        if serves_from(connection).await?.is_none_or(|oldest| known < oldest) {
            return Err(OpenError::NewerSchema { found, known });
        }
        tracing::warn!(found, known, "the database has a newer schema, which this program can work with");
        return Ok(None);
    }
    let backup = match file {
        Some(file) if found > 0 && found < known && !restoring => Some(back_up(connection, file, known).await?),
        _ => None,
    };
    for migration in migrations.iter().filter(|m| m.version > found) {
        let failed = |e: sqlx::Error| OpenError::Migration { version: migration.version, detail: e.to_string() };
        let begin = if file.is_some() { "BEGIN IMMEDIATE" } else { "BEGIN" };
        connection.execute_script(begin).await.map_err(failed)?;
        let done = match step(connection, migration).await {
            Ok(()) => connection.execute_script("COMMIT").await,
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            // The error that matters is the first one.
            let _ = connection.execute_script("ROLLBACK").await;
            return Err(failed(error));
        }
        tracing::info!(version = migration.version, name = migration.name, "the database has a new schema");
    }
    Ok(backup)
}

pub(crate) async fn step(connection: &mut Connection<'_>, migration: &Migration) -> Result<(), sqlx::Error> {
    let script = match connection {
        Connection::Sqlite(_) => migration.sqlite,
        Connection::Postgres(_) => {
            connection
                .fetch_all(
                    "SELECT set_config('lock_timeout', '0', TRUE), set_config('statement_timeout', '0', TRUE), pg_advisory_xact_lock($1)",
                    values![ADVISORY_LOCK],
                )
                .await?;
            migration.postgres
        }
    };
    connection.execute(VERSION_TABLE, vec![]).await?;
    let sql = "INSERT INTO schema_version (version, name, applied_at) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";
    // Nothing inserted: another server took this step while we waited for the lock.
    if connection.execute(sql, values![migration.version, migration.name, now()]).await? == 1 {
        connection.execute_script(script).await?;
        // The first schema did not say it.
        if migration.version > 1 {
            let sql = "UPDATE schema_version SET serves_from = $1 WHERE version = $2";
            connection.execute(sql, values![migration.serves_from, migration.version]).await?;
        }
    }
    Ok(())
}

/// The oldest schema whose program may run on this database, as its newest step says; `None`: it does not say.
async fn serves_from(connection: &mut Connection<'_>) -> Result<Option<i64>, sqlx::Error> {
    let sql = "SELECT serves_from FROM schema_version ORDER BY version DESC LIMIT 1";
    connection.fetch_optional(sql, vec![]).await?.map_or(Ok(None), |row| row.int_or_null("serves_from"))
}

/// The stored version; 0 for an empty database.
pub(crate) async fn schema_version(connection: &mut Connection<'_>, file: Option<&Path>) -> Result<i64, OpenError> {
    let tables = match connection {
        Connection::Sqlite(_) => "SELECT name FROM sqlite_master WHERE type = 'table'",
        Connection::Postgres(_) => {
            "SELECT CAST(table_name AS TEXT) AS name FROM information_schema.tables WHERE table_schema = current_schema()"
        }
    };
    let mut names = Vec::new();
    for row in connection.fetch_all(tables, vec![]).await? {
        names.push(row.text("name")?);
    }
    if names.iter().any(|name| name == "schema_version") {
        let sql = "SELECT COALESCE(MAX(version), 0) AS version FROM schema_version";
        let row = connection.fetch_optional(sql, vec![]).await?;
        return Ok(row.map(|row| row.int("version")).transpose()?.unwrap_or(0));
    }
    match file {
        Some(file) if !names.is_empty() => Err(OpenError::Foreign(file.to_owned())),
        _ => Ok(0),
    }
}

/// Copies the database as it is to `<file>.before-<version>.backup`. Written under another name first, so that a file of that name is whole.
async fn back_up(connection: &mut Connection<'_>, file: &Path, version: i64) -> Result<PathBuf, OpenError> {
    let failed = |detail: String| OpenError::Migration { version, detail: format!("the backup: {detail}") };
    let target = beside(file, &format!("before-{version}.backup"));
    let partial = beside(file, &format!("before-{version}.partial"));
    match std::fs::remove_file(&partial) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e.to_string())),
        _ => {}
    }
    // VACUUM INTO takes an empty file too, and this one is for its owner alone.
    create_private(&partial)?;
    let path = partial.to_str().ok_or_else(|| failed("the path is not UTF-8".to_owned()))?;
    connection.execute("VACUUM INTO $1", values![path]).await.map_err(|e| failed(e.to_string()))?;
    let keep = || {
        File::open(&partial)?.sync_all()?;
        std::fs::rename(&partial, &target)?;
        let folder = target.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(folder)?.sync_all()
    };
    keep().map_err(|e: std::io::Error| failed(e.to_string()))?;
    tracing::info!(backup = %target.display(), "the database was copied before it is migrated");
    Ok(target)
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_micros(i64::try_from(since.as_micros()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{RecordWrite, Store};
    use changes::Changes;
    use identifiers::{AccountId, Region, Scope};

    const KNOWN: i64 = MIGRATIONS.len() as i64;
    const NEXT: Migration = Migration {
        version: KNOWN + 1,
        serves_from: KNOWN + 1,
        name: "next_test",
        sqlite: "CREATE TABLE added (name TEXT NOT NULL); ALTER TABLE meta ADD COLUMN note TEXT",
        postgres: "",
    };
    const BROKEN: Migration = Migration {
        version: KNOWN + 1,
        serves_from: KNOWN + 1,
        name: "broken_test",
        sqlite: "CREATE TABLE half (a TEXT); CREATE NONSENSE",
        postgres: "",
    };

    async fn put(store: &Store, value: &str) {
        let scope = Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("r").unwrap() };
        let write = RecordWrite::MetaPut { name: "name".into(), value: value.into() };
        store.apply(&scope, Changes { writes: vec![write.into()], ..Changes::new() }).await.unwrap();
    }

    #[tokio::test]
    async fn an_existing_file_is_copied_before_it_is_migrated_and_the_copy_can_be_opened() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("careen.db");
        let store = Store::open_sqlite_with(&file, MIGRATIONS, false).await.unwrap();
        put(&store, "before").await;
        store.close().await;
        let backup = beside(&file, &format!("before-{}.backup", NEXT.version));
        assert!(!backup.exists(), "a new database needs no backup");

        let next = [MIGRATIONS, &[NEXT]].concat();
        let store = Store::open_sqlite_with(&file, &next, false).await.unwrap();
        put(&store, "after").await;
        assert_eq!(store.meta_get("name").await.unwrap().as_deref(), Some("after"));
        store.close().await;

        // The program before refuses the migrated file, and works on the copy.
        assert!(
            matches!(Store::open_sqlite(&file).await, Err(OpenError::NewerSchema { found, known: KNOWN }) if found == NEXT.version)
        );
        let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(&backup).unwrap().permissions());
        assert_eq!(mode & 0o077, 0, "the copy is for its owner alone");
        let restored = Store::open_sqlite(&backup).await.unwrap();
        assert_eq!(restored.meta_get("name").await.unwrap().as_deref(), Some("before"));
        restored.close().await;
    }

    #[tokio::test]
    async fn a_program_goes_on_working_on_a_newer_schema_that_serves_it() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("careen.db");
        let next = [MIGRATIONS, &[Migration { serves_from: KNOWN, ..NEXT }]].concat();
        let store = Store::open_sqlite_with(&file, &next, false).await.unwrap();
        put(&store, "of the newer one").await;
        store.close().await;
        let store = Store::open_sqlite(&file).await.unwrap();
        assert_eq!(store.meta_get("name").await.unwrap().as_deref(), Some("of the newer one"));
        put(&store, "of the older one").await;
        store.close().await;
        let store = Store::open_sqlite_with(&file, &next, false).await.unwrap();
        assert_eq!(store.meta_get("name").await.unwrap().as_deref(), Some("of the older one"));
        store.close().await;
    }

    #[tokio::test]
    async fn a_failed_migration_leaves_the_database_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("careen.db");
        Store::open_sqlite_with(&file, MIGRATIONS, false).await.unwrap().close().await;
        let broken = [MIGRATIONS, &[BROKEN]].concat();
        for _ in 0..2 {
            // Twice: the copy of the first attempt is not in the way of the second.
            let refused = Store::open_sqlite_with(&file, &broken, false).await.unwrap_err();
            assert!(
                matches!(refused, OpenError::Migration { version, .. } if version == BROKEN.version),
                "{refused:?}"
            );
        }
        let store = Store::open_sqlite_with(&file, MIGRATIONS, false).await.unwrap();
        put(&store, "still works").await;
        assert!(store.fetch_all("SELECT * FROM half", vec![]).await.is_err());
        store.close().await;
    }

    #[test]
    fn migrations_are_numbered_without_gaps_and_files_match() {
        for (migration, number) in MIGRATIONS.iter().zip(1..) {
            assert_eq!(migration.version, number);
            assert!(migration.name.starts_with(&format!("{number:04}_")), "{}", migration.name);
        }
        for folder in ["sqlite", "postgres"] {
            let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(folder);
            let mut files: Vec<_> = std::fs::read_dir(path).unwrap().map(|f| f.unwrap().file_name()).collect();
            files.sort();
            let known: Vec<_> =
                MIGRATIONS.iter().map(|m| std::ffi::OsString::from(format!("{}.sql", m.name))).collect();
            assert_eq!(files, known, "{folder}");
        }
    }
}
