//! Refused scans that a person may settle: their list, and what leaves one refused.
//!
//! To count one, a person sends a scan with `override` and `settles`; see [`scans`](super::scans).

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use uuid::Uuid;

use super::updates::{read_time_and_id, time_and_id};
use crate::clock;
use crate::domain::ids::RequestId;
use crate::domain::refusals::{Leave, NotLeft};
use crate::domain::request::{NAME_MAX, NOTE_MAX};
use crate::domain::time::Timestamp;
use crate::domain::update::{RefusalCode, Update};
use crate::http::input::extractors::{Caller, JsonBody, PathParameter};
use crate::http::input::fields::Fields;
use crate::http::input::{paging, values};
use crate::http::output::code::Code;
use crate::http::output::pages::{Cursor, Page};
use crate::http::output::problem::Problem;
use crate::http::output::render::RefusalView;
use crate::http::output::response::json;
use crate::http::state::Http;
use crate::store::{RefusalQuery, StoreError};

/// `GET /v1/refusals`
pub(super) async fn list(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let line = fields.text("line", NAME_MAX);
    let code = values::word(code_of_word, "over-plan, work-order-not-open or barcode-mismatch");
    let code = fields.read("code", code);
    let since = fields.read("since", values::time);
    let open = fields.read("open", values::word(truth_of_word, "true or false"));
    let limit = paging::limit(&mut fields);
    let before = paging::cursor(&mut fields).map(|RefusalPosition(at, id)| (at, id));
    fields.finish(Some(()))?;

    let query = RefusalQuery { line, code, since, open, before, limit: limit + 1 };
    let rows = http.store.refusals(&query).await.map_err(|error| Problem::storage(&error))?;
    let page = Page::of(rows, limit, |refusal| position_of(&refusal.update).to_cursor());
    Ok(page.map(RefusalView::of).response(&uri))
}

/// `POST /v1/refusals/{request_id}/leave`: leaves a scan refused, with a reason.
pub(super) async fn leave(
    State(http): State<Arc<Http>>,
    Caller(principal): Caller,
    body: JsonBody,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    /// Enough for a deadlock or two. If it goes on for longer, the caller is told.
    const ATTEMPTS: u32 = 3;
    let mut fields = body.fields()?;
    let request_id = fields.path("request_id", path, values::key);
    let reason = fields.required("reason", values::filled(NOTE_MAX));
    let operator = fields.text("operator", NAME_MAX);
    let (request_id, reason) = fields.finish(request_id.zip(reason))?;

    let leave = Leave { entry_id: Uuid::now_v7().to_string(), principal, operator, reason, now: clock::now() };
    let mut attempt = 1;
    let left = loop {
        match http.store.leave(&request_id, &leave).await {
            Ok(left) => break left,
            Err(StoreError::TryAgain(_)) if attempt < ATTEMPTS => attempt += 1,
            Err(error) => return Err(Problem::storage(&error).about(request_id)),
        }
    };
    match left {
        Ok(refusal) => Ok(json(StatusCode::OK, &RefusalView::of(&refusal))),
        Err(not_left) => {
            let code = match not_left {
                NotLeft::Unknown => Code::NotFound,
                NotLeft::NotARefusal | NotLeft::Settled(_) => Code::AlreadySettled,
            };
            Err(Problem::new(code, not_left.to_string()).about(request_id))
        }
    }
}

fn code_of_word(word: &str) -> Option<RefusalCode> {
    RefusalCode::ALL.into_iter().find(|code| code.can_be_settled() && code.word() == word)
}

fn truth_of_word(word: &str) -> Option<bool> {
    word.parse().ok()
}

/// The position of a refused scan in the list: when it was refused, and its request id.
struct RefusalPosition(Timestamp, RequestId);

fn position_of(update: &Update) -> RefusalPosition {
    RefusalPosition(update.recorded_at, update.request_id.clone())
}

impl Cursor for RefusalPosition {
    const KIND: char = 'r';

    fn write(&self) -> String {
        time_and_id(self.0, &self.1)
    }

    fn read(text: &str) -> Option<Self> {
        read_time_and_id(text).map(|(at, id)| Self(at, id))
    }
}
