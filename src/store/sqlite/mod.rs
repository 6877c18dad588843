//! The embedded store: one SQLite file, and no other program to start.
//!
//! One connection writes, a few read. A write runs from `begin immediate` to COMMIT, with one fsync at
//! the end (WAL, `synchronous=FULL`). There is one writer at a time, so the write lock is also the row
//! lock. Each feature has a folder with its statements (`.sql`) and the code that runs them. [`session`]
//! opens connections, limits every wait, and turns SQLite's errors into [`StoreError`].

mod alarms;
mod audit;
mod consistency;
mod counting;
mod planning;
mod refusals;
mod row_json;
mod session;
mod updates;

use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use async_trait::async_trait;
use futures_util::future::join_all;
use sqlx::sqlite::SqliteConnection;

pub use session::folder;

use self::folder::OpenError;
use self::session::arguments::{Arguments, fetch};
use self::session::{LEND_LIMIT, connections, errors, limited, options};
use super::connections::Connections;
use super::repeats::Repeats;
use super::{Readiness, Store, StoreError, rows};

/// Connections that read single rows, which takes less than a millisecond.
const QUICK_READERS: usize = 2;
/// Connections for lists and searches. Whatever people look for, all else has connections of its own.
const LIST_READERS: usize = 3;
/// One reads for a check, one for a person who looks at its results.
const MONITOR_READERS: usize = 2;

/// 16 MiB (a negative number is in KiB). It holds the upper levels of the log's indexes and the busy work
/// orders.
const WRITER_CACHE: &str = "-16384";
/// A batch of 64 writes about 100 pages to the write-ahead log. A checkpoint costs two syncs. At 8000
/// pages, one batch in eighty pays them (at SQLite's 1000: one in ten). The log file grows to about 32
/// MiB.
const CHECKPOINT_PAGES: &str = "8000";

/// Work orders, updates and claims in one SQLite file.
pub struct SqliteStore {
    writer: Connections<SqliteConnection>,
    quick: Connections<SqliteConnection>,
    lists: Connections<SqliteConnection>,
    monitor: Connections<SqliteConnection>,
    alarms: Connections<SqliteConnection>,
    readiness: Connections<SqliteConnection>,
    repeats: Repeats,
    /// When a commit last changed rows. That proves that the file takes writes.
    committed: Mutex<Option<Instant>>,
    /// Whether the last write failed in a way that points at the disk.
    suspect: AtomicBool,
}

impl SqliteStore {
    /// Opens the database in `folder`, which [`folder::migrate`] has made.
    ///
    /// # Errors
    /// If there is no database, or it is not of this release.
    pub async fn open(folder: &Path) -> Result<Self, OpenError> {
        folder::check(folder).await?;
        let file = folder.join(folder::DATABASE);
        let writer = options(&file).pragma("cache_size", WRITER_CACHE).pragma("wal_autocheckpoint", CHECKPOINT_PAGES);
        let reader = options(&file).pragma("query_only", "on");
        Ok(Self {
            writer: connections(1, writer),
            quick: connections(QUICK_READERS, reader.clone()),
            lists: connections(LIST_READERS, reader.clone()),
            monitor: connections(MONITOR_READERS, reader.clone()),
            alarms: connections(1, reader.clone()),
            readiness: connections(1, reader),
            repeats: Repeats::default(),
            committed: Mutex::new(None),
            suspect: AtomicBool::new(false),
        })
    }
}

/// Runs one reading statement and reads its rows.
async fn read<T: serde::de::DeserializeOwned>(
    connections: &Connections<SqliteConnection>,
    statement: &'static str,
    arguments: impl FnOnce(&mut Arguments),
) -> Result<Vec<T>, StoreError> {
    let mut bound = Arguments::default();
    arguments(&mut bound);
    let texts = limited(async {
        let mut lent = connections.lend(LEND_LIMIT).await?;
        match fetch(lent.get(), statement, bound).await {
            Ok(texts) => {
                lent.give_back();
                Ok(texts)
            }
            Err(error) => {
                if errors::connection_is_good(&error) {
                    lent.give_back();
                }
                Err(errors::before_commit(error))
            }
        }
    })
    .await?;
    texts.iter().map(|text| rows::read(text)).collect()
}

#[async_trait]
impl Store for SqliteStore {
    async fn ready(&self) -> Result<Readiness, StoreError> {
        let applied: Vec<i64> = read(&self.readiness, include_str!("session/applied_json.sql"), |_| {}).await?;
        let migrated = folder::all_applied(&applied);
        Ok(Readiness { writable: self.takes_writes().await, migrated, synchronous_standby: false })
    }

    async fn close(&self) {
        let readers = [&self.quick, &self.lists, &self.monitor, &self.alarms, &self.readiness];
        join_all(readers.map(Connections::close)).await;
        // Last: the last connection that closes empties the write-ahead log.
        self.writer.close().await;
    }
}

#[cfg(test)]
mod plans;
#[cfg(test)]
mod tests;
