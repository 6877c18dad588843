//! Points in time as the contract shows them: UTC, RFC 3339, milliseconds.

use std::fmt;
use std::time::Duration;

use chrono::{DateTime, Datelike as _, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// By how much the clocks of machines that work together may differ. If a time is further ahead than any
/// writer sets, that writer's clock was set back later.
pub const SKEW: Duration = Duration::from_secs(60);

/// A point in time in UTC, cut to whole milliseconds, in the years 1 to 9999. RFC 3339 can write that,
/// and both stores can keep it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(DateTime<Utc>);

/// The text is not an RFC 3339 time, or not within the years 1 to 9999.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a time as in RFC 3339, such as 2026-01-03T01:16:54.103Z")]
pub struct NotATimestamp;

impl Timestamp {
    /// Reads an RFC 3339 time with any offset and cuts it to milliseconds UTC.
    pub fn parse(text: &str) -> Result<Self, NotATimestamp> {
        // RFC 3339 separates date and time by "T"; chrono also takes a space.
        if !matches!(text.as_bytes().get(10), Some(b'T' | b't')) {
            return Err(NotATimestamp);
        }
        let time = DateTime::parse_from_rfc3339(text).map_err(|_| NotATimestamp)?;
        Self::cut(time.with_timezone(&Utc)).ok_or(NotATimestamp)
    }

    /// Cuts a time to whole milliseconds; `None` outside the years 1 to 9999.
    #[must_use]
    pub fn cut(time: DateTime<Utc>) -> Option<Self> {
        // Rounds towards the past, as cutting the written digits does.
        let cut = DateTime::from_timestamp_millis(time.timestamp_millis())?;
        (1..=9999).contains(&cut.year()).then_some(Self(cut))
    }

    /// How long after `earlier` this is. Zero if it is not after.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        (self.0 - earlier.0).to_std().unwrap_or_default()
    }

    /// So much later. Unchanged if that is beyond the last year.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        let later = TimeDelta::from_std(by).ok().and_then(|by| self.0.checked_add_signed(by));
        later.and_then(Self::cut).unwrap_or(self)
    }

    /// So much earlier. Unchanged if that is before the first year.
    #[must_use]
    pub fn before(self, by: Duration) -> Self {
        let before = TimeDelta::from_std(by).ok().and_then(|by| self.0.checked_sub_signed(by));
        before.and_then(Self::cut).unwrap_or(self)
    }

    /// The same point in time, as the database driver needs it.
    #[must_use]
    pub fn to_utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Millis, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_offset_is_cut_to_milliseconds_utc() {
        for (sent, kept) in [
            ("2026-01-03T09:16:54.103999+08:00", "2026-01-03T01:16:54.103Z"),
            ("2026-01-03t01:16:54z", "2026-01-03T01:16:54.000Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00.000Z"),
        ] {
            assert_eq!(Timestamp::parse(sent).unwrap().to_string(), kept, "{sent}");
        }
    }

    #[test]
    fn what_is_no_rfc_3339_time_is_refused() {
        for text in [
            "",
            "2026-01-03",
            "2026-01-03 01:16:54Z",
            "2026-01-03T01:16:54",
            "now",
            "0000-12-31T00:00:00Z",
            "9999-12-31T23:59:59-10:00",
        ] {
            assert_eq!(Timestamp::parse(text), Err(NotATimestamp), "{text}");
        }
    }
}
