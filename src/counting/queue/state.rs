//! The queues of all work orders, as the mailbox's lock guards them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ready::Ring;
use super::waiting::Waiting;
use super::work::Lane;
use super::work_order_queue::{Queue, QueueState};
use crate::counting::answer::Unsettled;
use crate::counting::settings::Settings;
use crate::domain::ids::WorkOrderNumber;

/// How many work orders at most stay with the row-locked lane while nothing waits for them; what
/// comes later for the others is tried under the lease again.
pub(super) const STAYS: usize = 8_192;

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: HashMap<WorkOrderNumber, Queue>,
    pub(super) leased: Ring,
    pub(super) row_locked: Ring,
    pub(super) parked: HashMap<WorkOrderNumber, Instant>,
    /// Until when work orders go by the row lock.
    row_locked_until: HashMap<WorkOrderNumber, Instant>,
    /// While that is full: when the first of them is over.
    full_until: Option<Instant>,
    /// When something that a parked one may wait for last came free.
    pub(super) freed_at: Option<Instant>,
    pub(super) waiting: usize,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn ring(&mut self, lane: Lane) -> &mut Ring {
        match lane {
            Lane::Leased => &mut self.leased,
            Lane::RowLocked => &mut self.row_locked,
        }
    }

    /// The lane of a work order that nobody has sent to one.
    pub(super) fn lane_of(&mut self, number: &WorkOrderNumber, now: Instant) -> Lane {
        match self.row_locked_until.get(number) {
            Some(&until) if now < until => Lane::RowLocked,
            Some(_) => {
                self.row_locked_until.remove(number);
                Lane::Leased
            }
            None => Lane::Leased,
        }
    }

    /// Puts a work order that has something to do at the end of a lane's turn.
    pub(super) fn enrol(&mut self, number: &WorkOrderNumber, lane: Lane) {
        let Some(queue) = self.queues.get_mut(number) else { return };
        if queue.place != QueueState::Aside || queue.waiting.is_empty() {
            return;
        }
        queue.place = QueueState::Enrolled(lane);
        let waiting = queue.waiting.len();
        let ring = self.ring(lane);
        ring.turn.push_back(number.clone());
        ring.ready += waiting;
    }

    /// Why nothing more is taken in, if so.
    pub(super) fn refusal(&self, waiting: &Waiting, settings: &Settings) -> Option<Unsettled> {
        let queued = self.queues.get(&waiting.request.work_order).map_or(0, |queue| queue.waiting.len());
        if self.closed {
            Some(Unsettled::ShuttingDown)
        } else if self.waiting >= settings.queue || queued >= settings.queue_per_work_order {
            Some(Unsettled::Overloaded)
        } else {
            None
        }
    }

    /// Sends a work order by the row lock for a while, whether or not anything waits for it:
    /// a terminal that sends one scan after the other must not find out with each.
    pub(super) fn row_lock(&mut self, number: &WorkOrderNumber, now: Instant, stay: Duration) {
        let stays = &mut self.row_locked_until;
        if stays.len() >= STAYS && self.full_until.is_none_or(|over| over <= now) {
            stays.retain(|_, until| now < *until);
            self.full_until = stays.values().min().copied();
        }
        if stays.len() < STAYS || stays.contains_key(number) {
            stays.insert(number.clone(), now + stay);
        }
    }

    pub(super) fn unpark(&mut self, due: impl Fn(Instant) -> bool) {
        let now = Instant::now();
        let numbers: Vec<_> = self.parked.iter().filter(|&(_, &until)| due(until)).map(|(n, _)| n.clone()).collect();
        for number in numbers {
            self.parked.remove(&number);
            let lane = self.lane_of(&number, now);
            self.enrol(&number, lane);
        }
    }
}
