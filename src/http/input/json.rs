//! Reads JSON strictly: each field once, and whole numbers kept apart from other numbers.
//!
//! By hand, because `serde_json` silently keeps the last of two equal fields. Here the object
//! remembers that a field came twice, so that the request, or one item of a batch, can be refused.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::http::output::code::Code;
use crate::http::output::problem::Problem;

const NOT_AN_OBJECT: &str = "must be a JSON object";

/// A JSON value. Text without escapes is borrowed from the body.
#[derive(Clone, Debug, PartialEq)]
pub(in crate::http) enum Value<'a> {
    Null,
    Bool(bool),
    /// A number without fraction or exponent that fits 64 bits.
    Integer(i64),
    /// Any other number.
    Number,
    Text(Cow<'a, str>),
    List(Vec<Value<'a>>),
    Object(Object<'a>),
    /// A value that is not read yet, or can't be read: its text.
    Unread(&'a str),
}

/// A JSON object, its fields in order.
#[derive(Clone, Debug, Default, PartialEq)]
pub(in crate::http) struct Object<'a> {
    pub fields: Vec<(Cow<'a, str>, Value<'a>)>,
    /// A field that it has twice.
    pub twice: Option<String>,
}

/// Reads text that must be one JSON object. Objects inside it are checked by [`Object::sound`].
pub(in crate::http) fn object(text: &[u8]) -> Result<Object<'_>, Problem> {
    match serde_json::from_slice::<Value<'_>>(text) {
        Ok(value) => value.object(),
        // Valid JSON may still be too much for the reader, such as a number with 400 digits. Then
        // only its field is wrong.
        Err(_) => unread(text).map(Object::read),
    }
}

/// Reads text that must be one JSON object, but none of its values, so that an error in one value
/// does not concern the others.
pub(in crate::http) fn unread(text: &[u8]) -> Result<Object<'_>, Problem> {
    if text.starts_with("\u{feff}".as_bytes()) {
        let reason = "the body begins with a byte order mark, which JSON does not have: send it without";
        return Err(Problem::new(Code::MalformedRequest, reason));
    }
    match serde_json::from_slice(text) {
        Ok(Unread(object)) => Ok(object),
        Err(error) if error.is_data() => Err(Problem::new(Code::MalformedRequest, NOT_AN_OBJECT)),
        Err(error) => Err(Problem::new(Code::MalformedRequest, format!("this is not valid JSON: {error}"))),
    }
}

/// Reads the text of a list, but none of its values; `None` if it is not a list.
pub(in crate::http) fn unread_list(text: &str) -> Option<Vec<&str>> {
    let values: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    Some(values.into_iter().map(RawValue::get).collect())
}

impl<'a> Value<'a> {
    /// The value as an object, or a problem.
    pub(in crate::http) fn object(self) -> Result<Object<'a>, Problem> {
        match self {
            Self::Object(object) => Ok(object),
            _ => Err(Problem::new(Code::MalformedRequest, NOT_AN_OBJECT)),
        }
    }

    /// Reads a value's text. A number that is too large to hold is still a number.
    fn of_text(text: &'a str) -> Result<Self, serde_json::Error> {
        match serde_json::from_str(text) {
            Err(_) if text.starts_with(|first: char| first == '-' || first.is_ascii_digit()) => Ok(Self::Number),
            read => read,
        }
    }

    fn twice(&self) -> Option<&str> {
        match self {
            Self::Null | Self::Bool(_) | Self::Integer(_) | Self::Number | Self::Text(_) | Self::Unread(_) => None,
            Self::List(values) => values.iter().find_map(Self::twice),
            Self::Object(object) => object.anywhere_twice(),
        }
    }
}

impl<'a> Object<'a> {
    /// Refuses an object that has a field twice, itself or anywhere inside. Also refuses a value that
    /// can't be read: half of a surrogate pair, or lists nested too deeply.
    pub(in crate::http) fn sound(self) -> Result<Self, Problem> {
        if let Some(field) = self.anywhere_twice() {
            return Err(twice(field));
        }
        let unread = |(name, value): &(Cow<'a, str>, Value<'a>)| match value {
            Value::Unread(text) => {
                Value::of_text(text).err().map(|error| format!("the field {name:?} is not JSON: {error}"))
            }
            _ => None,
        };
        match self.fields.iter().find_map(unread) {
            None => Ok(self),
            Some(detail) => Err(Problem::new(Code::MalformedRequest, detail)),
        }
    }

    /// Refuses an object that itself has a field twice; what is inside is not looked at.
    pub(in crate::http) fn sound_at_the_top(self) -> Result<Self, Problem> {
        match &self.twice {
            None => Ok(self),
            Some(field) => Err(twice(field)),
        }
    }

    /// Reads the unread values, except those that can't be read.
    fn read(mut self) -> Self {
        for (_, value) in &mut self.fields {
            if let Value::Unread(text) = *value
                && let Ok(read) = Value::of_text(text)
            {
                *value = read;
            }
        }
        self
    }

    /// The field's value, if the object has it once.
    pub(in crate::http) fn once(&self, field: &str) -> Option<&Value<'a>> {
        let mut found = self.fields.iter().filter(|(name, _)| name == field).map(|(_, value)| value);
        found.next().filter(|_| found.next().is_none())
    }

    fn anywhere_twice(&self) -> Option<&str> {
        self.twice.as_deref().or_else(|| self.fields.iter().find_map(|(_, value)| value.twice()))
    }
}

fn twice(field: &str) -> Problem {
    Problem::new(Code::MalformedRequest, format!("the field {field:?} appears twice"))
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = Value<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value<'de>, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value<'de>, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value<'de>, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value<'de>, E> {
        Ok(i64::try_from(value).map_or(Value::Number, Value::Integer))
    }

    fn visit_f64<E>(self, _: f64) -> Result<Value<'de>, E> {
        Ok(Value::Number)
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_string<E>(self, value: String) -> Result<Value<'de>, E> {
        Ok(Value::Text(Cow::Owned(value)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = access.next_element()? {
            values.push(value);
        }
        Ok(Value::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value<'de>, A::Error> {
        fields(&mut access, |access| access.next_value()).map(Value::Object)
    }
}

/// The fields of an object, their values read by `value`.
fn fields<'de, A: MapAccess<'de>>(
    access: &mut A,
    value: impl Fn(&mut A) -> Result<Value<'de>, A::Error>,
) -> Result<Object<'de>, A::Error> {
    let mut fields: Vec<(Cow<'de, str>, Value<'de>)> = Vec::with_capacity(8);
    while let Some(Name(name)) = access.next_key()? {
        fields.push((name, value(access)?));
    }
    let twice = first_twice(&fields).map(str::to_owned);
    Ok(Object { fields, twice })
}

/// An object whose values are not read.
struct Unread<'a>(Object<'a>);

impl<'de> Deserialize<'de> for Unread<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct UnreadReader;
        impl<'de> Visitor<'de> for UnreadReader {
            type Value = Unread<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Unread<'de>, A::Error> {
                let text = |access: &mut A| access.next_value().map(|raw: &RawValue| Value::Unread(raw.get()));
                fields(&mut access, text).map(Unread)
            }
        }
        deserializer.deserialize_map(UnreadReader)
    }
}

/// A field that appears twice. Sorting keeps the cost of many fields below quadratic.
fn first_twice<'a>(fields: &'a [(Cow<'_, str>, Value<'_>)]) -> Option<&'a str> {
    /// Up to this number, comparing each with each is faster.
    const FEW: usize = 16;
    let name = |(name, _): &'a (Cow<'_, str>, Value<'_>)| name.as_ref();
    if fields.len() <= FEW {
        let at = (1..fields.len()).find(|&at| fields[..at].iter().any(|(earlier, _)| *earlier == fields[at].0))?;
        return Some(name(&fields[at]));
    }
    let mut names: Vec<&str> = fields.iter().map(name).collect();
    names.sort_unstable();
    names.windows(2).find_map(|pair| (pair[0] == pair[1]).then_some(pair[0]))
}

/// A field's name, borrowed if possible.
struct Name<'a>(Cow<'a, str>);

impl<'de> Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameReader;
        impl<'de> Visitor<'de> for NameReader {
            type Value = Name<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field's name")
            }

            fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(value)))
            }

            fn visit_str<E>(self, value: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(value.to_owned())))
            }
        }
        deserializer.deserialize_str(NameReader)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sound(body: &str) -> Result<(), Code> {
        object(body.as_bytes()).and_then(Object::sound).map(|_| ()).map_err(|problem| problem.code)
    }

    #[test]
    fn what_is_not_one_object_with_each_field_once_is_malformed() {
        let many = (0..40).map(|n| format!("\"f{}\":1", n % 39)).collect::<Vec<_>>().join(",");
        for body in [
            "",
            "[]",
            "1",
            "null",
            "{",
            "{} {}",
            "{\"a\":1,}",
            "{'a':1}",
            "{\"a\":01}",
            "{\"a\":NaN}",
            "{\"a\":\"\\ud800\"}",
            "{\"a\":\"\u{1}\"}",
            "\u{feff}{}",
            "{\"a\":1,\"a\":1}",
            "{\"a\":1,\"\\u0061\":2}",
            "{\"b\":{\"a\":1,\"a\":1}}",
            "{\"b\":[{\"a\":1,\"a\":1}]}",
            &format!("{{{many}}}"),
            &"[".repeat(100_000),
        ] {
            assert_eq!(sound(body), Err(Code::MalformedRequest), "{body:.60}");
        }
        assert_eq!(object(b"{\"a\":\"\xff\"}").map_err(|problem| problem.code), Err(Code::MalformedRequest));
        assert_eq!(sound(" {\"a\":{\"b\":1},\"b\":[{\"a\":1},{\"a\":1}]}\r\n"), Ok(()));
    }

    #[test]
    fn a_whole_number_has_no_fraction_and_no_exponent() {
        for (number, value) in [
            ("0", Value::Integer(0)),
            ("-7", Value::Integer(-7)),
            ("9223372036854775807", Value::Integer(i64::MAX)),
            ("9223372036854775808", Value::Number),
            ("1.0", Value::Number),
            ("1e3", Value::Number),
            ("1E0", Value::Number),
            ("\"1\"", Value::Text("1".into())),
        ] {
            let body = format!("{{\"n\":{number}}}");
            assert_eq!(object(body.as_bytes()).unwrap().once("n"), Some(&value), "{number}");
        }
    }
}
