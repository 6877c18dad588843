//! Counting: from a typed request to an answer that is on disk.
//!
//! Requests wait in the [`mailbox`], per work order; the committer takes all that
//! waits, of all work orders, and settles it in one commit ([`committer`]). While one
//! commit is on its way the next batch gathers: no timer, no added delay.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::domain::ids::Principal;
use crate::domain::request::Request;
use crate::domain::update::Update;

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is decided: counted or refused for good, by this request or an earlier equal one.
    Decided {
        /// The row of the log.
        update: Arc<Update>,
        /// Whether it was decided before this request came.
        replayed: bool,
        /// The update that counted the barcode, where that is why it was refused.
        original: Option<Arc<Update>>,
    },
    /// The request id is decided for another request.
    KeyReused {
        /// The update of that other request.
        update: Arc<Update>,
        /// The fields that differ.
        differs: Vec<&'static str>,
    },
    /// There is no such work order.
    WorkOrderUnknown,
    /// It is not decided, or not known to be: to be sent again under the same id.
    Unsettled(Unsettled),
}

/// Why a request is left undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// The queue is full.
    Overloaded,
    /// The store did not answer in time.
    StorageUnavailable,
    /// Redis is away and the fallback is `refuse`.
    LeaseUnavailable,
    /// The service is about to stop.
    ShuttingDown,
    /// An earlier item of its work order and terminal in the batch is left undecided.
    EarlierItemPending,
    /// The work order's row lags its log.
    WorkOrderQuarantined,
}

impl Unsettled {
    /// The problem's code (contract, section 4).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::StorageUnavailable => "storage-unavailable",
            Self::LeaseUnavailable => "lease-unavailable",
            Self::ShuttingDown => "shutting-down",
            Self::EarlierItemPending => "earlier-item-pending",
            Self::WorkOrderQuarantined => "work-order-quarantined",
        }
    }
}

/// Takes requests to be counted.
pub trait Counter: Send + Sync + 'static {
    /// Hands in the requests of one call, in order. Requests of one work order and
    /// terminal are settled in that order: once one of them is left unsettled, so are the
    /// later ones. Each receiver gets exactly one answer, within a bounded time, whether or
    /// not anybody waits for it; a request handed in goes on when its receiver is dropped.
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>>;
}
