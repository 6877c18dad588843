//! The clock of this machine. The rules get the time as a value, so that they are pure.

use chrono::Utc;

use crate::domain::time::Timestamp;

/// The time now.
#[must_use]
pub fn now() -> Timestamp {
    Timestamp::cut(Utc::now()).expect("the clock is between the years 1 and 9999")
}
