//! The lease: which replica works on a work order now.
//!
//! It only orders the work. The store decides, in the transaction of the write,
//! so a lease may lie, lapse or vanish: the result is slower, never wrong.

pub mod breaker;
pub mod local;
pub mod redis;
pub mod row_lock;

use std::time::{Duration, Instant};

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;

use crate::domain::ids::{Fence, Owner, WorkOrderNumber};

/// Grants, renews, hands over and gives up the leases of this process.
///
/// Held leases are known in memory: [`Lease::ensure`] asks nobody for those. Renewal,
/// the longest hold and giving up what is idle are the implementation's own business.
#[async_trait]
pub trait Lease: Send + Sync + 'static {
    /// The name under which this process holds leases.
    fn owner(&self) -> &Owner;

    /// Where this process stands with each work order, in the order asked: held leases
    /// from memory, missing ones asked for in one call. Never waits longer than the
    /// time limit of one call.
    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState>;

    /// The lease of a work order that is held and in force, from memory: nobody is asked. It
    /// counts as being worked on from here, as with [`Lease::ensure`].
    fn held(&self, work_order: &WorkOrderNumber) -> Option<Held>;

    /// To be called after every batch with all work orders that it was given a lease of,
    /// written or not: hands over those that another replica has asked for, and gives up
    /// those held for longest. Until then they count as being worked on. They are dropped
    /// when this returns; what it returns tells others so.
    fn settle(&self, done: &[WorkOrderNumber]) -> BoxFuture<'_, ()>;

    /// Drops a lease that the store has shown to be overtaken.
    async fn lost(&self, work_order: &WorkOrderNumber);

    /// Notified when a work order that was [`LeaseState::Busy`] may have come free.
    fn freed(&self) -> &Notify;

    /// Who holds a work order's lease, as all replicas see it.
    ///
    /// # Errors
    /// Where that can't be asked now.
    async fn view(&self, work_order: &WorkOrderNumber) -> Result<Option<View>, Unreachable>;

    /// How the lease service does, for `/readyz`.
    fn health(&self) -> Health;

    /// Stops renewing and releases every lease, within a bounded time.
    async fn close(&self);
}

/// What to ask for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ask {
    /// The work order.
    pub work_order: WorkOrderNumber,
    /// The fence that the grant must exceed: the highest one known from the store that
    /// is not ours. A held lease at or below it is granted anew.
    pub floor: Fence,
}

/// Where this process stands with a work order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaseState {
    /// It holds the lease.
    Held(Held),
    /// Another replica holds it; it has been told that we wait.
    Busy,
    /// There is no lease to be had (no Redis, or it is away and `database` is the
    /// fallback): go by the row lock.
    RowLock,
    /// Redis is away and `refuse` is the fallback.
    Unavailable,
}

/// A lease in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Held {
    /// Its fence.
    pub fence: Fence,
    /// Until when it is safe to begin a write under it, on the monotonic clock, counted
    /// from before it was asked for; `None`: for as long as the process lives.
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
    /// How much longer, unless renewed; `None`: for as long as its holder lives.
    pub expires_in: Option<Duration>,
}

/// The lease service can't be asked.
#[derive(Debug, thiserror::Error)]
#[error("the lease service can't be reached")]
pub struct Unreachable(#[source] pub Box<dyn std::error::Error + Send + Sync>);

impl Health {
    /// The health in a word, for the log.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::RowsAlone => "rows alone",
            Self::Away => "away",
        }
    }
}

/// How the lease service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Health {
    /// Leases are granted.
    Good,
    /// There is none by configuration: rows alone.
    RowsAlone,
    /// It is away; its fallback is in force.
    Away,
}
