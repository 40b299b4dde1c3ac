//! A full disk, as SQLite sees it: no more pages. <https://www.sqlite.org/pragma.html#pragma_max_page_count>

use crate::lock::FileLock;
use crate::writer::{self, Job};
use crate::{ApplyError, Store, Write};
use changes::Changes;
use identifiers::{AccountId, Region, Scope};
use sqlx::ConnectOptions;
use sqlx::sqlite::SqliteConnectOptions;
use std::path::Path;
use tokio::sync::{mpsc, oneshot};

fn scope() -> Scope {
    Scope { account: AccountId::parse("000000000000").unwrap(), region: Region::parse("r").unwrap() }
}

fn meta(name: &str, size: usize) -> Changes<Write> {
    let write = crate::RecordWrite::MetaPut { name: name.to_owned(), value: "x".repeat(size) };
    Changes { writes: vec![write.into()], ..Changes::new() }
}

/// A writer on a migrated file whose connection gets no more than `pages` pages.
async fn writer_with_pages(file: &Path, pages: u32) -> mpsc::Sender<Job> {
    Store::open_sqlite(file).await.unwrap().close().await;
    let options = SqliteConnectOptions::new().filename(file).pragma("max_page_count", pages.to_string());
    writer::start(options.connect().await.unwrap(), FileLock::take(file).unwrap(), std::sync::Arc::default())
}

fn ask(writer: &mpsc::Sender<Job>, changes: Changes<Write>) -> oneshot::Receiver<Result<crate::Applied, ApplyError>> {
    let (answer, answered) = oneshot::channel();
    assert!(writer.try_send(Job::Apply { scope: scope(), changes, answer }).is_ok());
    answered
}

async fn close(writer: mpsc::Sender<Job>) {
    let (done, closed) = oneshot::channel();
    assert!(writer.send(Job::Close { done }).await.is_ok());
    closed.await.unwrap();
}

#[tokio::test]
async fn a_full_disk_makes_the_store_read_only_until_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("careen.db");
    let writer = writer_with_pages(&file, 150).await;
    ask(&writer, meta("first", 10)).await.unwrap().unwrap();
    let refused = ask(&writer, meta("large", 1_000_000)).await.unwrap().unwrap_err();
    assert!(matches!(refused, ApplyError::ReadOnly(_)), "{refused:?}");
    ask(&writer, meta("second", 10)).await.unwrap().unwrap();
    close(writer).await;
    let store = Store::open_sqlite(&file).await.unwrap();
    assert!(store.meta_get("first").await.unwrap().is_some());
    assert!(store.meta_get("large").await.unwrap().is_none());
    assert!(store.meta_get("second").await.unwrap().is_some());
    store.close().await;
}

/// The tests' runtime has one thread, so what is asked without waiting is one batch.
#[tokio::test]
async fn what_does_not_fit_takes_no_other_of_its_batch_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("careen.db");
    let writer = writer_with_pages(&file, 150).await;
    let small_before = ask(&writer, meta("before", 10));
    let large = ask(&writer, meta("large", 1_000_000));
    let small_after = ask(&writer, meta("after", 10));
    small_before.await.unwrap().unwrap();
    assert!(matches!(large.await.unwrap(), Err(ApplyError::ReadOnly(_))));
    small_after.await.unwrap().unwrap();
    close(writer).await;
}
