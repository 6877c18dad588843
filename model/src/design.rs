//! The specification: one work order, two workers, two requests, and all that can go wrong
//! between them.
//!
//! Read it as a specification. [`State`] is everything there is: the row and its log, the
//! lease in Redis, what each worker knows and is about to do, the writes on their way, and
//! what each client has heard. [`Action`] is everything that can happen next, in any order;
//! those that are faults cost one of the [`State::faults`] that are left. A [`Guard`] is one of the
//! rules that the design leans on, and can be taken out of a [`Design`] to see what falls.
//!
//! Kept out, because they make no difference to what can happen: work orders beside this one
//! (they share batches, never rows), further lanes of a worker (a work order is in the hands of
//! one at a time), time (whatever waits may wait for long, or not at all; a lease is believed long
//! after it has run out). Kept out, though they could make one: a database that loses commits.

use stateright::{Model, Property};

/// The design, perhaps without some of its guards.
#[derive(Clone, Debug)]
pub struct Design {
    /// What the two requests ask.
    pub asks: [Ask; 2],
    /// How many faults may happen in one run.
    pub faults: u8,
    /// The guards that were taken out.
    pub without: Vec<Guard>,
}

// The promises.
pub const ONCE: &str = "each request is decided once";
pub const PART_ONCE: &str = "each part is counted once";
pub const EXPLAINED: &str = "the log explains the quantity";
pub const KEPT: &str = "an answer is in the log";
pub const NO_LATE_WRITER: &str = "no late writer";

/// What a request asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// One piece more: always counted.
    Count,
    /// One piece more, the part: refused for good where it stands counted.
    CountPart,
    /// One piece less: refused for good where there is none.
    TakeBack,
}

/// What the design leans on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guard {
    /// The log has a request id once (primary key).
    IdKey,
    /// The write looks up the request ids that no load has looked up: at once, or where a key has refused it.
    IdLookUp,
    /// The claims have a part once (primary key).
    PartKey,
    /// The write looks up the part that no load has looked up, likewise.
    PartLookUp,
    /// The same request id twice in a batch is decided once.
    OnceInBatch,
    /// The log has a `seq` of a work order once (unique key).
    SeqKey,
    /// A write passes only at the stamp that it was decided at.
    Stamp,
    /// Refusals alone are written under the guards, too, and give a new stamp.
    StampForRefusals,
    /// Row, request ids and claims are loaded in one snapshot.
    OneSnapshot,
    /// A write under an older fence than the row's does not pass.
    Fence,
    /// A write under the row's own fence passes only for the owner who wrote it.
    FenceOwner,
    /// A lease that the loaded row shows to be overtaken is asked for anew.
    AskAnew,
    /// A fence is granted above the row's, whatever Redis remembers.
    Floor,
    /// Redis grants a lease to one worker at a time.
    OneHolder,
    /// A lease is released only by the owner and fence that hold it.
    ReleaseWhole,
    /// A kept row is used only under the fence that it was written under.
    KeptUnderFence,
    /// Memory is dropped when the outcome of a write is unknown.
    Forget,
    /// What can't be written under a lease goes by the row lock.
    RowLockedLane,
    /// By the row lock: locked first, then looked at.
    LockFirst,
    /// Nothing is answered before it is committed.
    AnswerLast,
}

impl Guard {
    /// Every guard.
    pub const ALL: [Self; 20] = [
        Self::AnswerLast,
        Self::Stamp,
        Self::StampForRefusals,
        Self::OnceInBatch,
        Self::IdKey,
        Self::IdLookUp,
        Self::PartKey,
        Self::PartLookUp,
        Self::OneSnapshot,
        Self::AskAnew,
        Self::Fence,
        Self::FenceOwner,
        Self::RowLockedLane,
        Self::Floor,
        Self::LockFirst,
        Self::SeqKey,
        Self::OneHolder,
        Self::ReleaseWhole,
        Self::KeptUnderFence,
        Self::Forget,
    ];

    /// The guard, as a rule.
    pub fn words(self) -> &'static str {
        match self {
            Self::AnswerLast => "an answer comes after the commit",
            Self::Stamp => "a write passes only at the stamp it was decided at",
            Self::StampForRefusals => "refusals alone, too, pass only at the stamp, and give a new one",
            Self::OnceInBatch => "a request id twice in a batch is decided once",
            Self::IdKey => "the log has a request id once",
            Self::IdLookUp => "the write looks up the ids that no load has",
            Self::PartKey => "the claims have a barcode once",
            Self::PartLookUp => "the write looks up the barcodes that no load has",
            Self::OneSnapshot => "row, ids and claims are loaded in one snapshot",
            Self::AskAnew => "a lease that the row has overtaken is asked for anew",
            Self::Fence => "no write passes under an older fence",
            Self::FenceOwner => "no write passes under an equal fence of another owner",
            Self::RowLockedLane => "what can't go by lease goes by the row lock",
            Self::Floor => "a fence is granted above the row's",
            Self::LockFirst => "the row lock comes before the look",
            Self::SeqKey => "the log has a `seq` once",
            Self::OneHolder => "a lease has one holder at a time",
            Self::ReleaseWhole => "a release compares owner and fence",
            Self::KeptUnderFence => "a kept row is used under its own fence only",
            Self::Forget => "memory is dropped after an unknown outcome",
        }
    }
}

/// One of the two requests.
pub type Key = usize;
/// One of the two workers.
pub type Place = usize;
pub type Fence = u8;
/// A process: a new one with each start of a worker.
pub type Owner = u8;
/// Only ever compared for equality.
pub type Stamp = u8;

/// Everything there is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct State {
    /// The work order, as committed.
    pub row: Row,
    /// The log, in the order of the commits.
    pub log: Vec<Update>,
    /// The claim of the part: the request that counted it.
    pub claim: Option<Key>,
    /// A leased write has passed that came under an older fence than the row's, or under
    /// the same one of another owner.
    pub late_writer: bool,
    /// Redis: who holds.
    pub lease: Option<(Owner, Fence)>,
    /// Redis: the highest fence granted, as far as it remembers.
    pub counter: Fence,
    pub workers: [Worker; 2],
    /// Writes that the database has not carried out yet.
    pub writes: Vec<Write>,
    pub clients: [Client; 2],
    /// How many faults may still happen.
    pub faults: u8,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Row {
    pub quantity: i8,
    pub seq: u8,
    pub fence: Fence,
    pub owner: Option<Owner>,
    pub stamp: Stamp,
}

/// A row of the log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Update {
    pub key: Key,
    pub outcome: Outcome,
    pub before: i8,
    pub after: i8,
    pub fence: Fence,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Outcome {
    Counted { seq: u8 },
    Refused { at_seq: u8 },
}

/// A replica: what it has in memory, and what it is at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Worker {
    pub owner: Owner,
    /// The lease that it takes itself to hold.
    pub held: Option<Fence>,
    pub kept: Option<Kept>,
    /// Updates that it has seen in the log.
    pub remembered: Vec<Update>,
    pub mailbox: Vec<Letter>,
    pub hand: Hand,
}

/// What a worker keeps after a write, to be spared the load.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Kept {
    /// The row as it wrote it, and the fence under which it did.
    pub row: Row,
    pub fence: Fence,
    /// The claim of the part, where a later write has found one.
    pub claim: Option<Key>,
}

/// A request in a worker's hands. The same one may be there twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Letter {
    pub key: Key,
    /// Whether somebody still waits for the answer.
    pub awaited: bool,
}

/// What a worker is at.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Hand {
    Empty,
    /// It has the lease, and is about to load.
    Leased {
        letters: Vec<Letter>,
        fence: Fence,
        /// What was looked up before the row; only without [`Guard::OneSnapshot`].
        seen: Option<(Vec<Update>, Option<Key>)>,
    },
    /// The row that it loaded has a fence above its lease's; it is about to ask anew.
    Overtaken {
        letters: Vec<Letter>,
        facts: Facts,
    },
    /// It is about to go by the row lock.
    WithoutLease {
        letters: Vec<Letter>,
    },
    /// Its write is on the way, and it waits for the outcome.
    Writing {
        letters: Vec<Letter>,
        known: Vec<Update>,
    },
}

/// What is decided upon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Facts {
    pub row: Row,
    /// The requests that are decided already.
    pub known: Vec<Update>,
    /// The request ids that nobody has looked up.
    pub unseen: Vec<Key>,
    /// The claim of the part.
    pub claim: Option<Key>,
    /// Nobody has looked for one.
    pub unclaimed: bool,
}

/// A write on its way: one transaction.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Write {
    /// Who waits for its outcome; nobody, once the connection broke or the process died.
    pub by: Option<Place>,
    /// Whether it holds the row: nobody else writes until it has passed or is gone.
    pub locked: bool,
    /// The stamp at which it was decided.
    pub loaded: Stamp,
    /// The lease under which it was decided.
    pub authority: Option<(Owner, Fence)>,
    /// The row after; `None` leaves it alone; only without [`Guard::StampForRefusals`].
    pub row: Option<Row>,
    pub updates: Vec<Update>,
    /// The new claim of the part.
    pub claim: Option<Key>,
    pub unseen: Vec<Key>,
    pub unclaimed: bool,
}

/// What the database says to a write.
enum Verdict {
    Passed,
    /// These ids are decided already, or the part is claimed: not written.
    Known(Vec<Update>, Option<Key>),
    /// Stamp or fence do not allow it: not written.
    TooLate,
    /// A unique key is violated: not written.
    KeyTaken,
}

/// Who wants a request settled.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Client {
    pub call: Call,
    /// The newest answer that a worker gave, heard or not.
    pub answer: Option<Update>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Call {
    /// To be sent, for the first time or again.
    Unsent,
    Waiting,
    Answered,
}

/// Everything that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// A client sends its request to a worker, until it is answered.
    Send(Key, Place),
    /// A worker takes all that waits, and has or gets the lease.
    Take(Place),
    /// It has waited long enough for a lease that another one holds.
    LosePatience(Place),
    /// It loads what memory does not know, and decides; the write is on its way.
    Load(Place),
    /// It asks for a lease above the one that it has seen, and decides.
    AskAnew(Place),
    /// By the row lock: it locks, loads and decides; the commit is on its way.
    Lock(Place),
    /// The database carries out its write, and it hears and answers.
    Commit(Place),
    /// It gives up a lease: idle, asked for, or held for longest.
    Release(Place),
    /// A lease that nobody renews runs out.
    RunOut,
    /// A write that nobody waits for any more is carried out after all.
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
    /// Fault: the client's connection breaks, and the answer will be lost; the worker does
    /// not care. The client sends again, and so the request is there twice.
    HangUp(Key),
    /// Fault: the network delivers a request once more, after it was answered.
    Repeat(Key, Place),
}

impl Design {
    /// All guards in place.
    pub fn whole(asks: [Ask; 2], faults: u8) -> Self {
        Self { asks, faults, without: Vec::new() }
    }

    fn has(&self, guard: Guard) -> bool {
        !self.without.contains(&guard)
    }

    // --- The database ---

    /// The guarded write, whole or not at all (`src/store/postgres/write.rs`).
    fn carry_out(&self, state: &mut State, write: &Write) -> Verdict {
        let known = if self.has(Guard::IdLookUp) { state.updates_of(&write.unseen) } else { Vec::new() };
        let claim = if self.has(Guard::PartLookUp) && write.unclaimed { state.claim } else { None };
        if !known.is_empty() || claim.is_some() {
            return Verdict::Known(known, claim);
        }
        let older = write.authority.is_some_and(|(_, fence)| state.row.fence > fence);
        let others = write.authority.is_some_and(|(owner, fence)| {
            state.row.fence == fence && state.row.owner.is_some_and(|last| last != owner)
        });
        let too_late = self.has(Guard::Stamp) && state.row.stamp != write.loaded
            || self.has(Guard::Fence) && older
            || self.has(Guard::FenceOwner) && others;
        if write.row.is_some() && too_late {
            return Verdict::TooLate;
        }
        for (place, update) in write.updates.iter().enumerate() {
            let mut earlier = state.log.iter().chain(&write.updates[..place]);
            let taken = earlier.any(|other| {
                self.has(Guard::IdKey) && other.key == update.key
                    || self.has(Guard::SeqKey) && other.seq().is_some() && other.seq() == update.seq()
            });
            if taken {
                return Verdict::KeyTaken;
            }
        }
        if self.has(Guard::PartKey) && write.claim.is_some() && state.claim.is_some() {
            return Verdict::KeyTaken;
        }
        if let Some(row) = &write.row {
            state.late_writer |= older || others;
            state.row = row.clone();
        }
        state.log.extend(write.updates.iter().cloned());
        state.claim = write.claim.or(state.claim);
        Verdict::Passed
    }

    // --- Redis ---

    /// The fence granted, unless another one holds (`grant.lua`).
    fn grant(&self, state: &mut State, me: Owner, floor: Fence) -> Option<Fence> {
        if self.has(Guard::OneHolder) && state.lease.is_some_and(|(holder, _)| holder != me) {
            return None;
        }
        if self.has(Guard::Floor) {
            state.counter = state.counter.max(floor);
        }
        let fence = state.counter + 1;
        // Without a floor an emptied Redis comes up to the row's fence and not beyond: that stands
        // for a row which is a million ahead.
        if fence != state.row.fence || self.has(Guard::Floor) {
            state.counter = fence;
        }
        state.lease = Some((me, fence));
        Some(fence)
    }

    /// Gives up what is held (`release.lua`).
    fn release(&self, state: &mut State, place: Place) {
        let Some(fence) = state.workers[place].held.take() else { return };
        if state.lease == Some((state.workers[place].owner, fence)) || !self.has(Guard::ReleaseWhole) {
            state.lease = None;
        }
    }

    // --- A worker ---

    /// Takes all that waits; the facts from memory where that will do.
    fn take(&self, state: &mut State, place: Place) {
        let worker = &mut state.workers[place];
        let (me, held) = (worker.owner, worker.held);
        let Some(fence) = held.or_else(|| self.grant(state, me, 0)) else { return };
        let worker = &mut state.workers[place];
        worker.held = Some(fence);
        let letters = std::mem::take(&mut worker.mailbox);
        match worker.kept.clone().filter(|kept| kept.fence == fence || !self.has(Guard::KeptUnderFence)) {
            Some(Kept { row, fence: _, claim }) => {
                let known = worker.remembered.clone();
                let mut unseen = keys(&letters);
                unseen.retain(|key| known.iter().all(|update| update.key != *key));
                let facts = Facts { row, known, unseen, claim, unclaimed: claim.is_none() };
                self.go_by_lease(state, place, letters, fence, facts);
            }
            None => worker.hand = Hand::Leased { letters, fence, seen: None },
        }
    }

    /// Loads the row, and looks up the request ids and the part.
    fn load(&self, state: &mut State, place: Place) {
        let Hand::Leased { letters, fence, seen } = state.workers[place].put_down() else { return };
        let mut facts = state.facts(&letters);
        match seen {
            None if !self.has(Guard::OneSnapshot) => {
                let seen = Some((facts.known, facts.claim));
                state.workers[place].hand = Hand::Leased { letters, fence, seen };
            }
            None => self.go_by_lease(state, place, letters, fence, facts),
            Some(seen) => {
                (facts.known, facts.claim) = seen;
                self.go_by_lease(state, place, letters, fence, facts);
            }
        }
    }

    /// Decides under the lease, unless the row shows it to be overtaken.
    fn go_by_lease(&self, state: &mut State, place: Place, letters: Vec<Letter>, fence: Fence, facts: Facts) {
        let worker = &mut state.workers[place];
        match self.has(Guard::AskAnew) && facts.row.has_overtaken(worker.owner, fence) {
            true => worker.hand = Hand::Overtaken { letters, facts },
            false => self.decide(state, place, letters, Some(fence), facts, false),
        }
    }

    /// Asks for a lease above the row that it has loaded.
    fn ask_anew(&self, state: &mut State, place: Place) {
        let Hand::Overtaken { letters, facts } = state.workers[place].put_down() else { return };
        let fence = self.grant(state, state.workers[place].owner, facts.row.fence);
        state.workers[place].held = fence;
        match fence {
            Some(_) => self.decide(state, place, letters, fence, facts, false),
            None => state.workers[place].put_back(letters),
        }
    }

    /// Locks the row, then looks, and decides; a lease that the row has overtaken is given up.
    fn lock(&self, state: &mut State, place: Place) {
        let Hand::WithoutLease { mut letters } = state.workers[place].put_down() else { return };
        let worker = &mut state.workers[place];
        letters.append(&mut worker.mailbox);
        if worker.held.is_some_and(|held| state.row.has_overtaken(worker.owner, held)) {
            self.release(state, place);
        }
        let facts = state.facts(&letters);
        self.decide(state, place, letters, None, facts, self.has(Guard::LockFirst));
    }

    /// The rules (`decide.rs`); what is to be written by them is on its way at once: that
    /// it may be long on its way is the same as a pause before.
    fn decide(
        &self,
        state: &mut State,
        place: Place,
        letters: Vec<Letter>,
        fence: Option<Fence>,
        facts: Facts,
        locked: bool,
    ) {
        let Facts { mut row, known, unseen, claim: claimed, unclaimed } = facts;
        let loaded = row.stamp;
        let authority = fence.map(|fence| (state.workers[place].owner, fence));
        if let Some((owner, fence)) = authority {
            (row.owner, row.fence) = (Some(owner), fence);
        }
        let (mut updates, mut claim): (Vec<Update>, _) = (Vec::new(), None);
        for key in keys(&letters) {
            let twice = self.has(Guard::OnceInBatch) && updates.iter().any(|update| update.key == key);
            if twice || known.iter().any(|update| update.key == key) {
                continue;
            }
            let before = row.quantity;
            let change = match self.asks[key] {
                Ask::Count => Some(1),
                Ask::CountPart => claimed.or(claim).is_none().then_some(1),
                Ask::TakeBack => (before > 0).then_some(-1),
            };
            let outcome = match change {
                Some(change) => {
                    (row.seq, row.quantity) = (row.seq + 1, before + change);
                    Outcome::Counted { seq: row.seq }
                }
                None => Outcome::Refused { at_seq: row.seq },
            };
            if self.asks[key] == Ask::CountPart && change.is_some() {
                claim = Some(key);
            }
            updates.push(Update { key, outcome, before, after: row.quantity, fence: row.fence });
        }
        if updates.is_empty() {
            state.answer(letters, &known);
            return;
        }
        if !self.has(Guard::AnswerLast) {
            state.answer(letters.clone(), &updates);
        }
        row.stamp = state.fresh_stamp();
        let only_refusals = updates.iter().all(|update| update.seq().is_none());
        let row = (self.has(Guard::StampForRefusals) || !only_refusals).then_some(row);
        let unseen = unseen.into_iter().filter(|key| updates.iter().any(|update| update.key == *key)).collect();
        let unclaimed = unclaimed && claim.is_some();
        state.writes.push(Write { by: Some(place), locked, loaded, authority, row, updates, claim, unseen, unclaimed });
        state.workers[place].hand = Hand::Writing { letters, known };
    }

    /// The outcome of a write has come: learns from it, and answers.
    fn hear(&self, state: &mut State, place: Place, write: Write, verdict: Verdict) {
        let Hand::Writing { letters, known } = state.workers[place].put_down() else { return };
        let leased = write.authority.is_some();
        match verdict {
            Verdict::Passed => {
                if let (Some((_, fence)), Some(row)) = (write.authority, write.row) {
                    let worker = &mut state.workers[place];
                    worker.kept = Some(Kept { row, fence, claim: None });
                    worker.remember(&write.updates);
                }
                let left = state.answer(letters, &known);
                state.answer(left, &write.updates);
            }
            Verdict::Known(found, claim) => {
                let worker = &mut state.workers[place];
                worker.remember(&found);
                worker.kept.iter_mut().for_each(|kept| kept.claim = kept.claim.or(claim));
                let left = state.answer(letters, &known);
                state.workers[place].put_back(left);
            }
            Verdict::TooLate => {
                let left = state.answer(letters, &known);
                self.go_by_row_lock(state, place, left);
            }
            Verdict::KeyTaken if leased => self.go_by_row_lock(state, place, letters),
            Verdict::KeyTaken => state.workers[place].hand = Hand::WithoutLease { letters },
        }
    }

    /// Nobody will ever say what became of the write: all is to be looked up again.
    fn hear_nothing(&self, state: &mut State, place: Place, leased: bool) {
        let Hand::Writing { letters, known: _ } = state.workers[place].put_down() else { return };
        let worker = &mut state.workers[place];
        if self.has(Guard::Forget) {
            worker.kept = None;
            worker.remembered.clear();
        }
        match leased {
            true => worker.put_back(letters),
            false => worker.hand = Hand::WithoutLease { letters },
        }
    }

    fn go_by_row_lock(&self, state: &mut State, place: Place, letters: Vec<Letter>) {
        let worker = &mut state.workers[place];
        worker.kept = None;
        if letters.is_empty() {
            return;
        }
        match self.has(Guard::RowLockedLane) {
            true => worker.hand = Hand::WithoutLease { letters },
            false => worker.put_back(letters),
        }
    }
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
        vec![State {
            // It has a past: a process long gone has written under the second fence.
            row: Row { quantity: 0, seq: 0, fence: 2, owner: Some(2), stamp: 0 },
            log: Vec::new(),
            claim: None,
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
        for (number, write) in state.writes.iter().enumerate().filter(|(_, write)| write.by.is_none()) {
            let unlocked = !state.writes.iter().any(|other| other.locked && other != write);
            actions.extend(unlocked.then_some(Action::Straggle(number)));
        }
        for (key, client) in state.clients.iter().enumerate() {
            for place in 0..state.workers.len() {
                match client.call {
                    Call::Unsent => actions.push(Action::Send(key, place)),
                    Call::Waiting => {}
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
            Property::always(PART_ONCE, |design: &Self, state: &State| {
                let counts = |update: &&Update| design.asks[update.key] == Ask::CountPart && update.seq().is_some();
                state.log.iter().filter(counts).count() <= 1
            }),
            Property::always(EXPLAINED, |_, state: &State| state.is_explained()),
            Property::always(KEPT, |_, state: &State| {
                let mut answers = state.clients.iter().filter_map(|client| client.answer.as_ref());
                answers.all(|answer| state.log.contains(answer))
            }),
            Property::always(NO_LATE_WRITER, |_, state: &State| {
                !state.late_writer && state.log.is_sorted_by_key(|update| update.fence)
            }),
            // And that all this was put to the test:
            Property::sometimes("a write comes late, at a row that has moved on", |_, state: &State| {
                state.writes.iter().any(|write| write.by.is_none() && write.loaded != state.row.stamp)
            }),
            Property::sometimes("a write has an id that nobody looked up, and that is decided", |_, state: &State| {
                state.writes.iter().any(|write| !state.updates_of(&write.unseen).is_empty())
            }),
            Property::sometimes("a part is taken for new that is claimed", |design: &Self, state: &State| {
                let has_part = design.asks.contains(&Ask::CountPart);
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
            Property::sometimes("a commit by the row lock outlives its connection", |_, state: &State| {
                state.writes.iter().any(|write| write.locked && write.by.is_none())
            }),
        ]
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

impl State {
    /// Whether every client has its answer.
    pub fn is_settled(&self) -> bool {
        self.clients.iter().all(|client| client.call == Call::Answered)
    }

    /// The same, whichever worker is named first.
    pub fn regardless_of_workers(&self) -> Self {
        let mut other = self.clone();
        other.workers.swap(0, 1);
        for write in &mut other.writes {
            write.by = write.by.map(|place| 1 - place);
        }
        other.rename();
        other.min(self.clone())
    }

    /// Quantity, `seq` and log agree, as ARCHITECTURE.md has it; and what was refused
    /// was refused at the place where it stands.
    fn is_explained(&self) -> bool {
        let (mut quantity, mut last) = (0, 0);
        for update in &self.log {
            let follows = match update.outcome {
                Outcome::Counted { seq } => seq == last + 1,
                Outcome::Refused { at_seq } => at_seq == last && update.before == update.after,
            };
            if !follows || update.before != quantity {
                return false;
            }
            quantity = update.after;
            last += u8::from(update.seq().is_some());
        }
        (self.row.quantity, self.row.seq) == (quantity, last)
    }

    /// What a load tells.
    fn facts(&self, letters: &[Letter]) -> Facts {
        let known = self.updates_of(&keys(letters));
        Facts { row: self.row.clone(), known, unseen: Vec::new(), claim: self.claim, unclaimed: false }
    }

    fn updates_of(&self, keys: &[Key]) -> Vec<Update> {
        self.log.iter().filter(|update| keys.contains(&update.key)).cloned().collect()
    }

    fn take_write(&mut self, is_it: impl Fn(&Write) -> bool) -> Option<Write> {
        let number = self.writes.iter().position(is_it)?;
        Some(self.writes.remove(number))
    }

    /// Answers those letters that the updates decide, and gives the others.
    fn answer(&mut self, letters: Vec<Letter>, updates: &[Update]) -> Vec<Letter> {
        let mut left = Vec::new();
        for letter in letters {
            let Some(update) = updates.iter().find(|update| update.key == letter.key) else {
                left.push(letter);
                continue;
            };
            let client = &mut self.clients[letter.key];
            client.answer = Some(update.clone());
            if letter.awaited {
                client.call = Call::Answered;
            }
        }
        left
    }

    fn crash(&mut self, place: Place) {
        for letter in self.workers[place].letters_mut().filter(|letter| letter.awaited) {
            self.clients[letter.key].call = Call::Unsent;
        }
        for write in self.writes.iter_mut().filter(|write| write.by == Some(place)) {
            write.by = None;
        }
        let owner = NEW_OWNER;
        self.workers[place] =
            Worker { owner, held: None, kept: None, remembered: Vec::new(), mailbox: Vec::new(), hand: Hand::Empty };
    }

    /// A stamp that nobody has.
    fn fresh_stamp(&mut self) -> Stamp {
        let mut highest = 0;
        self.names(&mut |stamp| highest = highest.max(*stamp), &mut |_| {});
        highest + 1
    }

    /// Gives stamps and owners the numbers in whose order they are met. They are only ever
    /// compared for equality, so states that differ in their names alone are one state.
    fn rename(&mut self) {
        self.writes.sort();
        let (mut stamps, mut owners) = (Vec::new(), Vec::new());
        self.names(&mut |stamp| *stamp = place_in(&mut stamps, *stamp), &mut |owner| {
            *owner = place_in(&mut owners, *owner)
        });
        self.writes.sort();
    }

    fn names(&mut self, stamp: &mut dyn FnMut(&mut Stamp), owner: &mut dyn FnMut(&mut Owner)) {
        for worker in &mut self.workers {
            owner(&mut worker.owner);
        }
        self.row.names(stamp, owner);
        self.lease.iter_mut().for_each(|(holder, _)| owner(holder));
        for worker in &mut self.workers {
            worker.kept.iter_mut().for_each(|kept| kept.row.names(stamp, owner));
            if let Hand::Overtaken { facts, .. } = &mut worker.hand {
                facts.row.names(stamp, owner);
            }
        }
        for write in &mut self.writes {
            stamp(&mut write.loaded);
            write.authority.iter_mut().for_each(|(holder, _)| owner(holder));
            write.row.iter_mut().for_each(|row| row.names(stamp, owner));
        }
    }
}

/// No owner yet has it: [`State::rename`] numbers them from 0.
const NEW_OWNER: Owner = Owner::MAX;

impl Row {
    /// Whether a newer lease has written, or another owner's of the same number.
    fn has_overtaken(&self, owner: Owner, held: Fence) -> bool {
        self.fence > held || self.fence == held && self.owner != Some(owner)
    }

    fn names(&mut self, stamp: &mut dyn FnMut(&mut Stamp), owner: &mut dyn FnMut(&mut Owner)) {
        stamp(&mut self.stamp);
        self.owner.iter_mut().for_each(owner);
    }
}

impl Worker {
    /// All that it has to do, whether begun or not.
    fn take_letters(&mut self) -> Vec<Letter> {
        let letters = self.letters_mut().map(|letter| letter.clone()).collect();
        (self.hand, self.mailbox) = (Hand::Empty, Vec::new());
        letters
    }

    fn put_down(&mut self) -> Hand {
        std::mem::replace(&mut self.hand, Hand::Empty)
    }

    fn put_back(&mut self, mut letters: Vec<Letter>) {
        letters.append(&mut self.mailbox);
        self.mailbox = letters;
    }

    fn remember(&mut self, updates: &[Update]) {
        let new = updates.iter().filter(|update| !self.remembered.contains(update)).cloned();
        let new: Vec<Update> = new.collect();
        self.remembered.extend(new);
        self.remembered.sort();
    }

    fn letters_mut(&mut self) -> impl Iterator<Item = &mut Letter> {
        let in_hand: &mut [Letter] = match &mut self.hand {
            Hand::Empty => &mut [],
            Hand::Leased { letters, .. }
            | Hand::Overtaken { letters, .. }
            | Hand::WithoutLease { letters }
            | Hand::Writing { letters, .. } => letters,
        };
        in_hand.iter_mut().chain(&mut self.mailbox)
    }
}

impl Update {
    fn seq(&self) -> Option<u8> {
        match self.outcome {
            Outcome::Counted { seq } => Some(seq),
            Outcome::Refused { .. } => None,
        }
    }
}

fn keys(letters: &[Letter]) -> Vec<Key> {
    letters.iter().map(|letter| letter.key).collect()
}

fn place_in(met: &mut Vec<u8>, name: u8) -> u8 {
    let place = met.iter().position(|other| *other == name).unwrap_or_else(|| {
        met.push(name);
        met.len() - 1
    });
    u8::try_from(place).expect("there are few names")
}
