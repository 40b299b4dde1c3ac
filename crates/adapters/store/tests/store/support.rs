//! A fresh database of either kind for each test, and small values.

use changes::{AuditRecord, Changes, Event};
use identifiers::{AccountId, IdSource, NodeId, Region, Scope, SeededIds, Timestamp};
use nodes::{ManagedNode, NodeFacts, NodePublicKey, NodeState, PlatformType};
use sqlx::postgres::{PgConnectOptions, PgConnection};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Row};
use std::path::PathBuf;
use store::{Store, Write};
use tempfile::TempDir;

/// Runs the body of a test on SQLite and on PostgreSQL.
macro_rules! on_both {
    ($(#[$attribute:meta])* async fn $name:ident($lab:ident: &$kind:ident) $body:block) => {
        mod $name {
            use super::*;

            $(#[$attribute])*
            #[test]
            fn on_sqlite() {
                $crate::support::run(async {
                    let lab = $crate::support::Lab::sqlite().await;
                    let $lab: &$kind = &lab;
                    $body
                    lab.end().await;
                });
            }

            $(#[$attribute])*
            #[test]
            fn on_postgres() {
                $crate::support::run(async {
                    let lab = $crate::support::Lab::postgres().await;
                    let $lab: &$kind = &lab;
                    $body
                    lab.end().await;
                });
            }
        }
    };
}
pub(crate) use on_both;

pub(crate) fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap().block_on(test);
}

enum Place {
    Sqlite(TempDir),
    Postgres { name: String },
}

/// A store of a test's own.
pub(crate) struct Lab {
    pub(crate) store: Store,
    place: Place,
}

impl Lab {
    pub(crate) async fn sqlite() -> Self {
        let folder = TempDir::new().unwrap();
        let store = Store::open_sqlite(&folder.path().join("careen.db")).await.unwrap();
        Self { store, place: Place::Sqlite(folder) }
    }

    pub(crate) async fn postgres() -> Self {
        let template = template().await;
        let mut random = [0_u8; 8];
        getrandom::fill(&mut random).unwrap();
        let name = format!("careen_test_{:016x}", u64::from_ne_bytes(random));
        let mut server = server().await;
        create_from(&mut server, &name, &template).await;
        let store = Store::open_postgres(&url_of(&name)).await.unwrap();
        Self { store, place: Place::Postgres { name } }
    }

    /// The file of a SQLite store.
    pub(crate) fn file(&self) -> PathBuf {
        match &self.place {
            Place::Sqlite(folder) => folder.path().join("careen.db"),
            Place::Postgres { .. } => panic!("PostgreSQL has no file"),
        }
    }

    /// Whether this is PostgreSQL, and then the address of its database.
    pub(crate) fn postgres_url(&self) -> Option<String> {
        match &self.place {
            Place::Sqlite(_) => None,
            Place::Postgres { name } => Some(url_of(name)),
        }
    }

    pub(crate) async fn end(self) {
        self.store.close().await;
        if let Place::Postgres { name } = &self.place {
            let mut server = server().await;
            sqlx::raw_sql(AssertSqlSafe(format!("DROP DATABASE {name} WITH (FORCE)")))
                .execute(&mut server)
                .await
                .unwrap();
        }
    }
}

fn server_url() -> String {
    std::env::var("CAREEN_TEST_POSTGRES_URL").unwrap_or_else(|_| {
        panic!("CAREEN_TEST_POSTGRES_URL is not set: run `cargo xtask test`, which starts a PostgreSQL server for the tests")
    })
}

/// The same server, another database.
fn url_of(database: &str) -> String {
    let url = server_url();
    let (address, options) = url.split_once('?').map_or((url.as_str(), ""), |(a, o)| (a, o));
    let (server, _) = address.rsplit_once('/').unwrap();
    if options.is_empty() { format!("{server}/{database}") } else { format!("{server}/{database}?{options}") }
}

async fn server() -> PgConnection {
    let options: PgConnectOptions = server_url().parse().unwrap();
    options.connect().await.unwrap_or_else(|e| panic!("CAREEN_TEST_POSTGRES_URL names no reachable server: {e}"))
}

async fn create_from(server: &mut PgConnection, name: &str, template: &str) {
    let sql = format!("CREATE DATABASE {name} TEMPLATE {template}");
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(server).await.unwrap();
}

/// A migrated database to copy. Its name follows from the migrations, so that all test processes of one build share it.
async fn template() -> String {
    use std::hash::{DefaultHasher, Hash, Hasher};
    let mut hasher = DefaultHasher::new();
    include_str!("../../migrations/postgres/0001_first.sql").hash(&mut hasher);
    include_str!("../../migrations/postgres/0002_ground_floor.sql").hash(&mut hasher);
    let name = format!("careen_template_{:016x}", hasher.finish());
    let mut server = server().await;
    let lock = 4_711_001_i64;
    sqlx::query("SELECT pg_advisory_lock($1)").bind(lock).execute(&mut server).await.unwrap();
    let found = sqlx::query("SELECT 1 FROM pg_database WHERE datname = $1").bind(&name);
    if found.fetch_optional(&mut server).await.unwrap().is_none() {
        let half = format!("{name}_half");
        for sql in [format!("DROP DATABASE IF EXISTS {half}"), format!("CREATE DATABASE {half}")] {
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.unwrap();
        }
        Store::open_postgres(&url_of(&half)).await.unwrap().close().await;
        wait_until_unused(&mut server, &half).await;
        let sql = format!("ALTER DATABASE {half} RENAME TO {name}");
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut server).await.unwrap();
    }
    server.close().await.unwrap();
    name
}

/// A backend ends a moment after its connection was closed.
async fn wait_until_unused(server: &mut PgConnection, database: &str) {
    for _ in 0..500 {
        let row = sqlx::query("SELECT COUNT(*) FROM pg_stat_activity WHERE datname = $1").bind(database);
        if row.fetch_one(&mut *server).await.unwrap().get::<i64, _>(0) == 0 {
            return;
        }
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
    panic!("{database} is still in use");
}

pub(crate) fn scope() -> Scope {
    scope_of("000000000000", "us-east-1")
}

pub(crate) fn scope_of(account: &str, region: &str) -> Scope {
    Scope { account: AccountId::parse(account).unwrap(), region: Region::parse(region).unwrap() }
}

/// 2026-01-01T00:00:00Z and so many seconds.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_seconds(1_767_225_600 + seconds)
}

pub(crate) fn node_id(number: u64) -> NodeId {
    NodeId::parse(&format!("mi-{number:017x}")).unwrap()
}

/// A node with something in every field.
pub(crate) fn node(number: u64) -> ManagedNode {
    let mut ids = SeededIds::new(number);
    let mut key = [0; 32];
    ids.fill(&mut key);
    ManagedNode {
        node_id: node_id(number),
        activation_id: identifiers::ActivationId::generate(&mut ids),
        iam_role: "service-role/Careen".into(),
        name: format!("host-{number} \u{1f6a2} 'quoted'"),
        registered_at: at(1),
        public_key: NodePublicKey(key),
        facts: NodeFacts {
            platform_type: PlatformType::Linux,
            platform_name: "Debian GNU/Linux".into(),
            platform_version: "12".into(),
            computer_name: format!("host-{number}"),
            ip_address: "192.0.2.7".into(),
            agent_version: "0.1.0".into(),
            architecture: "amd64".into(),
            distribution_id: "debian".into(),
            distribution_version_id: "12".into(),
            distribution_codename: "bookworm".into(),
            policy: "no reboot".into(),
        },
        state: NodeState::Registered,
        deregistered_at: None,
        inventory_digest: None,
        inventory_at: None,
        held: None,
    }
}

pub(crate) fn event(kind: &str, subject: &str) -> Event {
    Event { at: at(0), kind: kind.into(), subject: subject.into(), body: serde_json::json!({ "subject": subject }) }
}

pub(crate) fn audit(action: &str, principal: &str, resource: &str, second: i64) -> AuditRecord {
    AuditRecord {
        at: at(second),
        request_id: format!("request-{second}"),
        principal: principal.into(),
        source_address: "192.0.2.1".into(),
        action: action.into(),
        resource: resource.into(),
        outcome: "done".into(),
        before: serde_json::Value::Null,
        after: serde_json::json!({ "text": "nul \u{0} and \u{1f6a2}", "number": second }),
    }
}

/// Changes that only write.
pub(crate) fn writes(writes: impl IntoIterator<Item = impl Into<Write>>) -> Changes<Write> {
    Changes { writes: writes.into_iter().map(Into::into).collect(), ..Changes::new() }
}
