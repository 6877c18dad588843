//! Refused scans that a person may settle: their list, overrides that settle them, and what is left refused.

use std::sync::Arc;

use scanfence::domain::barcode::BarcodePattern;
use scanfence::domain::ids::{Principal, Quantity, RequestId, WorkOrderNumber};
use scanfence::domain::refusals::{Leave, Left, NotLeft, Refusal, may_be_settled};
use scanfence::domain::request::{Ask, Override, Request};
use scanfence::domain::update::{RefusalCode, Update};
use scanfence::domain::work_order::{Edit, Hold, Plan, Precondition};
use scanfence::store::{RefusalQuery, Store};

use crate::store_suite::shop::*;

/// A work order of this line: two pieces, and a pattern of barcodes.
async fn narrow(store: &dyn Store, line: &str) -> WorkOrderNumber {
    let number = number();
    let narrow = Plan {
        planned_quantity: pieces(2),
        over_plan_allowance: Some(Quantity::ZERO),
        barcode_pattern: Some(BarcodePattern::parse("A[0-9]").unwrap()),
        line: Some(line.to_owned()),
        ..plan()
    };
    put(store, &number, narrow).await;
    number
}

async fn hold(store: &dyn Store, number: &WorkOrderNumber, hold: Option<Hold>) {
    let edit = Edit::Hold { hold, reason: "lunch".to_owned(), strict: false };
    store.edit(number, &edit, &Precondition::None, fresh()).await.unwrap().unwrap();
}

fn many(number: &WorkOrderNumber) -> Request {
    request(number, Ask::Scan { quantity: pieces(99), barcode: None, overriding: None })
}

fn settling(refused: &Request) -> Request {
    let overriding = Some(Override { settles: Some(refused.request_id.clone()) });
    request(&refused.work_order, Ask::Scan { quantity: pieces(1), barcode: None, overriding })
}

fn wish(reason: &str) -> Leave {
    Leave {
        entry_id: unique("entry"),
        principal: Principal::named("line-3"),
        operator: Some("E7".to_owned()),
        reason: reason.to_owned(),
        now: time(60_001),
    }
}

/// Fills logs of two lines with counted updates and with refused ones of every kind. Some have the same time.
/// The first of the list is the refused scan that an override has settled, the second was left.
async fn refused_on(store: &dyn Store, line: &str) -> Vec<Request> {
    let (number, other) = (narrow(store, line).await, narrow(store, &unique("line")).await);
    let (badge, over) = (scan_of(&number, "badge"), many(&number));
    count_at(store, time(10), &[scan_of(&number, "A1"), scan_of(&number, "A1"), badge.clone(), over.clone()]).await;
    count_at(store, time(10), &[scan_of(&other, "badge"), many(&other), unbind(&number, "A2")]).await;
    // The clock goes back.
    let late = many(&number);
    count_at(store, time(5), &[late.clone(), correct(&number, -9), undo(&over)]).await;
    hold(store, &number, Some(Hold::Paused)).await;
    let held: Vec<Request> = (0..3).map(|_| scan(&number)).collect();
    count_at(store, time(20), &held).await;
    count_at(store, time(20), &[unbind(&number, "A1"), settling(&badge), settling(&badge)]).await;
    store.leave(&over.request_id, &wish("not made")).await.unwrap().unwrap();
    [badge, over, late].into_iter().chain(held).collect()
}

async fn paged(store: &dyn Store, query: &RefusalQuery, limit: i64) -> Vec<RequestId> {
    let mut query = RefusalQuery { limit, ..query.clone() };
    let mut all = Vec::new();
    loop {
        let page = store.refusals(&query).await.unwrap();
        assert!(page.len() as i64 <= limit);
        let Some(Refusal { update, .. }) = page.last() else { return all };
        query.before = Some((update.recorded_at, update.request_id.clone()));
        all.extend(page.into_iter().map(|refusal| refusal.update.request_id));
    }
}

pub async fn refused_scans_that_may_be_settled_are_listed_newest_first_and_filtered(store: Shared) {
    let line = unique("line");
    let made = refused_on(&*store, &line).await;
    let closed = [&made[0].request_id, &made[1].request_id];
    let mut expected: Vec<Update> = log(&*store, &made[0].work_order).await;
    let codes: std::collections::HashSet<_> = expected.iter().filter_map(|update| update.code).collect();
    assert!(codes.len() > 6, "others are refused, too: {codes:?}");
    expected.retain(may_be_settled);
    expected.sort_by_key(|update| std::cmp::Reverse((update.recorded_at, update.request_id.clone())));
    assert_eq!(expected.len(), made.len());
    let of_line = RefusalQuery { line: Some(line), ..RefusalQuery::default() };
    let mut queries = vec![of_line.clone()];
    let codes = [RefusalCode::OverPlan, RefusalCode::BarcodeMismatch, RefusalCode::WorkOrderNotOpen];
    queries.extend(codes.map(|code| RefusalQuery { code: Some(code), ..of_line.clone() }));
    queries.extend([true, false].map(|open| RefusalQuery { open: Some(open), ..of_line.clone() }));
    queries.extend([5, 6, 10, 21].map(|at| RefusalQuery { since: Some(time(at)), ..of_line.clone() }));
    queries.push(RefusalQuery { open: Some(true), since: Some(time(10)), ..of_line.clone() });
    for query in queries {
        let fits = |update: &&Update| {
            query.code.is_none_or(|code| update.code == Some(code))
                && query.since.is_none_or(|since| update.recorded_at >= since)
                && query.open.is_none_or(|open| open != closed.contains(&&update.request_id))
        };
        let expected: Vec<RequestId> = expected.iter().filter(fits).map(|update| update.request_id.clone()).collect();
        for limit in [1, 2, 500] {
            assert_eq!(paged(&*store, &query, limit).await, expected, "{limit} a page of {query:?}");
        }
    }
    let nobody = RefusalQuery { line: Some(unique("line")), limit: 9, ..RefusalQuery::default() };
    assert_eq!(store.refusals(&nobody).await.unwrap(), []);
}

pub async fn a_refused_scan_tells_what_settles_it_and_who_left_it(store: Shared) {
    let line = unique("line");
    let [badge, over, late] = &refused_on(&*store, &line).await[..3] else { panic!("it makes more") };
    let of = async |request: &Request| store.refusal(&request.request_id).await.unwrap().unwrap();
    let log = log(&*store, &badge.work_order).await;
    let settled = log.iter().find(|update| update.seq.is_some() && update.settles.is_some()).unwrap();
    let found = of(badge).await;
    assert_eq!((found.settled_by.as_ref(), &found.left), (Some(&settled.request_id), &None), "not the refused one");
    let found = of(over).await;
    let left = Left { by: "line-3".into(), operator: Some("E7".into()), reason: "not made".into(), at: time(60_001) };
    assert_eq!((&found.settled_by, found.left.as_ref()), (&None, Some(&left)));
    let found = of(late).await;
    assert_eq!((&found.settled_by, &found.left), (&None, &None));
    assert_eq!(&found.update, log.iter().find(|update| update.request_id == late.request_id).unwrap());
    let query = RefusalQuery { line: Some(line), limit: 500, ..RefusalQuery::default() };
    let listed = store.refusals(&query).await.unwrap();
    for request in [badge, over, late] {
        assert!(listed.contains(&of(request).await), "the list tells the same");
    }
    assert_eq!(store.refusal(&settled.request_id).await.unwrap().unwrap().update, *settled, "an update of any kind");
    assert_eq!(store.refusal(&id()).await.unwrap(), None);
}

pub async fn a_scan_that_many_leave_at_once_is_left_once(store: Shared) {
    let number = narrow(&*store, &unique("line")).await;
    for _ in 0..4 {
        let refused = many(&number);
        count(&*store, std::slice::from_ref(&refused)).await;
        let mut leaving = tokio::task::JoinSet::new();
        for n in 0..8 {
            let (store, id) = (Arc::clone(&store), refused.request_id.clone());
            leaving.spawn(async move { store.leave(&id, &wish(&format!("reason {n}"))).await.unwrap().unwrap() });
        }
        let told = leaving.join_all().await;
        let standing = store.refusal(&refused.request_id).await.unwrap().unwrap();
        assert!(standing.left.is_some());
        assert!(told.iter().all(|told| *told == standing), "all get the standing record: {told:?}");
    }
}

pub async fn what_is_settled_counted_or_unknown_is_not_left(store: Shared) {
    let number = narrow(&*store, &unique("line")).await;
    let (over, counted, none) = (many(&number), scan(&number), unbind(&number, "A1"));
    count(&*store, &[over.clone(), counted.clone(), none.clone()]).await;
    let of = async |request: &Request| store.leave(&request.request_id, &wish("tried")).await.unwrap();
    let settles = settling(&over);
    count(&*store, std::slice::from_ref(&settles)).await;
    assert_eq!(of(&over).await, Err(NotLeft::Settled(settles.request_id.clone())));
    for request in [&counted, &none, &settles] {
        assert_eq!(of(request).await, Err(NotLeft::NotARefusal));
    }
    assert_eq!(of(&scan(&number)).await, Err(NotLeft::Unknown));
    assert_eq!(store.refusal(&over.request_id).await.unwrap().unwrap().left, None, "nothing is written");

    let later = many(&number);
    count(&*store, std::slice::from_ref(&later)).await;
    let left = of(&later).await.unwrap().left;
    let settles = settling(&later);
    count(&*store, std::slice::from_ref(&settles)).await;
    let both = of(&later).await.unwrap();
    assert_eq!((both.settled_by.as_ref(), &both.left), (Some(&settles.request_id), &left), "it was left first");
}
