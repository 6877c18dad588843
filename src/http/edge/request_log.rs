//! One metric and one log line per request.

use axum::extract::{MatchedPath, Request};
use axum::http::header::ACCEPT_LANGUAGE;
use axum::http::{HeaderMap, HeaderValue, Method, Uri};
use axum::response::Response;
use tokio::time::Instant;

use super::places::OnlyHealth;
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::http::input::extractors::{key_header, key_of};
use crate::http::output::language::Language;
use crate::http::output::problem::Problem;
use crate::http::routes::{KEYED, ROUTES};
use crate::telemetry::{HttpLabels, Metrics};

/// What is kept of a request once its handler has the request itself.
pub(super) struct RequestInfo {
    pub started: Instant,
    pub method: Method,
    pub uri: Uri,
    /// The matched route; empty if none matched.
    pub route: &'static str,
    /// Whether the connection has a place for health only.
    pub only_health: bool,
    languages: HeaderMap,
    key: Option<HeaderValue>,
}

impl RequestInfo {
    pub(super) fn of(request: &Request) -> Self {
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
            only_health: request.extensions().get::<OnlyHealth>().is_some(),
            languages,
            key: key_header(request.headers()).cloned(),
        }
    }

    /// The request id of the header, if this route takes one and it is valid.
    pub(super) fn request_id(&self) -> Option<RequestId> {
        self.key.as_ref().filter(|_| KEYED.contains(&self.route)).and_then(key_of)
    }

    /// The language of the answer's title.
    pub(super) fn language(&self) -> Language {
        Language::of(&self.languages)
    }

    /// The work order that the path names.
    fn work_order(&self) -> Option<WorkOrderNumber> {
        let at = self.route.split('/').position(|part| part == "{work_order}")?;
        WorkOrderNumber::parse(self.uri.path().split('/').nth(at)?).ok()
    }

    /// Counts and logs the request. Successes are logged at debug level, because the update log
    /// has every counted scan already.
    pub(super) fn log(&self, metrics: &Metrics, response: &Response, problem: Option<&Problem>) {
        let status = response.status().as_u16();
        let labels = HttpLabels { method: method_label(&self.method), route: self.route, status };
        metrics.http_requests.get_or_create(&labels).inc();
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
            // Another line says it once, when the service stops or the store fails. Probes would
            // repeat it.
            503 if self.route == "/readyz" => line!(debug),
            500.. => line!(warn),
            400.. => line!(info),
            _ => line!(debug),
        }
    }
}

/// The method as a metric's label, which must have few values.
fn method_label(method: &Method) -> &'static str {
    const USUAL: [&str; 9] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];
    USUAL.into_iter().find(|usual| method.as_str() == *usual).unwrap_or("OTHER")
}
