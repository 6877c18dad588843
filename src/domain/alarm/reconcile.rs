//! Which alarms fire, which are resolved, and which messages follow.
//!
//! [`reconcile`] compares what is wrong now with the known alarms, and gives the changes. It needs no
//! other history, so any replica may run it at any time.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::super::time::Timestamp;
use super::{Alarm, Kind, LISTED, Notice, Phase, Sighting};

/// An alarm that fires again this soon after it was resolved is flapping.
pub const SOON_AGAIN: Duration = Duration::from_secs(3600);

/// What changes. Mostly nothing does.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Alarms that fire.
    pub fired: Vec<Alarm>,
    /// Open alarms whose cause is gone as of now.
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

    /// The messages, one for the alarms of one kind and phase.
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

/// Compares the causes that exist now (`sightings`) with the alarms that are open or were resolved
/// within [`SOON_AGAIN`] (`known`). `fresh` makes the ids of new alarms.
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

/// One sighting per kind and key, even if several replicas see the cause.
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
pub(super) mod tests {
    use super::super::Cause;
    use super::*;

    pub(in crate::domain::alarm) fn at(seconds: u64) -> Timestamp {
        Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
    }

    pub(in crate::domain::alarm) fn drift(work_order: &str) -> Sighting {
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

    pub(in crate::domain::alarm) fn burst() -> Sighting {
        let (station, work_order) = ("S1".into(), "W1".into());
        let cause = Cause::DuplicateBurst { station, refused: 30, within_seconds: 60, work_order };
        Sighting { cause, since: at(0) }
    }

    pub(in crate::domain::alarm) fn away(replica: &str, since: u64) -> Sighting {
        Sighting { cause: Cause::LeaseAway { replicas: [replica.to_owned()].into() }, since: at(since) }
    }

    /// The table of alarms, as the store keeps it.
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

    /// The messages, as `firing 2` or `resolved 1`.
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
}
