//! Readers of one value each.

use std::borrow::Cow;
use std::ops::RangeInclusive;

use super::json::Value;
use crate::domain::barcode::{Barcode, BarcodePattern, Step};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::text;
use crate::domain::time::Timestamp;

/// Why a value is refused.
pub(in crate::http) type Reason = Cow<'static, str>;

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
    move |value| {
        let wanted = format!("must be a whole number from {} to {}", range.start(), range.end());
        match value {
            Value::Integer(number) if range.contains(&number) => Ok(number),
            Value::Number => Err(format!("{wanted}, without fraction or exponent").into()),
            _ => Err(wanted.into()),
        }
    }
}

/// A whole number within a range, written in a query.
pub(in crate::http) fn digits(range: RangeInclusive<i64>) -> impl FnOnce(Value<'_>) -> Result<i64, Reason> {
    move |value| {
        let number = match &value {
            Value::Text(text) if text.bytes().all(|b| b.is_ascii_digit()) => text.parse().ok(),
            _ => None,
        };
        integer(range)(number.map_or(Value::Null, Value::Integer))
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

/// `input`, `output` or `scrap`.
pub(in crate::http) fn counter(value: Value<'_>) -> Result<Counter, Reason> {
    word(Counter::of_word, "input, output or scrap")(value)
}

/// A barcode.
pub(in crate::http) fn barcode(value: Value<'_>) -> Result<Barcode, Reason> {
    Barcode::parse(&any_text(value)?).map_err(|error| error.to_string().into())
}

/// A step.
pub(in crate::http) fn step(value: Value<'_>) -> Result<Step, Reason> {
    Step::parse(&any_text(value)?).map_err(|error| error.to_string().into())
}

/// A pattern of barcodes.
pub(in crate::http) fn barcode_pattern(value: Value<'_>) -> Result<BarcodePattern, Reason> {
    BarcodePattern::parse(&any_text(value)?).map_err(|error| error.to_string().into())
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
