//! The queues: here requests wait, per work order, until a lane of the committer takes them.
//!
//! - They are bounded, in all and per work order.
//! - Each work order gets an equal share of a batch.
//! - The requests of one work order are taken in order.
//! - A work order is with at most one lane at a time.

mod chain;
mod queues;
mod ready;
mod row_lock_stays;
mod state;
#[cfg(test)]
mod tests;
mod waiting;
mod work;
mod work_order_queue;

pub(super) use chain::Chain;
pub(super) use queues::Queues;
pub(super) use waiting::WaitingRequest;
pub(super) use work::{Lane, Next, Work, numbers, requests};
