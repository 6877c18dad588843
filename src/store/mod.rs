//! The store: work orders, update log and barcode claims, on disk.
//!
//! One trait, whole operations only: each method is one transaction, and no
//! transaction crosses it. What is true if the process dies meanwhile is said at
//! each method. Two implementations, [`postgres`] and [`sqlite`], with the same
//! tables, are run by the same tests. What the monitor asks of them is a trait of its own,
//! in [`consistency`].

pub mod alarms;
pub mod connections;
pub mod consistency;
mod migrations;
pub mod postgres;
mod repeats;
mod rows;
pub mod sqlite;

use std::collections::HashSet;
use std::sync::Arc;

use async_trait::async_trait;

use crate::domain::decide::{Claim, ClaimKey, Facts, WorkOrderChange};
use crate::domain::ids::{RequestId, Seq, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::time::Timestamp;
use crate::domain::update::{Outcome, Update};
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Precondition, Status, WorkOrder};

/// Where work orders, updates and claims are kept.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// Looks up, in one query, what bears on a batch. Proves presence only: what is
    /// absent may still be on its way under a connection that broke.
    ///
    /// # Errors
    /// Any [`StoreError`] but the ones about a write.
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError>;

    /// Writes, in one transaction, every change whose row still has the loaded stamp,
    /// whose fence is allowed, none of whose `unverified` ids is decided already, and none of
    /// whose `unclaimed` barcodes stands counted.
    /// A process that dies meanwhile has written all of that or nothing.
    ///
    /// # Errors
    /// [`StoreError::outcome_unknown`] tells whether it may have been written all the same.
    async fn write(&self, batch: &Batch) -> Result<Written, StoreError>;

    /// The row-lock path: locks the wanted work orders in order, loads, lets `decide`
    /// make the batch, and writes it, all in one transaction that holds the rows.
    /// A process that dies meanwhile has written nothing, or all of it.
    ///
    /// # Errors
    /// As [`Store::load`] and [`Store::write`].
    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError>;

    /// Applies planning's change to one work order under its row lock.
    ///
    /// # Errors
    /// As [`Store::write`]; the inner result is the rule's own refusal.
    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError>;

    /// One work order.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError>;

    /// A page of work orders, by number.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError>;

    /// A page of one work order's updates, newest first.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError>;

    /// A page of one barcode's updates (canonical form) over all work orders, newest first.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError>;

    /// The updates of these request ids, where there are any.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError>;

    /// Whether a scan could be counted now.
    ///
    /// # Errors
    /// Where the store can't be asked.
    async fn ready(&self) -> Result<Readiness, StoreError>;

    /// A number that changes with every new connection of the counting path: what was
    /// kept in memory before is worth nothing after (a failover may lie between).
    fn epoch(&self) -> u64;

    /// Closes every connection, cleanly.
    async fn close(&self);
}

/// What a batch needs to know.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Work orders, sorted, each once.
    pub work_orders: Vec<WorkOrderNumber>,
    /// Request ids, sorted, each once.
    pub request_ids: Vec<RequestId>,
    /// Barcodes, each once, and how many of the newest standing claims are needed.
    pub claims: Vec<(ClaimKey, i64)>,
}

/// What a batch wants written.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One change per work order, sorted by work order; every `row.stamp` is fresh.
    pub changes: Vec<WorkOrderChange>,
    /// Request ids among the updates that no load has looked up, with their work order.
    pub unverified: Vec<(RequestId, WorkOrderNumber)>,
    /// Barcodes taken for not counted that no load has looked up.
    pub unclaimed: Vec<ClaimKey>,
}

/// What a batch came to.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The work orders that were written.
    pub passed: HashSet<WorkOrderNumber>,
    /// Updates found for unverified ids: their work orders were not written. And the updates
    /// that made the claims of `claimed`.
    pub known: Vec<Arc<Update>>,
    /// The newest standing claims found for unclaimed barcodes: their work orders were not written.
    pub claimed: Vec<(ClaimKey, Claim)>,
}

/// A work order after planning's change.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The row after.
    pub row: WorkOrder,
    /// Whether the change created it.
    pub created: bool,
}

/// Which work orders to list.
#[derive(Clone, Debug, Default)]
pub struct WorkOrderQuery {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this line.
    pub line: Option<String>,
    /// Only with this text in number, product code, product name or line, whatever its case.
    pub q: Option<String>,
    /// Only after this number.
    pub after: Option<WorkOrderNumber>,
    /// At most so many.
    pub limit: i64,
}

/// Which of a work order's updates to list, newest first.
#[derive(Clone, Debug)]
pub struct UpdateQuery {
    /// The work order.
    pub work_order: WorkOrderNumber,
    /// Only of this counter.
    pub counter: Option<Counter>,
    /// Only with this outcome.
    pub outcome: Option<Outcome>,
    /// Only of this barcode, in canonical form.
    pub barcode: Option<String>,
    /// Only recorded at this time or later.
    pub from: Option<Timestamp>,
    /// Only recorded before this time.
    pub to: Option<Timestamp>,
    /// Only older than this place.
    pub before: Option<LogCursor>,
    /// At most so many.
    pub limit: i64,
}

/// The place of an update in its work order's list: by `seq` (refused: `at_seq`); at
/// one `seq` the refused ones come after the counted one, by `recorded_at`, then request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// `seq`, or `at_seq` when refused.
    pub seq: Seq,
    /// For a refused update: when, and under which id; `None` for a counted one.
    pub refused: Option<(Timestamp, RequestId)>,
}

/// Which of a barcode's updates to list, newest first.
#[derive(Clone, Debug)]
pub struct BarcodeQuery {
    /// The barcode in canonical form.
    pub barcode: String,
    /// Only older than this: recorded before, or at the same time under a lower request id.
    pub before: Option<(Timestamp, RequestId)>,
    /// At most so many.
    pub limit: i64,
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
    /// Nothing was written, and the same may work at once: deadlock, lock time-out,
    /// serialization failure, busy file.
    #[error("the store asks to try again")]
    TryAgain(#[source] Cause),
    /// The connection broke or timed out: it may have been written.
    #[error("the connection to the store broke")]
    Broken(#[source] Cause),
    /// A request id or claim that was believed free is taken, or a work order that was believed
    /// unchanged is not: to be loaded again.
    #[error("a request id or barcode claim is taken, or a work order changed")]
    Taken(#[source] Cause),
    /// (`work_order`, `seq`) is taken: a row lags its log.
    #[error("a work order's row lags its log")]
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
