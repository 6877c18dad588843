//! Alarms: what raises one, and the messages about it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time::Timestamp;

/// How many alarms of one kind a message lists by name.
pub(super) const LISTED: usize = 10;

/// The kinds of alarms.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A work order's quantity, log and claims don't agree.
    Drift,
    /// No check of a range ended in time.
    CheckOverdue,
    /// The last check of a range failed.
    CheckFailing,
    /// Redis has not answered for long.
    LeaseAway,
    /// The database has failed for long.
    StorageFailing,
    /// Many refused duplicates at one station.
    DuplicateBurst,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 6] = [
        Self::Drift,
        Self::CheckOverdue,
        Self::CheckFailing,
        Self::LeaseAway,
        Self::StorageFailing,
        Self::DuplicateBurst,
    ];

    /// The kind in a word, as in settings, tables and metrics.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Drift => "drift",
            Self::CheckOverdue => "check-overdue",
            Self::CheckFailing => "check-failing",
            Self::LeaseAway => "lease-away",
            Self::StorageFailing => "storage-failing",
            Self::DuplicateBurst => "duplicate-burst",
        }
    }
}

/// What is wrong, with the facts that a person needs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Cause {
    /// See [`Kind::Drift`].
    Drift {
        /// The work order.
        work_order: String,
        /// How many findings of it are open.
        findings: i64,
        /// The kind of the first of them.
        finding: String,
        /// Its counter, if it is about one.
        counter: Option<String>,
        /// The first bad row, if there is one.
        seq: Option<i64>,
        /// What the log says.
        expected: Option<Value>,
        /// What was found.
        actual: Option<Value>,
    },
    /// See [`Kind::CheckOverdue`].
    CheckOverdue {
        /// `recent` or `full`.
        range: String,
        /// When the last check that read everything ended.
        last_finished: Option<Timestamp>,
    },
    /// See [`Kind::CheckFailing`].
    CheckFailing {
        /// `recent` or `full`.
        range: String,
        /// Why.
        error: String,
    },
    /// See [`Kind::LeaseAway`].
    LeaseAway {
        /// The replicas that can't reach it.
        replicas: BTreeSet<String>,
    },
    /// See [`Kind::StorageFailing`].
    StorageFailing {
        /// The replica whose database failed.
        replica: String,
        /// What it said last.
        error: String,
    },
    /// See [`Kind::DuplicateBurst`].
    DuplicateBurst {
        /// The station; if it is not known: the terminal, or else the caller.
        station: String,
        /// How many duplicates were refused there.
        refused: i64,
        /// Within how many seconds.
        within_seconds: u64,
        /// The work order of the newest.
        work_order: String,
    },
}

impl Cause {
    /// The kind of alarm it raises.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::Drift { .. } => Kind::Drift,
            Self::CheckOverdue { .. } => Kind::CheckOverdue,
            Self::CheckFailing { .. } => Kind::CheckFailing,
            Self::LeaseAway { .. } => Kind::LeaseAway,
            Self::StorageFailing { .. } => Kind::StorageFailing,
            Self::DuplicateBurst { .. } => Kind::DuplicateBurst,
        }
    }

    /// What it is about. For each kind and key there is at most one open alarm.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Drift { work_order, .. } => work_order,
            Self::CheckOverdue { range, .. } | Self::CheckFailing { range, .. } => range,
            Self::LeaseAway { .. } => "",
            Self::StorageFailing { replica, .. } => replica,
            Self::DuplicateBurst { station, .. } => station,
        }
    }

    /// Adds what another replica sees of the same cause.
    pub(super) fn merge(&mut self, other: &Self) {
        if let (Self::LeaseAway { replicas }, Self::LeaseAway { replicas: others }) = (self, other) {
            replicas.extend(others.iter().cloned());
        }
    }
}

/// Something that is wrong now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sighting {
    /// What.
    pub cause: Cause,
    /// Since when.
    pub since: Timestamp,
}

/// One alarm from firing to resolved: a row of `alarms`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alarm {
    /// Its id.
    pub alarm_id: String,
    /// What was wrong when it fired.
    pub cause: Cause,
    /// Since when it was wrong.
    pub since: Timestamp,
    /// When it fired.
    pub fired_at: Timestamp,
    /// Since when it is no longer wrong.
    pub clear_since: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// How often in a row it fired again soon after it was resolved.
    pub recurrences: i64,
}

/// Whether alarms began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// They began.
    Firing,
    /// They ended.
    Resolved,
}

impl Phase {
    /// The phase in a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One message: alarms of one kind that began or ended together. Its words are chosen when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whether they began or ended.
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

/// What changes. Mostly nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Alarms that fire.
    pub fired: Vec<Alarm>,
    /// Open alarms whose cause is over as of now.
    pub cleared: Vec<String>,
    /// Open alarms whose cause came back before they were resolved.
    pub returned: Vec<String>,
    /// Alarms that are resolved.
    pub resolved: Vec<Alarm>,
}

impl Changes {
    /// Whether nothing changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.fired.is_empty() && self.cleared.is_empty() && self.returned.is_empty() && self.resolved.is_empty()
    }

    /// The messages about it, one for all alarms of a kind and phase.
    #[must_use]
    pub fn notices(&self, now: Timestamp) -> Vec<Notice> {
        let fired = self.fired.iter().map(|alarm| (Phase::Firing, alarm));
        let resolved = self.resolved.iter().map(|alarm| (Phase::Resolved, alarm));
        let mut groups: BTreeMap<(Kind, Phase), Notice> = BTreeMap::new();
        for (phase, alarm) in fired.chain(resolved) {
            let kind = alarm.cause.kind();
            let notice = groups.entry((kind, phase)).or_insert_with(|| Notice {
                phase,
                kind,
                at: now,
                alarms: Vec::new(),
                more: 0,
            });
            if notice.alarms.len() < LISTED {
                notice.alarms.push(Sighting { cause: alarm.cause.clone(), since: alarm.since });
            } else {
                notice.more += 1;
            }
        }
        groups.into_values().collect()
    }
}
