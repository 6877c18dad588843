//! All counting rules: status, barcode, plan, zero, and replays.
//!
//! Facts and requests in, outcomes and changes out. Requests are judged in order of arrival. Each one
//! sees the effects of the ones before it. So a batch has the same result as its requests alone, one
//! after the other.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::Deserialize;

use super::ids::{Fence, Owner, Principal, Quantity, RequestId, Stamp, WorkOrderNumber};
use super::request::{Ask, Change, Counter, Request};
use super::time::Timestamp;
use super::update::{Asked, Outcome, RENDERING, RefusalCode, Update};
use super::work_order::{BarcodePolicy, WorkOrder};

/// What the store knows about a batch of requests.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The work orders that exist.
    pub work_orders: HashMap<WorkOrderNumber, WorkOrder>,
    /// The updates of those request ids that are decided already.
    pub updates: HashMap<RequestId, Arc<Update>>,
    /// The standing claims, oldest first. Of each barcode: the newest n + 1, where n is the number of its
    /// unbinds in the batch.
    pub claims: HashMap<ClaimKey, Vec<Claim>>,
}

/// The place of a claim: a barcode counts there once, unless barcodes are repeatable.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
pub struct ClaimKey {
    /// The work order.
    pub work_order: WorkOrderNumber,
    /// The counter.
    pub counter: Counter,
    /// The step in canonical form.
    pub step: String,
    /// The barcode in canonical form.
    pub barcode: String,
}

impl ClaimKey {
    /// The key of the claim that a request makes or removes. `None` if it has no barcode.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        Some(Self {
            work_order: request.work_order.clone(),
            counter: request.counter,
            step: request.step.canonical.clone(),
            barcode: request.barcode()?.canonical.clone(),
        })
    }
}

/// A standing count of a barcode.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Claim {
    /// 1 for the first standing count. Above 1 only if barcodes are repeatable.
    pub ordinal: i64,
    /// The update that counted it.
    pub request_id: RequestId,
    /// How many pieces it counted.
    pub quantity: Quantity,
}

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

/// The net change of claims: three disjoint sets. In one statement, deleting and inserting the same key
/// would have no order (pitfall 39).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClaimChanges {
    /// Claims that no longer stand.
    pub delete: Vec<(ClaimKey, Claim)>,
    /// Claims that another update now holds.
    pub take_over: Vec<(ClaimKey, Claim)>,
    /// New claims.
    pub insert: Vec<(ClaimKey, Claim)>,
}

/// Judges every arrival in order.
///
/// `leases` names the lease of each work order that has one; `now` becomes
/// `recorded_at`.
#[must_use]
pub fn decide(
    facts: Facts,
    arrivals: &[Arrival<'_>],
    leases: &HashMap<WorkOrderNumber, (Fence, Owner)>,
    now: Timestamp,
) -> Decision {
    let Facts { mut work_orders, updates: known, claims } = facts;
    let mut decided: HashMap<RequestId, Arc<Update>> = HashMap::with_capacity(arrivals.len());
    let mut drafts: BTreeMap<WorkOrderNumber, WorkOrderDraft> = BTreeMap::new();
    let mut stacks = Claims { loaded: &claims, now: HashMap::new() };

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
                        now,
                    )),
                    None => return Verdict::WorkOrderUnknown,
                },
            };
            let update = draft.settle(request, principal, &mut stacks);
            decided.insert(request.request_id.clone(), Arc::clone(&update));
            Verdict::Decided(update)
        })
        .collect();

    let mut claim_changes = stacks.net();
    let changes = drafts
        .into_iter()
        .map(|(number, WorkOrderDraft { loaded, row, updates })| WorkOrderChange {
            loaded,
            row,
            updates,
            claims: claim_changes.remove(&number).unwrap_or_default(),
        })
        .collect();
    Decision { verdicts, changes }
}

/// One work order while its requests are judged.
struct WorkOrderDraft {
    loaded: Stamp,
    row: WorkOrder,
    updates: Vec<Arc<Update>>,
}

/// The effect of an accepted request: the new value of its counter, and what happens to its claim.
struct Effect {
    after: Quantity,
    claim: ClaimEffect,
}

enum ClaimEffect {
    None,
    Push(ClaimKey, Quantity),
    Pop(ClaimKey),
}

struct Refusal {
    code: RefusalCode,
    original: Option<RequestId>,
}

impl From<RefusalCode> for Refusal {
    fn from(code: RefusalCode) -> Self {
        Self { code, original: None }
    }
}

impl WorkOrderDraft {
    fn new(mut row: WorkOrder, lease: Option<&(Fence, Owner)>, now: Timestamp) -> Self {
        let loaded = row.stamp;
        if let Some((fence, owner)) = lease {
            row.fence = *fence;
            row.fence_owner = Some(owner.clone());
        }
        row.updated_at = now;
        Self { loaded, row, updates: Vec::new() }
    }

    /// Judges one undecided request and applies its effect.
    fn settle(&mut self, request: &Request, principal: &Principal, claims: &mut Claims<'_>) -> Arc<Update> {
        let counter = request.counter;
        let before = self.row.quantity(counter);
        let (after, refusal) = match judge(&self.row, request, claims) {
            Ok(Effect { after, claim }) => {
                self.row.seq.0 += 1;
                self.row.set_quantity(counter, after);
                match claim {
                    ClaimEffect::None => {}
                    ClaimEffect::Push(key, quantity) => {
                        self.row.barcode_counted = true;
                        claims.push(key, request.request_id.clone(), quantity);
                    }
                    ClaimEffect::Pop(key) => claims.pop(&key),
                }
                (after, None)
            }
            Err(refusal) => (before, Some(refusal)),
        };
        let update = Arc::new(self.record(request, principal, before, after, refusal));
        self.updates.push(Arc::clone(&update));
        update
    }

    fn record(
        &self,
        request: &Request,
        principal: &Principal,
        before: Quantity,
        after: Quantity,
        refusal: Option<Refusal>,
    ) -> Update {
        let asked = Asked::of(&request.ask);
        let (seq, at_seq, outcome) = match refusal {
            None => (Some(self.row.seq), None, Outcome::Counted),
            Some(_) => (None, Some(self.row.seq), Outcome::Refused),
        };
        let (code, original_request_id) = match refusal {
            None => (None, None),
            Some(Refusal { code, original }) => (Some(code), original),
        };
        let barcode = request.barcode();
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
            delta: before.to(after),
            before,
            after,
            barcode: barcode.map(|barcode| barcode.sent.clone()),
            barcode_canonical: barcode.map(|barcode| barcode.canonical.clone()),
            step: request.step.sent.clone(),
            step_canonical: request.step.canonical.clone(),
            station: request.station.clone(),
            terminal: request.terminal.clone(),
            operator: request.operator.clone(),
            reason: asked.reason.map(str::to_owned),
            note: request.note.clone(),
            line: self.row.plan.line.clone(),
            product_code: self.row.plan.product_code.clone(),
            fence: self.row.fence,
            work_order_status: self.row.status,
            remaining: self.row.remaining(request.counter),
            scanned_at: request.scanned_at,
            recorded_at: self.row.updated_at,
            recorded_by: principal.clone(),
            outcome,
            code,
            original_request_id,
            rendering: RENDERING,
        }
    }
}

/// The rules, in this order: status, barcode (for a correction: `expected`), plan, zero.
fn judge(row: &WorkOrder, request: &Request, claims: &Claims<'_>) -> Result<Effect, Refusal> {
    let counter = request.counter;
    let before = row.quantity(counter);
    match &request.ask {
        Ask::Scan { quantity, barcode: _ } => {
            open(row.status.takes_scans())?;
            let claim = match ClaimKey::of(request) {
                None => ClaimEffect::None,
                Some(key) => {
                    if let (BarcodePolicy::Once, Some(standing)) = (row.plan.barcode_policy, claims.newest(&key)) {
                        let original = Some(standing.request_id.clone());
                        return Err(Refusal { code: RefusalCode::BarcodeAlreadyCounted, original });
                    }
                    ClaimEffect::Push(key, *quantity)
                }
            };
            let after = moved(before, quantity.get())?;
            if !row.plan_allows(counter, after) {
                return Err(RefusalCode::OverPlan.into());
            }
            Ok(Effect { after, claim })
        }
        Ask::Unbind { .. } => {
            open(row.status.takes_scans())?;
            let standing = ClaimKey::of(request).and_then(|key| Some((claims.newest(&key)?.quantity, key)));
            let (quantity, key) = standing.ok_or(RefusalCode::BarcodeNotCounted)?;
            Ok(Effect { after: moved(before, -quantity.get())?, claim: ClaimEffect::Pop(key) })
        }
        Ask::Correct { change, expected, reason: _ } => {
            open(row.status.takes_corrections())?;
            if expected.is_some_and(|expected| expected != before) {
                return Err(RefusalCode::NotAsExpected.into());
            }
            let after = match change {
                Change::Delta(delta) => moved(before, delta.get())?,
                Change::SetTo(quantity) => *quantity,
            };
            Ok(Effect { after, claim: ClaimEffect::None })
        }
    }
}

fn open(takes_it: bool) -> Result<(), Refusal> {
    if takes_it { Ok(()) } else { Err(RefusalCode::WorkOrderNotOpen.into()) }
}

/// `before` plus `pieces`. Above `QUANTITY_LIMIT`: refused as over plan, whatever the plan.
fn moved(before: Quantity, pieces: i64) -> Result<Quantity, Refusal> {
    let after = before.get() + pieces;
    match Quantity::new(after) {
        Some(after) => Ok(after),
        None if after < 0 => Err(RefusalCode::BelowZero.into()),
        None => Err(RefusalCode::OverPlan.into()),
    }
}

/// The claims as they were loaded, and as they are now, after the requests judged so far.
struct Claims<'a> {
    loaded: &'a HashMap<ClaimKey, Vec<Claim>>,
    now: HashMap<ClaimKey, Vec<Claim>>,
}

impl Claims<'_> {
    fn standing(&self, key: &ClaimKey) -> &[Claim] {
        self.now.get(key).or_else(|| self.loaded.get(key)).map_or(&[], Vec::as_slice)
    }

    fn newest(&self, key: &ClaimKey) -> Option<&Claim> {
        self.standing(key).last()
    }

    fn push(&mut self, key: ClaimKey, request_id: RequestId, quantity: Quantity) {
        let ordinal = self.newest(&key).map_or(0, |claim| claim.ordinal) + 1;
        self.touch(key).push(Claim { ordinal, request_id, quantity });
    }

    fn pop(&mut self, key: &ClaimKey) {
        self.touch(key.clone()).pop();
    }

    fn touch(&mut self, key: ClaimKey) -> &mut Vec<Claim> {
        let loaded = self.loaded;
        self.now.entry(key).or_insert_with_key(|key| loaded.get(key).cloned().unwrap_or_default())
    }

    /// What has to be written, per work order: the loaded claims compared with those now, by ordinal.
    fn net(self) -> HashMap<WorkOrderNumber, ClaimChanges> {
        let mut changes: HashMap<WorkOrderNumber, ClaimChanges> = HashMap::new();
        for (key, standing) in self.now {
            let loaded = self.loaded.get(&key).map_or(&[][..], Vec::as_slice);
            let change = changes.entry(key.work_order.clone()).or_default();
            let same_place =
                |other: &[Claim], claim: &Claim| other.iter().find(|c| c.ordinal == claim.ordinal).cloned();
            for claim in loaded.iter().filter(|claim| same_place(&standing, claim).is_none()) {
                change.delete.push((key.clone(), claim.clone()));
            }
            for claim in standing {
                match same_place(loaded, &claim) {
                    None => change.insert.push((key.clone(), claim)),
                    Some(was) if was != claim => change.take_over.push((key.clone(), claim)),
                    Some(_) => {}
                }
            }
        }
        changes
    }
}
