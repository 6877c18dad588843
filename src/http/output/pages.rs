//! Pages of lists: `{"items":[…],"next_cursor":…}`, and the cursors between them.

use axum::http::header::LINK;
use axum::http::{HeaderValue, StatusCode, Uri};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Serialize;

use super::response::json;

/// One page of a list.
#[derive(Serialize)]
pub(in crate::http) struct Page<T> {
    pub items: Vec<T>,
    /// `None` on the last page.
    pub next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// A page of at most `limit` of these rows. The query asked for one row more, which shows
    /// whether there is a next page.
    pub(in crate::http) fn of(mut rows: Vec<T>, limit: i64, cursor: impl FnOnce(&T) -> String) -> Self {
        let limit = usize::try_from(limit).expect("a limit lies within 1..=500");
        let more = rows.len() > limit;
        rows.truncate(limit);
        let next_cursor = rows.last().filter(|_| more).map(cursor);
        Self { items: rows, next_cursor }
    }

    /// The same page, with each item shown in another form.
    pub(in crate::http) fn map<'a, U>(&'a self, show: impl FnMut(&'a T) -> U) -> Page<U> {
        Page { items: self.items.iter().map(show).collect(), next_cursor: self.next_cursor.clone() }
    }

    /// The page as JSON, with its `Link`.
    pub(in crate::http) fn response(&self, uri: &Uri) -> Response
    where
        T: Serialize,
    {
        self.linked(json(StatusCode::OK, self), uri)
    }

    /// A response with the header `Link` to the next page, for clients that don't read the body.
    pub(in crate::http) fn linked(&self, mut response: Response, uri: &Uri) -> Response {
        if let Some(link) = self.link(uri) {
            response.headers_mut().insert(LINK, link);
        }
        response
    }

    fn link(&self, uri: &Uri) -> Option<HeaderValue> {
        let cursor = self.next_cursor.as_ref()?;
        let kept = uri.query().unwrap_or_default().split('&');
        let kept = kept.filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"));
        let query: String = kept.flat_map(|pair| [pair, "&"]).collect();
        let path = uri.path();
        HeaderValue::try_from(format!("<{path}?{query}cursor={cursor}>; rel=\"next\"")).ok()
    }
}

/// A position in a list. Clients get it as an opaque cursor.
pub(in crate::http) trait Cursor: Sized {
    /// Tells the cursors of different lists apart.
    const KIND: char;

    /// The position as text.
    fn write(&self) -> String;

    /// The position in this text.
    fn read(text: &str) -> Option<Self>;

    /// The cursor: version, kind and position, in base64.
    fn to_cursor(&self) -> String {
        URL_SAFE_NO_PAD.encode(format!("1{}{}", Self::KIND, self.write()))
    }

    /// The position that a cursor of this list names.
    fn from_cursor(cursor: &str) -> Option<Self> {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(cursor).ok()?).ok()?;
        Self::read(text.strip_prefix('1')?.strip_prefix(Self::KIND)?)
    }
}
