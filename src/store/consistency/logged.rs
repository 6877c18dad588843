//! Rows of the log and of the claims, as far as a check reads them.

use crate::domain::request::Barcodes;
use crate::domain::update::Action;

/// A row of the log, as far as a check reads it. The values are not parsed, because any value can
/// be in a damaged row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedRow {
    /// Its request id.
    pub request_id: String,
    /// Its work order.
    pub work_order: String,
    /// Its place in the log; `None` if refused.
    pub seq: Option<i64>,
    /// If refused: the work order's seq at that moment.
    pub at_seq: Option<i64>,
    /// Which quantity.
    pub counter: String,
    /// What was asked.
    pub action: String,
    /// The pieces that a scan asked to count.
    pub quantity: Option<i64>,
    /// What was done.
    pub delta: i64,
    /// The counter before.
    pub before: i64,
    /// The counter after.
    pub after: i64,
    /// The step in canonical form.
    pub step: String,
    /// The barcode in canonical form.
    pub barcode: Option<String>,
    /// The fence under which it was written.
    pub fence: i64,
    /// What a recount asked for the barcodes that stood counted.
    pub barcodes: Option<String>,
    /// The scan that an undo asked to take back.
    pub undoes: Option<String>,
    /// The update that it took back.
    pub takes_back: Option<String>,
    /// The refused scan that it counted.
    pub settles: Option<String>,
    /// The seq of the scan that it took back. `None` if that is no counted scan of the same work order,
    /// counter, step and barcode.
    pub taken_seq: Option<i64>,
    /// The delta of the scan that it took back. `None` as for `taken_seq`.
    pub taken_delta: Option<i64>,
    /// Whether `settles` names a refused scan of the same work order and counter that a person may count.
    pub settles_refused: bool,
    /// When. Only `ConsistencyStore::refused_after` needs it; PostgreSQL leaves it empty elsewhere.
    pub recorded_at: String,
}

impl LoggedRow {
    /// Whether its request asked to take back a scan.
    #[must_use]
    pub fn asks_to_take_back(&self) -> bool {
        [Action::Unbind.word(), Action::Undo.word()].contains(&self.action.as_str())
    }

    /// Whether it freed all barcodes of its counter.
    #[must_use]
    pub fn is_release(&self) -> bool {
        self.seq.is_some() && self.barcodes.as_deref() == Some(Barcodes::Release.word())
    }
}

/// A row of `barcode_claims`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedRow {
    /// Its work order.
    pub work_order: String,
    /// Its counter.
    pub counter: String,
    /// Its step.
    pub step: String,
    /// The barcode.
    pub barcode: String,
    /// 1 if barcodes count once, else the seq of the update that counted it.
    pub ordinal: i64,
    /// The update that counted it.
    pub request_id: String,
    /// How many pieces.
    pub quantity: i64,
}
