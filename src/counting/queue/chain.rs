//! Chains: the items of a terminal that must be settled in order.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The items of one work order and terminal in one call.
#[derive(Debug)]
pub(in crate::counting) struct Chain {
    /// The first place that was left unsettled. The places after it are left unsettled, too.
    unsettled_from: AtomicUsize,
}

/// The place of a request in its chain.
#[derive(Clone, Debug)]
pub(in crate::counting) struct Link {
    chain: Arc<Chain>,
    place: usize,
}

impl Chain {
    pub(in crate::counting) fn new() -> Arc<Self> {
        Arc::new(Self { unsettled_from: AtomicUsize::new(usize::MAX) })
    }

    pub(in crate::counting) fn link(self: &Arc<Self>, place: usize) -> Link {
        Link { chain: Arc::clone(self), place }
    }
}

impl Link {
    /// This item was left unsettled.
    pub(super) fn note_unsettled(&self) {
        self.chain.unsettled_from.fetch_min(self.place, Ordering::AcqRel);
    }

    /// Whether an earlier item was left unsettled.
    pub(super) fn follows_unsettled(&self) -> bool {
        self.chain.unsettled_from.load(Ordering::Acquire) < self.place
    }
}
