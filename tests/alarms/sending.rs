//! How messages get to people.

use std::sync::Arc;
use std::time::Duration;

use scanfence::alarms::dispatch::Stepped;
use scanfence::alarms::{Alarms, Channels};
use scanfence::domain::outbox::MOST_WAITING;
use scanfence::domain::outbox::{ChannelState, Message};
use scanfence::store::alarms::{ChannelUpdate, CleanUpLimits, Dropped};
use scanfence::telemetry::Metrics;
use tokio_util::sync::CancellationToken;

use crate::plant::{Plant, at, robot, robot_for, told};
use crate::stage::receivers::{Answer, GOOD, WebReceiver};
use crate::stage::{SOON, eventually};

pub async fn messages_arrive_in_their_order_however_often_they_fail(plant: Plant) {
    let receiver = WebReceiver::start(GOOD).await;
    let robot = robot("d", &receiver);
    let dispatch = plant.dispatch(&robot);
    plant.put("d", &["W1", "W2", "W3"], 0).await;
    receiver.next(Answer::Http("200 OK", "", r#"{"errcode":93000,"errmsg":"invalid webhook url"}"#));
    assert_eq!(dispatch.step(at(1)).await.unwrap(), Stepped::Failed);
    let line = plant.line("d").await.unwrap();
    assert_eq!((line.waiting, line.state.failures, line.state.claimed_by), (3, 1, None));
    assert_eq!(line.state.last_error.as_deref(), Some("HTTP 200, code 93000 invalid webhook url"));
    let next = line.state.next_attempt_at.unwrap();
    let too_early = next.before(Duration::from_millis(1));
    assert_eq!(dispatch.step(too_early).await.unwrap(), Stepped::Nothing, "the pause is not over");

    receiver.next(Answer::Reset);
    assert_eq!(dispatch.step(next).await.unwrap(), Stepped::Failed);
    let line = plant.line("d").await.unwrap().state;
    assert_eq!(line.failures, 2);
    // What it took is as late as the wall clock, which is beyond these times.
    let now = line.next_attempt_at.unwrap();
    for _ in 0..3 {
        assert_eq!(dispatch.step(now).await.unwrap(), Stepped::Delivered);
    }
    assert_eq!(dispatch.step(now).await.unwrap(), Stepped::Nothing);
    let texts = receiver.received();
    let seen: Vec<&str> = texts.iter().map(|received| &received.text().lines().nth(1).unwrap()[4..6]).collect();
    assert_eq!(seen, ["W1", "W1", "W1", "W2", "W3"]);
    let line = plant.line("d").await.unwrap();
    assert_eq!(
        (line.waiting, line.state.failures, line.state.failing_since, line.state.last_error),
        (0, 0, None, None)
    );
}

pub async fn what_a_dead_process_had_claimed_is_sent_again_under_its_id(plant: Plant) {
    let receiver = WebReceiver::start(GOOD).await;
    let robot = robot("d", &receiver);
    plant.put("d", &["W1"], 0).await;
    let mut claimed = None;
    let mut claim = |line: ChannelState, message: Option<Message>| {
        claimed = message;
        line.claim("dead", robot.pace(), at(1)).map(|line| ChannelUpdate { state: line, message: None })
    };
    plant.store.update_channel("d", &mut claim).await.unwrap();
    assert_eq!(claimed.unwrap().message_id, "m-a-W1");
    let dispatch = plant.dispatch(&robot);
    assert_eq!(dispatch.step(at(60)).await.unwrap(), Stepped::Nothing);
    assert_eq!(dispatch.step(at(61)).await.unwrap(), Stepped::Delivered);
    // Nothing is sent for a channel that has no messages or does not exist.
    assert_eq!(dispatch.step(at(200)).await.unwrap(), Stepped::Nothing);
    plant.store.update_channel("unknown", &mut |_, _| panic!("it has no row")).await.unwrap();
}

pub async fn the_rate_of_a_robot_holds_whatever_there_is_to_tell(plant: Plant) {
    let receiver = WebReceiver::start(GOOD).await;
    let robot = robot("d", &receiver);
    // Two replicas at once.
    let couriers = [plant.dispatch(&robot), plant.dispatch(&robot)];
    let work_orders: Vec<String> = (0..60).map(|n| format!("W{n:02}")).collect();
    plant.put("d", &work_orders.iter().map(String::as_str).collect::<Vec<_>>(), 0).await;
    let mut sent = Vec::new();
    for now in 0..240 {
        for dispatch in &couriers {
            if dispatch.step(at(now)).await.unwrap() == Stepped::Delivered {
                sent.push(now);
            }
        }
    }
    let most = sent.iter().map(|&from| sent.iter().filter(|&&at| (from..from + 60).contains(&at)).count()).max();
    assert!(most.unwrap() < 20, "{most:?} in a minute");
    assert_eq!((sent.len(), receiver.received().len()), (60, 60), "and all arrived");
}

pub async fn a_channel_gets_only_the_alarms_that_it_asked_for(plant: Plant) {
    let receiver = WebReceiver::start(GOOD).await;
    let robots = [
        robot_for("all", &receiver, &[]),
        robot_for("drift", &receiver, &["drift"]),
        robot_for("bursts", &receiver, &["duplicate-burst"]),
    ];
    plant.finding("P2025", 0).await;
    assert_eq!(told(plant.watch(&robots).step(at(1)).await), ["firing drift 1"]);
    let lines = plant.store.channel_queues().await.unwrap();
    let waiting: Vec<_> = lines.iter().map(|line| (line.channel.as_str(), line.waiting)).collect();
    assert_eq!(waiting, [("all", 1), ("drift", 1)]);
}

pub async fn what_is_too_old_or_too_many_is_dropped_oldest_first(plant: Plant) {
    let limits = |now: u64, waiting_after: u64, settled_after: u64| CleanUpLimits {
        now: at(now),
        waiting_after: at(waiting_after),
        most_waiting: MOST_WAITING,
        settled_after: at(settled_after),
        resolved_after: at(settled_after),
        seen_after: at(settled_after),
    };
    plant.put("d", &["W1", "W2"], 1).await;
    plant.put("d", &["W3"], 10).await;
    plant.put("e", &["X1"], 1).await;
    let dropped = |channel: &str, dropped| Dropped { channel: channel.into(), dropped };
    let gone = plant.store.clean_up(&limits(20, 5, 0)).await.unwrap();
    assert_eq!(gone, [dropped("d", 2), dropped("e", 1)]);
    assert_eq!(plant.line("d").await.unwrap().waiting, 1);

    let many: Vec<String> = (0..MOST_WAITING + 5).map(|n| format!("M{n:03}")).collect();
    plant.put("d", &many.iter().map(String::as_str).collect::<Vec<_>>(), 30).await;
    assert_eq!(plant.store.clean_up(&limits(40, 5, 0)).await.unwrap(), [dropped("d", 6)]);
    assert_eq!(plant.line("d").await.unwrap().waiting, MOST_WAITING);
    let mut first = None;
    plant
        .store
        .update_channel("d", &mut |_, message| {
            first = message.map(|message| message.message_id);
            None
        })
        .await
        .unwrap();
    assert_eq!(first.as_deref(), Some("m-a-M005"), "W3 and the first of the many are gone");
    // Messages and alarms that were settled long ago are deleted; open ones stay.
    assert!(plant.store.clean_up(&limits(50, 5, 45)).await.unwrap().is_empty());
    let open = plant.store.open_alarms().await.unwrap();
    assert_eq!(open.len(), 4 + many.len());
}

pub async fn pitfall_38_a_channel_that_stalls_delays_no_other(plant: Plant) {
    let (stalled, good) = (WebReceiver::start(Answer::Stall).await, WebReceiver::start(GOOD).await);
    let failing = WebReceiver::start(Answer::Http("200 OK", "", r#"{"errcode":1,"errmsg":"no"}"#)).await;
    let robots = [robot("stalled", &stalled), robot("failing", &failing), robot("good", &good)];
    let (channels, metrics) = (Arc::new(Channels::default()), Arc::new(Metrics::new()));
    let (watch, stop) = (plant.watch(&robots), CancellationToken::new());
    let store = Arc::clone(&plant.store);
    let alarms = Alarms::start(watch, store, &robots, Arc::clone(&channels), Arc::clone(&metrics), stop.clone());
    eventually("the stalled one has its message", SOON, async || (!stalled.received().is_empty()).then_some(())).await;
    plant.finding("P2025", 0).await;
    let seen = async || good.titles().contains(&"[Scanfence] Drift in a work order".to_owned()).then_some(());
    eventually("the good one hears of the drift", SOON, seen).await;
    eventually("the failing one is shown", SOON, async || {
        let failing = channels.failing();
        (failing.contains(&"failing".to_owned()) && !failing.contains(&"good".to_owned())).then_some(())
    })
    .await;
    let shown = metrics.render();
    for line in [
        r#"scanfence_alarm_channel_failing{channel="failing"} 1"#,
        r#"scanfence_alarm_channel_failing{channel="good"} 0"#,
        r#"scanfence_alarm_messages_total{channel="failing",outcome="failed"} "#,
    ] {
        assert!(shown.contains(line), "{line} is not in {shown}");
    }
    assert!(!shown.contains("TOKEN"));
    assert_eq!(stalled.received().len(), 1, "its first message is still on its way");
    stop.cancel();
    alarms.stopped().await;
}
