//! Checks the fields of a body or a query, one by one, and gathers all errors.
//!
//! Which fields a route takes is in its file in `routes/`.

use std::borrow::Cow;

use axum::http::Uri;
use percent_encoding::percent_decode_str;

use super::json::{Object, Value};
use super::values::{self, Reason};
use crate::http::output::problem::{FieldError, Problem};

/// Named values that are read one by one. Errors are gathered, so that the caller learns of all of
/// them at once.
pub(in crate::http) struct Fields<'a> {
    left: Vec<(Cow<'a, str>, Value<'a>)>,
    errors: Vec<FieldError>,
}

const UNKNOWN: &str = "is not known here";

impl<'a> Fields<'a> {
    /// The fields of an object.
    pub(in crate::http) fn of(object: Object<'a>) -> Self {
        Self { left: object.fields, errors: Vec::new() }
    }

    /// The fields of a body's object. Parameters of the query are unknown fields.
    pub(in crate::http) fn beside_query(object: Object<'a>, uri: &Uri) -> Self {
        let query = Fields::of_query(uri);
        let mut fields = Self { left: object.fields, errors: query.errors };
        query.left.iter().for_each(|(name, _)| fields.wrong(name, UNKNOWN));
        fields
    }

    /// The parameters of the query.
    pub(in crate::http) fn of_query(uri: &'a Uri) -> Self {
        let mut fields = Self { left: Vec::new(), errors: Vec::new() };
        for pair in uri.query().unwrap_or_default().split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            match (decoded(name), decoded(value)) {
                (Some(name), Some(_)) if fields.left.iter().any(|(earlier, _)| *earlier == name) => {
                    fields.wrong(&name, "must be given once");
                }
                (Some(name), Some(value)) => fields.left.push((name, Value::Text(value))),
                (readable, _) => fields.wrong(readable.as_deref().unwrap_or(name), "must be UTF-8"),
            }
        }
        fields
    }

    /// Reads the `{…}` of the path; `None` if it is not UTF-8.
    pub(in crate::http) fn path<T>(
        &mut self,
        name: &'static str,
        path: Option<String>,
        read: impl FnOnce(&str) -> Result<T, Reason>,
    ) -> Option<T> {
        let value = path.ok_or(Cow::Borrowed("must be UTF-8")).and_then(|text| read(&text));
        self.note(name, value)
    }

    /// Reads a field. `None` if it is absent, null or wrong.
    pub(in crate::http) fn read<T>(
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
    pub(in crate::http) fn read_or_null<T>(
        &mut self,
        name: &'static str,
        read: impl FnOnce(Value<'a>) -> Result<T, Reason>,
    ) -> Option<Option<T>> {
        match self.take(name)? {
            Value::Null => Some(None),
            value => self.note(name, read(value)).map(Some),
        }
    }

    /// Reads a field that is required.
    pub(in crate::http) fn required<T>(
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

    /// Reads free text of at most `max` characters. Blank text is as good as none.
    pub(in crate::http) fn text(&mut self, name: &'static str, max: usize) -> Option<String> {
        self.read(name, values::free(max)).filter(|text| !text.trim().is_empty())
    }

    /// Refuses a field that does not go with the others, unless it is null.
    pub(in crate::http) fn refuse(&mut self, name: &'static str, reason: &'static str) {
        if self.take(name).is_some_and(|value| value != Value::Null) {
            self.wrong(name, reason);
        }
    }

    /// Whether a field is present, not null, and not read yet.
    pub(in crate::http) fn has(&self, name: &str) -> bool {
        self.left.iter().any(|(field, value)| field == name && *value != Value::Null)
    }

    /// Notes that a field is wrong.
    pub(in crate::http) fn wrong(&mut self, name: &str, reason: impl Into<Reason>) {
        if self.errors.len() < FieldError::LISTED_MAX {
            self.errors.push(FieldError { field: name.to_owned(), reason: reason.into() });
        }
    }

    /// The value made of the fields, unless one of them is wrong or unknown. `made` is `None` only
    /// if a required field was.
    pub(in crate::http) fn finish<T>(mut self, made: Option<T>) -> Result<T, Problem> {
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

/// A name or value of the query; `None` if it is not UTF-8.
fn decoded(text: &str) -> Option<Cow<'_, str>> {
    if text.contains('+') {
        let spaced = text.replace('+', " ");
        return percent_decode_str(&spaced).decode_utf8().ok().map(|text| Cow::Owned(text.into_owned()));
    }
    percent_decode_str(text).decode_utf8().ok()
}
