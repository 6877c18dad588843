//! What [`RedisLease`](super::RedisLease) and its tasks share: asking Redis for leases, and
//! releasing them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tracing::{info, warn};

use super::config::Fallback;
use super::connection::{Failure, Outcome, Part, RedisConnection, Script};
use super::held::{Found, Granted, LeaseTable, Name, Timing};
use super::scripts::{Grant, Scripts, millis};
use crate::domain::ids::Owner;
use crate::lease::breaker::{Breaker, BreakerChange};
use crate::lease::{Ask, LeaseState};
use crate::telemetry::Metrics;

/// How long Redis keeps a fence after its last grant: a week. A counter for every work order that
/// ever was would fill Redis, and the database keeps the highest fence anyway (the floor).
const FENCE_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a lease that was handed over is reserved for the replica that waits: some round trips,
/// and a batch of its own. If that replica is gone, the others wait this long for nothing.
const RESERVED: Duration = Duration::from_millis(100);

/// The leases of this process: memory, connection and breaker.
pub(super) struct Leases {
    pub(super) owner: Owner,
    pub(super) timing: Timing,
    pub(super) fallback: Fallback,
    pub(super) metrics: Arc<Metrics>,
    pub(super) scripts: Scripts,
    pub(super) connection: RedisConnection,
    pub(super) breaker: Mutex<Breaker>,
    pub(super) table: Mutex<LeaseTable>,
    /// Notified when a lease that was busy may be free.
    pub(super) released: Notify,
    /// Wakes the keeper before its next tick.
    pub(super) wake: Notify,
}

/// The leases that Redis is to be asked for.
#[derive(Default)]
struct Missing {
    /// Their places in the answer.
    places: Vec<usize>,
    parts: Vec<Part>,
}

impl Leases {
    pub(super) async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState> {
        let (mut states, missing) = self.look_up(asks);
        if !missing.parts.is_empty() {
            self.ask_redis(missing, &mut states).await;
        }
        states
    }

    /// What memory knows. A missing lease has the state of the fallback until Redis answers.
    fn look_up(&self, asks: &[Ask]) -> (Vec<LeaseState>, Missing) {
        let now = Instant::now();
        let mut states = Vec::with_capacity(asks.len());
        let mut missing = Missing::default();
        let (mut ran_out, mut busy) = (0, 0);
        {
            let mut table = self.table();
            for (place, ask) in asks.iter().enumerate() {
                let found = table.find(ask, now);
                states.push(match found {
                    Found::Held(held) => LeaseState::Held(held),
                    Found::Busy => LeaseState::Busy,
                    Found::Missing | Found::RanOut => {
                        missing.places.push(place);
                        missing.parts.push((ask.work_order.clone(), vec![ask.floor.0.max(0).to_string()]));
                        self.without_lease()
                    }
                });
                ran_out += u64::from(found == Found::RanOut);
                busy += u64::from(found == Found::Busy);
            }
            if table.is_closed() {
                return (states, Missing::default());
            }
        }
        self.count("busy", busy);
        self.note_lost(ran_out, "not renewed in time");
        (states, missing)
    }

    async fn ask_redis(&self, Missing { places, parts }: Missing, states: &mut [LeaseState]) {
        let shared = [self.owner.to_string(), millis(self.timing.ttl), millis(FENCE_KEPT)];
        let sent = Instant::now();
        let Some(outcome) = self.call(&self.scripts.grant, &shared, &parts).await else { return };
        if outcome.failure.is_none() {
            self.report(sent, None);
        }
        let now = Instant::now();
        let (mut granted, mut busy, mut broken) = (0, 0, 0);
        let mut table = self.table();
        for ((place, (work_order, _)), answer) in places.into_iter().zip(&parts).zip(outcome.answers) {
            match Grant::read(answer.as_deref()) {
                Some(Grant::Granted { fence, others_wait }) => {
                    match table.granted(work_order, fence, others_wait, sent, now) {
                        Granted::Held(held) => {
                            granted += 1;
                            states[place] = LeaseState::Held(held);
                        }
                        Granted::TooLate => broken += 1,
                    }
                }
                Some(Grant::Busy) => {
                    busy += 1;
                    table.busy(work_order, sent, now);
                    states[place] = LeaseState::Busy;
                }
                None => {
                    broken += 1;
                    table.unanswered(work_order);
                }
            }
        }
        drop(table);
        self.count("granted", granted);
        self.count("busy", busy);
        self.count("broken", broken);
    }

    /// Releases in Redis what memory has dropped. What can't be released now is left to the keeper.
    pub(super) async fn release(&self, names: Vec<Name>) {
        if names.is_empty() {
            return;
        }
        let part = |(work_order, fence): &Name| -> Part { (work_order.clone(), vec![fence.to_string()]) };
        let parts: Vec<Part> = names.iter().map(part).collect();
        let shared = [self.owner.to_string(), millis(RESERVED)];
        let outcome = self.call(&self.scripts.release, &shared, &parts).await;
        let mut answers = outcome.map(|outcome| outcome.answers).unwrap_or_default();
        answers.resize(names.len(), None);
        let (now, mut handed_over) = (Instant::now(), 0);
        let mut table = self.table();
        for (name, answer) in names.into_iter().zip(answers) {
            match answer {
                Some(answer) => {
                    table.release_done(&name);
                    handed_over += u64::from(answer.first().is_some_and(|word| word == "handed over"));
                }
                None => table.release_later(name, now),
            }
        }
        drop(table);
        self.count("handed_over", handed_over);
    }

    /// Runs a script unless the breaker is open (`None`), and reports a failure to the breaker.
    ///
    /// Success is reported for grants alone. A Redis that is out of memory grants nothing, but it
    /// still renews, releases and answers questions.
    pub(super) async fn call(&self, script: &Script, shared: &[String], parts: &[Part]) -> Option<Outcome> {
        if !self.breaker().is_closed() {
            return None;
        }
        let began = Instant::now();
        let outcome = self.connection.run(script, shared, parts).await;
        if let Some(failure) = &outcome.failure {
            self.report(began, Some(failure));
        }
        Some(outcome)
    }

    /// Reports the result of a call to the breaker, and the breaker's change to log and metrics.
    pub(super) fn report(&self, began: Instant, failure: Option<&Failure>) {
        let mut breaker = self.breaker();
        let change = match failure {
            None => breaker.succeeded(began),
            Some(_) => breaker.failed(began, Instant::now()),
        };
        self.metrics.breaker_open.set(i64::from(!breaker.is_closed()));
        drop(breaker);
        let error = failure.map(tracing::field::display);
        match change {
            BreakerChange::None => {}
            BreakerChange::FirstFailure => warn!(error, "Redis failed"),
            BreakerChange::Recovered => info!("Redis answers again"),
            BreakerChange::Opened => {
                warn!(error, fallback = ?self.fallback, "Redis is away: the fallback is in force")
            }
            BreakerChange::Closed => info!("Redis is back: leases are granted again"),
        }
    }

    /// The state of a work order without a lease.
    fn without_lease(&self) -> LeaseState {
        match self.fallback {
            Fallback::Database => LeaseState::RowLock,
            Fallback::Refuse => LeaseState::Unavailable,
        }
    }

    pub(super) fn note_lost(&self, leases: u64, why: &'static str) {
        if leases > 0 {
            self.count("lost", leases);
            warn!(leases, why, "leases lost");
        }
    }

    fn count(&self, event: &'static str, times: u64) {
        for _ in 0..times {
            self.metrics.lease(event);
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, LeaseTable> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
