//! What Redis may see differently from memory: releases and grants without an answer.

use std::collections::{HashMap, HashSet};
use std::time::Instant;

use crate::domain::ids::{Fence, WorkOrderNumber};

/// How many unanswered grants are kept at most. The others run out by themselves in Redis.
const GRANTS: usize = 10_000;

/// A lease by work order and fence. The scripts compare both.
pub type Name = (WorkOrderNumber, Fence);

/// Calls to Redis whose outcome is not known.
#[derive(Debug, Default)]
pub struct Unconfirmed {
    /// Not held any more in memory, and in Redis until this time at most.
    releases: HashMap<Name, Instant>,
    /// Asked for without an answer: Redis may have granted them.
    grants: HashSet<WorkOrderNumber>,
}

impl Unconfirmed {
    /// This lease is still to be released in Redis. It runs out at `runs_out` at the latest.
    pub fn release(&mut self, name: Name, runs_out: Instant) {
        self.releases.entry(name).or_insert(runs_out);
    }

    /// This lease need not be released any more.
    pub fn drop_release(&mut self, name: &Name) {
        self.releases.remove(name);
    }

    /// The leases that are still to be released in Redis.
    pub fn releases(&mut self, now: Instant) -> Vec<Name> {
        self.releases.retain(|_, runs_out| now < *runs_out);
        self.releases.keys().cloned().collect()
    }

    /// All leases that are still to be released in Redis. None is kept.
    pub fn take_releases(&mut self) -> Vec<Name> {
        self.releases.drain().map(|(name, _)| name).collect()
    }

    /// A request was not answered.
    pub fn grant(&mut self, work_order: &WorkOrderNumber) {
        if self.grants.len() < GRANTS {
            self.grants.insert(work_order.clone());
        }
    }

    /// A request was answered after all, or a later one was.
    pub fn drop_grant(&mut self, work_order: &WorkOrderNumber) {
        self.grants.remove(work_order);
    }

    /// The work orders whose lease Redis may have granted; none is kept.
    pub fn take_grants(&mut self) -> Vec<WorkOrderNumber> {
        self.grants.drain().collect()
    }
}
