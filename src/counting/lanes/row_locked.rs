//! The row-locked lane: locks the rows, then looks, decides and writes, in one
//! transaction.
//!
//! Slower, and never overtaken. Work orders come here without a lease, after a write that
//! came too late, and when something in a batch upset the store: then the batch is halved
//! until the culprit stands alone, and the rest counts. So it is where a row is held elsewhere
//! for longer than is waited for it.

use std::collections::{HashMap, HashSet};
use std::mem::take;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tracing::error;

use super::super::batch::{self, LoadRequest, Unverified};
use super::super::queue::{Lane, Next, Waiting, Work};
use super::super::{Answer, Unsettled};
use super::{FailureStreak, LaneContext, numbers};
use crate::domain::decide::Facts;
use crate::domain::ids::WorkOrderNumber;
use crate::store::StoreError;
use crate::telemetry::causes;

/// How long a work order stays in this lane after a try that failed.
const AFTER_TROUBLE: Duration = Duration::from_millis(200);

/// How long a batch is halved for a row that can't be locked. If it takes longer it is not one
/// row: the database as a whole does not answer.
const SEEKING: Duration = Duration::from_secs(5);
/// When what is not tried by then is handed back as it is: all that waits has its time limit.
const LONGEST_STEP: Duration = Duration::from_secs(8);

pub(in crate::counting) struct RowLockedLane {
    context: LaneContext,
    troubles: FailureStreak,
    /// When this batch began.
    begun: Instant,
    /// Work orders that could not be locked, each by itself, the last time.
    stuck: HashSet<WorkOrderNumber>,
}

impl RowLockedLane {
    pub(in crate::counting) fn new(context: LaneContext) -> Self {
        Self { context, troubles: FailureStreak::default(), begun: Instant::now(), stuck: HashSet::new() }
    }

    pub(in crate::counting) async fn run(mut self) {
        while let Some(work) = self.context.mailbox.take(Lane::RowLocked).await {
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
        // Whoever was stuck is waited for when the others are done, and by itself.
        let before = take(&mut self.stuck);
        let (stuck, free): (Vec<_>, Vec<_>) = work.into_iter().partition(|work| before.contains(&work.number));
        let mut left = self.settle(free).await;
        for work in stuck {
            match self.begun.elapsed() < SEEKING {
                true => left.extend(self.settle(vec![work]).await),
                false => {
                    self.stuck.insert(work.number.clone());
                    left.push(work);
                }
            }
        }
        self.context.hand_back(&all, left, |_| Next::RowLocked { stay: AFTER_TROUBLE });
    }

    /// Settles work, in halves where the store refuses it whole; gives what is left to do.
    fn settle(&mut self, work: Vec<Work>) -> BoxFuture<'_, Vec<Work>> {
        async move {
            let work = without_stopped(work);
            if work.is_empty() || self.begun.elapsed() >= LONGEST_STEP {
                return work;
            }
            match self.try_whole(&work).await {
                Ok((decided, passed)) => {
                    self.troubles.over();
                    let settled = batch::settle(work, decided, &passed);
                    self.context.answer(settled, HashMap::new())
                }
                Err(error @ StoreError::TryAgain(_)) => {
                    self.troubles.pause_after(&error).await;
                    match work.as_slice() {
                        [alone] => drop(self.stuck.insert(alone.number.clone())),
                        _ if self.begun.elapsed() < SEEKING => return self.settle_halves(work, &error).await,
                        _ => {}
                    }
                    work
                }
                Err(error @ (StoreError::Taken(_) | StoreError::Broken(_))) => {
                    self.troubles.pause_after(&error).await;
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
            let now_decided = batch::judge(facts, work, &HashMap::new(), Unverified::default());
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
        let Some(mut alone) = work.pop() else { return Vec::new() };
        if matches!(error, StoreError::BehindLog(_)) {
            self.context.quarantine.add(&alone.number);
            alone.leave_unsettled(Unsettled::WorkOrderQuarantined);
            return Vec::new();
        }
        if alone.waiting.len() > 1 {
            // In order: the second half waits until the first is settled.
            let second = alone.waiting.split_off(alone.waiting.len() / 2);
            let number = alone.number.clone();
            let mut left = self.settle(vec![alone]).await;
            let second = Work { number, waiting: second, lost_under: None, busy_since: None };
            return match left.pop() {
                None => self.settle(vec![second]).await,
                Some(mut first) => {
                    first.waiting.extend(second.waiting);
                    vec![first]
                }
            };
        }
        for waiting in &alone.waiting {
            error!(work_order = %alone.number, request_id = %waiting.request.request_id, cause = causes(error),
                "the store refuses this request for good: {error}");
        }
        alone.leave_unsettled(Unsettled::StorageUnavailable);
        Vec::new()
    }
}

/// Answers requests after an earlier item of theirs was left unsettled, which a half of the
/// same batch may have done; gives the rest.
fn without_stopped(work: Vec<Work>) -> Vec<Work> {
    let mut rest = Vec::with_capacity(work.len());
    for mut work in work {
        let (stopped, waiting): (Vec<_>, Vec<_>) = work.waiting.into_iter().partition(Waiting::after_a_break);
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

/// Tells writes that were overtaken from those that were fenced off, now that the row
/// is there to see; gives the work orders whose lease is overtaken.
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
