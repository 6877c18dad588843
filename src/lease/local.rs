//! The lease of the embedded deployment: this process is alone, so it always holds.
//!
//! What is left to do is numbering. A fence starts above the row's (the floor), so that
//! the rows of an earlier run, which another owner wrote, take our writes.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::Notify;

use super::{Ask, Health, Held, Lease, LeaseState, Unreachable, View};
use crate::domain::ids::{Fence, Owner, WorkOrderNumber};

/// Work orders remembered at most: far more than are open at one time on the line of one
/// edge PC, and about 2 MB. Past it the half that was used longest ago is forgotten.
const REMEMBERED: usize = 10_000;

/// Grants every lease to this process, for as long as it lives.
///
/// A grant may lie below the row's fence when the row is not loaded yet (floor 0); the
/// committer then asks again with the row's fence as the floor.
#[derive(Debug)]
pub struct LocalLease {
    owner: Owner,
    grants: Mutex<Grants>,
    freed: Notify,
}

impl LocalLease {
    /// The leases of this process, none granted yet.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self { owner, grants: Mutex::default(), freed: Notify::new() }
    }

    fn grants(&self) -> MutexGuard<'_, Grants> {
        self.grants.lock().expect("nothing panics while the grants are locked")
    }
}

#[async_trait]
impl Lease for LocalLease {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState> {
        let mut grants = self.grants();
        asks.iter().map(|ask| LeaseState::Held(Held { fence: grants.ensure(ask), until: None })).collect()
    }

    fn held(&self, work_order: &WorkOrderNumber) -> Option<Held> {
        self.grants().taken_up(work_order).map(|fence| Held { fence, until: None })
    }

    /// Nobody else can ask, so nothing is handed over.
    fn settle(&self, _done: &[WorkOrderNumber]) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    async fn lost(&self, work_order: &WorkOrderNumber) {
        self.grants().lost(work_order);
    }

    /// Never notified: nothing is ever busy.
    fn freed(&self) -> &Notify {
        &self.freed
    }

    async fn view(&self, work_order: &WorkOrderNumber) -> Result<Option<View>, Unreachable> {
        let fence = self.grants().held(work_order);
        Ok(fence.map(|fence| View { holder: self.owner.clone(), fence, expires_in: None }))
    }

    fn health(&self) -> Health {
        Health::Good
    }

    /// Leases end with the process.
    async fn close(&self) {}
}

/// The fences granted by this process.
#[derive(Debug, Default)]
struct Grants {
    by_work_order: HashMap<WorkOrderNumber, Grant>,
    /// The highest fence of those forgotten: stands in for each of them, so that none goes
    /// back though none is remembered.
    forgotten: Fence,
    /// Counts the asks: a clock for what was used longest ago.
    asks: u64,
}

#[derive(Debug)]
struct Grant {
    fence: Fence,
    held: bool,
    last_ask: u64,
}

impl Grants {
    fn ensure(&mut self, ask: &Ask) -> Fence {
        self.asks += 1;
        if self.by_work_order.len() >= REMEMBERED && !self.by_work_order.contains_key(&ask.work_order) {
            self.forget_half();
        }
        let grant = self.by_work_order.entry(ask.work_order.clone()).or_insert(Grant {
            fence: self.forgotten,
            held: false,
            last_ask: 0,
        });
        grant.last_ask = self.asks;
        if !grant.held || grant.fence <= ask.floor {
            grant.fence = Fence(grant.fence.max(ask.floor).0 + 1);
            grant.held = true;
        }
        grant.fence
    }

    /// The fence that is held, to be used now.
    fn taken_up(&mut self, work_order: &WorkOrderNumber) -> Option<Fence> {
        self.asks += 1;
        let grant = self.by_work_order.get_mut(work_order).filter(|grant| grant.held)?;
        grant.last_ask = self.asks;
        Some(grant.fence)
    }

    fn lost(&mut self, work_order: &WorkOrderNumber) {
        if let Some(grant) = self.by_work_order.get_mut(work_order) {
            grant.held = false;
        }
    }

    fn held(&self, work_order: &WorkOrderNumber) -> Option<Fence> {
        self.by_work_order.get(work_order).filter(|grant| grant.held).map(|grant| grant.fence)
    }

    fn forget_half(&mut self) {
        let mut last_asks: Vec<u64> = self.by_work_order.values().map(|grant| grant.last_ask).collect();
        let middle = last_asks.len() / 2;
        let (_, &mut kept_from, _) = last_asks.select_nth_unstable(middle);
        let forgotten = &mut self.forgotten;
        self.by_work_order.retain(|_, grant| {
            let keep = grant.last_ask >= kept_from;
            if !keep {
                *forgotten = (*forgotten).max(grant.fence);
            }
            keep
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(work_order: &str, floor: i64) -> Ask {
        Ask { work_order: WorkOrderNumber::parse(work_order).unwrap(), floor: Fence(floor) }
    }

    #[test]
    fn a_fence_is_kept_until_the_floor_reaches_it_or_it_is_lost() {
        let mut grants = Grants::default();
        let a = ask("A", 0).work_order;
        assert_eq!(grants.ensure(&ask("A", 0)), Fence(1), "before the load");
        assert_eq!(grants.ensure(&ask("A", 41)), Fence(42), "the row is further");
        assert_eq!(grants.ensure(&ask("A", 0)), Fence(42));
        assert_eq!(grants.ensure(&ask("A", 41)), Fence(42), "a floor below the fence");
        assert_eq!(grants.ensure(&ask("A", 42)), Fence(43), "another owner has written under the same number");
        assert_eq!(grants.held(&a), Some(Fence(43)));
        grants.lost(&a);
        assert_eq!(grants.held(&a), None);
        assert_eq!(grants.ensure(&ask("A", 0)), Fence(44));
        assert_eq!(grants.ensure(&ask("B", 0)), Fence(1), "each work order has its own");
    }

    #[test]
    fn pitfall_18_memory_is_bounded_and_no_forgotten_fence_goes_back() {
        let mut grants = Grants::default();
        let first = grants.ensure(&ask("first", 900));
        grants.ensure(&ask("busy", 0));
        for number in 0..3 * REMEMBERED {
            grants.ensure(&ask(&format!("P{number}"), 0));
            assert_eq!(grants.taken_up(&ask("busy", 0).work_order), Some(Fence(1)), "what is in use is kept");
            assert!(grants.by_work_order.len() <= REMEMBERED);
        }
        assert_eq!(grants.held(&ask("first", 0).work_order), None);
        assert!(grants.ensure(&ask("first", 0)) > first);
    }
}
