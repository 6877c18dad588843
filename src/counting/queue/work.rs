//! What a lane takes, and how it returns it.

use std::time::{Duration, Instant};

use super::waiting::WaitingRequest;
use crate::counting::answer::{Answer, Unsettled};
use crate::domain::ids::{Fence, WorkOrderNumber};

/// The two kinds of lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::counting) enum Lane {
    /// Under leases, comparing stamps, all work orders in one statement.
    Leased,
    /// By row locks: without a lease, or after another writer was faster.
    RowLocked,
}

/// Requests of one work order, in order, that a lane has taken.
#[derive(Debug)]
pub(in crate::counting) struct Work {
    pub(in crate::counting) number: WorkOrderNumber,
    pub(in crate::counting) waiting: Vec<WaitingRequest>,
    /// The fence of the lease under which a write did not pass.
    pub(in crate::counting) lost_under: Option<Fence>,
    /// Since when its lease has been busy elsewhere.
    pub(in crate::counting) busy_since: Option<Instant>,
}

impl Work {
    /// Whether one of its requests names an earlier update: an undo, or an override that settles a scan.
    pub(in crate::counting) fn names_updates(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.request.names().is_some())
    }

    /// Whether one of its requests frees all barcodes of a counter.
    pub(in crate::counting) fn releases(&self) -> bool {
        self.waiting.iter().any(|waiting| waiting.request.releases())
    }

    /// Answers all of its requests with a reason to retry them.
    pub(in crate::counting) fn leave_unsettled(self, why: Unsettled) {
        for waiting in self.waiting {
            waiting.answer(Answer::Unsettled(why));
        }
    }
}

/// Where returned work goes next.
#[derive(Clone, Copy, Debug)]
pub(in crate::counting) enum Next {
    /// To the leased lane again, at once.
    Leased,
    /// To the row-locked lane, and so is what comes for it in the next time.
    RowLocked {
        /// For how long.
        stay: Duration,
    },
    /// To the leased lane, after a pause or when a lease is released.
    Parked {
        /// When its lease was asked for. A lease that was released since may be this one.
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
