//! Corrections: a signed change by a person, with a reason.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::counted::count_one;
use crate::domain::barcode::Step;
use crate::domain::ids::{Delta, QUANTITY_LIMIT, Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::{Ask, Barcodes, Change, NAME_MAX, NOTE_MAX, Request};
use crate::http::input::extractors::{IdempotencyKey, JsonBody, PathParameter, Sender};
use crate::http::input::fields::Fields;
use crate::http::input::values;
use crate::http::output::problem::Problem;
use crate::http::state::Http;

/// `POST /v1/work-orders/{work_order}/corrections`
pub(super) async fn correct(
    State(http): State<Arc<Http>>,
    sender: Sender,
    body: JsonBody,
    IdempotencyKey(request_id): IdempotencyKey,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let read = || {
        let mut fields = body.fields()?;
        let work_order = fields.path("work_order", path, values::work_order_number);
        correction_of(fields, request_id.clone(), work_order)
    };
    count_one(&http, sender, read().map_err(|problem| problem.about(request_id.clone()))?).await
}

/// The request that a correction's fields make.
fn correction_of(
    mut fields: Fields<'_>,
    request_id: RequestId,
    work_order: Option<WorkOrderNumber>,
) -> Result<Request, Problem> {
    let counter = fields.required("counter", values::counter);
    let change = change_of(&mut fields);
    let expected = fields.read("expected", values::integer(0..=QUANTITY_LIMIT)).and_then(Quantity::new);
    let reason = fields.required("reason", values::filled(NOTE_MAX));
    let operator = fields.required("operator", values::filled(NAME_MAX));
    let note = fields.text("note", NOTE_MAX);
    let ask = change.zip(reason).map(|(change, reason)| Ask::Correct { change, expected, reason });
    let made = work_order.zip(counter).zip(ask.zip(operator)).map(|((work_order, counter), (ask, operator))| Request {
        request_id,
        work_order,
        counter,
        ask,
        step: Step::default(),
        station: None,
        terminal: None,
        operator: Some(operator),
        note,
        scanned_at: None,
    });
    fields.finish(made)
}

fn change_of(fields: &mut Fields<'_>) -> Option<Change> {
    match (fields.has("delta"), fields.has("set_to")) {
        (true, true) => fields.wrong("set_to", "does not go with delta: send one of the two"),
        (false, false) => fields.wrong("delta", "is required, or else set_to"),
        (true, false) | (false, true) => {}
    }
    let delta = fields.read("delta", |sent| match values::integer(-QUANTITY_LIMIT..=QUANTITY_LIMIT)(sent)? {
        0 => Err("must not be 0".into()),
        delta => Ok(delta),
    });
    let is_recount = fields.has("set_to");
    let barcodes = fields.read("barcodes", values::word(Barcodes::of_word, "keep or release")).unwrap_or_default();
    if !is_recount && barcodes != Barcodes::default() {
        fields.wrong("barcodes", "release goes only with set_to");
    }
    let set_to = fields.read("set_to", values::integer(0..=QUANTITY_LIMIT));
    match (delta, set_to) {
        (Some(delta), _) => Delta::new(delta).map(Change::Delta),
        (None, Some(set_to)) => Quantity::new(set_to).map(|set_to| Change::SetTo(set_to, barcodes)),
        (None, None) => None,
    }
}
