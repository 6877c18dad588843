//! A batch of the leased lane before it is written: what is known, and what was decided.

use std::collections::HashMap;
use std::sync::Arc;

use crate::counting::batch::{Decided, Unverified};
use crate::counting::memory::{Generation, Memory};
use crate::counting::queue::Work;
use crate::domain::decide::{ClaimKey, Facts};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::lease::Held;

/// The leases of a batch.
pub(super) type BatchLeases = HashMap<WorkOrderNumber, Held>;

/// What a batch is decided on.
pub(super) struct Known {
    pub(super) facts: Facts,
    pub(super) unverified: Unverified,
    pub(super) generation: Generation,
}

impl Known {
    /// Adds what memory knows about a work order and its requests.
    pub(super) fn recall(&mut self, memory: &mut Memory, work: &Work, held: Option<&Held>) {
        let Self { facts, unverified, .. } = self;
        if let Some(row) = held.and_then(|held| memory.row(&work.number, held.fence)) {
            facts.work_orders.insert(work.number.clone(), row.clone());
        }
        for waiting in &work.waiting {
            let id = &waiting.request.request_id;
            let known = memory.update(id);
            match known {
                Some(update) => drop(facts.updates.insert(id.clone(), Arc::clone(update))),
                None => drop(unverified.request_ids.insert(id.clone())),
            }
            let Some(key) = ClaimKey::of(&waiting.request) else { continue };
            match memory.claim(&key) {
                Some(claim) => {
                    let original =
                        memory.update(&claim.request_id).map(|update| (claim.request_id.clone(), Arc::clone(update)));
                    facts.updates.extend(original);
                    facts.claims.insert(key, vec![claim.clone()]);
                }
                // The request is decided already, so its barcode does not matter.
                None if known.is_some() => {}
                None => drop(unverified.barcodes.insert(key)),
            }
        }
    }
}

/// A batch that is decided and not yet written.
pub(super) struct Draft {
    pub(super) work: Vec<Work>,
    pub(super) leases: BatchLeases,
    pub(super) decided: Decided,
    pub(super) originals: HashMap<RequestId, Arc<Update>>,
    pub(super) generation: Generation,
}

impl Draft {
    /// Adds other work orders that were decided separately.
    pub(super) fn extend(&mut self, other: Self) {
        self.work.extend(other.work);
        self.leases.extend(other.leases);
        self.decided.extend(other.decided);
        self.originals.extend(other.originals);
    }
}
