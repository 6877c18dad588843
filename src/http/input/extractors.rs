//! What a handler takes from a request, as axum extractors.
//!
//! A handler's arguments stand in the contract's order (section 3), and are judged in that order:
//! type and size of the body, key, JSON, fields.

use std::net::IpAddr;

use axum::extract::{FromRequestParts, Path};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use bytes::Bytes;

use super::fields::Fields;
use super::json;
use crate::domain::ids::{NotARequestId, Principal, RequestId};
use crate::http::edge::access::Peer;
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;

/// The caller, as the edge has found.
#[derive(Clone, Debug)]
pub(in crate::http) struct Caller(pub Principal);

/// Who sent a request, and from where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::http) struct Sender {
    /// The caller.
    pub principal: Principal,
    /// The other end of the connection. Behind a proxy, this is the proxy's address.
    pub address: IpAddr,
}

/// The body as the edge has collected it.
#[derive(Clone, Debug)]
pub(in crate::http) enum CollectedBody {
    /// All of it.
    Whole(Bytes),
    /// It is larger than this many bytes.
    TooLarge(usize),
}

/// The body of a request that takes JSON, and its query, which must be empty.
pub(in crate::http) struct JsonBody {
    bytes: Bytes,
    uri: Uri,
}

impl JsonBody {
    /// The fields of the body, which must be an object. Anything in the query is an unknown field.
    pub(in crate::http) fn fields(&self) -> Result<Fields<'_>, Problem> {
        Ok(Fields::beside_query(json::object(&self.bytes)?.sound()?, &self.uri))
    }

    /// The same, but the values of the fields are not read yet.
    pub(in crate::http) fn unread_fields(&self) -> Result<Fields<'_>, Problem> {
        Ok(Fields::beside_query(json::unread(&self.bytes)?.sound_at_the_top()?, &self.uri))
    }
}

/// The header Idempotency-Key.
pub(in crate::http) struct IdempotencyKey(pub RequestId);

/// The `{…}` of the path, decoded; `None` if it is not UTF-8. It is checked with the fields, so that
/// the caller learns of all errors at once.
pub(in crate::http) struct PathParameter(pub Option<String>);

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts
            .extensions
            .get::<Self>()
            .expect("the edge names the caller of every route except the open ones")
            .clone())
    }
}

impl<S: Sync> FromRequestParts<S> for Sender {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Caller(principal) = Caller::from_request_parts(parts, state).await?;
        let Peer(peer) = parts.extensions.get::<Peer>().expect("the server names the peer of every request");
        // An IPv4 client of an IPv6 socket has one address, however it is written.
        Ok(Self { principal, address: peer.ip().to_canonical() })
    }
}

impl<S: Sync> FromRequestParts<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !is_json(&parts.headers) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send Content-Type: application/json"));
        }
        match parts.extensions.remove::<CollectedBody>().expect("the edge collects every body") {
            CollectedBody::Whole(bytes) => Ok(Self { bytes, uri: parts.uri.clone() }),
            CollectedBody::TooLarge(limit) => {
                Err(Problem::new(Code::BodyTooLarge, format!("the body is larger than {limit} bytes")))
            }
        }
    }
}

/// Whether the headers say that the body is plain JSON in UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(kind)), None) = (types.next().map(HeaderValue::to_str), types.next()) else {
        return false;
    };
    let mut parts = kind.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf_8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let charset = value.trim().trim_matches('"');
            // The second is no registered name, but many programs send it.
            charset.eq_ignore_ascii_case("utf-8") || charset.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    });
    let plain =
        headers.get_all(CONTENT_ENCODING).iter().all(|coding| coding.as_bytes().eq_ignore_ascii_case(b"identity"));
    json && utf_8 && plain
}

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let mut keys = parts.headers.get_all(IDEMPOTENCY_KEY).iter();
        match (keys.next(), keys.next()) {
            (None, _) => Err(Problem::new(Code::IdempotencyKeyMissing, "send the header Idempotency-Key")),
            (Some(key), None) => key
                .to_str()
                .map_err(|_| NotARequestId)
                .and_then(RequestId::parse)
                .map(Self)
                .map_err(|error| Problem::new(Code::IdempotencyKeyInvalid, format!("Idempotency-Key {error}"))),
            (Some(_), Some(_)) => Err(Problem::new(Code::IdempotencyKeyInvalid, "Idempotency-Key must be sent once")),
        }
    }
}

/// The request id that the headers name, for the log.
pub(in crate::http) fn key_of(value: &HeaderValue) -> Option<RequestId> {
    RequestId::parse(value.to_str().ok()?).ok()
}

/// The header that holds the key, for the log.
pub(in crate::http) fn key_header(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(IDEMPOTENCY_KEY)
}

impl<S: Send + Sync> FromRequestParts<S> for PathParameter {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(Path::<String>::from_request_parts(parts, state).await.ok().map(|Path(text)| text)))
    }
}
