//! The queues without lanes: when a batch begins, what it takes, and what is parked.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::queues::Queues;
use super::row_lock_stays::STAYS;
use super::waiting::WaitingRequest;
use super::work::{Lane, Next};
use crate::counting::settings::Settings;
use crate::domain::ids::{Principal, Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::{Ask, Counter, Request};
use crate::telemetry::Metrics;

fn post(queues: &Queues, numbers: &[&str]) {
    let waiting = |number: &&str| {
        let request = Request {
            request_id: RequestId::parse("k").expect("it is one"),
            work_order: WorkOrderNumber::parse(number).expect("it is one"),
            counter: Counter::Input,
            ask: Ask::Scan { quantity: Quantity::ZERO, barcode: None, overriding: None },
            step: Default::default(),
            station: None,
            terminal: None,
            operator: None,
            note: None,
            scanned_at: None,
        };
        let principal = Principal::named("loopback");
        WaitingRequest::new(request, principal, None, oneshot::channel().0, Arc::clone(&queues.metrics))
    };
    queues.post(numbers.iter().map(waiting).collect());
}

fn take(queues: &Queues) -> Vec<WorkOrderNumber> {
    queues.take_now(Lane::Leased).0.into_iter().map(|work| work.number).collect()
}

fn names(numbers: &[&str]) -> Vec<WorkOrderNumber> {
    numbers.iter().map(|number| WorkOrderNumber::parse(number).expect("it is one")).collect()
}

#[test]
fn a_second_batch_begins_once_half_as_much_waits_as_is_under_way() {
    let queues = Queues::new(Settings::default(), Arc::new(Metrics::new()));
    post(&queues, &["A", "B", "C", "D"]);
    assert_eq!(take(&queues), names(&["A", "B", "C", "D"]), "nothing is under way: at once");
    post(&queues, &["E"]);
    assert_eq!(take(&queues), names(&[]), "one would be a small batch");
    post(&queues, &["A", "A"]);
    assert_eq!(take(&queues), names(&[]), "what is in a lane's hands can't be taken again");
    post(&queues, &["F"]);
    assert_eq!(take(&queues), names(&["E", "F"]));
    post(&queues, &["G"]);
    for done in names(&["A", "B", "C", "D", "E", "F"]) {
        queues.done(&done);
    }
    assert_eq!(take(&queues), names(&["G", "A"]), "nothing is under way any more");
}

#[test]
fn more_is_taken_for_a_batch_however_little_waits_as_far_as_there_is_room() {
    let settings = Settings { batch: 4, ..Settings::default() };
    let queues = Queues::new(settings, Arc::new(Metrics::new()));
    let more = |requests| -> Vec<WorkOrderNumber> {
        queues.take_more(Lane::Leased, requests).into_iter().map(|work| work.number).collect()
    };
    post(&queues, &["A", "B", "C"]);
    assert_eq!(take(&queues), names(&["A", "B", "C"]));
    post(&queues, &["D", "E", "A"]);
    assert_eq!(more(4), names(&[]));
    assert_eq!(more(3), names(&["D"]));
    assert_eq!(more(3), names(&["E"]), "but for what is in a lane's hands");
    assert_eq!(more(3), names(&[]));
}

#[tokio::test]
async fn an_idle_lane_is_called_for_what_another_took_and_put_back() {
    let queues = Arc::new(Queues::new(Settings::default(), Arc::new(Metrics::new())));
    post(&queues, &["A"]);
    assert_eq!(take(&queues), names(&["A"]));
    let idle = tokio::spawn({
        let queues = Arc::clone(&queues);
        async move { queues.take(Lane::Leased).await }
    });
    tokio::task::yield_now().await;
    post(&queues, &["B"]);
    let taken = queues.take_more(Lane::Leased, 1);
    tokio::task::yield_now().await;
    taken.into_iter().for_each(|work| queues.return_work(work, Next::Leased));
    queues.wake_lanes();
    let got = tokio::time::timeout(Duration::from_secs(10), idle).await.expect("it is called").expect("no panic");
    assert_eq!(got.map(|work| work.len()), Some(1));
}

#[test]
fn what_came_free_before_it_was_parked_is_asked_for_at_once() {
    let queues = Queues::new(Settings::default(), Arc::new(Metrics::new()));
    let park = |asked| {
        post(&queues, &["A"]);
        let work = queues.take_now(Lane::Leased).0.pop().expect("A waits");
        queues.return_work(work, Next::Parked { asked, pause: Duration::from_secs(60) });
    };
    let asked = Instant::now();
    park(asked);
    assert_eq!(take(&queues), names(&[]), "it is parked");
    queues.lease_released();
    assert_eq!(take(&queues), names(&["A"]));
    queues.done(&names(&["A"])[0]);
    park(asked);
    assert_eq!(take(&queues), names(&["A"]), "it came free between the ask and here");
}

#[test]
fn what_is_sent_to_the_row_lock_goes_there_however_many_stay_there() {
    let settings = Settings { batch: 2 * STAYS, ..Settings::default() };
    let queues = Queues::new(settings, Arc::new(Metrics::new()));
    let all: Vec<String> = (0..=STAYS).map(|number| format!("W{number}")).collect();
    post(&queues, &all.iter().map(String::as_str).collect::<Vec<_>>());
    for work in queues.take_now(Lane::Leased).0 {
        queues.return_work(work, Next::RowLocked { stay: Duration::from_secs(60) });
    }
    assert_eq!(take(&queues), names(&[]), "the leased lane would hand it back for ever");
    assert_eq!(queues.take_now(Lane::RowLocked).0.len(), STAYS + 1);
}

#[test]
fn the_stay_with_the_row_lock_outlasts_an_empty_queue() {
    let queues = Queues::new(Settings::default(), Arc::new(Metrics::new()));
    post(&queues, &["A"]);
    let work = queues.take_now(Lane::Leased).0.pop().expect("A waits");
    queues.return_work(work, Next::RowLocked { stay: Duration::from_secs(60) });
    assert_eq!(queues.take_now(Lane::RowLocked).0.len(), 1);
    queues.done(&names(&["A"])[0]);
    post(&queues, &["A", "B"]);
    assert_eq!(take(&queues), names(&["B"]));
    assert_eq!(queues.take_now(Lane::RowLocked).0.len(), 1, "A");
}

#[test]
fn a_full_batch_leaves_the_rest_for_the_next() {
    let settings = Settings { batch: 2, ..Settings::default() };
    let queues = Queues::new(settings, Arc::new(Metrics::new()));
    post(&queues, &["A", "B", "C", "D", "D", "D"]);
    assert_eq!(take(&queues), names(&["A", "B"]));
    assert_eq!(take(&queues), names(&["C", "D"]), "four wait, two are under way");
    for done in names(&["A", "B", "C", "D"]) {
        queues.done(&done);
    }
    assert_eq!(queues.take_now(Lane::Leased).0.first().map(|work| work.waiting.len()), Some(2));
}
