//! Batches: the scans that a terminal has queued while it was offline.
//!
//! Each item is checked, counted and answered by itself.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::counted::{Counted, counted};
use super::scans::scan_of;
use crate::domain::ids::RequestId;
use crate::domain::request::Request;
use crate::http::input::extractors::{JsonBody, Sender};
use crate::http::input::fields::Fields;
use crate::http::input::json::{self, Object, Value};
use crate::http::input::values;
use crate::http::output::code::Code;
use crate::http::output::language::Language;
use crate::http::output::problem::{Members, Problem};
use crate::http::output::render::UpdateView;
use crate::http::output::response;
use crate::http::state::Http;

/// Most scans in one batch.
const BATCH_MAX: usize = 1000;

/// `POST /v1/scans`
pub(super) async fn batch(
    State(http): State<Arc<Http>>,
    sender: Sender,
    headers: HeaderMap,
    uri: Uri,
    body: JsonBody,
) -> Result<Response, Problem> {
    let items: Vec<Item> = items_of(&body)?.into_iter().map(Item::read).collect();
    let good = items.iter().filter_map(|item| item.request.as_ref().ok()).cloned().collect();
    let mut answers = http.counter.submit(good, &sender.principal).into_iter();
    let mut answered = Vec::with_capacity(items.len());
    for Item { request_id, request } in items {
        let answer = match request {
            Err(problem) => Err(problem),
            Ok(request) => {
                let answer = answers.next().expect("one receiver per request submitted");
                let answer = answer.await;
                http.replays.look(&answer, &sender);
                counted(answer, &request.request_id)
            }
        };
        answered.push((request_id, answer));
    }
    let language = Language::of(&headers);
    let result = |(id, answer)| ItemResult::of(Option::as_ref(id), answer, language, uri.path());
    let results = answered.iter().map(|(id, answer)| result((id, answer))).collect();
    Ok(response::json(StatusCode::OK, &Results { results }))
}

/// The items of a batch, each as its text. Only the batch's own shape and count are checked here.
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
            let work_order = fields.required("work_order", values::work_order);
            scan_of(fields, request_id, work_order)
        });
        let request = request.map_err(|problem| Problem { request_id: known.clone(), ..problem });
        Self { request_id: known, request }
    }

    fn key(object: &Object<'_>) -> Result<RequestId, Problem> {
        match object.once("request_id") {
            None | Some(Value::Null) => Err(Problem::new(Code::IdempotencyKeyMissing, "request_id is required")),
            Some(sent) => values::request_id(sent.clone())
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
    update: Option<UpdateView<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<Members<'a>>,
}

impl<'a> ItemResult<'a> {
    fn of(
        request_id: Option<&'a RequestId>,
        answer: &'a Result<Counted, Problem>,
        language: Language,
        instance: &'a str,
    ) -> Self {
        match answer {
            Ok(Counted { update, replayed }) => Self {
                request_id,
                status: StatusCode::CREATED.as_u16(),
                replayed: *replayed,
                update: Some(UpdateView::of(update)),
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
