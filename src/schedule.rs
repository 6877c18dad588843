//! Schedules: an interval, or a cron expression in a time zone.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Local, Utc};
use chrono_tz::Tz;
use croner::Cron;

use crate::domain::time::Timestamp;

/// When something is due.
#[derive(Clone, Debug)]
pub enum Schedule {
    /// Never.
    Off,
    /// This long after the last time.
    Every(Duration),
    /// At the times of a cron expression.
    Cron(Box<Cron>, Zone),
}

/// The time zone of a cron expression.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Zone {
    /// The time zone of the machine.
    Local,
    /// A time zone of the IANA database.
    Named(Tz),
}

impl Zone {
    /// The time zone with this name of the IANA database, or `local`.
    ///
    /// # Errors
    /// If there is no such zone.
    pub fn parse(text: &str) -> Result<Self, String> {
        match text {
            "local" => Ok(Self::Local),
            name => Tz::from_str(name)
                .map(Self::Named)
                .map_err(|_| "must be local or the name of a time zone, such as Asia/Shanghai".to_owned()),
        }
    }
}

impl Schedule {
    /// `off`, an interval such as `5m`, or a cron expression of five fields.
    ///
    /// # Errors
    /// If it is none of them.
    pub fn parse(text: &str, zone: Zone) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Off);
        }
        if let Ok(interval) = humantime::parse_duration(text) {
            return match interval.is_zero() {
                true => Err("must be an interval above 0".to_owned()),
                false => Ok(Self::Every(interval)),
            };
        }
        match Cron::from_str(text) {
            Ok(cron) => Ok(Self::Cron(Box::new(cron), zone)),
            Err(error) => Err(format!("must be off, an interval such as 5m, or a cron expression: {error}")),
        }
    }

    /// The next time after `last`; `None`: never.
    #[must_use]
    pub fn next_after(&self, last: Timestamp) -> Option<Timestamp> {
        let last = last.to_utc();
        let next: DateTime<Utc> = match self {
            Self::Off => return None,
            Self::Every(interval) => last + *interval,
            Self::Cron(cron, Zone::Local) => {
                cron.find_next_occurrence(&last.with_timezone(&Local), false).ok()?.with_timezone(&Utc)
            }
            Self::Cron(cron, Zone::Named(zone)) => {
                cron.find_next_occurrence(&last.with_timezone(zone), false).ok()?.with_timezone(&Utc)
            }
        };
        Timestamp::cut(next)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => f.write_str("off"),
            Self::Every(interval) => write!(f, "every {}", humantime::format_duration(*interval)),
            Self::Cron(cron, _) => write!(f, "at {}", cron.pattern),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(schedule: &str, zone: &str, last: &str) -> Option<String> {
        let schedule = Schedule::parse(schedule, Zone::parse(zone).unwrap()).unwrap();
        schedule.next_after(Timestamp::parse(last).unwrap()).map(|next| next.to_string())
    }

    #[test]
    fn what_is_due_next_follows_from_when_it_was_last_done() {
        let last = "2026-01-03T08:00:00Z";
        for (schedule, zone, expected) in [
            ("off", "local", None),
            ("5m", "local", Some("2026-01-03T08:05:00.000Z")),
            ("0 3 * * *", "UTC", Some("2026-01-04T03:00:00.000Z")),
            ("0 3 * * *", "Asia/Shanghai", Some("2026-01-03T19:00:00.000Z")),
            ("*/10 * * * *", "Europe/Berlin", Some("2026-01-03T08:10:00.000Z")),
        ] {
            assert_eq!(next(schedule, zone, last).as_deref(), expected, "{schedule} {zone}");
        }
    }

    #[test]
    fn a_night_on_which_the_clock_springs_forward_has_its_check_too() {
        let due = next("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00:00Z").unwrap();
        assert!(due.starts_with("2026-03-29T0"), "{due}");
    }

    #[test]
    fn what_is_no_schedule_is_refused() {
        for text in ["", "0s", "never", "0 3 * *", "61 * * * *"] {
            assert!(Schedule::parse(text, Zone::Local).is_err(), "{text}");
        }
        assert!(Zone::parse("Mars/Olympus").is_err());
    }
}
