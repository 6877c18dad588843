//! Health and metrics.

use std::sync::Arc;

use axum::extract::State;
use axum::http::header::{ACCEPT, CACHE_CONTROL};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

use crate::http::output::response::{json, with_type};
use crate::http::state::Http;
use crate::lease::Health;
use crate::store::Readiness;

/// `GET /livez`: the process runs.
pub(super) async fn livez() -> Response {
    with_type("text/plain; charset=utf-8", "ok\n")
}

/// `GET /metrics`: in OpenMetrics, or in the older text format where only that is accepted.
pub(super) async fn metrics(State(http): State<Arc<Http>>, headers: HeaderMap) -> Response {
    let accepts = |kind: &str| {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        accepted.flat_map(|value| value.split(',')).any(|part| part.trim_start().starts_with(kind))
    };
    match accepts("text/plain") && !accepts("application/openmetrics-text") {
        true => with_type("text/plain; version=0.0.4; charset=utf-8", http.metrics.render_text()),
        false => with_type("application/openmetrics-text; version=1.0.0; charset=utf-8", http.metrics.render()),
    }
}

/// `GET /readyz`: whether a scan can be counted.
pub(super) async fn readyz(State(http): State<Arc<Http>>) -> Response {
    let draining = http.stop.is_cancelled();
    let store = match draining {
        // No more requests are to come here, whatever the store says.
        true => None,
        false => Some(http.readiness.ask(&http.store, &http.tasks).await),
    };
    let checks = Checks::of(store.as_ref(), http.lease.health(), http.channels.failing(), draining);
    let status = checks.worst();
    let code = if status == Status::Fail { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK };
    let mut response = json(code, &Report { status, checks });
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
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

/// Where a counted scan is stored: on disk in any case, and on two machines if there is a synchronous
/// standby (contract, promise 9). `null` while that isn't known.
#[derive(Serialize)]
struct Durability {
    status: Status,
    synchronous_standby: Option<bool>,
}

/// Whether alarms reach people. Scans are counted in both cases.
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
                (Some(_), None) => check(Status::Fail, "the database does not answer: scans can't be counted"),
                (Some(_), Some(Readiness { writable: false, .. })) => {
                    check(Status::Fail, "the database is read-only: scans can't be counted")
                }
                (Some(_), Some(_)) => check(Status::Ok, "writable"),
            },
            migrations: match known {
                None => check(Status::Ok, "not asked"),
                Some(Readiness { migrated: false, .. }) => check(Status::Fail, "run `scanfence migrate`"),
                Some(_) => check(Status::Ok, "applied"),
            },
            lease: match lease {
                Health::Good => check(Status::Ok, "leases are granted"),
                Health::RowsAlone => check(Status::Ok, "no Redis configured: work is ordered by database rows alone"),
                Health::Away => check(Status::Warn, "Redis does not answer: counting goes on, slower"),
                Health::Refusing => {
                    check(Status::Fail, "Redis does not answer: scans get 503, because lease-fallback is `refuse`")
                }
            },
            durability: Durability {
                status: Status::Ok,
                synchronous_standby: known.map(|readiness| readiness.synchronous_standby),
            },
            alarms: match failing.is_empty() {
                true => AlarmChannels { status: Status::Ok, detail: "no channel is failing", failing },
                false => AlarmChannels {
                    status: Status::Warn,
                    detail: "the last message failed; see `scanfence alarms`",
                    failing,
                },
            },
            draining: match draining {
                true => check(Status::Fail, "the service is stopping"),
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
