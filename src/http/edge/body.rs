//! Collects a request's body, up to its limit.

use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Body as _;
use tokio::time::timeout;

use crate::http::input::extractors::CollectedBody;
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;

/// How much of a body beyond its limit is read and thrown away, and for how long. A client that is
/// still sending when the connection closes never sees the answer.
const DISCARDED: usize = 4 * 1024 * 1024;
const DISCARDING: Duration = Duration::from_secs(2);

/// The body, or that it is larger than `limit`.
pub(super) async fn collected(mut body: Body, limit: usize) -> Result<CollectedBody, Problem> {
    if body.is_end_stream() {
        return Ok(CollectedBody::Whole(Bytes::new()));
    }
    if usize::try_from(body.size_hint().lower()).map_or(true, |size| size > limit) {
        discard(body).await;
        return Ok(CollectedBody::TooLarge(limit));
    }
    let mut whole = Vec::new();
    while let Some(frame) = body.frame().await {
        let ended_early = |_| Problem::new(Code::MalformedRequest, "the body ended early or is not valid HTTP");
        let Ok(data) = frame.map_err(ended_early)?.into_data() else { continue };
        if data.len() > limit - whole.len() {
            discard(body).await;
            return Ok(CollectedBody::TooLarge(limit));
        }
        // Copied, since each frame keeps the whole buffer that it was read into. A body that comes byte by
        // byte would keep thousands of them.
        whole.extend_from_slice(&data);
    }
    Ok(CollectedBody::Whole(whole.into()))
}

/// Reads the rest of a body that is too large, within bounds, so that its client gets to read the
/// answer.
async fn discard(body: Body) {
    let mut rest = Limited::new(body, DISCARDED);
    let discarding = async { while let Some(Ok(_)) = rest.frame().await {} };
    // However this ends, the body is refused.
    let _ = timeout(DISCARDING, discarding).await;
}
