//! Counts requests that seem to be one terminal's repeat of another terminal's request. Many of them
//! mean that terminals share request ids.
//!
//! The HTTP layer notes them, and the watch asks. The rule is pure: both give the time.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::domain::alarm::{Cause, Sighting};
use crate::domain::time::Timestamp;

/// So many raise the alarm. One or two may be a terminal whose address changed, for example after it
/// moved to another network.
const ENOUGH: usize = 3;
/// Within this time. Two terminals that count from 1 share every id of a shift, so a busy line has
/// enough of them in this time. It is also how long there must be none before the alarm ends: longer
/// than a break.
const WITHIN: Duration = Duration::from_secs(10 * 60);

/// A request that came again from another sender than the first one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SuspiciousReplay {
    /// Its request id.
    pub request_id: String,
    /// Its work order.
    pub work_order: String,
    /// Who sent it first, as `10.0.0.7 (open)`; without the address if that is not known.
    pub first: String,
    /// Who sent it again.
    pub again: String,
}

/// The suspicious replays that one process has seen lately.
#[derive(Debug, Default)]
pub struct WeakKeys(Mutex<Recent>);

impl WeakKeys {
    /// A suspicious replay came.
    pub fn note(&self, replay: SuspiciousReplay, at: Timestamp) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).note(replay, at);
    }

    /// The reason for an alarm, if there is one.
    pub(super) fn sighting(&self, replica: &str, now: Timestamp) -> Option<Sighting> {
        let mut recent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Episode { since, replays, example, .. } = recent.episode(now)?;
        let SuspiciousReplay { request_id, work_order, first, again } = example.clone();
        let (replica, replays) = (replica.to_owned(), *replays);
        Some(Sighting {
            cause: Cause::WeakKeys { replica, replays, request_id, work_order, first, again },
            since: *since,
        })
    }
}

#[derive(Debug, Default)]
struct Recent {
    /// The times of the newest ones, at most [`ENOUGH`].
    newest: VecDeque<Timestamp>,
    episode: Option<Episode>,
}

/// From the first of enough suspicious replays until there was none for [`WITHIN`].
#[derive(Debug)]
struct Episode {
    since: Timestamp,
    latest: Timestamp,
    replays: i64,
    /// The one that raised the alarm.
    example: SuspiciousReplay,
}

impl Recent {
    fn note(&mut self, replay: SuspiciousReplay, at: Timestamp) {
        self.newest.push_back(at);
        if self.newest.len() > ENOUGH {
            self.newest.pop_front();
        }
        let enough = self.newest.len() == ENOUGH;
        let since = self.newest.front().copied().filter(|&oldest| enough && at.since(oldest) <= WITHIN);
        match (self.episode(at), since) {
            (Some(episode), _) => {
                episode.latest = at;
                episode.replays += 1;
            }
            (None, Some(since)) => {
                let replays = i64::try_from(ENOUGH).unwrap_or(i64::MAX);
                self.episode = Some(Episode { since, latest: at, replays, example: replay });
            }
            (None, None) => {}
        }
    }

    /// The episode that lasts, if one does.
    fn episode(&mut self, now: Timestamp) -> Option<&mut Episode> {
        self.episode.take_if(|episode| now.since(episode.latest) >= WITHIN);
        self.episode.as_mut()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Timestamp {
        Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
    }

    fn replay(request_id: u64) -> SuspiciousReplay {
        let (first, again) = ("10.0.0.7 (open)".to_owned(), "10.0.0.9 (open)".to_owned());
        SuspiciousReplay { request_id: request_id.to_string(), work_order: "W1".to_owned(), first, again }
    }

    /// Notes one at each of these times; since when there is an alarm then, and how many it counts.
    fn after(times: &[u64], now: u64) -> Option<(Timestamp, i64)> {
        let keys = WeakKeys::default();
        for &time in times {
            keys.note(replay(time), at(time));
        }
        let Sighting { cause, since } = keys.sighting("a:8080", at(now))?;
        let Cause::WeakKeys { replays, .. } = cause else { panic!("{cause:?}") };
        Some((since, replays))
    }

    #[test]
    fn three_within_ten_minutes_are_an_alarm_until_there_was_none_for_ten_minutes() {
        for (times, now, alarm) in [
            (&[][..], 0, None),
            (&[0, 1], 1, None),
            (&[0, 300, 601], 601, None),
            (&[0, 300, 600], 600, Some((0, 3))),
            (&[0, 601, 700, 800], 800, Some((601, 3))),
            (&[0, 1, 2], 601, Some((0, 3))),
            (&[0, 1, 2], 602, None),
            (&[0, 1, 2, 500], 1099, Some((0, 4))),
            (&[0, 1, 2, 500], 1100, None),
            // A single one after the end is no new alarm.
            (&[0, 1, 2, 700], 700, None),
            (&[0, 1, 2, 700, 701, 702], 702, Some((700, 3))),
        ] {
            let alarm = alarm.map(|(since, replays)| (at(since), replays));
            assert_eq!(after(times, now), alarm, "{times:?} at {now}");
        }
    }

    #[test]
    fn an_alarm_names_the_replica_and_the_replay_that_raised_it() {
        let keys = WeakKeys::default();
        for time in 0..5 {
            keys.note(replay(time), at(time));
        }
        let (replica, first, again) = ("a:8080".into(), "10.0.0.7 (open)".into(), "10.0.0.9 (open)".into());
        let (request_id, work_order) = ("2".into(), "W1".into());
        let cause = Cause::WeakKeys { replica, replays: 5, request_id, work_order, first, again };
        assert_eq!(keys.sighting("a:8080", at(5)), Some(Sighting { cause, since: at(0) }));
    }
}
