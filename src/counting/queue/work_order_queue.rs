//! The queue of one work order.

use std::collections::VecDeque;
use std::time::Instant;

use super::waiting::WaitingRequest;
use super::work::Lane;
use crate::domain::ids::Fence;

#[derive(Default)]
pub(super) struct Queue {
    pub(super) waiting: VecDeque<WaitingRequest>,
    pub(super) lost_under: Option<Fence>,
    pub(super) busy_since: Option<Instant>,
    pub(super) state: QueueState,
}

/// What may happen to a queue next.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum QueueState {
    /// No lane may take it: it is new, or parked.
    #[default]
    Idle,
    /// It is in the ready list of a lane.
    Ready(Lane),
    /// A lane has taken so many of its requests.
    Taken(Lane, usize),
}
