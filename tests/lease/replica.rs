//! One replica, as far as leases go.

use std::sync::Arc;
use std::time::{Duration, Instant};

use scanfence::domain::ids::{Fence, Owner, WorkOrderNumber};
use scanfence::lease::redis::{Fallback, RedisLease, RedisLeaseConfig};
use scanfence::lease::{Ask, Health, Held, Lease as _, LeaseState};
use scanfence::telemetry::{LeaseLabel, Metrics};

pub const MS: Duration = Duration::from_millis(1);
/// Longer than any test waits for something to run out by itself.
pub const LONG: Duration = Duration::from_secs(20);
/// The deadline for what should happen soon.
pub const SOON: Duration = Duration::from_secs(5);

/// One replica.
#[derive(Clone)]
pub struct Replica {
    pub lease: Arc<RedisLease>,
    pub metrics: Arc<Metrics>,
}

impl Replica {
    pub fn start(url: &str, owner: &str, ttl: Duration) -> Self {
        Self::start_with(url, owner, ttl, LONG, Fallback::Database)
    }

    pub fn start_with(url: &str, owner: &str, ttl: Duration, longest_hold: Duration, fallback: Fallback) -> Self {
        let metrics = Arc::new(Metrics::new());
        let config = RedisLeaseConfig { url: url.to_owned(), ttl, longest_hold, fallback };
        let lease = RedisLease::start(config, Owner::named(owner), Arc::clone(&metrics)).expect("the URL is good");
        Self { lease, metrics }
    }

    pub async fn ask_once(&self, work_order: &str, floor: i64) -> LeaseState {
        let asks = [ask(work_order, floor)];
        self.lease.ensure(&asks).await.pop().expect("one standing for each ask")
    }

    /// Asks, and asks again if one call was too slow: these tests share few cores.
    pub async fn ask(&self, work_order: &str, floor: i64) -> LeaseState {
        for _ in 0..5 {
            let standing = self.ask_once(work_order, floor).await;
            if standing != LeaseState::RowLock || self.lease.health() != Health::Good {
                return standing;
            }
        }
        LeaseState::RowLock
    }

    /// Asks until it holds.
    pub async fn hold(&self, work_order: &str, floor: i64) -> Fence {
        let deadline = Instant::now() + SOON;
        loop {
            let standing = self.ask(work_order, floor).await;
            if let LeaseState::Held(Held { fence, .. }) = standing {
                return fence;
            }
            assert!(Instant::now() < deadline, "still {standing:?}");
            tokio::time::sleep(5 * MS).await;
        }
    }

    pub async fn settle(&self, work_order: &str) {
        self.lease.settle(&[number(work_order)]).await;
    }

    pub async fn holder(&self, work_order: &str) -> Option<(String, Fence)> {
        let view = self.lease.view(&number(work_order)).await.expect("Redis is there");
        view.map(|view| (view.holder.to_string(), view.fence))
    }

    pub fn counted(&self, event: &'static str) -> u64 {
        self.metrics.leases.get_or_create(&LeaseLabel { event }).get()
    }
}

pub fn number(text: &str) -> WorkOrderNumber {
    WorkOrderNumber::parse(text).expect("a good number")
}

pub fn ask(work_order: &str, floor: i64) -> Ask {
    Ask { work_order: number(work_order), floor: Fence(floor) }
}

pub fn fence(standing: &LeaseState) -> Fence {
    match standing {
        LeaseState::Held(held) => held.fence,
        LeaseState::Busy | LeaseState::RowLock | LeaseState::Unavailable => panic!("{standing:?}"),
    }
}

/// Waits until it is true.
pub async fn eventually(what: &str, so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(5 * MS).await;
    }
}
