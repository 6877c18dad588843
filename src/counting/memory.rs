//! What the leased lane remembers: rows as it wrote them, and updates it has seen.
//!
//! Memory spares the load, never the check: the guarded write finds a stale row out,
//! and looks up request ids that no load has seen. All of it is dropped whenever the
//! store may have become another one (an error, a new connection).

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::domain::ids::{Fence, RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;

/// How many updates are remembered: well above the number that the terminals of a plant
/// have in flight, in some ten megabytes.
const UPDATES: usize = 16_384;
/// How many rows are kept; beyond that the idle ones go.
const ROWS: usize = 8_192;
/// A row unused for so long is let go.
const IDLE: Duration = Duration::from_secs(10);
/// A repeat is answered from memory only while the store answered within this time: a
/// server that was deposed meanwhile must not be spoken for.
const TRUST: Duration = Duration::from_secs(1);

pub(super) struct Memory {
    rows: HashMap<WorkOrderNumber, Kept>,
    updates: HashMap<RequestId, Arc<Update>>,
    order: VecDeque<RequestId>,
    epoch: u64,
    answered_at: Option<Instant>,
}

struct Kept {
    row: WorkOrder,
    /// The lease under which it was written; under another one it is stale.
    fence: Fence,
    used_at: Instant,
}

impl Memory {
    pub(super) fn new() -> Self {
        Self { rows: HashMap::new(), updates: HashMap::new(), order: VecDeque::new(), epoch: 0, answered_at: None }
    }

    /// Drops everything if the store has made a new connection since.
    pub(super) fn see_epoch(&mut self, epoch: u64) {
        if epoch != self.epoch {
            self.clear();
            self.epoch = epoch;
        }
    }

    pub(super) fn clear(&mut self) {
        self.rows.clear();
        self.updates.clear();
        self.order.clear();
        self.answered_at = None;
    }

    /// The store has just answered.
    pub(super) fn store_answered(&mut self) {
        self.answered_at = Some(Instant::now());
    }

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
        if self.rows.len() < ROWS {
            self.rows.insert(row.work_order.clone(), Kept { row, fence, used_at: now });
        }
    }

    pub(super) fn forget(&mut self, number: &WorkOrderNumber) {
        self.rows.remove(number);
    }

    /// A decided update, if it is remembered and may be spoken of.
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
