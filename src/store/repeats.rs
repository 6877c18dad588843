//! Whether a write looks for its request ids and barcodes before it writes.
//!
//! If a request id or barcode is there already, the primary key refuses the whole write. So looking first
//! is not needed. A look costs every write two searches per request. A refusal is rare, and costs a
//! second attempt, which looks to find the updates that are there. After a repeat was found, writes look
//! for a while. Repeats that memory does not know come in bursts, after a network or a replica was down.

use std::collections::HashSet;
use std::sync::atomic::{AtomicU32, Ordering};

use super::{Batch, StoreError, Written};
use crate::domain::decide::ClaimKey;

/// How many writes look after the last repeat that was found.
const WATCHFUL: u32 = 100;

/// How many of the next writes look.
#[derive(Default)]
pub(super) struct Repeats(AtomicU32);

impl Repeats {
    /// Writes `batch` by `attempt`, whose argument says whether to look. If the first attempt does not
    /// look and is refused, a second one looks.
    pub(super) async fn write<Attempt>(
        &self,
        batch: &Batch,
        attempt: impl Fn(bool) -> Attempt,
    ) -> Result<Written, StoreError>
    where
        Attempt: Future<Output = Result<Written, StoreError>>,
    {
        let nothing_to_find = batch.unverified.is_empty() && batch.unclaimed.is_empty();
        if nothing_to_find || self.0.load(Ordering::Relaxed) == 0 && refused_if_wrong(batch) {
            match attempt(false).await {
                Err(StoreError::Taken(_)) => {}
                written => return written,
            }
        }
        let written = attempt(true).await;
        let left = match &written {
            Ok(written) if found_a_repeat(batch, written) => WATCHFUL,
            _ => self.0.load(Ordering::Relaxed).saturating_sub(1),
        };
        self.0.store(left, Ordering::Relaxed);
        written
    }
}

/// Whether the primary keys refuse `batch` if something is there that no load has looked up. Every
/// unverified id is of an update that it adds to the log, so its key refuses it. A barcode that seemed
/// not counted may have no new claim, because its scan was refused. Then no primary key can refuse the
/// write, so it must look.
fn refused_if_wrong(batch: &Batch) -> bool {
    if batch.unclaimed.is_empty() {
        return true;
    }
    let claims = batch.changes.iter().flat_map(|change| &change.claims.insert);
    let claimed: HashSet<&ClaimKey> = claims.map(|(key, _)| key).collect();
    batch.unclaimed.iter().all(|key| claimed.contains(key))
}

fn found_a_repeat(batch: &Batch, written: &Written) -> bool {
    let unverified = |id| batch.unverified.iter().any(|(unverified, _)| unverified == id);
    !written.claimed.is_empty() || written.known.iter().any(|update| unverified(&update.request_id))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::sync::Arc;

    use super::*;
    use crate::domain::ids::{RequestId, WorkOrderNumber};
    use crate::domain::request::Counter;
    use crate::domain::update::Update;

    fn taken() -> StoreError {
        StoreError::Taken("the id is there".into())
    }

    fn update() -> Update {
        serde_json::from_value(serde_json::json!({
            "request_id": "k1", "work_order": "W", "seq": 1, "at_seq": null, "counter": "output", "action": "scan",
            "quantity": 1, "asked_delta": null, "set_to": null, "expected": null, "barcodes": null, "undoes": null,
            "override": false, "settles": null, "takes_back": null, "late": false, "delta": 1, "before": 0, "after": 1,
            "barcode": null, "barcode_canonical": null, "step": "", "step_canonical": "", "station": null,
            "terminal": null, "operator": null, "reason": null, "note": null, "fence": 1,
            "work_order_status": "in_progress", "remaining": 9, "scanned_at": null,
            "recorded_at": "2026-01-03T08:00:00.000Z", "recorded_by": "line-3", "outcome": "counted", "code": null,
            "original_request_id": null, "rendering": 1
        }))
        .expect("it is one")
    }

    /// Writes a batch with one unverified id; `refused` says how an attempt that does not
    /// look ends, `known` whether one that looks finds the id. Gives what the attempts were told.
    async fn attempts(repeats: &Repeats, unverified: &str, refused: bool, known: bool) -> (Vec<bool>, bool) {
        let number = WorkOrderNumber::parse("W").expect("it is one");
        let id = RequestId::parse(unverified).expect("it is one");
        let batch = Batch { unverified: vec![(id, number)], ..Batch::default() };
        let told = RefCell::new(Vec::new());
        let attempt = async |looks: bool| {
            told.borrow_mut().push(looks);
            match looks {
                false if refused => Err(taken()),
                true if known => Ok(Written { known: vec![Arc::new(update())], ..Written::default() }),
                _ => Ok(Written::default()),
            }
        };
        let written = repeats.write(&batch, attempt).await;
        (told.into_inner(), written.is_ok())
    }

    #[tokio::test]
    async fn a_write_looks_only_after_a_repeat_was_found_and_for_a_while() {
        let repeats = Repeats::default();
        assert_eq!(attempts(&repeats, "k1", false, false).await, (vec![false], true));
        assert_eq!(attempts(&repeats, "k1", true, true).await, (vec![false, true], true), "surprised");
        for _ in 0..WATCHFUL {
            assert_eq!(attempts(&repeats, "k1", false, false).await, (vec![true], true));
        }
        assert_eq!(attempts(&repeats, "k1", false, false).await, (vec![false], true));
    }

    #[tokio::test]
    async fn a_barcode_that_the_batch_does_not_claim_is_always_looked_for() {
        let number = WorkOrderNumber::parse("W").expect("it is one");
        let key = ClaimKey { work_order: number, counter: Counter::Input, step: String::new(), barcode: "A1".into() };
        let batch = Batch { unclaimed: vec![key], ..Batch::default() };
        let told = RefCell::new(Vec::new());
        let attempt = async |looks: bool| {
            told.borrow_mut().push(looks);
            Ok(Written::default())
        };
        Repeats::default().write(&batch, attempt).await.expect("it is written");
        assert_eq!(told.into_inner(), [true]);
    }

    #[tokio::test]
    async fn what_was_all_looked_up_before_may_yet_be_refused() {
        let told = RefCell::new(Vec::new());
        let attempt = async |looks: bool| {
            told.borrow_mut().push(looks);
            Err(taken())
        };
        let written = Repeats::default().write(&Batch::default(), attempt).await;
        assert!(matches!(written, Err(StoreError::Taken(_))));
        assert_eq!(told.into_inner(), [false, true]);
    }
}
