//! How the file is opened, and what proves that it takes writes.

use std::sync::atomic::Ordering;

use sqlx::{ConnectOptions as _, Executor as _, Row as _};

use super::*;
use crate::domain::ids::{Quantity, Revision, Stamp, WorkOrderNumber};
use crate::domain::time::Timestamp;
use crate::domain::work_order::{Edit, Fresh, Plan, Precondition};
use crate::store::{Batch, CountingStore as _, PlanningStore as _, Wanted};

async fn store() -> (SqliteStore, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("there is room");
    folder::migrate(folder.path()).await.expect("it is new");
    (SqliteStore::open(folder.path()).await.expect("it is migrated"), folder)
}

fn plan() -> Plan {
    Plan {
        planned_quantity: Quantity::ZERO,
        over_plan_allowance: None,
        barcode_policy: Default::default(),
        barcode_pattern: None,
        product_code: None,
        product_name: Some("x".repeat(2000)),
        line: None,
    }
}

async fn put(store: &SqliteStore, number: usize) -> Result<(), StoreError> {
    let number = WorkOrderNumber::parse(&format!("W{number}")).expect("it is one");
    let now = Timestamp::parse("2026-01-03T08:00:00Z").expect("it is one");
    let fresh = Fresh { stamp: Stamp(1), revision: Revision(1), now };
    let edited = store.edit(&number, &Edit::Plan(plan()), &Precondition::None, fresh).await?;
    edited.expect("no rule is in the way");
    Ok(())
}

#[tokio::test]
async fn every_connection_syncs_every_commit() {
    let (store, _folder) = store().await;
    for connections in [&store.writer, &store.quick, &store.lists, &store.monitor, &store.alarms, &store.readiness] {
        let mut lent = connections.lend(LEND_LIMIT).await.expect("it is free");
        for (pragma, expected) in [("pragma synchronous", "2"), ("pragma journal_mode", "wal")] {
            let row = lent.get().fetch_one(pragma).await.expect("it is known");
            let value = row.try_get::<String, _>(0).or_else(|_| row.try_get::<i64, _>(0).map(|n| n.to_string()));
            assert_eq!(value.expect("it has one column"), expected, "{pragma}");
        }
    }
}

#[tokio::test]
async fn a_full_disk_is_try_again_and_the_file_is_opened_anew() {
    let (mut store, folder) = store().await;
    let small = options(&folder.path().join(folder::DATABASE)).pragma("max_page_count", "20");
    store.writer = connections(1, small);
    let mut number = 0;
    let error = loop {
        number += 1;
        match put(&store, number).await {
            Ok(()) => assert!(number < 100, "twenty pages are full some day"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, StoreError::TryAgain(_)), "{error:?}");
    assert!(store.suspect.load(Ordering::Relaxed));
    assert_eq!(store.epoch(), 1);
    let full = WorkOrderNumber::parse(&format!("W{number}")).expect("it is one");
    assert_eq!(store.work_order(&full).await.expect("reads go on"), None);

    *store.committed.lock().expect("nobody panicked") = None;
    assert!(store.ready().await.expect("it can be asked").writable, "a page that is there takes a write");
    assert_eq!(store.epoch(), 2, "on a new connection");
    assert!(!store.suspect.load(Ordering::Relaxed));
}

#[tokio::test]
async fn a_commit_that_changed_nothing_proves_nothing() {
    let (store, _folder) = store().await;
    let proven = || store.committed.lock().expect("nobody panicked").is_some();
    let refused = async || {
        let number = WorkOrderNumber::parse("W1").expect("it is one");
        let now = Timestamp::parse("2026-01-03T08:00:00Z").expect("it is one");
        let fresh = Fresh { stamp: Stamp(2), revision: Revision(2), now };
        let edited = store.edit(&number, &Edit::Plan(plan()), &Precondition::AnyOf(Vec::new()), fresh).await;
        assert!(edited.expect("nothing is in the way").is_err(), "it stands at another revision");
    };
    let empty = async || {
        store.write(&Batch::default()).await.expect("nothing is in the way");
        store.write_locked(&Wanted::default(), &mut |_| Batch::default()).await.expect("nothing is in the way");
    };
    put(&store, 1).await.expect("there is room");
    assert!(proven());

    store.suspect.store(true, Ordering::Relaxed);
    *store.committed.lock().expect("nobody panicked") = None;
    refused().await;
    assert!(store.suspect.load(Ordering::Relaxed) && !proven(), "a refused edit");
    empty().await;
    assert!(store.suspect.load(Ordering::Relaxed) && !proven(), "an empty batch");

    assert!(store.ready().await.expect("it can be asked").writable, "by a write of its own");
    assert!(!store.suspect.load(Ordering::Relaxed) && proven());
}

#[tokio::test]
async fn a_writer_that_is_held_up_is_not_ready_and_one_that_commits_is() {
    let (store, folder) = store().await;
    put(&store, 1).await.expect("there is room");
    let mut command = options(&folder.path().join(folder::DATABASE)).connect().await.expect("it is there");
    command.execute("begin immediate").await.expect("nobody writes");
    assert!(store.ready().await.expect("it can be asked").writable, "the last commit is young");
    *store.committed.lock().expect("nobody panicked") = None;
    assert!(!store.ready().await.expect("it can be asked").writable);
    command.execute("rollback").await.expect("it was begun");
    assert!(store.ready().await.expect("it can be asked").writable);
}
