//! The leased lane: many work orders in one guarded statement. No row is locked between round trips.
//!
//! SQLite has no round trips; they are those to PostgreSQL and Redis.
//!
//! | step | statement | round trips | if the process dies here |
//! | --- | --- | --- | --- |
//! | 1. take what waits | none | 0 | nothing is written; a retry is counted as new |
//! | 2. leases: held ones from memory, the others from Redis | `grant.lua` | 0 or 1 (Redis) | as step 1; the leases run out by themselves |
//! | 3. load what memory does not have | `load` of the store | 0 or 1 | as step 2 |
//! | 4. ask again for leases that the loaded rows show to be overtaken | `grant.lua` | 0 or 1 (Redis) | as step 2 |
//! | 5. decide | none: pure | 0 | as step 2 |
//! | 6. wait for the turn to write; add what has come since | none: memory | 0 | as step 2 |
//! | 7. write | the guarded write (`write` of the store), one transaction; again with a look-up, if the first one failed because something was there already | 1 or 2 | all is written or nothing; a retry finds its answer in the log, or is counted as new |
//! | 8. answer | `updates_by_id` of the store, if a refusal has to show the original | 0 or 1 | the count stands; a retry gets the same answer from the log |
//! | 9. hand over leases that others wait for; return what did not pass | `release.lua` | 0 or 1 (Redis) | as step 8; the leases run out by themselves |

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;

use super::context::LaneContext;
use super::draft::{BatchLeases, Draft, Known};
use super::failures::FailureStreak;
use super::write_turn::WriteTurn;
use crate::counting::answer::Unsettled;
use crate::counting::batch::{self, Decided, LoadRequest, Unverified};
use crate::counting::memory::{Generation, Memory, MemoryGuard, SharedMemory};
use crate::counting::queue::{Lane, Next, Work, numbers, requests};
use crate::domain::decide::Facts;
use crate::domain::ids::{Fence, Owner, RequestId};
use crate::domain::request::Ask as Asked;
use crate::domain::work_order::{BarcodePolicy, WorkOrder};
use crate::lease::{Ask, Health, Held, LeaseState};
use crate::store::{StoreError, Written};

/// How long a work order stays with the row-locked lane after another writer was faster. That writer
/// still works on it, and with stamps alone the slower writer may never get its turn (pitfall 42).
const AFTER_OVERTAKEN: Duration = Duration::from_millis(200);
/// How long a work order without a lease stays there before the lease is asked for again.
const WITHOUT_LEASE: Duration = Duration::from_secs(1);
/// How often a busy lease is asked for again if no hint comes.
const ASK_AGAIN: Duration = Duration::from_millis(20);
/// If a lease is busy for this long, the row lock is used. The holder is probably dead or gets no
/// hints, and no scan waits until the lease runs out.
const LONGEST_BUSY: Duration = Duration::from_secs(1);

/// What the leased lanes share.
#[derive(Clone, Default)]
pub(in crate::counting) struct LeasedShared {
    memory: SharedMemory,
    turn: Arc<WriteTurn>,
}

pub(in crate::counting) struct LeasedLane {
    context: LaneContext,
    memory: SharedMemory,
    turn: Arc<WriteTurn>,
    failures: FailureStreak,
    owner: Owner,
}

impl LeasedLane {
    pub(in crate::counting) fn new(context: LaneContext, LeasedShared { memory, turn }: LeasedShared) -> Self {
        let owner = context.lease.owner().clone();
        Self { context, memory, turn, failures: FailureStreak::default(), owner }
    }

    pub(in crate::counting) async fn run(mut self) {
        while let Some(work) = self.context.queues.take(Lane::Leased).await {
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
        let Draft { work, leases, decided, originals, generation } = draft;
        let written = match written {
            Some(Ok(written)) => written,
            Some(Err(error)) => return self.after(&error, work).await,
            None => {
                self.context.lease.settle(&numbers(&work)).await;
                return work.into_iter().for_each(|work| self.context.queues.return_work(work, Next::Leased));
            }
        };
        self.failures.end();
        self.learn(&decided, &written, &leases, generation);

        let all = numbers(&work);
        let blocked = decided.blocked_by(&written);
        let settled = batch::settle(work, decided, &written.passed);
        let mut left = self.context.answer(settled, originals);
        for work in left.iter_mut().filter(|work| !blocked.contains(&work.number)) {
            self.memory.open().forget(&work.number);
            work.lost_under = leases.get(&work.number).map(|held| held.fence);
        }
        // Before they are returned: another lane may take them then, and would use these leases.
        let mut handed_over = self.context.lease.settle(&all);
        self.context.return_batch(&all, left, |work| match blocked.contains(&work.number) {
            // It has a repeat or a counted barcode, and memory knows that now.
            true => Next::Leased,
            false => Next::RowLocked { stay: AFTER_OVERTAKEN },
        });
        if (&mut handed_over).now_or_never().is_none() {
            self.context.queues.wake_lanes();
            handed_over.await;
        }
    }

    /// Decides a batch: under leases, and by what memory and the store know.
    async fn draft(&mut self, work: Vec<Work>) -> Result<Draft, (StoreError, Vec<Work>)> {
        let work = self.context.without_quarantined(work);
        let work = self.without_releases(work);
        let mut leases = BatchLeases::new();
        let work = self.lease(work, &Facts::default(), &mut leases).await;
        let mut known = self.recall(&work, &leases);
        if let Err(error) = self.load(&mut known, &work).await {
            return Err((error, work));
        }
        let work = self.lease_above(work, &known.facts, &mut leases).await;
        Ok(self.decide(work, leases, known))
    }

    /// Sends work orders with a recount that frees barcodes to the row-locked lane. Returns the rest.
    fn without_releases(&mut self, work: Vec<Work>) -> Vec<Work> {
        let (releasing, rest): (Vec<_>, Vec<_>) = work.into_iter().partition(Work::releases);
        if !releasing.is_empty() {
            releasing.into_iter().for_each(|work| self.send_to_row_lock(work, Duration::ZERO));
            self.context.queues.wake_lanes();
        }
        rest
    }

    /// Adds requests that came since, if memory has all that is needed to decide them. So a batch that
    /// waited for its turn is as large as one that begins now.
    fn top_up(&self, draft: &mut Draft) {
        let more = self.context.queues.take_more(Lane::Leased, requests(&draft.work));
        if more.is_empty() {
            return;
        }
        let more = self.context.without_quarantined(more);
        let decided: HashSet<&RequestId> = draft.decided.request_ids().collect();
        let (mut taken, mut rest, mut leases) = (Vec::with_capacity(more.len()), Vec::new(), BatchLeases::new());
        let (mut memory, mut known) = self.open_memory();
        for work in more {
            // One statement can't write a request id twice.
            let again = work.waiting.iter().any(|waiting| decided.contains(&waiting.request.request_id));
            let held =
                self.context.lease.held(&work.number).filter(|held| !again && is_at_hand(&mut memory, &work, held));
            match held {
                Some(held) => {
                    known.recall(&mut memory, &work, Some(&held));
                    leases.insert(work.number.clone(), held);
                    taken.push(work);
                }
                None => rest.push(work),
            }
        }
        drop(memory);
        if !rest.is_empty() {
            rest.into_iter().for_each(|work| self.context.queues.return_work(work, Next::Leased));
            self.context.queues.wake_lanes();
        }
        draft.extend(self.decide(taken, leases, known));
    }

    fn decide(&self, work: Vec<Work>, leases: BatchLeases, known: Known) -> Draft {
        let Known { facts, unverified, generation } = known;
        let under = leases.iter().map(|(number, held)| (number.clone(), (held.fence, self.owner.clone()))).collect();
        let originals = batch::originals(&facts);
        let decided = batch::judge(facts, &work, &under, unverified, self.context.late_scans);
        Draft { work, leases, decided, originals, generation }
    }

    /// Returns the work whose lease is held; the rest is returned to the queues or answered. A lease that
    /// `facts` show to be overtaken is asked for again.
    async fn lease(&mut self, work: Vec<Work>, facts: &Facts, leases: &mut BatchLeases) -> Vec<Work> {
        let asks: Vec<Ask> = work
            .iter()
            .map(|work| Ask {
                work_order: work.number.clone(),
                floor: facts.work_orders.get(&work.number).map_or(Fence(0), |row| row.fence),
            })
            .collect();
        let asked = Instant::now();
        let states = match asks.is_empty() {
            true => Vec::new(),
            false => self.context.lease.ensure(&asks).await,
        };
        let all = work.len();
        let mut leased = Vec::with_capacity(all);
        for (mut work, state) in work.into_iter().zip(states) {
            match state {
                LeaseState::Held(held) => {
                    leases.insert(work.number.clone(), held);
                    work.busy_since = None;
                    leased.push(work);
                }
                LeaseState::Busy => {
                    let since = *work.busy_since.get_or_insert_with(Instant::now);
                    match since.elapsed() < LONGEST_BUSY {
                        true => self.context.queues.return_work(work, Next::Parked { asked, pause: ASK_AGAIN }),
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
            self.context.queues.wake_lanes();
        }
        leased
    }

    /// Asks again for the leases that the loaded rows show to be overtaken, with the row's fence as the
    /// floor. A Redis that lost its data grants fences that the database has already seen.
    async fn lease_above(&mut self, work: Vec<Work>, facts: &Facts, leases: &mut BatchLeases) -> Vec<Work> {
        let overtaken = |work: &Work| {
            let (row, held) = (facts.work_orders.get(&work.number), leases.get(&work.number));
            row.zip(held).is_some_and(|(row, held)| {
                row.fence > held.fence || row.fence == held.fence && row.fence_owner.as_ref() != Some(&self.owner)
            })
        };
        let (late, mut work): (Vec<_>, Vec<_>) = work.into_iter().partition(overtaken);
        if !late.is_empty() {
            work.extend(self.lease(late, facts, leases).await);
        }
        work
    }

    /// What memory knows about a batch, and what no load has looked up.
    fn recall(&self, work: &[Work], leases: &BatchLeases) -> Known {
        let (mut memory, mut known) = self.open_memory();
        for work in work {
            known.recall(&mut memory, work, leases.get(&work.number));
        }
        known
    }

    /// Memory, and nothing recalled from it yet. If the connection is new, memory is empty. While the
    /// guard is held, no other lane drops anything from memory.
    fn open_memory(&self) -> (MemoryGuard<'_>, Known) {
        let mut memory = self.memory.open();
        let generation = memory.see_epoch(self.context.store.epoch());
        (memory, Known { facts: Facts::default(), unverified: Unverified::default(), generation })
    }

    /// Loads what memory does not know and the write can't look up itself:
    ///
    /// - All about a work order that is not kept. Memory never says that a work order does not exist.
    /// - All about a work order with an undo or an override that names an update. These are never decided
    ///   from memory.
    /// - Also barcodes for which it must know the claims, not only whether one exists (unbind,
    ///   repeatable).
    async fn load(&self, known: &mut Known, work: &[Work]) -> Result<(), StoreError> {
        let Known { facts, unverified, .. } = known;
        let mut request = LoadRequest::default();
        for work in work {
            let kept = facts.work_orders.get(&work.number).filter(|_| !work.names_updates());
            if kept.is_none() {
                request.work_order(&work.number);
            }
            let claims_too = kept.is_none_or(|row| wants_claims(row, work));
            for waiting in &work.waiting {
                let known = facts.updates.contains_key(&waiting.request.request_id);
                if !known && (kept.is_none() || claims_too && waiting.request.barcode().is_some()) {
                    request.request(waiting);
                }
            }
        }
        if request.is_empty() {
            return Ok(());
        }
        let wanted = request.wanted();
        let loaded = self.context.timed("load", self.context.store.load(&wanted)).await?;
        self.memory.open().store_answered();
        unverified.loaded(&wanted);
        for (key, _) in &wanted.claims {
            facts.claims.remove(key);
        }
        facts.work_orders.extend(loaded.work_orders);
        facts.updates.extend(loaded.updates);
        facts.named.extend(loaded.named);
        facts.claims.extend(loaded.claims);
        Ok(())
    }

    /// Writes what was decided, when it is its turn. `None` if a lease ran out before the write could
    /// begin.
    async fn write(&self, draft: &mut Draft) -> Option<Result<Written, StoreError>> {
        if draft.decided.batch.changes.is_empty() {
            self.context.note_batch(&draft.work);
            return Some(Ok(Written::default()));
        }
        let turn = self.turn.take().await;
        self.top_up(draft);
        self.context.note_batch(&draft.work);
        let Draft { leases, decided: Decided { batch, .. }, .. } = &*draft;
        let in_force = |number| leases.get(number).is_some_and(Held::in_force);
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

    fn learn(&self, decided: &Decided, written: &Written, leases: &BatchLeases, generation: Generation) {
        let mut memory = self.memory.open();
        if !memory.is_still(generation) {
            return;
        }
        for change in decided.batch.changes.iter().filter(|change| written.passed.contains(&change.row.work_order)) {
            if let Some(held) = leases.get(&change.row.work_order) {
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

    /// Returns the work after the store has failed. Nothing of the batch is answered yet.
    async fn after(&mut self, error: &StoreError, work: Vec<Work>) {
        self.context.lease.settle(&numbers(&work)).await;
        match error {
            StoreError::Broken(_) => {
                self.memory.open().clear();
                self.failures.pause_after(error).await;
                for work in work {
                    self.context.queues.return_work(work, Next::Leased);
                }
            }
            // The row-locked lane looks everything up and halves the batch until it finds the cause. That
            // is a refused request, or a locked row that would delay all others here.
            StoreError::TryAgain(_) | StoreError::Taken(_) | StoreError::BehindLog(_) | StoreError::Refused(_) => {
                if matches!(error, StoreError::TryAgain(_)) {
                    self.failures.pause_after(error).await;
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
        self.context.queues.return_work(work, Next::RowLocked { stay });
    }
}

/// Whether memory has all that is needed to decide a work order's requests.
fn is_at_hand(memory: &mut Memory, work: &Work, held: &Held) -> bool {
    !work.names_updates()
        && !work.releases()
        && memory.row(&work.number, held.fence).is_some_and(|row| !wants_claims(row, work))
}

/// Whether the claims of the barcodes in `work` are needed, not only whether one exists. The guarded
/// write finds out the latter itself.
fn wants_claims(row: &WorkOrder, work: &Work) -> bool {
    row.plan.barcode_policy != BarcodePolicy::Once
        || work.waiting.iter().any(|waiting| matches!(waiting.request.ask, Asked::Unbind { .. }))
}
