//! What raises an alarm, and what ends it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use scanfence::alarms::dispatch::Stepped;
use scanfence::alarms::watch::Step;
use scanfence::alarms::{SuspiciousReplay, WeakKeys};
use scanfence::domain::alarm::{Alarm, Cause, Changes};
use scanfence::domain::time::Timestamp;
use scanfence::store::alarms::Record;
use serde_json::json;

use crate::plant::{Plant, at, fired, robot, told};
use crate::stage::SOON;
use crate::stage::receivers::{GOOD, WebReceiver};

pub async fn drift_is_told_once_however_often_it_is_seen_and_its_end_once(plant: Plant) {
    let receiver = WebReceiver::start(GOOD).await;
    let robot = robot("line-3", &receiver);
    let mut watch = plant.watch(std::slice::from_ref(&robot));
    let dispatch = plant.dispatch(&robot);
    assert!(told(watch.step(at(0)).await).is_empty());
    plant.finding("P2025", 5).await;
    assert_eq!(told(watch.step(at(10)).await), ["firing drift 1"]);
    for step in 2..20 {
        assert!(told(watch.step(at(step * 10)).await).is_empty());
    }
    // Another process begins where this one ends.
    let mut watch = plant.watch_as("a", std::slice::from_ref(&robot), false);
    assert!(told(watch.step(at(200)).await).is_empty());
    plant.repair("P2025").await;
    assert_eq!(told(watch.step(at(210)).await), ["resolved drift 1"]);
    assert!(told(watch.step(at(220)).await).is_empty());

    assert_eq!(dispatch.step(at(230)).await.unwrap(), Stepped::Delivered);
    assert_eq!(dispatch.step(at(231)).await.unwrap(), Stepped::Delivered);
    assert_eq!(dispatch.step(at(232)).await.unwrap(), Stepped::Nothing);
    assert_eq!(receiver.titles(), ["[Scanfence] Drift in a work order", "[Scanfence] Resolved: Drift in a work order"]);
    let text = receiver.received()[0].text().to_owned();
    assert!(text.contains("P2025: quantity of input, expected 275, found 276, first bad row seq 12"), "{text}");
    assert!(plant.store.open_alarms().await.unwrap().is_empty());
}

pub async fn drift_that_is_repaired_by_itself_is_told_all_the_same(plant: Plant) {
    let mut watch = plant.watch(&[]);
    plant.finding("P2025", 5).await;
    plant.repair("P2025").await;
    assert_eq!(told(watch.step(at(10)).await), ["firing drift 1"]);
    assert_eq!(told(watch.step(at(95)).await), ["resolved drift 1"]);
}

pub async fn drift_in_many_work_orders_is_one_message(plant: Plant) {
    let receiver = WebReceiver::start(GOOD).await;
    let robot = robot("line-3", &receiver);
    let mut watch = plant.watch(std::slice::from_ref(&robot));
    for n in 0..25 {
        plant.finding(&format!("W{n:02}"), n).await;
    }
    assert_eq!(told(watch.step(at(30)).await), ["firing drift 25"]);
    plant.dispatch(&robot).step(at(31)).await.unwrap();
    let text = receiver.received()[0].text().to_owned();
    assert!(text.starts_with("[Scanfence] Drift in 25 work orders\n• W00:") && text.contains("and 15 more"), "{text}");
    assert_eq!(plant.store.open_alarms().await.unwrap().len(), 25);
    // One more gets a message of its own.
    plant.finding("W99", 40).await;
    assert_eq!(told(watch.step(at(41)).await), ["firing drift 1"]);
}

pub async fn a_burst_of_duplicates_at_one_station_is_told(plant: Plant) {
    let mut watch = plant.watch(&[]);
    plant.refused("S1", "barcode-already-counted", 100, 19).await;
    plant.refused("S2", "over-plan", 100, 40).await;
    assert!(told(watch.step(at(121)).await).is_empty(), "neither too many of one kind nor of another");
    plant.refused("S1", "barcode-already-counted", 119, 1).await;
    assert_eq!(told(watch.step(at(122)).await), ["firing duplicate-burst 1"]);
    let alarms = plant.store.open_alarms().await.unwrap();
    let (station, work_order) = ("S1".to_owned(), "W1".to_owned());
    let cause = Cause::DuplicateBurst { station, refused: 20, within_seconds: 60, work_order };
    assert_eq!((&alarms[0].cause, alarms[0].since), (&cause, at(100)));
    // The minute has passed. After five more quiet minutes the alarm ends.
    assert!(told(watch.step(at(190)).await).is_empty());
    assert!(told(watch.step(at(489)).await).is_empty());
    assert_eq!(told(watch.step(at(490)).await), ["resolved duplicate-burst 1"]);
}

pub async fn a_check_that_is_overdue_or_fails_is_told(plant: Plant) {
    let mut watch = plant.watch(&[]);
    assert!(told(watch.step(at(899)).await).is_empty());
    assert_eq!(told(watch.step(at(900)).await), ["firing check-overdue 1"], "none ended since the start");
    plant.check("recent", "good", 905).await;
    assert_eq!(told(watch.step(at(910)).await), ["resolved check-overdue 1"]);
    plant.check("recent", "failed", 1200).await;
    assert_eq!(told(watch.step(at(1205)).await), ["firing check-failing 1"]);
    assert!(told(watch.step(at(1210)).await).is_empty());
    plant.check("recent", "drift", 1500).await;
    assert_eq!(told(watch.step(at(1505)).await), ["resolved check-failing 1"]);
    // A full check that makes progress delays the recent ones. That is no reason for an alarm.
    let started = |advanced: u64| {
        format!(
            "insert into consistency_checks (check_id, range, state, requested_by, requested_at, advanced_at)
             values ('c-{advanced}', 'full', 'running', 'schedule', '{0}', '{0}')",
            at(advanced)
        )
    };
    plant.run(&started(2500)).await;
    assert!(told(watch.step(at(2600)).await).is_empty());
    assert_eq!(told(watch.step(at(2800)).await), ["firing check-overdue 1"], "it hangs");
    plant.check("full", "good", 2810).await;
    assert!(told(watch.step(at(2811)).await).is_empty(), "it has read what is recent; but it was overdue just now");
    assert_eq!(told(watch.step(at(2931)).await), ["resolved check-overdue 1"]);
}

pub async fn redis_that_is_away_for_long_is_told_once_whoever_sees_it(plant: Plant) {
    let mut first = plant.watch_as("a", &[], true);
    let mut second = plant.watch_as("b", &[], true);
    assert!(told(first.step(at(0)).await).is_empty());
    assert_eq!(second.step(at(1)).await, Step::Elsewhere);
    for now in [20, 40, 59] {
        assert!(told(first.step(at(now)).await).is_empty(), "not for long yet");
        assert_eq!(second.step(at(now)).await, Step::Elsewhere);
    }
    assert_eq!(second.step(at(61)).await, Step::Elsewhere, "it can only report");
    assert_eq!(told(first.step(at(62)).await), ["firing lease-away 1"]);
    let alarms = plant.store.open_alarms().await.unwrap();
    let replicas: BTreeSet<String> = ["a:8080".into(), "b:8080".into()].into();
    assert_eq!((&alarms[0].cause, alarms[0].since), (&Cause::LeaseAway { replicas }, at(0)));

    // The second one dies, the first one is well again: a sighting that is not renewed ends.
    let mut first = plant.watch_as("a", &[], false);
    assert!(told(first.step(at(70)).await).is_empty(), "the other one was seen a moment ago");
    assert!(told(first.step(at(107)).await).is_empty());
    assert!(told(first.step(at(166)).await).is_empty());
    assert_eq!(told(first.step(at(167)).await), ["resolved lease-away 1"], "after a quiet minute");
}

pub async fn request_ids_that_terminals_share_are_told_until_ten_minutes_without_them(plant: Plant) {
    let weak_keys = Arc::new(WeakKeys::default());
    let mut first = plant.watch_as("a", &[], false);
    let mut second = plant.watch_with("b", &weak_keys);
    assert!(told(first.step(at(0)).await).is_empty());
    let note = |seconds: u64| {
        let (request_id, work_order) = (seconds.to_string(), "W1".into());
        let (first, again) = ("10.0.0.7 (open)".into(), "10.0.0.9 (open)".into());
        weak_keys.note(SuspiciousReplay { request_id, work_order, first, again }, at(seconds));
    };
    // The second replica sees it. The first one has the watch lease, and tells.
    let mut looked = async |now| {
        assert_eq!(second.step(at(now)).await, Step::Elsewhere);
        told(first.step(at(now)).await)
    };
    (1..=2).for_each(note);
    assert!(looked(10).await.is_empty(), "two are not enough");
    note(13);
    assert_eq!(looked(20).await, ["firing weak-keys 1"]);
    let alarms = plant.store.open_alarms().await.unwrap();
    let (replica, request_id, work_order) = ("b:8080".into(), "13".into(), "W1".into());
    let (first_sender, again) = ("10.0.0.7 (open)".into(), "10.0.0.9 (open)".into());
    let cause = Cause::WeakKeys { replica, replays: 3, request_id, work_order, first: first_sender, again };
    assert_eq!((&alarms[0].cause, alarms[0].since), (&cause, at(1)));
    note(25);
    for now in (30..625).step_by(30) {
        assert!(looked(now).await.is_empty(), "it lasts, after {now} s");
    }
    assert_eq!(looked(625).await, ["resolved weak-keys 1"]);
}

pub async fn one_replica_has_the_turn_and_another_takes_it_over(plant: Plant) {
    let (mut first, mut second) = (plant.watch_as("a", &[], false), plant.watch_as("b", &[], false));
    plant.finding("P2025", 0).await;
    assert_eq!(told(first.step(at(1)).await), ["firing drift 1"]);
    assert_eq!(second.step(at(35)).await, Step::Elsewhere);
    // The first one is gone.
    assert!(told(second.step(at(36)).await).is_empty(), "it was told already");
    assert_eq!(first.step(at(40)).await, Step::Elsewhere);
    plant.repair("P2025").await;
    assert_eq!(told(second.step(at(91)).await), ["resolved drift 1"]);
    // A turn was taken before the clock was set back: it does not block until that hour comes again.
    assert_ne!(second.step(at(4000)).await, Step::Elsewhere);
    assert_ne!(first.step(at(400)).await, Step::Elsewhere);
}

pub async fn what_another_one_wrote_meanwhile_is_not_written_again(plant: Plant) {
    plant.put("d", &["W1"], 1).await;
    let again = |changes: Changes| Record { changes, messages: Vec::new(), now: at(2) };
    // The same matter under another id, beside one that is new.
    let mut changes = fired(&["W1", "W2"], 2);
    changes.fired[0].alarm_id = "other".into();
    assert!(!plant.store.record(&again(changes)).await.unwrap());
    let alarm = plant.store.open_alarms().await.unwrap().remove(0);
    assert_eq!(plant.store.open_alarms().await.unwrap().len(), 1, "all or nothing");

    let resolved = Alarm { clear_since: Some(at(2)), resolved_at: Some(at(2)), ..alarm.clone() };
    let resolve = Changes { resolved: vec![resolved], ..Changes::default() };
    let cleared = Changes { cleared: vec![alarm.alarm_id.clone()], ..Changes::default() };
    let returned = Changes { returned: vec![alarm.alarm_id.clone()], ..Changes::default() };
    for (changes, passes) in [
        (&returned, false),
        (&cleared, true),
        (&cleared, false),
        (&returned, true),
        (&resolve, true),
        (&resolve, false),
        (&cleared, false),
    ] {
        assert_eq!(plant.store.record(&again(changes.clone())).await.unwrap(), passes, "{changes:?}");
    }
    assert_eq!(plant.line("d").await.unwrap().waiting, 1);
    // Resolved, it may fire again.
    let mut changes = fired(&["W1"], 3);
    changes.fired[0].alarm_id = "new".into();
    assert!(plant.store.record(&again(changes)).await.unwrap());
}

pub async fn what_checks_find_and_repairs_set_right_is_told_once_each(plant: Plant) {
    let setup = plant.setup().set("SCANFENCE_CHECK_RECENT", "off").set("SCANFENCE_CHECK_FULL", "off");
    let mut service = setup.set("USER", "E1024").start().await;
    let client = service.client();
    let json = ("content-type", "application/json");
    for number in ["W1", "W2"] {
        let path = format!("/v1/work-orders/{number}");
        client.request("PUT", &path, &[json], r#"{"planned_quantity":500}"#).await.unwrap();
        let headers = [json, ("idempotency-key", number)];
        let scan = client.request("POST", &format!("{path}/scans"), &headers, r#"{"counter":"input"}"#).await.unwrap();
        assert_eq!(scan.status.as_u16(), 201);
    }
    assert_eq!(service.terminate(SOON).await, Some(0));
    let setup = plant.setup().set("USER", "E1024");
    // The lease of the service that ended expires first.
    let begun = Timestamp::cut(chrono::Utc::now()).unwrap().later(Duration::from_secs(60));
    let after = |seconds| begun.later(Duration::from_secs(seconds));
    let mut watch = plant.watch(&[]);
    assert_eq!(setup.command(&["check", "--full"]).await.status.code(), Some(0));
    assert!(told(watch.step(after(1)).await).is_empty());

    plant.run("update work_orders set input_quantity = 9 where work_order = 'W1'").await;
    let mut finding = String::new();
    for round in 0..3 {
        let check = setup.command(&["check", "--full", "--output", "json"]).await;
        assert_eq!(check.status.code(), Some(3), "{check:?}");
        let report: serde_json::Value = serde_json::from_slice(&check.stdout).unwrap();
        finding = report["findings"][0]["finding_id"].as_str().unwrap().to_owned();
        let expected: &[&str] = if round == 0 { &["firing drift 1"] } else { &[] };
        assert_eq!(told(watch.step(after(10 + round)).await), expected, "round {round}");
    }
    let alarm = plant.store.open_alarms().await.unwrap().remove(0);
    let Cause::Drift { work_order, finding: kind, counter, expected, actual, .. } = alarm.cause else {
        panic!("{alarm:?}")
    };
    assert_eq!((&*work_order, &*kind, counter.as_deref()), ("W1", "quantity", Some("input")));
    assert_eq!((expected, actual), (Some(json!(1)), Some(json!(9))));

    let repair = setup.command(&["repair", "--finding", &finding]).await;
    assert_eq!(repair.status.code(), Some(0), "{repair:?}");
    assert_eq!(told(watch.step(after(600)).await), ["resolved drift 1"]);
    assert_eq!(setup.command(&["check", "--full"]).await.status.code(), Some(0));
    assert!(told(watch.step(after(601)).await).is_empty());
}
