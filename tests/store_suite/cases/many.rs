//! Many calls at once, calls that are dropped, and the end of a store.

use std::sync::Arc;

use scanfence::domain::request::Request;
use scanfence::domain::work_order::{Edit, Precondition};
use scanfence::store::{Batch, Readiness, Store, StoreError, Wanted};

use crate::store_suite::shop::*;

pub async fn many_writers_at_once_count_every_scan_once(store: Shared) {
    let numbers = Arc::new([work_order(&*store).await, work_order(&*store).await]);
    let shared = Arc::new((scan(&numbers[0]), scan_of(&numbers[1], "A1")));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let (store, numbers, shared) = (Arc::clone(&store), Arc::clone(&numbers), Arc::clone(&shared));
            tokio::spawn(async move {
                for turn in 0..5 {
                    // Over A, B and B, A; the shared ids in both orders as well (pitfalls 20, 41).
                    let mut requests = vec![scan(&numbers[0]), scan(&numbers[1]), shared.0.clone(), shared.1.clone()];
                    if (task + turn) % 2 == 0 {
                        requests.reverse();
                    }
                    settle(&*store, &requests).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    for number in numbers.iter() {
        assert_eq!(row(&*store, number).await.input_quantity, pieces(41));
        audit(&*store, number).await;
    }
}

pub async fn a_batch_longer_than_any_statement_is_written_whole(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let mut requests: Vec<Request> = (0..1500).map(|n| scan_of(&numbers[0], &format!("A{n}"))).collect();
    requests.push(scan(&numbers[1]));
    count(&*store, &requests).await;
    assert_eq!(row(&*store, &numbers[0]).await.input_quantity, pieces(1500));
    for n in [0, 511, 512, 1023, 1024, 1499] {
        assert_eq!(claims(&*store, &numbers[0], &format!("A{n}")).await.len(), 1, "A{n}");
    }
    audit(&*store, &numbers[0]).await;
    audit(&*store, &numbers[1]).await;
}

pub async fn pitfall_48_a_call_dropped_at_any_await_leaves_nothing_half_done(store: Shared) {
    let number = work_order(&*store).await;
    let mut finished = 0;
    for polls in 0.. {
        let requests = [scan_of(&number, &format!("A{polls}")), scan(&number)];
        let done = match polls % 3 {
            0 => {
                let batch = prepared_patiently(&*store, &requests).await;
                DroppedAfter::new(polls / 3, store.write(&batch)).await.is_some()
            }
            1 => {
                let wanted = wanted(&requests);
                let mut decide = |facts| decided_at(time(0), facts, &requests, &Leases::new()).1;
                DroppedAfter::new(polls / 3, store.write_locked(&wanted, &mut decide)).await.is_some()
            }
            _ => {
                let (edit, none) = (Edit::Plan(plan()), Precondition::None);
                DroppedAfter::new(polls / 3, store.edit(&number, &edit, &none, fresh())).await.is_some()
            }
        };
        // The next calls work, and settle the request that was cut off, written or not.
        settle(&*store, &requests).await;
        audit(&*store, &number).await;
        let counted = row(&*store, &number).await.input_quantity.get();
        assert_eq!(counted, 2 * (polls as i64 + 1), "after {} polls", polls / 3);
        finished = if done { finished + 1 } else { 0 };
        if finished == 6 {
            break;
        }
    }
}

/// Loads and decides, while a call that was cut off may still be at its end.
async fn prepared_patiently(store: &dyn Store, requests: &[Request]) -> Batch {
    loop {
        match store.load(&wanted(requests)).await {
            Ok(facts) => return decided_at(time(0), facts, requests, &Leases::new()).1,
            Err(StoreError::TryAgain(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
}

pub async fn the_epoch_stays_while_the_connection_does(store: Shared) {
    let number = work_order(&*store).await;
    count(&*store, &[scan(&number)]).await;
    let epoch = store.epoch();
    let known = scan(&number);
    count(&*store, std::slice::from_ref(&known)).await;
    let mut facts = store.load(&wanted(std::slice::from_ref(&known))).await.unwrap();
    facts.updates.clear();
    let (_, batch) = decided_at(time(0), facts, &[known], &Leases::new());
    assert!(matches!(store.write(&batch).await, Err(StoreError::Taken(_))));
    count(&*store, &[scan(&number)]).await;
    assert_eq!(store.epoch(), epoch, "a refused write is no reason for a new connection");
}

pub async fn a_store_at_rest_is_ready(store: Shared) {
    let Readiness { writable, migrated, .. } = store.ready().await.unwrap();
    assert!(writable && migrated);
    let number = work_order(&*store).await;
    count(&*store, &[scan(&number)]).await;
    assert!(store.ready().await.unwrap().writable);
}

/// Only for a store of its own.
pub async fn a_closed_store_says_so(store: Shared) {
    store.close().await;
    assert!(matches!(store.load(&Wanted::default()).await, Err(StoreError::TryAgain(_))));
    assert!(store.work_order(&number()).await.is_err());
}
