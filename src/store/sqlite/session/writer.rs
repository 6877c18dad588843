//! The one writer: transactions, and the proof that the file takes writes.

use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::SqliteStore;
use super::arguments::{Arguments, run};
use super::{Failure, errors};
use crate::store::connections::Lent;
use crate::store::{StoreError, Written};

/// Takes the write lock at once. A transaction that began by reading could find another writer ahead
/// of it when it comes to write.
pub(in super::super) const BEGIN: &str = "begin immediate";
const COMMIT: &str = "commit";
const ROLLBACK: &str = "rollback";
/// A write without meaning: nobody reads the number, but its page goes to the disk.
const WRITE_ONE_PAGE: &str = "pragma user_version = 0";

/// A commit of changes that is younger than this proves that the file takes writes.
const PROOF_AGE: Duration = Duration::from_secs(1);
/// How long [`Store::ready`](crate::store::Store::ready) waits for a writer that is at work: as long
/// as a health check may take.
const READY_LIMIT: Duration = Duration::from_secs(1);

impl SqliteStore {
    /// Lends the writer with a transaction begun that no other writer can begin beside.
    pub(in super::super) async fn begin(&self, patience: Duration) -> Result<Lent<'_, SqliteConnection>, StoreError> {
        let (lent, _) = self.begin_with(patience, BEGIN, Arguments::default()).await?;
        Ok(lent)
    }

    /// The same, by a statement that begins with `begin` and may ask for a row.
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

    /// Ends a transaction, begun or not, in which something failed.
    pub(in super::super) async fn fail(&self, lent: Lent<'_, SqliteConnection>, error: sqlx::Error) -> StoreError {
        self.suspect.fetch_or(errors::points_at_the_disk(&error), Ordering::Relaxed);
        if errors::connection_is_good(&error) {
            self.roll_back(lent).await;
        }
        errors::before_commit(error)
    }

    /// Commits what went well and rolls back what did not.
    ///
    /// A failed COMMIT is [`StoreError::Broken`], whatever the reason, and the connection
    /// is closed: whether the last page reached the disk is for the next load to find out.
    /// (It is never busy: the lock was taken at the beginning.)
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

    /// A commit has changed rows. One that has not writes nothing, on a full disk too.
    pub(in super::super) fn took_a_write(&self) {
        self.suspect.store(false, Ordering::Relaxed);
        *self.committed.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// Takes the commit of a batch for proof, if anything of it passed.
    pub(in super::super) fn note_written(&self, written: &Result<Written, StoreError>) {
        if written.as_ref().is_ok_and(|written| !written.passed.is_empty()) {
            self.took_a_write();
        }
    }

    pub(in super::super) async fn roll_back(&self, mut lent: Lent<'_, SqliteConnection>) {
        match run(lent.get(), ROLLBACK).await {
            Ok(()) => lent.give_back(),
            Err(error) if errors::nothing_was_begun(&error) => lent.give_back(),
            // Closed.
            Err(_) => {}
        }
    }

    pub(in super::super) fn wrote_lately(&self) -> bool {
        let committed = *self.committed.lock().unwrap_or_else(PoisonError::into_inner);
        committed.is_some_and(|at| at.elapsed() < PROOF_AGE)
    }

    /// Whether the file takes a write: after trouble, by writing to it. Never cut off in
    /// the middle, which would cost the counting path its connection.
    pub(in super::super) async fn takes_writes(&self) -> bool {
        if self.wrote_lately() {
            return true;
        }
        let Ok(mut lent) = self.begin(READY_LIMIT).await else {
            // The writer is at work, or the file is busy; unless it was done just now.
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
