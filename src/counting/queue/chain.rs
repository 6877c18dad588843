//! The chains of items that must be settled in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A request's place among those that must be settled in order.
#[derive(Clone, Debug)]
pub(in crate::counting) struct Link {
    chain: Arc<Chain>,
    place: usize,
}

/// The items of one work order and terminal in one call.
#[derive(Debug)]
pub(in crate::counting) struct Chain {
    /// The first place that was left unsettled.
    broken_at: AtomicUsize,
}

impl Chain {
    pub(in crate::counting) fn new() -> Arc<Self> {
        Arc::new(Self { broken_at: AtomicUsize::new(usize::MAX) })
    }

    pub(in crate::counting) fn link(self: &Arc<Self>, place: usize) -> Link {
        Link { chain: Arc::clone(self), place }
    }
}

impl Link {
    /// This item was left unsettled.
    pub(super) fn break_here(&self) {
        self.chain.broken_at.fetch_min(self.place, Ordering::AcqRel);
    }

    /// Whether an earlier item was left unsettled.
    pub(super) fn after_a_break(&self) -> bool {
        self.chain.broken_at.load(Ordering::Acquire) < self.place
    }
}
