//! The mailbox: where requests wait, per work order, until a lane of the committer takes
//! them.
//!
//! Bounded in all and per work order; fair between work orders; in order within one. A
//! work order is with at most one lane at a time.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::{Notify, oneshot};

use super::{Answer, Settings, Unsettled};
use crate::domain::ids::{Fence, Principal, WorkOrderNumber};
use crate::domain::request::Request;
use crate::telemetry::{CodeLabel, Metrics};

/// How many work orders at most stay with the row-locked lane while nothing waits for them; what
/// comes later for the others is tried under the lease again.
const STAYS: usize = 8_192;

/// The two ways of the committer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Lane {
    /// Under leases, comparing stamps, all work orders in one statement.
    Leased,
    /// By row locks: without a lease, or after a write that came too late.
    RowLocked,
}

/// A request that waits for its answer.
#[derive(Debug)]
pub(super) struct Waiting {
    /// In a box: it is large, and passes from hand to hand.
    pub(super) request: Box<Request>,
    pub(super) principal: Principal,
    since: Instant,
    link: Option<Link>,
    reply: oneshot::Sender<Answer>,
    metrics: Arc<Metrics>,
}

/// A request's place among those that must be settled in order.
#[derive(Clone, Debug)]
pub(super) struct Link {
    chain: Arc<Chain>,
    place: usize,
}

/// The items of one work order and terminal in one call.
#[derive(Debug)]
pub(super) struct Chain {
    /// The first place that was left unsettled.
    broken_at: AtomicUsize,
}

impl Chain {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self { broken_at: AtomicUsize::new(usize::MAX) })
    }

    pub(super) fn link(self: &Arc<Self>, place: usize) -> Link {
        Link { chain: Arc::clone(self), place }
    }
}

impl Waiting {
    pub(super) fn new(
        request: Request,
        principal: Principal,
        link: Option<Link>,
        reply: oneshot::Sender<Answer>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { request: Box::new(request), principal, since: Instant::now(), link, reply, metrics }
    }

    /// Answers the request. Nobody may be waiting any more; what was counted stays counted.
    pub(super) fn answer(self, answer: Answer) {
        if let Answer::Unsettled(why) = answer {
            self.metrics.unsettled.get_or_create(&CodeLabel { code: why.code() }).inc();
            if let Some(Link { chain, place }) = &self.link {
                chain.broken_at.fetch_min(*place, Ordering::AcqRel);
            }
        }
        // A client that went away is no error.
        let _ = self.reply.send(answer);
    }

    /// Whether an earlier item of its chain was left unsettled.
    pub(super) fn after_a_break(&self) -> bool {
        self.link.as_ref().is_some_and(|link| link.chain.broken_at.load(Ordering::Acquire) < link.place)
    }

    /// Why it must not be settled any more, if so.
    fn stopped(&self, now: Instant, answer_within: Duration) -> Option<Unsettled> {
        if self.after_a_break() {
            Some(Unsettled::EarlierItemPending)
        } else if now.duration_since(self.since) > answer_within {
            Some(Unsettled::StorageUnavailable)
        } else {
            None
        }
    }
}

/// Requests of one work order, in order, in the hands of a lane.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) number: WorkOrderNumber,
    pub(super) waiting: Vec<Waiting>,
    /// The fence of the lease under which a write did not pass.
    pub(super) lost_under: Option<Fence>,
    /// Since when its lease has been busy elsewhere.
    pub(super) busy_since: Option<Instant>,
}

impl Work {
    /// Answers all of its requests with a reason to send them again.
    pub(super) fn leave_unsettled(self, why: Unsettled) {
        for waiting in self.waiting {
            waiting.answer(Answer::Unsettled(why));
        }
    }
}

/// Where work that is handed back goes.
#[derive(Clone, Copy, Debug)]
pub(super) enum Next {
    /// Again, at once, under the lease.
    Leased,
    /// By the row lock, and so is whatever comes for it until then.
    RowLocked {
        /// For how long.
        stay: Duration,
    },
    /// Under the lease, after a pause or when something is freed.
    Parked {
        /// When its lease was asked for: what was freed since may have been that.
        asked: Instant,
        /// The longest pause.
        pause: Duration,
    },
}

/// See the module.
pub(super) struct Mailbox {
    state: Mutex<State>,
    leased: Notify,
    row_locked: Notify,
    settings: Settings,
    metrics: Arc<Metrics>,
}

#[derive(Default)]
struct State {
    queues: HashMap<WorkOrderNumber, Queue>,
    leased: Ring,
    row_locked: Ring,
    parked: HashMap<WorkOrderNumber, Instant>,
    /// Until when work orders go by the row lock.
    row_locked_until: HashMap<WorkOrderNumber, Instant>,
    /// While that is full: when the first of them is over.
    full_until: Option<Instant>,
    /// When something that a parked one may wait for last came free.
    freed_at: Option<Instant>,
    waiting: usize,
    closed: bool,
}

/// What there is to do for the lanes of one kind.
#[derive(Default)]
struct Ring {
    /// Work orders with something to do, in turn.
    turn: VecDeque<WorkOrderNumber>,
    /// How many requests of theirs wait.
    ready: usize,
    /// How many requests the lanes have in their hands.
    under_way: usize,
}

impl Ring {
    /// Whether to begin a batch now: when none is under way, or when half as much waits as is
    /// under way, to be decided while the other is written. Later, there would be too much left
    /// to decide when its turn comes; what comes after it has begun is added then.
    fn is_due(&self) -> bool {
        self.ready > 0 && 2 * self.ready >= self.under_way
    }
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    lost_under: Option<Fence>,
    busy_since: Option<Instant>,
    place: QueueState,
}

/// Where a queue stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum QueueState {
    /// Nowhere: new, or parked.
    #[default]
    Aside,
    /// In a lane's turn.
    Enrolled(Lane),
    /// In a lane's hands, with so many requests.
    Out(Lane, usize),
}

impl State {
    fn ring(&mut self, lane: Lane) -> &mut Ring {
        match lane {
            Lane::Leased => &mut self.leased,
            Lane::RowLocked => &mut self.row_locked,
        }
    }

    /// The lane of a work order that nobody has sent to one.
    fn lane_of(&mut self, number: &WorkOrderNumber, now: Instant) -> Lane {
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
    fn enrol(&mut self, number: &WorkOrderNumber, lane: Lane) {
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
    fn refusal(&self, waiting: &Waiting, settings: &Settings) -> Option<Unsettled> {
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
    fn row_lock(&mut self, number: &WorkOrderNumber, now: Instant, stay: Duration) {
        let stays = &mut self.row_locked_until;
        if stays.len() >= STAYS && self.full_until.is_none_or(|over| over <= now) {
            stays.retain(|_, until| now < *until);
            self.full_until = stays.values().min().copied();
        }
        if stays.len() < STAYS || stays.contains_key(number) {
            stays.insert(number.clone(), now + stay);
        }
    }

    fn unpark(&mut self, due: impl Fn(Instant) -> bool) {
        let now = Instant::now();
        let numbers: Vec<_> = self.parked.iter().filter(|&(_, &until)| due(until)).map(|(n, _)| n.clone()).collect();
        for number in numbers {
            self.parked.remove(&number);
            let lane = self.lane_of(&number, now);
            self.enrol(&number, lane);
        }
    }
}

impl Mailbox {
    pub(super) fn new(settings: Settings, metrics: Arc<Metrics>) -> Self {
        Self { state: Mutex::default(), leased: Notify::new(), row_locked: Notify::new(), settings, metrics }
    }

    /// Takes requests in, in order; those beyond the bounds are answered at once.
    pub(super) fn post(&self, requests: Vec<Waiting>) {
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
    pub(super) async fn take(&self, lane: Lane) -> Option<Vec<Work>> {
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
    pub(super) fn take_more(&self, lane: Lane, requests: usize) -> Vec<Work> {
        let now = Instant::now();
        let room = self.settings.batch.saturating_sub(requests);
        let taken = self.take_up_to(&mut self.state(), lane, room, now);
        self.note_waits(&taken, now);
        taken
    }

    /// Calls other lanes for what is to be done now: by a lane that has handed something back and
    /// goes on with something else. One that looks for more itself next need not.
    pub(super) fn call(&self) {
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
    pub(super) fn done(&self, number: &WorkOrderNumber) {
        self.back(number, Vec::new(), Next::Leased, |_| ());
    }

    /// Puts work back, before what came meanwhile. What has waited too long is answered.
    pub(super) fn put_back(&self, work: Work, next: Next) {
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
    pub(super) fn freed(&self) {
        let mut state = self.state();
        state.freed_at = Some(Instant::now());
        state.unpark(|_| true);
        self.call_lanes(&state);
    }

    /// Takes nothing in any more; what waits is still taken out.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.leased.notify_one();
        self.row_locked.notify_one();
    }

    /// Answers all that still waits; what a lane has in its hands it answers itself.
    pub(super) fn clear(&self) {
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
    use super::*;
    use crate::domain::ids::{Quantity, RequestId};
    use crate::domain::request::{Ask, Counter};

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
