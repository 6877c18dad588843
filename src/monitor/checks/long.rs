//! Judges a work order that is too long for one snapshot. Its memory stays bounded.
//!
//! | step | statement | why in this order |
//! | --- | --- | --- |
//! | 1 claims | `claims_after`, each segment with the last seq of its snapshot | a segment is compared with the log up to that seq |
//! | 2 refused rows | `refused_after` | they change nothing, so their moment does not matter |
//! | 3 log | `counted_after`, in pieces | the log only grows, so a prefix stays true |
//! | 4 end | `tail`: the rest of the log and the row, in one snapshot | row and log are of one moment (pitfall 36) |
//! | 5 doubtful segments | `claims_after` and `counted_after` again | exact, for at most [`EXACT_SEGMENTS`] segments |
//!
//! Nothing is written here but progress. If the process dies, the work order is read again.

use super::accepted::Acceptances;
use super::claim_segments::{ClaimSegment, add_to_segments};
use super::counted_parts::CountedParts;
use super::ledger::Ledger;
use super::page::{first_of_each_kind, remedy_of_claims};
use super::part::Part;
use super::reader::{Interrupted, ROWS, Reader, count};
use crate::domain::consistency::{Drift, Remedy};
use crate::domain::work_order::WorkOrder;
use crate::monitor::retry::retried;
use crate::store::consistency::{ClaimPlace, ClaimedRow, LoggedRow, RefusedPlace, Tail};

/// Claims in one snapshot.
const CLAIMS: i64 = 2_000;
/// How many segments are judged exactly in a work order that is wrong in many places.
const EXACT_SEGMENTS: usize = 8;

/// The drifts of one long work order.
///
/// # Errors
/// See [`Interrupted`].
pub(super) async fn judge_long(reader: &mut Reader<'_>, name: &str) -> Result<Vec<Drift>, Interrupted> {
    let mut segments = segments(reader, name).await?;
    let accepted = Acceptances::read_one(reader.store, name).await?;
    let mut ledger = Ledger::of(name, accepted.clone());
    take_refused(reader, name, &mut ledger).await?;
    let row = take_counted(reader, name, &mut ledger, &mut segments).await?;
    let mut drifts = ledger.judge(row.as_ref());
    if let Some(row) = row {
        let remedy = remedy_of_claims(&ledger, &row);
        drifts.extend(judge_segments(reader, &row, &accepted, segments, remedy).await?);
    }
    Ok(first_of_each_kind(drifts, &accepted))
}

/// All claims of a work order, in segments.
async fn segments(reader: &mut Reader<'_>, name: &str) -> Result<Vec<ClaimSegment>, Interrupted> {
    let store = reader.store;
    let mut segments = Vec::new();
    let mut after: Option<ClaimPlace> = None;
    loop {
        let slice = retried(|| store.claims_after(name, after.as_ref(), CLAIMS)).await?;
        let mut claims = slice.claims;
        if count(&claims) < CLAIMS {
            segments.push(ClaimSegment::of(&claims, None, slice.seq));
            return Ok(segments);
        }
        // A segment ends between two barcodes.
        let last = claims.last().map(Part::of_claim).unwrap_or_default();
        claims.retain(|claim| Part::of_claim(claim) != last);
        match claims.last().map(Part::of_claim) {
            Some(up_to) => {
                after = Some(up_to.place(i64::MAX));
                segments.push(ClaimSegment::of(&claims, Some(up_to), slice.seq));
            }
            None => {
                let place = last.place(i64::MAX);
                let (seq, number) = retried(|| store.count_claims(name, &place)).await?;
                segments.push(ClaimSegment::of_single(last, number, seq));
                after = Some(place);
            }
        }
        reader.pause(0).await?;
    }
}

async fn take_refused(reader: &mut Reader<'_>, name: &str, ledger: &mut Ledger) -> Result<(), Interrupted> {
    let store = reader.store;
    let mut after: Option<RefusedPlace> = None;
    loop {
        let rows = retried(|| store.refused_after(name, after.as_ref(), ROWS)).await?;
        let read = count(&rows);
        after = rows.last().map(|row| RefusedPlace {
            at_seq: row.at_seq.unwrap_or(0),
            recorded_at: row.recorded_at.clone(),
            request_id: row.request_id.clone(),
        });
        rows.into_iter().for_each(|row| ledger.take(row));
        reader.pause(read).await?;
        if read < ROWS {
            return Ok(());
        }
    }
}

/// Reads the counted rows up to the end. Says what the row is at that moment.
async fn take_counted(
    reader: &mut Reader<'_>,
    name: &str,
    ledger: &mut Ledger,
    segments: &mut [ClaimSegment],
) -> Result<Option<WorkOrder>, Interrupted> {
    let store = reader.store;
    loop {
        let seq = ledger.seq();
        let rows = retried(|| store.counted_after(name, seq, ROWS)).await?;
        let read = count(&rows);
        take_all(ledger, segments, rows);
        reader.pause(read).await?;
        if read < ROWS {
            let seq = ledger.seq();
            let Tail { work_order, log } = retried(|| store.tail(name, seq, ROWS)).await?;
            let read = count(&log);
            reader.add_rows(read);
            take_all(ledger, segments, log);
            if read < ROWS {
                return Ok(work_order);
            }
        }
    }
}

fn take_all(ledger: &mut Ledger, segments: &mut [ClaimSegment], rows: Vec<LoggedRow>) {
    for row in rows {
        add_to_segments(segments, &row);
        ledger.take(row);
    }
}

/// The drifts of the segments that don't agree with the log.
async fn judge_segments(
    reader: &mut Reader<'_>,
    row: &WorkOrder,
    accepted: &Acceptances,
    segments: Vec<ClaimSegment>,
    remedy: Remedy,
) -> Result<Vec<Drift>, Interrupted> {
    let name = row.work_order.as_str();
    let mut drifts = Vec::new();
    let mut low: Option<Part> = None;
    let mut judged = 0;
    for segment in segments {
        if !segment.agrees(row.plan.barcode_policy) && judged < EXACT_SEGMENTS {
            judged += 1;
            match segment.drift_of_single(name) {
                Some(drift) => drifts.push(drift),
                None => {
                    let counted = CountedParts::of(name, row.plan.barcode_policy, accepted.clone());
                    drifts.extend(judge_exactly(reader, name, counted, low.clone(), &segment, remedy).await?);
                }
            }
        }
        low = segment.up_to;
    }
    Ok(drifts)
}

/// Judges the segment after the barcode `low` exactly: reads the log a second time.
async fn judge_exactly(
    reader: &mut Reader<'_>,
    name: &str,
    mut counted: CountedParts,
    low: Option<Part>,
    segment: &ClaimSegment,
    remedy: Remedy,
) -> Result<Vec<Drift>, Interrupted> {
    let store = reader.store;
    let within = |part: &Part| {
        low.as_ref().is_none_or(|low| part > low) && segment.up_to.as_ref().is_none_or(|up_to| part <= up_to)
    };
    let after = low.as_ref().map(|low| low.place(i64::MAX));
    let slice = retried(|| store.claims_after(name, after.as_ref(), 2 * CLAIMS)).await?;
    let mut seq = 0;
    while seq < slice.seq {
        let rows = retried(|| store.counted_after(name, seq, ROWS)).await?;
        let Some(last) = rows.last().and_then(|row| row.seq) else { break };
        let up_to_claims = rows.iter().filter(|row| row.seq.is_some_and(|seq| seq <= slice.seq));
        for row in up_to_claims.filter(|row| row.is_release() || Part::of_row(row).is_some_and(|part| within(&part))) {
            counted.take(row);
        }
        seq = last;
        reader.pause(0).await?;
    }
    let claims: Vec<ClaimedRow> = slice.claims.into_iter().filter(|claim| within(&Part::of_claim(claim))).collect();
    Ok(counted.judge(&claims, remedy))
}
