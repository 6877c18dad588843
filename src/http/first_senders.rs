//! Notices replays that come from another sender than the first request.
//!
//! A request without `terminal` and with a poor key, such as `1`, may be equal to another terminal's
//! request. Then it is a replay, and nothing in it shows that a part was not counted. The sender shows
//! it: a real retry comes from the sender of the first request. This is a suspicion, no proof, so it
//! changes no answer.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot::error::RecvError;
use tokio::time::Instant;
use tracing::warn;

use super::input::extractors::Sender;
use crate::alarms::{SuspiciousReplay, WeakKeys};
use crate::clock;
use crate::counting::Answer;
use crate::domain::ids::{Principal, RequestId};
use crate::domain::time::Timestamp;
use crate::domain::update::Update;
use crate::telemetry::Metrics;

/// A replay that comes later than this is not suspicious. A terminal that was offline that long may
/// have another address.
const WITHIN: Duration = Duration::from_secs(60);
/// How many request ids are remembered, the newest ones. Enough for a minute with 136 scans a second,
/// in less than 1 MiB.
const MOST: usize = 8192;
/// The time between two lines of the log, so that two terminals that share all ids do not fill it.
const LINE_EVERY: Duration = Duration::from_secs(1);

/// Looks at every answer of counting.
pub(super) struct ReplayCheck {
    metrics: Arc<Metrics>,
    weak_keys: Arc<WeakKeys>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    senders: FirstSenders,
    last_line: Option<Instant>,
    /// Suspicious replays since the last line, without a line of their own.
    without_line: u64,
}

impl ReplayCheck {
    pub(super) fn new(metrics: Arc<Metrics>, weak_keys: Arc<WeakKeys>) -> Self {
        Self { metrics, weak_keys, state: Mutex::default() }
    }

    /// Counts the answer if it is a suspicious replay, logs it, and tells the alarms.
    pub(super) fn look(&self, answer: &Result<Answer, RecvError>, sender: &Sender) {
        let Ok(Answer::Decided { update, replayed, .. }) = answer else { return };
        let now = clock::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let suspicion = state.senders.look(Row::of(update), *replayed, sender, now);
        let Some(Suspicion { first, again }) = suspicion else { return };
        let replay = SuspiciousReplay {
            request_id: update.request_id.to_string(),
            work_order: update.work_order.to_string(),
            first: shown(&update.recorded_by, first),
            again: shown(&again.principal, Some(again.address)),
        };
        state.log(&replay, Instant::now());
        drop(state);
        self.metrics.weak_keys.inc();
        self.weak_keys.note(replay, now);
    }
}

impl State {
    /// Writes a line of the log, unless the last one is too recent.
    fn log(&mut self, replay: &SuspiciousReplay, now: Instant) {
        if self.last_line.is_some_and(|line| now.duration_since(line) < LINE_EVERY) {
            self.without_line += 1;
            return;
        }
        self.last_line = Some(now);
        let without_line = std::mem::take(&mut self.without_line);
        let SuspiciousReplay { request_id, work_order, first, again } = replay;
        warn!(
            request_id,
            work_order,
            first,
            again,
            without_line,
            "a request came again from another sender; if it is another terminal, its scan was not counted"
        );
    }
}

/// A sender as text: `10.0.0.7 (open)`, or the principal alone.
fn shown(principal: &Principal, address: Option<IpAddr>) -> String {
    address.map_or_else(|| principal.to_string(), |address| format!("{address} ({principal})"))
}

/// A replay that came from another sender than the first request.
#[derive(Debug, PartialEq, Eq)]
struct Suspicion {
    /// The address of the first request, if this process knows it.
    first: Option<IpAddr>,
    again: Sender,
}

/// What the log says of a request.
#[derive(Clone, Copy)]
struct Row<'a> {
    request_id: &'a RequestId,
    recorded_by: &'a Principal,
    recorded_at: Timestamp,
}

impl<'a> Row<'a> {
    fn of(update: &'a Update) -> Self {
        let Update { request_id, recorded_by, recorded_at, .. } = update;
        Self { request_id, recorded_by, recorded_at: *recorded_at }
    }
}

/// From which address each request came first, for a minute. Pure.
///
/// Every scan is noted here, so it keeps a hash of the request id, not the id. Two ids with one hash are
/// taken for one: with 64 random bits, that is never seen.
#[derive(Default)]
struct FirstSenders {
    hasher: RandomState,
    /// If the first request was not answered by this process, or is not yet: the address of the first
    /// replay.
    addresses: HashMap<u64, IpAddr>,
    /// One entry per known id, the oldest first.
    order: VecDeque<(Timestamp, u64)>,
}

impl FirstSenders {
    /// Takes an answer that gives `row` to this sender, and says whether it is suspicious.
    fn look(&mut self, row: Row<'_>, replayed: bool, sender: &Sender, now: Timestamp) -> Option<Suspicion> {
        self.forget(now);
        let id = self.hasher.hash_one(row.request_id);
        let known = self.addresses.get(&id).copied();
        if !replayed {
            self.note(id, sender.address, now);
            // Two requests came at once, and the answer to the replay was seen before this one.
            let again = known.filter(|&known| known != sender.address)?;
            let again = Sender { principal: row.recorded_by.clone(), address: again };
            return Some(Suspicion { first: Some(sender.address), again });
        }
        if now.since(row.recorded_at) > WITHIN {
            return None;
        }
        let is_other = *row.recorded_by != sender.principal;
        match known {
            None if !is_other => {
                self.note(id, sender.address, now);
                None
            }
            Some(first) if !is_other && first == sender.address => None,
            first => Some(Suspicion { first, again: sender.clone() }),
        }
    }

    fn note(&mut self, id: u64, address: IpAddr, now: Timestamp) {
        if self.addresses.insert(id, address).is_none() {
            self.order.push_back((now, id));
        }
    }

    /// Forgets what is too old, and makes room for one more.
    fn forget(&mut self, now: Timestamp) {
        while let Some((noted, _)) = self.order.front()
            && (now.since(*noted) > WITHIN || self.order.len() >= MOST)
            && let Some((_, id)) = self.order.pop_front()
        {
            self.addresses.remove(&id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "10.0.0.7";
    const B: &str = "10.0.0.9";

    fn at(seconds: u64) -> Timestamp {
        Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
    }

    fn sender(principal: &str, address: &str) -> Sender {
        Sender { principal: Principal::named(principal), address: address.parse().unwrap() }
    }

    fn id(text: &str) -> RequestId {
        RequestId::parse(text).unwrap()
    }

    /// An answer under id `1`, which `open` sent first, at 0 s.
    fn look(senders: &mut FirstSenders, replayed: bool, sender: &Sender, now: u64) -> Option<Suspicion> {
        let (request_id, recorded_by) = (&id("1"), &Principal::named("open"));
        senders.look(Row { request_id, recorded_by, recorded_at: at(0) }, replayed, sender, at(now))
    }

    /// Who is suspected, as first and second sender.
    fn suspected(first: Option<&str>, principal: &str, again: &str) -> Option<Suspicion> {
        Some(Suspicion { first: first.map(|first| first.parse().unwrap()), again: sender(principal, again) })
    }

    #[test]
    fn a_replay_from_another_address_or_principal_within_a_minute_is_suspicious() {
        for (again, after, suspicion) in [
            (sender("open", A), 1, None),
            (sender("open", B), 1, suspected(Some(A), "open", B)),
            (sender("open", B), 60, suspected(Some(A), "open", B)),
            (sender("open", B), 61, None),
            (sender("loopback", A), 1, suspected(Some(A), "loopback", A)),
            (sender("loopback", A), 61, None),
        ] {
            let mut senders = FirstSenders::default();
            assert_eq!(look(&mut senders, false, &sender("open", A), 0), None);
            assert_eq!(look(&mut senders, true, &again, after), suspicion, "{again:?} after {after} s");
        }
    }

    #[test]
    fn what_came_first_through_another_process_is_suspicious_by_principal_alone() {
        let mut senders = FirstSenders::default();
        assert_eq!(look(&mut senders, true, &sender("loopback", B), 1), suspected(None, "loopback", B));
        assert_eq!(look(&mut senders, true, &sender("open", A), 1), None, "it may be the first sender");
        assert_eq!(look(&mut senders, true, &sender("open", A), 2), None);
        assert_eq!(look(&mut senders, true, &sender("open", B), 3), suspected(Some(A), "open", B), "both can't be");
    }

    #[test]
    fn equal_requests_at_once_are_seen_in_either_order_of_their_answers() {
        let mut senders = FirstSenders::default();
        assert_eq!(look(&mut senders, true, &sender("open", B), 0), None);
        assert_eq!(look(&mut senders, false, &sender("open", A), 0), suspected(Some(A), "open", B));
        assert_eq!(look(&mut senders, true, &sender("open", A), 1), None, "a retry of the first");
        // A terminal that sends twice at once.
        let mut senders = FirstSenders::default();
        assert_eq!(look(&mut senders, true, &sender("open", A), 0), None);
        assert_eq!(look(&mut senders, false, &sender("open", A), 0), None);
    }

    #[test]
    fn other_ids_are_other_requests() {
        let mut senders = FirstSenders::default();
        assert_eq!(look(&mut senders, false, &sender("open", A), 0), None);
        let (request_id, recorded_by) = (&id("2"), &Principal::named("open"));
        let row = Row { request_id, recorded_by, recorded_at: at(0) };
        assert_eq!(senders.look(row, true, &sender("open", B), at(1)), None);
    }

    #[test]
    fn ids_are_remembered_for_a_minute_and_no_more_than_fit() {
        let mut senders = FirstSenders::default();
        let recorded_by = &Principal::named("open");
        let first = |senders: &mut FirstSenders, n: usize, now: u64| {
            let request_id = &id(&n.to_string());
            senders.look(Row { request_id, recorded_by, recorded_at: at(now) }, false, &sender("open", A), at(now))
        };
        for n in 0..MOST + 5 {
            assert_eq!(first(&mut senders, n, 0), None);
        }
        assert_eq!((senders.addresses.len(), senders.order.len()), (MOST, MOST));
        let known = |n: &str| senders.addresses.contains_key(&senders.hasher.hash_one(id(n)));
        assert!(known("5") && !known("4"));
        assert_eq!(first(&mut senders, 0, 61), None);
        assert_eq!((senders.addresses.len(), senders.order.len()), (1, 1));
    }

    #[test]
    fn the_log_has_at_most_one_line_a_second_and_says_how_many_have_none() {
        let mut state = State::default();
        let [request_id, work_order, first, again] = ["1", "W1", "open", "loopback"].map(str::to_owned);
        let replay = SuspiciousReplay { request_id, work_order, first, again };
        let begin = Instant::now();
        for (millis, without_line, last_line) in [(0, 0, 0), (400, 1, 0), (999, 2, 0), (1000, 0, 1000), (1001, 1, 1000)]
        {
            state.log(&replay, begin + Duration::from_millis(millis));
            assert_eq!(state.without_line, without_line, "after {millis} ms");
            assert_eq!(state.last_line, Some(begin + Duration::from_millis(last_line)), "after {millis} ms");
        }
    }
}
