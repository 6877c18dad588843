//! The rules of counting, for one request and one work order.

use std::collections::{HashMap, HashSet};

use super::claims::Claims;
use super::facts::{ClaimKey, NamedUpdate};
use crate::domain::ids::{Quantity, RequestId, Seq};
use crate::domain::request::{Ask, Barcodes, Change, Counter, Override, Request};
use crate::domain::update::{Action, Outcome, RefusalCode, Update};
use crate::domain::work_order::{BarcodePolicy, WorkOrder};

/// The effect of an accepted request: the new value of its counter, and what happens to claims.
pub(super) struct Effect {
    pub after: Quantity,
    pub claim: ClaimEffect,
    /// The update that it takes back.
    pub takes_back: Option<RequestId>,
}

pub(super) enum ClaimEffect {
    None,
    Push(ClaimKey, Quantity),
    /// Removes the claim that this update made.
    Remove(ClaimKey, RequestId),
    /// Removes all claims of the counter.
    Release,
}

pub(super) struct Refusal {
    pub code: RefusalCode,
    pub original: Option<RequestId>,
}

impl From<RefusalCode> for Refusal {
    fn from(code: RefusalCode) -> Self {
        Self { code, original: None }
    }
}

/// What is true of a work order after the requests judged so far.
pub(super) struct Present {
    pub row: WorkOrder,
    /// The updates that this batch has taken back.
    pub taken_back: HashSet<RequestId>,
    /// The refused scans that this batch has settled.
    pub settled: HashSet<RequestId>,
    /// The releases of this batch.
    pub released_at: HashMap<Counter, Seq>,
}

impl Present {
    pub(super) fn of(row: WorkOrder) -> Self {
        Self { row, taken_back: HashSet::new(), settled: HashSet::new(), released_at: HashMap::new() }
    }

    /// Judges a request, in this order: the update that it names, status, pattern, barcode (for a
    /// correction: `expected`), plan, zero.
    ///
    /// `named` is the update that an undo or an override names. `late` says that the hold is passed over.
    pub(super) fn judge(
        &self,
        request: &Request,
        named: Option<&NamedUpdate>,
        claims: &Claims<'_>,
        late: bool,
    ) -> Result<Effect, Refusal> {
        let before = self.row.quantity(request.counter);
        match &request.ask {
            Ask::Scan { quantity, overriding, .. } => {
                self.judge_scan(request, (*quantity, overriding.as_ref()), named, claims, late)
            }
            Ask::Unbind { .. } => {
                open(late || self.row.status.takes_scans())?;
                let standing = ClaimKey::of(request).and_then(|key| Some((claims.newest(&key)?, key)));
                let (claim, key) = standing.ok_or(RefusalCode::BarcodeNotCounted)?;
                let (after, taken_back) = (moved(before, -claim.quantity.get())?, claim.request_id.clone());
                let takes_back = Some(taken_back.clone());
                Ok(Effect { after, claim: ClaimEffect::Remove(key, taken_back), takes_back })
            }
            Ask::Undo { undoes } => {
                let named = named.filter(|named| self.can_be_undone(named, request, claims));
                let scan = &named.ok_or(RefusalCode::NothingToUndo)?.update;
                open(late || self.row.status.takes_scans())?;
                let claim = match ClaimKey::of_update(scan) {
                    None => ClaimEffect::None,
                    Some(key) => ClaimEffect::Remove(key, undoes.clone()),
                };
                Ok(Effect { after: moved(before, -scan.delta.get())?, claim, takes_back: Some(undoes.clone()) })
            }
            Ask::Correct { change, expected, reason: _ } => {
                open(self.row.status.takes_corrections())?;
                if expected.is_some_and(|expected| expected != before) {
                    return Err(RefusalCode::NotAsExpected.into());
                }
                let (after, claim) = match change {
                    Change::Delta(delta) => (moved(before, delta.get())?, ClaimEffect::None),
                    Change::SetTo(quantity, Barcodes::Keep) => (*quantity, ClaimEffect::None),
                    Change::SetTo(quantity, Barcodes::Release) => (*quantity, ClaimEffect::Release),
                };
                Ok(Effect { after, claim, takes_back: None })
            }
        }
    }

    /// An override passes over hold, pattern and plan. The barcode counts once all the same.
    fn judge_scan(
        &self,
        request: &Request,
        (quantity, overriding): (Quantity, Option<&Override>),
        named: Option<&NamedUpdate>,
        claims: &Claims<'_>,
        late: bool,
    ) -> Result<Effect, Refusal> {
        let (row, overrides) = (&self.row, overriding.is_some());
        if overriding.is_some_and(|overriding| overriding.settles.is_some())
            && !named.is_some_and(|named| self.can_be_settled(named, request))
        {
            return Err(RefusalCode::AlreadySettled.into());
        }
        open(overrides || late || row.status.takes_scans())?;
        if let (false, Some(pattern), Some(barcode)) = (overrides, &row.plan.barcode_pattern, request.barcode())
            && !pattern.matches(&barcode.canonical)
        {
            return Err(RefusalCode::BarcodeMismatch.into());
        }
        let claim = match ClaimKey::of(request) {
            None => ClaimEffect::None,
            Some(key) => {
                if let (BarcodePolicy::Once, Some(standing)) = (row.plan.barcode_policy, claims.newest(&key)) {
                    let original = Some(standing.request_id.clone());
                    return Err(Refusal { code: RefusalCode::BarcodeAlreadyCounted, original });
                }
                ClaimEffect::Push(key, quantity)
            }
        };
        let after = moved(row.quantity(request.counter), quantity.get())?;
        if !overrides && !row.plan_allows(request.counter, after) {
            return Err(RefusalCode::OverPlan.into());
        }
        Ok(Effect { after, claim, takes_back: None })
    }

    /// Whether an undo can take this update back: it is a counted scan of this work order and counter,
    /// it was not taken back, its claim stands, and no release of the counter came after it.
    fn can_be_undone(&self, named: &NamedUpdate, request: &Request, claims: &Claims<'_>) -> bool {
        let NamedUpdate { update, is_taken_back, released_at, .. } = named;
        let released_at = self.released_at.get(&request.counter).copied().max(*released_at);
        is_of(update, request, Action::Scan, Outcome::Counted)
            && !is_taken_back
            && !self.taken_back.contains(&update.request_id)
            && update.seq > released_at
            && ClaimKey::of_update(update).is_none_or(|key| claims.made_by(&key, &update.request_id).is_some())
    }

    /// Whether an override can settle this update: it is a refused scan of this work order and counter,
    /// a person may count it, and nobody has.
    fn can_be_settled(&self, named: &NamedUpdate, request: &Request) -> bool {
        let NamedUpdate { update, is_settled, .. } = named;
        is_of(update, request, Action::Scan, Outcome::Refused)
            && update.code.is_some_and(RefusalCode::can_be_settled)
            && !is_settled
            && !self.settled.contains(&update.request_id)
    }
}

fn is_of(update: &Update, request: &Request, action: Action, outcome: Outcome) -> bool {
    let same = update.work_order == request.work_order && update.counter == request.counter;
    same && update.action == action && update.outcome == outcome
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
