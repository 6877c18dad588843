//! The answers of counting. Types only: `batch.rs` makes the answers, and `http/routes/counted.rs` turns
//! them into HTTP.

use std::sync::Arc;

use strum::{IntoStaticStr, VariantArray};

use crate::domain::update::Update;

/// The answer to a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is decided: counted or refused for good, by this request or by an earlier equal one.
    Decided {
        /// The row of the log.
        update: Arc<Update>,
        /// Whether it was decided before this request came.
        replayed: bool,
        /// The update that counted the barcode, if that is why it was refused.
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
    /// The update that an undo names is not known. It may still be under way.
    UpdateUnknown,
    /// It is not decided, or it is unknown whether it is. The client retries it under the same id.
    Unsettled(Unsettled),
}

/// Why a request is left undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "kebab-case")]
pub enum Unsettled {
    /// The queue is full.
    Overloaded,
    /// The store did not answer in time.
    StorageUnavailable,
    /// Redis does not answer, and the fallback is `refuse`.
    LeaseUnavailable,
    /// The service is about to stop.
    ShuttingDown,
    /// An earlier item of its work order and terminal in the batch is left undecided.
    EarlierItemPending,
    /// The work order's row lags its log.
    WorkOrderQuarantined,
}

impl Unsettled {
    /// Every reason.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The problem's code (contract, section 4).
    #[must_use]
    pub fn code(self) -> &'static str {
        self.into()
    }
}
