//! What there is to do for the lanes of one kind.

use std::collections::VecDeque;

use crate::domain::ids::WorkOrderNumber;

/// What there is to do for the lanes of one kind.
#[derive(Default)]
pub(super) struct Ring {
    /// Work orders with something to do, in turn.
    pub(super) turn: VecDeque<WorkOrderNumber>,
    /// How many requests of theirs wait.
    pub(super) ready: usize,
    /// How many requests the lanes have in their hands.
    pub(super) under_way: usize,
}

impl Ring {
    /// Whether to begin a batch now: when none is under way, or when half as much waits as is
    /// under way, to be decided while the other is written. Later, there would be too much left
    /// to decide when its turn comes; what comes after it has begun is added then.
    pub(super) fn is_due(&self) -> bool {
        self.ready > 0 && 2 * self.ready >= self.under_way
    }
}
