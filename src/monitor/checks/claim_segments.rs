//! The claims of a long work order, compared with its log by one number per segment.
//!
//! A segment is up to some thousand claims, in the order of their barcodes. It remembers the sum
//! of their checksums and compares it with the sum that the log gives. Only a segment that does
//! not agree is read again and judged exactly, by [`CountedParts`](super::counted_parts::CountedParts).

use serde_json::json;

use super::part::Part;
use crate::domain::consistency::{Drift, Kind, Remedy};
use crate::domain::request::Counter;
use crate::store::consistency::{ClaimedRow, LoggedRow};

/// A segment of claims, read at one moment, and the log up to that moment.
#[derive(Debug)]
pub struct ClaimSegment {
    /// Its last barcode; `None`: it goes to the end.
    pub up_to: Option<Part>,
    /// The last seq of the log when the claims were read.
    pub seq: i64,
    /// Whether a claim in it belongs to no counted scan of the log.
    has_unheld_claim: bool,
    /// Its only barcode and the number of its claims, if these are more than are read at once.
    single: Option<(Part, i64)>,
    claims: u64,
    log: u64,
    scans_less_unbinds: i64,
}

impl ClaimSegment {
    /// The segment of these claims.
    #[must_use]
    pub fn of(claims: &[ClaimedRow], up_to: Option<Part>, seq: i64) -> Self {
        let sum = claims.iter().fold(0_u64, |sum, claim| sum.wrapping_add(Part::of_claim(claim).checksum()));
        let has_unheld_claim = claims.iter().any(|claim| !claim.held);
        Self { up_to, seq, has_unheld_claim, single: None, claims: sum, log: 0, scans_less_unbinds: 0 }
    }

    /// The segment of one barcode that has more claims than are read at once.
    #[must_use]
    pub fn of_single(part: Part, count: i64, seq: i64) -> Self {
        let claims = part.checksum().wrapping_mul(count.unsigned_abs());
        let (up_to, single) = (Some(part.clone()), Some((part, count)));
        Self { up_to, seq, has_unheld_claim: false, single, claims, log: 0, scans_less_unbinds: 0 }
    }

    /// Whether log and claims agree, as far as one number can tell.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.claims == self.log && !self.has_unheld_claim
    }

    /// For one barcode with too many claims to list: what is wrong, in numbers.
    #[must_use]
    pub fn drift_of_single(&self, work_order: &str) -> Option<Drift> {
        let (part, count) = self.single.as_ref()?;
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

    fn add(&mut self, part: &Part, seq: i64, is_unbind: bool) {
        // Later rows are in no claim of this segment: the claims were read before.
        if seq > self.seq {
            return;
        }
        let checksum = part.checksum();
        (self.log, self.scans_less_unbinds) = match is_unbind {
            false => (self.log.wrapping_add(checksum), self.scans_less_unbinds + 1),
            true => (self.log.wrapping_sub(checksum), self.scans_less_unbinds - 1),
        };
    }
}

/// Adds a row of the log to the segment of its barcode. Segments are in the order of barcodes.
pub fn add_to_segment(segments: &mut [ClaimSegment], row: &LoggedRow) {
    let (Some(seq), Some(part)) = (row.seq, Part::of_row(row)) else { return };
    let at = segments.partition_point(|segment| segment.up_to.as_ref().is_some_and(|up_to| *up_to < part));
    if let Some(segment) = segments.get_mut(at) {
        segment.add(&part, seq, row.action == "unbind");
    }
}
