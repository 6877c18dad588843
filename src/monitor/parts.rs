//! Barcodes: which of them stand counted by the log, compared with the claims.
//!
//! Two ways, both pure. [`Standing`] is exact and remembers each standing count. [`Tally`]
//! remembers one number for thousands of claims: it tells whether a stretch of claims
//! agrees with its log, so that only a stretch that doesn't is looked at exactly.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher as _};

use serde_json::{Value, json};

use super::accepted::Acceptances;
use super::ledger::shown;
use crate::domain::consistency::{Drift, Kind, Remedy};
use crate::domain::decide::{Claim, ClaimChanges, ClaimKey};
use crate::domain::ids::{Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::work_order::BarcodePolicy;
use crate::store::consistency::{ClaimPlace, ClaimedRow, LoggedRow};

/// How many barcodes a finding lists; a repair sets right what is listed, and the next
/// check lists the rest.
const LISTED: usize = 20;

/// A barcode within its work order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// For which counter.
    pub counter: String,
    /// For which step.
    pub step: String,
    /// The barcode in canonical form.
    pub barcode: String,
}

impl Part {
    /// The barcode that a row of the log names.
    #[must_use]
    pub fn of_row(row: &LoggedRow) -> Option<Self> {
        let barcode = row.barcode.clone()?;
        Some(Self { counter: row.counter.clone(), step: row.step.clone(), barcode })
    }

    /// The barcode that a claim is about.
    #[must_use]
    pub fn of_claim(claim: &ClaimedRow) -> Self {
        Self { counter: claim.counter.clone(), step: claim.step.clone(), barcode: claim.barcode.clone() }
    }

    /// The place of its claim with this number.
    #[must_use]
    pub fn place(&self, ordinal: i64) -> ClaimPlace {
        let Self { counter, step, barcode } = self.clone();
        ClaimPlace { counter, step, barcode, ordinal }
    }

    fn hash(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        Hash::hash(self, &mut hasher);
        hasher.finish()
    }
}

/// The standing counts of some barcodes, as the log has them.
#[derive(Debug)]
pub struct Standing {
    work_order: String,
    policy: BarcodePolicy,
    parts: BTreeMap<Part, Vec<Count>>,
    /// By counter: a barcode counted while it stood counted, or taken back while it didn't.
    broken: BTreeMap<(Kind, String), (Drift, Part)>,
    accepted: Acceptances,
    /// Barcodes of which that is accepted: what stands counted of them the log can't say.
    doubtful: BTreeSet<Part>,
}

#[derive(Debug)]
struct Count {
    seq: i64,
    request_id: String,
    quantity: i64,
}

/// A claim that is not as the log has it.
#[derive(Debug)]
struct Difference {
    part: Part,
    ordinal: i64,
    seq: Option<i64>,
    expected: Option<(String, i64)>,
    actual: Option<(String, i64)>,
}

impl Standing {
    /// Nothing counted yet, in a log of whose drifts these are accepted.
    #[must_use]
    pub fn of(work_order: &str, policy: BarcodePolicy, accepted: Acceptances) -> Self {
        Self {
            work_order: work_order.to_owned(),
            policy,
            parts: BTreeMap::new(),
            broken: BTreeMap::new(),
            accepted,
            doubtful: BTreeSet::new(),
        }
    }

    /// Takes the next row, by seq; rows without a barcode and refused ones are none.
    pub fn take(&mut self, row: &LoggedRow) {
        let (Some(seq), Some(part)) = (row.seq, Part::of_row(row)) else { return };
        let counts = self.parts.entry(part.clone()).or_default();
        if row.action == "unbind" {
            let taken_back = counts.pop().map_or(0, |count| count.quantity);
            if taken_back == 0 || row.delta != -taken_back {
                self.note(Kind::Delta, row, part, json!(-taken_back), json!(row.delta));
            }
            return;
        }
        let stood = counts.last().map(|count| count.request_id.clone());
        counts.push(Count { seq, request_id: row.request_id.clone(), quantity: row.quantity.unwrap_or(row.delta) });
        match (self.policy, stood) {
            (BarcodePolicy::Once, Some(stood)) => {
                self.note(Kind::Twice, row, part, Value::Null, json!(stood));
            }
            (BarcodePolicy::Once, None) | (BarcodePolicy::Repeatable, _) => {}
        }
    }

    fn note(&mut self, kind: Kind, row: &LoggedRow, part: Part, expected: Value, actual: Value) {
        let drift = Drift {
            work_order: self.work_order.clone(),
            kind,
            counter: Counter::of_word(&row.counter),
            seq: row.seq,
            request_id: Some(row.request_id.clone()),
            expected,
            actual,
            details: json!({
                "rows": [shown(row)],
                "proposal": { "correction": { "counter": row.counter, "delta": -row.delta } },
            }),
            remedy: Remedy::Decision,
        };
        if self.accepted.cover(&drift) {
            self.doubtful.insert(part);
        } else {
            self.broken.entry((kind, row.counter.clone())).or_insert((drift, part));
        }
    }

    /// What the claims have otherwise than the log.
    #[must_use]
    pub fn judge(self, claims: &[ClaimedRow], remedy: Remedy) -> Vec<Drift> {
        let mut drifts: Vec<Drift> = self.broken.values().map(|(drift, _)| drift.clone()).collect();
        let mut of_counter: BTreeMap<String, Vec<Difference>> = BTreeMap::new();
        for difference in self.differences(claims) {
            of_counter.entry(difference.part.counter.clone()).or_default().push(difference);
        }
        for (counter, differences) in of_counter {
            drifts.push(claim_drift(&self.work_order, &counter, &differences, remedy));
        }
        drifts
    }

    /// The changes that make the claims what the log has; `None` where the log itself is
    /// in doubt about them.
    #[must_use]
    pub fn mend(&self, work_order: &WorkOrderNumber, claims: &[ClaimedRow]) -> Option<ClaimChanges> {
        if !self.broken.is_empty() {
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
                // A request id in the log was one when it came; an odd claim only has to go.
                let request_id = RequestId::parse(request_id).unwrap_or_else(|_| nobody());
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
            |part: &Part| self.doubtful.contains(part) || self.broken.values().any(|(_, broken)| broken == part);
        let mut differences = Vec::new();
        for (part, counts) in &self.parts {
            for (ordinal, count) in (1..).zip(counts) {
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
        // The first bad row first; a claim that no row explains has none.
        differences.sort_by_key(|difference| (difference.seq.is_none(), difference.seq));
        differences
    }
}

/// Stands for a claim's holder that is no request id, where only its place matters.
fn nobody() -> RequestId {
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

/// A stretch of claims, read at one moment, against the log up to that moment.
#[derive(Debug)]
pub struct Tally {
    /// The last barcode in it; `None`: to the end.
    pub up_to: Option<Part>,
    /// The log's last seq at the moment when it was read.
    pub seq: i64,
    /// Whether one of its claims is held by no scan.
    pub odd: bool,
    /// The one barcode in it, where that has more claims than are read at once.
    pub crowd: Option<(Part, i64)>,
    claims: u64,
    log: u64,
    scans_less_unbinds: i64,
}

impl Tally {
    /// The tally of these claims.
    #[must_use]
    pub fn of(claims: &[ClaimedRow], up_to: Option<Part>, seq: i64) -> Self {
        let sum = claims.iter().fold(0_u64, |sum, claim| sum.wrapping_add(Part::of_claim(claim).hash()));
        let odd = claims.iter().any(|claim| !claim.held);
        Self { up_to, seq, odd, crowd: None, claims: sum, log: 0, scans_less_unbinds: 0 }
    }

    /// The tally of one barcode that has so many claims.
    #[must_use]
    pub fn of_crowd(part: Part, count: i64, seq: i64) -> Self {
        let claims = part.hash().wrapping_mul(count.unsigned_abs());
        let up_to = Some(part.clone());
        Self { up_to, seq, odd: false, crowd: Some((part, count)), claims, log: 0, scans_less_unbinds: 0 }
    }

    /// Whether log and claims agree, as far as one number tells.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.claims == self.log && !self.odd
    }

    /// For one barcode with too many claims to list: what is wrong, as numbers.
    #[must_use]
    pub fn crowd_drift(&self, work_order: &str) -> Option<Drift> {
        let (part, count) = self.crowd.as_ref()?;
        Some(Drift {
            work_order: work_order.to_owned(),
            kind: Kind::Claim,
            counter: Counter::of_word(&part.counter),
            seq: None,
            request_id: None,
            expected: json!(self.scans_less_unbinds),
            actual: json!(count),
            details: json!({ "step": part.step, "barcode": part.barcode, "claims": [] }),
            remedy: Remedy::Decision,
        })
    }

    fn take(&mut self, part: &Part, seq: i64, unbound: bool) {
        // What came after the claims were read is none of this tally's business.
        if seq > self.seq {
            return;
        }
        let hash = part.hash();
        (self.log, self.scans_less_unbinds) = match unbound {
            false => (self.log.wrapping_add(hash), self.scans_less_unbinds + 1),
            true => (self.log.wrapping_sub(hash), self.scans_less_unbinds - 1),
        };
    }
}

/// Hands a row of the log to the tally of its barcode; they stand in the order of barcodes.
pub fn tally(tallies: &mut [Tally], row: &LoggedRow) {
    let (Some(seq), Some(part)) = (row.seq, Part::of_row(row)) else { return };
    let at = tallies.partition_point(|tally| tally.up_to.as_ref().is_some_and(|up_to| *up_to < part));
    if let Some(tally) = tallies.get_mut(at) {
        tally.take(&part, seq, row.action == "unbind");
    }
}
