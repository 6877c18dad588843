//! From a request to typed values, judged in the contract's order: type and size of
//! the body, key, JSON, fields (section 3). A handler's arguments stand in that order.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use axum::extract::{FromRequestParts, Path};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderName};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};
use bytes::Bytes;
use percent_encoding::percent_decode_str;
use serde::Serialize;

use super::json::{self, Object, Value};
use super::problem::{Code, Problem};
use crate::domain::ids::{Barcode, NotARequestId, Principal, RequestId, Step, WorkOrderNumber};
use crate::domain::text;
use crate::domain::time::Timestamp;

/// Who calls, as the edge has found.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub Principal);

/// The body as the edge has collected it.
#[derive(Clone, Debug)]
pub(super) enum Sent {
    /// All of it.
    Whole(Bytes),
    /// It is larger than this many bytes.
    TooLarge(usize),
}

/// The body of a request that takes JSON, and its query, in which nothing may stand.
pub(super) struct JsonBody {
    bytes: Bytes,
    uri: Uri,
}

impl JsonBody {
    /// The fields of the object that the body must be, and anything in the query as unknown.
    pub(super) fn fields(&self) -> Result<Fields<'_>, Problem> {
        Ok(Fields::beside_query(json::object(&self.bytes)?.sound()?, &self.uri))
    }

    /// The same, with the values of the fields left unread.
    pub(super) fn unread_fields(&self) -> Result<Fields<'_>, Problem> {
        Ok(Fields::beside_query(json::unread(&self.bytes)?.sound_at_the_top()?, &self.uri))
    }
}

/// The Idempotency-Key.
pub(super) struct Key(pub RequestId);

/// The `{…}` of the path, decoded; `None` where it is not UTF-8. What it must be is a
/// matter of fields, so it is judged with them.
pub(super) struct PathText(pub Option<String>);

/// One field that is wrong, and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FieldError {
    /// Its name.
    pub field: String,
    /// What it must be.
    pub reason: Cow<'static, str>,
}

/// Why a field is refused.
pub(super) type Reason = Cow<'static, str>;

const UNKNOWN: &str = "is not known here";

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

impl<S: Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Ok(parts.extensions.get::<Self>().expect("the edge names the caller of every route but the open ones").clone())
    }
}

impl<S: Sync> FromRequestParts<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !is_json(&parts.headers) {
            return Err(Problem::new(Code::UnsupportedMediaType, "send Content-Type: application/json"));
        }
        match parts.extensions.remove::<Sent>().expect("the edge collects every body") {
            Sent::Whole(bytes) => Ok(Self { bytes, uri: parts.uri.clone() }),
            Sent::TooLarge(limit) => {
                Err(Problem::new(Code::BodyTooLarge, format!("the body is larger than {limit} bytes")))
            }
        }
    }
}

/// Whether the body is plain JSON in UTF-8 by its headers.
fn is_json(headers: &HeaderMap) -> bool {
    let mut types = headers.get_all(CONTENT_TYPE).iter();
    let (Some(Ok(kind)), None) = (types.next().map(HeaderValue::to_str), types.next()) else {
        return false;
    };
    let mut parts = kind.split(';').map(str::trim);
    let json = parts.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"));
    let utf_8 = parts.all(|parameter| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            value.trim().trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        _ => true,
    });
    json && utf_8 && !headers.contains_key(CONTENT_ENCODING)
}

impl<S: Sync> FromRequestParts<S> for Key {
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
pub(super) fn key_of(value: &HeaderValue) -> Option<RequestId> {
    RequestId::parse(value.to_str().ok()?).ok()
}

/// The header that holds the key, for the log.
pub(super) fn key_header(headers: &HeaderMap) -> Option<&HeaderValue> {
    headers.get(IDEMPOTENCY_KEY)
}

impl<S: Send + Sync> FromRequestParts<S> for PathText {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        Ok(Self(Path::<String>::from_request_parts(parts, state).await.ok().map(|Path(text)| text)))
    }
}

/// Named values that are read one by one; what is wrong with them is gathered, so
/// that the caller learns of everything at once.
pub(super) struct Fields<'a> {
    left: Vec<(Cow<'a, str>, Value<'a>)>,
    errors: Vec<FieldError>,
}

impl<'a> Fields<'a> {
    /// More errors than this are not listed: no honest body has them, and the answer
    /// must not grow many times larger than the request.
    pub(super) const ERRORS_MAX: usize = 100;

    /// The fields of an object.
    pub(super) fn of(object: Object<'a>) -> Self {
        Self { left: object.fields, errors: Vec::new() }
    }

    /// The fields of a body's object, and the parameters of the query as unknown ones.
    fn beside_query(object: Object<'a>, uri: &Uri) -> Self {
        let query = Fields::of_query(uri);
        let mut fields = Self { left: object.fields, errors: query.errors };
        query.left.iter().for_each(|(name, _)| fields.wrong(name, UNKNOWN));
        fields
    }

    /// The parameters of the query.
    pub(super) fn of_query(uri: &'a Uri) -> Self {
        let mut fields = Self { left: Vec::new(), errors: Vec::new() };
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decoded(name), decoded(value)) {
                (Some(name), Some(_)) if fields.left.iter().any(|(earlier, _)| *earlier == name) => {
                    fields.wrong(&name, "must stand there once");
                }
                (Some(name), Some(value)) => fields.left.push((name, Value::Text(value))),
                (readable, _) => fields.wrong(readable.as_deref().unwrap_or(name), "must be UTF-8"),
            }
        }
        fields
    }

    /// The `{…}` of the path, which is judged with the fields.
    pub(super) fn path<T>(
        &mut self,
        name: &'static str,
        path: PathText,
        read: impl FnOnce(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        let value = path.0.ok_or(Cow::Borrowed("must be UTF-8")).and_then(|text| read(&text));
        self.note(name, value)
    }

    /// Reads a field. `None` where it is absent, null or wrong.
    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Reason>,
    ) -> Option<T> {
        match self.take(name)? {
            Value::Null => None,
            value => self.note(name, read(value)),
        }
    }

    /// Reads a field for which null has a meaning of its own.
    pub(super) fn read_or_null<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Reason>,
    ) -> Option<Option<T>> {
        match self.take(name)? {
            Value::Null => Some(None),
            value => self.note(name, read(value)).map(Some),
        }
    }

    /// Reads a field that must be there.
    pub(super) fn required<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Reason>,
    ) -> Option<T> {
        match self.take(name) {
            None | Some(Value::Null) => {
                self.wrong(name, "is required");
                None
            }
            Some(value) => self.note(name, read(value)),
        }
    }

    /// Whether a field is there and not null, and not read yet.
    pub(super) fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(field, value)| field == name && *value != Value::Null)
    }

    /// Notes that a field is wrong.
    pub(super) fn wrong(&mut self, name: &str, reason: impl Into<Reason>) {
        if self.errors.len() < Self::ERRORS_MAX {
            self.errors.push(FieldError { field: name.to_owned(), reason: reason.into() });
        }
    }

    /// What was made of the fields, unless one of them is wrong or unknown. `made` is
    /// `None` only where a required field was.
    pub(super) fn finish<T>(mut self, made: Option<T>) -> Result<T, Problem> {
        for (name, _) in std::mem::take(&mut self.left) {
            self.wrong(&name, UNKNOWN);
        }
        match made {
            Some(made) if self.errors.is_empty() => Ok(made),
            _ => Err(Problem::fields(self.errors)),
        }
    }

    fn take(&mut self, name: &str) -> Option<Value<'a>> {
        let at = self.left.iter().position(|(field, _)| field == name)?;
        Some(self.left.remove(at).1)
    }

    fn note<T>(&mut self, name: &'static str, value: Result<T, Reason>) -> Option<T> {
        value.map_err(|reason| self.wrong(name, reason)).ok()
    }
}

/// A name or value of the query; `None` where it is not UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}

/// Readers of one value each, for [`Fields::read`].
pub(super) mod value {
    use super::*;

    /// Free text of at most `max` characters.
    pub(in crate::http) fn free(max: usize) -> impl FnOnce(Value<'_>) -> Result<String, Reason> {
        move |value| {
            let text = any_text(value)?;
            text::check(&text, max).map_err(|error| error.to_string())?;
            Ok(text.into_owned())
        }
    }

    /// Free text of 1 to `max` characters, not white space alone.
    pub(in crate::http) fn filled(max: usize) -> impl FnOnce(Value<'_>) -> Result<String, Reason> {
        move |value| match free(max)(value)? {
            text if text.trim().is_empty() => Err("must not be empty".into()),
            text => Ok(text),
        }
    }

    /// A whole number within a range.
    pub(in crate::http) fn integer(range: RangeInclusive<i64>) -> impl FnOnce(Value<'_>) -> Result<i64, Reason> {
        move |value| match value {
            Value::Integer(number) if range.contains(&number) => Ok(number),
            _ => Err(format!("must be a whole number from {} to {}", range.start(), range.end()).into()),
        }
    }

    /// A whole number within a range, written in a query.
    pub(in crate::http) fn digits(range: RangeInclusive<i64>) -> impl FnOnce(Value<'_>) -> Result<i64, Reason> {
        move |value| {
            let number = match &value {
                Value::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
                _ => None,
            };
            integer(range)(number.map_or(Value::Number, Value::Integer))
        }
    }

    /// `true` or `false`.
    pub(in crate::http) fn boolean(value: Value<'_>) -> Result<bool, Reason> {
        match value {
            Value::Bool(value) => Ok(value),
            _ => Err("must be true or false".into()),
        }
    }

    /// One of a few words.
    pub(in crate::http) fn word<T>(
        of_word: impl FnOnce(&str) -> Option<T>,
        words: &'static str,
    ) -> impl FnOnce(Value<'_>) -> Result<T, Reason> {
        move |value| match &value {
            Value::Text(text) => of_word(text).ok_or_else(|| format!("must be {words}").into()),
            _ => Err(format!("must be {words}").into()),
        }
    }

    /// A time as in RFC 3339.
    pub(in crate::http) fn time(value: Value<'_>) -> Result<Timestamp, Reason> {
        Timestamp::parse(&any_text(value)?).map_err(|error| error.to_string().into())
    }

    /// A barcode.
    pub(in crate::http) fn barcode(value: Value<'_>) -> Result<Barcode, Reason> {
        Barcode::parse(&any_text(value)?).map_err(|error| error.to_string().into())
    }

    /// A step.
    pub(in crate::http) fn step(value: Value<'_>) -> Result<Step, Reason> {
        Step::parse(&any_text(value)?).map_err(|error| error.to_string().into())
    }

    /// A request id.
    pub(in crate::http) fn request_id(value: Value<'_>) -> Result<RequestId, Reason> {
        key(&any_text(value)?)
    }

    /// A request id, from the path.
    pub(in crate::http) fn key(text: &str) -> Result<RequestId, Reason> {
        RequestId::parse(text).map_err(|error| error.to_string().into())
    }

    /// A work order's number.
    pub(in crate::http) fn work_order(value: Value<'_>) -> Result<WorkOrderNumber, Reason> {
        work_order_number(&any_text(value)?)
    }

    /// A work order's number, from the path.
    pub(in crate::http) fn work_order_number(text: &str) -> Result<WorkOrderNumber, Reason> {
        WorkOrderNumber::parse(text).map_err(|error| error.to_string().into())
    }

    fn any_text(value: Value<'_>) -> Result<Cow<'_, str>, Reason> {
        match value {
            Value::Text(text) => Ok(text),
            _ => Err("must be text".into()),
        }
    }
}

/// The offer that a header like `Accept` (ranges with a quality each) likes best;
/// `None` where it says nothing about any. `matches` tells how closely a range fits an
/// offer; among equally liked ones the caller's order decides, then ours.
pub(super) fn preferred<'a, T>(
    headers: &HeaderMap,
    name: HeaderName,
    offers: &'a [T],
    matches: impl Fn(&T, &str) -> Option<u8>,
) -> Option<&'a T> {
    let lines = headers.get_all(name).iter().filter_map(|line| line.to_str().ok());
    let ranges: Vec<(&str, f32)> = lines.flat_map(|line| line.split(',')).filter_map(range).collect();
    let mut best: Option<(&T, f32, usize)> = None;
    for offer in offers {
        let fits = ranges.iter().enumerate().filter_map(|(at, &(range, q))| Some((matches(offer, range)?, at, q)));
        // The closest range counts, at the first place where it stands.
        let Some((_, at, q)) = fits.max_by_key(|&(closeness, at, _)| (closeness, std::cmp::Reverse(at))) else {
            continue;
        };
        let better = best.is_none_or(|(_, best_q, best_at)| q > best_q || (q == best_q && at < best_at));
        if q > 0.0 && better {
            best = Some((offer, q, at));
        }
    }
    best.map(|(offer, ..)| offer)
}

/// One range and its quality; `None` where it can't be read.
fn range(text: &str) -> Option<(&str, f32)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let quality = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    match quality {
        None => Some((range, 1.0)),
        Some(q) => q.parse().ok().filter(|q| (0.0..=1.0).contains(q)).map(|q| (range, q)),
    }
}
