//! The edge: what every request passes before and after its handler.
//!
//! In this order: draining, access, requests in flight, the body within its size and
//! time, then the handler. A client that goes away, or a request that runs out of time,
//! never cancels a commit: what is counted is in the committer's hands by then, and every
//! other handler has a task of its own, which goes on, and is waited for when the service
//! stops. On the way out a problem is written down, and the request counted and logged, once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{ACCEPT_LANGUAGE, CACHE_CONTROL, CONNECTION, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::FutureExt as _;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use hyper::body::Body as _;
use tokio::time::{Instant, timeout, timeout_at};

use super::extract::{Caller, Sent, key_header, key_of};
use super::problem::{Code, Language, Problem};
use super::{BATCH, COUNTING, Http, KEYED, OPEN, ROUTES};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::telemetry::HttpLabels;

/// The outermost layer of every route.
pub(super) async fn edge(State(http): State<Arc<Http>>, request: Request, next: Next) -> Response {
    let seen = Seen::of(&request);
    let answer = handled(&http, &seen, request, next).await;
    let mut response = answer.unwrap_or_else(Problem::into_response);
    let problem = response.extensions_mut().remove::<Arc<Problem>>().map(|problem| seen.named(problem));
    if let Some(problem) = &problem {
        response = problem.response(seen.language(), seen.uri.path(), !seen.method.is_safe());
        if problem.code == Code::ShuttingDown {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
    }
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if seen.uri.path().starts_with(API) {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
    seen.note(&http, &response, problem.as_deref());
    response
}

/// What a stopping service no longer answers.
const API: &str = "/v1/";

async fn handled(http: &Http, seen: &Seen, request: Request, next: Next) -> Result<Response, Problem> {
    let deadline = seen.started + http.limits.request;
    let (mut parts, body) = request.into_parts();
    if http.stop.is_cancelled() && seen.uri.path().starts_with(API) {
        return Err(Problem::new(Code::ShuttingDown, "this replica stops"));
    }
    let permit = match OPEN.contains(&seen.route) {
        true => None,
        false => {
            parts.extensions.insert(Caller(http.access.judge(&parts)?));
            let permit = Arc::clone(&http.in_flight).try_acquire_owned();
            Some(permit.map_err(|_| Problem::new(Code::Overloaded, "too many requests are under way"))?)
        }
    };
    let limit = if seen.route == BATCH { http.limits.batch_body } else { http.limits.body };
    let sent = timeout_at(deadline, collected(body, limit));
    let sent = sent.await.map_err(|_| Problem::new(Code::RequestTimeout, "the body did not arrive in time"))?;
    parts.extensions.insert(sent?);
    let handler = async move {
        let response = next.run(Request::from_parts(parts, Body::empty())).await;
        drop(permit);
        response
    };
    let handled = async {
        match COUNTING.contains(&seen.route) {
            true => AssertUnwindSafe(handler).catch_unwind().await.map_err(|_| Failed),
            false => http.tasks.spawn(handler).await.map_err(|_| Failed),
        }
    };
    match timeout_at(deadline, handled).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(Failed)) => {
            tracing::error!(route = seen.route, "a request's handler panicked");
            Err(Problem::new(Code::InternalError, "a defect of the service; the log has its place"))
        }
        Err(_) => Err(Problem::new(Code::RequestTimeout, "not done in time; it goes on and may yet take effect")),
    }
}

/// A handler panicked.
struct Failed;

/// How much of a body beyond its limit is read and thrown away, and for how long: a client
/// that is still sending when the connection closes never sees why.
const DISCARDED: usize = 4 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(2);

/// The body, kept no further than its limit.
async fn collected(mut body: Body, limit: usize) -> Result<Sent, Problem> {
    if body.is_end_stream() {
        return Ok(Sent::Whole(Bytes::new()));
    }
    if usize::try_from(body.size_hint().lower()).map_or(true, |size| size > limit) {
        discard(body).await;
        return Ok(Sent::TooLarge(limit));
    }
    match Limited::new(&mut body, limit).collect().await {
        Ok(collected) => Ok(Sent::Whole(collected.to_bytes())),
        Err(error) if error.is::<LengthLimitError>() => {
            discard(body).await;
            Ok(Sent::TooLarge(limit))
        }
        Err(_) => Err(Problem::new(Code::MalformedRequest, "the body broke off or is not framed as HTTP asks")),
    }
}

/// Reads the rest of a body that is too large, within bounds, so that its client gets as
/// far as reading the answer.
async fn discard(body: Body) {
    let mut rest = Limited::new(body, DISCARDED);
    let discarding = async { while let Some(Ok(_)) = rest.frame().await {} };
    // However it ends, the body is refused.
    let _ = timeout(DISCARDING, discarding).await;
}

/// What is remembered of a request once its handler has it.
struct Seen {
    started: Instant,
    method: Method,
    uri: Uri,
    /// The matched route, empty where none matched.
    route: &'static str,
    languages: HeaderMap,
    key: Option<HeaderValue>,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
        let route = matched.and_then(|matched| ROUTES.iter().find(|(_, path)| *path == matched));
        let mut languages = HeaderMap::new();
        for line in request.headers().get_all(ACCEPT_LANGUAGE) {
            languages.append(ACCEPT_LANGUAGE, line.clone());
        }
        Self {
            started: Instant::now(),
            method: request.method().clone(),
            uri: request.uri().clone(),
            route: route.map_or("", |(_, path)| path),
            languages,
            key: key_header(request.headers()).cloned(),
        }
    }

    /// The request id of the header, where this route takes one and it is one.
    fn request_id(&self) -> Option<RequestId> {
        self.key.as_ref().filter(|_| KEYED.contains(&self.route)).and_then(key_of)
    }

    /// A problem with its request id, which those of the edge itself don't know: whoever gets
    /// no answer in time has to ask after it by this id.
    fn named(&self, problem: Arc<Problem>) -> Arc<Problem> {
        match (&problem.request_id, self.request_id()) {
            (None, Some(request_id)) => Arc::new(Arc::unwrap_or_clone(problem).about(request_id)),
            _ => problem,
        }
    }

    fn language(&self) -> Language {
        Language::of(&self.languages)
    }

    /// The work order that the path names.
    fn work_order(&self) -> Option<WorkOrderNumber> {
        let named = self.route.split('/').position(|part| part == "{work_order}")?;
        WorkOrderNumber::parse(self.uri.path().split('/').nth(named)?).ok()
    }

    /// One count and one line per request: quiet where all is well, since the update log
    /// has every counted scan already.
    fn note(&self, http: &Http, response: &Response, problem: Option<&Problem>) {
        let status = response.status().as_u16();
        let labels = HttpLabels { method: method_label(&self.method), route: self.route, status };
        http.metrics.http_requests.get_or_create(&labels).inc();
        macro_rules! line {
            ($level:ident) => {
                tracing::$level!(
                    method = labels.method,
                    route = self.route,
                    status,
                    code = problem.map(|problem| problem.code.word()),
                    detail = problem.map(|problem| problem.detail.as_ref()),
                    work_order = self.work_order().map(tracing::field::display),
                    request_id = self.request_id().map(tracing::field::display),
                    elapsed_ms = self.started.elapsed().as_secs_f64() * 1000.0,
                    "request"
                )
            };
        }
        match status {
            // Said once, where the service stops or the store fails; probes would repeat it.
            503 if self.route == "/readyz" => line!(debug),
            500.. => line!(warn),
            400.. => line!(info),
            _ => line!(debug),
        }
    }
}

/// The method as a label of few values.
fn method_label(method: &Method) -> &'static str {
    const USUAL: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    USUAL.into_iter().find(|usual| method.as_str() == *usual).unwrap_or("OTHER")
}
