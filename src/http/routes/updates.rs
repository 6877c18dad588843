//! The update log: lists of updates, and one update by its request id.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::VARY;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;

use super::work_orders::find;
use crate::domain::ids::{RequestId, Seq};
use crate::domain::refusals::Refusal;
use crate::domain::time::Timestamp;
use crate::domain::update::{Outcome, Update};
use crate::http::input::extractors::PathParameter;
use crate::http::input::fields::Fields;
use crate::http::input::{paging, values};
use crate::http::output::code::Code;
use crate::http::output::csv::csv;
use crate::http::output::negotiation::wants_csv;
use crate::http::output::pages::{Cursor, Page};
use crate::http::output::problem::Problem;
use crate::http::output::render::{SettledView, UpdateView};
use crate::http::output::response::json;
use crate::http::state::Http;
use crate::store::{BarcodeQuery, LogCursor, UpdateQuery};

/// `GET /v1/work-orders/{work_order}/updates`
pub(super) async fn list(
    State(http): State<Arc<Http>>,
    uri: Uri,
    headers: HeaderMap,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let work_order = fields.path("work_order", path, values::work_order_number);
    let counter = fields.read("counter", values::counter);
    let outcome = fields.read("outcome", values::word(outcome_of_word, "counted or refused"));
    let barcode = fields.read("barcode", values::barcode).map(|barcode| barcode.canonical);
    let from = fields.read("from", values::time);
    let to = fields.read("to", values::time);
    let limit = paging::limit(&mut fields);
    let before = paging::cursor(&mut fields);
    let work_order = fields.finish(work_order)?;

    let first = before.is_none();
    let query = UpdateQuery { work_order, counter, outcome, barcode, from, to, before, limit: limit + 1 };
    let rows = http.store.updates(&query).await.map_err(|error| Problem::storage(&error))?;
    if rows.is_empty() && first {
        find(&http, &query.work_order).await?;
    }
    let page = Page::of(rows, limit, |update| position_of(update).to_cursor());
    let mut response = match wants_csv(&headers) {
        true => page.linked(csv(&page.items), &uri),
        false => page.map(UpdateView::of).response(&uri),
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    Ok(response)
}

/// `GET /v1/updates/{request_id}`: did it count?
pub(super) async fn get(
    State(http): State<Arc<Http>>,
    uri: Uri,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let request_id = fields.path("request_id", path, values::key);
    let request_id = fields.finish(request_id)?;
    match by_id(&http, &request_id).await? {
        Some(found) => Ok(json(StatusCode::OK, &SettledView::of(&found))),
        None => Err(Problem::new(Code::NotFound, "nothing is decided under this request id").about(request_id)),
    }
}

/// `GET /v1/updates?request_id=` and `?barcode=`: the life of one part.
pub(super) async fn search(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let by_request_id = fields.has("request_id");
    match (by_request_id, fields.has("barcode")) {
        (true, true) => fields.wrong("barcode", "does not go with request_id: send one of the two"),
        (false, false) => fields.wrong("request_id", "is required, or else barcode"),
        (true, false) | (false, true) => {}
    }
    let request_id = fields.read("request_id", values::request_id);
    let barcode = fields.read("barcode", values::barcode);
    let limit = paging::limit(&mut fields);
    if by_request_id && fields.has("cursor") {
        fields.wrong("cursor", "does not go with request_id, which names one update");
    }
    let before = paging::cursor(&mut fields).map(|BarcodePosition(at, id)| (at, id));
    let asked = fields.finish(request_id.map(Ok).or(barcode.map(Err)))?;

    match asked {
        Ok(request_id) => {
            let found = by_id(&http, &request_id).await?;
            let items = found.iter().map(SettledView::of).collect();
            Ok(Page { items, next_cursor: None }.response(&uri))
        }
        Err(barcode) => {
            let query = BarcodeQuery { barcode: barcode.canonical, before, limit: limit + 1 };
            let rows = http.store.updates_of_barcode(&query).await.map_err(|error| Problem::storage(&error))?;
            let position = |update: &Update| BarcodePosition(update.recorded_at, update.request_id.clone());
            let page = Page::of(rows, limit, |update| position(update).to_cursor());
            Ok(page.map(UpdateView::of).response(&uri))
        }
    }
}

/// The update with this request id, with what settles it if it was refused.
async fn by_id(http: &Http, request_id: &RequestId) -> Result<Option<Refusal>, Problem> {
    http.store.refusal(request_id).await.map_err(|error| Problem::storage(&error).about(request_id.clone()))
}

fn outcome_of_word(word: &str) -> Option<Outcome> {
    [Outcome::Counted, Outcome::Refused].into_iter().find(|outcome| outcome.word() == word)
}

/// The position of an update among all updates of a barcode.
struct BarcodePosition(Timestamp, RequestId);

/// The position of an update in its work order's list.
fn position_of(update: &Update) -> LogCursor {
    match (update.seq, update.at_seq) {
        (Some(seq), _) => LogCursor { seq, refused: None },
        (None, at_seq) => LogCursor {
            seq: at_seq.expect("the table has `at_seq` for every refused row"),
            refused: Some((update.recorded_at, update.request_id.clone())),
        },
    }
}

/// A request id in its quoted form. Only this form can write every id: one that starts with `"` has
/// no bare form. Rust escapes visible ASCII as RFC 8941 does.
fn quoted(id: &RequestId) -> String {
    format!("{:?}", id.as_str())
}

/// A time and a request id as the text of a cursor.
pub(super) fn time_and_id(at: Timestamp, id: &RequestId) -> String {
    format!("{at} {}", quoted(id))
}

/// The time and the request id in the text of a cursor.
pub(super) fn read_time_and_id(text: &str) -> Option<(Timestamp, RequestId)> {
    let (at, id) = text.split_once(' ')?;
    Some((Timestamp::parse(at).ok()?, RequestId::parse(id).ok()?))
}

impl Cursor for LogCursor {
    const KIND: char = 'u';

    fn write(&self) -> String {
        match &self.refused {
            None => self.seq.to_string(),
            Some((at, id)) => format!("{} {at} {}", self.seq, quoted(id)),
        }
    }

    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ');
        let seq = Seq(parts.next()?.parse().ok()?);
        let refused = match (parts.next(), parts.next()) {
            (None, _) => None,
            (Some(at), id) => Some((Timestamp::parse(at).ok()?, RequestId::parse(id?).ok()?)),
        };
        parts.next().is_none().then_some(Self { seq, refused })
    }
}

impl Cursor for BarcodePosition {
    const KIND: char = 'b';

    fn write(&self) -> String {
        time_and_id(self.0, &self.1)
    }

    fn read(text: &str) -> Option<Self> {
        read_time_and_id(text).map(|(at, id)| Self(at, id))
    }
}
