//! Who waits for whom: other replicas for this process, and this process for them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::domain::ids::WorkOrderNumber;

/// For this long after another replica's last request, a lease is handed over after every batch.
const ASK_STANDS: Duration = Duration::from_secs(1);

/// For this long after a `Busy` answer, this process counts as waiting.
const WAITING: Duration = Duration::from_secs(1);

/// For this long a `Busy` answer is repeated without a call, unless a hint says otherwise. A busy
/// committer makes a batch every few milliseconds, and need not ask with each.
pub const BUSY_STANDS: Duration = Duration::from_millis(10);

/// The times of what was asked for and answered. Each entry is dropped after a second or so.
#[derive(Debug, Default)]
pub struct Contention {
    /// When another replica last asked for it.
    asked: HashMap<WorkOrderNumber, Instant>,
    /// When Redis last answered that another replica holds it.
    busy: HashMap<WorkOrderNumber, Instant>,
    /// When a hint last said that it may be free.
    released: HashMap<WorkOrderNumber, Instant>,
}

impl Contention {
    /// Another replica asks for it.
    pub fn note_asked(&mut self, work_order: WorkOrderNumber, now: Instant) {
        self.asked.insert(work_order, now);
    }

    /// Whether another replica has asked for it lately.
    pub fn is_asked(&self, work_order: &WorkOrderNumber, now: Instant) -> bool {
        self.asked.get(work_order).is_some_and(|at| now < *at + ASK_STANDS)
    }

    /// Another replica holds it, says an answer that was asked for at `sent` and came at `now`. The
    /// answer is ignored if a hint that came later than `sent` says that it is free.
    pub fn note_busy(&mut self, work_order: &WorkOrderNumber, sent: Instant, now: Instant) {
        if self.released.get(work_order).is_none_or(|hinted| *hinted < sent) {
            self.busy.insert(work_order.clone(), now);
        }
    }

    /// Whether the last `Busy` answer is to be repeated without a call.
    pub fn is_busy(&self, work_order: &WorkOrderNumber, now: Instant) -> bool {
        self.busy.get(work_order).is_some_and(|since| now < *since + BUSY_STANDS)
    }

    /// A work order that was busy may be free.
    pub fn note_released(&mut self, work_order: WorkOrderNumber, now: Instant) {
        self.busy.remove(&work_order);
        self.released.insert(work_order, now);
    }

    /// It was granted to this process.
    pub fn granted(&mut self, work_order: &WorkOrderNumber) {
        self.busy.remove(work_order);
    }

    /// Drops what is over.
    pub fn expire(&mut self, now: Instant) {
        self.asked.retain(|_, at| now < *at + ASK_STANDS);
        self.busy.retain(|_, at| now < *at + WAITING);
        self.released.retain(|_, at| now < *at + ASK_STANDS);
    }

    /// Whether this process waits for another replica.
    pub fn is_waiting(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Whether nobody is known to wait for anybody.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.asked.is_empty() && self.busy.is_empty()
    }
}
