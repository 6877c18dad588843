//! Leases in Redis, shared by all replicas: one node, Sentinel or Cluster.
//!
//! Redis is asked by scripts that compare owner and fence, whole: `grant.lua`, `renew.lua`,
//! `release.lua`, `view.lua`. What this process holds is known in memory ([`held`]) and kept
//! by one task, the keeper ([`keeper`]); a second task hears hints ([`hints`]), which only
//! make things faster. Each call is bounded ([`connection`]), and after a few failures Redis
//! is left alone until a probe succeeds ([`breaker`](super::breaker)).

mod connection;
mod endpoint;
mod held;
mod hints;
mod keeper;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

use self::connection::{Failure, Outcome, Part, Script, Wire};
pub use self::endpoint::BadUrl;
use self::endpoint::Endpoint;
use self::held::{Found, Granted, Name, Table, Timing};
use super::breaker::{Breaker, BreakerChange};
use super::{Ask, Health, Held, Lease, LeaseState, Unreachable, View};
use crate::domain::ids::{Fence, Owner, WorkOrderNumber};
use crate::telemetry::Metrics;

/// How long a fence is kept in Redis after its last grant: a counter for every work order
/// that ever was would fill Redis, and the database remembers anyway (the floor).
const FENCE_KEPT: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a lease handed over is reserved for the one that waits: some round trips, and
/// a batch of its own. If that one is gone, the others wait so long in vain.
const RESERVED: Duration = Duration::from_millis(100);

/// How long the stop may take: a last call to Redis, and the tasks' present one.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How leases are had from Redis.
#[derive(Clone)]
pub struct RedisLeaseConfig {
    /// Where Redis is. `redis://[[user]:password@]host[:6379][/db]` (one node),
    /// `redis+sentinel://[[user]:password@]host[:26379],…/master-name[/db]`,
    /// `redis+cluster://[[user]:password@]host[:6379],…`; over TLS with `rediss` for `redis`.
    pub url: String,
    /// How long a lease lasts that is not renewed. Not below half a second: a third of it
    /// must leave room for a call and its time limit.
    pub ttl: Duration,
    /// How long a lease is held at most before it is given up for others to take.
    pub longest_hold: Duration,
    /// What to do while Redis is away.
    pub fallback: Fallback,
}

impl fmt::Debug for RedisLeaseConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, ttl, longest_hold, fallback } = self;
        f.debug_struct("RedisLeaseConfig")
            .field("ttl", ttl)
            .field("longest_hold", longest_hold)
            .field("fallback", fallback)
            .finish_non_exhaustive()
    }
}

/// What to do while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Go by the row lock of the database.
    Database,
    /// Refuse (503 `lease-unavailable`).
    Refuse,
}

/// The leases of this process, in Redis.
pub struct RedisLease {
    core: Arc<Core>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl RedisLease {
    /// Starts the keeper and the hearer of hints; Redis need not be there yet.
    ///
    /// # Errors
    /// Where the URL names no Redis.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: RedisLeaseConfig, owner: Owner, metrics: Arc<Metrics>) -> Result<Arc<Self>, BadUrl> {
        let timing = Timing { ttl: config.ttl, longest_hold: config.longest_hold };
        let core = Arc::new(Core {
            owner,
            config: Timed { timing, fallback: config.fallback },
            metrics,
            scripts: Scripts::new(),
            wire: Wire::new(Endpoint::parse(&config.url)?),
            breaker: Mutex::default(),
            table: Mutex::new(Table::new(timing)),
            freed: Notify::new(),
            wake: Notify::new(),
        });
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(
                keeper::run(Arc::clone(&core), stop.clone()).instrument(info_span!("task", name = "lease keeper")),
            ),
            tokio::spawn(
                hints::run(Arc::clone(&core), stop.clone()).instrument(info_span!("task", name = "lease hints")),
            ),
        ];
        Ok(Arc::new(Self { core, stop, tasks: Mutex::new(tasks) }))
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisLease {
    /// Ends the tasks; the leases run out by themselves where [`Lease::close`] was not called.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Lease for RedisLease {
    fn owner(&self) -> &Owner {
        &self.core.owner
    }

    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState> {
        self.core.ensure(asks).await
    }

    fn held(&self, work_order: &WorkOrderNumber) -> Option<Held> {
        self.core.table().held(work_order, Instant::now())
    }

    fn settle(&self, done: &[WorkOrderNumber]) -> BoxFuture<'_, ()> {
        let release = self.core.table().settle(done, Instant::now());
        Box::pin(self.core.release(release))
    }

    async fn lost(&self, work_order: &WorkOrderNumber) {
        if self.core.table().lost(work_order, Instant::now()) {
            self.core.metrics.lease("lost");
            info!(%work_order, "lease lost: a newer fence has written");
        }
    }

    fn freed(&self) -> &Notify {
        &self.core.freed
    }

    async fn view(&self, work_order: &WorkOrderNumber) -> Result<Option<View>, Unreachable> {
        let parts = [(work_order.clone(), Vec::new())];
        let mut outcome = self.core.call(&self.core.scripts.view, &[], &parts).await.ok_or_else(Unreachable::away)?;
        match outcome.answers.pop().flatten() {
            Some(answer) => Ok(View::read(&answer)),
            None => Err(outcome.failure.map_or_else(Unreachable::away, |failure| Unreachable(Box::new(failure)))),
        }
    }

    /// Away too when the keeper has died: leases are then granted, but not kept.
    fn health(&self) -> Health {
        let kept = self.tasks().iter().all(|task| !task.is_finished());
        if kept && self.core.breaker().is_closed() { Health::Good } else { Health::Away }
    }

    async fn close(&self) {
        self.stop.cancel();
        let held = self.core.table().close();
        let tasks = std::mem::take(&mut *self.tasks());
        let closing = async {
            self.core.release(held).await;
            for mut task in tasks {
                match timeout(CLOSE_LIMIT / 2, &mut task).await {
                    Ok(Ok(())) => {}
                    Ok(Err(died)) => error!(error = %died, "a task of the leases had died"),
                    Err(_elapsed) => task.abort(),
                }
            }
        };
        if timeout(CLOSE_LIMIT, closing).await.is_err() {
            warn!("leases were not released in time: they run out by themselves");
        }
    }
}

impl Unreachable {
    fn away() -> Self {
        Self("Redis has failed several times in a row and is not asked until a probe succeeds".into())
    }
}

impl View {
    fn read(answer: &[String]) -> Option<Self> {
        let [holder, fence, left] = answer else { return None };
        Some(Self {
            holder: Owner::named(holder),
            fence: Fence(fence.parse().ok()?),
            expires_in: left.parse().ok().map(Duration::from_millis),
        })
    }
}

/// What the lease and its tasks share.
struct Core {
    owner: Owner,
    config: Timed,
    metrics: Arc<Metrics>,
    scripts: Scripts,
    wire: Wire,
    breaker: Mutex<Breaker>,
    table: Mutex<Table>,
    freed: Notify,
    /// Calls the keeper before its time.
    wake: Notify,
}

struct Timed {
    timing: Timing,
    fallback: Fallback,
}

impl Core {
    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState> {
        let now = Instant::now();
        let mut standings = Vec::with_capacity(asks.len());
        let (mut missing, mut parts): (Vec<usize>, Vec<Part>) = (Vec::new(), Vec::new());
        let (mut ran_out, mut busy) = (0, 0);
        {
            let mut table = self.table();
            for (place, ask) in asks.iter().enumerate() {
                let found = table.find(ask, now);
                standings.push(match found {
                    Found::Held(held) => LeaseState::Held(held),
                    Found::Busy => LeaseState::Busy,
                    Found::Missing | Found::RanOut => {
                        missing.push(place);
                        parts.push((ask.work_order.clone(), vec![ask.floor.0.max(0).to_string()]));
                        self.without()
                    }
                });
                ran_out += u64::from(found == Found::RanOut);
                busy += u64::from(found == Found::Busy);
            }
            if table.is_closed() {
                return standings;
            }
        }
        self.count("busy", busy);
        self.note_lost(ran_out, "not renewed in time");
        if parts.is_empty() {
            return standings;
        }
        let timing = self.config.timing;
        let shared = [self.owner.to_string(), millis(timing.ttl), millis(FENCE_KEPT)];
        let sent = Instant::now();
        let Some(outcome) = self.call(&self.scripts.grant, &shared, &parts).await else { return standings };
        if outcome.failure.is_none() {
            self.judge(sent, None);
        }
        let now = Instant::now();
        let (mut granted, mut busy, mut broken) = (0, 0, 0);
        let mut table = self.table();
        for ((place, (work_order, _)), answer) in missing.into_iter().zip(&parts).zip(outcome.answers) {
            match Grant::read(answer.as_deref()) {
                Some(Grant::Granted { fence, others_wait }) => {
                    match table.granted(work_order, fence, others_wait, sent, now) {
                        Granted::Held(held) => {
                            granted += 1;
                            standings[place] = LeaseState::Held(held);
                        }
                        Granted::TooLate => broken += 1,
                    }
                }
                Some(Grant::Busy) => {
                    busy += 1;
                    table.busy(work_order, sent, now);
                    standings[place] = LeaseState::Busy;
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
        standings
    }

    /// Releases in Redis what memory has dropped; what can't be told now is left to the keeper.
    async fn release(&self, names: Vec<Name>) {
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
                    table.told(&name);
                    handed_over += u64::from(answer.first().is_some_and(|word| word == "handed over"));
                }
                None => table.give_up(name, now),
            }
        }
        drop(table);
        self.count("handed_over", handed_over);
    }

    /// Runs a script unless the breaker is open (`None`), and tells the breaker if it failed. That
    /// it did not is told by grants alone: a Redis that is out of memory grants nothing, and
    /// still renews, releases and answers questions.
    async fn call(&self, script: &Script, shared: &[String], parts: &[Part]) -> Option<Outcome> {
        if !self.breaker().is_closed() {
            return None;
        }
        let began = Instant::now();
        let outcome = self.wire.run(script, shared, parts).await;
        if let Some(failure) = &outcome.failure {
            self.judge(began, Some(failure));
        }
        Some(outcome)
    }

    /// Tells the breaker what became of a call, and the log and the metrics what came of that.
    fn judge(&self, began: Instant, failure: Option<&Failure>) {
        let mut breaker = self.breaker();
        let turn = match failure {
            None => breaker.succeeded(began),
            Some(_) => breaker.failed(began, Instant::now()),
        };
        self.metrics.breaker_open.set(i64::from(!breaker.is_closed()));
        drop(breaker);
        let error = failure.map(tracing::field::display);
        match turn {
            BreakerChange::None => {}
            BreakerChange::Faltered => warn!(error, "Redis failed"),
            BreakerChange::Steadied => info!("Redis answers again"),
            BreakerChange::Opened => {
                warn!(error, fallback = ?self.config.fallback, "Redis is away: the fallback is in force")
            }
            BreakerChange::Closed => info!("Redis is back: leases are granted again"),
        }
    }

    /// The standing of a work order without a lease.
    fn without(&self) -> LeaseState {
        match self.config.fallback {
            Fallback::Database => LeaseState::RowLock,
            Fallback::Refuse => LeaseState::Unavailable,
        }
    }

    fn note_lost(&self, leases: u64, why: &'static str) {
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

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn breaker(&self) -> MutexGuard<'_, Breaker> {
        self.breaker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What `grant.lua` answered.
enum Grant {
    Granted { fence: Fence, others_wait: bool },
    Busy,
}

impl Grant {
    fn read(answer: Option<&[String]>) -> Option<Self> {
        match answer? {
            [word, fence, waiting] if word == "granted" => {
                Some(Self::Granted { fence: Fence(fence.parse().ok()?), others_wait: waiting != "0" })
            }
            [word, _holder] if word == "busy" => Some(Self::Busy),
            _ => None,
        }
    }
}

/// The scripts, each with what they share before it.
struct Scripts {
    grant: Script,
    renew: Script,
    release: Script,
    view: Script,
}

impl Scripts {
    fn new() -> Self {
        Self {
            grant: Script::new(concat!(include_str!("waiting.lua"), include_str!("grant.lua"))),
            renew: Script::new(concat!(include_str!("waiting.lua"), include_str!("renew.lua"))),
            release: Script::new(concat!(include_str!("waiting.lua"), include_str!("release.lua"))),
            view: Script::new(include_str!("view.lua")),
        }
    }
}

/// Whole milliseconds, as Redis takes times; at least one, since 0 is an error there.
fn millis(time: Duration) -> String {
    time.as_millis().max(1).to_string()
}
