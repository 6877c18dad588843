//! The specification: one work order, two workers, two requests after perhaps an earlier scan, and all that
//! can go wrong between them.
//!
//! Read it as a specification. [`State`] is everything there is. [`Action`] is everything that can
//! happen next, in any order. A fault costs one of the [`State::faults`] that are left. [`steps`] says what
//! an action does. A [`Guard`] is one of the rules that the design leans on. It can be taken out of a
//! [`Design`] to see what falls.
//!
//! Some things are left out because they make no difference to what can happen:
//!
//! - work orders beside this one: they share batches, never rows;
//! - further lanes of a worker: one lane at a time works on a work order;
//! - time: a wait may be long or short, and a worker may believe a lease long after it has run out.
//!
//! A database that loses commits is left out too, though it could make a difference.

mod guards;
mod rules;
mod state;
mod steps;

use stateright::{Model, Property};

pub use self::guards::Guard;
use self::state::{Call, Client, Hand, Key, Letter, Outcome, Place, Row, Update, Worker};
pub use self::state::{EARLIER, State};

/// The design, perhaps without some of its guards.
#[derive(Clone, Debug)]
pub struct Design {
    /// What is to be done.
    pub work: Work,
    /// How many faults may happen in one run.
    pub faults: u8,
    /// The guards that were taken out.
    pub without: Vec<Guard>,
}

/// The requests of a run.
#[derive(Clone, Copy, Debug)]
pub struct Work {
    /// What was counted before the run begins: a piece, the part, or nothing.
    pub earlier: Option<Ask>,
    /// What the two requests ask.
    pub asks: [Ask; 2],
}

// The promises.
pub const ONCE: &str = "each request is decided once";
pub const PART_ONCE: &str = "each part is counted once";
pub const BACK_ONCE: &str = "each scan is taken back once, and only while it stands";
pub const EXPLAINED: &str = "the log explains the quantity";
pub const KEPT: &str = "an answer is in the log";
pub const NO_LATE_WRITER: &str = "no late writer";

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One piece more. It is always counted.
    Count,
    /// One piece more, the part. It is refused for good if the part is counted already.
    CountPart,
    /// One piece less. It is refused for good if the quantity is 0.
    TakeBack,
    /// Takes the part back, whoever counted it. It is refused for good if the part is not counted. The model
    /// has no zero for it.
    Unbind,
    /// Takes back exactly this request. It is refused for good if that does not stand; while that is not known,
    /// it is not decided.
    Undo(Key),
    /// The quantity becomes 0, and the part can be counted again.
    Release,
}

/// Everything that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client sends its request to a worker, until it is answered.
    Send(Key, Place),
    /// A worker that has or gets the lease takes all requests that wait.
    Take(Place),
    /// It stops waiting for a lease that the other worker holds.
    LosePatience(Place),
    /// It loads what is not in memory, and decides. The write is on its way.
    Load(Place),
    /// It asks for a lease above the one that it has seen, and decides.
    AskAnew(Place),
    /// By the row lock: it locks, loads and decides. The commit is on its way.
    Lock(Place),
    /// The database carries out its write, and it hears and answers.
    Commit(Place),
    /// It gives up a lease: it is idle, the other worker asks for it, or the longest hold is over.
    Release(Place),
    /// A lease that nobody renews runs out.
    RunOut,
    /// The database carries out a write that no worker waits for any more.
    Straggle(usize),

    /// Fault: a worker dies and starts again, its memory lost.
    Crash(Place),
    /// Fault: its connection breaks, and its write was lost with it.
    Cut(Place),
    /// Fault: its connection breaks, while its write goes on.
    Break(Place),
    /// Fault: its write is carried out, and the connection breaks before it hears.
    BreakAfter(Place),
    /// Fault: a lease ends in Redis, and its holder does not know.
    Expire,
    /// Fault: Redis comes back empty.
    Wipe,
    /// Fault: Redis does not answer.
    Silence(Place),
    /// Fault: Redis grants, and the answer is lost.
    GrantLost(Place),
    /// Fault: the client's connection breaks, and the answer will be lost. The worker goes on. The client
    /// sends again, so the request is there twice.
    HangUp(Key),
    /// Fault: the network delivers a request once more, after it was answered.
    Repeat(Key, Place),
}

impl Model for Design {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let worker = |owner| Worker {
            owner,
            held: None,
            kept: None,
            remembered: Vec::new(),
            mailbox: Vec::new(),
            hand: Hand::Empty,
        };
        let client = Client { call: Call::Unsent, answer: None };
        let earlier = self.work.earlier.map(|_| Update {
            key: EARLIER,
            outcome: Outcome::Counted { seq: 1 },
            before: 0,
            after: 1,
            fence: 2,
            takes_back: None,
        });
        let counted = i8::from(earlier.is_some());
        vec![State {
            // A process that has ended long ago has written under the second fence.
            row: Row { quantity: counted, seq: counted.unsigned_abs(), fence: 2, owner: Some(2), stamp: 0 },
            log: earlier.into_iter().collect(),
            claim: (self.work.earlier == Some(Ask::CountPart)).then_some(EARLIER),
            late_writer: false,
            lease: None,
            counter: 2,
            workers: [worker(0), worker(1)],
            writes: Vec::new(),
            clients: [client.clone(), client],
            faults: self.faults,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        let faulty = state.faults > 0;
        for (place, worker) in state.workers.iter().enumerate() {
            self.actions_of(state, place, worker, actions);
        }
        for (number, write) in state.writes.iter().enumerate().filter(|(_, write)| write.by.is_none()) {
            let unlocked = !state.writes.iter().any(|other| other.locked && other != write);
            actions.extend(unlocked.then_some(Action::Straggle(number)));
        }
        for (key, client) in state.clients.iter().enumerate() {
            for place in 0..state.workers.len() {
                match client.call {
                    Call::Unsent => actions.push(Action::Send(key, place)),
                    Call::Waiting => {}
                    Call::TooEarly => {
                        let is_known = |target| !state.updates_of(&[target]).is_empty();
                        let known = matches!(self.ask(key), Ask::Undo(target) if is_known(target));
                        actions.extend(known.then_some(Action::Send(key, place)));
                    }
                    Call::Answered => actions.extend(faulty.then_some(Action::Repeat(key, place))),
                }
            }
            if faulty && client.call == Call::Waiting {
                actions.push(Action::HangUp(key));
            }
        }
        if let Some(lease) = state.lease {
            let renewed =
                state.workers.iter().any(|worker| worker.held.map(|fence| (worker.owner, fence)) == Some(lease));
            match renewed {
                true => actions.extend(faulty.then_some(Action::Expire)),
                false => actions.push(Action::RunOut),
            }
        }
        if faulty && (state.lease.is_some() || state.counter > 0) {
            actions.push(Action::Wipe);
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        state.faults -= u8::from(action.is_fault());
        match action {
            Action::Send(key, place) => {
                state.clients[key].call = Call::Waiting;
                state.workers[place].mailbox.push(Letter { key, awaited: true });
            }
            Action::Take(place) => self.take(&mut state, place),
            Action::LosePatience(place) | Action::Silence(place) => {
                let letters = state.workers[place].take_letters();
                self.go_by_row_lock(&mut state, place, letters);
            }
            Action::GrantLost(place) => {
                let me = state.workers[place].owner;
                self.grant(&mut state, me, 0);
                let letters = state.workers[place].take_letters();
                self.go_by_row_lock(&mut state, place, letters);
            }
            Action::Load(place) => self.load(&mut state, place),
            Action::AskAnew(place) => self.ask_anew(&mut state, place),
            Action::Lock(place) => self.lock(&mut state, place),
            Action::Commit(place) => {
                let write = state.take_write(|write| write.by == Some(place))?;
                let verdict = self.carry_out(&mut state, &write);
                self.hear(&mut state, place, write, verdict);
            }
            Action::BreakAfter(place) => {
                let write = state.take_write(|write| write.by == Some(place))?;
                drop(self.carry_out(&mut state, &write));
                self.hear_nothing(&mut state, place, write.authority.is_some());
            }
            Action::Cut(place) => {
                let write = state.take_write(|write| write.by == Some(place))?;
                self.hear_nothing(&mut state, place, write.authority.is_some());
            }
            Action::Break(place) => {
                let write = state.writes.iter_mut().find(|write| write.by == Some(place))?;
                write.by = None;
                let leased = write.authority.is_some();
                self.hear_nothing(&mut state, place, leased);
            }
            Action::Straggle(number) => {
                let write = state.writes.remove(number);
                drop(self.carry_out(&mut state, &write));
            }
            Action::Release(place) => self.release(&mut state, place),
            Action::RunOut | Action::Expire => state.lease = None,
            Action::Wipe => (state.lease, state.counter) = (None, 0),
            Action::Crash(place) => state.crash(place),
            Action::HangUp(key) => {
                state.clients[key].call = Call::Unsent;
                let letters = state.workers.iter_mut().flat_map(Worker::letters_mut);
                letters.filter(|letter| letter.key == key).for_each(|letter| letter.awaited = false);
            }
            Action::Repeat(key, place) => state.workers[place].mailbox.push(Letter { key, awaited: false }),
        }
        state.rename();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(ONCE, |_, state: &State| {
                (0..state.clients.len()).all(|key| state.log.iter().filter(|update| update.key == key).count() <= 1)
            }),
            Property::always(PART_ONCE, |design: &Self, state: &State| design.counts_parts_once(&state.log)),
            Property::always(BACK_ONCE, |design: &Self, state: &State| design.takes_back_once(&state.log)),
            Property::always(EXPLAINED, |_, state: &State| state.is_explained()),
            Property::always(KEPT, |_, state: &State| {
                let mut answers = state.clients.iter().filter_map(|client| client.answer.as_ref());
                answers.all(|answer| state.log.contains(answer))
            }),
            Property::always(NO_LATE_WRITER, |_, state: &State| {
                !state.late_writer && state.log.is_sorted_by_key(|update| update.fence)
            }),
            // These must happen in some run, or the promises above prove little:
            Property::sometimes("a write comes late, at a row that has moved on", |_, state: &State| {
                state.writes.iter().any(|write| write.by.is_none() && write.loaded != state.row.stamp)
            }),
            Property::sometimes("a write has an id that nobody looked up, and that is decided", |_, state: &State| {
                state.writes.iter().any(|write| !state.updates_of(&write.unseen).is_empty())
            }),
            Property::sometimes("a part is taken for new that is claimed", |design: &Self, state: &State| {
                let has_part = design.work.asks.contains(&Ask::CountPart);
                !has_part || state.claim.is_some() && state.writes.iter().any(|write| write.unclaimed)
            }),
            Property::sometimes("two requests are decided in one commit", |_, state: &State| {
                state.writes.iter().any(|write| write.updates.len() == 2)
            }),
            Property::sometimes("two workers take themselves to hold, under one number", |_, state: &State| {
                let [one, other] = &state.workers;
                one.held.is_some() && one.held == other.held
            }),
            Property::sometimes("a row is kept that another one has changed", |_, state: &State| {
                let stale =
                    |worker: &Worker| worker.kept.as_ref().is_some_and(|kept| kept.row.stamp != state.row.stamp);
                state.workers.iter().any(|worker| worker.held.is_some() && stale(worker))
            }),
            Property::sometimes("a decided request comes again", |_, state: &State| {
                let letters = state.workers.iter().flat_map(|worker| &worker.mailbox);
                letters.into_iter().any(|letter| !state.updates_of(&[letter.key]).is_empty())
            }),
            Property::sometimes("an undo comes before its scan", |design: &Self, state: &State| {
                let of_the_other = design.work.asks.contains(&Ask::Undo(0));
                !of_the_other || state.clients.iter().any(|client| client.call == Call::TooEarly)
            }),
            Property::sometimes("a scan is taken back", |design: &Self, state: &State| {
                let undoes = design.work.asks.iter().any(|ask| matches!(ask, Ask::Undo(_)));
                !undoes || state.log.iter().any(|update| update.takes_back.is_some())
            }),
            Property::sometimes("a commit by the row lock outlives its connection", |_, state: &State| {
                state.writes.iter().any(|write| write.locked && write.by.is_none())
            }),
        ]
    }
}

impl Design {
    /// What a request asks.
    pub fn ask(&self, key: Key) -> Ask {
        match key {
            EARLIER => self.work.earlier.unwrap_or(Ask::Count),
            key => self.work.asks[key],
        }
    }

    /// Whether the part never stands counted twice.
    fn counts_parts_once(&self, log: &[Update]) -> bool {
        let mut standing: Vec<Key> = Vec::new();
        for update in log.iter().filter(|update| update.seq().is_some()) {
            standing.retain(|key| Some(*key) != update.takes_back);
            match self.ask(update.key) {
                Ask::CountPart => standing.push(update.key),
                Ask::Release => standing.clear(),
                Ask::Count | Ask::TakeBack | Ask::Unbind | Ask::Undo(_) => {}
            }
            if standing.len() > 1 {
                return false;
            }
        }
        true
    }

    /// Whether what is taken back stood: counted, not taken back and not released before.
    fn takes_back_once(&self, log: &[Update]) -> bool {
        let mut standing: Vec<Key> = Vec::new();
        for update in log.iter().filter(|update| update.seq().is_some()) {
            if update.takes_back.is_some_and(|scan| !standing.contains(&scan)) {
                return false;
            }
            standing.retain(|key| Some(*key) != update.takes_back);
            match self.ask(update.key) {
                Ask::Count | Ask::CountPart => standing.push(update.key),
                Ask::Release => standing.clear(),
                Ask::TakeBack | Ask::Unbind | Ask::Undo(_) => {}
            }
        }
        true
    }

    /// What can happen next to one worker.
    fn actions_of(&self, state: &State, place: Place, worker: &Worker, actions: &mut Vec<Action>) {
        let faulty = state.faults > 0;
        let unlocked = !state.writes.iter().any(|write| write.locked && write.by != Some(place));
        match &worker.hand {
            Hand::Empty if !worker.mailbox.is_empty() => {
                let busy = state.lease.is_some_and(|(holder, _)| holder != worker.owner);
                let busy = worker.held.is_none() && busy && self.has(Guard::OneHolder);
                match busy {
                    true if self.has(Guard::RowLockedLane) => actions.push(Action::LosePatience(place)),
                    true => {}
                    false => actions.push(Action::Take(place)),
                }
                if faulty && worker.held.is_none() {
                    actions.push(Action::Silence(place));
                    actions.extend((!busy).then_some(Action::GrantLost(place)));
                }
            }
            Hand::Empty => {}
            Hand::Leased { .. } => actions.push(Action::Load(place)),
            Hand::Overtaken { .. } => {
                actions.push(Action::AskAnew(place));
                actions.extend(faulty.then_some(Action::Silence(place)));
            }
            Hand::WithoutLease { .. } if unlocked => actions.push(Action::Lock(place)),
            Hand::WithoutLease { .. } => {}
            Hand::Writing { .. } => {
                actions.extend(unlocked.then_some(Action::Commit(place)));
                actions.extend(faulty.then_some(Action::Cut(place)));
                actions.extend(faulty.then_some(Action::Break(place)));
                actions.extend((faulty && unlocked).then_some(Action::BreakAfter(place)));
            }
        }
        if worker.hand == Hand::Empty && worker.held.is_some() {
            actions.push(Action::Release(place));
        }
        if faulty {
            actions.push(Action::Crash(place));
        }
    }
}

impl Action {
    pub fn is_fault(self) -> bool {
        match self {
            Self::Send(..)
            | Self::Take(_)
            | Self::LosePatience(_)
            | Self::Load(_)
            | Self::AskAnew(_)
            | Self::Lock(_)
            | Self::Commit(_)
            | Self::Release(_)
            | Self::RunOut
            | Self::Straggle(_) => false,
            Self::Crash(_)
            | Self::Cut(_)
            | Self::Break(_)
            | Self::BreakAfter(_)
            | Self::Expire
            | Self::Wipe
            | Self::Silence(_)
            | Self::GrantLost(_)
            | Self::HangUp(_)
            | Self::Repeat(..) => true,
        }
    }
}
