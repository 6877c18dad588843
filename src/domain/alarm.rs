//! Alarms: what raises one, when it fires, when it is over, and what there is to tell.
//!
//! [`reconcile`] compares what is wrong now with the alarms that are open, and says what
//! changes. It knows no history but those alarms, so it may run anywhere, at any time.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time::Timestamp;

/// How many of equal alarms one message lists by name.
const LISTED: usize = 10;
/// An alarm that fires again this soon after it was resolved comes and goes.
pub const SOON_AGAIN: Duration = Duration::from_secs(3600);
/// An alarm that comes and goes is resolved once it was over for this long, twice that the
/// next time, and so on up to the longest.
const QUIET_AT_LEAST: Duration = Duration::from_secs(60);
const QUIET_AT_MOST: Duration = Duration::from_secs(3600);

/// The alarms there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A work order's quantity, log and claims don't agree.
    Drift,
    /// No check of a range ended in time.
    CheckOverdue,
    /// The last check of a range failed.
    CheckFailing,
    /// Redis has been away for long.
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

    /// How long it must be over before it is resolved. A burst has pauses, and what was
    /// away for long may falter while it comes back; the others change with a check or a
    /// repair, and are over when they are.
    fn quiet(self, recurrences: i64) -> Duration {
        let once = match self {
            Self::Drift | Self::CheckOverdue | Self::CheckFailing => Duration::ZERO,
            Self::LeaseAway | Self::StorageFailing => QUIET_AT_LEAST,
            Self::DuplicateBurst => 5 * QUIET_AT_LEAST,
        };
        match u32::try_from(recurrences) {
            Ok(0) | Err(_) => once,
            Ok(times) => once.max(QUIET_AT_LEAST).saturating_mul(1 << times.min(6)).min(QUIET_AT_MOST),
        }
    }
}

/// What is the matter, with what a person needs to know of it.
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
        /// Its counter, where it is about one.
        counter: Option<String>,
        /// The first bad row, where there is one.
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
        /// When the last one ended that read everything.
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
        /// The station; where it is not known, the terminal or the caller.
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

    /// What it is about: of one kind and key there is one open alarm.
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

    /// Takes in the same matter as somebody else sees it.
    fn merge(&mut self, other: &Self) {
        if let (Self::LeaseAway { replicas }, Self::LeaseAway { replicas: others }) = (self, other) {
            replicas.extend(others.iter().cloned());
        }
    }
}

/// Something that is the matter now.
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
    /// What was the matter when it fired.
    pub cause: Cause,
    /// Since when it was so.
    pub since: Timestamp,
    /// When it fired.
    pub fired_at: Timestamp,
    /// Since when it is so no more.
    pub clear_since: Option<Timestamp>,
    /// When it was resolved.
    pub resolved_at: Option<Timestamp>,
    /// How often in a row it came back soon after it was resolved.
    pub recurrences: i64,
}

/// Whether something began or ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    /// It began.
    Firing,
    /// It is over.
    Resolved,
}

impl Phase {
    /// The turn in a word.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Firing => "firing",
            Self::Resolved => "resolved",
        }
    }
}

/// One message: equal alarms that began or ended together. Worded when it is sent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Whether they began or ended.
    pub turn: Phase,
    /// Their kind.
    pub kind: Kind,
    /// When.
    pub at: Timestamp,
    /// The alarms, at most [`LISTED`].
    pub alarms: Vec<Sighting>,
    /// How many more there are.
    pub more: usize,
}

/// What changes: nothing, mostly.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Alarms that fire.
    pub fired: Vec<Alarm>,
    /// Open alarms whose matter is over as of now.
    pub cleared: Vec<String>,
    /// Open alarms whose matter came back before they were resolved.
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

    /// What there is to tell, equal alarms in one message.
    #[must_use]
    pub fn notices(&self, now: Timestamp) -> Vec<Notice> {
        let fired = self.fired.iter().map(|alarm| (Phase::Firing, alarm));
        let resolved = self.resolved.iter().map(|alarm| (Phase::Resolved, alarm));
        let mut groups: BTreeMap<(Kind, Phase), Notice> = BTreeMap::new();
        for (turn, alarm) in fired.chain(resolved) {
            let kind = alarm.cause.kind();
            let notice = groups.entry((kind, turn)).or_insert_with(|| Notice {
                turn,
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

/// What changes between `known`, the alarms that are open or were resolved within
/// [`SOON_AGAIN`], and the `sightings` of now. `fresh` makes the ids of new alarms.
pub fn reconcile(
    now: Timestamp,
    sightings: &[Sighting],
    known: &[Alarm],
    fresh: &mut dyn FnMut() -> String,
) -> Changes {
    let sightings = merged(sightings);
    let mut changes = Changes::default();
    let mut open = HashMap::new();
    let mut recurrences: HashMap<(Kind, &str), i64> = HashMap::new();
    for alarm in known {
        let place = (alarm.cause.kind(), alarm.cause.key());
        match alarm.resolved_at {
            None => drop(open.insert(place, alarm)),
            Some(at) if now.since(at) < SOON_AGAIN => {
                let times = recurrences.entry(place).or_default();
                *times = (*times).max(alarm.recurrences + 1);
            }
            Some(_) => {}
        }
    }
    for (&(kind, key), sighting) in &sightings {
        match open.get(&(kind, key)) {
            Some(Alarm { clear_since: None, .. }) => {}
            Some(alarm) => changes.returned.push(alarm.alarm_id.clone()),
            None => changes.fired.push(Alarm {
                alarm_id: fresh(),
                cause: sighting.cause.clone(),
                since: sighting.since,
                fired_at: now,
                clear_since: None,
                resolved_at: None,
                recurrences: recurrences.get(&(kind, key)).copied().unwrap_or_default(),
            }),
        }
    }
    let over = known.iter().filter(|alarm| {
        alarm.resolved_at.is_none() && !sightings.contains_key(&(alarm.cause.kind(), alarm.cause.key()))
    });
    for alarm in over {
        let quiet = alarm.cause.kind().quiet(alarm.recurrences);
        let clear_since = alarm.clear_since.unwrap_or(now);
        if now.since(clear_since) >= quiet {
            let resolved = Alarm { clear_since: Some(clear_since), resolved_at: Some(now), ..alarm.clone() };
            changes.resolved.push(resolved);
        } else if alarm.clear_since.is_none() {
            changes.cleared.push(alarm.alarm_id.clone());
        }
    }
    changes
}

/// One sighting of each matter, by kind and key, however many see it.
fn merged(sightings: &[Sighting]) -> BTreeMap<(Kind, &str), Sighting> {
    let mut merged: BTreeMap<(Kind, &str), Sighting> = BTreeMap::new();
    for sighting in sightings {
        let place = (sighting.cause.kind(), sighting.cause.key());
        match merged.get_mut(&place) {
            Some(first) => {
                first.cause.merge(&sighting.cause);
                first.since = first.since.min(sighting.since);
            }
            None => drop(merged.insert(place, sighting.clone())),
        }
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
    }

    fn drift(work_order: &str) -> Sighting {
        let cause = Cause::Drift {
            work_order: work_order.into(),
            findings: 1,
            finding: "quantity".into(),
            counter: Some("input".into()),
            seq: Some(2),
            expected: Some(2.into()),
            actual: Some(3.into()),
        };
        Sighting { cause, since: at(0) }
    }

    fn burst() -> Sighting {
        let (station, work_order) = ("S1".into(), "W1".into());
        let cause = Cause::DuplicateBurst { station, refused: 30, within_seconds: 60, work_order };
        Sighting { cause, since: at(0) }
    }

    fn away(replica: &str, since: u64) -> Sighting {
        Sighting { cause: Cause::LeaseAway { replicas: [replica.to_owned()].into() }, since: at(since) }
    }

    /// The table of alarms, as the store would keep it.
    #[derive(Default)]
    struct Table(Vec<Alarm>);

    impl Table {
        fn step(&mut self, now: u64, sightings: &[Sighting]) -> Changes {
            let mut next = self.0.len();
            let changes = reconcile(at(now), sightings, &self.0, &mut || {
                next += 1;
                format!("a{next}")
            });
            for alarm in &mut self.0 {
                if changes.cleared.contains(&alarm.alarm_id) {
                    alarm.clear_since = Some(at(now));
                }
                if changes.returned.contains(&alarm.alarm_id) {
                    alarm.clear_since = None;
                }
                if let Some(resolved) = changes.resolved.iter().find(|resolved| resolved.alarm_id == alarm.alarm_id) {
                    *alarm = resolved.clone();
                }
            }
            self.0.extend(changes.fired.clone());
            changes
        }
    }

    /// What is told, as `firing 2` or `resolved 1`.
    fn told(changes: &Changes) -> Vec<String> {
        let notices = changes.notices(at(0));
        notices.iter().map(|n| format!("{} {}", n.turn.word(), n.alarms.len() + n.more)).collect()
    }

    #[test]
    fn a_matter_that_lasts_is_told_once_and_its_end_once() {
        let mut table = Table::default();
        assert_eq!(told(&table.step(0, &[drift("W1")])), ["firing 1"]);
        for now in 1..100 {
            assert!(table.step(now, &[drift("W1")]).is_empty());
        }
        assert_eq!(told(&table.step(100, &[])), ["resolved 1"]);
        assert!(table.step(101, &[]).is_empty());
    }

    #[test]
    fn equal_alarms_are_one_message_that_lists_the_first_and_counts_the_rest() {
        let mut table = Table::default();
        let many: Vec<Sighting> = (0..25).map(|n| drift(&format!("W{n:02}"))).collect();
        let changes = table.step(0, &[many.clone(), vec![burst()]].concat());
        assert_eq!(told(&changes), ["firing 25", "firing 1"]);
        let notice = &changes.notices(at(0))[0];
        assert_eq!((notice.alarms.len(), notice.more), (LISTED, 15));
        assert_eq!(told(&table.step(1, &many[..20])), ["resolved 5"], "the burst waits for its quiet");
    }

    #[test]
    fn what_several_replicas_see_is_one_alarm_that_names_them() {
        let mut table = Table::default();
        let changes = table.step(9, &[away("b:1", 5), away("a:1", 3)]);
        let [alarm] = changes.fired.as_slice() else { panic!("one alarm: {changes:?}") };
        assert_eq!(alarm.cause, Cause::LeaseAway { replicas: ["a:1".into(), "b:1".into()].into() });
        assert_eq!(alarm.since, at(3));
        assert!(table.step(10, &[away("b:1", 5)]).is_empty());
    }

    #[test]
    fn what_falters_before_it_is_resolved_is_not_told_again() {
        let mut table = Table::default();
        assert_eq!(told(&table.step(0, &[burst()])), ["firing 1"]);
        for round in 0..5 {
            let begin = 10 + round * 200;
            assert_eq!(told(&table.step(begin, &[])), [""; 0]);
            assert_eq!(told(&table.step(begin + 150, &[burst()])), [""; 0]);
        }
        assert_eq!(told(&table.step(2000, &[])), [""; 0]);
        assert_eq!(told(&table.step(2299, &[])), [""; 0]);
        assert_eq!(told(&table.step(2300, &[])), ["resolved 1"]);
    }

    #[test]
    fn what_comes_and_goes_is_told_ever_more_rarely() {
        let mut table = Table::default();
        let mut messages = 0;
        // On and off every minute, for a day.
        for minute in 0..24 * 60 {
            let sightings = if minute % 2 == 0 { vec![drift("W1")] } else { Vec::new() };
            messages += told(&table.step(minute * 60, &sightings)).len();
        }
        assert_eq!(messages, 3, "firing, resolved, firing; then it stays");
        assert_eq!(table.0.iter().filter(|alarm| alarm.resolved_at.is_none()).count(), 1);
        // After a quiet hour and more it is new again.
        let hours = |hours: u64| hours * 3600;
        assert_eq!(told(&table.step(hours(25), &[])), ["resolved 1"]);
        assert_eq!(told(&table.step(hours(26), &[drift("W1")])), ["firing 1"]);
        assert_eq!(table.0.last().unwrap().recurrences, 0);
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
