//! How the service does, what it can say about itself, and what its problems mean.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::http::header::{CACHE_CONTROL, CONTENT_LANGUAGE, CONTENT_TYPE, VARY};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::extract::PathText;
use super::problem::{Code, Language, Problem};
use super::{Http, json_response};
use crate::lease::Health;
use crate::store::{Readiness, StoreError};

/// The contract in the form that programs read.
pub const OPENAPI: &str = include_str!("../../openapi.yaml");

/// How long the store has to say whether it is ready; and for how long that is believed,
/// so that no number of probes becomes a load on the database.
const PATIENCE: Duration = Duration::from_secs(1);
const BELIEVED: Duration = Duration::from_secs(1);

/// `GET /livez`: the process runs.
pub(super) async fn livez() -> Response {
    text("text/plain; charset=utf-8", "ok\n")
}

/// `GET /metrics`
pub(super) async fn metrics(State(http): State<Arc<Http>>) -> Response {
    text("application/openmetrics-text; version=1.0.0; charset=utf-8", http.metrics.render())
}

/// `GET /openapi.yaml`
pub(super) async fn openapi() -> Response {
    text("application/yaml; charset=utf-8", OPENAPI)
}

/// `GET /problems/{code}`: what `type` points to.
pub(super) async fn explain(headers: HeaderMap, path: PathText) -> Result<Response, Problem> {
    let code = path.0.as_deref().and_then(Code::of_word);
    let code = code.ok_or_else(|| Problem::new(Code::NotFound, "there is no such problem"))?;
    let language = Language::of(&headers);
    let (title, explanation) = (code.title(language), code.explanation(language));
    let body = format!("{} {}\n\n{title}\n\n{explanation}\n", code.status().as_u16(), code.word());
    let mut response = text("text/plain; charset=utf-8", body);
    response.headers_mut().insert(CONTENT_LANGUAGE, HeaderValue::from_static(language.tag()));
    response.headers_mut().insert(VARY, HeaderValue::from_static("Accept-Language"));
    Ok(response)
}

/// `GET /readyz`: whether a scan can be counted.
pub(super) async fn readyz(State(http): State<Arc<Http>>) -> Response {
    let draining = http.stop.is_cancelled();
    let store = match draining {
        // Nobody is to be sent here any more, whatever the store says.
        true => None,
        false => Some(http.readiness.ask(&http).await),
    };
    let checks = Checks::of(store.as_ref(), http.lease.health(), http.channels.failing(), draining);
    let status = checks.worst();
    let code = if status == Status::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut response = json_response(code, &Report { status, checks });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the store last said about its readiness, and the question that is under way.
#[derive(Debug, Default)]
pub(super) struct LastReadiness(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    answer: Option<(Instant, Result<Readiness, String>)>,
    /// A call to the store is never cut short; one that takes too long is asked about
    /// again rather than repeated.
    under_way: Option<JoinHandle<Result<Readiness, StoreError>>>,
}

impl LastReadiness {
    async fn ask(&self, http: &Arc<Http>) -> Result<Readiness, String> {
        let mut asked = self.0.lock().await;
        if let Some((at, answer)) = &asked.answer
            && at.elapsed() < BELIEVED
        {
            return answer.clone();
        }
        let call = asked.under_way.get_or_insert_with(|| {
            let http = Arc::clone(http);
            http.tasks.clone().spawn(async move { http.store.ready().await })
        });
        let answer = match tokio::time::timeout(PATIENCE, &mut *call).await {
            Err(_) => Err("no answer in time".to_owned()),
            Ok(done) => {
                asked.under_way = None;
                match done {
                    Ok(Ok(readiness)) => Ok(readiness),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("the check itself failed".to_owned()),
                }
            }
        };
        asked.answer = Some((Instant::now(), answer.clone()));
        answer
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Ok,
    Warn,
    Fail,
}

#[derive(Serialize)]
struct Report {
    status: Status,
    checks: Checks,
}

#[derive(Serialize)]
struct Checks {
    storage: Check,
    migrations: Check,
    lease: Check,
    durability: Durability,
    alarms: AlarmChannels,
    draining: Check,
}

#[derive(Serialize)]
struct Check {
    status: Status,
    detail: &'static str,
}

/// On what a 201 rests: it is on disk in any case, on two machines where there is a
/// synchronous standby (contract, promise 9). `null` while that isn't known.
#[derive(Serialize)]
struct Durability {
    status: Status,
    synchronous_standby: Option<bool>,
}

/// Whether alarms reach people. Scans are counted either way.
#[derive(Serialize)]
struct AlarmChannels {
    status: Status,
    detail: &'static str,
    /// The channels whose last attempt failed.
    failing: Vec<String>,
}

impl Checks {
    fn of(store: Option<&Result<Readiness, String>>, lease: Health, failing: Vec<String>, draining: bool) -> Self {
        let check = |status, detail| Check { status, detail };
        let known = store.and_then(|answer| answer.as_ref().ok());
        Self {
            storage: match (store, known) {
                (None, _) => check(Status::Ok, "not asked"),
                (Some(_), None) => check(Status::Fail, "the database does not answer"),
                (Some(_), Some(Readiness { writable: false, .. })) => check(Status::Fail, "the database is read-only"),
                (Some(_), Some(_)) => check(Status::Ok, "writable"),
            },
            migrations: match known {
                None => check(Status::Ok, "not asked"),
                Some(Readiness { migrated: false, .. }) => check(Status::Fail, "run `scanfence migrate`"),
                Some(_) => check(Status::Ok, "applied"),
            },
            lease: match lease {
                Health::Good => check(Status::Ok, "leases are granted"),
                Health::RowsAlone => check(Status::Ok, "none configured: rows alone"),
                Health::Away => check(Status::Warn, "Redis does not answer: the fallback is in force"),
            },
            durability: Durability {
                status: Status::Ok,
                synchronous_standby: known.map(|readiness| readiness.synchronous_standby),
            },
            alarms: match failing.is_empty() {
                true => AlarmChannels { status: Status::Ok, detail: "no channel is failing", failing },
                false => AlarmChannels { status: Status::Warn, detail: "see `scanfence alarms`", failing },
            },
            draining: match draining {
                true => check(Status::Fail, "the service stops"),
                false => check(Status::Ok, "no"),
            },
        }
    }

    fn worst(&self) -> Status {
        let Self { storage, migrations, lease, durability, alarms, draining } = self;
        let checks = [storage, migrations, lease, draining].map(|check| check.status);
        [durability.status, alarms.status].into_iter().chain(checks).max().expect("there are checks")
    }
}

fn text(kind: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
