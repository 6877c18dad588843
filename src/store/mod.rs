//! The store: work orders, update log and barcode claims, on disk.
//!
//! Each feature has a trait: [`counting`], [`planning`], [`updates`], [`refusals`], [`consistency`],
//! [`alarms`]. A method is a whole operation, one transaction; its comment says what is true if the
//! process dies. There are two implementations, [`postgres`] and [`sqlite`], with the same tables. Both
//! have a folder per feature, with the same names. The same tests run on both.

pub mod alarms;
mod columns;
pub mod connections;
pub mod consistency;
pub mod counting;
mod error;
mod migrations;
pub mod planning;
pub mod postgres;
pub mod refusals;
mod repeats;
mod rows;
pub mod sqlite;
mod template;
pub mod updates;

use async_trait::async_trait;

pub use counting::{Batch, CountingStore, Wanted, Written};
pub use error::{Cause, StoreError};
pub use planning::{Edited, PlanningStore, WorkOrderQuery};
pub use refusals::{RefusalQuery, RefusalStore};
pub use updates::{BarcodeQuery, LogCursor, UpdateQuery, UpdateStore};

/// What counting, planning and the routes need of a store.
#[async_trait]
pub trait Store: CountingStore + PlanningStore + UpdateStore + RefusalStore {
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
