//! The steps of the database, of Redis and of a worker.

use super::rules::Draft;
use super::state::{
    Facts, Fence, Found, Hand, Kept, Key, Letter, Owner, Place, State, Update, Write, keys, taken_back,
};
use super::{Ask, Design, Guard, Work};

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
    pub fn whole(work: Work, faults: u8) -> Self {
        Self { work, faults, without: Vec::new() }
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
                    || self.has(Guard::TakenBackKey)
                        && other.takes_back.is_some()
                        && other.takes_back == update.takes_back
            });
            if taken {
                return Verdict::KeyTaken;
            }
        }
        let standing = if write.releases { None } else { state.claim };
        let refused = match write.claim {
            (None, Some(_)) => self.has(Guard::PartKey) && standing.is_some(),
            // A claim goes, or changes hands, only as it was loaded.
            (loaded, after) => loaded != after && standing != loaded,
        };
        if refused {
            return Verdict::KeyTaken;
        }
        if let Some(row) = &write.row {
            state.late_writer |= older || others;
            state.row = row.clone();
        }
        state.log.extend(write.updates.iter().cloned());
        state.claim = if write.claim.0 == write.claim.1 { standing } else { write.claim.1 };
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
        let releases = worker.mailbox.iter().any(|letter| self.ask(letter.key) == Ask::Release);
        if releases && self.has(Guard::ReleaseByRowLock) {
            let letters = worker.take_letters();
            return self.go_by_row_lock(state, place, letters);
        }
        let (me, held) = (worker.owner, worker.held);
        let Some(fence) = held.or_else(|| self.grant(state, me, 0)) else { return };
        let worker = &mut state.workers[place];
        worker.held = Some(fence);
        let letters = std::mem::take(&mut worker.mailbox);
        let targets = self.targets(&letters);
        let kept = worker.kept.clone().filter(|kept| kept.fence == fence || !self.has(Guard::KeptUnderFence));
        match kept.filter(|_| targets.is_empty() || !self.has(Guard::UndoLoaded)) {
            Some(Kept { row, fence: _, claim }) => {
                let known = worker.remembered.clone();
                let named = known.iter().filter(|update| targets.contains(&update.key)).cloned().collect();
                let taken_back = taken_back(&known, &targets);
                let mut unseen = keys(&letters);
                unseen.retain(|key| known.iter().all(|update| update.key != *key));
                let released_at = self.released_at(&known);
                let found = Found { known, claim, named, taken_back, released_at };
                let facts = Facts { row, found, unseen, unclaimed: claim.is_none() };
                self.go_by_lease(state, place, letters, fence, facts);
            }
            None => worker.hand = Hand::Leased { letters, fence, seen: None },
        }
    }

    /// Loads the row, and looks up the request ids and the part.
    pub fn load(&self, state: &mut State, place: Place) {
        let Hand::Leased { letters, fence, seen } = state.workers[place].put_down() else { return };
        let mut facts = self.look(state, &letters);
        match seen {
            None if !self.has(Guard::OneSnapshot) => {
                let seen = Some(facts.found);
                state.workers[place].hand = Hand::Leased { letters, fence, seen };
            }
            None => self.go_by_lease(state, place, letters, fence, facts),
            Some(seen) => {
                facts.found = seen;
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
        let facts = self.look(state, &letters);
        self.decide(state, place, letters, None, facts, self.has(Guard::LockFirst));
    }

    /// What a load finds.
    fn look(&self, state: &State, letters: &[Letter]) -> Facts {
        let targets = self.targets(letters);
        let found = Found {
            known: state.updates_of(&keys(letters)),
            claim: state.claim,
            named: state.updates_of(&targets),
            taken_back: taken_back(&state.log, &targets),
            released_at: self.released_at(&state.log).filter(|_| !targets.is_empty()),
        };
        Facts { row: state.row.clone(), found, unseen: Vec::new(), unclaimed: false }
    }

    fn released_at(&self, log: &[Update]) -> Option<u8> {
        log.iter().filter(|update| self.ask(update.key) == Ask::Release).filter_map(Update::seq).max()
    }

    /// What the undos among these requests name.
    fn targets(&self, letters: &[Letter]) -> Vec<Key> {
        let target = |key| if let Ask::Undo(target) = self.ask(key) { Some(target) } else { None };
        keys(letters).into_iter().filter_map(target).collect()
    }

    /// Decides, and writes. The write is on its way at once; a pause before it would be the same
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
        let Facts { mut row, found, unseen, unclaimed } = facts;
        let (loaded, known, claimed) = (row.stamp, found.known.clone(), found.claim);
        let authority = fence.map(|fence| (state.workers[place].owner, fence));
        if let Some((owner, fence)) = authority {
            (row.owner, row.fence) = (Some(owner), fence);
        }
        let Draft { mut row, updates, claim, releases, too_early, .. } =
            self.draft(keys(&letters), row, found, unclaimed);
        let (early, letters): (Vec<_>, Vec<_>) =
            letters.into_iter().partition(|letter| too_early.contains(&letter.key));
        state.tell_too_early(&early);
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
        let claim = (claimed.filter(|_| !releases), claim);
        let by = Some(place);
        state.writes.push(Write { by, locked, loaded, authority, row, updates, claim, releases, unseen, unclaimed });
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
