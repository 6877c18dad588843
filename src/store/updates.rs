//! The store's reads of the update log.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::{RequestId, Seq, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::time::Timestamp;
use crate::domain::update::{Outcome, Update};

/// Reads the update log.
#[async_trait]
pub trait UpdateStore: Send + Sync + 'static {
    /// A page of one work order's updates, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError>;

    /// A page of one barcode's updates (canonical form) over all work orders, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError>;

    /// The updates of these request ids, as far as there are any.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError>;
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
    /// Only older than this.
    pub before: Option<LogCursor>,
    /// At most so many.
    pub limit: i64,
}

/// Where an update stands in its work order's list. The list is ordered by `seq` (if refused:
/// `at_seq`). The refused updates at one `seq` come after the counted one, by `recorded_at`, then by
/// request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogCursor {
    /// `seq`, or `at_seq` if refused.
    pub seq: Seq,
    /// If refused: its `recorded_at` and request id; `None` if counted.
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
