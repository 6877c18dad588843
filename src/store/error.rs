//! Why the store did not do what it was asked.

/// Why the store did not do it.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Nothing was written, and the same may work at once: deadlock, lock timeout, serialization
    /// failure, busy file.
    #[error("the store asks to try again")]
    TryAgain(#[source] Cause),
    /// The connection broke or timed out: it may have been written.
    #[error("the connection to the store broke")]
    Broken(#[source] Cause),
    /// A request id or a claim that seemed free exists already: load again.
    #[error("a request id or barcode claim is taken")]
    Taken(#[source] Cause),
    /// The log already has this (`work_order`, `seq`): the work order's row is older than its log.
    #[error("a work order's row is older than its log")]
    BehindLog(#[source] Cause),
    /// The store will never take this.
    #[error("the store refuses this for good")]
    Refused(#[source] Cause),
}

/// The driver's own error, for the log.
pub type Cause = Box<dyn std::error::Error + Send + Sync>;

impl StoreError {
    /// Whether the operation may have been done in spite of the error.
    #[must_use]
    pub fn outcome_unknown(&self) -> bool {
        match self {
            Self::Broken(_) => true,
            Self::TryAgain(_) | Self::Taken(_) | Self::BehindLog(_) | Self::Refused(_) => false,
        }
    }
}
