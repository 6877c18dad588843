//! The outermost layer of every route.
//!
//! | step | if it fails |
//! | --- | --- |
//! | does it say once for which host it is? | 400 `malformed-request` |
//! | has the connection a place for health only? | 503 `overloaded` |
//! | is the service stopping? | 503 `shutting-down` |
//! | who calls? | 401 `unauthenticated`, 403 `forbidden` |
//! | is there room for one more request? | 503 `overloaded` |
//! | collect the body, within size and time | 408 `request-timeout`, or the handler's 413 |
//! | run the handler, within the time | 503 `timed-out`, 500 `internal-error` |
//! | write the problem, if there is one; count and log the request | |
//!
//! A client that leaves, or a request that runs out of time, never cancels a commit. What is counted
//! belongs to the committer. Every other handler has a task of its own: it goes on, and the service
//! waits for it before it stops.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::{CACHE_CONTROL, CONNECTION, X_CONTENT_TYPE_OPTIONS};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use tokio::time::timeout_at;

use super::access::check_host;
use super::body::collected;
use super::places::OnlyHealth;
use super::request_log::RequestInfo;
use crate::http::input::extractors::{Caller, CollectedBody};
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;
use crate::http::routes::{self, BATCH, COUNTING, HEALTH, OPEN};
use crate::http::state::Http;

/// A stopping service no longer answers paths that start like this.
const API: &str = "/v1/";

/// All routes behind the edge.
pub(in crate::http) fn router(http: Arc<Http>) -> Router {
    routes::routes().layer(middleware::from_fn_with_state(Arc::clone(&http), guard)).with_state(http)
}

/// The steps before and after a handler.
async fn guard(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let info = RequestInfo::of(&request);
    let answer = handled(&http, &info, request, next).await;
    let mut response = answer.unwrap_or_else(Problem::into_response);
    let problem = response.extensions_mut().remove::<Arc<Problem>>().map(|problem| named(problem, &info));
    if let Some(problem) = &problem {
        response = problem.response(info.language(), info.uri.path(), !info.method.is_safe());
    }
    let headers = response.headers_mut();
    if info.only_health || problem.as_ref().is_some_and(|problem| problem.code == Code::ShuttingDown) {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if info.uri.path().starts_with(API) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    info.log(&http.metrics, &response, problem.as_deref());
    response
}

/// The steps up to the handler's answer.
async fn handled(http: &Http, info: &RequestInfo, request: Request, next: Next) -> Result<Response, Problem> {
    let deadline = info.started + http.limits.request;
    let (mut parts, body) = request.into_parts();
    check_host(&parts)?;
    let is_health = HEALTH.contains(&info.route);
    if parts.extensions.get::<OnlyHealth>().is_some() && !is_health {
        return Err(Problem::new(Code::Overloaded, "all connections are used"));
    }
    if http.stop.is_cancelled() && info.uri.path().starts_with(API) {
        return Err(Problem::new(Code::ShuttingDown, "this replica is stopping"));
    }
    if !OPEN.contains(&info.route) {
        parts.extensions.insert(Caller(http.access.authenticate(&parts)?));
    }
    let permit = match is_health || OPEN.contains(&info.route) {
        true => None,
        false => {
            let permit = Arc::clone(&http.in_flight).try_acquire_owned();
            Some(permit.map_err(|_| Problem::new(Code::Overloaded, "too many requests are in progress"))?)
        }
    };
    let limit = if info.route == BATCH { http.limits.batch_body } else { http.limits.body };
    // A route without a body reads none.
    let body = match info.method.is_safe() {
        true => CollectedBody::Whole(Bytes::new()),
        false => {
            let body = timeout_at(deadline, collected(body, limit)).await;
            body.map_err(|_| Problem::new(Code::RequestTimeout, "the body did not arrive in time"))??
        }
    };
    parts.extensions.insert(body);
    let handler = async move {
        let response = next.run(Request::from_parts(parts, Body::empty())).await;
        drop(permit);
        response
    };
    let handled = async {
        match COUNTING.contains(&info.route) {
            true => AssertUnwindSafe(handler).catch_unwind().await.map_err(|_| Panicked),
            false => http.tasks.spawn(handler).await.map_err(|_| Panicked),
        }
    };
    match timeout_at(deadline, handled).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Panicked)) => {
            tracing::error!(route = info.route, "a request's handler panicked");
            Err(Problem::new(Code::InternalError, "a defect of the service; its log names the place"))
        }
        Err(_) => Err(Problem::new(Code::TimedOut, "not done in time; it goes on and may still take effect")),
    }
}

/// A handler panicked.
struct Panicked;

/// The problem with its request id. The edge's own problems don't know it, and a client without an
/// answer has to ask by this id what happened.
fn named(problem: Arc<Problem>, info: &RequestInfo) -> Arc<Problem> {
    match (&problem.request_id, info.request_id()) {
        (None, Some(request_id)) => Arc::new(Arc::unwrap_or_clone(problem).about(request_id)),
        _ => problem,
    }
}
