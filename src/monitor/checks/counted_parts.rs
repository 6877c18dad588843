//! Barcodes: which of them the log has as counted, compared with the claims.
//!
//! Exact, and remembers each counted barcode. For a long work order
//! [`claim_segments`](super::claim_segments) finds out first where this is needed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::accepted::Acceptances;
use super::ledger::shown;
use super::part::Part;
use crate::domain::consistency::{Drift, Kind, Remedy};
use crate::domain::decide::{Claim, ClaimChanges, ClaimKey};
use crate::domain::ids::{Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::update::Action;
use crate::domain::work_order::BarcodePolicy;
use crate::store::consistency::{ClaimedRow, LoggedRow};

/// How many barcodes a finding lists. A repair repairs those; the next check lists the rest.
const LISTED: usize = 20;

/// What the log has as counted, of some barcodes of one work order.
#[derive(Debug)]
pub struct CountedParts {
    work_order: String,
    policy: BarcodePolicy,
    parts: BTreeMap<Part, Vec<Count>>,
    /// The first contradiction in the log, by counter: a barcode counted while it stood counted.
    contradictions: BTreeMap<String, (Drift, Part)>,
    accepted: Acceptances,
    /// Barcodes with an accepted contradiction, or with a row that takes back no scan that stands. The log
    /// can't say how often they are counted.
    doubtful: BTreeSet<Part>,
}

#[derive(Debug)]
struct Count {
    seq: i64,
    request_id: String,
    quantity: i64,
}

/// A claim that differs from the log.
#[derive(Debug)]
struct Difference {
    part: Part,
    ordinal: i64,
    seq: Option<i64>,
    expected: Option<(String, i64)>,
    actual: Option<(String, i64)>,
}

impl CountedParts {
    /// Nothing counted yet. These drifts of its log are accepted.
    #[must_use]
    pub fn of(work_order: &str, policy: BarcodePolicy, accepted: Acceptances) -> Self {
        Self {
            work_order: work_order.to_owned(),
            policy,
            parts: BTreeMap::new(),
            contradictions: BTreeMap::new(),
            accepted,
            doubtful: BTreeSet::new(),
        }
    }

    /// Takes the next row, by seq. Ignores refused rows, and rows without a barcode that release nothing.
    pub fn take(&mut self, row: &LoggedRow) {
        if row.is_release() {
            // From here on the log says again how often each barcode of this counter is counted.
            self.parts.retain(|part, _| part.counter != row.counter);
            self.doubtful.retain(|part| part.counter != row.counter);
        }
        let (Some(seq), Some(part)) = (row.seq, Part::of_row(row)) else { return };
        if row.asks_to_take_back() {
            self.take_back(row, part);
        } else if row.action == Action::Scan.word() {
            self.count(seq, row, part);
        }
    }

    /// Removes the count of the scan that the row takes back, and of no other.
    fn take_back(&mut self, row: &LoggedRow, part: Part) {
        let counts = self.parts.entry(part.clone()).or_default();
        match counts.iter().position(|count| Some(&count.request_id) == row.takes_back.as_ref()) {
            Some(at) => drop(counts.remove(at)),
            // The ledger finds such a row.
            None => drop(self.doubtful.insert(part)),
        }
    }

    fn count(&mut self, seq: i64, row: &LoggedRow, part: Part) {
        let counts = self.parts.entry(part.clone()).or_default();
        let counted_by = counts.last().map(|count| count.request_id.clone());
        counts.push(Count { seq, request_id: row.request_id.clone(), quantity: row.quantity.unwrap_or(row.delta) });
        match (self.policy, counted_by) {
            (BarcodePolicy::Once, Some(counted_by)) => self.note_twice(row, part, &counted_by),
            (BarcodePolicy::Once, None) | (BarcodePolicy::Repeatable, _) => {}
        }
    }

    fn note_twice(&mut self, row: &LoggedRow, part: Part, counted_by: &str) {
        let drift = Drift {
            work_order: self.work_order.clone(),
            kind: Kind::Twice,
            counter: Counter::of_word(&row.counter),
            seq: row.seq,
            request_id: Some(row.request_id.clone()),
            expected: Value::Null,
            actual: json!(counted_by),
            details: json!({
                "rows": [shown(row)],
                "proposal": { "correction": { "counter": row.counter, "delta": -row.delta } },
            }),
            remedy: Remedy::Decision,
        };
        if self.accepted.cover(&drift) {
            self.doubtful.insert(part);
        } else {
            self.contradictions.entry(row.counter.clone()).or_insert((drift, part));
        }
    }

    /// Where the claims differ from the log, and where the log contradicts itself.
    #[must_use]
    pub fn judge(self, claims: &[ClaimedRow], remedy: Remedy) -> Vec<Drift> {
        let mut drifts: Vec<Drift> = self.contradictions.values().map(|(drift, _)| drift.clone()).collect();
        let mut of_counter: BTreeMap<String, Vec<Difference>> = BTreeMap::new();
        for difference in self.differences(claims) {
            of_counter.entry(difference.part.counter.clone()).or_default().push(difference);
        }
        for (counter, differences) in of_counter {
            drifts.push(claim_drift(&self.work_order, &counter, &differences, remedy));
        }
        drifts
    }

    /// The changes that make the claims equal to the log. `None` if the log contradicts itself.
    #[must_use]
    pub fn changes(&self, work_order: &WorkOrderNumber, claims: &[ClaimedRow]) -> Option<ClaimChanges> {
        if !self.contradictions.is_empty() {
            return None;
        }
        let mut changes = ClaimChanges::default();
        for Difference { part, ordinal, expected, actual, .. } in self.differences(claims) {
            let key = ClaimKey {
                work_order: work_order.clone(),
                counter: Counter::of_word(&part.counter)?,
                step: part.step,
                barcode: part.barcode,
            };
            let claim = |(request_id, quantity): &(String, i64)| {
                // Every request id in the log is valid. A claim with another one is only deleted.
                let request_id = RequestId::parse(request_id).unwrap_or_else(|_| placeholder());
                Some(Claim { ordinal, request_id, quantity: Quantity::new(*quantity).unwrap_or_default() })
            };
            match (expected.as_ref(), actual.as_ref()) {
                (Some(expected), None) => changes.insert.push((key, claim(expected)?)),
                (Some(expected), Some(_)) => changes.take_over.push((key, claim(expected)?)),
                (None, Some(actual)) => changes.delete.push((key, claim(actual)?)),
                (None, None) => {}
            }
        }
        Some(changes)
    }

    fn differences(&self, claims: &[ClaimedRow]) -> Vec<Difference> {
        let mut actual: BTreeMap<(Part, i64), (String, i64)> = claims
            .iter()
            .map(|claim| ((Part::of_claim(claim), claim.ordinal), (claim.request_id.clone(), claim.quantity)))
            .collect();
        let doubtful =
            |part: &Part| self.doubtful.contains(part) || self.contradictions.values().any(|(_, other)| other == part);
        let mut differences = Vec::new();
        for (part, counts) in &self.parts {
            for count in counts {
                let ordinal = match self.policy {
                    BarcodePolicy::Once => 1,
                    BarcodePolicy::Repeatable => count.seq,
                };
                let expected = (count.request_id.clone(), count.quantity);
                let actual = actual.remove(&(part.clone(), ordinal));
                if actual.as_ref() != Some(&expected) && !doubtful(part) {
                    let (expected, seq) = (Some(expected), Some(count.seq));
                    differences.push(Difference { part: part.clone(), ordinal, seq, expected, actual });
                }
            }
        }
        for ((part, ordinal), actual) in actual.into_iter().filter(|((part, _), _)| !doubtful(part)) {
            differences.push(Difference { part, ordinal, seq: None, expected: None, actual: Some(actual) });
        }
        // By seq. A claim without a row in the log has no seq and comes last.
        differences.sort_by_key(|difference| (difference.seq.is_none(), difference.seq));
        differences
    }
}

/// In place of a claim's request id that is not valid. Deleting a claim needs only its place.
fn placeholder() -> RequestId {
    RequestId::parse("nobody").expect("it is visible ASCII")
}

fn claim_drift(work_order: &str, counter: &str, differences: &[Difference], remedy: Remedy) -> Drift {
    let listed: Vec<Value> = differences
        .iter()
        .take(LISTED)
        .map(|Difference { part, ordinal, seq, expected, actual }| {
            json!({
                "step": part.step, "barcode": part.barcode, "ordinal": ordinal, "seq": seq,
                "expected": expected.as_ref().map(|(request_id, _)| request_id),
                "actual": actual.as_ref().map(|(request_id, _)| request_id),
                "expected_quantity": expected.as_ref().map(|(_, quantity)| quantity),
                "actual_quantity": actual.as_ref().map(|(_, quantity)| quantity),
            })
        })
        .collect();
    let first = &differences[0];
    Drift {
        work_order: work_order.to_owned(),
        kind: Kind::Claim,
        counter: Counter::of_word(counter),
        seq: first.seq,
        request_id: first.expected.as_ref().or(first.actual.as_ref()).map(|(request_id, _)| request_id.clone()),
        expected: json!(first.expected.as_ref().map(|(request_id, _)| request_id)),
        actual: json!(first.actual.as_ref().map(|(request_id, _)| request_id)),
        details: json!({ "claims": listed, "claims_wrong": differences.len() }),
        remedy,
    }
}
