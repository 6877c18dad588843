//! What a terminal, the network and the service exchange: a scan and its answer.

use std::time::Duration;

/// How long a terminal waits for an answer before it sends the scan again.
pub const PATIENCE: Duration = Duration::from_millis(300);

/// One scan, as its terminal sends it in every attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scan {
    /// The request id: the same for every attempt.
    pub request_id: String,
    /// The part.
    pub barcode: String,
    /// The terminal that scans it.
    pub terminal: String,
}

/// What the service answers to a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is counted.
    Counted,
    /// The part was counted before, under another request id.
    CountedBefore,
    /// It must be sent again later.
    NotNow,
}

/// An answer, and whether it is a repeat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// The answer.
    pub answer: Answer,
    /// Whether the service gave this answer before.
    pub repeat: bool,
}

/// What the network delivers scans to: the service.
pub trait Destination: Send + Sync + 'static {
    /// Delivers a scan; `None`: there is no answer.
    fn deliver(&self, scan: &Scan) -> impl Future<Output = Option<Arrival>> + Send;
}
