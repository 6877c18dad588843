//! Which replica works on a work order now.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use serde::Serialize;

use super::work_orders::{find, only_number};
use crate::domain::ids::{Fence, Owner};
use crate::http::input::extractors::PathParameter;
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;
use crate::http::output::response::json;
use crate::http::state::Http;

/// `GET /v1/work-orders/{work_order}/lease`
pub(super) async fn get(
    State(http): State<Arc<Http>>,
    uri: Uri,
    PathParameter(path): PathParameter,
) -> Result<Response, Problem> {
    let number = only_number(&uri, path)?;
    let row = find(&http, &number).await?;
    let view = http.lease.view(&number).await.map_err(|error| {
        tracing::warn!(%error, "the lease of a work order could not be read; scans are counted as before");
        Problem::new(Code::LeaseUnavailable, "Redis can't say now who holds the lease")
    })?;
    let view = match &view {
        None => LeaseView { held: false, holder: None, fence: row.fence, expires_in_ms: None },
        Some(view) => LeaseView {
            held: true,
            holder: Some(&view.holder),
            fence: view.fence,
            expires_in_ms: view.expires_in.map(|left| left.as_millis()),
        },
    };
    Ok(json(StatusCode::OK, &view))
}

/// A lease as the contract shows it.
#[derive(Serialize)]
struct LeaseView<'a> {
    held: bool,
    holder: Option<&'a Owner>,
    fence: Fence,
    expires_in_ms: Option<u128>,
}
