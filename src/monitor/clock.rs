//! The time of this machine.

use chrono::Utc;

use crate::domain::time::Timestamp;

/// The time now.
pub(super) fn now() -> Timestamp {
    Timestamp::cut(Utc::now()).expect("the clock is before the year 10000")
}
