//! The mailbox: takes requests in, and gives them to the lanes.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::Notify;

use super::state::State;
use super::waiting::Waiting;
use super::work::{Lane, Next, Work};
use super::work_order_queue::{Queue, QueueState};
use crate::counting::answer::{Answer, Unsettled};
use crate::counting::settings::Settings;
use crate::domain::ids::WorkOrderNumber;
use crate::telemetry::Metrics;

/// See the module.
pub(in crate::counting) struct Mailbox {
    state: Mutex<State>,
    leased: Notify,
    row_locked: Notify,
    settings: Settings,
    metrics: Arc<Metrics>,
}

impl Mailbox {
    pub(in crate::counting) fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), leased: Notify::new(), row_locked: Notify::new(), settings, metrics }
    }

    /// Takes requests in, in order; those beyond the bounds are answered at once.
    pub(in crate::counting) fn post(&self, requests: Vec<Waiting>) {
        let now = Instant::now();
        let mut state = self.state();
        for waiting in requests {
            let refusal = state.refusal(&waiting, &self.settings);
            if let Some(why) = refusal.or_else(|| waiting.stopped(now, self.settings.answer_within)) {
                waiting.answer(Answer::Unsettled(why));
                continue;
            }
            let number = waiting.request.work_order.clone();
            state.waiting += 1;
            let queue = state.queues.entry(number.clone()).or_default();
            queue.waiting.push_back(waiting);
            let place = queue.place;
            match place {
                QueueState::Enrolled(lane) => state.ring(lane).ready += 1,
                QueueState::Aside if !state.parked.contains_key(&number) => {
                    let lane = state.lane_of(&number, now);
                    state.enrol(&number, lane);
                }
                QueueState::Aside | QueueState::Out(..) => {}
            }
        }
        self.call_lanes(&state);
        self.note_depth(&state);
    }

    /// Waits for work, then takes it: all that waits up to the batch limit, every work
    /// order in turn getting an equal share. `None` once closed and empty.
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
                    // The other lane may be waiting for the same end.
                    self.leased.notify_one();
                    self.row_locked.notify_one();
                    return None;
                }
            }
            match next {
                Some(next) => {
                    // Either way the loop looks again.
                    let _ = tokio::time::timeout_at(next.into(), notified).await;
                }
                None => notified.await,
            }
        }
    }

    /// Takes more for a batch that has so many requests already, however few wait.
    pub(in crate::counting) fn take_more(&self, lane: Lane, requests: usize) -> Vec<Work> {
        let now = Instant::now();
        let room = self.settings.batch.saturating_sub(requests);
        let taken = self.take_up_to(&mut self.state(), lane, room, now);
        self.note_waits(&taken, now);
        taken
    }

    /// Calls other lanes for what is to be done now: by a lane that has handed something back and
    /// goes on with something else. One that looks for more itself next need not.
    pub(in crate::counting) fn call(&self) {
        self.call_lanes(&self.state());
    }

    fn take_now(&self, lane: Lane) -> (Vec<Work>, Option<Instant>) {
        let now = Instant::now();
        let (taken, next) = {
            let mut state = self.state();
            state.unpark(|until| until <= now);
            let taken = match state.ring(lane).is_due() {
                true => self.take_up_to(&mut state, lane, self.settings.batch, now),
                false => Vec::new(),
            };
            self.call_lanes(&state);
            (taken, state.parked.values().min().copied())
        };
        self.note_waits(&taken, now);
        (taken, next)
    }

    /// Takes up to `room` requests, every work order in turn getting an equal share.
    fn take_up_to(&self, state: &mut State, lane: Lane, mut room: usize, now: Instant) -> Vec<Work> {
        let mut taken: Vec<Work> = Vec::new();
        let turn = std::mem::take(&mut state.ring(lane).turn);
        let share = (room / turn.len().max(1)).max(1);
        let mut rest = Vec::new();
        for number in turn {
            if room == 0 {
                rest.push(number);
                continue;
            }
            // A lone work order gets all the room there is; many get equal shares.
            let mut got = Vec::new();
            let State { queues, waiting: depth, leased, row_locked, .. } = &mut *state;
            let ring = match lane {
                Lane::Leased => leased,
                Lane::RowLocked => row_locked,
            };
            let queue = queues.get_mut(&number).expect("an enrolled work order has a queue");
            ring.ready -= queue.waiting.len();
            while got.len() < share.min(room)
                && let Some(waiting) = queue.waiting.pop_front()
            {
                *depth -= 1;
                match waiting.stopped(now, self.settings.answer_within) {
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
            queue.place = QueueState::Out(lane, got.len());
            ring.under_way += got.len();
            taken.push(Work {
                number,
                waiting: got,
                lost_under: queue.lost_under.take(),
                busy_since: queue.busy_since.take(),
            });
        }
        state.ring(lane).turn.extend(rest);
        self.note_depth(state);
        taken
    }

    fn note_waits(&self, taken: &[Work], now: Instant) {
        for waiting in taken.iter().flat_map(|work| &work.waiting) {
            self.metrics.queue_wait.observe(now.duration_since(waiting.since).as_secs_f64());
        }
    }

    /// The work order's requests are answered; what came meanwhile may be taken.
    pub(in crate::counting) fn done(&self, number: &WorkOrderNumber) {
        self.back(number, Vec::new(), Next::Leased, |_| ());
    }

    /// Puts work back, before what came meanwhile. What has waited too long is answered.
    pub(in crate::counting) fn put_back(&self, work: Work, next: Next) {
        let Work { number, waiting, lost_under, busy_since } = work;
        self.back(&number, waiting, next, |queue| {
            queue.lost_under = lost_under;
            queue.busy_since = busy_since;
        });
    }

    fn back(&self, number: &WorkOrderNumber, waiting: Vec<Waiting>, next: Next, mark: impl FnOnce(&mut Queue)) {
        let now = Instant::now();
        let mut kept = Vec::new();
        for waiting in waiting {
            // In order, so that the first one left unsettled stops the later ones of its chain.
            match waiting.stopped(now, self.settings.answer_within) {
                Some(why) => waiting.answer(Answer::Unsettled(why)),
                None => kept.push(waiting),
            }
        }
        let mut state = self.state();
        let queue = state.queues.get_mut(number).expect("a work order in the hands of a lane has a queue");
        let QueueState::Out(from, taken) = std::mem::take(&mut queue.place) else {
            unreachable!("a work order in the hands of a lane is out")
        };
        mark(queue);
        let came_back = kept.len();
        for waiting in kept.into_iter().rev() {
            queue.waiting.push_front(waiting);
        }
        let empty = queue.waiting.is_empty();
        state.ring(from).under_way -= taken;
        state.waiting += came_back;
        if let Next::RowLocked { stay } = next {
            state.row_lock(number, now, stay);
        }
        if empty {
            state.queues.remove(number);
        } else if let Next::Parked { asked, pause } = next
            && state.freed_at.is_none_or(|freed| freed < asked)
        {
            state.parked.insert(number.clone(), now + pause);
            self.leased.notify_one();
        } else {
            // What waits goes where it is sent, though not everything that comes later can.
            let lane = match next {
                Next::RowLocked { .. } => Lane::RowLocked,
                Next::Leased | Next::Parked { .. } => state.lane_of(number, now),
            };
            state.enrol(number, lane);
        }
        // The lane that hands back looks again itself.
        if from != Lane::RowLocked && state.row_locked.is_due() {
            self.row_locked.notify_one();
        }
        if from != Lane::Leased && state.leased.is_due() {
            self.leased.notify_one();
        }
        let over = state.closed && state.queues.is_empty();
        self.note_depth(&state);
        drop(state);
        if over {
            self.leased.notify_one();
            self.row_locked.notify_one();
        }
    }

    /// Something that a parked work order may wait for has come free.
    pub(in crate::counting) fn freed(&self) {
        let mut state = self.state();
        state.freed_at = Some(Instant::now());
        state.unpark(|_| true);
        self.call_lanes(&state);
    }

    /// Takes nothing in any more; what waits is still taken out.
    pub(in crate::counting) fn close(&self) {
        self.state().closed = true;
        self.leased.notify_one();
        self.row_locked.notify_one();
    }

    /// Answers all that still waits; what a lane has in its hands it answers itself.
    pub(in crate::counting) fn clear(&self) {
        let mut left = Vec::new();
        {
            let mut state = self.state();
            for queue in state.queues.values_mut() {
                left.extend(queue.waiting.drain(..));
            }
            state.queues.retain(|_, queue| matches!(queue.place, QueueState::Out(..)));
            for lane in [Lane::Leased, Lane::RowLocked] {
                let ring = state.ring(lane);
                ring.turn.clear();
                ring.ready = 0;
            }
            state.parked.clear();
            state.waiting = 0;
        }
        for waiting in left {
            waiting.answer(Answer::Unsettled(Unsettled::ShuttingDown));
        }
    }

    /// Wakes one lane of each kind that has a batch to begin.
    fn call_lanes(&self, state: &State) {
        if state.leased.is_due() {
            self.leased.notify_one();
        }
        if state.row_locked.is_due() {
            self.row_locked.notify_one();
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::sync::oneshot;

    use super::super::state::STAYS;
    use super::*;
    use crate::domain::ids::{Principal, Quantity, RequestId};
    use crate::domain::request::{Ask, Counter, Request};

    fn post(mailbox: &Mailbox, numbers: &[&str]) {
        let waiting = |number: &&str| {
            let request = Request {
                request_id: RequestId::parse("k").expect("it is one"),
                work_order: WorkOrderNumber::parse(number).expect("it is one"),
                counter: Counter::Input,
                ask: Ask::Scan { quantity: Quantity::ZERO, barcode: None },
                step: Default::default(),
                station: None,
                terminal: None,
                operator: None,
                note: None,
                scanned_at: None,
            };
            let principal = Principal::named("loopback");
            Waiting::new(request, principal, None, oneshot::channel().0, Arc::clone(&mailbox.metrics))
        };
        mailbox.post(numbers.iter().map(waiting).collect());
    }

    fn take(mailbox: &Mailbox) -> Vec<WorkOrderNumber> {
        mailbox.take_now(Lane::Leased).0.into_iter().map(|work| work.number).collect()
    }

    fn names(numbers: &[&str]) -> Vec<WorkOrderNumber> {
        numbers.iter().map(|number| WorkOrderNumber::parse(number).expect("it is one")).collect()
    }

    #[test]
    fn a_second_batch_begins_once_half_as_much_waits_as_is_under_way() {
        let mailbox = Mailbox::new(Settings::default(), Arc::new(Metrics::new()));
        post(&mailbox, &["A", "B", "C", "D"]);
        assert_eq!(take(&mailbox), names(&["A", "B", "C", "D"]), "nothing is under way: at once");
        post(&mailbox, &["E"]);
        assert_eq!(take(&mailbox), names(&[]), "one would be a small batch");
        post(&mailbox, &["A", "A"]);
        assert_eq!(take(&mailbox), names(&[]), "what is in a lane's hands can't be taken again");
        post(&mailbox, &["F"]);
        assert_eq!(take(&mailbox), names(&["E", "F"]));
        post(&mailbox, &["G"]);
        for done in names(&["A", "B", "C", "D", "E", "F"]) {
            mailbox.done(&done);
        }
        assert_eq!(take(&mailbox), names(&["G", "A"]), "nothing is under way any more");
    }

    #[test]
    fn more_is_taken_for_a_batch_however_little_waits_as_far_as_there_is_room() {
        let settings = Settings { batch: 4, ..Settings::default() };
        let mailbox = Mailbox::new(settings, Arc::new(Metrics::new()));
        let more = |requests| -> Vec<WorkOrderNumber> {
            mailbox.take_more(Lane::Leased, requests).into_iter().map(|work| work.number).collect()
        };
        post(&mailbox, &["A", "B", "C"]);
        assert_eq!(take(&mailbox), names(&["A", "B", "C"]));
        post(&mailbox, &["D", "E", "A"]);
        assert_eq!(more(4), names(&[]));
        assert_eq!(more(3), names(&["D"]));
        assert_eq!(more(3), names(&["E"]), "but for what is in a lane's hands");
        assert_eq!(more(3), names(&[]));
    }

    #[tokio::test]
    async fn an_idle_lane_is_called_for_what_another_took_and_put_back() {
        let mailbox = Arc::new(Mailbox::new(Settings::default(), Arc::new(Metrics::new())));
        post(&mailbox, &["A"]);
        assert_eq!(take(&mailbox), names(&["A"]));
        let idle = tokio::spawn({
            let mailbox = Arc::clone(&mailbox);
            async move { mailbox.take(Lane::Leased).await }
        });
        tokio::task::yield_now().await;
        post(&mailbox, &["B"]);
        let taken = mailbox.take_more(Lane::Leased, 1);
        tokio::task::yield_now().await;
        taken.into_iter().for_each(|work| mailbox.put_back(work, Next::Leased));
        mailbox.call();
        let got = tokio::time::timeout(Duration::from_secs(10), idle).await.expect("it is called").expect("no panic");
        assert_eq!(got.map(|work| work.len()), Some(1));
    }

    #[test]
    fn what_came_free_before_it_was_parked_is_asked_for_at_once() {
        let mailbox = Mailbox::new(Settings::default(), Arc::new(Metrics::new()));
        let park = |asked| {
            post(&mailbox, &["A"]);
            let work = mailbox.take_now(Lane::Leased).0.pop().expect("A waits");
            mailbox.put_back(work, Next::Parked { asked, pause: Duration::from_secs(60) });
        };
        let asked = Instant::now();
        park(asked);
        assert_eq!(take(&mailbox), names(&[]), "it is parked");
        mailbox.freed();
        assert_eq!(take(&mailbox), names(&["A"]));
        mailbox.done(&names(&["A"])[0]);
        park(asked);
        assert_eq!(take(&mailbox), names(&["A"]), "it came free between the ask and here");
    }

    #[test]
    fn what_is_sent_to_the_row_lock_goes_there_however_many_stay_there() {
        let settings = Settings { batch: 2 * STAYS, ..Settings::default() };
        let mailbox = Mailbox::new(settings, Arc::new(Metrics::new()));
        let all: Vec<String> = (0..=STAYS).map(|number| format!("W{number}")).collect();
        post(&mailbox, &all.iter().map(String::as_str).collect::<Vec<_>>());
        for work in mailbox.take_now(Lane::Leased).0 {
            mailbox.put_back(work, Next::RowLocked { stay: Duration::from_secs(60) });
        }
        assert_eq!(take(&mailbox), names(&[]), "the leased lane would hand it back for ever");
        assert_eq!(mailbox.take_now(Lane::RowLocked).0.len(), STAYS + 1);
    }

    #[test]
    fn the_stay_with_the_row_lock_outlasts_an_empty_queue() {
        let mailbox = Mailbox::new(Settings::default(), Arc::new(Metrics::new()));
        post(&mailbox, &["A"]);
        let work = mailbox.take_now(Lane::Leased).0.pop().expect("A waits");
        mailbox.put_back(work, Next::RowLocked { stay: Duration::from_secs(60) });
        assert_eq!(mailbox.take_now(Lane::RowLocked).0.len(), 1);
        mailbox.done(&names(&["A"])[0]);
        post(&mailbox, &["A", "B"]);
        assert_eq!(take(&mailbox), names(&["B"]));
        assert_eq!(mailbox.take_now(Lane::RowLocked).0.len(), 1, "A");
    }

    #[test]
    fn a_full_batch_leaves_the_rest_for_the_next() {
        let settings = Settings { batch: 2, ..Settings::default() };
        let mailbox = Mailbox::new(settings, Arc::new(Metrics::new()));
        post(&mailbox, &["A", "B", "C", "D", "D", "D"]);
        assert_eq!(take(&mailbox), names(&["A", "B"]));
        assert_eq!(take(&mailbox), names(&["C", "D"]), "four wait, two are under way");
        for done in names(&["A", "B", "C", "D"]) {
            mailbox.done(&done);
        }
        assert_eq!(mailbox.take_now(Lane::Leased).0.first().map(|work| work.waiting.len()), Some(2));
    }
}
