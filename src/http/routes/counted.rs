//! What counting answers, and what the client gets for it: an update, or a problem.

use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use tokio::sync::oneshot;

use crate::counting::Answer;
use crate::domain::ids::RequestId;
use crate::domain::request::Request;
use crate::domain::update::{Action, Outcome, Update};
use crate::http::input::extractors::Sender;
use crate::http::output::code::{Applied, Code};
use crate::http::output::language::Language;
use crate::http::output::problem::{Extension, Problem};
use crate::http::output::render::UpdateView;
use crate::http::output::response::{self, mark_replayed};
use crate::http::state::Http;

/// A counted update that can be shown as it was first answered.
#[derive(Debug)]
pub(super) struct Counted {
    pub update: Arc<Update>,
    pub replayed: bool,
}

/// Gives one request to counting, waits, and answers.
pub(super) async fn count_one(http: &Http, sender: Sender, request: Request) -> Result<Response, Problem> {
    let request_id = request.request_id.clone();
    let mut answers = http.counter.submit(vec![request], &sender.principal);
    let answer = answers.pop().expect("one receiver per request submitted").await;
    http.replays.look(&answer, &sender);
    let Counted { update, replayed } = counted(answer, &request_id)?;
    let mut response = response::json(StatusCode::CREATED, &UpdateView::of(&update));
    mark_replayed(&mut response, replayed);
    Ok(response)
}

/// Turns every answer of counting into what the client gets. It is the only place that does.
pub(super) fn counted(
    answer: Result<Answer, oneshot::error::RecvError>,
    request_id: &RequestId,
) -> Result<Counted, Problem> {
    let problem = match answer {
        Ok(Answer::Decided { update, replayed, original }) => match update.code {
            None => {
                return match UpdateView::is_known(update.rendering) {
                    true => Ok(Counted { update, replayed }),
                    false => Err(newer(&update).about(request_id.clone())),
                };
            }
            Some(code) => {
                let extension = original.map_or(Extension::Nothing, Extension::Original);
                let detail = refusal(&update, code.into(), &extension);
                Problem { replayed, extension, ..Problem::new(code.into(), detail) }
            }
        },
        Ok(Answer::KeyReused { update, differs }) => {
            let applied = match update.outcome {
                Outcome::Counted => Applied::Unknown,
                Outcome::Refused => Applied::No,
            };
            let detail = format!("another request was {} under this id", update.outcome.word());
            Problem {
                extension: Extension::Differs { fields: differs, applied },
                ..Problem::new(Code::IdempotencyKeyReused, detail)
            }
        }
        Ok(Answer::WorkOrderUnknown) => Problem::new(Code::WorkOrderUnknown, "no work order has this number"),
        Ok(Answer::UpdateUnknown) => {
            Problem::new(Code::UpdateUnknown, "the scan that it undoes is not known; it may still be on its way")
        }
        Ok(Answer::Unsettled(unsettled)) => {
            let code = Code::from(unsettled);
            Problem::new(code, code.explanation(Language::English))
        }
        Err(oneshot::error::RecvError { .. }) => Problem::new(Code::InternalError, "counting gave no answer"),
    };
    Err(problem.about(request_id.clone()))
}

/// A newer release has answered this id in a form that this release does not know. A 201 must stay
/// the same for ever, so only the newer release can repeat it.
fn newer(update: &Update) -> Problem {
    let detail = format!("rendering {} belongs to a newer release; a replica of it can answer this", update.rendering);
    Problem::new(Code::StorageUnavailable, detail)
}

/// Why an update was refused, in words.
fn refusal(update: &Update, code: Code, extension: &Extension) -> String {
    let Update { work_order, counter, before, work_order_status: status, .. } = update;
    let quantity = format!("{counter} of {work_order} was {}", before.get());
    match (code, extension) {
        (Code::BarcodeAlreadyCounted, Extension::Original(original)) => {
            let by =
                |what: &str, name: &Option<String>| name.as_ref().map_or(String::new(), |n| format!(", {what} {n}"));
            let (station, operator) = (by("station", &original.station), by("operator", &original.operator));
            format!("counted at {}{station}{operator}", original.recorded_at)
        }
        (Code::WorkOrderNotOpen, _) => format!("{work_order} was {}", status.word()),
        (Code::BelowZero, _) if matches!(update.action, Action::Unbind | Action::Undo) => format!(
            "{quantity}, which is less than the scan counted; a correction with set_to and \"barcodes\":\"release\" \
             frees the counter's barcodes"
        ),
        (Code::OverPlan, _) => format!("{quantity}, with {} remaining of the plan", update.remaining.get()),
        _ => quantity,
    }
}
