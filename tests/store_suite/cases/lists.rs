//! Lists, their pages and their filters.

use std::collections::HashSet;

use scanfence::domain::ids::{RequestId, WorkOrderNumber};
use scanfence::domain::request::{Counter, Request};
use scanfence::domain::update::{Outcome, Update};
use scanfence::domain::work_order::{Plan, Status};
use scanfence::store::{BarcodeQuery, Batch, LogCursor, Store, UpdateQuery, WorkOrderQuery};

use crate::store_suite::shop::*;

/// Fills a work order's log with counted and refused updates. Several refused ones have the same seq and time.
/// Returns the log oldest first, in the order of [`LogCursor`].
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
