//! Leases in Redis, shared by all replicas: one node, Sentinel or Cluster.
//!
//! Redis is asked by scripts that compare owner and fence: `grant.lua`, `renew.lua`,
//! `release.lua`, `view.lua`. The leases of this process are known in memory ([`held`]). One task,
//! the keeper ([`keeper`]), renews and releases them. A second task receives hints ([`hints`]),
//! which only make things faster. Each call is bounded ([`connection`]). After a few failures
//! Redis is not asked until a probe succeeds ([`breaker`](super::breaker)).

mod config;
mod connection;
mod endpoint;
mod held;
mod hints;
mod keeper;
mod leases;
mod limits;
mod scripts;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument as _, error, info, info_span, warn};

pub use self::config::{Fallback, RedisLeaseConfig};
use self::connection::RedisConnection;
pub use self::endpoint::BadUrl;
use self::endpoint::Endpoint;
use self::held::{LeaseTable, Timing};
use self::leases::Leases;
use self::scripts::{Scripts, read_view};
use super::{Ask, Health, Held, Lease, LeaseState, Unreachable, View};
use crate::domain::ids::{Owner, WorkOrderNumber};
use crate::telemetry::Metrics;

/// How long the stop may take: a last call to Redis, and the present call of each task.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// The leases of this process, in Redis.
pub struct RedisLease {
    leases: Arc<Leases>,
    stop: CancellationToken,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl RedisLease {
    /// Starts the keeper and the receiver of hints. Redis need not be there yet.
    ///
    /// # Errors
    /// If the URL names no Redis.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn start(config: RedisLeaseConfig, owner: Owner, metrics: Arc<Metrics>) -> Result<Arc<Self>, BadUrl> {
        let timing = Timing { ttl: config.ttl, longest_hold: config.longest_hold };
        let leases = Arc::new(Leases {
            owner,
            timing,
            fallback: config.fallback,
            metrics,
            scripts: Scripts::new(),
            connection: RedisConnection::new(Endpoint::parse(&config.url)?),
            breaker: Mutex::default(),
            table: Mutex::new(LeaseTable::new(timing)),
            released: Notify::new(),
            wake: Notify::new(),
        });
        let stop = CancellationToken::new();
        let tasks = vec![
            tokio::spawn(
                keeper::run(Arc::clone(&leases), stop.clone()).instrument(info_span!("task", name = "lease keeper")),
            ),
            tokio::spawn(
                hints::run(Arc::clone(&leases), stop.clone()).instrument(info_span!("task", name = "lease hints")),
            ),
        ];
        Ok(Arc::new(Self { leases, stop, tasks: Mutex::new(tasks) }))
    }

    fn tasks(&self) -> MutexGuard<'_, Vec<JoinHandle<()>>> {
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for RedisLease {
    /// Ends the tasks. If [`Lease::close`] was not called, the leases run out by themselves.
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

#[async_trait]
impl Lease for RedisLease {
    fn owner(&self) -> &Owner {
        &self.leases.owner
    }

    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState> {
        self.leases.ensure(asks).await
    }

    fn held(&self, work_order: &WorkOrderNumber) -> Option<Held> {
        self.leases.table().held(work_order, Instant::now())
    }

    fn settle(&self, done: &[WorkOrderNumber]) -> BoxFuture<'_, ()> {
        let release = self.leases.table().settle(done, Instant::now());
        Box::pin(self.leases.release(release))
    }

    async fn lost(&self, work_order: &WorkOrderNumber) {
        if self.leases.table().lost(work_order, Instant::now()) {
            self.leases.metrics.lease("lost");
            info!(%work_order, "lease lost: another replica wrote under a newer fence");
        }
    }

    fn released(&self) -> &Notify {
        &self.leases.released
    }

    async fn view(&self, work_order: &WorkOrderNumber) -> Result<Option<View>, Unreachable> {
        let parts = [(work_order.clone(), Vec::new())];
        let mut outcome = self.leases.call(&self.leases.scripts.view, &[], &parts).await.ok_or_else(away)?;
        match outcome.answers.pop().flatten() {
            Some(answer) => Ok(read_view(&answer)),
            None => Err(outcome.failure.map_or_else(away, |failure| Unreachable(Box::new(failure)))),
        }
    }

    /// Away also if the keeper has died: leases are then granted, but not renewed.
    fn health(&self) -> Health {
        let kept = self.tasks().iter().all(|task| !task.is_finished());
        match (kept && self.leases.breaker().is_closed(), self.leases.fallback) {
            (true, _) => Health::Good,
            (false, Fallback::Database) => Health::Away,
            (false, Fallback::Refuse) => Health::Refusing,
        }
    }

    async fn close(&self) {
        self.stop.cancel();
        let held = self.leases.table().close();
        let tasks = std::mem::take(&mut *self.tasks());
        let closing = async {
            self.leases.release(held).await;
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

/// The breaker is open.
fn away() -> Unreachable {
    Unreachable("Redis has failed several times in a row and is not asked until a probe succeeds".into())
}
