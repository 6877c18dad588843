//! The update log: how an update is rendered, and the lists and look-ups of it.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{ACCEPT, CONTENT_TYPE, LINK, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::extract::{Fields, PathText, preferred, value};
use super::pages::{self, Cursor, Page};
use super::problem::{Code, Problem};
use super::{Http, json_response};
use crate::domain::ids::{Delta, Fence, Principal, Quantity, RequestId, Seq, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::time::Timestamp;
use crate::domain::update::{Action, Outcome, RENDERING, RefusalCode, Update};
use crate::domain::work_order::Status;
use crate::store::{BarcodeQuery, LogCursor, UpdateQuery};

/// `GET /v1/work-orders/{work_order}/updates`
pub(super) async fn list(
    State(http): State<Arc<Http>>,
    uri: Uri,
    headers: HeaderMap,
    path: PathText,
) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let work_order = fields.path("work_order", path, value::work_order_number);
    let counter = fields.read("counter", value::word(Counter::of_word, "input, output or scrap"));
    let outcome = fields.read("outcome", value::word(outcome_of_word, "counted or refused"));
    let barcode = fields.read("barcode", value::barcode).map(|barcode| barcode.canonical);
    let from = fields.read("from", value::time);
    let to = fields.read("to", value::time);
    let limit = pages::limit(&mut fields);
    let before = fields.read("cursor", LogCursor::from_cursor);
    let work_order = fields.finish(work_order)?;

    let first = before.is_none();
    let query = UpdateQuery { work_order, counter, outcome, barcode, from, to, before, limit: limit + 1 };
    let rows = http.store.updates(&query).await.map_err(|error| Problem::storage(&error))?;
    if rows.is_empty() && first {
        super::work_orders::find(&http, &query.work_order).await?;
    }
    let page = Page::of(rows, limit, |update| place_of(update).to_cursor());
    let mut response = match wants_csv(&headers) {
        true => csv_response(&page.items),
        false => json_response(StatusCode::OK, &page.map(Rendered::of)),
    };
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept"));
    if let Some(link) = page.link(&uri) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

/// `GET /v1/updates/{request_id}`: did it count?
pub(super) async fn get(State(http): State<Arc<Http>>, uri: Uri, path: PathText) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let request_id = fields.path("request_id", path, value::key);
    let request_id = fields.finish(request_id)?;
    match by_id(&http, &request_id).await?.first() {
        Some(update) => Ok(json_response(StatusCode::OK, &Rendered::of(update))),
        None => Err(Problem::new(Code::NotFound, "nothing is decided under this request id").about(request_id)),
    }
}

/// `GET /v1/updates?request_id=` and `?barcode=`: the life of one part.
pub(super) async fn search(State(http): State<Arc<Http>>, uri: Uri) -> Result<Response, Problem> {
    let mut fields = Fields::of_query(&uri);
    let by_request_id = fields.has("request_id");
    match (by_request_id, fields.has("barcode")) {
        (true, true) => fields.wrong("barcode", "does not go with request_id: ask for one of the two"),
        (false, false) => fields.wrong("request_id", "is required, or else barcode"),
        (true, false) | (false, true) => {}
    }
    let request_id = fields.read("request_id", value::request_id);
    let barcode = fields.read("barcode", value::barcode);
    let limit = pages::limit(&mut fields);
    if by_request_id && fields.has("cursor") {
        fields.wrong("cursor", "does not go with request_id, which names one update");
    }
    let before = fields.read("cursor", PlaceInTime::from_cursor).map(|PlaceInTime(at, id)| (at, id));
    let asked = fields.finish(request_id.map(Ok).or(barcode.map(Err)))?;

    let page = match asked {
        Ok(request_id) => Page { items: by_id(&http, &request_id).await?, next_cursor: None },
        Err(barcode) => {
            let query = BarcodeQuery { barcode: barcode.canonical, before, limit: limit + 1 };
            let rows = http.store.updates_of_barcode(&query).await.map_err(|error| Problem::storage(&error))?;
            let place = |update: &Update| PlaceInTime(update.recorded_at, update.request_id.clone());
            Page::of(rows, limit, |update| place(update).to_cursor())
        }
    };
    let mut response = json_response(StatusCode::OK, &page.map(Rendered::of));
    if let Some(link) = page.link(&uri) {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

async fn by_id(http: &Http, request_id: &RequestId) -> Result<Vec<Update>, Problem> {
    let ids = std::slice::from_ref(request_id);
    http.store.updates_by_id(ids).await.map_err(|error| Problem::storage(&error).about(request_id.clone()))
}

fn outcome_of_word(word: &str) -> Option<Outcome> {
    [Outcome::Counted, Outcome::Refused].into_iter().find(|outcome| outcome.word() == word)
}

/// An update as the contract shows it (section 3), field by field in that order.
///
/// A 201 is byte-equal for ever: whoever changes this type adds a rendering beside it
/// and raises [`RENDERING`]; rows keep the number that they were first answered with.
#[derive(Serialize)]
pub(super) struct Rendered<'a> {
    request_id: &'a RequestId,
    work_order: &'a WorkOrderNumber,
    seq: Option<Seq>,
    counter: Counter,
    action: Action,
    delta: Delta,
    before: Quantity,
    after: Quantity,
    barcode: Option<&'a str>,
    step: &'a str,
    station: Option<&'a str>,
    terminal: Option<&'a str>,
    operator: Option<&'a str>,
    reason: Option<&'a str>,
    note: Option<&'a str>,
    fence: Fence,
    work_order_status: Status,
    remaining: Quantity,
    scanned_at: Option<Timestamp>,
    recorded_at: Timestamp,
    recorded_by: &'a Principal,
    outcome: Outcome,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<RefusalCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    at_seq: Option<Seq>,
}

impl<'a> Rendered<'a> {
    /// Whether this release renders such a row as it was first answered.
    pub(super) fn is_known(rendering: i16) -> bool {
        (1..=RENDERING).contains(&rendering)
    }

    /// The update as its first answer showed it, or, where a newer release has written
    /// it, in the newest form known here.
    pub(super) fn of(update: &'a Update) -> Self {
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

    /// The fields' names, in order: the header of the CSV.
    const COLUMNS: [&'static str; 24] = [
        "request_id",
        "work_order",
        "seq",
        "counter",
        "action",
        "delta",
        "before",
        "after",
        "barcode",
        "step",
        "station",
        "terminal",
        "operator",
        "reason",
        "note",
        "fence",
        "work_order_status",
        "remaining",
        "scanned_at",
        "recorded_at",
        "recorded_by",
        "outcome",
        "code",
        "at_seq",
    ];

    /// The fields as cells, in order. Free text is made harmless; what the service
    /// itself makes (numbers, words, times) is left alone.
    fn cells(&self) -> [Cow<'a, str>; 24] {
        fn number(number: impl ToString) -> Cow<'static, str> {
            number.to_string().into()
        }
        fn maybe(number: Option<impl ToString>) -> Cow<'static, str> {
            number.map_or(Cow::Borrowed(""), |number| number.to_string().into())
        }
        fn text(text: Option<&str>) -> Cow<'_, str> {
            harmless(text.unwrap_or_default())
        }
        [
            harmless(self.request_id.as_str()),
            harmless(self.work_order.as_str()),
            maybe(self.seq),
            self.counter.word().into(),
            self.action.word().into(),
            number(self.delta.get()),
            number(self.before.get()),
            number(self.after.get()),
            text(self.barcode),
            harmless(self.step),
            text(self.station),
            text(self.terminal),
            text(self.operator),
            text(self.reason),
            text(self.note),
            number(self.fence),
            self.work_order_status.word().into(),
            number(self.remaining.get()),
            maybe(self.scanned_at),
            number(self.recorded_at),
            harmless(self.recorded_by.as_str()),
            self.outcome.word().into(),
            self.code.map_or("", RefusalCode::word).into(),
            maybe(self.at_seq),
        ]
    }
}

/// Text that a spreadsheet would take for a formula gets an apostrophe in front.
fn harmless(text: &str) -> Cow<'_, str> {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{text}").into(),
        _ => text.into(),
    }
}

fn csv_response(updates: &[Update]) -> Response {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: &mut dyn Iterator<Item = &[u8]>| {
        writer.write_record(cells).expect("every record has as many cells as the header, and a Vec takes every write");
    };
    write(&mut Rendered::COLUMNS.iter().map(|name| name.as_bytes()));
    for update in updates {
        write(&mut Rendered::of(update).cells().iter().map(|cell| cell.as_bytes()));
    }
    let mut response = Response::new(Body::from(writer.into_inner().expect("a Vec takes every write")));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/csv; charset=utf-8; header=present"));
    response
}

fn wants_csv(headers: &HeaderMap) -> bool {
    let offers = [("application", "json"), ("text", "csv")];
    let wanted = preferred(headers, ACCEPT, &offers, |(kind, subtype), range| {
        let (range_kind, range_subtype) = range.split_once('/')?;
        let same = |range: &str, part: &str| range.eq_ignore_ascii_case(part);
        match (range_kind, range_subtype) {
            ("*", "*") => Some(0),
            (range_kind, "*") => same(range_kind, kind).then_some(1),
            (range_kind, range_subtype) => (same(range_kind, kind) && same(range_subtype, subtype)).then_some(2),
        }
    });
    wanted == Some(&offers[1])
}

/// The place of an update among all of a barcode's.
struct PlaceInTime(Timestamp, RequestId);

/// The place of an update in its work order's list.
fn place_of(update: &Update) -> LogCursor {
    match (update.seq, update.at_seq) {
        (Some(seq), _) => LogCursor { seq, refused: None },
        (None, at_seq) => LogCursor {
            seq: at_seq.expect("the table has `at_seq` for every refused row"),
            refused: Some((update.recorded_at, update.request_id.clone())),
        },
    }
}

/// A request id in its quoted form, which alone can write every id: one that starts
/// with `"` has no bare form. Visible ASCII is escaped by Rust as by RFC 8941.
fn quoted(id: &RequestId) -> String {
    format!("{:?}", id.as_str())
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

impl Cursor for PlaceInTime {
    const KIND: char = 'b';

    fn write(&self) -> String {
        format!("{} {}", self.0, quoted(&self.1))
    }

    fn read(text: &str) -> Option<Self> {
        let (at, id) = text.split_once(' ')?;
        Some(Self(Timestamp::parse(at).ok()?, RequestId::parse(id).ok()?))
    }
}
