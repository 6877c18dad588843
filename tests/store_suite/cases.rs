//! The cases. Each name is a sentence about a store.

use std::collections::HashSet;
use std::sync::Arc;

use scanfence::domain::decide::{Claim, ClaimKey, Facts};
use scanfence::domain::ids::{
    Barcode, Fence, Principal, QUANTITY_LIMIT, Quantity, RequestId, Seq, Stamp, Step, WorkOrderNumber,
};
use scanfence::domain::request::{Ask, Change, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::{Outcome, RefusalCode, Update};
use scanfence::domain::work_order::{BarcodePolicy, Edit, EditRefusal, Hold, Plan, Precondition, Status};
use scanfence::store::{
    BarcodeQuery, Batch, LogCursor, Readiness, Store, StoreError, UpdateQuery, Wanted, WorkOrderQuery,
};

use super::shop::*;

// Planning

pub async fn a_work_order_is_created_and_replaced(store: Shared) {
    let number = number();
    let full = Plan {
        planned_quantity: pieces(500),
        over_plan_allowance: Some(pieces(0)),
        barcode_policy: BarcodePolicy::Repeatable,
        product_code: Some("WA2080".into()),
        product_name: Some("水泵 \"A\" \\ 50%".into()),
        line: Some("L3".into()),
    };
    assert_eq!(store.work_order(&number).await.unwrap(), None);
    let edit = Edit::Plan(full.clone());
    let edited = store.edit(&number, &edit, &Precondition::None, fresh()).await.unwrap().unwrap();
    assert!(edited.created);
    assert_eq!(edited.row.plan, full);
    assert_eq!(row(&*store, &number).await, edited.row);

    count(&*store, &[scan(&number)]).await;
    let counted = row(&*store, &number).await;
    let edit = Edit::Plan(plan());
    let edited = store.edit(&number, &edit, &Precondition::Exists, fresh()).await.unwrap().unwrap();
    assert!(!edited.created);
    assert_eq!(edited.row.plan, plan(), "what is omitted takes its default");
    assert_eq!((edited.row.seq, edited.row.input_quantity), (counted.seq, counted.input_quantity));
    assert_eq!(row(&*store, &number).await, edited.row);

    let edit = Edit::Hold { hold: Some(Hold::Paused), reason: "spindle".into() };
    let edited = store.edit(&number, &edit, &Precondition::None, fresh()).await.unwrap().unwrap();
    assert_eq!(edited.row.status, Status::Paused);
    assert_eq!(row(&*store, &number).await, edited.row);
}

pub async fn an_edit_that_is_refused_writes_nothing(store: Shared) {
    let hold = Edit::Hold { hold: Some(Hold::Paused), reason: "spindle".into() };
    let unknown = number();
    let refused = store.edit(&unknown, &hold, &Precondition::None, fresh()).await.unwrap();
    assert_eq!(refused.unwrap_err(), EditRefusal::Unknown);
    assert_eq!(store.work_order(&unknown).await.unwrap(), None);

    let number = work_order(&*store).await;
    count(&*store, &[scan_of(&number, "A1")]).await;
    let before = row(&*store, &number).await;
    let repeatable = Edit::Plan(Plan { barcode_policy: BarcodePolicy::Repeatable, ..plan() });
    let stale = Precondition::AnyOf(vec![fresh().revision]);
    for (edit, precondition, refusal) in [
        (&hold, &stale, EditRefusal::RevisionDiffers),
        (&repeatable, &Precondition::None, EditRefusal::BarcodePolicyFixed),
    ] {
        let refused = store.edit(&number, edit, precondition, fresh()).await.unwrap();
        assert_eq!(refused.unwrap_err(), refusal);
        assert_eq!(row(&*store, &number).await, before);
    }
}

pub async fn an_edit_changes_stamp_and_revision(store: Shared) {
    let number = work_order(&*store).await;
    let before = row(&*store, &number).await;
    let given = fresh();
    let precondition = Precondition::AnyOf(vec![before.revision]);
    let edited = store.edit(&number, &Edit::Plan(plan()), &precondition, given).await.unwrap().unwrap().row;
    assert_eq!((edited.stamp, edited.revision), (given.stamp, given.revision));
    assert_eq!(row(&*store, &number).await, edited);
    assert_ne!(before.stamp, edited.stamp);
}

// The guarded write

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
    let (_, mut batch) = decided_at(time(0), facts, &requests[..3], &Tenures::new());
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
    let (_, mut batch) = decided_at(time(0), facts, &requests[3..], &Tenures::new());
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
    // same code on another work order, where it stands counted for nobody.
    let requests = [scan_of(&numbers[0], "WA2080ZWJ0926"), scan_of(&numbers[1], "WA2080ZWJ0926")];
    let wanted = Wanted { request_ids: Vec::new(), claims: Vec::new(), ..wanted(&requests) };
    let facts = store.load(&wanted).await.unwrap();
    let (_, mut batch) = decided_at(time(0), facts, &requests, &Tenures::new());
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
    let (_, batch) = decided_at(time(0), facts, &requests, &Tenures::new());
    let error = store.write(&batch).await.unwrap_err();
    assert!(matches!(error, StoreError::Taken(_)), "{error:?}");
    assert!(!error.outcome_unknown());
    assert_eq!([row(&*store, &numbers[0]).await, row(&*store, &numbers[1]).await], before);
    assert!(store.updates_by_id(std::slice::from_ref(&requests[1].request_id)).await.unwrap().is_empty());
    settle(&*store, &requests).await;
    audit(&*store, &numbers[0]).await;
}

/// A claim that is taken is found by the last statement of a write: all that the ones
/// before it wrote must go as well.
pub async fn a_taken_claim_is_told_and_nothing_is_written(store: Shared) {
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    count(&*store, &[scan_of(&numbers[0], "A1"), scan_of(&numbers[1], "B1")]).await;
    let before = [row(&*store, &numbers[0]).await, row(&*store, &numbers[1]).await];
    let requests = [scan_of(&numbers[0], "A1"), unbind(&numbers[1], "B1"), scan_of(&numbers[1], "B2")];
    let mut facts = store.load(&wanted(&requests)).await.unwrap();
    facts.claims.retain(|key, _| key.work_order != numbers[0]);
    let (_, batch) = decided_at(time(0), facts, &requests, &Tenures::new());
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

// Claims

/// Under an unchanged stamp this can't be; should it be all the same, memory and table
/// differ and nothing may be written on the strength of memory.
pub async fn claims_that_are_not_as_loaded_fail_the_whole_write(store: Shared) {
    let number = work_order(&*store).await;
    let first = scan_of(&number, "A1");
    count(&*store, std::slice::from_ref(&first)).await;
    let before = row(&*store, &number).await;
    let claim = |barcode: &str, ordinal, request_id: &RequestId| {
        let key = ClaimKey::of(&scan_of(&number, barcode)).unwrap();
        (key, Claim { ordinal, request_id: request_id.clone(), quantity: pieces(1) })
    };
    for (delete, take_over) in [
        (vec![claim("A2", 1, &first.request_id)], vec![]),
        (vec![claim("A1", 2, &first.request_id)], vec![]),
        (vec![claim("A1", 1, &first.request_id), claim("A2", 1, &first.request_id)], vec![]),
        (vec![], vec![claim("A2", 1, &first.request_id)]),
    ] {
        let mut batch = prepared(&*store, &[scan(&number)]).await;
        batch.changes[0].claims.delete = delete;
        batch.changes[0].claims.take_over = take_over;
        let error = store.write(&batch).await.unwrap_err();
        assert!(matches!(error, StoreError::TryAgain(_)), "{error:?}");
        assert_eq!(row(&*store, &number).await, before);
        assert_eq!(claims(&*store, &number, "A1").await, [(1, first.request_id.clone())]);
    }
}

pub async fn pitfall_39_scan_and_unbind_of_one_barcode_in_one_batch(store: Shared) {
    for policy in [BarcodePolicy::Once, BarcodePolicy::Repeatable] {
        let number = number();
        put(&*store, &number, Plan { barcode_policy: policy, ..plan() }).await;
        let s = || scan_of(&number, "A1");
        let u = || unbind(&number, "A1");
        let mut standing: Vec<RequestId> = Vec::new();
        for requests in [
            vec![s(), u(), s()],
            vec![u(), s()],
            vec![u(), s(), u()],
            vec![s(), u()],
            vec![u()],
            vec![s(), u(), s(), u(), s(), s()],
            vec![u(), s(), s(), u(), u(), u(), s()],
        ] {
            for request in &requests {
                match (&request.ask, policy) {
                    (Ask::Unbind { .. }, _) => drop(standing.pop()),
                    (_, BarcodePolicy::Once) if !standing.is_empty() => {}
                    (_, BarcodePolicy::Once | BarcodePolicy::Repeatable) => standing.push(request.request_id.clone()),
                }
            }
            count(&*store, &requests).await;
            let expected: Vec<(i64, RequestId)> = (1..).zip(standing.iter().cloned()).collect();
            assert_eq!(claims(&*store, &number, "A1").await, expected, "{policy:?}");
            assert_eq!(row(&*store, &number).await.input_quantity.get(), standing.len() as i64);
        }
        audit(&*store, &number).await;
    }
}

pub async fn pitfall_32_an_unbound_barcode_counts_again(store: Shared) {
    let number = work_order(&*store).await;
    for _ in 0..3 {
        count(&*store, &[scan_of(&number, "A1")]).await;
        assert_eq!(row(&*store, &number).await.input_quantity, pieces(1));
        count(&*store, &[scan_of(&number, "A1")]).await;
        assert_eq!(row(&*store, &number).await.input_quantity, pieces(1), "it stands counted");
        count(&*store, &[unbind(&number, "A1")]).await;
        assert_eq!(row(&*store, &number).await.input_quantity, Quantity::ZERO);
        assert_eq!(claims(&*store, &number, "A1").await, []);
    }
    audit(&*store, &number).await;
}

pub async fn a_repeatable_barcode_stacks_its_claims(store: Shared) {
    let number = number();
    put(&*store, &number, Plan { barcode_policy: BarcodePolicy::Repeatable, ..plan() }).await;
    let scans: Vec<Request> = (0..5).map(|_| scan_of(&number, "A1")).collect();
    count(&*store, &scans[..2]).await;
    count(&*store, &scans[2..]).await;
    let expected: Vec<(i64, RequestId)> = (1..).zip(scans.iter().map(|scan| scan.request_id.clone())).collect();
    assert_eq!(claims(&*store, &number, "A1").await, expected);

    let other_step = Request { step: Step::parse("P020").unwrap(), ..scan_of(&number, "A1") };
    let other_counter = Request { counter: Counter::Output, ..scan_of(&number, "A1") };
    count(&*store, &[other_step, other_counter, unbind(&number, "A1"), unbind(&number, "A1")]).await;
    assert_eq!(claims(&*store, &number, "A1").await, expected[..3], "the newest two; step and counter are their own");
    audit(&*store, &number).await;
}

pub async fn load_gives_as_many_of_the_newest_claims_as_asked(store: Shared) {
    let number = number();
    put(&*store, &number, Plan { barcode_policy: BarcodePolicy::Repeatable, ..plan() }).await;
    let scans: Vec<Request> = (0..4).map(|_| scan_of(&number, "A1")).collect();
    count(&*store, &scans).await;
    count(&*store, &[scan_of(&number, "A2")]).await;
    let key = |barcode| ClaimKey::of(&scan_of(&number, barcode)).unwrap();
    for depth in [1, 2, 4, 9] {
        let wanted = Wanted { claims: vec![(key("A1"), depth), (key("A2"), 1), (key("A3"), 1)], ..Wanted::default() };
        let facts = store.load(&wanted).await.unwrap();
        let ids: Vec<&RequestId> = facts.claims[&key("A1")].iter().map(|claim| &claim.request_id).collect();
        let newest: Vec<&RequestId> =
            scans.iter().skip(4_usize.saturating_sub(depth as usize)).map(|scan| &scan.request_id).collect();
        assert_eq!(ids, newest, "depth {depth}, oldest first");
        assert_eq!(facts.claims[&key("A2")].len(), 1);
        assert!(facts.claims.get(&key("A3")).is_none_or(Vec::is_empty));
    }
}

// Load

pub async fn load_gives_nothing_for_what_is_not_there(store: Shared) {
    let facts = store.load(&Wanted::default()).await.unwrap();
    assert!(facts.work_orders.is_empty() && facts.updates.is_empty() && facts.claims.is_empty());

    let there = work_order(&*store).await;
    let counted = scan_of(&there, "A1");
    count(&*store, std::slice::from_ref(&counted)).await;
    let requests = [counted.clone(), scan_of(&there, "A2"), scan_of(&number(), "A1")];
    let facts = store.load(&wanted(&requests)).await.unwrap();
    assert_eq!(facts.work_orders.into_values().collect::<Vec<_>>(), [row(&*store, &there).await]);
    let updates: Vec<Update> = facts.updates.values().map(|update| Update::clone(update)).collect();
    assert_eq!(updates, log(&*store, &there).await);
    assert_eq!(facts.claims.values().flatten().count(), 1);
}

// The row-lock path

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
        decided_at(time(0), facts, &requests, &Tenures::new()).1
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
                let mut decide = |facts| decided_at(time(0), facts, &requests, &Tenures::new()).1;
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

// Values

pub async fn values_at_their_limits_come_back_as_they_went_in(store: Shared) {
    let wide = |length: usize| "𠀀".repeat(length);
    let awkward = r#"'"\/%_{}[]$.?1;--<b>"#;
    let barcodes = [wide(128), format!("01{}\u{1d}21{}", "9".repeat(62), "x".repeat(61)), awkward.to_owned()];
    let ids = [
        RequestId::parse(&format!("{:\u{7e}<255}", unique("r"))).unwrap(),
        RequestId::parse(&format!("{}{awkward}", unique("r")).replace('"', "'")).unwrap(),
        RequestId::parse(&format!("\"{}\\\"\\\\\"", unique("r"))).unwrap(),
    ];
    let number = WorkOrderNumber::parse(&format!("{:.<64}", unique("W"))).unwrap();
    let largest = Plan {
        planned_quantity: pieces(QUANTITY_LIMIT),
        over_plan_allowance: Some(pieces(QUANTITY_LIMIT)),
        barcode_policy: BarcodePolicy::Once,
        product_code: Some(wide(64)),
        product_name: Some(awkward.into()),
        line: Some(wide(64)),
    };
    put(&*store, &number, largest.clone()).await;
    assert_eq!(row(&*store, &number).await.plan, largest);

    let times = ["0001-01-01T00:00:00.000Z", "9999-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"];
    for ((barcode, request_id), scanned_at) in barcodes.iter().zip(&ids).zip(times) {
        let request = Request {
            request_id: request_id.clone(),
            step: Step::parse(&wide(64)).unwrap(),
            station: Some(wide(64)),
            terminal: Some(awkward.into()),
            operator: Some(String::new()),
            note: Some(wide(500)),
            scanned_at: Some(Timestamp::parse(scanned_at).unwrap()),
            ..scan_of(&number, barcode)
        };
        let change = Change::SetTo(pieces(QUANTITY_LIMIT));
        let ask = Ask::Correct { change, expected: Some(pieces(QUANTITY_LIMIT)), reason: wide(500) };
        let requests = [
            request.clone(),
            Request { request_id: id(), counter: Counter::Scrap, ..request.clone() },
            Request { request_id: id(), ask, ..request },
        ];
        let recorded_at = Timestamp::parse(scanned_at).unwrap();
        let facts = store.load(&wanted(&requests)).await.unwrap();
        let (_, mut batch) = decided_at(recorded_at, facts, &requests, &under(&number, i64::MAX, awkward));
        for stamp in [i64::MIN, i64::MAX, 0, -1, (1 << 53) + 1] {
            batch.changes[0].row.stamp = Stamp(stamp);
            batch.changes[0].row.scrap_quantity = pieces(QUANTITY_LIMIT);
            assert!(store.write(&batch).await.unwrap().passed.contains(&number));
            assert_eq!(row(&*store, &number).await, batch.changes[0].row);
            for update in &batch.changes[0].updates {
                let found = store.updates_by_id(std::slice::from_ref(&update.request_id)).await.unwrap();
                assert_eq!(found, [Update::clone(update)]);
            }
            batch.changes[0].loaded = Stamp(stamp);
            batch.changes[0].updates.clear();
            batch.changes[0].claims = Default::default();
        }
        let of_part = BarcodeQuery { barcode: Barcode::parse(barcode).unwrap().canonical, before: None, limit: 100 };
        let life = store.updates_of_barcode(&of_part).await.unwrap();
        assert_eq!(life.iter().filter(|update| update.work_order == number).count(), 2);
        assert_eq!(life[0].barcode.as_ref(), Some(barcode));
    }
    let absent = Update { recorded_by: Principal::named(&wide(64)), ..log(&*store, &number).await[0].clone() };
    assert_ne!(absent.recorded_by, log(&*store, &number).await[0].recorded_by);
}

// Lists

/// Fills a work order's log with counted and refused updates, several refused ones at one
/// seq and one time, and gives it oldest first, in the order of [`LogCursor`].
async fn mixed_log(store: &dyn Store, number: &WorkOrderNumber) -> Vec<Update> {
    let output = |request: Request| Request { counter: Counter::Output, ..request };
    put(store, number, plan()).await;
    count_at(store, time(0), &[unbind(number, "A0"), unbind(number, "A0")]).await;
    count_at(store, time(10), &[correct(number, -1)]).await;
    count_at(store, time(20), &[scan_of(number, "A1"), scan_of(number, "A1"), scan_of(number, "A2")]).await;
    count_at(store, time(30), &[output(scan_of(number, "A1")), output(scan(number))]).await;
    // The clock goes back.
    count_at(store, time(25), &[scan_of(number, "A1"), scan_of(number, "A2"), correct(number, -9)]).await;
    count_at(store, time(25), &[scan_of(number, "A2"), unbind(number, "A1"), scan_of(number, "A1")]).await;
    let mut all = log(store, number).await;
    all.sort_by_key(|u| (u.seq.or(u.at_seq), u.seq.is_none(), u.recorded_at, u.request_id.clone()));
    assert_eq!(all.len(), 14);
    all
}

fn place(update: &Update) -> LogCursor {
    match update.seq {
        Some(seq) => LogCursor { seq, refused: None },
        None => {
            LogCursor { seq: update.at_seq.unwrap(), refused: Some((update.recorded_at, update.request_id.clone())) }
        }
    }
}

async fn paged(store: &dyn Store, query: &UpdateQuery, limit: i64) -> Vec<Update> {
    let mut query = UpdateQuery { limit, ..query.clone() };
    let mut all = Vec::new();
    loop {
        let page = store.updates(&query).await.unwrap();
        assert!(page.len() as i64 <= limit);
        let Some(last) = page.last() else { return all };
        query.before = Some(place(last));
        all.extend(page);
    }
}

pub async fn updates_are_listed_newest_first_whatever_the_page(store: Shared) {
    let number = number();
    let mut expected = mixed_log(&*store, &number).await;
    expected.reverse();
    for limit in [1, 2, 3, 5, 14, 500] {
        assert_eq!(paged(&*store, &all_of(&number), limit).await, expected, "{limit} a page");
        for part in ["A1", "A2"] {
            let query = UpdateQuery { barcode: Some(part.into()), ..all_of(&number) };
            let of_part: Vec<Update> =
                expected.iter().filter(|update| update.barcode_canonical.as_deref() == Some(part)).cloned().collect();
            assert_eq!(paged(&*store, &query, limit).await, of_part, "{part}, {limit} a page");
        }
    }
}

pub async fn updates_are_filtered(store: Shared) {
    let number = number();
    let mut all = mixed_log(&*store, &number).await;
    all.reverse();
    let neighbour = work_order(&*store).await;
    count(&*store, &[scan_of(&neighbour, "A1")]).await;
    let none = all_of(&number);
    for query in [
        UpdateQuery { counter: Some(Counter::Input), ..none.clone() },
        UpdateQuery { counter: Some(Counter::Output), ..none.clone() },
        UpdateQuery { counter: Some(Counter::Scrap), ..none.clone() },
        UpdateQuery { outcome: Some(Outcome::Counted), ..none.clone() },
        UpdateQuery { outcome: Some(Outcome::Refused), ..none.clone() },
        UpdateQuery { barcode: Some("A1".into()), ..none.clone() },
        UpdateQuery { barcode: Some("a1".into()), ..none.clone() },
        UpdateQuery { from: Some(time(20)), ..none.clone() },
        UpdateQuery { to: Some(time(25)), ..none.clone() },
        UpdateQuery { from: Some(time(20)), to: Some(time(25)), ..none.clone() },
        UpdateQuery { barcode: Some("A1".into()), outcome: Some(Outcome::Refused), ..none.clone() },
        UpdateQuery {
            counter: Some(Counter::Input),
            outcome: Some(Outcome::Counted),
            barcode: Some("A1".into()),
            from: Some(time(21)),
            to: Some(time(26)),
            ..none.clone()
        },
    ] {
        let fits = |u: &&Update| {
            query.counter.is_none_or(|counter| counter == u.counter)
                && query.outcome.is_none_or(|outcome| outcome == u.outcome)
                && query.barcode.as_ref().is_none_or(|barcode| Some(barcode) == u.barcode_canonical.as_ref())
                && query.from.is_none_or(|from| u.recorded_at >= from)
                && query.to.is_none_or(|to| u.recorded_at < to)
        };
        let expected: Vec<Update> = all.iter().filter(fits).cloned().collect();
        for limit in [2, 500] {
            assert_eq!(paged(&*store, &query, limit).await, expected, "{query:?}");
        }
    }
}

pub async fn the_life_of_a_barcode_is_listed_newest_first(store: Shared) {
    let part = unique("part");
    let numbers = [work_order(&*store).await, work_order(&*store).await];
    count_at(&*store, time(0), &[scan_of(&numbers[0], &part), scan_of(&numbers[1], &part)]).await;
    count_at(&*store, time(5), &[scan_of(&numbers[0], &part), scan_of(&numbers[0], &unique("part"))]).await;
    count_at(&*store, time(5), &[unbind(&numbers[1], &part)]).await;
    count_at(&*store, time(3), &[unbind(&numbers[0], &part)]).await;
    let mut expected = [log(&*store, &numbers[0]).await, log(&*store, &numbers[1]).await].concat();
    expected.retain(|update| update.barcode_canonical.as_ref() == Some(&part));
    expected.sort_by_key(|update| std::cmp::Reverse((update.recorded_at, update.request_id.clone())));
    assert_eq!(expected.len(), 5);
    for limit in [1, 2, 100] {
        let mut query = BarcodeQuery { barcode: part.clone(), before: None, limit };
        let mut all = Vec::new();
        loop {
            let page = store.updates_of_barcode(&query).await.unwrap();
            let Some(last) = page.last() else { break };
            query.before = Some((last.recorded_at, last.request_id.clone()));
            all.extend(page);
        }
        assert_eq!(all, expected, "{limit} a page");
    }
}

async fn numbers_of(store: &dyn Store, query: &WorkOrderQuery) -> Vec<WorkOrderNumber> {
    let page = store.work_orders(query).await.unwrap();
    page.into_iter().map(|row| row.work_order).collect()
}

pub async fn work_orders_are_listed_by_number_whatever_the_page(store: Shared) {
    let line = unique("line");
    let stem = unique("W");
    // By byte: digits, then capitals, then `_`, then small letters, as no locale has it.
    let mut expected = Vec::new();
    for end in ["-1", ".A", "0", "10", "9", "A", "B", "_", "a", "ab", "b"] {
        let number = WorkOrderNumber::parse(&format!("{stem}{end}")).unwrap();
        put(&*store, &number, Plan { line: Some(line.clone()), ..plan() }).await;
        expected.push(number);
    }
    for limit in [1, 3, 11, 500] {
        let mut query = WorkOrderQuery { line: Some(line.clone()), limit, ..WorkOrderQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = numbers_of(&*store, &query).await;
            let Some(last) = page.last() else { break };
            query.after = Some(last.clone());
            all.extend(page);
        }
        assert_eq!(all, expected, "{limit} a page");
    }
}

pub async fn work_orders_are_filtered_and_searched(store: Shared) {
    let line = unique("Line-Ä");
    let make = async |code: Option<&str>, name: Option<&str>| {
        let number = number();
        let plan = Plan {
            line: Some(line.clone()),
            product_code: code.map(Into::into),
            product_name: name.map(Into::into),
            ..plan()
        };
        put(&*store, &number, plan).await;
        number
    };
    let pump = make(Some("WA2080"), Some("水泵 50%")).await;
    let valve = make(Some("wa_2081"), None).await;
    let plain = make(None, Some("Größe*")).await;
    count(&*store, &[scan(&valve)]).await;
    let all = [&pump, &valve, &plain];
    let of_line = WorkOrderQuery { line: Some(line.clone()), limit: 100, ..WorkOrderQuery::default() };
    for (q, expected) in [
        ("wa20", vec![&pump]),
        ("WA", vec![&pump, &valve]),
        ("2081", vec![&valve]),
        ("_", vec![&valve]),
        ("%", vec![&pump]),
        ("*", vec![&plain]),
        ("水泵", vec![&pump]),
        ("gr\u{f6}\u{df}E", vec![&plain]),
        // Other letters than ASCII are searched as written, on every store.
        ("grÖße", vec![]),
        ("\\", vec![]),
        (pump.as_str(), vec![&pump]),
        (&line.to_ascii_lowercase(), all.to_vec()),
        ("line-ä", vec![]),
        ("'; drop table work_orders; --", vec![]),
    ] {
        let query = WorkOrderQuery { q: Some(q.to_owned()), ..of_line.clone() };
        let found: HashSet<WorkOrderNumber> = numbers_of(&*store, &query).await.into_iter().collect();
        assert_eq!(found, expected.into_iter().cloned().collect(), "{q}");
    }
    for (status, expected) in [(Status::InProgress, vec![valve.clone()]), (Status::Completed, vec![])] {
        let query = WorkOrderQuery { status: Some(status), ..of_line.clone() };
        assert_eq!(numbers_of(&*store, &query).await, expected);
    }
    let pending = WorkOrderQuery { status: Some(Status::Pending), q: Some("wa".into()), ..of_line };
    assert_eq!(numbers_of(&*store, &pending).await, [pump]);
}

pub async fn an_empty_list_of_anything_is_no_error(store: Shared) {
    assert!(store.updates_by_id(&[]).await.unwrap().is_empty());
    assert!(log(&*store, &number()).await.is_empty());
    let written = store.write(&Batch::default()).await.unwrap();
    assert!(written.passed.is_empty() && written.known.is_empty());
}

pub async fn pitfall_47_an_id_is_found_among_many(store: Shared) {
    let number = work_order(&*store).await;
    let mut requests: Vec<Request> = (0..500).map(|_| scan(&number)).collect();
    count(&*store, &requests).await;
    requests.retain(|request| request.request_id.as_str().ends_with('7'));
    let ids: Vec<RequestId> = requests.iter().map(|request| request.request_id.clone()).collect();
    let found: HashSet<RequestId> =
        store.updates_by_id(&ids).await.unwrap().into_iter().map(|update| update.request_id).collect();
    assert_eq!(found, ids.into_iter().collect());
}

// Many at once, and calls that end early

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
    for n in [0, 999, 1000, 1499] {
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
                let mut decide = |facts| decided_at(time(0), facts, &requests, &Tenures::new()).1;
                DroppedAfter::new(polls / 3, store.write_locked(&wanted, &mut decide)).await.is_some()
            }
            _ => {
                let (edit, none) = (Edit::Plan(plan()), Precondition::None);
                DroppedAfter::new(polls / 3, store.edit(&number, &edit, &none, fresh())).await.is_some()
            }
        };
        // The next calls work, and settle what was cut off, whichever way it went.
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
            Ok(facts) => return decided_at(time(0), facts, requests, &Tenures::new()).1,
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
    let (_, batch) = decided_at(time(0), facts, &[known], &Tenures::new());
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
