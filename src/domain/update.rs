//! One row of the update log: what a request did, or why it was refused.
//!
//! Also the test whether a request is the same as an earlier one ([`Update::differs`]), and the reasons
//! to refuse a request ([`RefusalCode`]).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::column::{column_type, row};
use super::ids::{Delta, Fence, Principal, Quantity, RequestId, Seq, WorkOrderNumber};
use super::request::{Ask, Barcodes, Change, Counter, Request};
use super::time::Timestamp;
use super::work_order::Status;

/// The number of the rendering of a new update's 201. It is kept in the row, so that every repeat
/// gets the same bytes (contract, promise 2).
pub const RENDERING: i16 = 1;

row! {
    /// One row of `update_log`, field by column. A row is never changed.
    ///
    /// This is the one table of the log's columns: SQL, bound values and readers of rows are made
    /// from it, on both stores. A new column is a field here and a migration.
    #[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
    pub struct Update {
        /// The client's Idempotency-Key; unique over the whole log.
        pub request_id: RequestId,
        /// The work order whose quantity changes.
        pub work_order: WorkOrderNumber,
        /// The number among the counted updates of the work order; `None` if refused.
        pub seq: Option<Seq>,
        /// If refused: the work order's `seq` at that moment.
        pub at_seq: Option<Seq>,
        /// Which quantity.
        pub counter: Counter,
        /// What was asked.
        pub action: Action,
        /// Pieces that a scan asked to count.
        pub quantity: Option<Quantity>,
        /// Change that a correction asked for.
        pub asked_delta: Option<Delta>,
        /// Value that a correction asked for.
        pub set_to: Option<Quantity>,
        /// Value that a correction expected to find.
        pub expected: Option<Quantity>,
        /// What a recount asked for the barcodes that stood counted; `None` if it asked nothing.
        pub barcodes: Option<Barcodes>,
        /// The scan that an undo asked to take back.
        pub undoes: Option<RequestId>,
        /// Whether a scan asked to count although hold, plan or pattern refuse it.
        pub r#override: bool,
        /// The refused scan that an override asked to count.
        pub settles: Option<RequestId>,
        /// What was done: `after` − `before`; 0 if refused.
        pub delta: Delta,
        /// The counter before.
        pub before: Quantity,
        /// The counter after.
        pub after: Quantity,
        /// The update that was taken back, by an undo or an unbind; `None` if refused.
        pub takes_back: Option<RequestId>,
        /// Whether a hold was passed over, because the scan was made before it was set.
        pub late: bool,
        /// The part, as sent. An undo has that of the scan which it takes back.
        pub barcode: Option<String>,
        /// The part, in the canonical form that is compared.
        pub barcode_canonical: Option<String>,
        /// The step, as sent; absent is `""`. An undo has that of the scan which it takes back.
        pub step: String,
        /// The step, in the canonical form that is compared.
        pub step_canonical: String,
        /// The station where it was scanned.
        pub station: Option<String>,
        /// The device that sent it.
        pub terminal: Option<String>,
        /// The person who scanned or corrected.
        pub operator: Option<String>,
        /// The reason of a correction.
        pub reason: Option<String>,
        /// Free text.
        pub note: Option<String>,
        /// The work order's line when this was decided.
        pub line: Option<String>,
        /// The work order's product when this was decided.
        pub product_code: Option<String>,
        /// The fence under which it was written.
        pub fence: Fence,
        /// The work order's status after it.
        pub work_order_status: Status,
        /// Planned quantity minus the counter after it, never below 0.
        pub remaining: Quantity,
        /// When it was scanned, by the terminal's clock.
        pub scanned_at: Option<Timestamp>,
        /// When it was decided, by the server's clock.
        pub recorded_at: Timestamp,
        /// The caller's principal.
        pub recorded_by: Principal,
        /// Counted or refused.
        pub outcome: Outcome,
        /// Why it was refused.
        pub code: Option<RefusalCode>,
        /// If refused because the barcode is counted: the update that counted it.
        pub original_request_id: Option<RequestId>,
        /// See [`RENDERING`].
        pub rendering: i16,
    }
}

column_type! {
    Counter: Text = |counter| counter.word();
    Action: Text = |action| action.word();
    Status: Text = |status| status.word();
    Outcome: Text = |outcome| outcome.word();
    RefusalCode: Text = |code| code.word();
    Barcodes: Text = |barcodes| barcodes.word();
}

/// What an update's request asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Raise a counter.
    Scan,
    /// Take a counted barcode back.
    Unbind,
    /// Take a counted scan back.
    Undo,
    /// A person's change.
    Correction,
}

impl Action {
    /// The action's word in JSON and column.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Scan => "scan",
            Self::Unbind => "unbind",
            Self::Undo => "undo",
            Self::Correction => "correction",
        }
    }
}

/// Whether a request was counted or refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// It changed the quantity (by 0 if a correction asked for that).
    Counted,
    /// It changed nothing, and never will.
    Refused,
}

impl Outcome {
    /// The outcome's word in JSON and column.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Counted => "counted",
            Self::Refused => "refused",
        }
    }
}

/// Why a request was refused for good (contract, section 4: the final ones).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RefusalCode {
    /// The barcode stands counted already.
    BarcodeAlreadyCounted,
    /// Unbind of a barcode that does not stand counted.
    BarcodeNotCounted,
    /// The barcode does not match the work order's pattern.
    BarcodeMismatch,
    /// An override settles a scan that is settled already, or none that was refused.
    AlreadySettled,
    /// An undo names an update that can't be taken back.
    NothingToUndo,
    /// Input or output would pass plan + allowance, or any counter the limit of all quantities.
    OverPlan,
    /// The quantity would be negative.
    BelowZero,
    /// The status does not take this change.
    WorkOrderNotOpen,
    /// A correction's `expected` differs.
    NotAsExpected,
}

impl RefusalCode {
    /// Every final refusal.
    pub const ALL: [Self; 9] = [
        Self::BarcodeAlreadyCounted,
        Self::BarcodeNotCounted,
        Self::BarcodeMismatch,
        Self::AlreadySettled,
        Self::NothingToUndo,
        Self::OverPlan,
        Self::BelowZero,
        Self::WorkOrderNotOpen,
        Self::NotAsExpected,
    ];

    /// Whether a person may count a scan that was refused for this: another hold, plan or pattern would
    /// have let it pass.
    #[must_use]
    pub fn can_be_settled(self) -> bool {
        match self {
            Self::OverPlan | Self::WorkOrderNotOpen | Self::BarcodeMismatch => true,
            Self::BarcodeAlreadyCounted
            | Self::BarcodeNotCounted
            | Self::AlreadySettled
            | Self::NothingToUndo
            | Self::BelowZero
            | Self::NotAsExpected => false,
        }
    }

    /// The code's word in JSON, column and label.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::BarcodeAlreadyCounted => "barcode-already-counted",
            Self::BarcodeNotCounted => "barcode-not-counted",
            Self::BarcodeMismatch => "barcode-mismatch",
            Self::AlreadySettled => "already-settled",
            Self::NothingToUndo => "nothing-to-undo",
            Self::OverPlan => "over-plan",
            Self::BelowZero => "below-zero",
            Self::WorkOrderNotOpen => "work-order-not-open",
            Self::NotAsExpected => "not-as-expected",
        }
    }
}

impl fmt::Display for RefusalCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl Update {
    /// The names of the fields in which a request differs from the one that made this update. Empty if it
    /// is the same request. All fields that can change the outcome or the row are compared, in canonical
    /// form (contract, section 4).
    #[must_use]
    pub fn differs(&self, request: &Request) -> Vec<&'static str> {
        let asked = Asked::of(&request.ask);
        let barcode = request.barcode().map(|barcode| barcode.canonical.as_str());
        // An undo's barcode and step are not asked: they are those of the scan that it names.
        let asked_part = self.action != Action::Undo;
        [
            ("action", self.action != asked.action),
            ("work_order", self.work_order != request.work_order),
            ("counter", self.counter != request.counter),
            ("quantity", self.quantity != asked.quantity),
            ("barcode", asked_part && self.barcode_canonical.as_deref() != barcode),
            ("step", asked_part && self.step_canonical != request.step.canonical),
            ("station", self.station != request.station),
            ("terminal", self.terminal != request.terminal),
            ("operator", self.operator != request.operator),
            ("scanned_at", self.scanned_at != request.scanned_at),
            ("note", self.note != request.note),
            ("undoes", self.undoes.as_ref() != asked.undoes),
            ("override", self.r#override != asked.overrides),
            ("settles", self.settles.as_ref() != asked.settles),
            ("delta", self.asked_delta != asked.delta),
            ("set_to", self.set_to != asked.set_to),
            ("expected", self.expected != asked.expected),
            ("barcodes", self.barcodes.unwrap_or_default() != asked.barcodes.unwrap_or_default()),
            ("reason", self.reason.as_deref() != asked.reason),
        ]
        .into_iter()
        .filter_map(|(field, differs)| differs.then_some(field))
        .collect()
    }
}

/// [`Ask`] as columns.
pub(super) struct Asked<'a> {
    pub action: Action,
    pub quantity: Option<Quantity>,
    pub delta: Option<Delta>,
    pub set_to: Option<Quantity>,
    pub expected: Option<Quantity>,
    pub barcodes: Option<Barcodes>,
    pub undoes: Option<&'a RequestId>,
    pub overrides: bool,
    pub settles: Option<&'a RequestId>,
    pub reason: Option<&'a str>,
}

impl<'a> Asked<'a> {
    pub(super) fn of(ask: &'a Ask) -> Self {
        match ask {
            Ask::Scan { quantity, barcode: _, overriding } => Self {
                quantity: Some(*quantity),
                overrides: overriding.is_some(),
                settles: overriding.as_ref().and_then(|overriding| overriding.settles.as_ref()),
                ..Self::nothing(Action::Scan)
            },
            Ask::Unbind { barcode: _ } => Self::nothing(Action::Unbind),
            Ask::Undo { undoes } => Self { undoes: Some(undoes), ..Self::nothing(Action::Undo) },
            Ask::Correct { change, expected, reason } => {
                let (delta, set_to, barcodes) = match *change {
                    Change::Delta(delta) => (Some(delta), None, None),
                    Change::SetTo(quantity, barcodes) => (None, Some(quantity), Some(barcodes)),
                };
                let (expected, reason) = (*expected, Some(reason.as_str()));
                Self { delta, set_to, expected, barcodes, reason, ..Self::nothing(Action::Correction) }
            }
        }
    }

    fn nothing(action: Action) -> Self {
        Self {
            action,
            quantity: None,
            delta: None,
            set_to: None,
            expected: None,
            barcodes: None,
            undoes: None,
            overrides: false,
            settles: None,
            reason: None,
        }
    }
}
