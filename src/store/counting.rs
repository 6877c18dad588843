//! The store of counting: what a batch of requests needs to know, and the guarded write.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;

use super::StoreError;
use super::columns::columns;
use crate::domain::decide::{Claim, ClaimKey, Facts, WorkOrderChange};
use crate::domain::ids::{Owner, Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::update::Update;

/// Reads and writes batches of requests.
#[async_trait]
pub trait CountingStore: Send + Sync + 'static {
    /// Looks up, in one query, the rows that decide a batch. A row that is found is proof. A row
    /// that is not found is no proof: it may still be written by a connection that broke.
    ///
    /// # Errors
    /// Any [`StoreError`] except those of a write.
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError>;

    /// Writes changes in one transaction. A change is written if:
    ///
    /// - its row still has the loaded stamp;
    /// - its fence is allowed: higher than the row's, or the same with the same owner;
    /// - none of its `unverified` ids is decided;
    /// - none of its `unclaimed` barcodes stands counted.
    ///
    /// A batch that frees the barcodes of a counter is refused: it goes by the row lock.
    ///
    /// If the process dies, all of that is written or nothing.
    ///
    /// # Errors
    /// [`StoreError::outcome_unknown`] tells whether it may be written in spite of the error.
    async fn write(&self, batch: &Batch) -> Result<Written, StoreError>;

    /// The same under row locks, in one transaction: locks the wanted work orders in order, loads,
    /// lets `decide` make the batch, frees the barcodes of the counters that it releases, and writes it.
    /// If the process dies, all of it is written or nothing.
    ///
    /// # Errors
    /// As [`CountingStore::load`] and [`CountingStore::write`].
    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError>;

    /// A number that changes with each new connection of the counting path. Behind a new
    /// connection may be another server (a failover), so all that memory holds is dropped then.
    fn epoch(&self) -> u64;
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
    /// Updates that undos and overrides name, sorted, each once. The claims that they made are found
    /// with them.
    pub named: Vec<RequestId>,
}

/// What a batch wants written.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// One change per work order, sorted by work order; every `row.stamp` is new.
    pub changes: Vec<WorkOrderChange>,
    /// Request ids of the updates that no load has looked up, with their work order.
    pub unverified: Vec<(RequestId, WorkOrderNumber)>,
    /// Barcodes that seem not counted, and that no load has looked up.
    pub unclaimed: Vec<ClaimKey>,
}

impl Batch {
    /// The new rows of the log, sorted by request id: neighbours in the index are written together,
    /// and two writers insert in the same order.
    pub(super) fn updates(&self) -> Vec<&Update> {
        sorted_updates(&self.changes)
    }

    /// The counters whose barcodes it frees.
    pub(super) fn releases(&self) -> impl Iterator<Item = (&WorkOrderNumber, Counter)> {
        let of = |change: &WorkOrderChange| change.claims.release.clone();
        self.changes
            .iter()
            .flat_map(move |change| of(change).into_iter().map(|counter| (&change.row.work_order, counter)))
    }

    /// Refuses a batch that frees barcodes, for the write without row locks.
    pub(super) fn check_releases_nothing(&self) -> Result<(), StoreError> {
        match self.releases().next() {
            None => Ok(()),
            Some(_) => Err(StoreError::Refused("a recount that frees barcodes needs the row lock".into())),
        }
    }

    /// Fails unless every work order was written whose barcodes were freed: else they must not be.
    pub(super) fn check_released(&self, written: &Written) -> Result<(), StoreError> {
        match self.releases().all(|(work_order, _)| written.passed.contains(work_order)) {
            true => Ok(()),
            false => Err(StoreError::TryAgain("a recount that frees barcodes was not written".into())),
        }
    }
}

/// The new rows of the log of these changes, sorted by request id.
pub(super) fn sorted_updates<'a>(changes: impl IntoIterator<Item = &'a WorkOrderChange>) -> Vec<&'a Update> {
    let updates = changes.into_iter().flat_map(|change| &change.updates);
    let mut updates: Vec<&Update> = updates.map(AsRef::as_ref).collect();
    updates.sort_unstable_by(|a, b| a.request_id.cmp(&b.request_id));
    updates
}

/// The result of a write.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// The work orders that were written.
    pub passed: HashSet<WorkOrderNumber>,
    /// Updates found for unverified ids: their work orders were not written. Also the updates that
    /// made the claims of `claimed`.
    pub known: Vec<Arc<Update>>,
    /// The newest standing claims found for unclaimed barcodes: their work orders were not written.
    pub claimed: Vec<(ClaimKey, Claim)>,
}

columns! {
    /// What the guarded write compares and sets in `work_orders`. `loaded` is the stamp that the row
    /// must still have. Without a lease, `fence` and `fence_owner` are the row's own: its fence
    /// allows them as long as its stamp is the loaded one.
    pub(super) GUARDED: WorkOrderChange = |change| {
        work_order: Text = Some(change.row.work_order.as_str()),
        loaded: Number = Some(change.loaded.0),
        status: Text = Some(change.row.status.word()),
        input_quantity: Number = Some(change.row.input_quantity.get()),
        output_quantity: Number = Some(change.row.output_quantity.get()),
        scrap_quantity: Number = Some(change.row.scrap_quantity.get()),
        seq: Number = Some(change.row.seq.0),
        fence: Number = Some(change.row.fence.0),
        fence_owner: Text = change.row.fence_owner.as_ref().map(Owner::as_str),
        stamp: Number = Some(change.row.stamp.0),
        barcode_counted: Boolean = Some(change.row.barcode_counted),
        updated_at: Time = Some(change.row.updated_at),
    }
}

columns! {
    /// The columns of `barcode_claims`.
    pub(super) CLAIM: (ClaimKey, Claim) = |row| {
        work_order: Text = Some(row.0.work_order.as_str()),
        counter: Text = Some(row.0.counter.word()),
        step: Text = Some(row.0.step.as_str()),
        barcode: Text = Some(row.0.barcode.as_str()),
        ordinal: Number = Some(row.1.ordinal),
        request_id: Text = Some(row.1.request_id.as_str()),
        quantity: Number = Some(row.1.quantity.get()),
    }
}

/// One row of `barcode_claims`, as it is read.
#[derive(Deserialize)]
pub(super) struct ClaimRow {
    work_order: WorkOrderNumber,
    counter: Counter,
    step: String,
    barcode: String,
    ordinal: i64,
    request_id: RequestId,
    quantity: Quantity,
}

impl From<ClaimRow> for (ClaimKey, Claim) {
    fn from(row: ClaimRow) -> Self {
        let ClaimRow { work_order, counter, step, barcode, ordinal, request_id, quantity } = row;
        (ClaimKey { work_order, counter, step, barcode }, Claim { ordinal, request_id, quantity })
    }
}

/// Standing claims by barcode, ordered by ordinal, each once.
pub(super) fn claims_by_key(mut found: Vec<ClaimRow>) -> HashMap<ClaimKey, Vec<Claim>> {
    found.sort_unstable_by_key(|claim| claim.ordinal);
    let mut claims: HashMap<ClaimKey, Vec<Claim>> = HashMap::new();
    for (key, claim) in found.into_iter().map(ClaimRow::into) {
        let standing = claims.entry(key).or_default();
        if standing.last() != Some(&claim) {
            standing.push(claim);
        }
    }
    claims
}
