//! The result of one attempt to send a message.

use std::time::Duration;

/// The receiver took the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// Its answer, shortened, without secrets.
    pub said: String,
}

/// The receiver did not take the message, or no answer came.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotDelivered {
    /// Why, shortened, without secrets.
    pub why: String,
    /// The pause that the receiver asked for.
    pub pause: Option<Duration>,
}

impl NotDelivered {
    /// Not delivered for this reason; no pause was asked for.
    pub(super) fn because(why: impl ToString) -> Self {
        Self { why: why.to_string(), pause: None }
    }
}
