//! The lease: which replica works on a work order now.
//!
//! It only orders the work. The store decides, in the transaction of the write. If a lease is wrong, runs
//! out or is gone, counting is slower but stays correct.
//!
//! If Redis hangs:
//!
//! | what happens | where |
//! | --- | --- |
//! | A call ends after 150 ms, connecting and one retry included. | `CALL_LIMIT` in `redis/limits.rs` |
//! | Work orders without a lease: row lock, or 503 if `lease-fallback=refuse`. | `redis/leases.rs` |
//! | After three failures in a row, Redis is not asked any more. | `breaker.rs` |
//! | Each second, a probe asks Redis. If it answers, leases are granted again. | `redis/keeper.rs` |
//! | If it lasts for `alarm-after`, the alarm `lease-away` fires. | `alarms/watch.rs` |

pub mod breaker;
pub mod local;
pub mod redis;
pub mod row_lock;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::domain::ids::{Fence, Owner, WorkOrderNumber};

/// Grants, renews, hands over and releases the leases of this process.
///
/// Held leases are known in memory: [`Lease::ensure`] asks nobody for those. Renewal, the longest
/// hold and the release of idle leases are left to the implementation.
#[async_trait]
pub trait Lease: Send + Sync + 'static {
    /// The name under which this process holds leases.
    fn owner(&self) -> &Owner;

    /// The state of each work order's lease, in the order asked. Held leases come from memory, missing
    /// ones are asked for in one call. Never waits longer than the time limit of one call.
    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState>;

    /// The lease of a work order, if it is held and in force. Only memory is asked. The lease counts
    /// as being worked on from here, as with [`Lease::ensure`].
    fn held(&self, work_order: &WorkOrderNumber) -> Option<Held>;

    /// To be called after every batch with all work orders whose lease it got, written or not. It
    /// hands over the leases that another replica has asked for, and releases those held for longest.
    /// Until then they count as being worked on. When this returns, they are dropped in memory; the
    /// future that it returns tells the other replicas.
    fn settle(&self, done: &[WorkOrderNumber]) -> BoxFuture<'_, ()>;

    /// Drops a lease that the store has shown to be overtaken.
    async fn lost(&self, work_order: &WorkOrderNumber);

    /// Notified when a lease that was [`LeaseState::Busy`] may have been released.
    fn released(&self) -> &Notify;

    /// Who holds a work order's lease, as all replicas see it.
    ///
    /// # Errors
    /// If that can't be asked now.
    async fn view(&self, work_order: &WorkOrderNumber) -> Result<Option<View>, Unreachable>;

    /// The health of the lease service, for `/readyz`.
    fn health(&self) -> Health;

    /// Stops renewing and releases every lease, within a bounded time.
    async fn close(&self);
}

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The work order.
    pub work_order: WorkOrderNumber,
    /// The fence that the grant must exceed: the highest one known from the store that is not of this
    /// process. A held lease at or below it is granted again.
    pub floor: Fence,
}

/// The state of a work order's lease, as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// This process holds the lease.
    Held(Held),
    /// Another replica holds it, and knows that this one waits.
    Busy,
    /// No lease can be had: use the row lock. There is no Redis, or it is down and `database` is the
    /// fallback.
    RowLock,
    /// Redis is down, and `refuse` is the fallback.
    Unavailable,
}

/// A lease in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its fence.
    pub fence: Fence,
    /// Until when a write may begin under it. It is on the monotonic clock, counted from before the
    /// lease was asked for. `None`: for as long as the process lives.
    pub until: Option<Instant>,
}

impl Held {
    /// Whether a write may still begin.
    #[must_use]
    pub fn in_force(&self) -> bool {
        self.until.is_none_or(|until| Instant::now() < until)
    }
}

/// A lease as all replicas see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// Who holds it.
    pub holder: Owner,
    /// Under which fence.
    pub fence: Fence,
    /// How much longer it lasts unless renewed. `None`: for as long as its holder lives.
    pub expires_in: Option<Duration>,
}

/// The lease service can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("the lease service can't be reached")]
pub struct Unreachable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

/// The health of the lease service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Leases are granted.
    Good,
    /// There are none by configuration: only the row lock.
    RowsAlone,
    /// It is down. Scans are counted with row locks.
    Away,
    /// It is down, and no scan is counted without it.
    Refusing,
}

impl Health {
    /// The health in a word, for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::RowsAlone => "rows alone",
            Self::Away | Self::Refusing => "away",
        }
    }
}
