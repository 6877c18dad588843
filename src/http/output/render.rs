//! An update as JSON shows it (contract, section 3).

use serde::Serialize;

use crate::domain::ids::{Delta, Fence, Principal, Quantity, RequestId, Seq, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::time::Timestamp;
use crate::domain::update::{Action, Outcome, RENDERING, RefusalCode, Update};
use crate::domain::work_order::Status;

/// An update, field by field in the contract's order.
///
/// A 201 must stay the same, byte by byte, for ever. To change this type, add a second rendering
/// beside it and raise [`RENDERING`]. Rows keep the number that they were first answered with.
#[derive(Serialize)]
pub(in crate::http) struct UpdateView<'a> {
    pub(super) request_id: &'a RequestId,
    pub(super) work_order: &'a WorkOrderNumber,
    pub(super) seq: Option<Seq>,
    pub(super) counter: Counter,
    pub(super) action: Action,
    pub(super) delta: Delta,
    pub(super) before: Quantity,
    pub(super) after: Quantity,
    pub(super) barcode: Option<&'a str>,
    pub(super) step: &'a str,
    pub(super) station: Option<&'a str>,
    pub(super) terminal: Option<&'a str>,
    pub(super) operator: Option<&'a str>,
    pub(super) reason: Option<&'a str>,
    pub(super) note: Option<&'a str>,
    pub(super) fence: Fence,
    pub(super) work_order_status: Status,
    pub(super) remaining: Quantity,
    pub(super) scanned_at: Option<Timestamp>,
    pub(super) recorded_at: Timestamp,
    pub(super) recorded_by: &'a Principal,
    pub(super) outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<RefusalCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) at_seq: Option<Seq>,
}

impl<'a> UpdateView<'a> {
    /// Whether this release can show such a row as it was first answered.
    pub(in crate::http) fn is_known(rendering: i16) -> bool {
        (1..=RENDERING).contains(&rendering)
    }

    /// The update as its first answer showed it. If a newer release has written it: in the newest
    /// form that this release knows.
    pub(in crate::http) fn of(update: &'a Update) -> Self {
        // Rendering 1 is the only one so far.
        Self {
            request_id: &update.request_id,
            work_order: &update.work_order,
            seq: update.seq,
            counter: update.counter,
            action: update.action,
            delta: update.delta,
            before: update.before,
            after: update.after,
            barcode: update.barcode.as_deref(),
            step: &update.step,
            station: update.station.as_deref(),
            terminal: update.terminal.as_deref(),
            operator: update.operator.as_deref(),
            reason: update.reason.as_deref(),
            note: update.note.as_deref(),
            fence: update.fence,
            work_order_status: update.work_order_status,
            remaining: update.remaining,
            scanned_at: update.scanned_at,
            recorded_at: update.recorded_at,
            recorded_by: &update.recorded_by,
            outcome: update.outcome,
            code: update.code,
            at_seq: update.at_seq,
        }
    }
}
