//! A whole database into a file and back, also into the other kind of database.

use crate::support::{Lab, at, audit, event, node, run, scope, scope_of, writes};
use changes::Changes;
use sqlx::{ConnectOptions, Connection, PgConnection, sqlite::SqliteConnectOptions};
use store::{
    AccessKeyRow, AccessKeyStatus, ArchiveReader, BackupSource, OpenError, RecordWrite, RestoreError, Restoring,
    RowCounts, Store, StoreUrl, Write,
};
use tokio::sync::mpsc;

fn url_of(lab: &Lab) -> StoreUrl {
    lab.postgres_url().map_or_else(|| StoreUrl::Sqlite(lab.file()), StoreUrl::Postgres)
}

/// Something in tables with BIGINT, TEXT, BLOB and NULL.
async fn furnish(store: &Store, nodes: u64) {
    for number in 0..nodes {
        let mut changes: Changes<Write> = writes([nodes::Write::NodePut(Box::new(node(number)))]);
        changes.audit.push(audit("ssm:Test", "key/A", "node", 1));
        changes.events.push(event("node.registered", "mi"));
        store.apply(&scope(), changes).await.unwrap();
    }
    let key = AccessKeyRow {
        access_key_id: identifiers::AccessKeyId::parse("AKIACAREENTEST000001").unwrap(),
        account: scope().account,
        user: identifiers::UserName::root(),
        secret_sealed: vec![0, 1, 2, 255],
        status: AccessKeyStatus::Active,
        created_at: at(1),
        last_use: None,
    };
    let meta = |name: &str, value: &str| Write::from(RecordWrite::MetaPut { name: name.into(), value: value.into() });
    let all =
        writes([store::PeopleWrite::AccessKeyPut(key).into(), meta("incarnation", "7"), meta("key-fingerprint", "f")]);
    store.apply(&scope_of("123456789012", "eu-west-1"), all).await.unwrap();
}

async fn back_up(source: &mut BackupSource) -> (Vec<u8>, RowCounts) {
    let (give, mut pieces) = mpsc::channel(1);
    let (done, bytes) = tokio::join!(
        async {
            let done = source.back_up("0.1.0", at(5), &give).await;
            drop(give);
            done
        },
        async {
            let mut bytes = Vec::new();
            while let Some(piece) = pieces.recv().await {
                bytes.extend(piece);
            }
            bytes
        }
    );
    (bytes, done.unwrap().1)
}

async fn backup_of(store: &Store) -> (Vec<u8>, RowCounts) {
    back_up(&mut store.backup_source().await.unwrap()).await
}

async fn restored(url: &StoreUrl, bytes: &[u8], replace: bool) -> Result<Option<String>, RestoreError> {
    let restoring = Restoring::begin(url, ArchiveReader::open(bytes)?, replace).await?;
    let finish = writes([RecordWrite::RestoreFinish { incarnation: 8 }]);
    restoring.store().apply(&scope(), finish).await?;
    restoring.finish().await
}

/// Every row of a backup, sorted: what is compared.
fn content(bytes: &[u8]) -> (i64, RowCounts) {
    let (header, counts) = ArchiveReader::open(bytes).unwrap().read_whole().unwrap();
    (header.schema, counts)
}

/// Empties a lab's place.
async fn empty(lab: &Lab) {
    lab.store.close().await;
    match lab.postgres_url() {
        None => std::fs::remove_file(lab.file()).unwrap(),
        Some(url) => {
            let mut connection = PgConnection::connect(&url).await.unwrap();
            sqlx::raw_sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public").execute(&mut connection).await.unwrap();
            connection.close().await.unwrap();
        }
    }
}

#[test]
fn every_database_is_restored_into_every_other() {
    run(async {
        for from_postgres in [false, true] {
            for to_postgres in [false, true] {
                let lab = async |postgres: bool| if postgres { Lab::postgres().await } else { Lab::sqlite().await };
                let (from, to) = (lab(from_postgres).await, lab(to_postgres).await);
                furnish(&from.store, 30).await;
                let (bytes, counts) = backup_of(&from.store).await;
                assert_eq!((counts["node"], counts["audit"], counts["access_key"]), (30, 30, 1));
                assert_eq!(content(&bytes).1, counts);

                empty(&to).await;
                assert_eq!(restored(&url_of(&to), &bytes, false).await.unwrap(), None);
                let store = Store::open(&url_of(&to)).await.unwrap();
                for number in 0..30 {
                    let wanted = from.store.node_get(&scope(), &node(number).node_id).await.unwrap();
                    assert_eq!(store.node_get(&scope(), &node(number).node_id).await.unwrap(), wanted);
                }
                let id = identifiers::AccessKeyId::parse("AKIACAREENTEST000001").unwrap();
                assert_eq!(store.access_key_get(&id).await.unwrap(), from.store.access_key_get(&id).await.unwrap());
                assert_eq!(store.incarnation().await.unwrap(), 8);
                assert_eq!(store.meta_get("restoring").await.unwrap(), None);
                // The next audit record goes on after the last: sequences came along.
                let mut changes: Changes<Write> = Changes::new();
                changes.audit.push(audit("ssm:Test", "key/A", "node", 2));
                assert_eq!(store.apply(&scope(), changes).await.unwrap().audit, 31..32);
                assert_eq!(store.backup_source().await.unwrap().check().await.unwrap(), []);

                // What is there is not overwritten; with `replace` it is kept.
                store.close().await;
                let refused = restored(&url_of(&to), &bytes, false).await.unwrap_err();
                assert!(matches!(refused, RestoreError::NotEmpty(_)), "{refused:?}");
                let place = restored(&url_of(&to), &bytes, true).await.unwrap().unwrap();
                if !to_postgres {
                    let kept = Store::open_sqlite(place.as_ref()).await.unwrap();
                    assert_eq!(kept.node_get(&scope(), &node(29).node_id).await.unwrap().row, Some(node(29)));
                    kept.close().await;
                }
                let store = Store::open(&url_of(&to)).await.unwrap();
                assert_eq!(backup_of(&store).await.1["node"], 30);
                store.close().await;
                from.end().await;
                to.end().await;
            }
        }
    });
}

#[test]
fn a_backup_is_of_one_instant_while_others_write() {
    run(async {
        for lab in [Lab::sqlite().await, Lab::postgres().await] {
            furnish(&lab.store, 100).await;
            let mut source = lab.store.backup_source().await.unwrap();
            let (give, mut pieces) = mpsc::channel(1);
            let reading = tokio::spawn(async move { source.back_up("0.1.0", at(5), &give).await });
            // The header is there: the instant has passed. What is written from now on is not in it, and waits for nothing.
            let mut bytes = pieces.recv().await.unwrap();
            for number in 100..300 {
                let mut changes: Changes<Write> = writes([nodes::Write::NodePut(Box::new(node(number)))]);
                changes.audit.push(audit("ssm:Test", "key/A", "node", 1));
                lab.store.apply(&scope(), changes).await.unwrap();
            }
            while let Some(piece) = pieces.recv().await {
                bytes.extend(piece);
            }
            let (_, counts) = reading.await.unwrap().unwrap();
            assert_eq!((counts["node"], counts["audit"], counts["event"]), (100, 100, 100));
            assert_eq!(content(&bytes).1, counts);
            lab.end().await;
        }
    });
}

#[test]
fn an_interrupted_restore_is_opened_by_nobody_and_goes_on() {
    run(async {
        let from = Lab::sqlite().await;
        furnish(&from.store, 3).await;
        let (bytes, _) = backup_of(&from.store).await;
        for to in [Lab::sqlite().await, Lab::postgres().await] {
            empty(&to).await;
            // The process dies after the rows are in and before anything was decided.
            let restoring = Restoring::begin(&url_of(&to), ArchiveReader::open(bytes.as_slice()).unwrap(), false).await;
            restoring.unwrap().store().close().await;
            if to.postgres_url().is_none() {
                assert!(!to.file().exists(), "a file that is not whole has not the name");
            } else {
                let refused = Store::open(&url_of(&to)).await.unwrap_err();
                assert!(matches!(refused, OpenError::Restoring), "{refused:?}");
                let mut other = bytes.clone();
                // Another backup of the same database.
                furnish(&from.store, 4).await;
                other.clone_from(&backup_of(&from.store).await.0);
                let refused = Restoring::begin(
                    &url_of(&to),
                    ArchiveReader::open(other.replace_created().as_slice()).unwrap(),
                    false,
                )
                .await
                .err()
                .unwrap();
                assert!(matches!(refused, RestoreError::OtherUnfinished), "{refused:?}");
            }
            // Not finished without the decisions.
            let again =
                Restoring::begin(&url_of(&to), ArchiveReader::open(bytes.as_slice()).unwrap(), false).await.unwrap();
            assert!(again.finish().await.is_err());
            restored(&url_of(&to), &bytes, false).await.unwrap();
            let store = Store::open(&url_of(&to)).await.unwrap();
            assert_eq!(store.node_get(&scope(), &node(2).node_id).await.unwrap().row, Some(node(2)));
            store.close().await;
            to.end().await;
        }
        from.end().await;
    });
}

/// The same backup under a header that says another instant; its checksum does not fit any more, which is found later.
trait ReplaceCreated {
    fn replace_created(&self) -> Vec<u8>;
}

impl ReplaceCreated for Vec<u8> {
    fn replace_created(&self) -> Vec<u8> {
        let (from, to) = (b"\"careen\":\"0.1.0\"", b"\"careen\":\"0.1.9\"");
        let place = self.windows(from.len()).position(|window| window == from).unwrap();
        let mut bytes = self.clone();
        bytes[place..place + to.len()].copy_from_slice(to);
        bytes
    }
}

#[test]
fn a_damaged_or_newer_backup_changes_nothing() {
    run(async {
        let from = Lab::sqlite().await;
        furnish(&from.store, 50).await;
        let (bytes, _) = backup_of(&from.store).await;
        for to in [Lab::sqlite().await, Lab::postgres().await] {
            empty(&to).await;
            let mut damaged = bytes.clone();
            let last = damaged.len() - 1;
            damaged[last] ^= 1;
            for bad in [&damaged, &bytes[..bytes.len() / 2].to_vec(), &bytes.replace_created()] {
                assert!(matches!(restored(&url_of(&to), bad, false).await, Err(RestoreError::Archive(_))));
            }
            let place = bytes.windows(10).position(|window| window == b"\"schema\":2").unwrap();
            let mut newer = bytes.clone();
            newer[place + 9] = b'9';
            let refused = restored(&url_of(&to), &newer, false).await.unwrap_err();
            assert!(matches!(refused, RestoreError::NewerSchema { found: 9, .. }), "{refused:?}");
            if to.postgres_url().is_none() {
                let folder = to.file().parent().unwrap().to_owned();
                let left: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
                assert_eq!(left, ["careen.db.lock"], "nothing is left behind");
            }
            restored(&url_of(&to), &bytes, false).await.unwrap();
            to.end().await;
        }
        from.end().await;
    });
}

#[test]
fn what_is_not_in_order_is_found() {
    run(async {
        for lab in [Lab::sqlite().await, Lab::postgres().await] {
            furnish(&lab.store, 3).await;
            lab.store.close().await;
            assert_eq!(BackupSource::open(&url_of(&lab)).await.unwrap().check().await.unwrap(), []);
            let broken = "DELETE FROM audit WHERE seq = 2;
                INSERT INTO node_ping (account, region, node_id, last_ping_at, connected, epoch, replica, boot_id)
                    VALUES ('000000000000', 'us-east-1', 'mi-gone', 1, 0, 1, '', '');
                UPDATE scope_sequence SET last = 1 WHERE name = 'event'";
            match lab.postgres_url() {
                None => {
                    let mut connection = SqliteConnectOptions::new().filename(lab.file()).connect().await.unwrap();
                    let untyped = "UPDATE node SET registered_at = 'yesterday' WHERE node_id LIKE '%1'";
                    sqlx::raw_sql(broken).execute(&mut connection).await.unwrap();
                    sqlx::raw_sql(untyped).execute(&mut connection).await.unwrap();
                    connection.close().await.unwrap();
                }
                Some(url) => {
                    let mut connection = PgConnection::connect(&url).await.unwrap();
                    sqlx::raw_sql(broken).execute(&mut connection).await.unwrap();
                    connection.close().await.unwrap();
                }
            }
            let found = BackupSource::open(&url_of(&lab)).await.unwrap().check().await.unwrap();
            let found: Vec<String> = found.into_iter().map(|finding| finding.what).collect();
            let mut wanted = vec![
                "inventories and pings of nodes that do not exist",
                "scopes whose audit records have gaps",
                "scopes whose events go beyond their sequence",
            ];
            if lab.postgres_url().is_none() {
                wanted.insert(0, "rows of node that cannot be read");
            }
            assert_eq!(found, wanted);
            lab.end().await;
        }
    });
}
