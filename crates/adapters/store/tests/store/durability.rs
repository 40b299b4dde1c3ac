//! What was acknowledged stays, whatever happens to the process; one file has one server.

use crate::support::{Lab, event, node, node_id, run, scope, writes};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use store::{OpenError, Store};

const CHILD_FILE: &str = "CAREEN_TEST_STORE_FILE";

/// Not a test: the process that `killed_in_the_middle_of_writing` starts and kills.
#[test]
#[ignore = "started by another test"]
fn writing_child() {
    let Some(file) = std::env::var_os(CHILD_FILE) else { return };
    run(async move {
        let store = Store::open_sqlite(Path::new(&file)).await.unwrap();
        let writers: Vec<_> = (0..8_u64)
            .map(|writer| {
                let store = store.clone();
                tokio::spawn(async move {
                    for n in 0.. {
                        let number = writer * 1_000_000 + n;
                        let mut changes = writes([nodes::Write::NodePut(Box::new(node(number)))]);
                        changes.events.push(event("written", &number.to_string()));
                        let applied = store.apply(&scope(), changes).await.unwrap();
                        println!("kept {number} {}", applied.events.start);
                    }
                })
            })
            .collect();
        for writer in writers {
            writer.await.unwrap();
        }
    });
}

fn start_child(file: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "durability::writing_child", "--ignored", "--nocapture"])
        .env(CHILD_FILE, file)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

#[test]
fn killed_in_the_middle_of_writing_nothing_acknowledged_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("careen.db");
    let mut kept: Vec<(u64, i64)> = Vec::new();
    for round in 1..=3 {
        let mut child = start_child(&file);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let mut acknowledged = 0;
        let mut told = Vec::new();
        while acknowledged < 300 {
            let line = lines.next().expect("the child ended").unwrap();
            if line.starts_with("kept ") {
                acknowledged += 1;
                told.push(line);
            }
        }
        if round == 1 {
            // While it lives nobody else gets the file.
            run(async {
                let refused = Store::open_sqlite(&file).await.unwrap_err();
                assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
                assert!(refused.to_string().contains(&format!("process {}", child.id())), "{refused}");
            });
        }
        child.kill().unwrap();
        // What it still said before it died counts too; its last line may be torn.
        told.extend(lines.map_while(Result::ok).filter(|line| line.starts_with("kept ")));
        child.wait().unwrap();
        for line in told {
            let mut words = line.split(' ').skip(1);
            if let (Some(Ok(number)), Some(Ok(seq))) = (words.next().map(str::parse), words.next().map(str::parse)) {
                kept.push((number, seq));
            }
        }
        run(async {
            let store = Store::open_sqlite(&file).await.unwrap();
            let events = store.event_list(&scope(), 0, u32::MAX).await.unwrap();
            assert!(events.iter().zip(1..).all(|(entry, seq)| entry.seq == seq), "the log has a gap");
            for (number, seq) in &kept {
                assert!(
                    store.node_get(&scope(), &node_id(*number)).await.unwrap().row.is_some(),
                    "node {number} is lost"
                );
                let place = usize::try_from(*seq).unwrap() - 1;
                // The seq on a torn line is a prefix of the true one.
                assert!(events.get(place).is_some(), "event {seq} is lost");
            }
            store.close().await;
        });
    }
}

#[test]
fn a_second_store_on_one_file_is_refused_until_the_first_is_closed() {
    run(async {
        let lab = Lab::sqlite().await;
        let refused = Store::open_sqlite(&lab.file()).await.unwrap_err();
        assert!(matches!(refused, OpenError::InUse { .. }), "{refused:?}");
        assert!(refused.to_string().contains("replicas need PostgreSQL"), "{refused}");
        lab.store.close().await;
        let again = Store::open_sqlite(&lab.file()).await.unwrap();
        again.close().await;
        lab.end().await;
    });
}

#[test]
fn a_closed_store_says_so() {
    run(async {
        let lab = Lab::sqlite().await;
        lab.store.close().await;
        let refused = lab.store.apply(&scope(), writes([nodes::Write::NodePut(Box::new(node(1)))])).await.unwrap_err();
        assert!(matches!(refused, store::ApplyError::Unavailable(_)), "{refused:?}");
        assert!(lab.store.node_get(&scope(), &node_id(1)).await.is_err());
        lab.end().await;
    });
}

#[test]
fn the_file_is_for_its_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    run(async {
        let lab = Lab::sqlite().await;
        lab.store.apply(&scope(), writes([nodes::Write::NodePut(Box::new(node(1)))])).await.unwrap();
        for name in ["careen.db", "careen.db-wal"] {
            let mode = std::fs::metadata(lab.file().with_file_name(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0, "{name} has mode {mode:o}");
        }
        lab.end().await;
    });
}
