//! What a client asks for, after the checks of the HTTP layer: every field has a type and is within its
//! limits.

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr, VariantArray};

use super::barcode::{Barcode, Step};
use super::ids::{Delta, Quantity, RequestId, WorkOrderNumber};
use super::time::Timestamp;

/// Longest station, terminal and operator, in characters.
pub const NAME_MAX: usize = 64;
/// Longest note and reason, in characters.
pub const NOTE_MAX: usize = 500;
/// Most pieces that one scan counts.
pub const SCAN_QUANTITY_MAX: i64 = 1_000_000;

/// Which quantity of a work order changes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
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
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The counter's word in URL, JSON, column and label.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The counter with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// One request that changes a quantity, by any route.
///
/// Two requests with one id are *the same* if all of this is equal in canonical form. The URL does not
/// matter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The client's Idempotency-Key.
    pub request_id: RequestId,
    /// The work order whose quantity changes.
    pub work_order: WorkOrderNumber,
    /// Which of its quantities.
    pub counter: Counter,
    /// What to do with it.
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
    /// Count pieces, and claim the barcode if there is one.
    Scan {
        /// How many pieces, 1..=[`SCAN_QUANTITY_MAX`].
        quantity: Quantity,
        /// The part's code, if it has one.
        barcode: Option<Barcode>,
        /// A supervisor's order to count although hold, plan or pattern refuse it.
        overriding: Option<Override>,
    },
    /// Take back what the barcode counted last.
    Unbind {
        /// The part's code.
        barcode: Barcode,
    },
    /// Take back exactly one counted scan of the same work order and counter.
    Undo {
        /// The scan's request id.
        undoes: RequestId,
    },
    /// A person's signed change.
    Correct {
        /// The change.
        change: Change,
        /// Refuse unless the counter has this value.
        expected: Option<Quantity>,
        /// Why.
        reason: String,
    },
}

/// An order to count although hold, plan or pattern refuse it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Override {
    /// The refused scan that this one counts.
    pub settles: Option<RequestId>,
}

/// The two forms of a correction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// By this much, not 0.
    Delta(Delta),
    /// To exactly this, and what becomes of the counter's barcodes.
    SetTo(Quantity, Barcodes),
}

/// What a recount does with the barcodes that stand counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Barcodes {
    /// They stay counted.
    #[default]
    Keep,
    /// All of the counter are free again.
    Release,
}

impl Barcodes {
    /// The word in JSON and column.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The variant with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

impl Request {
    /// The barcode that the request names.
    #[must_use]
    pub fn barcode(&self) -> Option<&Barcode> {
        match &self.ask {
            Ask::Scan { barcode, .. } => barcode.as_ref(),
            Ask::Unbind { barcode } => Some(barcode),
            Ask::Undo { .. } | Ask::Correct { .. } => None,
        }
    }

    /// The earlier request that it takes back or settles.
    #[must_use]
    pub fn names(&self) -> Option<&RequestId> {
        match &self.ask {
            Ask::Undo { undoes } => Some(undoes),
            Ask::Scan { overriding, .. } => overriding.as_ref()?.settles.as_ref(),
            Ask::Unbind { .. } | Ask::Correct { .. } => None,
        }
    }

    /// Whether it frees all barcodes of its counter. Such a request is decided alone.
    #[must_use]
    pub fn releases(&self) -> bool {
        matches!(self.ask, Ask::Correct { change: Change::SetTo(_, Barcodes::Release), .. })
    }
}
