//! All counting rules: what a request names, status, pattern, barcode, plan, zero, and replays.
//!
//! Facts and requests in, outcomes and changes out. Requests are judged in order of arrival. Each one
//! sees the effects of the ones before it. So a batch has the same result as its requests alone, one
//! after the other.

mod claims;
mod facts;
mod rules;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use self::claims::ClaimChanges;
use self::claims::Claims;
pub use self::facts::{Claim, ClaimKey, Facts, NamedUpdate};
use self::rules::{ClaimEffect, Effect, Present, Refusal};
use super::ids::{Fence, Owner, Principal, Quantity, RequestId, Stamp, WorkOrderNumber};
use super::request::{Ask, Request};
use super::update::{Asked, Outcome, RENDERING, Update};
use super::work_order::{BarcodePolicy, Moment, WorkOrder};

/// One request and who sent it.
#[derive(Clone, Copy, Debug)]
pub struct Arrival<'a> {
    /// What is asked.
    pub request: &'a Request,
    /// By whom.
    pub principal: &'a Principal,
}

/// The answers, and what must be written before they are given.
#[derive(Clone, Debug, Default)]
pub struct Decision {
    /// One verdict per arrival, in order.
    pub verdicts: Vec<Verdict>,
    /// What to write, sorted by work order.
    pub changes: Vec<WorkOrderChange>,
}

/// The answer to one request.
#[derive(Clone, Debug)]
pub enum Verdict {
    /// Counted or refused now. It stands once the change of its work order is written.
    Decided(Arc<Update>),
    /// The request id is decided already, and this is the same request.
    Replayed {
        /// The update.
        update: Arc<Update>,
        /// Whether this batch decides it. Then the answer stands only once the batch is written.
        in_batch: bool,
    },
    /// The request id is decided already, for another request.
    KeyReused {
        /// The update of the other request.
        update: Arc<Update>,
        /// Whether this batch decides it.
        in_batch: bool,
        /// The fields that differ.
        differs: Vec<&'static str>,
    },
    /// There is no such work order.
    WorkOrderUnknown,
    /// The update that an undo names is not known. It may still be under way.
    UpdateUnknown,
}

/// All that a batch changes in one work order. It is written whole or not at all.
#[derive(Clone, Debug)]
pub struct WorkOrderChange {
    /// The stamp that the row must still have.
    pub loaded: Stamp,
    /// The new row, with the fence and the owner of its lease, if there is one. Its `stamp` is still the
    /// loaded one: the caller sets a new random stamp, because this function is pure.
    pub row: WorkOrder,
    /// The new updates, counted and refused, in order.
    pub updates: Vec<Arc<Update>>,
    /// The net change of its claims.
    pub claims: ClaimChanges,
}

/// Judges every arrival in order.
///
/// `leases` names the lease of each work order that has one.
#[must_use]
pub fn decide(
    facts: Facts,
    arrivals: &[Arrival<'_>],
    leases: &HashMap<WorkOrderNumber, (Fence, Owner)>,
    moment: Moment,
) -> Decision {
    let Facts { mut work_orders, updates: known, named, claims } = facts;
    let mut decided: HashMap<RequestId, Arc<Update>> = HashMap::with_capacity(arrivals.len());
    let mut drafts: BTreeMap<WorkOrderNumber, WorkOrderDraft> = BTreeMap::new();
    let mut standing = Claims::of(&claims);

    let verdicts = arrivals
        .iter()
        .map(|&Arrival { request, principal }| {
            let earlier = known.get(&request.request_id).map(|update| (update, false));
            let earlier = earlier.or_else(|| decided.get(&request.request_id).map(|update| (update, true)));
            if let Some((update, in_batch)) = earlier {
                let (update, differs) = (Arc::clone(update), update.differs(request));
                return match differs.is_empty() {
                    true => Verdict::Replayed { update, in_batch },
                    false => Verdict::KeyReused { update, in_batch, differs },
                };
            }
            let draft = match drafts.get_mut(&request.work_order) {
                Some(draft) => draft,
                None => match work_orders.remove(&request.work_order) {
                    Some(row) => drafts.entry(request.work_order.clone()).or_insert(WorkOrderDraft::new(
                        row,
                        leases.get(&request.work_order),
                        moment,
                    )),
                    None => return Verdict::WorkOrderUnknown,
                },
            };
            let named = request.names().and_then(|id| draft.named(id).or_else(|| named.get(id).cloned()));
            if matches!(request.ask, Ask::Undo { .. }) && named.is_none() {
                return Verdict::UpdateUnknown;
            }
            let update = draft.settle(request, principal, named.as_ref(), &mut standing);
            decided.insert(request.request_id.clone(), Arc::clone(&update));
            Verdict::Decided(update)
        })
        .collect();

    let mut claim_changes = standing.net();
    let changes = drafts
        .into_iter()
        // A draft without updates is of undos alone whose scans are not known.
        .filter(|(_, draft)| !draft.updates.is_empty())
        .map(|(number, WorkOrderDraft { loaded, present, updates, .. })| WorkOrderChange {
            loaded,
            row: present.row,
            updates,
            claims: claim_changes.remove(&number).unwrap_or_default(),
        })
        .collect();
    Decision { verdicts, changes }
}

/// One work order while its requests are judged.
struct WorkOrderDraft {
    loaded: Stamp,
    present: Present,
    moment: Moment,
    updates: Vec<Arc<Update>>,
}

impl WorkOrderDraft {
    fn new(mut row: WorkOrder, lease: Option<&(Fence, Owner)>, moment: Moment) -> Self {
        let loaded = row.stamp;
        if let Some((fence, owner)) = lease {
            row.fence = *fence;
            row.fence_owner = Some(owner.clone());
        }
        row.updated_at = moment.now;
        Self { loaded, present: Present::of(row), moment, updates: Vec::new() }
    }

    /// An update of this work order that this batch decides. One of another work order is not known here:
    /// it may not be written in the end.
    fn named(&self, id: &RequestId) -> Option<NamedUpdate> {
        let update = self.updates.iter().find(|update| update.request_id == *id)?;
        Some(NamedUpdate { update: Arc::clone(update), is_taken_back: false, is_settled: false, released_at: None })
    }

    /// Judges one undecided request and applies its effect.
    fn settle(
        &mut self,
        request: &Request,
        principal: &Principal,
        named: Option<&NamedUpdate>,
        claims: &mut Claims<'_>,
    ) -> Arc<Update> {
        let row = &self.present.row;
        let before = row.quantity(request.counter);
        let late = row.hold.is_some() && asks_for_parts(&request.ask);
        let late = late && row.passes_over_hold(request.scanned_at, self.moment);
        let judged = self.present.judge(request, named, claims, late);
        let result = judged.map(|effect| self.apply(request, effect, claims));
        // A scan of another work order is none of this work order's parts.
        let undone = named
            .map(|named| &*named.update)
            .filter(|scan| matches!(request.ask, Ask::Undo { .. }) && scan.work_order == request.work_order);
        let update = Arc::new(self.record(request, principal, undone, (before, late), result));
        self.updates.push(Arc::clone(&update));
        update
    }

    /// Applies an effect. Returns the counter after it, and the update that it takes back.
    fn apply(&mut self, request: &Request, effect: Effect, claims: &mut Claims<'_>) -> (Quantity, Option<RequestId>) {
        let Effect { after, claim, takes_back } = effect;
        let row = &mut self.present.row;
        row.seq.0 += 1;
        row.set_quantity(request.counter, after);
        match claim {
            ClaimEffect::None => {}
            ClaimEffect::Push(key, quantity) => {
                row.barcode_counted = true;
                let ordinal = match row.plan.barcode_policy {
                    BarcodePolicy::Once => 1,
                    BarcodePolicy::Repeatable => row.seq.0,
                };
                claims.push(key, Claim { ordinal, request_id: request.request_id.clone(), quantity });
            }
            ClaimEffect::Remove(key, request_id) => claims.remove(key, &request_id),
            ClaimEffect::Release => {
                claims.release(&request.work_order, request.counter);
                self.present.released_at.insert(request.counter, row.seq);
            }
        }
        self.present.taken_back.extend(takes_back.clone());
        if let Ask::Scan { overriding: Some(overriding), .. } = &request.ask {
            self.present.settled.extend(overriding.settles.clone());
        }
        (after, takes_back)
    }

    /// The row of the log. `undone` is the scan that an undo names.
    // Long: one line per column.
    fn record(
        &self,
        request: &Request,
        principal: &Principal,
        undone: Option<&Update>,
        (before, late): (Quantity, bool),
        result: Result<(Quantity, Option<RequestId>), Refusal>,
    ) -> Update {
        let (asked, row) = (Asked::of(&request.ask), &self.present.row);
        let (seq, at_seq, outcome) = match result {
            Ok(_) => (Some(row.seq), None, Outcome::Counted),
            Err(_) => (None, Some(row.seq), Outcome::Refused),
        };
        let (after, takes_back, code, original_request_id) = match result {
            Ok((after, takes_back)) => (after, takes_back, None, None),
            Err(Refusal { code, original }) => (before, None, Some(code), original),
        };
        let sent =
            (request.barcode().map(|code| (&code.sent, &code.canonical)), &request.step.sent, &request.step.canonical);
        let (barcode, step, step_canonical) = match undone {
            Some(scan) => {
                (scan.barcode.as_ref().zip(scan.barcode_canonical.as_ref()), &scan.step, &scan.step_canonical)
            }
            None => sent,
        };
        Update {
            request_id: request.request_id.clone(),
            work_order: request.work_order.clone(),
            seq,
            at_seq,
            counter: request.counter,
            action: asked.action,
            quantity: asked.quantity,
            asked_delta: asked.delta,
            set_to: asked.set_to,
            expected: asked.expected,
            barcodes: asked.barcodes,
            undoes: asked.undoes.cloned(),
            r#override: asked.overrides,
            settles: asked.settles.cloned(),
            delta: before.to(after),
            before,
            after,
            takes_back,
            late,
            barcode: barcode.map(|(sent, _)| sent.clone()),
            barcode_canonical: barcode.map(|(_, canonical)| canonical.clone()),
            step: step.clone(),
            step_canonical: step_canonical.clone(),
            station: request.station.clone(),
            terminal: request.terminal.clone(),
            operator: request.operator.clone(),
            reason: asked.reason.map(str::to_owned),
            note: request.note.clone(),
            line: row.plan.line.clone(),
            product_code: row.plan.product_code.clone(),
            fence: row.fence,
            work_order_status: row.status,
            remaining: row.remaining(request.counter),
            scanned_at: request.scanned_at,
            recorded_at: row.updated_at,
            recorded_by: principal.clone(),
            outcome,
            code,
            original_request_id,
            rendering: RENDERING,
        }
    }
}

/// Whether it may pass over a hold that was set after it was scanned: a scan, an unbind or an undo.
fn asks_for_parts(ask: &Ask) -> bool {
    match ask {
        Ask::Scan { .. } | Ask::Unbind { .. } | Ask::Undo { .. } => true,
        Ask::Correct { .. } => false,
    }
}
