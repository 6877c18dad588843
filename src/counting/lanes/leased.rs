//! The leased lane: many work orders in one guarded statement, no row held between
//! round trips.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use tokio::sync::{Mutex, MutexGuard};
use tokio::task::yield_now;

use super::super::Unsettled;
use super::super::batch::{self, Decided, LoadRequest, Unverified};
use super::super::memory::{Generation, Memory, MemoryGuard, SharedMemory};
use super::super::queue::{Lane, Next, Work};
use super::{FailureStreak, LaneContext, numbers, requests};
use crate::domain::decide::{ClaimKey, Facts};
use crate::domain::ids::{Fence, Owner, RequestId, WorkOrderNumber};
use crate::domain::request::Ask as Asked;
use crate::domain::update::Update;
use crate::domain::work_order::{BarcodePolicy, WorkOrder};
use crate::lease::{Ask, Health, Held, LeaseState};
use crate::store::{StoreError, Written};

/// How long a work order stays with the row-locked lane after a write that came too late.
/// Comparing alone starves the slower writer (pitfall 42), and a rival is at it now.
const AFTER_OVERTAKEN: Duration = Duration::from_millis(200);
/// How long a work order without a lease stays there before the lease is asked for again.
const WITHOUT_LEASE: Duration = Duration::from_secs(1);
/// How often a busy lease is asked for again, where no hint comes.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// After so long the holder is taken for dead or deaf: nobody waits out a time to live.
const PATIENCE: Duration = Duration::from_secs(1);

/// What the leased lanes have in common.
#[derive(Clone, Default)]
pub(in crate::counting) struct Shared {
    memory: SharedMemory,
    turn: Arc<WriteTurn>,
}

/// Whose turn it is to write. One write at a time: two at once make two small batches of one
/// large, and every statement has its price.
#[derive(Default)]
struct WriteTurn {
    writing: Mutex<()>,
    waiting: AtomicUsize,
}

impl WriteTurn {
    async fn take(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let turn = self.writing.lock().await;
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        turn
    }

    /// Ends a turn. A lane that waits for one sends its write off first, before this one goes
    /// on with its answers: woken by this task, it would be the next to run on this thread.
    async fn pass_on(&self, turn: MutexGuard<'_, ()>) {
        drop(turn);
        if self.waiting.load(Ordering::Relaxed) > 0 {
            yield_now().await;
        }
    }
}

pub(in crate::counting) struct LeasedLane {
    context: LaneContext,
    memory: SharedMemory,
    turn: Arc<WriteTurn>,
    troubles: FailureStreak,
    owner: Owner,
}

/// The leases of a batch.
type Tenures = HashMap<WorkOrderNumber, Held>;

/// What a batch is decided on.
struct Known {
    facts: Facts,
    unseen: Unverified,
    generation: Generation,
}

impl Known {
    /// Adds what memory knows about a work order and its requests.
    fn recall(&mut self, memory: &mut Memory, work: &Work, held: Option<&Held>) {
        let Self { facts, unseen, .. } = self;
        if let Some(row) = held.and_then(|held| memory.row(&work.number, held.fence)) {
            facts.work_orders.insert(work.number.clone(), row.clone());
        }
        for waiting in &work.waiting {
            let id = &waiting.request.request_id;
            let known = memory.update(id);
            match known {
                Some(update) => drop(facts.updates.insert(id.clone(), Arc::clone(update))),
                None => drop(unseen.request_ids.insert(id.clone())),
            }
            let Some(key) = ClaimKey::of(&waiting.request) else { continue };
            match memory.claim(&key) {
                Some(claim) => {
                    let original =
                        memory.update(&claim.request_id).map(|update| (claim.request_id.clone(), Arc::clone(update)));
                    facts.updates.extend(original);
                    facts.claims.insert(key, vec![claim.clone()]);
                }
                // What is decided already is not decided by its barcode.
                None if known.is_some() => {}
                None => drop(unseen.barcodes.insert(key)),
            }
        }
    }
}

/// A batch that is decided and not yet written.
struct Draft {
    work: Vec<Work>,
    authorities: Tenures,
    decided: Decided,
    originals: HashMap<RequestId, Arc<Update>>,
    generation: Generation,
}

impl Draft {
    /// Adds other work orders, decided apart.
    fn extend(&mut self, other: Self) {
        self.work.extend(other.work);
        self.authorities.extend(other.authorities);
        self.decided.extend(other.decided);
        self.originals.extend(other.originals);
    }
}

impl LeasedLane {
    pub(in crate::counting) fn new(context: LaneContext, Shared { memory, turn }: Shared) -> Self {
        let owner = context.lease.owner().clone();
        Self { context, memory, turn, troubles: FailureStreak::default(), owner }
    }

    pub(in crate::counting) async fn run(mut self) {
        while let Some(work) = self.context.mailbox.take(Lane::Leased).await {
            self.step(work).await;
        }
    }

    /// Settles one batch: leases, load, decide, write, answer.
    async fn step(&mut self, work: Vec<Work>) {
        let mut draft = match self.draft(work).await {
            Ok(draft) => draft,
            Err((error, work)) => return self.after(&error, work).await,
        };
        if draft.work.is_empty() {
            return;
        }
        let written = self.write(&mut draft).await;
        let Draft { work, authorities, decided, originals, generation } = draft;
        let written = match written {
            Some(Ok(written)) => written,
            Some(Err(error)) => return self.after(&error, work).await,
            None => {
                self.context.lease.settle(&numbers(&work)).await;
                return work.into_iter().for_each(|work| self.context.mailbox.put_back(work, Next::Leased));
            }
        };
        self.troubles.over();
        self.learn(&decided, &written, &authorities, generation);

        let all = numbers(&work);
        let found_out = decided.blocked_by(&written);
        let settled = batch::settle(work, decided, &written.passed);
        let mut left = self.context.answer(settled, originals);
        for work in left.iter_mut().filter(|work| !found_out.contains(&work.number)) {
            self.memory.open().forget(&work.number);
            work.lost_under = authorities.get(&work.number).map(|held| held.fence);
        }
        // Before they are in another lane's hands, whose leases these would be.
        let mut given_up = self.context.lease.settle(&all);
        self.context.hand_back(&all, left, |work| match found_out.contains(&work.number) {
            // It held a repeat or a counted barcode, which memory knows now.
            true => Next::Leased,
            false => Next::RowLocked { stay: AFTER_OVERTAKEN },
        });
        if (&mut given_up).now_or_never().is_none() {
            self.context.mailbox.call();
            given_up.await;
        }
    }

    /// Decides a batch: under leases, on what memory and the store know.
    async fn draft(&mut self, work: Vec<Work>) -> Result<Draft, (StoreError, Vec<Work>)> {
        let work = self.context.without_quarantined(work);
        let mut authorities = Tenures::new();
        let work = self.lease(work, &Facts::default(), &mut authorities).await;
        let mut known = self.recall(&work, &authorities);
        if let Err(error) = self.load(&mut known, &work).await {
            return Err((error, work));
        }
        let work = self.lease_above(work, &known.facts, &mut authorities).await;
        Ok(self.decide(work, authorities, known))
    }

    /// Adds what has come since, as far as it can be decided from memory alone: a batch that
    /// waited for its turn is to be no smaller than one that begins now.
    fn top_up(&self, draft: &mut Draft) {
        let more = self.context.mailbox.take_more(Lane::Leased, requests(&draft.work));
        if more.is_empty() {
            return;
        }
        let more = self.context.without_quarantined(more);
        let decided: HashSet<&RequestId> = draft.decided.request_ids().collect();
        let (mut taken, mut rest, mut authorities) = (Vec::with_capacity(more.len()), Vec::new(), Tenures::new());
        let (mut memory, mut known) = self.open_memory();
        for work in more {
            // One statement can't have a request id twice.
            let again = work.waiting.iter().any(|waiting| decided.contains(&waiting.request.request_id));
            let held =
                self.context.lease.held(&work.number).filter(|held| !again && is_at_hand(&mut memory, &work, held));
            match held {
                Some(held) => {
                    known.recall(&mut memory, &work, Some(&held));
                    authorities.insert(work.number.clone(), held);
                    taken.push(work);
                }
                None => rest.push(work),
            }
        }
        drop(memory);
        if !rest.is_empty() {
            rest.into_iter().for_each(|work| self.context.mailbox.put_back(work, Next::Leased));
            self.context.mailbox.call();
        }
        draft.extend(self.decide(taken, authorities, known));
    }

    fn decide(&self, work: Vec<Work>, authorities: Tenures, known: Known) -> Draft {
        let Known { facts, unseen, generation } = known;
        let under =
            authorities.iter().map(|(number, held)| (number.clone(), (held.fence, self.owner.clone()))).collect();
        let originals = batch::originals(&facts);
        let decided = batch::judge(facts, &work, &under, unseen);
        Draft { work, authorities, decided, originals, generation }
    }

    /// The work whose lease is held; the rest goes its own way. A lease that `facts`
    /// show to be overtaken is asked for anew.
    async fn lease(&mut self, work: Vec<Work>, facts: &Facts, authorities: &mut Tenures) -> Vec<Work> {
        let asks: Vec<Ask> = work
            .iter()
            .map(|work| Ask {
                work_order: work.number.clone(),
                floor: facts.work_orders.get(&work.number).map_or(Fence(0), |row| row.fence),
            })
            .collect();
        let asked = Instant::now();
        let standings = match asks.is_empty() {
            true => Vec::new(),
            false => self.context.lease.ensure(&asks).await,
        };
        let all = work.len();
        let mut leased = Vec::with_capacity(all);
        for (mut work, standing) in work.into_iter().zip(standings) {
            match standing {
                LeaseState::Held(held) => {
                    authorities.insert(work.number.clone(), held);
                    work.busy_since = None;
                    leased.push(work);
                }
                LeaseState::Busy => {
                    let since = *work.busy_since.get_or_insert_with(Instant::now);
                    match since.elapsed() < PATIENCE {
                        true => self.context.mailbox.put_back(work, Next::Parked { asked, pause: ASK_AGAIN }),
                        false => self.send_to_row_lock(work, WITHOUT_LEASE),
                    }
                }
                LeaseState::RowLock => {
                    if self.context.lease.health() != Health::RowsAlone {
                        self.context.metrics.fallback.inc();
                    }
                    self.send_to_row_lock(work, WITHOUT_LEASE);
                }
                LeaseState::Unavailable => self.context.leave_unsettled(work, Unsettled::LeaseUnavailable),
            }
        }
        if leased.len() < all {
            self.context.mailbox.call();
        }
        leased
    }

    /// Asks anew for the leases that the loaded rows show to be overtaken, with the row's
    /// fence as the floor: a wiped Redis grants numbers that the database has seen.
    async fn lease_above(&mut self, work: Vec<Work>, facts: &Facts, authorities: &mut Tenures) -> Vec<Work> {
        let overtaken = |work: &Work| {
            let (row, held) = (facts.work_orders.get(&work.number), authorities.get(&work.number));
            row.zip(held).is_some_and(|(row, held)| {
                row.fence > held.fence || row.fence == held.fence && row.fence_owner.as_ref() != Some(&self.owner)
            })
        };
        let (late, mut work): (Vec<_>, Vec<_>) = work.into_iter().partition(overtaken);
        if !late.is_empty() {
            work.extend(self.lease(late, facts, authorities).await);
        }
        work
    }

    /// What memory knows about a batch, and what nobody has looked up.
    fn recall(&self, work: &[Work], authorities: &Tenures) -> Known {
        let (mut memory, mut known) = self.open_memory();
        for work in work {
            known.recall(&mut memory, work, authorities.get(&work.number));
        }
        known
    }

    /// Memory, without what a new connection has made worthless, and nothing recalled from it
    /// yet. While it is open nobody drops what it was just seen to hold.
    fn open_memory(&self) -> (MemoryGuard<'_>, Known) {
        let mut memory = self.memory.open();
        let generation = memory.see_epoch(self.context.store.epoch());
        (memory, Known { facts: Facts::default(), unseen: Unverified::default(), generation })
    }

    /// Loads what memory does not know and the write can't look up itself: all about a work
    /// order that is not kept (one that there is not is never told from memory), and the
    /// barcodes of which more is wanted than whether they stand counted.
    async fn load(&self, known: &mut Known, work: &[Work]) -> Result<(), StoreError> {
        let Known { facts, unseen, .. } = known;
        let mut wish = LoadRequest::default();
        for work in work {
            let kept = facts.work_orders.get(&work.number);
            if kept.is_none() {
                wish.work_order(&work.number);
            }
            let claims_too = kept.is_none_or(|row| wants_claims(row, work));
            for waiting in &work.waiting {
                let known = facts.updates.contains_key(&waiting.request.request_id);
                if !known && (kept.is_none() || claims_too && waiting.request.barcode().is_some()) {
                    wish.request(waiting);
                }
            }
        }
        if wish.is_empty() {
            return Ok(());
        }
        let wanted = wish.wanted();
        let loaded = self.context.timed("load", self.context.store.load(&wanted)).await?;
        self.memory.open().store_answered();
        unseen.loaded(&wanted);
        for (key, _) in &wanted.claims {
            facts.claims.remove(key);
        }
        facts.work_orders.extend(loaded.work_orders);
        facts.updates.extend(loaded.updates);
        facts.claims.extend(loaded.claims);
        Ok(())
    }

    /// Writes what was decided, in turn; `None` where a lease has run out before it could begin.
    async fn write(&self, draft: &mut Draft) -> Option<Result<Written, StoreError>> {
        if draft.decided.batch.changes.is_empty() {
            self.context.note_batch(&draft.work);
            return Some(Ok(Written::default()));
        }
        let turn = self.turn.take().await;
        self.top_up(draft);
        self.context.note_batch(&draft.work);
        let Draft { authorities, decided: Decided { batch, .. }, .. } = &*draft;
        let in_force = |number| authorities.get(number).is_some_and(Held::in_force);
        if !batch.changes.iter().all(|change| in_force(&change.row.work_order)) {
            return None;
        }
        let written = self.context.timed("write", self.context.store.write(batch)).await;
        self.turn.pass_on(turn).await;
        if written.is_ok() {
            self.memory.open().store_answered();
        }
        Some(written)
    }

    fn learn(&self, decided: &Decided, written: &Written, authorities: &Tenures, generation: Generation) {
        let mut memory = self.memory.open();
        if !memory.is_still(generation) {
            return;
        }
        for change in decided.batch.changes.iter().filter(|change| written.passed.contains(&change.row.work_order)) {
            if let Some(held) = authorities.get(&change.row.work_order) {
                memory.keep(change.row.clone(), held.fence);
            }
            for update in &change.updates {
                memory.remember(update.clone());
            }
        }
        for update in &written.known {
            memory.remember(update.clone());
        }
        for (key, claim) in &written.claimed {
            memory.keep_claim(key.clone(), claim.clone());
        }
    }

    /// Goes on after the store has failed; nothing of the batch is answered yet.
    async fn after(&mut self, error: &StoreError, work: Vec<Work>) {
        self.context.lease.settle(&numbers(&work)).await;
        match error {
            StoreError::Broken(_) => {
                self.memory.open().clear();
                self.troubles.pause_after(error).await;
                for work in work {
                    self.context.mailbox.put_back(work, Next::Leased);
                }
            }
            // The row-locked lane looks everything up, and finds the culprit by halving: a request
            // that is refused, or a row that is held elsewhere and would hold all others up here.
            StoreError::TryAgain(_) | StoreError::Taken(_) | StoreError::BehindLog(_) | StoreError::Refused(_) => {
                if matches!(error, StoreError::TryAgain(_)) {
                    self.troubles.pause_after(error).await;
                }
                for work in work {
                    self.send_to_row_lock(work, AFTER_OVERTAKEN);
                }
            }
        }
    }

    fn send_to_row_lock(&mut self, mut work: Work, stay: Duration) {
        self.memory.open().forget(&work.number);
        work.busy_since = None;
        self.context.mailbox.put_back(work, Next::RowLocked { stay });
    }
}

/// Whether memory has all that has to be loaded about a work order's requests.
fn is_at_hand(memory: &mut Memory, work: &Work, held: &Held) -> bool {
    memory.row(&work.number, held.fence).is_some_and(|row| !wants_claims(row, work))
}

/// Whether more is wanted of the barcodes in `work` than that they stand counted or not, which
/// the guarded write finds out itself.
fn wants_claims(row: &WorkOrder, work: &Work) -> bool {
    row.plan.barcode_policy != BarcodePolicy::Once
        || work.waiting.iter().any(|waiting| matches!(waiting.request.ask, Asked::Unbind { .. }))
}
