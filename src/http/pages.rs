//! Pages of lists: `{"items":[…],"next_cursor":…}`, and the opaque cursors between them.

use axum::http::{HeaderValue, Uri};
use serde::Serialize;

use super::extract::{Fields, Reason, value};
use super::json::Value;

/// Items per page unless asked otherwise, and at most.
const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// One page of a list.
#[derive(Serialize)]
pub(super) struct Page<T> {
    pub items: Vec<T>,
    /// `None` on the last page.
    pub next_cursor: Option<String>,
}

/// How many items the query asks for.
pub(super) fn limit(fields: &mut Fields<'_>) -> i64 {
    fields.read("limit", value::digits(1..=LIMIT_MAX)).unwrap_or(LIMIT)
}

impl<T> Page<T> {
    /// The page of at most `limit` of these rows, of which one more was asked for.
    pub(super) fn of(mut rows: Vec<T>, limit: i64, cursor: impl FnOnce(&T) -> String) -> Self {
        let limit = usize::try_from(limit).expect("a limit lies within 1..=500");
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Self { items: rows, next_cursor }
    }

    /// The same page, its items shown otherwise.
    pub(super) fn map<'a, U>(&'a self, show: impl FnMut(&'a T) -> U) -> Page<U> {
        Page { items: self.items.iter().map(show).collect(), next_cursor: self.next_cursor.clone() }
    }

    /// The header `Link` to the next page, for those who don't read the body.
    pub(super) fn link(&self, uri: &Uri) -> Option<HeaderValue> {
        let cursor = self.next_cursor.as_ref()?;
        let kept = uri.query().unwrap_or_default().split('&');
        let kept = kept.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"));
        let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
        let path = uri.path();
        HeaderValue::try_from(format!("<{path}?{query}cursor={cursor}>; rel=\"next\"")).ok()
    }
}

/// A place in a list, written so that nobody reads more into it than that.
pub(super) trait Cursor: Sized {
    /// Tells the lists' cursors apart.
    const KIND: char;

    /// The place as text.
    fn write(&self) -> String;

    /// The place in this text.
    fn read(text: &str) -> Option<Self>;

    /// The cursor: version and kind, then the place, in hexadecimal.
    fn to_cursor(&self) -> String {
        use std::fmt::Write as _;
        let mut hex = String::new();
        for byte in format!("1{}{}", Self::KIND, self.write()).bytes() {
            write!(hex, "{byte:02x}").expect("a String takes every write");
        }
        hex
    }

    /// The place that a query's cursor names.
    fn from_cursor(sent: Value<'_>) -> Result<Self, Reason> {
        let bad = || Reason::Borrowed("must be a next_cursor of this list");
        let Value::Text(hex) = sent else { return Err(bad()) };
        let digit = |byte: u8| char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok());
        let byte = |pair: &[u8]| match pair {
            [high, low] => Some(digit(*high)? << 4 | digit(*low)?),
            _ => None,
        };
        let bytes: Option<Vec<u8>> = hex.as_bytes().chunks(2).map(byte).collect();
        let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok()).ok_or_else(bad)?;
        let place = text.strip_prefix('1').and_then(|text| text.strip_prefix(Self::KIND)).ok_or_else(bad)?;
        Self::read(place).ok_or_else(bad)
    }
}
