//! Work orders that planning makes and changes.

use scanfence::domain::barcode::BarcodePattern;
use scanfence::domain::work_order::{BarcodePolicy, Edit, EditRefusal, Fresh, Hold, Plan, Precondition, Status};

use crate::store_suite::shop::*;

pub async fn a_work_order_is_created_and_replaced(store: Shared) {
    let number = number();
    let full = Plan {
        planned_quantity: pieces(500),
        over_plan_allowance: Some(pieces(0)),
        barcode_policy: BarcodePolicy::Repeatable,
        barcode_pattern: Some(BarcodePattern::parse("WA2080[A-Z]{3}\\d{4}").unwrap()),
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

    let hold = |hold, strict| Edit::Hold { hold, reason: "spindle".into(), strict };
    let since = Some(time(1));
    for (edit, now, status, held_since, strict) in [
        (hold(Some(Hold::Paused), true), 1, Status::Paused, since, true),
        (hold(Some(Hold::Cancelled), false), 2, Status::Cancelled, since, false),
        (hold(None, false), 3, Status::InProgress, None, false),
        (hold(Some(Hold::Paused), false), 4, Status::Paused, Some(time(4)), false),
    ] {
        let fresh = Fresh { now: time(now), ..fresh() };
        let edited = store.edit(&number, &edit, &Precondition::None, fresh).await.unwrap().unwrap().row;
        assert_eq!((edited.status, edited.held_since, edited.strict), (status, held_since, strict));
        assert_eq!(row(&*store, &number).await, edited);
    }
}

pub async fn an_edit_that_is_refused_writes_nothing(store: Shared) {
    let hold = Edit::Hold { hold: Some(Hold::Paused), reason: "spindle".into(), strict: false };
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
        (&Edit::Plan(plan()), &Precondition::Absent, EditRefusal::Exists),
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
