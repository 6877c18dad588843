//! A batch: what has to be looked up for it, what was decided, and which request gets which answer.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::answer::Answer;
use super::queue::{WaitingRequest, Work};
use crate::clock;
use crate::domain::decide::{Arrival, ClaimKey, Decision, Facts, Verdict, decide};
use crate::domain::ids::{Fence, Owner, RequestId, Stamp, WorkOrderNumber};
use crate::domain::request::Ask;
use crate::domain::update::Update;
use crate::domain::work_order::Moment;
use crate::store::{Batch, Wanted, Written};

/// Collects what a batch needs to have looked up.
#[derive(Default)]
pub(super) struct LoadRequest {
    work_orders: BTreeSet<WorkOrderNumber>,
    request_ids: BTreeSet<RequestId>,
    /// Per barcode, how many unbinds the batch has of it.
    claims: BTreeMap<ClaimKey, i64>,
    /// Updates that undos and overrides name.
    named: BTreeSet<RequestId>,
    /// Per work order, how many undos the batch has of it. It is not known yet of which barcodes.
    undos: HashMap<WorkOrderNumber, i64>,
}

impl LoadRequest {
    /// Everything about these requests.
    pub(super) fn all(work: &[Work]) -> Wanted {
        let mut request = Self::default();
        for work in work {
            request.work_order(&work.number);
            for waiting in &work.waiting {
                request.request(waiting);
            }
        }
        request.wanted()
    }

    pub(super) fn work_order(&mut self, number: &WorkOrderNumber) {
        self.work_orders.insert(number.clone());
    }

    pub(super) fn request(&mut self, waiting: &WaitingRequest) {
        self.request_ids.insert(waiting.request.request_id.clone());
        if let Some(key) = ClaimKey::of(&waiting.request) {
            let unbinds = self.claims.entry(key).or_default();
            if matches!(waiting.request.ask, Ask::Unbind { .. }) {
                *unbinds += 1;
            }
        }
        self.named.extend(waiting.request.names().cloned());
        if matches!(waiting.request.ask, Ask::Undo { .. }) {
            *self.undos.entry(waiting.request.work_order.clone()).or_default() += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.work_orders.is_empty() && self.request_ids.is_empty()
    }

    pub(super) fn wanted(self) -> Wanted {
        Wanted {
            work_orders: self.work_orders.into_iter().collect(),
            request_ids: self.request_ids.into_iter().collect(),
            claims: self
                .claims
                .into_iter()
                .map(|(key, unbinds)| {
                    let undos = self.undos.get(&key.work_order).copied().unwrap_or_default();
                    (key, unbinds + undos + 1)
                })
                .collect(),
            named: self.named.into_iter().collect(),
        }
    }
}

/// What a batch relies on though no load has looked it up: request ids that seem undecided, and
/// barcodes that seem not counted. If that is wrong, the guarded write finds out, and does not write
/// the work order.
#[derive(Default)]
pub(super) struct Unverified {
    pub(super) request_ids: HashSet<RequestId>,
    pub(super) barcodes: HashSet<ClaimKey>,
}

impl Unverified {
    /// A load has looked these up.
    pub(super) fn loaded(&mut self, wanted: &Wanted) {
        for id in &wanted.request_ids {
            self.request_ids.remove(id);
        }
        for (key, _) in &wanted.claims {
            self.barcodes.remove(key);
        }
    }
}

/// What was decided about a batch, before it is written.
pub(super) struct Decided {
    verdicts: Vec<Verdict>,
    /// What to write.
    pub(super) batch: Batch,
}

impl Decided {
    /// Adds what was decided about other work orders. Their verdicts come after these.
    pub(super) fn extend(&mut self, other: Self) {
        let Self { verdicts, batch: Batch { changes, unverified, unclaimed } } = other;
        self.verdicts.extend(verdicts);
        self.batch.changes.extend(changes);
        self.batch.changes.sort_unstable_by(|one, other| one.row.work_order.cmp(&other.row.work_order));
        self.batch.unverified.extend(unverified);
        self.batch.unclaimed.extend(unclaimed);
    }

    /// The request ids that it decides.
    pub(super) fn request_ids(&self) -> impl Iterator<Item = &RequestId> {
        self.batch.changes.iter().flat_map(|change| &change.updates).map(|update| &update.request_id)
    }

    /// The work orders that were not written because they have a repeat, or a barcode that is already
    /// counted.
    pub(super) fn blocked_by(&self, written: &Written) -> HashSet<WorkOrderNumber> {
        let known: HashSet<&RequestId> = written.known.iter().map(|update| &update.request_id).collect();
        let repeats = self.batch.unverified.iter().filter(|(id, _)| known.contains(id)).map(|(_, number)| number);
        let counted = written.claimed.iter().map(|(key, _)| &key.work_order);
        repeats.chain(counted).cloned().collect()
    }
}

/// Decides about all of `work`. For now it assumes that the store has nothing of what is `unverified`.
/// `late_scans`: see [`Moment`].
pub(super) fn judge(
    facts: Facts,
    work: &[Work],
    leases: &HashMap<WorkOrderNumber, (Fence, Owner)>,
    unverified: Unverified,
    late_scans: Option<Duration>,
) -> Decided {
    let moment = Moment { now: clock::now(), late_scans };
    let waiting = work.iter().flat_map(|work| &work.waiting);
    let arrivals: Vec<Arrival<'_>> =
        waiting.map(|waiting| Arrival { request: &waiting.request, principal: &waiting.principal }).collect();
    let Decision { verdicts, mut changes } = decide(facts, &arrivals, leases, moment);
    for change in &mut changes {
        change.row.stamp = Stamp(rand::random());
    }
    let ids = changes
        .iter()
        .flat_map(|change| &change.updates)
        .filter(|update| unverified.request_ids.contains(&update.request_id))
        .map(|update| (update.request_id.clone(), update.work_order.clone()))
        .collect();
    let unclaimed = unverified.barcodes.into_iter().collect();
    Decided { verdicts, batch: Batch { changes, unverified: ids, unclaimed } }
}

/// The updates in `facts` that counted the barcodes of its claims.
pub(super) fn originals(facts: &Facts) -> HashMap<RequestId, Arc<Update>> {
    let claims = facts.claims.values().flatten();
    claims
        .filter_map(|claim| facts.updates.get_key_value(&claim.request_id))
        .map(|(id, update)| (id.clone(), Arc::clone(update)))
        .collect()
}

/// The result of a written batch.
pub(super) struct Settled {
    /// Requests and their answers. An answer whose `original` is still to be read has `None`.
    pub(super) answers: Vec<(WaitingRequest, Answer)>,
    /// Work orders that did not pass, with what is left of their requests.
    pub(super) left: Vec<Work>,
}

/// Separates the answers that are final from the work that has to be done again. `passed` are the work
/// orders that were written.
pub(super) fn settle(work: Vec<Work>, decided: Decided, passed: &HashSet<WorkOrderNumber>) -> Settled {
    let Decided { verdicts, batch } = decided;
    let missed: HashSet<&WorkOrderNumber> =
        batch.changes.iter().map(|change| &change.row.work_order).filter(|number| !passed.contains(number)).collect();
    let mut verdicts = verdicts.into_iter();
    let mut settled = Settled { answers: Vec::with_capacity(verdicts.len()), left: Vec::new() };
    for Work { number, waiting, lost_under, busy_since } in work {
        let mut left = Vec::new();
        for waiting in waiting {
            let verdict = verdicts.next().expect("there is one verdict per request");
            match answer(verdict, &missed) {
                Some(answer) => settled.answers.push((waiting, answer)),
                None => left.push(waiting),
            }
        }
        if !left.is_empty() {
            settled.left.push(Work { number, waiting: left, lost_under, busy_since });
        }
    }
    settled
}

/// The answer for a verdict, unless what the verdict relies on was not written.
fn answer(verdict: Verdict, missed: &HashSet<&WorkOrderNumber>) -> Option<Answer> {
    let stands = |update: &Update, in_batch: bool| !in_batch || !missed.contains(&update.work_order);
    match verdict {
        Verdict::Decided(update) => {
            stands(&update, true).then_some(Answer::Decided { update, replayed: false, original: None })
        }
        Verdict::Replayed { update, in_batch } => {
            stands(&update, in_batch).then_some(Answer::Decided { update, replayed: true, original: None })
        }
        Verdict::KeyReused { update, in_batch, differs } => {
            stands(&update, in_batch).then_some(Answer::KeyReused { update, differs })
        }
        Verdict::WorkOrderUnknown => Some(Answer::WorkOrderUnknown),
        Verdict::UpdateUnknown => Some(Answer::UpdateUnknown),
    }
}

/// The update that counted the barcode, if this answer is refused for that and lacks the update.
pub(super) fn missing_original(answer: &Answer) -> Option<&RequestId> {
    match answer {
        Answer::Decided { update, original: None, .. } => update.original_request_id.as_ref(),
        Answer::Decided { original: Some(_), .. }
        | Answer::KeyReused { .. }
        | Answer::WorkOrderUnknown
        | Answer::UpdateUnknown
        | Answer::Unsettled(_) => None,
    }
}

/// Fills in the originals that are in `known`.
pub(super) fn fill_originals(answers: &mut [(WaitingRequest, Answer)], known: &HashMap<RequestId, Arc<Update>>) {
    for (_, answer) in answers {
        if let Answer::Decided { update, original: original @ None, .. } = answer
            && let Some(id) = &update.original_request_id
        {
            *original = known.get(id).cloned();
        }
    }
}
