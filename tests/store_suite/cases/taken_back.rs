//! Undos, overrides that settle refused scans, and recounts that free barcodes.

use scanfence::domain::decide::NamedUpdate;
use scanfence::domain::ids::{Seq, WorkOrderNumber};
use scanfence::domain::request::{Ask, Barcodes, Counter, Override, Request};
use scanfence::domain::update::{RefusalCode, Update};
use scanfence::domain::work_order::{BarcodePolicy, Edit, Hold, Plan, Precondition};
use scanfence::store::{Batch, StoreError};

use crate::store_suite::shop::*;

/// A work order whose barcodes are repeatable.
async fn repeatable(store: &Shared) -> WorkOrderNumber {
    let number = number();
    put(&**store, &number, Plan { barcode_policy: BarcodePolicy::Repeatable, ..plan() }).await;
    number
}

/// Writes by the row lock what is decided there.
async fn count_locked(store: &Shared, requests: &[Request]) {
    let mut decide = |facts| decided_at(time(0), facts, requests, &Leases::new()).1;
    let written = store.write_locked(&wanted(requests), &mut decide).await.unwrap();
    assert!(!written.passed.is_empty());
}

/// The last update of a work order.
async fn last(store: &Shared, number: &WorkOrderNumber) -> Update {
    log(&**store, number).await.remove(0)
}

/// What a load tells of an update that is named.
async fn named(store: &Shared, scan: &Request) -> Option<NamedUpdate> {
    let facts = store.load(&wanted(&[undo(scan)])).await.unwrap();
    facts.named.get(&scan.request_id).cloned()
}

pub async fn an_undo_removes_the_claim_of_its_scan_and_no_other(store: Shared) {
    for number in [work_order(&*store).await, repeatable(&store).await] {
        let scans = [scan_of(&number, "A1"), scan_of(&number, "A2"), scan(&number)];
        count(&*store, &scans).await;
        for (undone, left) in [(0, 2), (2, 1)] {
            count(&*store, &[undo(&scans[undone])]).await;
            let row = row(&*store, &number).await;
            assert_eq!(row.input_quantity, pieces(left));
            let update = last(&store, &number).await;
            assert_eq!(update.takes_back.as_ref(), Some(&scans[undone].request_id));
            assert_eq!(update.barcode.is_some(), undone == 0, "the undo has the barcode of its scan");
        }
        assert_eq!(claims(&*store, &number, "A1").await, []);
        assert_eq!(claims(&*store, &number, "A2").await.len(), 1);
        count(&*store, &[scan_of(&number, "A1"), unbind(&number, "A2")]).await;
        assert_eq!(
            last(&store, &number).await.takes_back.as_ref(),
            Some(&scans[1].request_id),
            "an unbind tells it too"
        );
        audit(&*store, &number).await;
    }
    // The claim of the older one goes; the newer one stands, though the load asks for the newest only.
    let number = repeatable(&store).await;
    let scans: Vec<Request> = (0..5).map(|_| scan_of(&number, "A1")).collect();
    count(&*store, &scans).await;
    count(&*store, &[undo(&scans[0]), undo(&scans[3]), undo(&scans[4]), unbind(&number, "A1")]).await;
    assert_eq!(claims(&*store, &number, "A1").await, [(2, scans[1].request_id.clone())]);
    audit(&*store, &number).await;
}

pub async fn load_tells_what_has_become_of_a_named_update(store: Shared) {
    for number in [work_order(&*store).await, repeatable(&store).await] {
        let (first, second) = (scan_of(&number, "A1"), scan_of(&number, "A2"));
        assert!(named(&store, &first).await.is_none());
        count(&*store, &[first.clone(), second.clone()]).await;
        let facts = store.load(&wanted(&[undo(&first)])).await.unwrap();
        let NamedUpdate { update, is_taken_back, is_settled, released_at } = &facts.named[&first.request_id];
        assert_eq!((&update.request_id, is_taken_back, is_settled), (&first.request_id, &false, &false));
        assert_eq!(*released_at, None);
        let found: Vec<_> = facts.claims.values().flatten().map(|claim| &claim.request_id).collect();
        assert_eq!(found, [&first.request_id], "the claim comes with the update that made it");

        count(&*store, &[undo(&first)]).await;
        assert!(named(&store, &first).await.unwrap().is_taken_back);
        assert!(!named(&store, &second).await.unwrap().is_taken_back);
        count_locked(&store, &[recount(&number, 7, Barcodes::Release)]).await;
        let released_at = row(&*store, &number).await.seq;
        count(&*store, &[recount(&number, 8, Barcodes::Keep)]).await;
        assert_eq!(named(&store, &second).await.unwrap().released_at, Some(released_at));
    }
}

/// The stamp rules this out, and the index rules it out once more.
pub async fn an_update_is_taken_back_once_and_a_refused_scan_settled_once(store: Shared) {
    let number = work_order(&*store).await;
    let first = scan(&number);
    count(&*store, &[first.clone(), scan(&number), scan(&number)]).await;
    let pause = |hold| Edit::Hold { hold, reason: "lunch".to_owned(), strict: false };
    store.edit(&number, &pause(Some(Hold::Paused)), &Precondition::None, fresh()).await.unwrap().unwrap();
    let refused = scan(&number);
    count(&*store, std::slice::from_ref(&refused)).await;
    store.edit(&number, &pause(None), &Precondition::None, fresh()).await.unwrap().unwrap();
    let count_it = || {
        let overriding = Some(Override { settles: Some(refused.request_id.clone()) });
        request(&number, Ask::Scan { quantity: pieces(1), barcode: None, overriding })
    };
    for of in [&|| undo(&first), &count_it as &(dyn Fn() -> Request + Sync)] {
        // Decided before the other one is written, and written under a stamp that is no longer true.
        let mut stale = prepared(&*store, &[of()]).await;
        count(&*store, &[of()]).await;
        count(&*store, &[of()]).await;
        let code = last(&store, &number).await.code;
        assert!(matches!(code, Some(RefusalCode::NothingToUndo | RefusalCode::AlreadySettled)), "{code:?}");
        let before = row(&*store, &number).await;
        forge_present(&mut stale, before.stamp.0, before.seq);
        let error = store.write(&stale).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert_eq!(row(&*store, &number).await, before);
    }
    audit(&*store, &number).await;
}

/// Makes a batch look as if it had been decided on the present row.
fn forge_present(batch: &mut Batch, stamp: i64, seq: Seq) {
    let change = &mut batch.changes[0];
    change.loaded.0 = stamp;
    change.row.seq = Seq(seq.0 + 1);
    let update = std::sync::Arc::make_mut(&mut change.updates[0]);
    update.seq = Some(change.row.seq);
}

pub async fn a_release_frees_the_barcodes_of_its_counter_and_needs_the_row_lock(store: Shared) {
    for number in [work_order(&*store).await, repeatable(&store).await] {
        let other = work_order(&*store).await;
        let output = Request { counter: Counter::Output, ..scan_of(&number, "A1") };
        count(&*store, &[scan_of(&number, "A1"), scan_of(&number, "A2"), output.clone(), scan_of(&other, "A1")]).await;
        let release = [recount(&number, 0, Barcodes::Release)];
        let before = row(&*store, &number).await;
        let error = store.write(&prepared(&*store, &release).await).await.unwrap_err();
        assert!(matches!(error, StoreError::Refused(_)), "{error:?}");
        assert_eq!(row(&*store, &number).await, before);

        count_locked(&store, &release).await;
        for barcode in ["A1", "A2"] {
            assert_eq!(claims(&*store, &number, barcode).await, []);
        }
        assert_eq!(last(&store, &number).await.barcodes, Some(Barcodes::Release));
        assert_eq!(claims(&*store, &other, "A1").await.len(), 1, "another work order");
        let undo_output = Request { counter: Counter::Output, ..undo(&output) };
        count(&*store, &[scan_of(&number, "A1"), undo_output]).await;
        assert_eq!(row(&*store, &number).await.output_quantity, pieces(0), "another counter");
        assert_eq!(claims(&*store, &number, "A1").await.len(), 1);
        audit(&*store, &number).await;
    }
}

/// The delete comes before the write, in one transaction.
pub async fn a_release_that_is_not_written_frees_nothing(store: Shared) {
    let number = work_order(&*store).await;
    count(&*store, &[scan_of(&number, "A1")]).await;
    let release = [recount(&number, 0, Barcodes::Release)];
    let mut decide = |facts| {
        let mut batch = decided_at(time(0), facts, &release, &Leases::new()).1;
        batch.changes[0].loaded.0 ^= 1;
        batch
    };
    let error = store.write_locked(&wanted(&release), &mut decide).await.unwrap_err();
    assert!(matches!(error, StoreError::TryAgain(_)), "{error:?}");
    assert_eq!(claims(&*store, &number, "A1").await.len(), 1);
    assert_eq!(row(&*store, &number).await.input_quantity, pieces(1));
}
