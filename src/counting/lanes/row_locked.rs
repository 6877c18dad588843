//! The row-locked lane: locks the rows, then loads, decides and writes, in one transaction.
//!
//! It is slower than the leased lane, but no other writer can overtake it. Work orders come here if
//! they have no lease, if another writer was faster, or if the store refused a batch. In the last case
//! the batch is halved until the refused request is alone, and the rest is counted. The same is done if
//! a row is locked elsewhere for too long.
//!
//! A recount that frees barcodes comes here, too. It is the only request of its work order in its
//! transaction. So all claims that it frees are older than it, and one delete frees them.
//!
//! Steps 2 to 5 are one transaction (`write_locked` of the store). SQLite
//! has no round trips.
//!
//! | step | statement | round trips (PostgreSQL) | if the process dies here |
//! | --- | --- | --- | --- |
//! | 1. take what waits | none | 0 | nothing is written; a retry is counted as new |
//! | 2. lock the rows, in the order of their numbers | `begin`, `select … for no key update` | 2 | the server rolls back and unlocks the rows when it notices |
//! | 3. load request ids and claims | as `load` of the store | 1 | as step 2 |
//! | 4. decide and write | the guarded write, without a look-up; before it, `release_claims.sql` for a recount that frees barcodes | 1 or 2 | as step 2 |
//! | 5. commit | `commit` | 1 | all is written or nothing; a retry finds its answer in the log, or is counted as new |
//! | 6. drop leases that proved overtaken | none: memory | 0 | the leases run out by themselves |
//! | 7. answer, and return what is left | `updates_by_id` of the store, if a refusal has to show the original | 0 or 1 | the count stands; a retry gets the same answer from the log |
//!
//! If step 2 to 5 fails for a batch of several requests, both halves begin again at step 2.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::error;

use super::context::LaneContext;
use super::failures::FailureStreak;
use crate::counting::answer::{Answer, Unsettled};
use crate::counting::batch::{self, LoadRequest, Unverified};
use crate::counting::queue::{Lane, Next, WaitingRequest, Work, numbers};
use crate::domain::decide::Facts;
use crate::domain::ids::WorkOrderNumber;
use crate::store::StoreError;
use crate::telemetry::causes;

/// How long a work order stays in this lane after a try that failed.
const AFTER_FAILURE: Duration = Duration::from_millis(200);

/// How long a batch is halved for a row that can't be locked. If it takes longer, it is not one row:
/// the database as a whole does not answer.
const HALVING_LIMIT: Duration = Duration::from_secs(5);
/// What is not tried by then is returned untried: all that waits has its time limit.
const LONGEST_STEP: Duration = Duration::from_secs(8);

pub(in crate::counting) struct RowLockedLane {
    context: LaneContext,
    failures: FailureStreak,
    /// When this batch began.
    begun: Instant,
    /// Work orders that could not be locked in the last step, not even alone.
    stuck: HashSet<WorkOrderNumber>,
}

impl RowLockedLane {
    pub(in crate::counting) fn new(context: LaneContext) -> Self {
        Self { context, failures: FailureStreak::default(), begun: Instant::now(), stuck: HashSet::new() }
    }

    pub(in crate::counting) async fn run(mut self) {
        while let Some(work) = self.context.queues.take(Lane::RowLocked).await {
            self.step(work).await;
        }
    }

    /// Settles one batch.
    async fn step(&mut self, work: Vec<Work>) {
        let work = self.context.without_quarantined(work);
        if work.is_empty() {
            return;
        }
        self.context.note_batch(&work);
        let all = numbers(&work);
        self.begun = Instant::now();
        // What was stuck is tried after the others, each work order alone.
        let before = take(&mut self.stuck);
        let (stuck, free): (Vec<_>, Vec<_>) = work.into_iter().partition(|work| before.contains(&work.number));
        let mut left = self.settle(free).await;
        for work in stuck {
            match self.begun.elapsed() < HALVING_LIMIT {
                true => left.extend(self.settle(vec![work]).await),
                false => {
                    self.stuck.insert(work.number.clone());
                    left.push(work);
                }
            }
        }
        self.context.return_batch(&all, left, |_| Next::RowLocked { stay: AFTER_FAILURE });
    }

    /// Settles work, in halves if the store refuses it whole, and each recount that frees barcodes
    /// alone. Returns what is left to do.
    fn settle(&mut self, work: Vec<Work>) -> BoxFuture<'_, Vec<Work>> {
        async move {
            let work = without_stopped(work);
            let is_mixed = |work: &Work| work.waiting.len() > 1 && work.releases();
            if work.iter().any(is_mixed) {
                let (mixed, others): (Vec<_>, Vec<_>) = work.into_iter().partition(is_mixed);
                let mut left = self.settle(others).await;
                for work in mixed {
                    left.extend(self.settle_around_release(work).await);
                }
                return left;
            }
            if work.is_empty() || self.begun.elapsed() >= LONGEST_STEP {
                return work;
            }
            match self.try_whole(&work).await {
                Ok((decided, passed)) => {
                    self.failures.end();
                    let settled = batch::settle(work, decided, &passed);
                    self.context.answer(settled, HashMap::new())
                }
                Err(error @ StoreError::TryAgain(_)) => {
                    self.failures.pause_after(&error).await;
                    match work.as_slice() {
                        [alone] => drop(self.stuck.insert(alone.number.clone())),
                        _ if self.begun.elapsed() < HALVING_LIMIT => return self.settle_halves(work, &error).await,
                        _ => {}
                    }
                    work
                }
                Err(error @ (StoreError::Taken(_) | StoreError::Broken(_))) => {
                    self.failures.pause_after(&error).await;
                    work
                }
                Err(error @ (StoreError::BehindLog(_) | StoreError::Refused(_))) => {
                    self.settle_halves(work, &error).await
                }
            }
        }
        .boxed()
    }

    async fn try_whole(&mut self, work: &[Work]) -> Result<(batch::Decided, HashSet<WorkOrderNumber>), StoreError> {
        let wanted = LoadRequest::all(work);
        let mut decided = None;
        let (context, mut lost) = (&self.context, Vec::new());
        let mut decide = |facts: Facts| {
            lost = note_lost(context, work, &facts);
            let now_decided = batch::judge(facts, work, &HashMap::new(), Unverified::default(), context.late_scans);
            let batch = now_decided.batch.clone();
            decided = Some(now_decided);
            batch
        };
        let written = context.timed("write_locked", context.store.write_locked(&wanted, &mut decide)).await;
        for number in lost {
            context.lease.lost(&number).await;
        }
        let decided = decided.ok_or(());
        match (written, decided) {
            (Ok(written), Ok(decided)) => Ok((decided, written.passed)),
            (Ok(_), Err(())) => unreachable!("the store lets decide before it writes"),
            (Err(error), _) => Err(error),
        }
    }

    async fn settle_halves(&mut self, mut work: Vec<Work>, error: &StoreError) -> Vec<Work> {
        if work.len() > 1 {
            let second = work.split_off(work.len() / 2);
            let mut left = self.settle(work).await;
            left.extend(self.settle(second).await);
            return left;
        }
        let Some(alone) = work.pop() else { return Vec::new() };
        if matches!(error, StoreError::BehindLog(_)) {
            self.context.quarantine.add(&alone.number);
            alone.leave_unsettled(Unsettled::WorkOrderQuarantined);
            return Vec::new();
        }
        if alone.waiting.len() > 1 {
            let half = alone.waiting.len() / 2;
            return self.settle_in_two(alone, half).await;
        }
        for waiting in &alone.waiting {
            error!(work_order = %alone.number, request_id = %waiting.request.request_id, cause = causes(error),
                "the store refuses this request for good: {error}");
        }
        alone.leave_unsettled(Unsettled::StorageUnavailable);
        Vec::new()
    }

    /// Settles what comes before the first recount that frees barcodes, or that recount alone, and then
    /// the rest.
    async fn settle_around_release(&mut self, work: Work) -> Vec<Work> {
        let release = work.waiting.iter().position(|waiting| waiting.request.releases());
        self.settle_in_two(work, release.unwrap_or(0).max(1)).await
    }

    /// Settles the first requests of a work order, `first` in number, and then the others. The others
    /// wait if one of the first is left.
    async fn settle_in_two(&mut self, mut work: Work, first: usize) -> Vec<Work> {
        let second = work.waiting.split_off(first);
        let number = work.number.clone();
        let mut left = self.settle(vec![work]).await;
        match left.pop() {
            None => self.settle(vec![Work { number, waiting: second, lost_under: None, busy_since: None }]).await,
            Some(mut first) => {
                first.waiting.extend(second);
                vec![first]
            }
        }
    }
}

/// Answers requests of which an earlier item was left unsettled, perhaps by the other half of the same
/// batch. Returns the rest.
fn without_stopped(work: Vec<Work>) -> Vec<Work> {
    let mut rest = Vec::with_capacity(work.len());
    for mut work in work {
        let (stopped, waiting): (Vec<_>, Vec<_>) =
            work.waiting.into_iter().partition(WaitingRequest::follows_unsettled);
        for waiting in stopped {
            waiting.answer(Answer::Unsettled(Unsettled::EarlierItemPending));
        }
        if !waiting.is_empty() {
            work.waiting = waiting;
            rest.push(work);
        }
    }
    rest
}

/// Counts which writes were overtaken and which were fenced off: the loaded row shows it. Returns the
/// work orders whose lease is overtaken.
fn note_lost(context: &LaneContext, work: &[Work], facts: &Facts) -> Vec<WorkOrderNumber> {
    let mut lost = Vec::new();
    for work in work {
        let (Some(under), Some(row)) = (work.lost_under, facts.work_orders.get(&work.number)) else { continue };
        let newer = row.fence > under || row.fence == under && row.fence_owner.as_ref() != Some(context.lease.owner());
        if newer {
            context.metrics.fenced_off.inc();
            lost.push(work.number.clone());
        } else {
            context.metrics.overtaken.inc();
        }
    }
    lost
}
