//! Work orders: what planning owns, a person's hold, lists, and the lease.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ETAG, IF_MATCH, LINK};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use chrono::Utc;
use serde::Serialize;

use super::extract::{Fields, JsonBody, PathText, value};
use super::pages::{self, Cursor, Page};
use super::problem::{Code, Problem};
use super::{Http, json_response};
use crate::domain::ids::{Fence, Owner, QUANTITY_LIMIT, Quantity, Revision, Seq, Stamp, WorkOrderNumber};
use crate::domain::request::{NAME_MAX, NOTE_MAX};
use crate::domain::time::Timestamp;
use crate::domain::work_order::{
    BarcodePolicy, Edit, EditRefusal, Fresh, Hold, PLAN_TEXT_MAX, Plan, Precondition, Status, WorkOrder,
};
use crate::store::{Edited, StoreError, WorkOrderQuery};

/// Longest text to search for, in characters.
const SEARCH_MAX: usize = 64;

/// `PUT /v1/work-orders/{work_order}`
pub(super) async fn put(
    State(http): State<Arc<Http>>,
    headers: HeaderMap,
    body: JsonBody,
    path: PathText,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let number = fields.path("work_order", path, value::work_order_number);
    let quantity = || value::integer(0..=QUANTITY_LIMIT);
    let planned = fields.required("planned_quantity", quantity()).and_then(Quantity::new);
    let allowance = match fields.read_or_null("over_plan_allowance", quantity()) {
        None => Some(Quantity::ZERO),
        Some(allowance) => allowance.and_then(Quantity::new),
    };
    let policy = fields.read("barcode_policy", value::word(policy_of_word, "once or repeatable"));
    let product_code = fields.read("product_code", value::free(PLAN_TEXT_MAX));
    let product_name = fields.read("product_name", value::free(PLAN_TEXT_MAX));
    let line = fields.read("line", value::free(PLAN_TEXT_MAX));
    let plan = planned.map(|planned_quantity| Plan {
        planned_quantity,
        over_plan_allowance: allowance,
        barcode_policy: policy.unwrap_or_default(),
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
    path: PathText,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let number = fields.path("work_order", path, value::work_order_number);
    let hold = fields.required("status", value::word(hold_of_word, "paused, cancelled or in_progress"));
    let reason = fields.required("reason", value::filled(NOTE_MAX));
    let hold = hold.zip(reason).map(|(hold, reason)| Edit::Hold { hold, reason });
    let (number, hold) = fields.finish(number.zip(hold))?;
    edit(&http, &headers, &number, &hold).await
}

/// `GET /v1/work-orders/{work_order}`
pub(super) async fn get(State(http): State<Arc<Http>>, uri: Uri, path: PathText) -> Result<Response, Problem> {
    let number = only_number(&uri, path)?;
    Ok(tagged(StatusCode::OK, &find(&http, &number).await?))
}

/// `GET /v1/work-orders`
pub(super) async fn list(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let status = value::word(Status::of_word, "pending, in_progress, completed, paused or cancelled");
    let status = fields.read("status", status);
    let line = fields.read("line", value::free(NAME_MAX));
    let q = fields.read("q", value::free(SEARCH_MAX)).filter(|q| !q.is_empty());
    let limit = pages::limit(&mut fields);
    let after = fields.read("cursor", WorkOrderNumber::from_cursor);
    fields.finish(Some(()))?;

    let query = WorkOrderQuery { status, line, q, after, limit: limit + 1 };
    let rows = http.store.work_orders(&query).await.map_err(|error| Problem::storage(&error))?;
    let page = Page::of(rows, limit, |row| row.work_order.to_cursor());
    let mut response = json_response(StatusCode::OK, &page.map(View::of));
    if let Some(link) = page.link(&uri) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// `GET /v1/work-orders/{work_order}/lease`
pub(super) async fn lease(State(http): State<Arc<Http>>, uri: Uri, path: PathText) -> Result<Response, Problem> {
    let number = only_number(&uri, path)?;
    let row = find(&http, &number).await?;
    let view = http.lease.view(&number).await.map_err(|error| {
        tracing::warn!(%error, "a lease could not be looked at");
        Problem::new(Code::LeaseUnavailable, "who holds the lease can't be asked now")
    })?;
    let view = match &view {
        None => LeaseView { held: false, holder: None, fence: row.fence, expires_in_ms: None },
        Some(view) => LeaseView {
            held: true,
            holder: Some(&view.holder),
            fence: view.fence,
            expires_in_ms: view.expires_in.map(|left| left.as_millis()),
        },
    };
    Ok(json_response(StatusCode::OK, &view))
}

/// The work order, or 404.
pub(super) async fn find(http: &Http, number: &WorkOrderNumber) -> Result<WorkOrder, Problem> {
    let found = http.store.work_order(number).await.map_err(|error| Problem::storage(&error))?;
    found.ok_or_else(|| Problem::new(Code::WorkOrderUnknown, format!("there is no work order {number}")))
}

/// Applies planning's change; tries again where the store asks for that.
async fn edit(http: &Http, headers: &HeaderMap, number: &WorkOrderNumber, edit: &Edit) -> Result<Response, Problem> {
    /// Enough for a deadlock or two; what goes on for longer is told to the caller.
    const ATTEMPTS: u32 = 3;
    let precondition = precondition(headers)?;
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
                EditRefusal::RevisionDiffers => Code::PreconditionFailed,
                EditRefusal::BarcodePolicyFixed => Code::BarcodePolicyFixed,
            };
            Err(Problem::new(code, refusal.to_string()))
        }
    }
}

fn fresh() -> Fresh {
    let now = Timestamp::cut(Utc::now()).expect("the clock stands before the year 10000");
    Fresh { stamp: Stamp(rand::random()), revision: Revision(rand::random()), now }
}

/// The number of a path whose query takes nothing.
fn only_number(uri: &Uri, path: PathText) -> Result<WorkOrderNumber, Problem> {
    let mut fields = Fields::of_query(uri);
    let number = fields.path("work_order", path, value::work_order_number);
    fields.finish(number)
}

fn policy_of_word(word: &str) -> Option<BarcodePolicy> {
    match word {
        "once" => Some(BarcodePolicy::Once),
        "repeatable" => Some(BarcodePolicy::Repeatable),
        _ => None,
    }
}

/// The hold that a target status stands for; `in_progress` lifts it.
#[expect(clippy::option_option, reason = "no such word, or a word that means no hold")]
fn hold_of_word(word: &str) -> Option<Option<Hold>> {
    match word {
        "paused" => Some(Some(Hold::Paused)),
        "cancelled" => Some(Some(Hold::Cancelled)),
        "in_progress" => Some(None),
        _ => None,
    }
}

/// What `If-Match` asks for (RFC 9110, section 13.1.1). A weak tag never matches, and a
/// tag that is none of ours matches nothing.
fn precondition(headers: &HeaderMap) -> Result<Precondition, Problem> {
    let lines: Result<Vec<&str>, _> = headers.get_all(IF_MATCH).iter().map(HeaderValue::to_str).collect();
    let malformed = || Problem::new(Code::MalformedRequest, "If-Match must be * or a list of quoted entity tags");
    let lines = lines.map_err(|_| malformed())?;
    match lines.as_slice() {
        [] => return Ok(Precondition::None),
        [star] if star.trim() == "*" => return Ok(Precondition::Exists),
        _ => {}
    }
    let mut revisions = Vec::new();
    let mut tags = 0;
    for line in lines {
        let mut rest = line.trim();
        while !rest.is_empty() {
            if let Some(after) = rest.strip_prefix(',') {
                rest = after.trim_start();
                continue;
            }
            let (weak, quoted) = rest.strip_prefix("W/").map_or((false, rest), |quoted| (true, quoted));
            let (tag, after) = quoted.strip_prefix('"').and_then(|tag| tag.split_once('"')).ok_or_else(malformed)?;
            rest = after.trim_start();
            if tag.contains(' ') || !(rest.is_empty() || rest.starts_with(',')) {
                return Err(malformed());
            }
            tags += 1;
            revisions.extend(revision_of_tag(tag).filter(|_| !weak));
        }
    }
    if tags == 0 { Err(malformed()) } else { Ok(Precondition::AnyOf(revisions)) }
}

/// The entity tag of a revision: the number's bits in hexadecimal.
fn tag_of(revision: Revision) -> String {
    format!("{:016x}", revision.0.cast_unsigned())
}

fn revision_of_tag(tag: &str) -> Option<Revision> {
    let revision = Revision(u64::from_str_radix(tag, 16).ok()?.cast_signed());
    (tag_of(revision) == tag).then_some(revision)
}

/// A work order with its `ETag`.
fn tagged(status: StatusCode, row: &WorkOrder) -> Response {
    let mut response = json_response(status, &View::of(row));
    let tag = HeaderValue::try_from(format!("\"{}\"", tag_of(row.revision))).expect("hexadecimal digits are ASCII");
    response.headers_mut().insert(ETAG, tag);
    response
}

/// A work order as the contract shows it (section 5), field by field in that order.
#[derive(Serialize)]
struct View<'a> {
    work_order: &'a WorkOrderNumber,
    status: Status,
    #[serde(flatten)]
    plan: &'a Plan,
    hold_reason: Option<&'a str>,
    input_quantity: Quantity,
    output_quantity: Quantity,
    scrap_quantity: Quantity,
    seq: Seq,
    fence: Fence,
    created_at: Timestamp,
    updated_at: Timestamp,
}

impl<'a> View<'a> {
    fn of(row: &'a WorkOrder) -> Self {
        Self {
            work_order: &row.work_order,
            status: row.status,
            plan: &row.plan,
            hold_reason: row.hold_reason.as_deref(),
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

/// A lease as the contract shows it.
#[derive(Serialize)]
struct LeaseView<'a> {
    held: bool,
    holder: Option<&'a Owner>,
    fence: Fence,
    expires_in_ms: Option<u128>,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_takes_a_star_or_a_list_of_tags() {
        let any_of = |revisions: &[i64]| Ok(Precondition::AnyOf(revisions.iter().copied().map(Revision).collect()));
        let malformed = Err(Code::MalformedRequest);
        for (sent, expected) in [
            (&[][..], Ok(Precondition::None)),
            (&["*"], Ok(Precondition::Exists)),
            (&["\"000000000000002a\""], any_of(&[42])),
            (&["\"ffffffffffffffff\", \"000000000000002a\""], any_of(&[-1, 42])),
            (&["\"ffffffffffffffff\"", " , \"000000000000002a\" ,"], any_of(&[-1, 42])),
            (&["W/\"000000000000002a\""], any_of(&[])),
            (&["\"2a\""], any_of(&[])),
            (&["\"\", \"a,b\""], any_of(&[])),
            (&[""], malformed.clone()),
            (&["000000000000002a"], malformed.clone()),
            (&["\"000000000000002a"], malformed.clone()),
            (&["\"a\" \"b\""], malformed.clone()),
            (&["\"a b\""], malformed.clone()),
            (&["*, \"a\""], malformed.clone()),
        ] {
            let mut headers = HeaderMap::new();
            for line in sent {
                headers.append(IF_MATCH, line.parse().unwrap());
            }
            assert_eq!(precondition(&headers).map_err(|problem| problem.code), expected, "{sent:?}");
        }
    }
}
