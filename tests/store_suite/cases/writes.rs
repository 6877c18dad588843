//! The guarded write, and the write under row locks.

use std::collections::HashSet;
use std::sync::Arc;

use scanfence::domain::decide::{Claim, ClaimKey, Facts};
use scanfence::domain::ids::{Fence, Quantity, RequestId, Seq, WorkOrderNumber};
use scanfence::domain::request::Request;
use scanfence::domain::update::{Outcome, RefusalCode, Update};
use scanfence::domain::work_order::Plan;
use scanfence::store::{Batch, StoreError, Wanted};

use crate::store_suite::shop::*;

pub async fn a_write_is_read_back_whole(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let requests = [
        scan_of(&numbers[0], "A1"),
        scan(&numbers[1]),
        scan_of(&numbers[0], "A1"),
        correct(&numbers[1], -5),
        correct(&numbers[1], 5),
    ];
    let batch = prepared(&*store, &requests).await;
    let written = store.write(&batch).await.unwrap();
    assert_eq!(written.passed, numbers.iter().cloned().collect());
    assert!(written.known.is_empty());

    for change in &batch.changes {
        let number = &change.row.work_order;
        assert_eq!(row(&*store, number).await, change.row);
        let updates: Vec<Update> = change.updates.iter().map(|update| Update::clone(update)).collect();
        let mut logged = log(&*store, number).await;
        logged.reverse();
        let of = |outcome, updates: &[Update]| -> HashSet<String> {
            updates.iter().filter(|update| update.outcome == outcome).map(|update| format!("{update:?}")).collect()
        };
        for outcome in [Outcome::Counted, Outcome::Refused] {
            assert_eq!(of(outcome, &logged), of(outcome, &updates));
        }
        audit(&*store, number).await;
    }
    let codes: Vec<_> = batch.changes.iter().flat_map(|change| &change.updates).filter_map(|u| u.code).collect();
    assert_eq!(codes.len(), 2, "one barcode twice, and one below zero: {codes:?}");
    let original = store.updates_by_id(&[requests[2].request_id.clone()]).await.unwrap();
    assert_eq!(original[0].original_request_id.as_ref(), Some(&requests[0].request_id));
    assert_eq!(claims(&*store, &numbers[0], "A1").await, [(1, requests[0].request_id.clone())]);
}

/// Each kind of statement: without barcodes, with barcodes, and with claims that go or change hands.
pub async fn a_stale_work_order_keeps_back_its_own_rows_and_claims_whatever_the_statement(store: Shared) {
    let kinds: [fn(&WorkOrderNumber) -> Vec<Request>; 3] = [
        |number| vec![scan(number), correct(number, 2), correct(number, -99)],
        |number| vec![scan_of(number, "B1"), scan(number), scan_of(number, "A1")],
        |number| vec![unbind(number, "A1"), scan_of(number, "B1"), unbind(number, "A2"), scan_of(number, "A2")],
    ];
    for requests_of in kinds {
        let numbers = [work_order(&*store).await, work_order(&*store).await, work_order(&*store).await];
        for number in &numbers {
            count(&*store, &[scan_of(number, "A1"), scan_of(number, "A2")]).await;
        }
        let requests: Vec<Request> = numbers.iter().flat_map(requests_of).collect();
        let batch = prepared(&*store, &requests).await;
        count(&*store, &[scan(&numbers[1])]).await;
        let (before, claimed) = (row(&*store, &numbers[1]).await, claims(&*store, &numbers[1], "A1").await);

        let written = store.write(&batch).await.unwrap();
        assert_eq!(written.passed, HashSet::from([numbers[0].clone(), numbers[2].clone()]));
        assert_eq!(row(&*store, &numbers[1]).await, before);
        assert_eq!(log(&*store, &numbers[1]).await.len(), 3, "its rows before, and no other");
        assert_eq!(claims(&*store, &numbers[1], "A1").await, claimed);
        for change in batch.changes.iter().filter(|change| change.row.work_order != numbers[1]) {
            assert_eq!(row(&*store, &change.row.work_order).await, change.row);
            assert_eq!(log(&*store, &change.row.work_order).await.len(), 2 + change.updates.len());
        }
        for number in &numbers {
            audit(&*store, number).await;
        }
    }
}

pub async fn the_log_keeps_line_and_product_as_they_were(store: Shared) {
    let number = work_order(&*store).await;
    let planned = [(Some("L1"), None), (None, Some("WA2080")), (Some("L2"), Some("WA2081"))];
    for (line, product_code) in planned {
        let plan = Plan { line: line.map(Into::into), product_code: product_code.map(Into::into), ..plan() };
        put(&*store, &number, plan).await;
        count(&*store, &[scan(&number)]).await;
    }
    let log = log(&*store, &number).await.into_iter().rev();
    let kept: Vec<_> = log.map(|row| (row.line, row.product_code)).collect();
    assert_eq!(kept, planned.map(|(line, product)| (line.map(str::to_owned), product.map(str::to_owned))));
}

pub async fn a_stale_stamp_is_overtaken_and_writes_nothing(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let requests = [scan_of(&numbers[0], "A1"), scan_of(&numbers[1], "A1")];
    let batch = prepared(&*store, &requests).await;
    count(&*store, &[scan(&numbers[0])]).await;
    let before = row(&*store, &numbers[0]).await;

    let written = store.write(&batch).await.unwrap();
    assert_eq!(written.passed, HashSet::from([numbers[1].clone()]), "the neighbour is written");
    assert_eq!(row(&*store, &numbers[0]).await, before);
    let ids: Vec<RequestId> = requests.iter().map(|request| request.request_id.clone()).collect();
    let found = store.updates_by_id(&ids).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].request_id, ids[1]);
    assert_eq!(claims(&*store, &numbers[0], "A1").await, []);
    assert_eq!(claims(&*store, &numbers[1], "A1").await, [(1, ids[1].clone())]);

    let again = store
        .write(&Batch { changes: batch.changes[..].to_vec(), unverified: Vec::new(), unclaimed: Vec::new() })
        .await
        .unwrap();
    assert!(again.passed.is_empty(), "the very same batch does not pass twice");

    put(&*store, &numbers[1], plan()).await;
    let unknown = number();
    let mut gone = prepared(&*store, &[scan(&numbers[1])]).await;
    gone.changes[0].row.work_order = unknown.clone();
    assert!(store.write(&gone).await.unwrap().passed.is_empty(), "a row that is not there is not made");
    assert_eq!(store.work_order(&unknown).await.unwrap(), None);
}

pub async fn every_write_leaves_its_own_stamp(store: Shared) {
    let number = work_order(&*store).await;
    let mut seen = HashSet::from([row(&*store, &number).await.stamp]);
    for request in [scan_of(&number, "A1"), scan_of(&number, "A1"), correct(&number, 3), unbind(&number, "A1")] {
        let batch = prepared(&*store, &[request]).await;
        store.write(&batch).await.unwrap();
        let stamp = row(&*store, &number).await.stamp;
        assert_eq!(stamp, batch.changes[0].row.stamp);
        assert!(seen.insert(stamp), "refusals change it too");
    }
}

pub async fn a_newer_fence_passes_and_an_older_one_is_refused(store: Shared) {
    let number = work_order(&*store).await;
    for (fence, passes) in [(5, true), (5, true), (4, false), (1, false), (6, true), (5, false)] {
        let batch = prepared_under(&*store, &[scan(&number)], &under(&number, fence, "a")).await;
        let before = row(&*store, &number).await;
        let written = store.write(&batch).await.unwrap();
        assert_eq!(written.passed.contains(&number), passes, "fence {fence} on {}", before.fence);
        let after = row(&*store, &number).await;
        match passes {
            true => assert_eq!((after.fence, after.fence_owner), (Fence(fence), Some(owner("a")))),
            false => assert_eq!(after, before),
        }
    }
    audit(&*store, &number).await;
}

pub async fn an_equal_fence_of_another_owner_is_refused(store: Shared) {
    let number = work_order(&*store).await;
    for (fence, name, passes) in [(0, "a", true), (0, "b", false), (1, "b", true), (1, "a", false), (1, "b", true)] {
        let batch = prepared_under(&*store, &[scan(&number)], &under(&number, fence, name)).await;
        let written = store.write(&batch).await.unwrap();
        assert_eq!(written.passed.contains(&number), passes, "fence {fence} of {name}");
    }
    let row = row(&*store, &number).await;
    assert_eq!((row.fence, row.fence_owner), (Fence(1), Some(owner("b"))));
    audit(&*store, &number).await;
}

pub async fn without_a_lease_the_stamp_alone_decides(store: Shared) {
    let number = work_order(&*store).await;
    let batch = prepared_under(&*store, &[scan(&number)], &under(&number, 7, "a")).await;
    store.write(&batch).await.unwrap();
    let batch = prepared(&*store, &[scan(&number)]).await;
    assert!(store.write(&batch).await.unwrap().passed.contains(&number));
    let row = row(&*store, &number).await;
    assert_eq!((row.fence, row.fence_owner), (Fence(7), Some(owner("a"))), "left as they were");
    assert_eq!(row.stamp, batch.changes[0].row.stamp);
}

pub async fn pitfall_40_refusals_alone_do_not_stand_on_changed_facts(store: Shared) {
    let number = number();
    let tight = Plan { planned_quantity: pieces(1), over_plan_allowance: Some(Quantity::ZERO), ..plan() };
    put(&*store, &number, tight.clone()).await;
    count(&*store, &[scan(&number)]).await;
    let refused = scan(&number);
    let batch = prepared(&*store, std::slice::from_ref(&refused)).await;
    assert_eq!(batch.changes[0].updates[0].code, Some(RefusalCode::OverPlan));
    put(&*store, &number, Plan { planned_quantity: pieces(2), ..tight }).await;

    let written = store.write(&batch).await.unwrap();
    assert!(written.passed.is_empty());
    assert!(store.updates_by_id(std::slice::from_ref(&refused.request_id)).await.unwrap().is_empty());
    count(&*store, &[refused]).await;
    assert_eq!(row(&*store, &number).await.input_quantity, pieces(2));
}

pub async fn pitfall_24_a_known_id_holds_back_its_work_order_and_no_other(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await, work_order(&*store).await];
    let known = scan(&numbers[0]);
    count(&*store, std::slice::from_ref(&known)).await;
    let elsewhere = scan(&numbers[2]);
    count(&*store, std::slice::from_ref(&elsewhere)).await;

    // Decided on rows alone, as under a held lease; the same id again, and one that is
    // known under another work order than it now asks for.
    let moved = Request { work_order: numbers[2].clone(), ..known.clone() };
    let requests = [known.clone(), scan(&numbers[0]), scan(&numbers[1]), moved];
    let facts = store.load(&Wanted { request_ids: Vec::new(), ..wanted(&requests) }).await.unwrap();
    let (_, mut batch) = decided_at(time(0), facts, &requests[..3], &Leases::new());
    batch.unverified = requests[..3].iter().map(|r| (r.request_id.clone(), r.work_order.clone())).collect();

    let before = row(&*store, &numbers[0]).await;
    let written = store.write(&batch).await.unwrap();
    assert_eq!(written.passed, HashSet::from([numbers[1].clone()]));
    let found: Vec<&Update> = written.known.iter().map(Arc::as_ref).collect();
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].request_id, known.request_id);
    assert_eq!(*found[0], log(&*store, &numbers[0]).await[0], "whole, as a replay needs it");
    assert_eq!(row(&*store, &numbers[0]).await, before);
    assert_eq!(row(&*store, &numbers[1]).await.input_quantity, pieces(1));

    // One id of another work order: the work order that asks now is the one held back.
    let facts = store.load(&Wanted { request_ids: Vec::new(), ..wanted(&requests[3..]) }).await.unwrap();
    let (_, mut batch) = decided_at(time(0), facts, &requests[3..], &Leases::new());
    batch.unverified = vec![(known.request_id.clone(), numbers[2].clone())];
    let written = store.write(&batch).await.unwrap();
    assert!(written.passed.is_empty());
    assert_eq!(written.known[0].work_order, numbers[0]);
}

pub async fn pitfall_2_a_counted_barcode_holds_back_its_work_order_and_no_other(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let counted = scan_of(&numbers[0], "WA2080ZWJ0926");
    count(&*store, std::slice::from_ref(&counted)).await;

    // Decided on rows alone, as under a held lease: the same part under another id, and the
    // same code on another work order, where it is not counted.
    let requests = [scan_of(&numbers[0], "WA2080ZWJ0926"), scan_of(&numbers[1], "WA2080ZWJ0926")];
    let wanted = Wanted { request_ids: Vec::new(), claims: Vec::new(), ..wanted(&requests) };
    let facts = store.load(&wanted).await.unwrap();
    let (_, mut batch) = decided_at(time(0), facts, &requests, &Leases::new());
    batch.unclaimed = requests.iter().filter_map(ClaimKey::of).collect();

    let before = row(&*store, &numbers[0]).await;
    let written = store.write(&batch).await.unwrap();
    assert_eq!(written.passed, HashSet::from([numbers[1].clone()]));
    let claim = Claim { ordinal: 1, request_id: counted.request_id.clone(), quantity: pieces(1) };
    assert_eq!(written.claimed, [(ClaimKey::of(&requests[0]).unwrap(), claim)]);
    assert_eq!(written.known.len(), 1, "the update that counted it comes along");
    assert_eq!(*written.known[0], log(&*store, &numbers[0]).await[0], "whole, as the refusal shows it");
    assert_eq!(row(&*store, &numbers[0]).await, before);
    assert_eq!(row(&*store, &numbers[1]).await.input_quantity, pieces(1));
}

pub async fn pitfall_23_a_taken_request_id_is_told_and_nothing_is_written(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let known = scan(&numbers[0]);
    count(&*store, std::slice::from_ref(&known)).await;
    let before = [row(&*store, &numbers[0]).await, row(&*store, &numbers[1]).await];
    let requests = [known, scan(&numbers[1])];
    let mut facts = store.load(&wanted(&requests)).await.unwrap();
    facts.updates.clear();
    let (_, batch) = decided_at(time(0), facts, &requests, &Leases::new());
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(_)), "{error:?}");
    assert!(!error.outcome_unknown());
    assert_eq!([row(&*store, &numbers[0]).await, row(&*store, &numbers[1]).await], before);
    assert!(store.updates_by_id(std::slice::from_ref(&requests[1].request_id)).await.unwrap().is_empty());
    settle(&*store, &requests).await;
    audit(&*store, &numbers[0]).await;
}

/// The last statement of a write finds a taken claim. All that the earlier statements wrote must be undone.
pub async fn a_taken_claim_is_told_and_nothing_is_written(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    count(&*store, &[scan_of(&numbers[0], "A1"), scan_of(&numbers[1], "B1")]).await;
    let before = [row(&*store, &numbers[0]).await, row(&*store, &numbers[1]).await];
    let requests = [scan_of(&numbers[0], "A1"), unbind(&numbers[1], "B1"), scan_of(&numbers[1], "B2")];
    let mut facts = store.load(&wanted(&requests)).await.unwrap();
    facts.claims.retain(|key, _| key.work_order != numbers[0]);
    let (_, batch) = decided_at(time(0), facts, &requests, &Leases::new());
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(_)), "{error:?}");
    assert_eq!([row(&*store, &numbers[0]).await, row(&*store, &numbers[1]).await], before);
    let ids: Vec<RequestId> = requests.iter().map(|request| request.request_id.clone()).collect();
    assert!(store.updates_by_id(&ids).await.unwrap().is_empty());
    assert_eq!(claims(&*store, &numbers[1], "B1").await.len(), 1);
    assert_eq!(claims(&*store, &numbers[1], "B2").await.len(), 0);
    settle(&*store, &requests).await;
    audit(&*store, &numbers[0]).await;
    audit(&*store, &numbers[1]).await;
}

pub async fn a_row_behind_its_log_is_told_and_its_neighbours_are_unharmed(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    count(&*store, &[scan(&numbers[0])]).await;
    // The log gets a row that the work order's row does not know of.
    let mut ahead = prepared(&*store, &[scan(&numbers[0])]).await;
    ahead.changes[0].row.seq = Seq(1);
    store.write(&ahead).await.unwrap();

    let batch = prepared(&*store, &[scan(&numbers[0]), scan(&numbers[1])]).await;
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::BehindLog(_)), "{error:?}");
    assert_eq!(row(&*store, &numbers[1]).await.input_quantity, Quantity::ZERO, "all or nothing");
    let alone = |number: &WorkOrderNumber| Batch {
        changes: batch.changes.iter().filter(|change| change.row.work_order == *number).cloned().collect(),
        unverified: Vec::new(),
        unclaimed: Vec::new(),
    };
    let error = store.write(&alone(&numbers[0])).await.unwrap_err();
    assert!(matches!(error, StoreError::BehindLog(_)), "{error:?}");
    assert!(store.write(&alone(&numbers[1])).await.unwrap().passed.contains(&numbers[1]));
    audit(&*store, &numbers[1]).await;
}

pub async fn pitfall_6_a_value_refused_for_good_is_told_and_its_neighbours_are_unharmed(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let mut batch = prepared(&*store, &[scan(&numbers[0]), scan(&numbers[1])]).await;
    let poisoned = numbers.iter().position(|number| *number == batch.changes[0].row.work_order).unwrap();
    let contradiction = Update { at_seq: Some(Seq(1)), ..Update::clone(&batch.changes[0].updates[0]) };
    batch.changes[0].updates = vec![Arc::new(contradiction)];
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
    for number in &numbers {
        assert_eq!(row(&*store, number).await.input_quantity, Quantity::ZERO);
    }
    batch.changes.remove(0);
    assert!(store.write(&batch).await.unwrap().passed.contains(&numbers[1 - poisoned]));
}

pub async fn the_row_lock_path_decides_on_what_stands_and_writes_it(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    let counted = scan(&numbers[0]);
    count(&*store, std::slice::from_ref(&counted)).await;
    let requests = [counted.clone(), scan_of(&numbers[0], "A1"), scan(&numbers[1]), scan(&number())];
    let mut calls = 0;
    let mut decide = |facts: Facts| {
        calls += 1;
        assert!(facts.updates.contains_key(&counted.request_id));
        assert_eq!(facts.work_orders.len(), 2);
        decided_at(time(0), facts, &requests, &Leases::new()).1
    };
    let written = store.write_locked(&wanted(&requests), &mut decide).await.unwrap();
    assert_eq!(written.passed, numbers.iter().cloned().collect());
    assert_eq!(calls, 1);
    assert_eq!(row(&*store, &numbers[0]).await.input_quantity, pieces(2));
    assert_eq!(claims(&*store, &numbers[0], "A1").await.len(), 1);
    for number in &numbers {
        audit(&*store, number).await;
    }

    let mut nothing = |_| Batch::default();
    let written = store.write_locked(&wanted(&requests), &mut nothing).await.unwrap();
    assert!(written.passed.is_empty() && written.known.is_empty());
}

pub async fn the_row_lock_path_holds_others_off(store: Shared) {
    let number = work_order(&*store).await;
    let tasks: Vec<_> = (0..20)
        .map(|_| {
            let (store, number) = (Arc::clone(&store), number.clone());
            tokio::spawn(async move {
                let requests = [scan(&number)];
                let mut decide = |facts| decided_at(time(0), facts, &requests, &Leases::new()).1;
                store.write_locked(&wanted(&requests), &mut decide).await.unwrap().passed.len()
            })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), 1, "what was decided under the lock is never overtaken");
    }
    assert_eq!(row(&*store, &number).await.input_quantity, pieces(20));
    audit(&*store, &number).await;
}
