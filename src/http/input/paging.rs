//! The query parameters `limit` and `cursor` of a list.

use super::fields::Fields;
use super::json::Value;
use super::values;
use super::values::Reason;
use crate::http::output::pages::Cursor;

/// Items per page by default, and at most.
const LIMIT: i64 = 50;
const LIMIT_MAX: i64 = 500;

/// How many items the query asks for.
pub(in crate::http) fn limit(fields: &mut Fields<'_>) -> i64 {
    fields.read("limit", values::digits(1..=LIMIT_MAX)).unwrap_or(LIMIT)
}

/// The position after which the page begins; `None` on the first page.
pub(in crate::http) fn cursor<C: Cursor>(fields: &mut Fields<'_>) -> Option<C> {
    fields.read("cursor", read_cursor)
}

fn read_cursor<C: Cursor>(value: Value<'_>) -> Result<C, Reason> {
    let position = match value {
        Value::Text(cursor) => C::from_cursor(&cursor),
        _ => None,
    };
    position.ok_or(Reason::Borrowed("must be a next_cursor of this list"))
}
