//! Updates as CSV.
//!
//! The cells are made by hand: every row has all columns, and text that a spreadsheet would run as a
//! formula is made harmless. serde would do neither.

use std::borrow::Cow;

use axum::response::Response;

use super::render::UpdateView;
use super::response::with_type;
use crate::domain::update::{RefusalCode, Update};

/// The names of an update's fields, in order.
const COLUMNS: [&str; 24] = [
    "request_id",
    "work_order",
    "seq",
    "counter",
    "action",
    "delta",
    "before",
    "after",
    "barcode",
    "step",
    "station",
    "terminal",
    "operator",
    "reason",
    "note",
    "fence",
    "work_order_status",
    "remaining",
    "scanned_at",
    "recorded_at",
    "recorded_by",
    "outcome",
    "code",
    "at_seq",
];

/// A response with these updates as CSV.
pub(in crate::http) fn csv(updates: &[Update]) -> Response {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: &mut dyn Iterator<Item = &[u8]>| {
        writer.write_record(cells).expect("every record has as many cells as the header, and a Vec takes every write");
    };
    write(&mut COLUMNS.iter().map(|name| name.as_bytes()));
    for update in updates {
        write(&mut cells(&UpdateView::of(update)).iter().map(|cell| cell.as_bytes()));
    }
    with_type("text/csv; charset=utf-8; header=present", writer.into_inner().expect("a Vec takes every write"))
}

/// The fields as cells, in order. Free text is made harmless. Numbers, words and times, which the
/// service makes itself, stay as they are.
fn cells<'a>(update: &UpdateView<'a>) -> [Cow<'a, str>; COLUMNS.len()] {
    fn number(number: impl ToString) -> Cow<'static, str> {
        number.to_string().into()
    }
    fn maybe(number: Option<impl ToString>) -> Cow<'static, str> {
        number.map_or(Cow::Borrowed(""), |number| number.to_string().into())
    }
    fn text(text: Option<&str>) -> Cow<'_, str> {
        harmless(text.unwrap_or_default())
    }
    [
        harmless(update.request_id.as_str()),
        harmless(update.work_order.as_str()),
        maybe(update.seq),
        update.counter.word().into(),
        update.action.word().into(),
        number(update.delta.get()),
        number(update.before.get()),
        number(update.after.get()),
        text(update.barcode),
        harmless(update.step),
        text(update.station),
        text(update.terminal),
        text(update.operator),
        text(update.reason),
        text(update.note),
        number(update.fence),
        update.work_order_status.word().into(),
        number(update.remaining.get()),
        maybe(update.scanned_at),
        number(update.recorded_at),
        harmless(update.recorded_by.as_str()),
        update.outcome.word().into(),
        update.code.map_or("", RefusalCode::word).into(),
        maybe(update.at_seq),
    ]
}

/// Text that a spreadsheet would take for a formula gets an apostrophe in front.
fn harmless(text: &str) -> Cow<'_, str> {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{text}").into(),
        _ => text.into(),
    }
}
