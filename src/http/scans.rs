//! What changes a quantity: single scans and unbinds, corrections, batches.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::oneshot;

use super::extract::{Caller, Fields, JsonBody, Key, PathText, value};
use super::json::{self, Object, Value};
use super::problem::{Applied, Code, Language, Members, More, Problem};
use super::updates::Rendered;
use super::{Http, REPLAYED, json_response};
use crate::counting::Answer;
use crate::domain::ids::{Delta, QUANTITY_LIMIT, Quantity, RequestId, Step, WorkOrderNumber};
use crate::domain::request::{Ask, Change, Counter, NAME_MAX, NOTE_MAX, Request, SCAN_QUANTITY_MAX};
use crate::domain::update::{Action, Outcome, Update};

/// Most scans in one batch.
const BATCH_MAX: usize = 1000;

/// `POST /v1/work-orders/{work_order}/scans`
pub(super) async fn scan(
    State(http): State<Arc<Http>>,
    caller: Caller,
    body: JsonBody,
    Key(request_id): Key,
    path: PathText,
) -> Result<Response, Problem> {
    let read = || {
        let mut fields = body.fields()?;
        let work_order = fields.path("work_order", path, value::work_order_number);
        scan_of(fields, request_id.clone(), work_order)
    };
    settle(&http, caller, read().map_err(|problem| problem.about(request_id.clone()))?).await
}

/// `POST /v1/work-orders/{work_order}/corrections`
pub(super) async fn correct(
    State(http): State<Arc<Http>>,
    caller: Caller,
    body: JsonBody,
    Key(request_id): Key,
    path: PathText,
) -> Result<Response, Problem> {
    let read = || {
        let mut fields = body.fields()?;
        let work_order = fields.path("work_order", path, value::work_order_number);
        correction_of(fields, request_id.clone(), work_order)
    };
    settle(&http, caller, read().map_err(|problem| problem.about(request_id.clone()))?).await
}

/// `POST /v1/scans`
pub(super) async fn batch(
    State(http): State<Arc<Http>>,
    Caller(principal): Caller,
    headers: HeaderMap,
    uri: Uri,
    body: JsonBody,
) -> Result<Response, Problem> {
    let items: Vec<Item> = items_of(&body)?.into_iter().map(Item::read).collect();
    let good = items.iter().filter_map(|item| item.request.as_ref().ok()).cloned().collect();
    let mut answers = http.counter.submit(good, &principal).into_iter();
    let mut settled_items = Vec::with_capacity(items.len());
    for Item { request_id, request } in items {
        let settled = match request {
            Err(problem) => Err(problem),
            Ok(request) => {
                let answer = answers.next().expect("one receiver per request handed in");
                settled(answer.await, &request.request_id)
            }
        };
        settled_items.push((request_id, settled));
    }
    let language = Language::of(&headers);
    let result = |(id, settled)| ItemResult::of(Option::as_ref(id), settled, language, uri.path());
    let results = settled_items.iter().map(|(id, settled)| result((id, settled))).collect();
    Ok(json_response(StatusCode::OK, &Results { results }))
}

/// The request that a scan's fields make.
fn scan_of(
    mut fields: Fields<'_>,
    request_id: RequestId,
    work_order: Option<WorkOrderNumber>,
) -> Result<Request, Problem> {
    let counter = fields.required("counter", value::word(Counter::of_word, COUNTERS));
    let action = fields.read("action", value::word(scan_action, "scan or unbind"));
    let ask = match action.unwrap_or(Action::Scan) {
        Action::Unbind => {
            if fields.has("quantity") {
                fields.wrong("quantity", "does not go with unbind, which takes back what the barcode counted");
            }
            _ = fields.read("quantity", value::integer(1..=SCAN_QUANTITY_MAX));
            fields.required("barcode", value::barcode).map(|barcode| Ask::Unbind { barcode })
        }
        Action::Scan | Action::Correction => {
            let quantity = fields.read("quantity", value::integer(1..=SCAN_QUANTITY_MAX)).unwrap_or(1);
            let barcode = fields.read("barcode", value::barcode);
            Quantity::new(quantity).map(|quantity| Ask::Scan { quantity, barcode })
        }
    };
    let step = fields.read("step", value::step).unwrap_or_default();
    let station = fields.read("station", value::free(NAME_MAX));
    let terminal = fields.read("terminal", value::free(NAME_MAX));
    let operator = fields.read("operator", value::free(NAME_MAX));
    let scanned_at = fields.read("scanned_at", value::time);
    let note = fields.read("note", value::free(NOTE_MAX));
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

/// The request that a correction's fields make.
fn correction_of(
    mut fields: Fields<'_>,
    request_id: RequestId,
    work_order: Option<WorkOrderNumber>,
) -> Result<Request, Problem> {
    let counter = fields.required("counter", value::word(Counter::of_word, COUNTERS));
    let change = change_of(&mut fields);
    let expected = fields.read("expected", value::integer(0..=QUANTITY_LIMIT)).and_then(Quantity::new);
    let reason = fields.required("reason", value::filled(NOTE_MAX));
    let operator = fields.required("operator", value::filled(NAME_MAX));
    let note = fields.read("note", value::free(NOTE_MAX));
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
    let delta = fields.read("delta", |sent| match value::integer(-QUANTITY_LIMIT..=QUANTITY_LIMIT)(sent)? {
        0 => Err("must not be 0".into()),
        delta => Ok(delta),
    });
    let set_to = fields.read("set_to", value::integer(0..=QUANTITY_LIMIT));
    match (delta, set_to) {
        (Some(delta), _) => Delta::new(delta).map(Change::Delta),
        (None, Some(set_to)) => Quantity::new(set_to).map(Change::SetTo),
        (None, None) => None,
    }
}

const COUNTERS: &str = "input, output or scrap";

fn scan_action(word: &str) -> Option<Action> {
    [Action::Scan, Action::Unbind].into_iter().find(|action| action.word() == word)
}

/// Hands one request in and answers what became of it.
async fn settle(http: &Http, Caller(principal): Caller, request: Request) -> Result<Response, Problem> {
    let request_id = request.request_id.clone();
    let mut answers = http.counter.submit(vec![request], &principal);
    let answer = answers.pop().expect("one receiver per request handed in");
    let Counted { update, replayed } = settled(answer.await, &request_id)?;
    let mut response = json_response(StatusCode::CREATED, &Rendered::of(&update));
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
    Ok(response)
}

/// A counted update that can be rendered as it was first answered.
#[derive(Debug)]
struct Counted {
    update: Arc<Update>,
    replayed: bool,
}

/// An answer in HTTP's terms: **the** match between what counting knows and what a client gets.
fn settled(answer: Result<Answer, oneshot::error::RecvError>, request_id: &RequestId) -> Result<Counted, Problem> {
    let problem = match answer {
        Ok(Answer::Decided { update, replayed, original }) => match update.code {
            None => {
                return match Rendered::is_known(update.rendering) {
                    true => Ok(Counted { update, replayed }),
                    false => Err(newer(&update).about(request_id.clone())),
                };
            }
            Some(code) => {
                let more = original.map_or(More::Nothing, More::Original);
                let detail = refusal(&update, &more);
                Problem { replayed, more, ..Problem::new(code.into(), detail) }
            }
        },
        Ok(Answer::KeyReused { update, differs }) => {
            let applied = match update.outcome {
                Outcome::Counted => Applied::Unknown,
                Outcome::Refused => Applied::No,
            };
            let detail = format!("another request was {} under this id", update.outcome.word());
            Problem {
                more: More::Differs { fields: differs, applied },
                ..Problem::new(Code::IdempotencyKeyReused, detail)
            }
        }
        Ok(Answer::WorkOrderUnknown) => Problem::new(Code::WorkOrderUnknown, "no work order has this number"),
        Ok(Answer::Unsettled(unsettled)) => {
            let code = Code::from(unsettled);
            Problem::new(code, code.explanation(Language::English))
        }
        Err(oneshot::error::RecvError { .. }) => Problem::new(Code::InternalError, "counting gave no answer"),
    };
    Err(problem.about(request_id.clone()))
}

/// A newer release has answered this id in a form that this one does not know, and a 201
/// is byte-equal for ever: only that release can repeat it.
fn newer(update: &Update) -> Problem {
    let detail = format!("rendering {} belongs to a newer release, which can answer this", update.rendering);
    Problem::new(Code::StorageUnavailable, detail)
}

/// Why an update was refused, in words.
fn refusal(update: &Update, more: &More) -> String {
    let Update { work_order, counter, before, work_order_status: status, .. } = update;
    let stood = format!("{counter} of {work_order} stood at {}", before.get());
    match (Code::from(update.code.expect("only refused updates come here")), more) {
        (Code::BarcodeAlreadyCounted, More::Original(original)) => {
            let by =
                |what: &str, name: &Option<String>| name.as_ref().map_or(String::new(), |n| format!(", {what} {n}"));
            let (station, operator) = (by("station", &original.station), by("operator", &original.operator));
            format!("counted at {}{station}{operator}", original.recorded_at)
        }
        (Code::WorkOrderNotOpen, _) => format!("{work_order} was {}", status.word()),
        (Code::OverPlan, _) => format!("{stood}, with {} remaining of the plan", update.remaining.get()),
        _ => stood,
    }
}

/// The items of a batch, each as its text. Only the batch's own shape and count are judged here.
fn items_of(body: &JsonBody) -> Result<Vec<&str>, Problem> {
    let mut fields = body.unread_fields()?;
    let items = fields.required("scans", |scans| {
        let items = match scans {
            Value::Unread(text) => json::unread_list(text),
            _ => None,
        };
        let fit = |items: &Vec<&str>| (1..=BATCH_MAX).contains(&items.len());
        items.filter(fit).ok_or_else(|| format!("must be a list of 1 to {BATCH_MAX} scans").into())
    });
    fields.finish(items)
}

/// One item of a batch: a request, or what is wrong with it.
struct Item {
    request_id: Option<RequestId>,
    request: Result<Request, Problem>,
}

impl Item {
    fn read(text: &str) -> Self {
        let object = match json::object(text.as_bytes()) {
            Ok(object) => object,
            Err(problem) => return Self { request_id: None, request: Err(problem) },
        };
        let request_id = Self::key(&object);
        let known = request_id.as_ref().ok().cloned();
        let request = object.sound().and_then(|object| {
            let request_id = request_id?;
            let mut fields = Fields::of(object);
            _ = fields.read("request_id", Ok);
            let work_order = fields.required("work_order", value::work_order);
            scan_of(fields, request_id, work_order)
        });
        let request = request.map_err(|problem| Problem { request_id: known.clone(), ..problem });
        Self { request_id: known, request }
    }

    fn key(object: &Object<'_>) -> Result<RequestId, Problem> {
        match object.once("request_id") {
            None | Some(Value::Null) => Err(Problem::new(Code::IdempotencyKeyMissing, "request_id is required")),
            Some(sent) => value::request_id(sent.clone())
                .map_err(|reason| Problem::new(Code::IdempotencyKeyInvalid, format!("request_id {reason}"))),
        }
    }
}

/// `{"results":[…]}`, one per item, in order.
#[derive(Serialize)]
struct Results<'a> {
    results: Vec<ItemResult<'a>>,
}

#[derive(Serialize)]
struct ItemResult<'a> {
    request_id: Option<&'a RequestId>,
    status: u16,
    replayed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    update: Option<Rendered<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Members<'a>>,
}

impl<'a> ItemResult<'a> {
    fn of(
        request_id: Option<&'a RequestId>,
        settled: &'a Result<Counted, Problem>,
        language: Language,
        instance: &'a str,
    ) -> Self {
        match settled {
            Ok(Counted { update, replayed }) => Self {
                request_id,
                status: StatusCode::CREATED.as_u16(),
                replayed: *replayed,
                update: Some(Rendered::of(update)),
                problem: None,
            },
            Err(problem) => Self {
                request_id,
                status: problem.code.status().as_u16(),
                replayed: problem.replayed,
                update: None,
                problem: Some(problem.members(language, instance, true)),
            },
        }
    }
}
