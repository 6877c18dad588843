//! What the leased lanes remember: rows as they wrote them, and updates that they have seen.
//!
//! With memory a load may be skipped. The check in the write never is. The guarded write finds out if a
//! row is stale, and looks up request ids and barcodes that no load has seen. All of memory is dropped if
//! another server may be behind the store: after an error or on a new connection.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::domain::decide::{Claim, ClaimKey};
use crate::domain::ids::{Fence, RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;

/// How many updates are remembered. The terminals of a plant have far fewer on their way. It is less
/// than ten megabytes.
const UPDATES: usize = 8_192;
/// How many rows are kept. Beyond that the idle ones are dropped.
const ROWS: usize = 8_192;
/// A row that is unused for this long is idle.
const IDLE: Duration = Duration::from_secs(10);
/// A repeat is answered from memory only if the store answered within this time. The server may have
/// been replaced by a failover since.
const TRUST: Duration = Duration::from_secs(1);

/// One memory for all leased lanes. A work order is with one of them at a time, and may be with another
/// one next.
#[derive(Clone, Default)]
pub(super) struct SharedMemory(Arc<Mutex<Memory>>);

pub(super) type MemoryGuard<'a> = MutexGuard<'a, Memory>;

impl SharedMemory {
    pub(super) fn open(&self) -> MemoryGuard<'_> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[derive(Default)]
pub(super) struct Memory {
    rows: HashMap<WorkOrderNumber, Kept>,
    updates: HashMap<RequestId, Arc<Update>>,
    order: VecDeque<RequestId>,
    epoch: u64,
    generation: Generation,
    answered_at: Option<Instant>,
}

/// Changes when everything is dropped. What was recalled before must not be kept afterwards.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Generation(u64);

struct Kept {
    row: WorkOrder,
    /// The fence under which it was written. Under another one it is stale.
    fence: Fence,
    /// Standing claims that a write has found since. They hold as long as the row's stamp.
    claims: HashMap<ClaimKey, Claim>,
    used_at: Instant,
}

impl Memory {
    /// Drops everything if the store has made a new connection since.
    pub(super) fn see_epoch(&mut self, epoch: u64) -> Generation {
        if epoch != self.epoch {
            self.clear();
            self.epoch = epoch;
        }
        self.generation
    }

    /// Whether nothing was dropped since.
    pub(super) fn is_still(&self, generation: Generation) -> bool {
        self.generation == generation
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.updates.clear();
        self.order.clear();
        self.answered_at = None;
        self.generation.0 += 1;
    }

    /// The store has just answered.
    pub(super) fn store_answered(&mut self) {
        self.answered_at = Some(Instant::now());
    }

    /// Whether the store answered lately.
    fn trusted(&self) -> bool {
        self.answered_at.is_some_and(|at| at.elapsed() < TRUST)
    }

    /// The row as this process wrote it under this lease.
    pub(super) fn row(&mut self, number: &WorkOrderNumber, fence: Fence) -> Option<&WorkOrder> {
        let kept = self.rows.get_mut(number).filter(|kept| kept.fence == fence)?;
        kept.used_at = Instant::now();
        Some(&kept.row)
    }

    pub(super) fn keep(&mut self, row: WorkOrder, fence: Fence) {
        let now = Instant::now();
        if self.rows.len() >= ROWS {
            self.rows.retain(|_, kept| now.duration_since(kept.used_at) < IDLE);
        }
        // A row that is kept already is replaced: the older one is stale now.
        if self.rows.len() < ROWS || self.rows.contains_key(&row.work_order) {
            let kept = Kept { row, fence, claims: HashMap::new(), used_at: now };
            self.rows.insert(kept.row.work_order.clone(), kept);
        }
    }

    /// The standing claim of a barcode, if a write has found one since the row was kept.
    pub(super) fn claim(&self, key: &ClaimKey) -> Option<&Claim> {
        self.rows.get(&key.work_order)?.claims.get(key)
    }

    /// Keeps a claim that a write has found, with its row.
    pub(super) fn keep_claim(&mut self, key: ClaimKey, claim: Claim) {
        if let Some(kept) = self.rows.get_mut(&key.work_order) {
            kept.claims.insert(key, claim);
        }
    }

    pub(super) fn forget(&mut self, number: &WorkOrderNumber) {
        self.rows.remove(number);
    }

    /// A decided update, if it is remembered and memory may be trusted.
    pub(super) fn update(&self, id: &RequestId) -> Option<&Arc<Update>> {
        self.updates.get(id).filter(|_| self.trusted())
    }

    pub(super) fn remember(&mut self, update: Arc<Update>) {
        let id = update.request_id.clone();
        if self.updates.insert(id.clone(), update).is_none() {
            self.order.push_back(id);
        }
        if self.order.len() > UPDATES
            && let Some(oldest) = self.order.pop_front()
        {
            self.updates.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: usize, seq: i64) -> WorkOrder {
        let row = serde_json::json!({
            "work_order": format!("W{number}"), "planned_quantity": 10, "over_plan_allowance": null,
            "barcode_policy": "once", "barcode_pattern": null, "held_since": null, "strict": false, "product_code": null, "product_name": null, "line": null,
            "hold": null, "hold_reason": null, "status": "in_progress", "input_quantity": seq, "output_quantity": 0,
            "scrap_quantity": 0, "seq": seq, "fence": 1, "fence_owner": "a", "stamp": seq, "revision": 1,
            "barcode_counted": false, "created_at": "2026-01-03T08:00:00.000Z", "updated_at": "2026-01-03T08:00:00.000Z"
        });
        serde_json::from_value(row).expect("it is one")
    }

    #[test]
    fn a_full_memory_keeps_the_newer_row_of_what_it_has() {
        let mut memory = Memory::default();
        (0..ROWS).for_each(|number| memory.keep(row(number, 1), Fence(1)));
        memory.keep(row(0, 2), Fence(1));
        memory.keep(row(ROWS, 1), Fence(1));
        let mut seq = |number| memory.row(&row(number, 0).work_order, Fence(1)).map(|row| row.seq.0);
        assert_eq!((seq(0), seq(1), seq(ROWS)), (Some(2), Some(1), None));
    }
}
