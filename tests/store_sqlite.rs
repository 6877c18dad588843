//! The embedded store: the suite, and what is SQLite's own.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

mod store_suite;

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use scanfence::domain::ids::{RequestId, WorkOrderNumber};
use scanfence::store::sqlite::SqliteStore;
use scanfence::store::sqlite::folder::{self, DATABASE, FolderLock, OpenError};
use scanfence::store::{Store, StoreError, UpdateStore as _};
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{Connection as _, Executor as _};
use store_suite::shop::*;
use tempfile::TempDir;

async fn open() -> (Arc<dyn Store>, TempDir) {
    let folder = TempDir::new().unwrap();
    folder::migrate(folder.path()).await.unwrap();
    let store = SqliteStore::open(folder.path()).await.unwrap();
    (Arc::new(store), folder)
}

store_suite::store_suite!(open);

/// A connection of somebody else's: a command, a report, a test.
async fn beside(folder: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(folder.join(DATABASE)).create_if_missing(true);
    SqliteConnection::connect_with(&options).await.unwrap()
}

#[tokio::test]
async fn the_folder_is_made_for_its_owner_alone_and_the_file_is_in_wal_mode() {
    let parent = TempDir::new().unwrap();
    let folder = parent.path().join("deep").join("data");
    folder::migrate(&folder).await.unwrap();
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
    let mode: String = sqlx::query_scalar("pragma journal_mode").fetch_one(&mut beside(&folder).await).await.unwrap();
    assert_eq!(mode, "wal");
    folder::migrate(&folder).await.unwrap();
    SqliteStore::open(&folder).await.unwrap().close().await;
}

#[tokio::test]
async fn two_that_migrate_at_once_both_find_it_done() {
    let folder = TempDir::new().unwrap();
    let migrations: Vec<_> = (0..4)
        .map(|_| {
            let folder = folder.path().to_owned();
            tokio::spawn(async move { folder::migrate(&folder).await })
        })
        .collect();
    for migration in migrations {
        migration.await.unwrap().unwrap();
    }
    let (store, _) = (SqliteStore::open(folder.path()).await.unwrap(), &folder);
    assert!(store.ready().await.unwrap().migrated);
}

#[test]
fn a_second_serve_on_the_folder_is_refused_by_name() {
    let folder = TempDir::new().unwrap();
    let first = FolderLock::take(folder.path()).unwrap();
    let refused = FolderLock::take(folder.path()).unwrap_err();
    let message = refused.to_string();
    assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()));
    assert!(message.contains(folder.path().to_str().unwrap()) && message.contains(&std::process::id().to_string()));
    drop(first);
    FolderLock::take(folder.path()).unwrap();
}

#[tokio::test]
async fn a_folder_that_can_not_be_used_is_told() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, "no folder").unwrap();
    for path in [file.clone(), file.join("below")] {
        assert!(matches!(folder::migrate(&path).await, Err(OpenError::Folder { .. })));
        assert!(matches!(FolderLock::take(&path), Err(OpenError::Folder { .. })));
        assert!(SqliteStore::open(&path).await.is_err());
    }
    std::fs::create_dir_all(folder.path().join("data").join(DATABASE)).unwrap();
    let refused = folder::migrate(&folder.path().join("data")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Database { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_file_that_is_no_database_of_this_release_is_told_and_left_alone() {
    let folder = TempDir::new().unwrap();
    let file = folder.path().join(DATABASE);
    let opened = SqliteStore::open(folder.path()).await.map(drop);
    assert!(matches!(opened, Err(OpenError::Missing { .. })));
    assert!(!file.exists(), "opening makes nothing");

    std::fs::write(&file, "work_order;quantity\n".repeat(500)).unwrap();
    assert!(matches!(folder::migrate(folder.path()).await, Err(OpenError::Damaged { .. })));
    assert!(matches!(SqliteStore::open(folder.path()).await.map(drop), Err(OpenError::Damaged { .. })));

    std::fs::remove_file(&file).unwrap();
    beside(folder.path()).await.execute("create table notes (text)").await.unwrap();
    assert!(matches!(folder::migrate(folder.path()).await, Err(OpenError::Foreign { .. })));
    assert!(matches!(SqliteStore::open(folder.path()).await.map(drop), Err(OpenError::Foreign { .. })));

    std::fs::remove_file(&file).unwrap();
    beside(folder.path()).await.execute("select 1").await.unwrap();
    assert!(matches!(SqliteStore::open(folder.path()).await.map(drop), Err(OpenError::Older { .. })));

    folder::migrate(folder.path()).await.unwrap();
    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
        values (9999, 'of tomorrow', true, x'00', 0)";
    beside(folder.path()).await.execute(newer).await.unwrap();
    assert!(matches!(folder::migrate(folder.path()).await, Err(OpenError::Newer { version: 9999, .. })));
    assert!(matches!(SqliteStore::open(folder.path()).await.map(drop), Err(OpenError::Newer { version: 9999, .. })));
}

#[tokio::test]
async fn a_damaged_page_is_told_without_a_panic() {
    let (store, folder) = open().await;
    let number = work_order(&*store).await;
    store.close().await;
    let file = folder.path().join(DATABASE);
    let mut bytes = std::fs::read(&file).unwrap();
    bytes[100..].fill(0xff);
    std::fs::write(&file, bytes).unwrap();
    assert!(matches!(SqliteStore::open(folder.path()).await.map(drop), Err(OpenError::Damaged { .. })));
    assert!(matches!(folder::migrate(folder.path()).await, Err(OpenError::Damaged { .. })), "{number}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_command_that_writes_beside_is_waited_for_and_then_it_is_try_again() {
    let (store, folder) = open().await;
    let number = work_order(&*store).await;
    let request = scan(&number);
    let batch = prepared(&*store, std::slice::from_ref(&request)).await;
    let epoch = store.epoch();

    let mut command = beside(folder.path()).await;
    command.execute("begin immediate").await.unwrap();
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::TryAgain(_)), "{error:?}");
    assert_eq!(row(&*store, &number).await.seq.0, 0, "reads go on");
    store.load(&wanted(std::slice::from_ref(&request))).await.unwrap();

    let writing = tokio::spawn({
        let store = Arc::clone(&store);
        async move { store.write(&batch).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    command.execute("commit").await.unwrap();
    assert!(writing.await.unwrap().unwrap().passed.contains(&number), "it waited for the command");
    assert_eq!(store.epoch(), epoch, "on the same connection");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dropped_write_closes_its_connection() {
    let (store, _folder) = open().await;
    let number = work_order(&*store).await;
    let requests = [scan(&number)];
    let batch = prepared(&*store, &requests).await;
    let epoch = store.epoch();
    assert!(DroppedAfter::new(1, store.write(&batch)).await.is_none());
    settle(&*store, &requests).await;
    assert_eq!(store.epoch(), epoch + 1);
    audit(&*store, &number).await;
}

/// The process that the next test kills, itself a run of that test. It takes the folder's
/// lock, says so, and counts, naming each scan as it is on disk.
async fn serve_until_killed(folder: String) {
    let _lock = FolderLock::take(Path::new(&folder)).unwrap();
    let store = SqliteStore::open(Path::new(&folder)).await.unwrap();
    let number = work_order(&store).await;
    let mut out = std::io::stdout();
    writeln!(out, "\nserving {number}").unwrap();
    loop {
        let requests = [scan(&number), scan(&number)];
        count(&store, &requests).await;
        for request in requests {
            writeln!(out, "counted {}", request.request_id).unwrap();
        }
    }
}

#[tokio::test]
async fn a_killed_process_leaves_the_lock_free_and_every_acknowledged_scan_on_disk() {
    if let Ok(folder) = std::env::var("SCANFENCE_TEST_FOLDER") {
        return serve_until_killed(folder).await;
    }
    let folder = TempDir::new().unwrap();
    folder::migrate(folder.path()).await.unwrap();
    for _ in 0..3 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_process_leaves_the_lock_free_and_every_acknowledged_scan_on_disk",
                "--nocapture",
            ])
            .env("SCANFENCE_TEST_FOLDER", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let number = lines.find_map(|line| line.strip_prefix("serving ").map(str::to_owned)).unwrap();
        let refused = FolderLock::take(folder.path()).unwrap_err();
        assert!(matches!(refused, OpenError::InUse { pid: Some(pid), .. } if pid == child.id()));
        let id = |line: String| RequestId::parse(line.strip_prefix("counted ")?).ok();
        let mut acknowledged: Vec<RequestId> = lines.by_ref().filter_map(id).take(50).collect();
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged.extend(lines.filter_map(id));

        FolderLock::take(folder.path()).unwrap();
        let store = SqliteStore::open(folder.path()).await.unwrap();
        let number = WorkOrderNumber::parse(&number).unwrap();
        assert_eq!(store.updates_by_id(&acknowledged).await.unwrap().len(), acknowledged.len());
        let stands = row(&store, &number).await.input_quantity.get();
        assert!(stands >= acknowledged.len() as i64 && stands % 2 == 0, "whole batches: {stands}");
        audit(&store, &number).await;
        store.close().await;
    }
}
