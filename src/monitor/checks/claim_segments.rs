//! The claims of a long work order, compared with its log by one number per segment.
//!
//! A segment is up to some thousand claims, in the order of their barcodes. It remembers the sum
//! of their checksums and compares it with the sum that the log gives. A checksum is of one count: the
//! barcode, the scan and its pieces. Only a segment that does not agree is read again and judged
//! exactly, by [`CountedParts`](super::counted_parts::CountedParts).

use serde_json::json;

use super::ledger::index;
use super::part::Part;
use crate::domain::consistency::{Drift, Kind, Remedy};
use crate::domain::request::Counter;
use crate::domain::update::Action;
use crate::domain::work_order::BarcodePolicy;
use crate::store::consistency::{ClaimedRow, LoggedRow};

/// A segment of claims, read at one moment, and the log up to that moment.
#[derive(Debug)]
pub struct ClaimSegment {
    /// Its last barcode; `None`: it goes to the end.
    pub up_to: Option<Part>,
    /// The last seq of the log when the claims were read.
    pub seq: i64,
    claims: Claims,
    /// Of each counter. A release frees the barcodes of one.
    log: [Standing; 3],
}

#[derive(Debug)]
enum Claims {
    /// The sum of their checksums.
    Sum(u64),
    /// One barcode and the number of its claims, if these are more than are read at once.
    Single(Part, i64),
}

/// What stands counted by the log.
#[derive(Clone, Copy, Debug, Default)]
struct Standing {
    count: i64,
    /// The sum of the checksums, if the ordinal of each claim is 1.
    once: u64,
    /// The sum of the checksums, if the ordinal of a claim is the seq of its scan.
    repeatable: u64,
}

impl ClaimSegment {
    /// The segment of these claims.
    #[must_use]
    pub fn of(claims: &[ClaimedRow], up_to: Option<Part>, seq: i64) -> Self {
        let checksum =
            |claim: &ClaimedRow| Part::of_claim(claim).checksum(claim.ordinal, &claim.request_id, claim.quantity);
        let sum = claims.iter().map(checksum).fold(0, u64::wrapping_add);
        Self { up_to, seq, claims: Claims::Sum(sum), log: Default::default() }
    }

    /// The segment of one barcode that has more claims than are read at once.
    #[must_use]
    pub fn of_single(part: Part, count: i64, seq: i64) -> Self {
        Self { up_to: Some(part.clone()), seq, claims: Claims::Single(part, count), log: Default::default() }
    }

    /// Whether log and claims agree, as far as one number can tell.
    #[must_use]
    pub fn agrees(&self, policy: BarcodePolicy) -> bool {
        let sum = |sum: fn(&Standing) -> u64| self.log.iter().map(sum).fold(0, u64::wrapping_add);
        match (&self.claims, policy) {
            (Claims::Sum(claims), BarcodePolicy::Once) => *claims == sum(|standing| standing.once),
            (Claims::Sum(claims), BarcodePolicy::Repeatable) => *claims == sum(|standing| standing.repeatable),
            (Claims::Single(_, count), _) => *count == self.count(),
        }
    }

    /// For one barcode with too many claims to list: what is wrong, in numbers.
    #[must_use]
    pub fn drift_of_single(&self, work_order: &str) -> Option<Drift> {
        let Claims::Single(part, count) = &self.claims else { return None };
        Some(Drift {
            work_order: work_order.to_owned(),
            kind: Kind::Claim,
            counter: Counter::of_word(&part.counter),
            seq: None,
            request_id: None,
            expected: json!(self.count()),
            actual: json!(count),
            details: json!({ "step": part.step, "barcode": part.barcode, "claims": [] }),
            remedy: Remedy::Decision,
        })
    }

    fn count(&self) -> i64 {
        self.log.iter().map(|standing| standing.count).sum()
    }
}

impl Standing {
    /// Takes a row of a barcode.
    fn take(&mut self, part: &Part, seq: i64, row: &LoggedRow) {
        if row.action == Action::Scan.word() {
            let quantity = row.quantity.unwrap_or(row.delta);
            self.count += 1;
            self.once = self.once.wrapping_add(part.checksum(1, &row.request_id, quantity));
            self.repeatable = self.repeatable.wrapping_add(part.checksum(seq, &row.request_id, quantity));
        } else if row.asks_to_take_back() {
            self.count -= 1;
            // What takes back no scan of this barcode leaves the sum as it is. The ledger finds it.
            if let (Some(takes_back), Some(seq), Some(quantity)) = (&row.takes_back, row.taken_seq, row.taken_delta) {
                self.once = self.once.wrapping_sub(part.checksum(1, takes_back, quantity));
                self.repeatable = self.repeatable.wrapping_sub(part.checksum(seq, takes_back, quantity));
            }
        }
    }
}

/// Adds a row of the log to the segment of its barcode; a release, to all segments. Segments are in the
/// order of barcodes.
pub fn add_to_segments(segments: &mut [ClaimSegment], row: &LoggedRow) {
    let (Some(seq), Some(counter)) = (row.seq, Counter::of_word(&row.counter)) else { return };
    // Rows after a segment's seq are in no claim of it: the claims were read before.
    if row.is_release() {
        for segment in segments.iter_mut().filter(|segment| seq <= segment.seq) {
            segment.log[index(counter)] = Standing::default();
        }
    }
    let Some(part) = Part::of_row(row) else { return };
    let at = segments.partition_point(|segment| segment.up_to.as_ref().is_some_and(|up_to| *up_to < part));
    if let Some(segment) = segments.get_mut(at).filter(|segment| seq <= segment.seq) {
        segment.log[index(counter)].take(&part, seq, row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(seq: i64, counter: &str, action: &str, barcode: Option<&str>) -> LoggedRow {
        let (request_id, delta) = (format!("r{seq}"), if action == "scan" { 1 } else { -1 });
        let (barcode, counter, action) = (barcode.map(str::to_owned), counter.to_owned(), action.to_owned());
        LoggedRow { request_id, seq: Some(seq), counter, action, delta, barcode, ..LoggedRow::default() }
    }

    fn claim(counter: &str, barcode: &str, seq: i64, ordinal: i64) -> ClaimedRow {
        ClaimedRow {
            work_order: "W".to_owned(),
            counter: counter.to_owned(),
            step: String::new(),
            barcode: barcode.to_owned(),
            ordinal,
            request_id: format!("r{seq}"),
            quantity: 1,
        }
    }

    /// Input: A and B are released, then A is scanned again, and C is scanned and taken back.
    /// Output: A stands.
    fn log() -> [LoggedRow; 7] {
        let mut release = row(4, "input", "correction", None);
        release.barcodes = Some("release".to_owned());
        let mut undo = row(7, "input", "undo", Some("C"));
        (undo.takes_back, undo.taken_seq, undo.taken_delta) = (Some("r6".to_owned()), Some(6), Some(1));
        let scan = |seq, counter, barcode| row(seq, counter, "scan", Some(barcode));
        [
            scan(1, "input", "A"),
            scan(2, "output", "A"),
            scan(3, "input", "B"),
            release,
            scan(5, "input", "A"),
            scan(6, "input", "C"),
            undo,
        ]
    }

    #[test]
    fn the_sums_follow_releases_and_what_is_taken_back() {
        for (policy, ordinals) in [(BarcodePolicy::Once, [1, 1]), (BarcodePolicy::Repeatable, [5, 2])] {
            let [input, output] = ordinals;
            let agrees = |claims: &[ClaimedRow], up_to: i64| {
                let mut segments = [ClaimSegment::of(claims, None, up_to)];
                log().iter().for_each(|row| add_to_segments(&mut segments, row));
                segments[0].agrees(policy)
            };
            let standing = [claim("input", "A", 5, input), claim("output", "A", 2, output)];
            assert!(agrees(&standing, 7));
            assert!(agrees(&standing[1..], 4), "the claims were read after the release");
            assert!(!agrees(&standing, 6), "C was not taken back yet");
            assert!(!agrees(&standing[..1], 7), "a claim is missing");
            let older = [claim("input", "A", 1, input), claim("output", "A", 2, output)];
            assert!(!agrees(&older, 7), "a scan before the release holds the claim");
            let elsewhere = [claim("input", "A", 5, 9), claim("output", "A", 2, output)];
            assert!(!agrees(&elsewhere, 7), "another ordinal");
        }
    }

    #[test]
    fn a_barcode_with_too_many_claims_is_counted() {
        let part = Part { counter: "input".to_owned(), step: String::new(), barcode: "A".to_owned() };
        for (count, agrees) in [(1, true), (2, false)] {
            let mut segments = [ClaimSegment::of_single(part.clone(), count, 7)];
            let rows = log().into_iter().filter(|row| row.counter == "input" && row.barcode.as_deref() != Some("B"));
            rows.for_each(|row| add_to_segments(&mut segments, &row));
            assert_eq!(segments[0].agrees(BarcodePolicy::Repeatable), agrees, "{count}");
        }
    }
}
