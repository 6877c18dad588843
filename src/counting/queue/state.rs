//! The state of all queues, behind one lock: what waits, what is ready for which lane, and what is
//! parked.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::ready::ReadyList;
use super::row_lock_stays::RowLockStays;
use super::waiting::WaitingRequest;
use super::work::{Lane, Work};
use super::work_order_queue::{Queue, QueueState};
use crate::counting::answer::{Answer, Unsettled};
use crate::counting::settings::Settings;
use crate::domain::ids::WorkOrderNumber;

#[derive(Default)]
pub(super) struct State {
    pub(super) queues: HashMap<WorkOrderNumber, Queue>,
    pub(super) leased: ReadyList,
    pub(super) row_locked: ReadyList,
    /// Work orders whose lease is busy, and when each of them is ready again.
    pub(super) parked: HashMap<WorkOrderNumber, Instant>,
    pub(super) stays: RowLockStays,
    /// When a lease that a parked work order may wait for was last released.
    pub(super) released_at: Option<Instant>,
    /// How many requests wait in all.
    pub(super) waiting: usize,
    pub(super) closed: bool,
}

impl State {
    pub(super) fn ready_list(&mut self, lane: Lane) -> &mut ReadyList {
        match lane {
            Lane::Leased => &mut self.leased,
            Lane::RowLocked => &mut self.row_locked,
        }
    }

    /// The reason not to take a request in, if any.
    pub(super) fn refusal(&self, waiting: &WaitingRequest, settings: &Settings) -> Option<Unsettled> {
        let queued = self.queues.get(&waiting.request.work_order).map_or(0, |queue| queue.waiting.len());
        if self.closed {
            Some(Unsettled::ShuttingDown)
        } else if self.waiting >= settings.queue || queued >= settings.queue_per_work_order {
            Some(Unsettled::Overloaded)
        } else {
            None
        }
    }

    /// Puts an idle work order with waiting requests at the end of a lane's ready list.
    pub(super) fn make_ready(&mut self, number: &WorkOrderNumber, lane: Lane) {
        let Some(queue) = self.queues.get_mut(number) else { return };
        if queue.state != QueueState::Idle || queue.waiting.is_empty() {
            return;
        }
        queue.state = QueueState::Ready(lane);
        let waiting = queue.waiting.len();
        let ready_list = self.ready_list(lane);
        ready_list.work_orders.push_back(number.clone());
        ready_list.waiting += waiting;
    }

    /// Takes up to `room` requests. Each work order in the ready list gets an equal share.
    pub(super) fn take(&mut self, lane: Lane, mut room: usize, answer_within: Duration, now: Instant) -> Vec<Work> {
        let mut taken: Vec<Work> = Vec::new();
        let ready = std::mem::take(&mut self.ready_list(lane).work_orders);
        let share = (room / ready.len().max(1)).max(1);
        let mut rest = Vec::new();
        for number in ready {
            if room == 0 {
                rest.push(number);
                continue;
            }
            // A single work order gets the whole room.
            let mut got = Vec::new();
            let Self { queues, waiting: depth, leased, row_locked, .. } = &mut *self;
            let ready_list = match lane {
                Lane::Leased => leased,
                Lane::RowLocked => row_locked,
            };
            let queue = queues.get_mut(&number).expect("a work order in a ready list has a queue");
            ready_list.waiting -= queue.waiting.len();
            while got.len() < share.min(room)
                && let Some(waiting) = queue.waiting.pop_front()
            {
                *depth -= 1;
                match waiting.stop_reason(now, answer_within) {
                    None => got.push(waiting),
                    // In order, so that it stops the later ones of its chain.
                    Some(why) => waiting.answer(Answer::Unsettled(why)),
                }
            }
            room -= got.len();
            if got.is_empty() {
                // All that waited was answered.
                queues.remove(&number);
                continue;
            }
            queue.state = QueueState::Taken(lane, got.len());
            ready_list.taken += got.len();
            taken.push(Work {
                number,
                waiting: got,
                lost_under: queue.lost_under.take(),
                busy_since: queue.busy_since.take(),
            });
        }
        self.ready_list(lane).work_orders.extend(rest);
        taken
    }

    /// Makes the parked work orders ready whose time is `due`.
    pub(super) fn unpark(&mut self, due: impl Fn(Instant) -> bool) {
        let now = Instant::now();
        let numbers: Vec<_> = self.parked.iter().filter(|&(_, &until)| due(until)).map(|(n, _)| n.clone()).collect();
        for number in numbers {
            self.parked.remove(&number);
            let lane = self.stays.lane_of(&number, now);
            self.make_ready(&number, lane);
        }
    }
}
