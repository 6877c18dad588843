//! Barcodes that are counted, and what `load` returns of them.

use scanfence::domain::barcode::Step;
use scanfence::domain::decide::{Claim, ClaimKey};
use scanfence::domain::ids::{Quantity, RequestId};
use scanfence::domain::request::{Ask, Counter, Request};
use scanfence::domain::update::Update;
use scanfence::domain::work_order::{BarcodePolicy, Plan};
use scanfence::store::{StoreError, Wanted};

use crate::store_suite::shop::*;

/// This can't happen under an unchanged stamp. If it happens, memory and table differ, and nothing may be
/// written from memory.
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
        let mut standing: Vec<(i64, RequestId)> = Vec::new();
        let mut seq = 0;
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
                seq += 1;
                match (&request.ask, policy) {
                    // What is refused takes no seq.
                    (Ask::Unbind { .. }, _) if standing.pop().is_none() => seq -= 1,
                    (Ask::Unbind { .. }, _) => {}
                    (_, BarcodePolicy::Once) if !standing.is_empty() => seq -= 1,
                    (_, BarcodePolicy::Once) => standing.push((1, request.request_id.clone())),
                    (_, BarcodePolicy::Repeatable) => standing.push((seq, request.request_id.clone())),
                }
            }
            count(&*store, &requests).await;
            assert_eq!(claims(&*store, &number, "A1").await, standing, "{policy:?}");
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
