//! The queue of one work order.

use std::collections::VecDeque;
use std::time::Instant;

use super::waiting::Waiting;
use super::work::Lane;
use crate::domain::ids::Fence;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<Waiting>,
    pub(super) lost_under: Option<Fence>,
    pub(super) busy_since: Option<Instant>,
    pub(super) place: QueueState,
}

/// Where a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum QueueState {
    /// Nowhere: new, or parked.
    #[default]
    Aside,
    /// In a lane's turn.
    Enrolled(Lane),
    /// In a lane's hands, with so many requests.
    Out(Lane, usize),
}
