//! The audit: whether the log of a work order explains its quantities, and holds every
//! acknowledged request once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Instant;

use scanfence::domain::ids::{RequestId, WorkOrderNumber};
use scanfence::domain::request::Counter;
use scanfence::domain::update::{Outcome, Update};
use scanfence::store::{LogCursor, Store, StoreError, UpdateQuery};

use super::SOON;

/// What is wrong with a work order; empty when nothing is.
pub async fn audit(store: &Arc<dyn Store>, number: &WorkOrderNumber, acknowledged: &[RequestId]) -> Vec<String> {
    let row = store.work_order(number).await.expect("the store can be read").expect("the work order exists");
    let log = log_of(store, number).await;
    let mut wrong = Vec::new();

    let ids: HashSet<&RequestId> = log.iter().map(|update| &update.request_id).collect();
    if ids.len() != log.len() {
        wrong.push("a request id stands in the log twice".to_owned());
    }
    let counted: Vec<&Update> = log.iter().filter(|update| update.outcome == Outcome::Counted).collect();
    let counted_ids: HashSet<&RequestId> = counted.iter().map(|update| &update.request_id).collect();
    for id in acknowledged {
        if !counted_ids.contains(id) {
            wrong.push(format!("{id} was acknowledged and is not in the log"));
        }
    }
    let seqs: Vec<i64> = counted.iter().filter_map(|update| update.seq).map(|seq| seq.0).collect();
    if seqs != (1..=row.seq.0).collect::<Vec<_>>() {
        wrong.push(format!("seq is not 1..{} without gaps: {seqs:?}", row.seq));
    }
    if counted.windows(2).any(|pair| pair[1].fence < pair[0].fence) {
        wrong.push("a fence goes down along seq".to_owned());
    }
    let mut at: HashMap<Counter, i64> = HashMap::new();
    for update in &counted {
        let standing = at.entry(update.counter).or_default();
        if update.before.get() != *standing {
            wrong.push(format!(
                "seq {:?}: before is {}, the previous after {standing}",
                update.seq,
                update.before.get()
            ));
        }
        *standing += update.delta.get();
        if update.after.get() != *standing {
            wrong.push(format!("seq {:?}: after is {}, not before + delta", update.seq, update.after.get()));
        }
    }
    for counter in Counter::ALL {
        let sum = at.get(&counter).copied().unwrap_or_default();
        if row.quantity(counter).get() != sum {
            wrong.push(format!("{counter} is {}, its log sums to {sum}", row.quantity(counter).get()));
        }
    }
    for update in log.iter().filter(|update| update.outcome == Outcome::Refused) {
        if update.before != update.after {
            wrong.push(format!("{} was refused and changed something", update.request_id));
        }
    }
    if row.status != row.present_status() {
        wrong.push(format!("the status is {:?}, not {:?}", row.status, row.present_status()));
    }
    wrong
}

/// Fails unless there is nothing wrong.
pub async fn assert_audit(store: &Arc<dyn Store>, number: &WorkOrderNumber, acknowledged: &[RequestId]) {
    let wrong = audit(store, number, acknowledged).await;
    assert!(wrong.is_empty(), "{number}: {wrong:#?}");
}

/// A work order's whole log, oldest first.
pub async fn log_of(store: &Arc<dyn Store>, number: &WorkOrderNumber) -> Vec<Update> {
    let mut log: Vec<Update> = Vec::new();
    loop {
        let before = log.last().map(|update| LogCursor {
            seq: update.seq.or(update.at_seq).expect("an update has a place"),
            refused: update.at_seq.map(|_| (update.recorded_at, update.request_id.clone())),
        });
        let query = UpdateQuery {
            work_order: number.clone(),
            counter: None,
            outcome: None,
            barcode: None,
            from: None,
            to: None,
            before,
            limit: 500,
        };
        let page = page(store, &query).await;
        if page.is_empty() {
            log.reverse();
            return log;
        }
        log.extend(page);
    }
}

/// One page of a log. A store that asks to try again, as while the disk stalls, is asked again.
async fn page(store: &Arc<dyn Store>, query: &UpdateQuery) -> Vec<Update> {
    let deadline = Instant::now() + SOON;
    loop {
        match store.updates(query).await {
            Err(StoreError::TryAgain(_)) if Instant::now() < deadline => {}
            page => return page.expect("the log can be read"),
        }
    }
}
