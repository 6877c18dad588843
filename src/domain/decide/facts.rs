//! What a batch is decided on.

use std::collections::HashMap;
use std::sync::Arc;

use serde::Deserialize;

use crate::domain::ids::{Quantity, RequestId, Seq, WorkOrderNumber};
use crate::domain::request::{Counter, Request};
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;

/// What the store knows about a batch of requests.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The work orders that exist.
    pub work_orders: HashMap<WorkOrderNumber, WorkOrder>,
    /// The updates of those request ids that are decided already.
    pub updates: HashMap<RequestId, Arc<Update>>,
    /// The updates that undos and overrides name, as far as they exist. They are read from the store with
    /// the batch, never from memory.
    pub named: HashMap<RequestId, NamedUpdate>,
    /// The standing claims, by ordinal. Of each barcode: the newest n + 1, where n is the number of its
    /// unbinds and of its work order's undos in the batch; also the claim of each named update.
    pub claims: HashMap<ClaimKey, Vec<Claim>>,
}

/// An update that an undo or an override names, and what has become of it.
#[derive(Clone, Debug, Deserialize)]
pub struct NamedUpdate {
    /// The update.
    pub update: Arc<Update>,
    /// Whether an undo or an unbind has taken it back.
    pub is_taken_back: bool,
    /// Whether an override has settled it.
    pub is_settled: bool,
    /// The `seq` of the latest release of its counter.
    pub released_at: Option<Seq>,
}

/// The place of a claim: a barcode counts there once, unless barcodes are repeatable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct ClaimKey {
    /// The work order.
    pub work_order: WorkOrderNumber,
    /// The counter.
    pub counter: Counter,
    /// The step in canonical form.
    pub step: String,
    /// The barcode in canonical form.
    pub barcode: String,
}

impl ClaimKey {
    /// The key of the claim that a request makes or removes. `None` if it has no barcode.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        Some(Self {
            work_order: request.work_order.clone(),
            counter: request.counter,
            step: request.step.canonical.clone(),
            barcode: request.barcode()?.canonical.clone(),
        })
    }

    /// The key of the claim of an update's part. `None` if it has no barcode.
    #[must_use]
    pub fn of_update(update: &Update) -> Option<Self> {
        Some(Self {
            work_order: update.work_order.clone(),
            counter: update.counter,
            step: update.step_canonical.clone(),
            barcode: update.barcode_canonical.clone()?,
        })
    }
}

/// A standing count of a barcode.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// 1 if barcodes count once. So a second claim has the same place, and the database refuses it. If
    /// barcodes are repeatable: the `seq` of the update that counted it.
    pub ordinal: i64,
    /// The update that counted it.
    pub request_id: RequestId,
    /// How many pieces it counted.
    pub quantity: Quantity,
}
