//! The work orders that are ready for the lanes of one kind.

use std::collections::VecDeque;

use crate::domain::ids::WorkOrderNumber;

/// The work orders that wait for a lane of one kind, and how much there is to do.
#[derive(Default)]
pub(super) struct ReadyList {
    /// The work orders with waiting requests, in the order in which they are taken.
    pub(super) work_orders: VecDeque<WorkOrderNumber>,
    /// How many requests of theirs wait.
    pub(super) waiting: usize,
    /// How many requests the lanes have taken and not yet returned.
    pub(super) taken: usize,
}

impl ReadyList {
    /// Whether to begin a batch now: if no request is taken, or if half as many wait as are taken.
    ///
    /// Such a batch is decided while the other one is written. If it began later, too much would be
    /// left to decide when the write is over. What comes after its begin is added then.
    pub(super) fn is_due(&self) -> bool {
        self.waiting > 0 && 2 * self.waiting >= self.taken
    }
}
