//! What a lane takes, and how it puts it back.

use std::time::{Duration, Instant};

use super::waiting::Waiting;
use crate::counting::answer::{Answer, Unsettled};
use crate::domain::ids::{Fence, WorkOrderNumber};

/// The two ways of the committer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::counting) enum Lane {
    /// Under leases, comparing stamps, all work orders in one statement.
    Leased,
    /// By row locks: without a lease, or after a write that came too late.
    RowLocked,
}

/// Requests of one work order, in order, in the hands of a lane.
#[derive(Debug)]
pub(in crate::counting) struct Work {
    pub(in crate::counting) number: WorkOrderNumber,
    pub(in crate::counting) waiting: Vec<Waiting>,
    /// The fence of the lease under which a write did not pass.
    pub(in crate::counting) lost_under: Option<Fence>,
    /// Since when its lease has been busy elsewhere.
    pub(in crate::counting) busy_since: Option<Instant>,
}

impl Work {
    /// Answers all of its requests with a reason to send them again.
    pub(in crate::counting) fn leave_unsettled(self, why: Unsettled) {
        for waiting in self.waiting {
            waiting.answer(Answer::Unsettled(why));
        }
    }
}

/// Where work that is handed back goes.
#[derive(Clone, Copy, Debug)]
pub(in crate::counting) enum Next {
    /// Again, at once, under the lease.
    Leased,
    /// By the row lock, and so is whatever comes for it until then.
    RowLocked {
        /// For how long.
        stay: Duration,
    },
    /// Under the lease, after a pause or when something is freed.
    Parked {
        /// When its lease was asked for: what was freed since may have been that.
        asked: Instant,
        /// The longest pause.
        pause: Duration,
    },
}

/// The work orders of `work`.
pub(in crate::counting) fn numbers(work: &[Work]) -> Vec<WorkOrderNumber> {
    work.iter().map(|work| work.number.clone()).collect()
}

/// How many requests there are in `work`.
pub(in crate::counting) fn requests(work: &[Work]) -> usize {
    work.iter().map(|work| work.waiting.len()).sum()
}
