//! The one writer: begins and ends transactions, and knows whether the file takes writes.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::SqliteStore;
use super::arguments::{Arguments, run};
use super::{Failure, errors};
use crate::store::connections::Lent;
use crate::store::{StoreError, Written};

/// Takes the write lock at once. If a transaction began with a read, another writer could be faster, and
/// then its own write would fail.
pub(in super::super) const BEGIN: &str = "begin immediate";
const COMMIT: &str = "commit";
const ROLLBACK: &str = "rollback";
/// A write that changes nothing of ours. Nobody reads the number, but its page goes to the disk.
const WRITE_ONE_PAGE: &str = "pragma user_version = 0";

/// If a commit that changed rows is younger than this, the file takes writes.
const PROOF_AGE: Duration = Duration::from_secs(1);
/// How long [`Store::ready`](crate::store::Store::ready) waits for a busy writer: as long as a health
/// check may take.
const READY_LIMIT: Duration = Duration::from_secs(1);

impl SqliteStore {
    /// Lends the writer and begins a transaction. No other writer can begin one until it ends.
    pub(in super::super) async fn begin(&self, patience: Duration) -> Result<Lent<'_, SqliteConnection>, StoreError> {
        let (lent, _) = self.begin_with(patience, BEGIN, Arguments::default()).await?;
        Ok(lent)
    }

    /// The same with a statement that begins with `begin`. It may return a row.
    pub(in super::super) async fn begin_with(
        &self,
        patience: Duration,
        statement: &'static str,
        bound: Arguments,
    ) -> Result<(Lent<'_, SqliteConnection>, Option<SqliteRow>), StoreError> {
        let mut lent = self.writer.lend(patience).await?;
        match bound.query(statement).fetch_optional(lent.get()).await {
            Ok(found) => Ok((lent, found)),
            Err(error) => Err(self.fail(lent, error).await),
        }
    }

    /// Ends a transaction after a failure, also if none was begun. A connection that is not good is
    /// closed.
    pub(in super::super) async fn fail(&self, lent: Lent<'_, SqliteConnection>, error: sqlx::Error) -> StoreError {
        self.suspect.fetch_or(errors::points_at_the_disk(&error), Ordering::Relaxed);
        if errors::connection_is_good(&error) {
            self.roll_back(lent).await;
        }
        errors::before_commit(error)
    }

    /// Commits if `work` succeeded. Else rolls back.
    ///
    /// If COMMIT fails, the result is always [`StoreError::Broken`], and the connection is closed. The
    /// next load finds out whether the last page reached the disk. (COMMIT is never busy: the transaction
    /// took the lock when it began.)
    pub(in super::super) async fn finish<T>(
        &self,
        mut lent: Lent<'_, SqliteConnection>,
        work: Result<T, Failure>,
    ) -> Result<T, StoreError> {
        match work {
            Ok(value) => match run(lent.get(), COMMIT).await {
                Ok(()) => {
                    lent.give_back();
                    Ok(value)
                }
                Err(error) => {
                    self.suspect.store(true, Ordering::Relaxed);
                    Err(StoreError::Broken(error.into()))
                }
            },
            Err(Failure::Sql(error)) => Err(self.fail(lent, error).await),
            Err(Failure::Ours(error)) => {
                self.roll_back(lent).await;
                Err(error)
            }
        }
    }

    /// Call this after a commit that changed rows. A commit without changes writes nothing, so it works
    /// on a full disk too.
    pub(in super::super) fn took_a_write(&self) {
        self.suspect.store(false, Ordering::Relaxed);
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// If a work order of the batch passed, its commit proves that the file takes writes.
    pub(in super::super) fn note_written(&self, written: &Result<Written, StoreError>) {
        if written.as_ref().is_ok_and(|written| !written.passed.is_empty()) {
            self.took_a_write();
        }
    }

    pub(in super::super) async fn roll_back(&self, mut lent: Lent<'_, SqliteConnection>) {
        match run(lent.get(), ROLLBACK).await {
            Ok(()) => lent.give_back(),
            Err(error) if errors::nothing_was_begun(&error) => lent.give_back(),
            // It is dropped, and so closed.
            Err(_) => {}
        }
    }

    pub(in super::super) fn wrote_lately(&self) -> bool {
        let committed = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.is_some_and(|at| at.elapsed() < PROOF_AGE)
    }

    /// Whether the file takes writes. If the last failure points at the disk, this writes one page to
    /// find out. The write has no time limit: if it were cut off, counting would lose its connection.
    pub(in super::super) async fn takes_writes(&self) -> bool {
        if self.wrote_lately() {
            return true;
        }
        let Ok(mut lent) = self.begin(READY_LIMIT).await else {
            // The writer or the file is busy. Perhaps a commit has proved it just now.
            return self.wrote_lately();
        };
        let suspect = self.suspect.load(Ordering::Relaxed);
        let probed = match suspect {
            true => run(lent.get(), WRITE_ONE_PAGE).await,
            false => Ok(()),
        };
        let good = self.finish(lent, probed.map_err(Failure::Sql)).await.is_ok();
        if good && suspect {
            self.took_a_write();
        }
        good
    }
}
