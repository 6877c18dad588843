//! Work orders: planning's changes, holds, and lists.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::ETAG;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::etag;
use crate::clock;
use crate::domain::ids::{Fence, QUANTITY_LIMIT, Quantity, Revision, Seq, Stamp, WorkOrderNumber};
use crate::domain::request::{NAME_MAX, NOTE_MAX};
use crate::domain::time::Timestamp;
use crate::domain::work_order::{
    BarcodePolicy, Edit, EditRefusal, Fresh, Hold, PLAN_TEXT_MAX, Plan, Status, WorkOrder,
};
use crate::http::input::extractors::{JsonBody, PathParameter};
use crate::http::input::fields::Fields;
use crate::http::input::{paging, values};
use crate::http::output::code::Code;
use crate::http::output::pages::{Cursor, Page};
use crate::http::output::problem::Problem;
use crate::http::output::response::json;
use crate::http::state::Http;
use crate::store::{Edited, StoreError, WorkOrderQuery};

/// Longest text to search for, in characters.
const SEARCH_MAX: usize = 64;

/// `PUT /v1/work-orders/{work_order}`
pub(super) async fn put(
    State(http): State<Arc<Http>>,
    headers: HeaderMap,
    body: JsonBody,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let number = fields.path("work_order", path, values::work_order_number);
    let quantity = || values::integer(0..=QUANTITY_LIMIT);
    let planned = fields.required("planned_quantity", quantity()).and_then(Quantity::new);
    let allowance = match fields.read_or_null("over_plan_allowance", quantity()) {
        None => Some(Quantity::ZERO),
        Some(allowance) => allowance.and_then(Quantity::new),
    };
    let policy = fields.read("barcode_policy", values::word(policy_of_word, "once or repeatable"));
    let barcode_pattern = fields.read("barcode_pattern", values::barcode_pattern);
    let product_code = fields.text("product_code", PLAN_TEXT_MAX);
    let product_name = fields.text("product_name", PLAN_TEXT_MAX);
    let line = fields.text("line", PLAN_TEXT_MAX);
    let plan = planned.map(|planned_quantity| Plan {
        planned_quantity,
        over_plan_allowance: allowance,
        barcode_policy: policy.unwrap_or_default(),
        barcode_pattern,
        product_code,
        product_name,
        line,
    });
    let (number, plan) = fields.finish(number.zip(plan))?;
    edit(&http, &headers, &number, &Edit::Plan(plan)).await
}

/// `PATCH /v1/work-orders/{work_order}`
pub(super) async fn patch(
    State(http): State<Arc<Http>>,
    headers: HeaderMap,
    body: JsonBody,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let number = fields.path("work_order", path, values::work_order_number);
    let hold = fields.required("status", values::word(hold_of_word, "paused, cancelled or in_progress"));
    let reason = fields.required("reason", values::filled(NOTE_MAX));
    let strict = fields.read("strict", values::boolean).unwrap_or(false);
    if strict && hold == Some(None) {
        fields.wrong("strict", "goes only with paused and cancelled");
    }
    let hold = hold.zip(reason).map(|(hold, reason)| Edit::Hold { hold, reason, strict });
    let (number, hold) = fields.finish(number.zip(hold))?;
    edit(&http, &headers, &number, &hold).await
}

/// `GET /v1/work-orders/{work_order}`
pub(super) async fn get(
    State(http): State<Arc<Http>>,
    uri: Uri,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let number = only_number(&uri, path)?;
    Ok(tagged(StatusCode::OK, &find(&http, &number).await?))
}

/// `GET /v1/work-orders`
pub(super) async fn list(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let status = values::word(Status::of_word, "pending, in_progress, completed, paused or cancelled");
    let status = fields.read("status", status);
    let line = fields.text("line", NAME_MAX);
    let q = fields.text("q", SEARCH_MAX);
    let limit = paging::limit(&mut fields);
    let after = paging::cursor(&mut fields);
    fields.finish(Some(()))?;

    let query = WorkOrderQuery { status, line, q, after, limit: limit + 1 };
    let rows = http.store.work_orders(&query).await.map_err(|error| Problem::storage(&error))?;
    let page = Page::of(rows, limit, |row| row.work_order.to_cursor());
    Ok(page.map(WorkOrderView::of).response(&uri))
}

/// The work order, or 404.
pub(super) async fn find(http: &Http, number: &WorkOrderNumber) -> Result<WorkOrder, Problem> {
    let found = http.store.work_order(number).await.map_err(|error| Problem::storage(&error))?;
    found.ok_or_else(|| Problem::new(Code::WorkOrderUnknown, format!("there is no work order {number}")))
}

/// Applies planning's change. Tries again if the store asks for that.
async fn edit(http: &Http, headers: &HeaderMap, number: &WorkOrderNumber, edit: &Edit) -> Result<Response, Problem> {
    /// Enough for a deadlock or two. If it goes on for longer, the caller is told.
    const ATTEMPTS: u32 = 3;
    let precondition = etag::precondition(headers)?;
    let mut attempt = 1;
    let edited = loop {
        match http.store.edit(number, edit, &precondition, fresh()).await {
            Ok(edited) => break edited,
            Err(StoreError::TryAgain(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(Problem::storage(&error)),
        }
    };
    match edited {
        Ok(Edited { row, created: true }) => Ok(tagged(StatusCode::CREATED, &row)),
        Ok(Edited { row, created: false }) => Ok(tagged(StatusCode::OK, &row)),
        Err(refusal) => {
            let code = match refusal {
                EditRefusal::Unknown => Code::WorkOrderUnknown,
                EditRefusal::RevisionDiffers | EditRefusal::Exists => Code::PreconditionFailed,
                EditRefusal::BarcodePolicyFixed => Code::BarcodePolicyFixed,
            };
            Err(Problem::new(code, refusal.to_string()))
        }
    }
}

fn fresh() -> Fresh {
    let now = clock::now();
    Fresh { stamp: Stamp(rand::random()), revision: Revision(rand::random()), now }
}

/// The number in a path whose query must be empty.
pub(super) fn only_number(uri: &Uri, path: Option<String>) -> Result<WorkOrderNumber, Problem> {
    let mut fields = Fields::of_query(uri);
    let number = fields.path("work_order", path, values::work_order_number);
    fields.finish(number)
}

fn policy_of_word(word: &str) -> Option<BarcodePolicy> {
    match word {
        "once" => Some(BarcodePolicy::Once),
        "repeatable" => Some(BarcodePolicy::Repeatable),
        _ => None,
    }
}

/// The hold that a target status means; `in_progress` lifts it.
#[expect(clippy::option_option, reason = "no such word, or a word that means no hold")]
fn hold_of_word(word: &str) -> Option<Option<Hold>> {
    match word {
        "paused" => Some(Some(Hold::Paused)),
        "cancelled" => Some(Some(Hold::Cancelled)),
        "in_progress" => Some(None),
        _ => None,
    }
}

/// A work order with its `ETag`.
fn tagged(status: StatusCode, row: &WorkOrder) -> Response {
    let mut response = json(status, &WorkOrderView::of(row));
    response.headers_mut().insert(ETAG, etag::header_of(row.revision));
    response
}

/// A work order as the contract shows it (section 5), field by field in that order.
#[derive(Serialize)]
struct WorkOrderView<'a> {
    work_order: &'a WorkOrderNumber,
    status: Status,
    #[serde(flatten)]
    plan: &'a Plan,
    hold_reason: Option<&'a str>,
    held_since: Option<Timestamp>,
    strict: bool,
    input_quantity: Quantity,
    output_quantity: Quantity,
    scrap_quantity: Quantity,
    seq: Seq,
    fence: Fence,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> WorkOrderView<'a> {
    fn of(row: &'a WorkOrder) -> Self {
        Self {
            work_order: &row.work_order,
            status: row.status,
            plan: &row.plan,
            hold_reason: row.hold_reason.as_deref(),
            held_since: row.held_since,
            strict: row.strict,
            input_quantity: row.input_quantity,
            output_quantity: row.output_quantity,
            scrap_quantity: row.scrap_quantity,
            seq: row.seq,
            fence: row.fence,
            created_at: row.created_at,
            updated_at: row.updated_at,
        }
    }
}

impl Cursor for WorkOrderNumber {
    const KIND: char = 'w';

    fn write(&self) -> String {
        self.to_string()
    }

    fn read(text: &str) -> Option<Self> {
        Self::parse(text).ok()
    }
}
