//! Which work orders stay with the row-locked lane, and for how long.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::work::Lane;
use crate::domain::ids::WorkOrderNumber;

/// How many work orders at most stay with the row-locked lane while nothing waits for them. For the
/// others, later requests are tried under the lease again.
pub(super) const STAYS: usize = 8_192;

#[derive(Default)]
pub(super) struct RowLockStays {
    until: HashMap<WorkOrderNumber, Instant>,
    /// While that is full: when the first stay in it is over.
    full_until: Option<Instant>,
}

impl RowLockStays {
    /// The lane for a work order that no lane has returned just now.
    pub(super) fn lane_of(&mut self, number: &WorkOrderNumber, now: Instant) -> Lane {
        match self.until.get(number) {
            Some(&until) if now < until => Lane::RowLocked,
            Some(_) => {
                self.until.remove(number);
                Lane::Leased
            }
            None => Lane::Leased,
        }
    }

    /// Keeps a work order with the row-locked lane for a while, also if nothing waits for it. Otherwise a
    /// terminal that sends one scan at a time would fail under the lease each time.
    pub(super) fn add(&mut self, number: &WorkOrderNumber, now: Instant, stay: Duration) {
        let stays = &mut self.until;
        if stays.len() >= STAYS && self.full_until.is_none_or(|over| over <= now) {
            stays.retain(|_, until| now < *until);
            self.full_until = stays.values().min().copied();
        }
        if stays.len() < STAYS || stays.contains_key(number) {
            stays.insert(number.clone(), now + stay);
        }
    }
}
