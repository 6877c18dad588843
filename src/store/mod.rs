//! The store: work orders, update log and barcode claims, on disk.
//!
//! Each feature has a trait: [`counting`], [`planning`], [`updates`], [`consistency`], [`alarms`].
//! A method is a whole operation, one transaction; its comment says what is true if the process
//! dies. There are two implementations, [`postgres`] and [`sqlite`], with the same tables. Both have
//! a folder per feature, with the same names. The same tests run on both.

pub mod alarms;
mod columns;
pub mod connections;
pub mod consistency;
pub mod counting;
mod migrations;
pub mod planning;
pub mod postgres;
mod repeats;
mod rows;
pub mod sqlite;
mod template;
pub mod updates;

use async_trait::async_trait;

pub use counting::{Batch, CountingStore, Wanted, Written};
pub use planning::{Edited, PlanningStore, WorkOrderQuery};
pub use updates::{BarcodeQuery, LogCursor, UpdateQuery, UpdateStore};

/// What counting, planning and the routes need of a store.
#[async_trait]
pub trait Store: CountingStore + PlanningStore + UpdateStore {
    /// Whether a scan could be counted now.
    ///
    /// # Errors
    /// If the store can't be asked.
    async fn ready(&self) -> Result<Readiness, StoreError>;

    /// Closes every connection, cleanly.
    async fn close(&self);
}

/// Whether a scan could be counted, and what the promise of durability rests on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Readiness {
    /// Whether the store takes writes.
    pub writable: bool,
    /// Whether all migrations of this release are applied.
    pub migrated: bool,
    /// Whether a 201 survives the loss of the primary (a synchronous standby).
    pub synchronous_standby: bool,
}

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written, and the same may work at once: deadlock, lock timeout, serialization
    /// failure, busy file.
    #[error("the store asks to try again")]
    TryAgain(#[source] Cause),
    /// The connection broke or timed out: it may have been written.
    #[error("the connection to the store broke")]
    Broken(#[source] Cause),
    /// A request id or a claim that was taken for free is taken: load again.
    #[error("a request id or barcode claim is taken")]
    Taken(#[source] Cause),
    /// (`work_order`, `seq`) is taken: the work order's row is older than its log.
    #[error("a work order's row is older than its log")]
    BehindLog(#[source] Cause),
    /// The store will never take this.
    #[error("the store refuses this for good")]
    Refused(#[source] Cause),
}

/// The driver's own error, for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Whether the operation may have been done all the same.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::TryAgain(_) | Self::Taken(_) | Self::BehindLog(_) | Self::Refused(_) => false,
        }
    }
}
