//! What the lanes of the committer share: how answers are given, and how a lane
//! goes on after the store has failed.

pub(super) mod leased;
pub(super) mod row_locked;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use tracing::{error, warn};

use super::batch::{self, Settled};
use super::queue::{Mailbox, Next, Waiting, Work};
use super::{Answer, Unsettled};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::lease::Lease;
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, causes};

/// How long a quarantined work order is refused before it is tried again: a person has
/// to mend its row, and trying costs the others a failed batch.
const QUARANTINE: Duration = Duration::from_secs(30);
/// Pauses after the first and after many failures of the store in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// What every lane works with.
#[derive(Clone)]
pub(in crate::counting) struct LaneContext {
    pub(super) store: Arc<dyn Store>,
    pub(super) lease: Arc<dyn Lease>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) mailbox: Arc<Mailbox>,
    pub(super) quarantine: Arc<Quarantine>,
    /// The tasks that read what an answer still lacks.
    pub(super) readers: TaskTracker,
}

impl LaneContext {
    /// Answers what is in quarantine, and gives back the rest.
    pub(in crate::counting) fn without_quarantined(&self, work: Vec<Work>) -> Vec<Work> {
        let (held, free): (Vec<_>, Vec<_>) = work.into_iter().partition(|work| self.quarantine.holds(&work.number));
        if !held.is_empty() {
            held.into_iter().for_each(|work| self.leave_unsettled(work, Unsettled::WorkOrderQuarantined));
            self.mailbox.call();
        }
        free
    }

    /// Answers all of a work order's requests with a reason to send them again, and hands
    /// the work order back.
    pub(in crate::counting) fn leave_unsettled(&self, work: Work, why: Unsettled) {
        let number = work.number.clone();
        work.leave_unsettled(why);
        self.mailbox.done(&number);
    }

    /// Hands every work order of a batch back, those with requests left by way of `next`.
    pub(in crate::counting) fn hand_back(
        &self,
        all: &[WorkOrderNumber],
        left: Vec<Work>,
        next: impl Fn(&Work) -> Next,
    ) {
        let mut left: HashMap<WorkOrderNumber, Work> =
            left.into_iter().map(|work| (work.number.clone(), work)).collect();
        for number in all {
            match left.remove(number) {
                Some(work) => {
                    let next = next(&work);
                    self.mailbox.put_back(work, next);
                }
                None => self.mailbox.done(number),
            }
        }
    }

    /// Answers a settled batch, with the `originals` that are at hand; what it leaves is given
    /// back. Others are read by a task of their own: a reader that is slow holds no lane up, nor
    /// the work orders in its hands.
    pub(in crate::counting) fn answer(
        &self,
        settled: Settled,
        mut originals: HashMap<RequestId, Arc<Update>>,
    ) -> Vec<Work> {
        let Settled { mut answers, left } = settled;
        let is_short = |(_, answer): &(Waiting, Answer)| batch::missing_original(answer).is_some();
        if answers.iter().any(is_short) {
            originals.extend(answers.iter().filter_map(|(_, answer)| counted(answer)));
            batch::fill_originals(&mut answers, &originals);
        }
        let (short, whole): (Vec<_>, Vec<_>) = answers.into_iter().partition(is_short);
        for (waiting, answer) in whole {
            self.give(waiting, answer);
        }
        if !short.is_empty() {
            self.readers.spawn(self.clone().answer_with_originals(short));
        }
        left
    }

    /// Answers refusals that have to show which update counted the barcode.
    async fn answer_with_originals(self, mut answers: Vec<(Waiting, Answer)>) {
        let missing: Vec<RequestId> =
            answers.iter().filter_map(|(_, answer)| batch::missing_original(answer)).cloned().collect();
        match self.store.updates_by_id(&missing).await {
            Ok(found) => {
                let found = found.into_iter().map(|update| (update.request_id.clone(), Arc::new(update))).collect();
                batch::fill_originals(&mut answers, &found);
            }
            Err(error) => warn!(cause = causes(&error), "the originals of refused scans can't be read: {error}"),
        }
        for (waiting, answer) in answers {
            // It is refused for good, but can't say why now: asked again, it will.
            let answer = match batch::missing_original(&answer) {
                None => answer,
                Some(_) => Answer::Unsettled(Unsettled::StorageUnavailable),
            };
            self.give(waiting, answer);
        }
    }

    fn give(&self, waiting: Waiting, answer: Answer) {
        if let Answer::Decided { update, replayed, .. } = &answer {
            match replayed {
                true => drop(self.metrics.replays.inc()),
                false => self.metrics.update(update),
            }
        }
        waiting.answer(answer);
    }

    pub(in crate::counting) fn note_batch(&self, work: &[Work]) {
        self.metrics.batch_size.observe(f64::from(u32::try_from(requests(work)).unwrap_or(u32::MAX)));
    }

    /// Runs one call to the store and notes how long it took.
    pub(super) async fn timed<T>(
        &self,
        operation: &'static str,
        call: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let begun = Instant::now();
        let result = call.await;
        self.metrics.store_call(operation, begun.elapsed());
        result
    }
}

/// The work orders of `work`.
pub(in crate::counting) fn numbers(work: &[Work]) -> Vec<WorkOrderNumber> {
    work.iter().map(|work| work.number.clone()).collect()
}

/// How many requests there are in `work`.
pub(in crate::counting) fn requests(work: &[Work]) -> usize {
    work.iter().map(|work| work.waiting.len()).sum()
}

fn counted(answer: &Answer) -> Option<(RequestId, Arc<Update>)> {
    match answer {
        Answer::Decided { update, .. } => Some((update.request_id.clone(), Arc::clone(update))),
        Answer::KeyReused { .. } | Answer::WorkOrderUnknown | Answer::Unsettled(_) => None,
    }
}

/// The store's failures in a row, as one lane sees them.
#[derive(Default)]
pub(in crate::counting) struct FailureStreak {
    in_a_row: u32,
}

impl FailureStreak {
    /// The store has done what was asked.
    pub(in crate::counting) fn over(&mut self) {
        if self.in_a_row > 1 {
            warn!(failures = self.in_a_row, "the store answers again");
        }
        self.in_a_row = 0;
    }

    /// Notes a failure, logging the first of a row, and pauses before the next try.
    pub(super) async fn pause_after(&mut self, error: &StoreError) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row == 1 || error.outcome_unknown() && self.in_a_row.is_power_of_two() {
            warn!(cause = causes(error), failures = self.in_a_row, "{error}");
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.in_a_row.min(10).saturating_sub(1));
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
}

/// Work orders whose row lags their log: nothing is counted for them until a person has
/// looked, since every count would be wrong.
#[derive(Default)]
pub(in crate::counting) struct Quarantine {
    until: Mutex<HashMap<WorkOrderNumber, Instant>>,
}

impl Quarantine {
    pub(in crate::counting) fn add(&self, number: &WorkOrderNumber) {
        error!(work_order = %number, alarm = "work-order-quarantined",
            "the work order's row lags its log: nothing is counted for it until it is repaired");
        self.entries().insert(number.clone(), Instant::now() + QUARANTINE);
    }

    fn holds(&self, number: &WorkOrderNumber) -> bool {
        let mut entries = self.entries();
        if entries.is_empty() {
            return false;
        }
        let now = Instant::now();
        entries.retain(|_, until| now < *until);
        entries.contains_key(number)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<WorkOrderNumber, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
