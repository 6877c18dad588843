//! Judges work orders that were read whole. Pure.

use std::collections::BTreeMap;

use super::accepted::Acceptances;
use super::counted_parts::CountedParts;
use super::ledger::Ledger;
use super::reader::count;
use crate::domain::consistency::{Drift, Kind, Remedy};
use crate::domain::work_order::WorkOrder;
use crate::store::consistency::{ClaimedRow, LoggedRow, Page};

/// The drifts of these work orders, and how many rows of log they have.
#[must_use]
pub fn judge_page(names: &[String], page: Page, mut accepted: BTreeMap<String, Acceptances>) -> (i64, Vec<Drift>) {
    let rows = count(&page.log);
    let mut work_orders: BTreeMap<String, WorkOrder> =
        page.work_orders.into_iter().map(|row| (row.work_order.to_string(), row)).collect();
    let mut logs: BTreeMap<String, Vec<LoggedRow>> = BTreeMap::new();
    for row in page.log {
        logs.entry(row.work_order.clone()).or_default().push(row);
    }
    let mut claims: BTreeMap<String, Vec<ClaimedRow>> = BTreeMap::new();
    for claim in page.claims {
        claims.entry(claim.work_order.clone()).or_default().push(claim);
    }
    let judged = names.iter().flat_map(|name| {
        let log = logs.remove(name).unwrap_or_default();
        let claims = claims.remove(name).unwrap_or_default();
        let accepted = accepted.remove(name).unwrap_or_default();
        judge_one(name, work_orders.remove(name).as_ref(), log, &claims, &accepted)
    });
    (rows, judged.collect())
}

/// Claims can be repaired from a log that explains its row.
#[must_use]
pub fn remedy_of_claims(ledger: &Ledger, row: &WorkOrder) -> Remedy {
    if ledger.explains(row) { Remedy::Repair } else { Remedy::Decision }
}

/// One drift for each kind and counter of a work order: the first one that is not accepted.
#[must_use]
pub fn first_of_each_kind(drifts: Vec<Drift>, accepted: &Acceptances) -> Vec<Drift> {
    let mut kept: Vec<Drift> = Vec::with_capacity(drifts.len());
    for drift in drifts.into_iter().filter(|drift| !accepted.cover(drift)) {
        if !kept.iter().any(|other| (other.kind, other.counter) == (drift.kind, drift.counter)) {
            kept.push(drift);
        }
    }
    kept
}

fn judge_one(
    name: &str,
    row: Option<&WorkOrder>,
    mut log: Vec<LoggedRow>,
    claims: &[ClaimedRow],
    accepted: &Acceptances,
) -> Vec<Drift> {
    log.sort_by_key(|row| (row.seq.is_none(), row.seq));
    let mut ledger = Ledger::of(name, accepted.clone());
    let mut counted = row.map(|row| CountedParts::of(name, row.plan.barcode_policy, accepted.clone()));
    for row in log {
        if let Some(counted) = &mut counted {
            counted.take(&row);
        }
        ledger.take(row);
    }
    let mut drifts = ledger.judge(row);
    match (row, counted) {
        (Some(row), Some(counted)) => drifts.extend(counted.judge(claims, remedy_of_claims(&ledger, row))),
        _ if !claims.is_empty() && drifts.is_empty() => drifts.push(orphan_claims(name, claims)),
        _ => {}
    }
    first_of_each_kind(drifts, accepted)
}

fn orphan_claims(name: &str, claims: &[ClaimedRow]) -> Drift {
    let first: Vec<_> = claims.iter().take(3).map(|claim| serde_json::json!({ "barcode": claim.barcode })).collect();
    Drift {
        work_order: name.to_owned(),
        kind: Kind::Orphan,
        counter: None,
        seq: None,
        request_id: claims.first().map(|claim| claim.request_id.clone()),
        expected: serde_json::Value::Null,
        actual: serde_json::json!(claims.len()),
        details: serde_json::json!({ "claims": first, "claims_wrong": claims.len() }),
        remedy: Remedy::Decision,
    }
}
