//! Updates as CSV.
//!
//! The cells are made by hand: every row has all columns, and text that a spreadsheet would run as a
//! formula is made harmless. serde would do neither.

use std::borrow::Cow;

use axum::response::Response;

use super::render::UpdateView;
use super::response::with_type;
use crate::domain::column::Value;
use crate::domain::update::Update;

/// A response with these updates as CSV.
pub(in crate::http) fn csv(updates: &[Update]) -> Response {
    let mut writer = csv::Writer::from_writer(Vec::new());
    let mut write = |cells: &mut dyn Iterator<Item = &[u8]>| {
        writer.write_record(cells).expect("every record has as many cells as the header, and a Vec takes every write");
    };
    write(&mut UpdateView::names().map(str::as_bytes));
    for update in updates {
        let cells: Vec<Cow<'_, str>> = UpdateView::of(update).values().map(cell).collect();
        write(&mut cells.iter().map(|cell| cell.as_bytes()));
    }
    with_type("text/csv; charset=utf-8; header=present", writer.into_inner().expect("a Vec takes every write"))
}

/// A value as a cell. Text is made harmless. Numbers and times, which the service makes itself, stay as
/// they are.
fn cell(value: Option<Value<'_>>) -> Cow<'_, str> {
    match value {
        None => "".into(),
        Some(Value::Text(text)) => harmless(text),
        Some(Value::Number(number)) => number.to_string().into(),
        Some(Value::SmallNumber(number)) => number.to_string().into(),
        Some(Value::Boolean(truth)) => truth.to_string().into(),
        Some(Value::Time(time)) => time.to_string().into(),
    }
}

/// Text that a spreadsheet would take for a formula gets an apostrophe in front.
fn harmless(text: &str) -> Cow<'_, str> {
    match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠') => format!("'{text}").into(),
        _ => text.into(),
    }
}
