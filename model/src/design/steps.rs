//! The steps of the database, of Redis and of a worker.

use super::state::{Facts, Fence, Hand, Kept, Key, Letter, Outcome, Owner, Place, State, Update, Write, keys};
use super::{Ask, Design, Guard};

/// The answer of the database to a write.
pub enum Verdict {
    Passed,
    /// These ids are decided already, or the part is claimed: not written.
    Known(Vec<Update>, Option<Key>),
    /// Stamp or fence do not allow it: not written.
    TooLate,
    /// A unique key is violated: not written.
    KeyTaken,
}

impl Design {
    /// All guards in place.
    pub fn whole(asks: [Ask; 2], faults: u8) -> Self {
        Self { asks, faults, without: Vec::new() }
    }

    pub fn has(&self, guard: Guard) -> bool {
        !self.without.contains(&guard)
    }

    // --- The database ---

    /// The guarded write, whole or not at all (`src/store/postgres/write.rs`).
    pub fn carry_out(&self, state: &mut State, write: &Write) -> Verdict {
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
    pub fn grant(&self, state: &mut State, me: Owner, floor: Fence) -> Option<Fence> {
        if self.has(Guard::OneHolder) && state.lease.is_some_and(|(holder, _)| holder != me) {
            return None;
        }
        if self.has(Guard::Floor) {
            state.counter = state.counter.max(floor);
        }
        let fence = state.counter + 1;
        // Without a floor an emptied Redis reaches the row's fence and does not pass it. In the model this
        // stands for a row that is a million ahead.
        if fence != state.row.fence || self.has(Guard::Floor) {
            state.counter = fence;
        }
        state.lease = Some((me, fence));
        Some(fence)
    }

    /// Gives up what is held (`release.lua`).
    pub fn release(&self, state: &mut State, place: Place) {
        let Some(fence) = state.workers[place].held.take() else { return };
        if state.lease == Some((state.workers[place].owner, fence)) || !self.has(Guard::ReleaseWhole) {
            state.lease = None;
        }
    }

    // --- A worker ---

    /// Takes all requests that wait, and the facts from memory if they are enough.
    pub fn take(&self, state: &mut State, place: Place) {
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
    pub fn load(&self, state: &mut State, place: Place) {
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
    pub fn ask_anew(&self, state: &mut State, place: Place) {
        let Hand::Overtaken { letters, facts } = state.workers[place].put_down() else { return };
        let fence = self.grant(state, state.workers[place].owner, facts.row.fence);
        state.workers[place].held = fence;
        match fence {
            Some(_) => self.decide(state, place, letters, fence, facts, false),
            None => state.workers[place].put_back(letters),
        }
    }

    /// Locks the row, then looks, then decides. It gives up a lease that the row has overtaken.
    pub fn lock(&self, state: &mut State, place: Place) {
        let Hand::WithoutLease { mut letters } = state.workers[place].put_down() else { return };
        let worker = &mut state.workers[place];
        letters.append(&mut worker.mailbox);
        if worker.held.is_some_and(|held| state.row.has_overtaken(worker.owner, held)) {
            self.release(state, place);
        }
        let facts = state.facts(&letters);
        self.decide(state, place, letters, None, facts, self.has(Guard::LockFirst));
    }

    /// Applies the rules (`decide.rs`). The write is on its way at once; a pause before it would be the same
    /// as a slow write.
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

    /// Takes the outcome of a write into memory, and answers.
    pub fn hear(&self, state: &mut State, place: Place, write: Write, verdict: Verdict) {
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

    /// The outcome of the write stays unknown: everything must be looked up again.
    pub fn hear_nothing(&self, state: &mut State, place: Place, leased: bool) {
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

    pub fn go_by_row_lock(&self, state: &mut State, place: Place, letters: Vec<Letter>) {
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
