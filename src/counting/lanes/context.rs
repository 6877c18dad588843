//! What every lane works with: how it returns work, and how it gives answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio_util::task::TaskTracker;
use tracing::warn;

use super::quarantine::Quarantine;
use crate::counting::answer::{Answer, Unsettled};
use crate::counting::batch::{self, Settled};
use crate::counting::queue::{Next, Queues, WaitingRequest, Work, requests};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::lease::Lease;
use crate::store::{Store, StoreError};
use crate::telemetry::{Metrics, causes};

/// What every lane works with.
#[derive(Clone)]
pub(in crate::counting) struct LaneContext {
    pub(in crate::counting) store: Arc<dyn Store>,
    pub(in crate::counting) lease: Arc<dyn Lease>,
    pub(in crate::counting) metrics: Arc<Metrics>,
    pub(in crate::counting) queues: Arc<Queues>,
    pub(in crate::counting) quarantine: Arc<Quarantine>,
    /// The tasks that read the originals which answers still lack.
    pub(in crate::counting) readers: TaskTracker,
    /// How long ago a late scan may have been made; see `Settings`.
    pub(in crate::counting) late_scans: Option<Duration>,
}

impl LaneContext {
    /// Answers what is in quarantine. Returns the rest.
    pub(in crate::counting) fn without_quarantined(&self, work: Vec<Work>) -> Vec<Work> {
        let (held, free): (Vec<_>, Vec<_>) = work.into_iter().partition(|work| self.quarantine.holds(&work.number));
        if !held.is_empty() {
            held.into_iter().for_each(|work| self.leave_unsettled(work, Unsettled::WorkOrderQuarantined));
            self.queues.wake_lanes();
        }
        free
    }

    /// Answers all of a work order's requests with a reason to retry them, and returns the work order to
    /// the queues.
    pub(in crate::counting) fn leave_unsettled(&self, work: Work, why: Unsettled) {
        let number = work.number.clone();
        work.leave_unsettled(why);
        self.queues.done(&number);
    }

    /// Returns every work order of a batch to the queues. Those with requests left go where `next` says.
    pub(in crate::counting) fn return_batch(
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
                    self.queues.return_work(work, next);
                }
                None => self.queues.done(number),
            }
        }
    }

    /// Answers a settled batch, with the `originals` that are known. Returns what is left to do. Other
    /// originals are read by a separate task, so that a slow read delays no lane and no work order.
    pub(in crate::counting) fn answer(
        &self,
        settled: Settled,
        mut originals: HashMap<RequestId, Arc<Update>>,
    ) -> Vec<Work> {
        let Settled { mut answers, left } = settled;
        let is_short = |(_, answer): &(WaitingRequest, Answer)| batch::missing_original(answer).is_some();
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
    async fn answer_with_originals(self, mut answers: Vec<(WaitingRequest, Answer)>) {
        let missing: Vec<RequestId> =
            answers.iter().filter_map(|(_, answer)| batch::missing_original(answer)).cloned().collect();
        match self.store.updates_by_id(&missing).await {
            Ok(found) => {
                let found = found.into_iter().map(|update| (update.request_id.clone(), Arc::new(update))).collect();
                batch::fill_originals(&mut answers, &found);
            }
            Err(error) => warn!(
                cause = causes(&error),
                "the originals of refused scans can't be read, so the clients have to retry: {error}"
            ),
        }
        for (waiting, answer) in answers {
            // It is refused for good, but the reason can't be shown now. A retry will show it.
            let answer = match batch::missing_original(&answer) {
                None => answer,
                Some(_) => Answer::Unsettled(Unsettled::StorageUnavailable),
            };
            self.give(waiting, answer);
        }
    }

    fn give(&self, waiting: WaitingRequest, answer: Answer) {
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
    pub(in crate::counting) async fn timed<T>(
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

fn counted(answer: &Answer) -> Option<(RequestId, Arc<Update>)> {
    match answer {
        Answer::Decided { update, .. } => Some((update.request_id.clone(), Arc::clone(update))),
        Answer::KeyReused { .. } | Answer::WorkOrderUnknown | Answer::UpdateUnknown | Answer::Unsettled(_) => None,
    }
}
