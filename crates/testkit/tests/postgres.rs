//! Databases on the run's one PostgreSQL server.

// Clippy knows test functions, not the functions they share.
#![allow(clippy::unwrap_used)]

use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use testkit::{TestDatabase, run_bounded, template_database};

fn query(url: &str, statement: &str) -> String {
    let mut psql = Command::new("psql");
    psql.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align", "--command", statement, url]);
    run_bounded(&mut psql, Duration::from_secs(30)).unwrap().expect_success(statement).unwrap()
}

#[test]
fn databases_are_copies_of_a_template_that_is_made_once() {
    let made = AtomicU32::new(0);
    let name = format!("template_{}", std::process::id());
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                template_database(&name, |url| {
                    made.fetch_add(1, Ordering::SeqCst);
                    query(url, "CREATE TABLE t AS SELECT 42 AS answer");
                    Ok(())
                })
                .unwrap();
                let own = TestDatabase::postgres(Some(&name)).unwrap();
                assert_eq!(query(&own.url(), "SELECT answer FROM t"), "42");
                query(&own.url(), "DROP TABLE t");
            });
        }
    });
    assert_eq!(made.load(Ordering::SeqCst), 1);
}

#[test]
fn a_database_goes_with_its_value() {
    let other = TestDatabase::postgres(None).unwrap();
    let count = |name: &str| query(&other.url(), &format!("SELECT count(*) FROM pg_database WHERE datname = '{name}'"));
    let database = TestDatabase::postgres(None).unwrap();
    let name = database.name().to_owned();
    assert_eq!(count(&name), "1");
    drop(database);
    assert_eq!(count(&name), "0");
}
