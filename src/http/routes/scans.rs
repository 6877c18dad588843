//! Scans and unbinds, one at a time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::counted::count_one;
use crate::domain::ids::{Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::{Ask, NAME_MAX, NOTE_MAX, Request, SCAN_QUANTITY_MAX};
use crate::domain::update::Action;
use crate::http::input::extractors::{Caller, IdempotencyKey, JsonBody, PathParameter};
use crate::http::input::fields::Fields;
use crate::http::input::values;
use crate::http::output::problem::Problem;
use crate::http::state::Http;

/// `POST /v1/work-orders/{work_order}/scans`
pub(super) async fn scan(
    State(http): State<Arc<Http>>,
    caller: Caller,
    body: JsonBody,
    IdempotencyKey(request_id): IdempotencyKey,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let read = || {
        let mut fields = body.fields()?;
        let work_order = fields.path("work_order", path, values::work_order_number);
        scan_of(fields, request_id.clone(), work_order)
    };
    count_one(&http, caller, read().map_err(|problem| problem.about(request_id.clone()))?).await
}

/// The request that a scan's fields make, sent singly or in a batch.
pub(super) fn scan_of(
    mut fields: Fields<'_>,
    request_id: RequestId,
    work_order: Option<WorkOrderNumber>,
) -> Result<Request, Problem> {
    let counter = fields.required("counter", values::counter);
    let action = fields.read("action", values::word(scan_action, "scan or unbind"));
    let ask = match action.unwrap_or(Action::Scan) {
        Action::Unbind => {
            if fields.has("quantity") {
                fields.wrong("quantity", "does not go with unbind, which takes back what the barcode counted");
            }
            _ = fields.read("quantity", values::integer(1..=SCAN_QUANTITY_MAX));
            fields.required("barcode", values::barcode).map(|barcode| Ask::Unbind { barcode })
        }
        Action::Scan | Action::Correction => {
            let quantity = fields.read("quantity", values::integer(1..=SCAN_QUANTITY_MAX)).unwrap_or(1);
            let barcode = fields.read("barcode", values::barcode);
            Quantity::new(quantity).map(|quantity| Ask::Scan { quantity, barcode })
        }
    };
    let step = fields.read("step", values::step).unwrap_or_default();
    let station = fields.read("station", values::free(NAME_MAX));
    let terminal = fields.read("terminal", values::free(NAME_MAX));
    let operator = fields.read("operator", values::free(NAME_MAX));
    let scanned_at = fields.read("scanned_at", values::time);
    let note = fields.read("note", values::free(NOTE_MAX));
    let made = work_order.zip(counter).zip(ask).map(|((work_order, counter), ask)| Request {
        request_id,
        work_order,
        counter,
        ask,
        step,
        station,
        terminal,
        operator,
        note,
        scanned_at,
    });
    fields.finish(made)
}

fn scan_action(word: &str) -> Option<Action> {
    [Action::Scan, Action::Unbind].into_iter().find(|action| action.word() == word)
}
