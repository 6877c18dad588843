//! Scans, unbinds and undos, one at a time.

use std::sync::Arc;

use axum::extract::State;
use axum::response::Response;

use super::counted::count_one;
use crate::domain::ids::{Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::{Ask, NAME_MAX, NOTE_MAX, Override, Request, SCAN_QUANTITY_MAX};
use crate::domain::update::Action;
use crate::http::input::extractors::{IdempotencyKey, JsonBody, PathParameter, Sender};
use crate::http::input::fields::Fields;
use crate::http::input::values;
use crate::http::output::problem::Problem;
use crate::http::state::Http;

/// `POST /v1/work-orders/{work_order}/scans`
pub(super) async fn scan(
    State(http): State<Arc<Http>>,
    sender: Sender,
    body: JsonBody,
    IdempotencyKey(request_id): IdempotencyKey,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let read = || {
        let mut fields = body.fields()?;
        let work_order = fields.path("work_order", path, values::work_order_number);
        scan_of(fields, request_id.clone(), work_order)
    };
    count_one(&http, sender, read().map_err(|problem| problem.about(request_id.clone()))?).await
}

/// The request that a scan's fields make, sent singly or in a batch.
pub(super) fn scan_of(
    mut fields: Fields<'_>,
    request_id: RequestId,
    work_order: Option<WorkOrderNumber>,
) -> Result<Request, Problem> {
    let counter = fields.required("counter", values::counter);
    let ask = ask_of(&mut fields);
    let step = fields.read("step", values::step).unwrap_or_default();
    if let Some(Ask::Undo { undoes }) = &ask {
        if !step.canonical.is_empty() {
            fields.wrong("step", "does not go with undo: it is that of the scan that it takes back");
        }
        if *undoes == request_id {
            fields.wrong("undoes", "is the id of this request itself");
        }
    }
    let station = fields.text("station", NAME_MAX);
    let terminal = fields.text("terminal", NAME_MAX);
    let operator = fields.text("operator", NAME_MAX);
    let scanned_at = fields.read("scanned_at", values::time);
    let note = fields.text("note", NOTE_MAX);
    if let (Some(Ask::Scan { overriding: Some(_), .. }), None) = (&ask, &note) {
        fields.wrong("note", "is required with override: say why it is counted");
    }
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

/// What the fields ask of the counter, and which fields do not go with that.
fn ask_of(fields: &mut Fields<'_>) -> Option<Ask> {
    let action = fields.read("action", values::word(scan_action, "scan, unbind or undo")).unwrap_or(Action::Scan);
    if action != Action::Undo {
        fields.refuse("undoes", "goes only with the action undo");
    }
    if action != Action::Scan {
        fields.refuse("quantity", "does not go with unbind and undo, which take back what was counted");
    }
    let overriding = overriding_of(fields, action);
    match action {
        Action::Undo => {
            fields.refuse("barcode", "does not go with undo: it is that of the scan that it takes back");
            fields.required("undoes", values::request_id).map(|undoes| Ask::Undo { undoes })
        }
        Action::Unbind => fields.required("barcode", values::barcode).map(|barcode| Ask::Unbind { barcode }),
        Action::Scan | Action::Correction => {
            let quantity = fields.read("quantity", values::integer(1..=SCAN_QUANTITY_MAX)).unwrap_or(1);
            let barcode = fields.read("barcode", values::barcode);
            Quantity::new(quantity).map(|quantity| Ask::Scan { quantity, barcode, overriding })
        }
    }
}

fn overriding_of(fields: &mut Fields<'_>, action: Action) -> Option<Override> {
    let overrides = fields.read("override", values::boolean).unwrap_or(false);
    if !overrides {
        fields.refuse("settles", "goes only with override");
        return None;
    }
    if action != Action::Scan {
        fields.wrong("override", "goes only with the action scan");
    }
    Some(Override { settles: fields.read("settles", values::request_id) })
}

fn scan_action(word: &str) -> Option<Action> {
    [Action::Scan, Action::Unbind, Action::Undo].into_iter().find(|action| action.word() == word)
}
