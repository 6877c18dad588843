//! What a client asks for, past the edge: every field typed and within its limits.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::ids::{Barcode, Delta, Quantity, RequestId, Step, WorkOrderNumber};
use super::time::Timestamp;

/// Longest station, terminal and operator, in characters.
pub const NAME_MAX: usize = 64;
/// Longest note and reason, in characters.
pub const NOTE_MAX: usize = 500;
/// Most pieces that one scan counts.
pub const SCAN_QUANTITY_MAX: i64 = 1_000_000;

/// Which quantity of a work order changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Counter {
    /// Pieces put into the work order.
    Input,
    /// Good pieces made.
    Output,
    /// Pieces lost.
    Scrap,
}

impl Counter {
    /// Every counter, in the order of the columns.
    pub const ALL: [Self; 3] = [Self::Input, Self::Output, Self::Scrap];

    /// The counter's word in URL, JSON, column and label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Output => "output",
            Self::Scrap => "scrap",
        }
    }

    /// The counter with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|counter| counter.word() == word)
    }
}

impl fmt::Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// One request that changes a quantity, whichever route brought it.
///
/// Two requests under one id are *the same* when all of this is equal in canonical
/// form; the URL is no part of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's Idempotency-Key.
    pub request_id: RequestId,
    /// The work order whose quantity changes.
    pub work_order: WorkOrderNumber,
    /// Which of its quantities.
    pub counter: Counter,
    /// What is to happen to it.
    pub ask: Ask,
    /// The production step; default `""`.
    pub step: Step,
    /// Where the scan was made.
    pub station: Option<String>,
    /// The device that sent it.
    pub terminal: Option<String>,
    /// Who made it.
    pub operator: Option<String>,
    /// Free text.
    pub note: Option<String>,
    /// The terminal's clock.
    pub scanned_at: Option<Timestamp>,
}

/// What a request asks of the counter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Count pieces, and claim the barcode where there is one.
    Scan {
        /// How many pieces, 1..=[`SCAN_QUANTITY_MAX`].
        quantity: Quantity,
        /// The part, where it has a code.
        barcode: Option<Barcode>,
    },
    /// Take back what the barcode counted last.
    Unbind {
        /// The part.
        barcode: Barcode,
    },
    /// A person's signed change.
    Correct {
        /// The change.
        change: Change,
        /// Refuse unless the counter stands at this.
        expected: Option<Quantity>,
        /// Why.
        reason: String,
    },
}

/// How a correction says what it wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// By this much, not 0.
    Delta(Delta),
    /// To exactly this.
    SetTo(Quantity),
}

impl Request {
    /// The barcode that the request names.
    #[must_use]
    pub fn barcode(&self) -> Option<&Barcode> {
        match &self.ask {
            Ask::Scan { barcode, .. } => barcode.as_ref(),
            Ask::Unbind { barcode } => Some(barcode),
            Ask::Correct { .. } => None,
        }
    }
}
