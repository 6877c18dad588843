//! What the reading of a check shares: its progress, its lease, and its rests.

use std::time::{Duration, Instant};

use tokio::time::sleep;
use uuid::Uuid;

use crate::domain::consistency::{Check, Drift};
use crate::domain::time::Timestamp;
use crate::monitor::retry::retried;
use crate::store::StoreError;
use crate::store::consistency::{CheckLease, ConsistencyStore, Progress};

/// How long the check lease lasts. Each note renews it, about once a second. After a crash
/// another replica continues within this time.
pub const CHECK_LEASE: Duration = Duration::from_secs(20);
/// Rows of the log in one snapshot. They are few, because the thread that reads and judges them can't
/// count at the same time. With 5 000, scans waited 18 ms instead of 1.4 ms.
pub(super) const ROWS: i64 = 1_000;
/// The longest rest between two pages. A check rests as long as it has worked, so it takes half
/// of one core at most.
const LONGEST_REST: Duration = Duration::from_millis(200);
/// How often progress is noted if nothing is found. Each note is a commit.
const NOTED_EVERY: Duration = Duration::from_secs(1);

/// Why a check did not end.
#[derive(Debug, thiserror::Error)]
pub enum Interrupted {
    /// Another process holds the check lease now.
    #[error("another process has taken the check lease")]
    LeaseLost,
    /// This process stops. The next holder of the lease continues the check.
    #[error("the process stops")]
    Stopped,
    /// The store has failed for too long.
    #[error("the store can't be read")]
    Store(#[from] StoreError),
}

/// A running check.
pub(super) struct Reader<'a> {
    pub(super) store: &'a dyn ConsistencyStore,
    pub(super) check: Check,
    holder: &'a str,
    watch: &'a (dyn Fn(&Check) + Sync),
    noted_at: Instant,
    rested_at: Instant,
    unnoted: Unnoted,
}

/// What was read since the last note.
struct Unnoted {
    since: Timestamp,
    numbers: Vec<String>,
    drifts: Vec<(String, Drift)>,
    rows: i64,
}

impl Unnoted {
    fn nothing(since: Timestamp) -> Self {
        Self { since, numbers: Vec::new(), drifts: Vec::new(), rows: 0 }
    }
}

impl<'a> Reader<'a> {
    /// Begins the check, or continues it, and shows its progress to `watch`.
    pub(super) async fn begin(
        store: &'a dyn ConsistencyStore,
        check: &Check,
        work_orders: i64,
        holder: &'a str,
        watch: &'a (dyn Fn(&Check) + Sync),
    ) -> Result<Self, Interrupted> {
        let begun = retried(|| store.begin_check(&check.check_id, work_orders)).await?;
        let check = begun.ok_or(Interrupted::LeaseLost)?;
        watch(&check);
        let unnoted = Unnoted::nothing(retried(|| store.now()).await?);
        let now = Instant::now();
        Ok(Self { store, check, holder, watch, noted_at: now, rested_at: now, unnoted })
    }

    /// Takes in what was found in these work orders, and rests.
    pub(super) async fn add(&mut self, numbers: &[String], rows: i64, drifts: Vec<Drift>) -> Result<(), Interrupted> {
        self.unnoted.numbers.extend_from_slice(numbers);
        self.unnoted.rows += rows;
        self.unnoted.drifts.extend(drifts.into_iter().map(|drift| (Uuid::now_v7().to_string(), drift)));
        if self.noted_at.elapsed() >= NOTED_EVERY || !self.unnoted.drifts.is_empty() {
            self.note().await?;
        }
        self.rest().await;
        Ok(())
    }

    /// Counts rows.
    pub(super) fn add_rows(&mut self, rows: i64) {
        self.unnoted.rows += rows;
    }

    /// Renews the lease within a long work order, and rests.
    pub(super) async fn pause(&mut self, rows: i64) -> Result<(), Interrupted> {
        self.unnoted.rows += rows;
        if self.noted_at.elapsed() >= NOTED_EVERY {
            let since = self.unnoted.since;
            self.note().await?;
            // The reading of this work order began before this note.
            self.unnoted.since = since;
        }
        self.rest().await;
        Ok(())
    }

    /// Notes what was read. That renews the lease, too.
    pub(super) async fn note(&mut self) -> Result<(), Interrupted> {
        let unnoted = &self.unnoted;
        let read_up_to = unnoted.numbers.iter().max().map(String::as_str);
        let progress = Progress {
            check_id: &self.check.check_id,
            lease: CheckLease { holder: self.holder, ttl: CHECK_LEASE },
            numbers: &unnoted.numbers,
            drifts: &unnoted.drifts,
            read_up_to,
            rows_read: unnoted.rows,
            read_since: unnoted.since,
        };
        if !retried(|| self.store.note_progress(&progress)).await? {
            return Err(Interrupted::LeaseLost);
        }
        self.check.work_orders_read += count(&unnoted.numbers);
        self.check.rows_read += unnoted.rows;
        self.check.findings_seen += count(&unnoted.drifts);
        self.check.read_up_to = read_up_to.map(str::to_owned).or_else(|| self.check.read_up_to.take());
        (self.watch)(&self.check);
        self.unnoted = Unnoted::nothing(retried(|| self.store.now()).await?);
        self.noted_at = Instant::now();
        Ok(())
    }

    /// Leaves the machine to the scans.
    async fn rest(&mut self) {
        sleep(self.rested_at.elapsed().min(LONGEST_REST)).await;
        self.rested_at = Instant::now();
    }
}

/// How many, as the database counts.
pub(super) fn count<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
