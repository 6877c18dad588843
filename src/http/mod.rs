//! HTTP: the edge of the service, and the only part that knows of it.
//!
//! In reading order: the routes (below), what every request passes ([`edge`], [`access`]),
//! how it is read ([`extract`], [`json`]), what answers it ([`scans`], [`work_orders`],
//! [`updates`], [`consistency`], [`health`]), how refusals are worded ([`problem`]), lists ([`pages`]),
//! and the sockets underneath ([`server`], [`wire`]).

pub mod access;
mod code;
mod consistency;
mod edge;
mod extract;
pub mod health;
mod json;
mod pages;
pub mod problem;
mod scans;
pub mod server;
mod updates;
mod wire;
mod work_orders;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware;
use axum::response::Response;
use axum::routing::{MethodFilter, on};
use serde::Serialize;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::access::Access;
use self::problem::{Code, Problem};
use crate::alarms::Channels;
use crate::counting::Counter;
use crate::lease::Lease;
use crate::monitor::Monitor;
use crate::store::Store;
use crate::telemetry::Metrics;

macro_rules! routes {
    ($($method:ident $path:literal $handler:path;)*) => {
        /// Every route: method and path. `HEAD` goes where `GET` does.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        fn routes() -> Router<Arc<Http>> {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*
        }
    };
}

routes! {
    POST  "/v1/work-orders/{work_order}/scans"       scans::scan;
    POST  "/v1/work-orders/{work_order}/corrections" scans::correct;
    POST  "/v1/scans"                                scans::batch;

    GET   "/v1/work-orders"                          work_orders::list;
    PUT   "/v1/work-orders/{work_order}"             work_orders::put;
    PATCH "/v1/work-orders/{work_order}"             work_orders::patch;
    GET   "/v1/work-orders/{work_order}"             work_orders::get;
    GET   "/v1/work-orders/{work_order}/updates"     updates::list;
    GET   "/v1/work-orders/{work_order}/lease"       work_orders::lease;
    GET   "/v1/updates"                              updates::search;
    GET   "/v1/updates/{request_id}"                 updates::get;

    GET   "/v1/consistency"                          consistency::verdict;
    POST  "/v1/consistency/checks"                   consistency::start;
    GET   "/v1/consistency/checks/{check_id}"        consistency::check;
    GET   "/v1/consistency/findings"                 consistency::findings;
    GET   "/v1/consistency/findings/{finding_id}"    consistency::finding;
    POST  "/v1/consistency/findings/{finding_id}/repair" consistency::repair;

    GET   "/livez"                                   health::livez;
    GET   "/readyz"                                  health::readyz;
    GET   "/metrics"                                 health::metrics;
    GET   "/openapi.yaml"                            health::openapi;
    GET   "/problems/{code}"                         health::explain;
}

/// The routes that anybody may ask, also while the service is full.
const OPEN: [&str; 4] = ["/livez", "/readyz", "/openapi.yaml", "/problems/{code}"];

/// The routes whose handlers hand in to the committer and wait: it goes on without them.
const COUNTING: [&str; 3] = ["/v1/work-orders/{work_order}/scans", "/v1/work-orders/{work_order}/corrections", BATCH];

/// The routes that take their request id from the header `Idempotency-Key`.
const KEYED: [&str; 3] = [
    "/v1/work-orders/{work_order}/scans",
    "/v1/work-orders/{work_order}/corrections",
    "/v1/consistency/findings/{finding_id}/repair",
];

/// The route whose body may be as large as [`Limits::batch_body`].
const BATCH: &str = "/v1/scans";

/// Says that this answer was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// What the HTTP layer works with.
pub struct Http {
    counter: Arc<dyn Counter>,
    store: Arc<dyn Store>,
    lease: Arc<dyn Lease>,
    monitor: Arc<Monitor>,
    channels: Arc<Channels>,
    metrics: Arc<Metrics>,
    access: Access,
    limits: Limits,
    /// Cancelled once the service is to stop.
    stop: CancellationToken,
    /// The requests that go on whether or not their client still waits: all but those of
    /// [`COUNTING`], which the committer carries on.
    tasks: TaskTracker,
    in_flight: Arc<Semaphore>,
    readiness: health::LastReadiness,
}

/// The limits of the edge; past each of them a request is refused, so that memory never
/// grows without end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Largest body of a batch, in bytes.
    pub batch_body: usize,
    /// Largest request line and headers together, in bytes.
    pub headers: usize,
    /// How long the headers may take, and how long a connection may lie idle.
    pub header_read: Duration,
    /// How long a request may take, from its headers to its answer.
    pub request: Duration,
    /// Connections open at once; more wait in the listener's queue.
    pub connections: usize,
    /// Requests handled at once.
    pub in_flight: usize,
    /// How long a stopping service goes on answering 503, so that a load balancer sees it.
    pub linger: Duration,
    /// How long a stopping service waits for requests under way, lingering included.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 16 * 1024,
            batch_body: 1024 * 1024,
            headers: 16 * 1024,
            header_read: Duration::from_secs(10),
            request: Duration::from_secs(30),
            connections: 4096,
            in_flight: 2048,
            linger: Duration::from_secs(1),
            grace: Duration::from_secs(25),
        }
    }
}

/// The parts that the HTTP layer answers from.
pub struct Parts {
    /// Counts scans.
    pub counter: Arc<dyn Counter>,
    /// Work orders and updates.
    pub store: Arc<dyn Store>,
    /// Who works on what.
    pub lease: Arc<dyn Lease>,
    /// Checks and repairs.
    pub monitor: Arc<Monitor>,
    /// How the channels of alarms do.
    pub channels: Arc<Channels>,
    /// What is measured.
    pub metrics: Arc<Metrics>,
}

impl Http {
    /// The HTTP layer over these parts; `stop` is cancelled when the service is to stop.
    #[must_use]
    pub fn new(parts: Parts, access: Access, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        let Parts { counter, store, lease, monitor, channels, metrics } = parts;
        Arc::new(Self {
            counter,
            store,
            lease,
            monitor,
            channels,
            metrics,
            access,
            limits,
            stop,
            tasks: TaskTracker::new(),
            in_flight: Arc::new(Semaphore::new(limits.in_flight)),
            readiness: health::LastReadiness::default(),
        })
    }
}

/// All routes behind the edge.
pub fn router(http: Arc<Http>) -> Router {
    routes()
        .fallback(unknown_path)
        .method_not_allowed_fallback(other_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&http), edge::edge))
        .with_state(http)
}

async fn unknown_path() -> Problem {
    Problem::new(Code::NotFound, "the service has no such path")
}

async fn other_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "see the header Allow")
}

fn json_response(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = Response::new(Body::from(json::bytes(value)));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
