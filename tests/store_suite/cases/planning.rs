//! Work orders that planning makes and changes.

use scanfence::domain::work_order::{BarcodePolicy, Edit, EditRefusal, Hold, Plan, Precondition, Status};

use crate::store_suite::shop::*;

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
