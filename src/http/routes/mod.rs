//! The table of routes.
//!
//! One file per resource: [`scans`], [`corrections`], [`batches`] (and [`counted`], what counting
//! answers them), [`work_orders`], [`leases`], [`updates`], [`refusals`], [`consistency`],
//! [`health`], [`documents`].

mod batches;
mod consistency;
mod corrections;
mod counted;
pub(super) mod documents;
mod etag;
mod health;
mod leases;
mod refusals;
mod scans;
mod updates;
mod work_orders;

use std::sync::Arc;

use axum::Router;
use axum::routing::{MethodFilter, on};

use super::output::code::Code;
use super::output::problem::Problem;
use super::state::Http;

macro_rules! routes {
    ($($method:ident $path:literal $handler:path;)*) => {
        /// Every route: method and path. A route of `GET` takes `HEAD`, too.
        pub const ROUTES: &[(&str, &str)] = &[$((stringify!($method), $path)),*];

        /// The routes with their handlers.
        pub(super) fn routes() -> Router<Arc<Http>> {
            Router::new()$(.route($path, on(MethodFilter::$method, $handler)))*
                .fallback(unknown_path)
                .method_not_allowed_fallback(other_method)
        }
    };
}

routes! {
    POST  "/v1/work-orders/{work_order}/scans"       scans::scan;
    POST  "/v1/work-orders/{work_order}/corrections" corrections::correct;
    POST  "/v1/scans"                                batches::batch;

    GET   "/v1/work-orders"                          work_orders::list;
    PUT   "/v1/work-orders/{work_order}"             work_orders::put;
    PATCH "/v1/work-orders/{work_order}"             work_orders::patch;
    GET   "/v1/work-orders/{work_order}"             work_orders::get;
    GET   "/v1/work-orders/{work_order}/updates"     updates::list;
    GET   "/v1/work-orders/{work_order}/lease"       leases::get;
    GET   "/v1/updates"                              updates::search;
    GET   "/v1/updates/{request_id}"                 updates::get;

    GET   "/v1/refusals"                             refusals::list;
    POST  "/v1/refusals/{request_id}/leave"          refusals::leave;

    GET   "/v1/consistency"                          consistency::verdict;
    POST  "/v1/consistency/checks"                   consistency::start;
    GET   "/v1/consistency/checks/{check_id}"        consistency::check;
    GET   "/v1/consistency/findings"                 consistency::findings;
    GET   "/v1/consistency/findings/{finding_id}"    consistency::finding;
    POST  "/v1/consistency/findings/{finding_id}/repair" consistency::repair;

    GET   "/livez"                                   health::livez;
    GET   "/readyz"                                  health::readyz;
    GET   "/metrics"                                 health::metrics;
    GET   "/openapi.yaml"                            documents::openapi;
    GET   "/problems/{code}"                         documents::explain;
}

/// The routes that are answered also while the service is full.
pub(super) const HEALTH: [&str; 3] = ["/livez", "/readyz", "/metrics"];

/// The routes that anybody may call.
pub(super) const OPEN: [&str; 4] = ["/livez", "/readyz", "/openapi.yaml", "/problems/{code}"];

/// The routes whose handlers give their requests to the committer and wait. The committer goes on
/// without them.
pub(super) const COUNTING: [&str; 3] =
    ["/v1/work-orders/{work_order}/scans", "/v1/work-orders/{work_order}/corrections", BATCH];

/// The routes that take their request id from the header `Idempotency-Key`.
pub(super) const KEYED: [&str; 3] = [
    "/v1/work-orders/{work_order}/scans",
    "/v1/work-orders/{work_order}/corrections",
    "/v1/consistency/findings/{finding_id}/repair",
];

/// The route whose body may be as large as [`Limits::batch_body`](super::edge::limits::Limits::batch_body).
pub(super) const BATCH: &str = "/v1/scans";

async fn unknown_path() -> Problem {
    Problem::new(Code::NotFound, "the service has no such path")
}

async fn other_method() -> Problem {
    Problem::new(Code::MethodNotAllowed, "see the header Allow")
}
