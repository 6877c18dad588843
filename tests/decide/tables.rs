//! A store of plain maps: it gives `decide` what a load finds, applies a decision's net changes, and
//! refuses what a database would refuse.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use scanfence::domain::barcode::BarcodePattern;
use scanfence::domain::decide::{Claim, ClaimKey, Decision, Facts, NamedUpdate};
use scanfence::domain::ids::{Quantity, RequestId, Revision, Stamp, WorkOrderNumber};
use scanfence::domain::request::{Ask, Barcodes, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::Update;
use scanfence::domain::work_order::{BarcodePolicy, Edit, Fresh, Hold, Moment, Plan, Precondition, WorkOrder};

/// How long ago a late scan may have been made.
pub const LATE_SCANS: Duration = Duration::from_secs(45 * 60);

/// When a batch is decided: ten minutes after the one before it.
pub fn at(batch: i64) -> Timestamp {
    Timestamp::parse(&format!("2026-01-03T{:02}:{:02}:54.131Z", 1 + batch / 6, batch % 6 * 10)).unwrap()
}

/// The moment of a batch.
pub fn moment(batch: i64) -> Moment {
    Moment { now: at(batch), late_scans: Some(LATE_SCANS) }
}

#[derive(Default)]
pub struct Tables {
    pub orders: HashMap<WorkOrderNumber, WorkOrder>,
    pub log: HashMap<RequestId, Arc<Update>>,
    pub claims: HashMap<ClaimKey, Vec<Claim>>,
}

impl Tables {
    /// What a load finds for a batch: of each barcode, only as many claims as it promises.
    pub fn facts(&self, batch: &[Request]) -> Facts {
        let mut claims: HashMap<ClaimKey, Vec<Claim>> = HashMap::new();
        for key in batch.iter().filter_map(ClaimKey::of) {
            let takes_back = |request: &&Request| match request.ask {
                Ask::Unbind { .. } => ClaimKey::of(request).as_ref() == Some(&key),
                Ask::Undo { .. } => request.work_order == key.work_order,
                Ask::Scan { .. } | Ask::Correct { .. } => false,
            };
            let depth = 1 + batch.iter().filter(takes_back).count();
            let standing = self.claims.get(&key).map(Vec::as_slice).unwrap_or_default();
            claims.insert(key, standing[standing.len().saturating_sub(depth)..].to_vec());
        }
        let named: HashMap<RequestId, NamedUpdate> =
            batch.iter().filter_map(Request::names).filter_map(|id| Some((id.clone(), self.named(id)?))).collect();
        for NamedUpdate { update, .. } in named.values() {
            let Some(key) = ClaimKey::of_update(update) else { continue };
            let made = self.claims.get(&key).into_iter().flatten().find(|claim| claim.request_id == update.request_id);
            let found = claims.entry(key).or_default();
            if let Some(made) = made.filter(|made| !found.contains(made)) {
                found.push(made.clone());
            }
            found.sort_by_key(|claim| claim.ordinal);
        }
        Facts { work_orders: self.orders.clone(), updates: self.log.clone(), named, claims }
    }

    fn named(&self, id: &RequestId) -> Option<NamedUpdate> {
        let update = Arc::clone(self.log.get(id)?);
        let releases = self.log.values().filter(|row| {
            row.work_order == update.work_order
                && row.counter == update.counter
                && row.barcodes == Some(Barcodes::Release)
        });
        Some(NamedUpdate {
            is_taken_back: self.log.values().any(|row| row.takes_back.as_ref() == Some(id)),
            is_settled: self.log.values().any(|row| row.seq.is_some() && row.settles.as_ref() == Some(id)),
            released_at: releases.filter_map(|row| row.seq).max(),
            update,
        })
    }

    pub fn edit(&mut self, number: &str, edit: &Edit, batch: i64) {
        let row = edited(number, self.orders.get(&WorkOrderNumber::parse(number).unwrap()), edit, batch);
        self.orders.insert(row.work_order.clone(), row);
    }

    pub fn write(&mut self, decision: &Decision) {
        for change in &decision.changes {
            self.orders.insert(change.row.work_order.clone(), change.row.clone());
            for update in &change.updates {
                assert!(self.log.insert(update.request_id.clone(), update.clone()).is_none(), "a request id is unique");
            }
            for counter in &change.claims.release {
                self.claims.retain(|key, _| key.work_order != change.row.work_order || key.counter != *counter);
            }
            let sets = [&change.claims.delete, &change.claims.take_over, &change.claims.insert];
            let mut keys = HashSet::new();
            for (key, claim) in sets.into_iter().flatten() {
                assert!(keys.insert((key, claim.ordinal)), "the three sets are disjoint");
            }
            for (key, claim) in &change.claims.delete {
                let standing = self.claims.get_mut(key).unwrap();
                let place = standing.iter().position(|c| c == claim).unwrap();
                standing.remove(place);
            }
            for (key, claim) in &change.claims.take_over {
                let standing = self.claims.get_mut(key).unwrap();
                *standing.iter_mut().find(|c| c.ordinal == claim.ordinal).unwrap() = claim.clone();
            }
            for (key, claim) in &change.claims.insert {
                let standing = self.claims.entry(key.clone()).or_default();
                assert!(standing.iter().all(|c| c.ordinal != claim.ordinal), "the primary key is free");
                standing.push(claim.clone());
                standing.sort_by_key(|c| c.ordinal);
            }
        }
        assert_unique(self.log.values().filter_map(|row| row.takes_back.as_ref()), "an update is taken back once");
        let settled = self.log.values().filter(|row| row.seq.is_some()).filter_map(|row| row.settles.as_ref());
        assert_unique(settled, "a refused scan is settled once");
    }
}

fn assert_unique<'a>(ids: impl Iterator<Item = &'a RequestId>, rule: &str) {
    let mut seen = HashSet::new();
    for id in ids {
        assert!(seen.insert(id), "{rule}: {id:?}");
    }
}

/// A work order that takes every barcode and is not held.
pub fn order(number: &str, plan: i64, allowance: Option<i64>, repeatable: bool) -> WorkOrder {
    let plan = Plan {
        planned_quantity: Quantity::new(plan).unwrap(),
        over_plan_allowance: allowance.and_then(Quantity::new),
        barcode_policy: if repeatable { BarcodePolicy::Repeatable } else { BarcodePolicy::Once },
        barcode_pattern: None,
        product_code: None,
        product_name: None,
        line: None,
    };
    edited(number, None, &Edit::Plan(plan), 0)
}

/// The work order with a hold from this batch on.
pub fn held(row: &WorkOrder, hold: Hold, strict: bool, batch: i64) -> WorkOrder {
    let edit = Edit::Hold { hold: Some(hold), reason: "r".into(), strict };
    edited(row.work_order.as_str(), Some(row), &edit, batch)
}

fn edited(number: &str, present: Option<&WorkOrder>, edit: &Edit, batch: i64) -> WorkOrder {
    let number = WorkOrderNumber::parse(number).unwrap();
    let fresh = Fresh { stamp: Stamp(batch), revision: Revision(batch), now: at(batch) };
    edit.apply(&number, present, &Precondition::None, fresh).unwrap()
}

/// The work order with a pattern.
pub fn patterned(mut row: WorkOrder, pattern: &str) -> WorkOrder {
    row.plan.barcode_pattern = Some(BarcodePattern::parse(pattern).unwrap());
    row
}
