//! Both folders of migrations lead to the same tables; databases of other programs and newer ones are refused.

use crate::support::{Lab, run};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions, Connection, PgConnection, Row, SqliteConnection};
use std::collections::BTreeMap;
use store::{OpenError, Store};

/// Of a table: columns as (name, type, may be NULL, place in the primary key), indexes as name -> (unique, columns).
#[derive(Debug, Default, PartialEq, Eq)]
struct Table {
    columns: Vec<(String, &'static str, bool, i64)>,
    indexes: BTreeMap<String, (bool, Vec<String>)>,
}

type Schema = BTreeMap<String, Table>;

async fn sqlite_schema(connection: &mut SqliteConnection) -> Schema {
    let mut schema = Schema::new();
    let sql = "SELECT m.name AS table_name, c.name, c.type, c.\"notnull\", c.pk FROM sqlite_master m, pragma_table_info(m.name) c
        WHERE m.type = 'table' ORDER BY m.name, c.cid";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await.unwrap() {
        let kind = match row.get::<String, _>("type").as_str() {
            "BIGINT" => "BIGINT",
            "TEXT" => "TEXT",
            "BLOB" => "BYTES",
            other => panic!("a column of type {other}"),
        };
        let column = (row.get("name"), kind, row.get::<i64, _>("notnull") == 0, row.get("pk"));
        schema.entry(row.get("table_name")).or_default().columns.push(column);
    }
    let sql = "SELECT m.name AS table_name, i.name AS index_name, i.\"unique\", x.name FROM sqlite_master m,
        pragma_index_list(m.name) i, pragma_index_info(i.name) x WHERE m.type = 'table' AND i.origin = 'c' ORDER BY 1, 2, x.seqno";
    for row in sqlx::query(sql).fetch_all(connection).await.unwrap() {
        let table = schema.get_mut(&row.get::<String, _>("table_name")).unwrap();
        let index = table.indexes.entry(row.get("index_name")).or_default();
        index.0 = row.get::<i64, _>("unique") == 1;
        index.1.push(row.get("name"));
    }
    schema
}

async fn postgres_schema(connection: &mut PgConnection) -> Schema {
    let mut schema = Schema::new();
    let sql =
        "SELECT c.relname::text AS table_name, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS type,
        a.attnotnull, l.collname::text AS collation,
        COALESCE(array_position(k.conkey, a.attnum), 0)::bigint AS pk
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
        LEFT JOIN pg_collation l ON l.oid = a.attcollation
        LEFT JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype = 'p'
        WHERE c.relkind = 'r' AND c.relnamespace = 'public'::regnamespace ORDER BY c.relname, a.attnum";
    for row in sqlx::query(sql).fetch_all(&mut *connection).await.unwrap() {
        let (table, name): (String, String) = (row.get("table_name"), row.get("name"));
        let collation: Option<String> = row.get("collation");
        let kind = match (row.get::<String, _>("type").as_str(), collation.as_deref()) {
            ("bigint", None) => "BIGINT",
            ("text", Some("C")) => "TEXT",
            ("text", _) if table == "schema_version" => "TEXT",
            ("bytea", None) => "BYTES",
            other => panic!("{table}.{name} is {other:?}"),
        };
        let column = (name, kind, !row.get::<bool, _>("attnotnull"), row.get("pk"));
        schema.entry(table).or_default().columns.push(column);
    }
    let sql =
        "SELECT c.relname::text AS table_name, i.relname::text AS index_name, x.indisunique, a.attname::text AS name
        FROM pg_index x JOIN pg_class c ON c.oid = x.indrelid JOIN pg_class i ON i.oid = x.indexrelid
        CROSS JOIN LATERAL unnest(x.indkey) WITH ORDINALITY AS k(attnum, place)
        JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.attnum
        WHERE c.relnamespace = 'public'::regnamespace AND NOT x.indisprimary ORDER BY 1, 2, k.place";
    for row in sqlx::query(sql).fetch_all(connection).await.unwrap() {
        let table = schema.get_mut(&row.get::<String, _>("table_name")).unwrap();
        let index = table.indexes.entry(row.get("index_name")).or_default();
        index.0 = row.get("indisunique");
        index.1.push(row.get("name"));
    }
    schema
}

#[test]
fn both_databases_have_the_same_tables_columns_and_indexes() {
    run(async {
        let (sqlite, postgres) = (Lab::sqlite().await, Lab::postgres().await);
        let mut connection = SqliteConnectOptions::new().filename(sqlite.file()).connect().await.unwrap();
        let ours = sqlite_schema(&mut connection).await;
        let mut connection = PgConnection::connect(&postgres.postgres_url().unwrap()).await.unwrap();
        let theirs = postgres_schema(&mut connection).await;
        assert!(ours.len() > 20, "{:?}", ours.keys());
        assert!(ours["audit"].indexes.len() >= 3 && ours["presence"].columns.iter().any(|c| c.0 == "until_at" && c.2));
        for (table, columns) in &ours {
            assert_eq!(Some(columns), theirs.get(table), "{table}");
        }
        assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
        sqlite.end().await;
        postgres.end().await;
    });
}

/// The tables that belong to no scope, or to an account alone, each by intent.
const UNSCOPED: &[&str] =
    &["access_key", "account_user", "meta", "replica", "schema_version", "server_key", "sign_in_failure"];

#[test]
fn every_other_table_has_account_and_region_and_every_key_begins_with_them() {
    run(async {
        let lab = Lab::sqlite().await;
        let mut connection = SqliteConnectOptions::new().filename(lab.file()).connect().await.unwrap();
        for (name, table) in sqlite_schema(&mut connection).await {
            if UNSCOPED.contains(&name.as_str()) {
                continue;
            }
            let place = |column: &str| table.columns.iter().find(|c| c.0 == column).map(|c| c.3);
            assert!(place("account").is_some() && place("region").is_some(), "{name}");
            // What a browser holds leads to its scope.
            if name != "session" && name != "sign_in_link" {
                assert_eq!((place("account"), place("region")), (Some(1), Some(2)), "{name}");
            }
        }
        lab.end().await;
    });
}

#[test]
fn a_newer_schema_is_refused_with_a_hint() {
    run(async {
        for lab in [Lab::sqlite().await, Lab::postgres().await] {
            let sql = "INSERT INTO schema_version (version, name, applied_at) VALUES (99, 'from the future', 0)";
            lab.store.close().await;
            let refused = match lab.postgres_url() {
                None => {
                    let mut connection = SqliteConnectOptions::new().filename(lab.file()).connect().await.unwrap();
                    sqlx::query(sql).execute(&mut connection).await.unwrap();
                    connection.close().await.unwrap();
                    Store::open_sqlite(&lab.file()).await.unwrap_err()
                }
                Some(url) => {
                    let mut connection = PgConnection::connect(&url).await.unwrap();
                    sqlx::query(sql).execute(&mut connection).await.unwrap();
                    Store::open_postgres(&url).await.unwrap_err()
                }
            };
            assert!(matches!(refused, OpenError::NewerSchema { found: 99, .. }), "{refused:?}");
            assert!(refused.to_string().contains("start the newer program"), "{refused}");
            lab.end().await;
        }
    });
}

#[test]
fn files_of_others_are_refused_and_left_alone() {
    run(async {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("other.db");
        let options = SqliteConnectOptions::new().filename(&file).create_if_missing(true);
        let mut connection = options.connect().await.unwrap();
        sqlx::raw_sql("CREATE TABLE bookmarks (url TEXT)").execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert!(matches!(Store::open_sqlite(&file).await, Err(OpenError::Foreign(_))));

        let text = folder.path().join("text.db");
        std::fs::write(&text, "this is a text, and long enough to be one: ".repeat(100)).unwrap();
        let before = std::fs::read(&text).unwrap();
        assert!(matches!(Store::open_sqlite(&text).await, Err(OpenError::Corrupt(_))));
        assert_eq!(std::fs::read(&text).unwrap(), before);
    });
}

#[test]
fn servers_that_start_at_once_migrate_once() {
    run(async {
        let lab = Lab::postgres().await;
        lab.store.close().await;
        let url = lab.postgres_url().unwrap();
        let mut connection = PgConnection::connect(&url).await.unwrap();
        sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&mut connection).await.unwrap();
        let starts: Vec<_> = (0..4)
            .map(|_| {
                let url = url.clone();
                tokio::spawn(async move { Store::open_postgres(&url).await.map(|_| ()) })
            })
            .collect();
        for start in starts {
            start.await.unwrap().unwrap();
        }
        let sql = "SELECT COUNT(*), MAX(version) FROM schema_version";
        let row = sqlx::query(sql).fetch_one(&mut connection).await.unwrap();
        assert_eq!(row.get::<i64, _>(0), row.get::<i64, _>(1), "each step once");
        lab.end().await;
    });
}
