//! Databases for tests on the one PostgreSQL server of a test run, which `cargo xtask test` starts and stops.

use std::fs::File;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};

use crate::process::run_bounded;
use crate::repository::digest;

/// Names the server: a URL whose path is the database `postgres`.
const VARIABLE: &str = "CAREEN_TEST_POSTGRES_URL";

const BOUND: Duration = Duration::from_secs(60);

/// A database of one test's own; dropped with this value.
#[derive(Debug)]
pub struct TestDatabase {
    server: String,
    name: String,
}

impl TestDatabase {
    /// A new database: empty, or a copy of a template made by [`template_database`].
    ///
    /// # Errors
    /// When there is no server, with the way to get one; when the template is missing or in use.
    pub fn postgres(template: Option<&str>) -> anyhow::Result<Self> {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let server = server()?;
        let name = format!("test_{}_{}", std::process::id(), COUNT.fetch_add(1, Ordering::SeqCst));
        let template = checked(template.unwrap_or("template0"))?;
        // A former process of this number may have been killed before it could drop its own.
        sql(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"))?;
        sql(&server, &format!("CREATE DATABASE {name} TEMPLATE {template}"))?;
        Ok(Self { server, name })
    }

    /// The URL to connect to it.
    #[must_use]
    pub fn url(&self) -> String {
        url_of(&self.server, &self.name)
    }

    /// Runs statements in it with psql, as its owner would, past every program of ours.
    ///
    /// # Errors
    /// When one fails.
    pub fn sql(&self, statements: &str) -> anyhow::Result<String> {
        sql(&self.url(), statements)
    }

    /// Its name on the server.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        if let Err(error) = sql(&self.server, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)) {
            eprintln!("{} stays until the server ends: {error:#}", self.name);
        }
    }
}

/// Makes the template database `name` unless this server has it: `fill` gets the URL of an empty database and fills
/// it (and must have closed its connections when it returns). Tests that ask at the same time, from any process,
/// wait for the first. Put a digest of what fills it into the name.
///
/// # Errors
/// When there is no server, or `fill` fails.
pub fn template_database(name: &str, fill: impl FnOnce(&str) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let server = server()?;
    let name = checked(name)?;
    let lock = File::options().create(true).truncate(false).write(true).open(lock_path(&server))?;
    flock(&lock, FlockOperation::LockExclusive)?;
    if sql(&server, &format!("SELECT 1 FROM pg_database WHERE datname = '{name}'"))? == "1" {
        return Ok(());
    }
    let draft = format!("{name}_draft");
    sql(&server, &format!("DROP DATABASE IF EXISTS {draft} WITH (FORCE)"))?;
    sql(&server, &format!("CREATE DATABASE {draft} TEMPLATE template0"))?;
    fill(&url_of(&server, &draft))?;
    sql(&server, &format!("ALTER DATABASE {draft} RENAME TO {name}"))?;
    Ok(())
}

/// Beside the server's socket, so that it goes with the server; without one, under the server's digest.
fn lock_path(server: &str) -> PathBuf {
    let key: String = digest(server.as_bytes()).chars().take(16).collect();
    let folder = server.split_once("?host=").map(|(_, folder)| PathBuf::from(folder)).filter(|path| path.is_dir());
    folder.unwrap_or_else(std::env::temp_dir).join(format!("careen-template-{key}.lock"))
}

fn server() -> anyhow::Result<String> {
    std::env::var(VARIABLE).ok().filter(|url| !url.is_empty()).with_context(|| {
        format!(
            "{VARIABLE} is not set: there is no PostgreSQL for this test. Run `cargo xtask test` (arguments after it \
             pick the tests, as in `cargo xtask test -p store`); it starts one"
        )
    })
}

/// The server's URL with another database as its path.
fn url_of(server: &str, database: &str) -> String {
    let (address, query) = server.split_once('?').map_or((server, None), |(address, query)| (address, Some(query)));
    let address = address.trim_end_matches("/postgres");
    match query {
        Some(query) => format!("{address}/{database}?{query}"),
        None => format!("{address}/{database}"),
    }
}

fn sql(server: &str, statement: &str) -> anyhow::Result<String> {
    let mut command = Command::new("psql");
    command.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--set", "ON_ERROR_STOP=1"]);
    command.args(["--command", statement, server]);
    run_bounded(&mut command, BOUND).context("psql is needed")?.expect_success(statement)
}

/// A name that needs no quoting.
fn checked(name: &str) -> anyhow::Result<&str> {
    let fits = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if !fits || name.is_empty() || name.len() > 50 {
        bail!("not a database's name (a-z, 0-9 and _, at most 50): {name}");
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_database_is_the_path_of_the_url() {
        assert_eq!(
            url_of("postgres://u@localhost/postgres?host=/run/x", "test_1"),
            "postgres://u@localhost/test_1?host=/run/x"
        );
        assert_eq!(url_of("postgres://u@localhost:5555/postgres", "a"), "postgres://u@localhost:5555/a");
    }

    #[test]
    fn names_need_no_quoting() {
        assert!(checked("store_0a1b").is_ok());
        assert!(checked("a; DROP").is_err());
    }
}
