//! The mailbox: where requests wait, per work order, until a lane of the committer takes
//! them.
//!
//! Bounded in all and per work order; fair between work orders; in order within one. A
//! work order is with at most one lane at a time.

mod chain;
mod queues;
mod ready;
mod state;
mod waiting;
mod work;
mod work_order_queue;

pub(in crate::counting) use chain::Chain;
pub(in crate::counting) use queues::Mailbox;
pub(in crate::counting) use waiting::Waiting;
pub(in crate::counting) use work::{Lane, Next, Work, numbers, requests};
