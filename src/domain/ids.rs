//! The names and numbers of the domain. Each has its own type.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// All quantities lie within ± this many pieces (contract, section 3).
pub const QUANTITY_LIMIT: i64 = 1_000_000_000_000;

macro_rules! shared_text {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Arc<str>);

        impl $name {
            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
        )]
        #[serde(transparent)]
        pub struct $name(pub i64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

shared_text! {
    /// The number that names a work order: 1..64 ASCII characters. The first is a letter or digit, the
    /// others are letters, digits, `-`, `_` or `.`.
    WorkOrderNumber
}

shared_text! {
    /// The client's Idempotency-Key: 1..255 visible ASCII characters, unique over the whole log.
    RequestId
}

shared_text! {
    /// Who called: written into every update as `recorded_by`.
    Principal
}

shared_text! {
    /// The name of one start of a process. It holds leases, and a row notes which one wrote under its
    /// fence.
    Owner
}

number! {
    /// The number of a grant of a work order's lease. Each grant has a higher one.
    Fence
}

number! {
    /// The place of a counted update among its work order's updates, from 1.
    Seq
}

number! {
    /// A new random number with every write of a work order. The guarded write compares it. It is random
    /// because a counter could come back to an old value after a failover.
    Stamp
}

number! {
    /// A new random number with every PUT or PATCH of a work order: its `ETag`.
    Revision
}

/// The text is not the number of a work order.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 64 characters: a letter or digit, then letters, digits, '-', '_' or '.'")]
pub struct NotAWorkOrderNumber;

impl WorkOrderNumber {
    /// Longest number, in characters.
    pub const MAX: usize = 64;

    /// Reads a work order's number.
    pub fn parse(text: &str) -> Result<Self, NotAWorkOrderNumber> {
        let good = text.len() <= Self::MAX
            && text.starts_with(|c: char| c.is_ascii_alphanumeric())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
        if good { Ok(Self(text.into())) } else { Err(NotAWorkOrderNumber) }
    }
}

/// The text is not a request id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 1 to 255 visible ASCII characters, bare or as a quoted string")]
pub struct NotARequestId;

impl RequestId {
    /// Longest request id, in characters.
    pub const MAX: usize = 255;

    /// Reads an Idempotency-Key, bare or quoted as in the IETF draft (an RFC 8941 string). Bare and
    /// quoted, it is the same key.
    pub fn parse(text: &str) -> Result<Self, NotARequestId> {
        let key = match text.strip_prefix('"') {
            Some(rest) => Self::unquote(rest)?,
            None if text.contains('"') => return Err(NotARequestId),
            None => text.to_owned(),
        };
        let good = (1..=Self::MAX).contains(&key.len()) && key.bytes().all(|b| b.is_ascii_graphic());
        if good { Ok(Self(key.into())) } else { Err(NotARequestId) }
    }

    fn unquote(rest: &str) -> Result<String, NotARequestId> {
        let mut key = String::with_capacity(rest.len());
        let mut chars = rest.chars();
        loop {
            match chars.next() {
                Some('\\') => match chars.next() {
                    Some(c @ ('"' | '\\')) => key.push(c),
                    _ => return Err(NotARequestId),
                },
                Some('"') if chars.as_str().is_empty() => return Ok(key),
                Some('"') | None => return Err(NotARequestId),
                Some(c) => key.push(c),
            }
        }
    }
}

impl Principal {
    /// A caller's name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }
}

impl Owner {
    /// The owner with this name. Each process start needs a different name.
    #[must_use]
    pub fn named(name: &str) -> Self {
        Self(name.into())
    }
}

/// A number of pieces, 0..=[`QUANTITY_LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Quantity(i64);

impl Quantity {
    /// No pieces.
    pub const ZERO: Self = Self(0);

    /// A quantity, if the number is within its limits.
    #[must_use]
    pub fn new(pieces: i64) -> Option<Self> {
        (0..=QUANTITY_LIMIT).contains(&pieces).then_some(Self(pieces))
    }

    /// The number of pieces.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }

    /// The signed change from `self` to `after`.
    #[must_use]
    pub fn to(self, after: Self) -> Delta {
        Delta(after.0 - self.0)
    }

    /// `self` minus `other`, but not below 0.
    #[must_use]
    pub fn less(self, other: Self) -> Self {
        Self((self.0 - other.0).max(0))
    }
}

/// A signed number of pieces within ±[`QUANTITY_LIMIT`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Delta(i64);

impl Delta {
    /// No change.
    pub const ZERO: Self = Self(0);

    /// A change, if the number is within its limits.
    #[must_use]
    pub fn new(pieces: i64) -> Option<Self> {
        (-QUANTITY_LIMIT..=QUANTITY_LIMIT).contains(&pieces).then_some(Self(pieces))
    }

    /// The signed number of pieces.
    #[must_use]
    pub fn get(self) -> i64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_quoted_and_the_bare_key_are_the_same_key() {
        assert_eq!(RequestId::parse("8e03"), RequestId::parse("\"8e03\""));
        assert_eq!(RequestId::parse(r#""a\"b\\c""#).unwrap().as_str(), r#"a"b\c"#);
        assert_eq!(RequestId::parse(r"a\b").unwrap().as_str(), r"a\b");
    }

    #[test]
    fn a_key_that_does_not_parse_is_bad() {
        let long = "k".repeat(256);
        for key in
            ["", "\"\"", "\"a", "a\"", "a\"b", "\"a\"b", r#""a\b""#, "\"a\";p=1", "a b", "\"a b\"", "é", "a\t", &long]
        {
            assert_eq!(RequestId::parse(key), Err(NotARequestId), "{key:?}");
        }
        assert!(RequestId::parse(&"k".repeat(255)).is_ok());
    }

    #[test]
    fn a_work_order_number_starts_with_a_letter_or_digit() {
        for number in ["P202502241740363143817", "1", "a.b-c_d", &"x".repeat(64)] {
            assert!(WorkOrderNumber::parse(number).is_ok(), "{number}");
        }
        for number in ["", "-a", ".", "_", "a b", "a/b", "é", "工单", "a\n", &"x".repeat(65)] {
            assert_eq!(WorkOrderNumber::parse(number), Err(NotAWorkOrderNumber), "{number:?}");
        }
    }

    #[test]
    fn quantities_stay_within_their_limit() {
        assert_eq!(Quantity::new(QUANTITY_LIMIT).map(Quantity::get), Some(QUANTITY_LIMIT));
        assert_eq!(Quantity::new(QUANTITY_LIMIT + 1), None);
        assert_eq!(Quantity::new(-1), None);
        assert_eq!(Delta::new(-QUANTITY_LIMIT - 1), None);
    }
}
