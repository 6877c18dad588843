//! Responses with a JSON body or text.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// Says that this answer was given before.
pub(in crate::http) const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// A response with this value as JSON.
pub(in crate::http) fn json(status: StatusCode, value: &impl Serialize) -> Response {
    let mut response = with_type("application/json", json_bytes(value));
    *response.status_mut() = status;
    response
}

/// A response of 200 with this text.
pub(in crate::http) fn with_type(media_type: &'static str, body: impl Into<Body>) -> Response {
    let mut response = Response::new(body.into());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}

/// Says that this answer was given before, if it was.
pub(in crate::http) fn mark_replayed(response: &mut Response, replayed: bool) {
    if replayed {
        response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
    }
}

/// Writes a value as JSON.
pub(in crate::http) fn json_bytes(value: &impl Serialize) -> Vec<u8> {
    /// Holds an update without growing.
    const USUAL: usize = 768;
    let mut bytes = Vec::with_capacity(USUAL);
    serde_json::to_writer(&mut bytes, value).expect("our own types have text keys, and a Vec takes every write");
    bytes
}
