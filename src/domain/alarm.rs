//! Alarms: their kinds and causes, an alarm from firing to resolved, and the messages about it.
//!
//! [`reconcile`] decides which alarms fire and which are resolved.

mod reconcile;

use std::collections::BTreeSet;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

pub use self::reconcile::{Changes, SOON_AGAIN, reconcile};
use super::time::Timestamp;

/// How many alarms of one kind a message lists by name.
const LISTED: usize = 10;
/// The quiet time of a flapping alarm: after the first return at least this long, and twice as
/// long after each further return, up to the longest.
const QUIET_AT_LEAST: Duration = Duration::from_secs(60);
const QUIET_AT_MOST: Duration = Duration::from_secs(3600);

/// The kinds of alarms.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Kind {
    /// The quantity, the log and the claims of a work order do not agree.
    Drift,
    /// No check of a range ended when it should have.
    CheckOverdue,
    /// The last check of a range failed.
    CheckFailing,
    /// Redis has been down for long.
    LeaseAway,
    /// The database has failed for long.
    StorageFailing,
    /// Many refused duplicates at one station.
    DuplicateBurst,
    /// Requests come again from other senders: terminals may share request ids.
    WeakKeys,
}

impl Kind {
    /// Every kind.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in settings, tables and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// How long the cause must be gone before the alarm is resolved. A burst has pauses. A server
    /// that was down may fail again while it starts. Weak keys are seen until there were
    /// none for ten minutes. The other kinds change only with a check or a repair. So these need no quiet
    /// time.
    fn quiet(self, recurrences: i64) -> Duration {
        let once = match self {
            Self::Drift | Self::CheckOverdue | Self::CheckFailing | Self::WeakKeys => Duration::ZERO,
            Self::LeaseAway | Self::StorageFailing => QUIET_AT_LEAST,
            Self::DuplicateBurst => 5 * QUIET_AT_LEAST,
        };
        match u32::try_from(recurrences) {
            Ok(0) | Err(_) => once,
            Ok(times) => once.max(QUIET_AT_LEAST).saturating_mul(1 << times.min(6)).min(QUIET_AT_MOST),
        }
    }
}

/// Why an alarm fires, with the facts that a person needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// See [`Kind::Drift`].
    Drift {
        /// The work order.
        work_order: String,
        /// How many of its findings are open.
        findings: i64,
        /// The kind of the first finding.
        finding: String,
        /// Its counter, if it is about a counter.
        counter: Option<String>,
        /// The `seq` of the first wrong row, if a row is wrong.
        seq: Option<i64>,
        /// The value by the log.
        expected: Option<Value>,
        /// The value that was found.
        actual: Option<Value>,
    },
    /// See [`Kind::CheckOverdue`].
    CheckOverdue {
        /// `recent` or `full`.
        range: String,
        /// When the last complete check ended.
        last_finished: Option<Timestamp>,
    },
    /// See [`Kind::CheckFailing`].
    CheckFailing {
        /// `recent` or `full`.
        range: String,
        /// Why it failed.
        error: String,
    },
    /// See [`Kind::LeaseAway`].
    LeaseAway {
        /// The replicas that can't reach Redis.
        replicas: BTreeSet<String>,
    },
    /// See [`Kind::StorageFailing`].
    StorageFailing {
        /// The replica that can't use the database.
        replica: String,
        /// The last error.
        error: String,
    },
    /// See [`Kind::DuplicateBurst`].
    DuplicateBurst {
        /// The station. If it is not known: the terminal or the caller.
        station: String,
        /// How many duplicates were refused there.
        refused: i64,
        /// The time in which they were refused, in seconds.
        within_seconds: u64,
        /// The work order of the newest one.
        work_order: String,
    },
    /// See [`Kind::WeakKeys`].
    WeakKeys {
        /// The replica that saw it.
        replica: String,
        /// How many requests came again from another sender.
        replays: i64,
        /// One of these requests.
        request_id: String,
        /// Its work order.
        work_order: String,
        /// Who sent it first: address and caller, or only the caller.
        first: String,
        /// Who sent it again.
        again: String,
    },
}

impl Cause {
    /// The kind of alarm.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Drift { .. } => Kind::Drift,
            Self::CheckOverdue { .. } => Kind::CheckOverdue,
            Self::CheckFailing { .. } => Kind::CheckFailing,
            Self::LeaseAway { .. } => Kind::LeaseAway,
            Self::StorageFailing { .. } => Kind::StorageFailing,
            Self::DuplicateBurst { .. } => Kind::DuplicateBurst,
            Self::WeakKeys { .. } => Kind::WeakKeys,
        }
    }

    /// What it is about. There is one open alarm per kind and key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Drift { work_order, .. } => work_order,
            Self::CheckOverdue { range, .. } | Self::CheckFailing { range, .. } => range,
            Self::LeaseAway { .. } => "",
            Self::StorageFailing { replica, .. } | Self::WeakKeys { replica, .. } => replica,
            Self::DuplicateBurst { station, .. } => station,
        }
    }

    /// Adds what another replica sees of the same cause.
    fn merge(&mut self, other: &Self) {
        if let (Self::LeaseAway { replicas }, Self::LeaseAway { replicas: others }) = (self, other) {
            replicas.extend(others.iter().cloned());
        }
    }
}

/// A cause that exists now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// The cause.
    pub cause: Cause,
    /// Since when it exists.
    pub since: Timestamp,
}

/// One alarm from firing to resolved: a row of `alarms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its id.
    pub alarm_id: String,
    /// The cause when it fired.
    pub cause: Cause,
    /// Since when the cause existed.
    pub since: Timestamp,
    /// When it fired.
    pub fired_at: Timestamp,
    /// Since when the cause is gone.
    pub clear_since: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// How often in a row it fired again soon after it was resolved.
    pub recurrences: i64,
}

/// Whether an alarm fires or is resolved.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Phase {
    /// It fires.
    Firing,
    /// It is resolved.
    Resolved,
}

impl Phase {
    /// The word in messages and tables.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// One message: alarms of one kind that fired or were resolved together. Its text is made when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whether they fire or are resolved.
    pub phase: Phase,
    /// Their kind.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// The alarms, at most [`LISTED`].
    pub alarms: Vec<Sighting>,
    /// How many more there are.
    pub more: usize,
}

#[cfg(test)]
mod tests {
    use super::super::words::words_agree;
    use super::reconcile::tests::{away, burst, drift};
    use super::*;

    #[test]
    fn every_word_is_the_same_in_settings_tables_and_metrics() {
        words_agree::<Kind>();
        words_agree::<Phase>();
        assert_eq!(Kind::CheckOverdue.word(), "check-overdue");
    }

    #[test]
    fn every_cause_is_read_back_as_it_was_written() {
        for sighting in [drift("W1"), burst(), away("a:1", 1)] {
            let text = serde_json::to_string(&sighting).unwrap();
            assert_eq!(serde_json::from_str::<Sighting>(&text).unwrap(), sighting);
            assert!(text.contains(&format!(r#""kind":"{}""#, sighting.cause.kind().word())), "{text}");
        }
    }
}
