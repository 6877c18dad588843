//! Takes requests in, and gives them to the lanes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::state::State;
use super::waiting::WaitingRequest;
use super::work::{Lane, Next, Work};
use super::work_order_queue::{Queue, QueueState};
use crate::counting::answer::{Answer, Unsettled};
use crate::counting::settings::Settings;
use crate::domain::ids::WorkOrderNumber;
use crate::telemetry::Metrics;

/// The queues of all work orders, for all lanes.
pub(in crate::counting) struct Queues {
    state: Mutex<State>,
    leased: Notify,
    row_locked: Notify,
    settings: Settings,
    pub(super) metrics: Arc<Metrics>,
}

impl Queues {
    pub(in crate::counting) fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), leased: Notify::new(), row_locked: Notify::new(), settings, metrics }
    }

    /// Takes requests in, in order. Those beyond the bounds are answered at once.
    pub(in crate::counting) fn post(&self, requests: Vec<WaitingRequest>) {
        let now = Instant::now();
        let mut state = self.state();
        for waiting in requests {
            let refusal = state.refusal(&waiting, &self.settings);
            if let Some(why) = refusal.or_else(|| waiting.stop_reason(now, self.settings.answer_within)) {
                waiting.answer(Answer::Unsettled(why));
                continue;
            }
            let number = waiting.request.work_order.clone();
            state.waiting += 1;
            let queue = state.queues.entry(number.clone()).or_default();
            queue.waiting.push_back(waiting);
            let queue_state = queue.state;
            match queue_state {
                QueueState::Ready(lane) => state.ready_list(lane).waiting += 1,
                QueueState::Idle if !state.parked.contains_key(&number) => {
                    let lane = state.stays.lane_of(&number, now);
                    state.make_ready(&number, lane);
                }
                QueueState::Idle | QueueState::Taken(..) => {}
            }
        }
        self.wake_lanes_for(&state);
        self.note_depth(&state);
    }

    /// Waits for work, then takes it: all that waits up to the batch limit. Each work order gets an
    /// equal share. `None` once the queues are closed and empty.
    pub(in crate::counting) async fn take(&self, lane: Lane) -> Option<Vec<Work>> {
        loop {
            let notified = self.notify(lane).notified();
            let (work, next) = self.take_now(lane);
            if !work.is_empty() {
                return Some(work);
            }
            {
                let state = self.state();
                if state.closed && state.queues.is_empty() {
                    // The other lanes may wait for the same end.
                    self.leased.notify_one();
                    self.row_locked.notify_one();
                    return None;
                }
            }
            match next {
                Some(next) => {
                    // Notified or not, the loop looks again.
                    let _ = tokio::time::timeout_at(next.into(), notified).await;
                }
                None => notified.await,
            }
        }
    }

    /// Takes more for a batch that has so many requests already, even if few wait.
    pub(in crate::counting) fn take_more(&self, lane: Lane, requests: usize) -> Vec<Work> {
        let now = Instant::now();
        let room = self.settings.batch.saturating_sub(requests);
        let taken = {
            let mut state = self.state();
            let taken = state.take(lane, room, self.settings.answer_within, now);
            self.note_depth(&state);
            taken
        };
        self.note_waits(&taken, now);
        taken
    }

    /// Wakes other lanes for what is due now. A lane calls this if it has returned work and goes on
    /// with something else. A lane that takes work next need not call it.
    pub(in crate::counting) fn wake_lanes(&self) {
        self.wake_lanes_for(&self.state());
    }

    pub(super) fn take_now(&self, lane: Lane) -> (Vec<Work>, Option<Instant>) {
        let now = Instant::now();
        let (taken, next) = {
            let mut state = self.state();
            state.unpark(|until| until <= now);
            let taken = match state.ready_list(lane).is_due() {
                true => {
                    let taken = state.take(lane, self.settings.batch, self.settings.answer_within, now);
                    self.note_depth(&state);
                    taken
                }
                false => Vec::new(),
            };
            self.wake_lanes_for(&state);
            (taken, state.parked.values().min().copied())
        };
        self.note_waits(&taken, now);
        (taken, next)
    }

    fn note_waits(&self, taken: &[Work], now: Instant) {
        for waiting in taken.iter().flat_map(|work| &work.waiting) {
            self.metrics.queue_wait.observe(now.duration_since(waiting.since).as_secs_f64());
        }
    }

    /// The work order's requests are answered. What came since may be taken.
    pub(in crate::counting) fn done(&self, number: &WorkOrderNumber) {
        self.take_back(number, Vec::new(), Next::Leased, |_| ());
    }

    /// Returns work to its queue, before requests that came since. Requests that have waited too long are
    /// answered.
    pub(in crate::counting) fn return_work(&self, work: Work, next: Next) {
        let Work { number, waiting, lost_under, busy_since } = work;
        self.take_back(&number, waiting, next, |queue| {
            queue.lost_under = lost_under;
            queue.busy_since = busy_since;
        });
    }

    fn take_back(
        &self,
        number: &WorkOrderNumber,
        waiting: Vec<WaitingRequest>,
        next: Next,
        mark: impl FnOnce(&mut Queue),
    ) {
        let now = Instant::now();
        let mut kept = Vec::new();
        for waiting in waiting {
            // In order, so that the first one left unsettled stops the later ones of its chain.
            match waiting.stop_reason(now, self.settings.answer_within) {
                Some(why) => waiting.answer(Answer::Unsettled(why)),
                None => kept.push(waiting),
            }
        }
        let mut state = self.state();
        let queue = state.queues.get_mut(number).expect("a work order that a lane has taken has a queue");
        let QueueState::Taken(from, taken) = std::mem::take(&mut queue.state) else {
            unreachable!("a lane returns only what it has taken")
        };
        mark(queue);
        let returned = kept.len();
        for waiting in kept.into_iter().rev() {
            queue.waiting.push_front(waiting);
        }
        let empty = queue.waiting.is_empty();
        state.ready_list(from).taken -= taken;
        state.waiting += returned;
        if let Next::RowLocked { stay } = next {
            state.stays.add(number, now, stay);
        }
        if empty {
            state.queues.remove(number);
        } else if let Next::Parked { asked, pause } = next
            && state.released_at.is_none_or(|released| released < asked)
        {
            state.parked.insert(number.clone(), now + pause);
            self.leased.notify_one();
        } else {
            // What waits goes to the lane that `next` names. What comes later may go to another one: the
            // number of stays with the row-locked lane is bounded.
            let lane = match next {
                Next::RowLocked { .. } => Lane::RowLocked,
                Next::Leased | Next::Parked { .. } => state.stays.lane_of(number, now),
            };
            state.make_ready(number, lane);
        }
        self.wake_lanes_except(from, &state);
        let over = state.closed && state.queues.is_empty();
        self.note_depth(&state);
        drop(state);
        if over {
            self.leased.notify_one();
            self.row_locked.notify_one();
        }
    }

    /// A lease that a parked work order may wait for was released.
    pub(in crate::counting) fn lease_released(&self) {
        let mut state = self.state();
        state.released_at = Some(Instant::now());
        state.unpark(|_| true);
        self.wake_lanes_for(&state);
    }

    /// Takes no more requests in. What waits is still given to the lanes.
    pub(in crate::counting) fn close(&self) {
        self.state().closed = true;
        self.leased.notify_one();
        self.row_locked.notify_one();
    }

    /// Answers all that still waits. What a lane has taken, the lane answers itself.
    pub(in crate::counting) fn clear(&self) {
        let mut left = Vec::new();
        {
            let mut state = self.state();
            for queue in state.queues.values_mut() {
                left.extend(queue.waiting.drain(..));
            }
            state.queues.retain(|_, queue| matches!(queue.state, QueueState::Taken(..)));
            for lane in [Lane::Leased, Lane::RowLocked] {
                let ready_list = state.ready_list(lane);
                ready_list.work_orders.clear();
                ready_list.waiting = 0;
            }
            state.parked.clear();
            state.waiting = 0;
        }
        for waiting in left {
            waiting.answer(Answer::Unsettled(Unsettled::ShuttingDown));
        }
    }

    /// Wakes one lane of each kind for which a batch is due.
    fn wake_lanes_for(&self, state: &State) {
        if state.leased.is_due() {
            self.leased.notify_one();
        }
        if state.row_locked.is_due() {
            self.row_locked.notify_one();
        }
    }

    /// Wakes one lane of the other kind if a batch is due for it. The lane that returns work takes more
    /// by itself.
    fn wake_lanes_except(&self, from: Lane, state: &State) {
        if from != Lane::RowLocked && state.row_locked.is_due() {
            self.row_locked.notify_one();
        }
        if from != Lane::Leased && state.leased.is_due() {
            self.leased.notify_one();
        }
    }

    fn notify(&self, lane: Lane) -> &Notify {
        match lane {
            Lane::Leased => &self.leased,
            Lane::RowLocked => &self.row_locked,
        }
    }

    fn note_depth(&self, state: &State) {
        self.metrics.queue_depth.set(i64::try_from(state.waiting).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
