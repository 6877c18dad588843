//! Checks of the log against the quantities, what they found, and repairs.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use crate::domain::consistency::{Check, Finding, FindingState, Range};
use crate::domain::request::{NAME_MAX, NOTE_MAX};
use crate::domain::time::Timestamp;
use crate::http::input::extractors::{Caller, IdempotencyKey, JsonBody, PathParameter};
use crate::http::input::fields::Fields;
use crate::http::input::values::Reason;
use crate::http::input::{paging, values};
use crate::http::output::code::{Applied, Code};
use crate::http::output::pages::{Cursor, Page};
use crate::http::output::problem::{Extension, FieldError, Problem};
use crate::http::output::response::{json, mark_replayed};
use crate::http::state::Http;
use crate::monitor::repair::{NotRepaired, RepairAsk};
use crate::monitor::{NotAsked, Verdict};
use crate::store::consistency::FindingQuery;

/// Longest id of a check or finding, in characters: they are UUIDs.
const ID_MAX: usize = 64;

/// `GET /v1/consistency`: the verdict.
pub(super) async fn verdict(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    Fields::of_query(&uri).finish(Some(()))?;
    let verdict = http.monitor.verdict().await.map_err(|error| Problem::storage(&error))?;
    Ok(json(StatusCode::OK, &VerdictView::of(&verdict)))
}

/// `POST /v1/consistency/checks`: asks for a check.
pub(super) async fn start(
    State(http): State<Arc<Http>>,
    Caller(principal): Caller,
    body: JsonBody,
) -> Result<Response, Problem> {
    let mut fields = body.fields()?;
    let range = fields.read("range", values::word(Range::of_word, "recent, full, work_order or since"));
    let range = range.unwrap_or(Range::Recent);
    let work_order = fields.read("work_order", values::work_order);
    let since = fields.read("since", values::time);
    goes_with(&mut fields, "work_order", work_order.is_some(), range == Range::WorkOrder);
    goes_with(&mut fields, "since", since.is_some(), range == Range::Since);
    fields.finish(Some(()))?;
    let work_order = work_order.map(|number| number.to_string());
    let check = match http.monitor.ask(range, work_order, since, &principal.to_string()).await {
        Ok(check) => check,
        Err(NotAsked::WorkOrderUnknown(number)) => {
            return Err(Problem::new(Code::WorkOrderUnknown, format!("there is no work order {number}")));
        }
        Err(problem @ NotAsked::TooMany) => return Err(Problem::new(Code::Overloaded, problem.to_string())),
        Err(NotAsked::Store(error)) => return Err(Problem::storage(&error)),
    };
    let mut response = json(StatusCode::ACCEPTED, &check);
    let location = HeaderValue::try_from(format!("/v1/consistency/checks/{}", check.check_id));
    response.headers_mut().insert(LOCATION, location.expect("a check's id is a UUID"));
    Ok(response)
}

/// `GET /v1/consistency/checks/{check_id}`: progress and report.
pub(super) async fn check(
    State(http): State<Arc<Http>>,
    uri: Uri,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let check_id = only_id(&uri, "check_id", path)?;
    let report = http.monitor.report(&check_id).await.map_err(|error| Problem::storage(&error))?;
    let report = report.ok_or_else(|| Problem::new(Code::NotFound, "there is no such check"))?;
    Ok(json(StatusCode::OK, &report))
}

/// `GET /v1/consistency/findings`
pub(super) async fn findings(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let state = fields.read("state", values::word(FindingState::of_word, "open, repaired or resolved"));
    let work_order = fields.read("work_order", values::work_order);
    let limit = paging::limit(&mut fields);
    let before = paging::cursor(&mut fields);
    fields.finish(Some(()))?;
    let query = FindingQuery {
        state,
        work_order: work_order.map(|number| number.to_string()),
        check_id: None,
        before: before.map(|FindingPosition(found_at, id)| (found_at, id)),
        limit: limit + 1,
    };
    let found = http.monitor.store().findings(&query).await.map_err(|error| Problem::storage(&error))?;
    let page =
        Page::of(found, limit, |finding| FindingPosition(finding.found_at, finding.finding_id.clone()).to_cursor());
    Ok(page.response(&uri))
}

/// `GET /v1/consistency/findings/{finding_id}`
pub(super) async fn finding(
    State(http): State<Arc<Http>>,
    uri: Uri,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let finding_id = only_id(&uri, "finding_id", path)?;
    let finding: Option<Finding> =
        http.monitor.store().finding(&finding_id).await.map_err(|error| Problem::storage(&error))?;
    let finding = finding.ok_or_else(|| Problem::new(Code::NotFound, "there is no such finding"))?;
    Ok(json(StatusCode::OK, &finding))
}

/// `POST /v1/consistency/findings/{finding_id}/repair`
pub(super) async fn repair(
    State(http): State<Arc<Http>>,
    Caller(principal): Caller,
    body: JsonBody,
    IdempotencyKey(request_id): IdempotencyKey,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let read = || {
        let mut fields = body.fields()?;
        let finding_id = fields.path("finding_id", path, id_text);
        let reason = fields.required("reason", values::filled(NOTE_MAX));
        let operator = fields.text("operator", NAME_MAX);
        let dry_run = fields.read("dry_run", values::boolean).unwrap_or(false);
        let accept = fields.read("accept", values::boolean).unwrap_or(false);
        let made = finding_id.zip(reason).map(|(finding_id, reason)| RepairAsk {
            request_id: request_id.to_string(),
            finding_id,
            dry_run,
            accept,
            reason,
            operator,
            principal: principal.to_string(),
        });
        fields.finish(made)
    };
    let ask = read().map_err(|problem: Problem| problem.about(request_id.clone()))?;
    let repaired = http.monitor.repair(&ask).await.map_err(|refusal| refused(refusal).about(request_id))?;
    let mut response = json(StatusCode::OK, &repaired);
    mark_replayed(&mut response, repaired.replayed);
    Ok(response)
}

fn refused(refusal: NotRepaired) -> Problem {
    let detail = refusal.to_string();
    match refusal {
        NotRepaired::Unknown(_) => Problem::new(Code::NotFound, detail),
        NotRepaired::Settled(_) => Problem::new(Code::FindingSettled, detail),
        NotRepaired::DecisionNeeded(finding) => {
            let detail = format!("{detail}, and may accept it; see /v1/consistency/findings/{}", finding.finding_id);
            Problem::new(Code::DecisionNeeded, detail)
        }
        NotRepaired::NothingToAccept => {
            Problem::fields(vec![FieldError { field: "accept".to_owned(), reason: detail.into() }])
        }
        NotRepaired::KeyReused { differs } => Problem {
            extension: Extension::Differs { fields: differs, applied: Applied::Unknown },
            ..Problem::new(Code::IdempotencyKeyReused, detail)
        },
        NotRepaired::Store(error) => Problem::storage(&error),
    }
}

/// A field that one range needs, and no other range takes.
fn goes_with(fields: &mut Fields<'_>, name: &str, sent: bool, needed: bool) {
    match (sent, needed) {
        (true, false) => fields.wrong(name, "is only for the range of the same name"),
        (false, true) => fields.wrong(name, "is required by this range"),
        (true, true) | (false, false) => {}
    }
}

fn only_id(uri: &Uri, name: &'static str, path: Option<String>) -> Result<String, Problem> {
    let mut fields = Fields::of_query(uri);
    let id = fields.path(name, path, id_text);
    fields.finish(id)
}

fn id_text(text: &str) -> Result<String, Reason> {
    let good = (1..=ID_MAX).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    if good { Ok(text.to_owned()) } else { Err("must be an id that the service has made".into()) }
}

/// The position of a finding in the list: when it was found, and its id.
struct FindingPosition(Timestamp, String);

impl Cursor for FindingPosition {
    const KIND: char = 'f';

    fn write(&self) -> String {
        format!("{} {}", self.0, self.1)
    }

    fn read(text: &str) -> Option<Self> {
        let (found_at, id) = text.split_once(' ')?;
        Some(Self(Timestamp::parse(found_at).ok()?, id_text(id).ok()?))
    }
}

/// [`Verdict`] as JSON shows it.
#[derive(Serialize)]
struct VerdictView<'a> {
    good: bool,
    open_findings: i64,
    last_good: Option<&'a Check>,
    last_good_full: Option<&'a Check>,
    unfinished: Option<&'a Check>,
}

impl<'a> VerdictView<'a> {
    fn of(verdict: &'a Verdict) -> Self {
        Self {
            good: verdict.open_findings == 0 && verdict.last_good.is_some(),
            open_findings: verdict.open_findings,
            last_good: verdict.last_good.as_ref(),
            last_good_full: verdict.last_good_full.as_ref(),
            unfinished: verdict.unfinished.as_ref(),
        }
    }
}
