//! The claims of barcodes while a batch is judged.

use std::collections::{HashMap, HashSet};

use super::facts::{Claim, ClaimKey};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::request::Counter;

/// The net change of claims: the releases first, and then three disjoint sets. In one statement, deleting
/// and inserting the same key would have no order (pitfall 39).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimChanges {
    /// Counters all of whose claims no longer stand.
    pub release: Vec<Counter>,
    /// Claims that no longer stand.
    pub delete: Vec<(ClaimKey, Claim)>,
    /// Claims that another update now holds.
    pub take_over: Vec<(ClaimKey, Claim)>,
    /// New claims.
    pub insert: Vec<(ClaimKey, Claim)>,
}

/// The claims as they were loaded, and as they are now, after the requests judged so far.
pub(super) struct Claims<'a> {
    loaded: &'a HashMap<ClaimKey, Vec<Claim>>,
    now: HashMap<ClaimKey, Vec<Claim>>,
    /// The counters all of whose claims are released, also those that were not loaded.
    released: HashSet<(WorkOrderNumber, Counter)>,
}

impl<'a> Claims<'a> {
    pub(super) fn of(loaded: &'a HashMap<ClaimKey, Vec<Claim>>) -> Self {
        Self { loaded, now: HashMap::new(), released: HashSet::new() }
    }

    /// The newest standing claim of a barcode.
    pub(super) fn newest(&self, key: &ClaimKey) -> Option<&Claim> {
        self.standing(key).last()
    }

    /// The standing claim that an update made, if it still stands.
    pub(super) fn made_by(&self, key: &ClaimKey, request_id: &RequestId) -> Option<&Claim> {
        self.standing(key).iter().find(|claim| claim.request_id == *request_id)
    }

    /// Adds the newest claim of a barcode.
    pub(super) fn push(&mut self, key: ClaimKey, claim: Claim) {
        self.touch(key).push(claim);
    }

    /// Removes the claim that an update made.
    pub(super) fn remove(&mut self, key: ClaimKey, request_id: &RequestId) {
        self.touch(key).retain(|claim| claim.request_id != *request_id);
    }

    /// Removes every claim of a counter.
    pub(super) fn release(&mut self, work_order: &WorkOrderNumber, counter: Counter) {
        self.now.retain(|key, _| !(key.work_order == *work_order && key.counter == counter));
        self.released.insert((work_order.clone(), counter));
    }

    fn standing(&self, key: &ClaimKey) -> &[Claim] {
        self.now.get(key).map_or_else(|| self.before(key), Vec::as_slice)
    }

    /// The claims of a barcode that the changes of this batch start from.
    fn before(&self, key: &ClaimKey) -> &'a [Claim] {
        let is_released = !self.released.is_empty() && self.released.contains(&(key.work_order.clone(), key.counter));
        self.loaded.get(key).filter(|_| !is_released).map_or(&[], Vec::as_slice)
    }

    fn touch(&mut self, key: ClaimKey) -> &mut Vec<Claim> {
        let before = self.before(&key);
        self.now.entry(key).or_insert_with(|| before.to_vec())
    }

    /// What has to be written, per work order: the releases, and then the claims as they are now,
    /// compared by ordinal with those that the releases left.
    pub(super) fn net(mut self) -> HashMap<WorkOrderNumber, ClaimChanges> {
        let mut changes: HashMap<WorkOrderNumber, ClaimChanges> = HashMap::new();
        for (key, standing) in std::mem::take(&mut self.now) {
            let before = self.before(&key);
            let change = changes.entry(key.work_order.clone()).or_default();
            let same_place =
                |other: &[Claim], claim: &Claim| other.iter().find(|c| c.ordinal == claim.ordinal).cloned();
            for claim in before.iter().filter(|claim| same_place(&standing, claim).is_none()) {
                change.delete.push((key.clone(), claim.clone()));
            }
            for claim in standing {
                match same_place(before, &claim) {
                    None => change.insert.push((key.clone(), claim)),
                    Some(was) if was != claim => change.take_over.push((key.clone(), claim)),
                    Some(_) => {}
                }
            }
        }
        for (work_order, counter) in self.released {
            changes.entry(work_order).or_default().release.push(counter);
        }
        changes
    }
}
