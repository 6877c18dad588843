//! Alarms from what is wrong to who was told, on both stores, with the clock in hand.
//!
//! A step of the watch or of a dispatch is called with the time that it shall be, so hours
//! pass in no time; the receivers are real.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod stage;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use scanfence::alarms::dispatch::{Dispatch, Stepped};
use scanfence::alarms::senders::{Sender, address_policy};
use scanfence::alarms::watch::{Due, Replica, Settings, Step, Watch};
use scanfence::alarms::{Alarms, Channels};
use scanfence::domain::alarm::{Alarm, Cause, Changes, Kind, Phase, Sighting};
use scanfence::domain::channel::Channel;
use scanfence::domain::outbox::{ChannelState, MOST_WAITING, Message};
use scanfence::domain::time::Timestamp;
use scanfence::store::StoreError;
use scanfence::store::alarms::{
    AlarmStore, ChannelQueue, ChannelUpdate, CleanUpLimits, ConditionQuery, Conditions, Dropped, NewMessage, Record,
    Report, WatchLease,
};
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::sqlite::SqliteStore;
use scanfence::store::sqlite::folder::{self, DATABASE};
use scanfence::telemetry::Metrics;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use stage::postgres::{Database, Postgres};
use stage::receivers::{Answer, GOOD, MailReceiver, Smtp, WebReceiver};
use stage::redis::Redis;
use stage::service::Setup;
use stage::{SOON, eventually};
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

/// A store, and the database below it.
struct Plant {
    store: Arc<dyn AlarmStore>,
    below: Below,
}

enum Below {
    Postgres(Database),
    Sqlite(TempDir),
}

async fn on_postgres() -> Plant {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    Plant { store, below: Below::Postgres(database) }
}

async fn on_sqlite() -> Plant {
    let data = TempDir::new().unwrap();
    folder::migrate(data.path()).await.unwrap();
    let store = Arc::new(SqliteStore::open(data.path()).await.unwrap());
    Plant { store, below: Below::Sqlite(data) }
}

/// One test of each case on each store.
macro_rules! on_both_stores {
    ($($case:ident)*) => {
        mod postgresql {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::on_postgres().await).await;
            })*
        }
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $case() {
                super::$case(super::on_sqlite().await).await;
            })*
        }
    };
}

on_both_stores! {
    drift_is_told_once_however_often_it_is_seen_and_its_end_once
    drift_that_is_repaired_by_itself_is_told_all_the_same
    drift_in_many_work_orders_is_one_message
    a_burst_of_duplicates_at_one_station_is_told
    a_check_that_is_overdue_or_fails_is_told
    redis_that_is_away_for_long_is_told_once_whoever_sees_it
    one_replica_has_the_turn_and_another_takes_it_over
    what_another_one_wrote_meanwhile_is_not_written_again
    messages_arrive_in_their_order_however_often_they_fail
    what_a_dead_process_had_claimed_is_sent_again_under_its_id
    the_rate_of_a_robot_holds_whatever_there_is_to_tell
    a_channel_gets_only_the_alarms_that_it_asked_for
    what_is_too_old_or_too_many_is_dropped_oldest_first
    a_store_that_fails_for_long_is_told_directly_and_written_down_later
    pitfall_38_a_channel_that_stalls_delays_no_other
    everything_is_read_back_as_it_was_written
    what_checks_find_and_repairs_set_right_is_told_once_each
    a_service_tells_people_of_drift_and_bursts_and_shows_no_secret
}

impl Plant {
    /// Runs statements that both databases understand.
    async fn run(&self, statements: &str) {
        match &self.below {
            Below::Postgres(database) => {
                let mut connection: PgConnection = database.connect().await;
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
            }
            Below::Sqlite(data) => {
                let options = SqliteConnectOptions::new().filename(data.path().join(DATABASE));
                let mut connection = SqliteConnection::connect_with(&options).await.unwrap();
                sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut connection).await.unwrap();
            }
        }
    }

    /// A finding as a check leaves it.
    async fn finding(&self, work_order: &str, found: u64) {
        let at = at(found);
        self.run(&format!(
            "insert into consistency_findings (finding_id, first_check_id, last_check_id, work_order, kind, counter,
                 seq, expected, actual, details, remedy, state, found_at, seen_at)
             values ('f-{work_order}', 'c1', 'c1', '{work_order}', 'quantity', 'input', 12, '275', '276', '{{}}',
                 'repair', 'open', '{at}', '{at}')"
        ))
        .await;
    }

    async fn repair(&self, work_order: &str) {
        self.run(&format!("update consistency_findings set state = 'repaired' where work_order = '{work_order}'"))
            .await;
    }

    /// A check that ended so.
    async fn check(&self, range: &str, state: &str, ended: u64) {
        let at = at(ended);
        self.run(&format!(
            "insert into consistency_checks (check_id, range, state, requested_by, requested_at, finished_at, error)
             values ('c-{range}-{ended}', '{range}', '{state}', 'schedule', '{at}', '{at}',
                 case '{state}' when 'failed' then 'no answer' end)"
        ))
        .await;
    }

    /// So many refused scans of a station, one each second.
    async fn refused(&self, station: &str, code: &str, from: u64, count: u64) {
        for n in 0..count {
            let at = at(from + n);
            self.run(&format!(
                "insert into update_log (request_id, work_order, at_seq, counter, action, delta, before, after,
                     station, fence, work_order_status, remaining, recorded_at, recorded_by, outcome, code, rendering)
                 values ('r-{station}-{code}-{from}-{n}', 'W1', 1, 'input', 'scan', 0, 1, 1, '{station}', 1,
                     'in_progress', 9, '{at}', 'line-3', 'refused', '{code}', 1)"
            ))
            .await;
        }
    }

    /// A service on the same database, as a process.
    fn setup(&self) -> Setup {
        match &self.below {
            Below::Postgres(database) => Setup::shared(database.url()),
            Below::Sqlite(data) => Setup::embedded(data.path()),
        }
    }

    fn watch(&self, robots: &[Arc<Sender>]) -> Watch {
        self.watch_as("a", robots, false)
    }

    fn watch_as(&self, name: &str, robots: &[Arc<Sender>], redis_is_away: bool) -> Watch {
        watch(Arc::clone(&self.store), name, robots, redis_is_away)
    }

    fn dispatch(&self, robot: &Arc<Sender>) -> Dispatch {
        Dispatch::new(Arc::clone(&self.store), Arc::clone(robot), "a", Arc::new(Metrics::new()))
    }

    async fn line(&self, channel: &str) -> Option<ChannelQueue> {
        self.store.channel_queues().await.unwrap().into_iter().find(|line| line.channel == channel)
    }

    /// Puts messages into the outbox that say that these work orders drift.
    async fn put(&self, channel: &str, work_orders: &[&str], when: u64) {
        let changes = fired(work_orders, when);
        let messages = changes.fired.iter().map(|alarm| {
            let one = Changes { fired: vec![alarm.clone()], ..Changes::default() };
            let notice = one.notices(at(when)).remove(0);
            NewMessage { message_id: format!("m-{}", alarm.alarm_id), channel: channel.into(), notice }
        });
        let record = Record { messages: messages.collect(), changes, now: at(when) };
        assert!(self.store.record(&record).await.unwrap());
    }
}

fn watch(store: Arc<dyn AlarmStore>, name: &str, robots: &[Arc<Sender>], redis_is_away: bool) -> Watch {
    let within = |limit: u64| -> Due { Arc::new(move |last: Timestamp| Some(last.later(Duration::from_secs(limit)))) };
    let settings = Settings {
        after: Duration::from_secs(60),
        duplicates: 20,
        duplicates_within: Duration::from_secs(60),
        due: vec![("recent", within(900)), ("full", within(90_000))],
    };
    let replica = Replica { holder: name.to_owned(), name: format!("{name}:8080") };
    let away = Box::new(move || redis_is_away);
    Watch::new(store, robots.to_vec(), Arc::new(Metrics::new()), settings, replica, away, at(0))
}

fn at(seconds: u64) -> Timestamp {
    Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
}

fn robot(name: &str, receiver: &WebReceiver) -> Arc<Sender> {
    robot_for(name, receiver, &[])
}

fn robot_for(name: &str, receiver: &WebReceiver, alarms: &[&str]) -> Arc<Sender> {
    let channel = json!({
        "name": name, "kind": "wecom", "url": receiver.url(), "alarms": alarms, "allow_private": true,
    });
    let channel: Channel = serde_json::from_value(channel).unwrap();
    Arc::new(Sender::new(channel, address_policy::system()).unwrap())
}

fn fired(work_orders: &[&str], when: u64) -> Changes {
    let fired = work_orders.iter().map(|work_order| Alarm {
        alarm_id: format!("a-{work_order}"),
        cause: Cause::Drift {
            work_order: (*work_order).to_owned(),
            findings: 1,
            finding: "quantity".into(),
            counter: None,
            seq: None,
            expected: None,
            actual: None,
        },
        since: at(when),
        fired_at: at(when),
        clear_since: None,
        resolved_at: None,
        recurrences: 0,
    });
    Changes { fired: fired.collect(), ..Changes::default() }
}

/// What a step told, as `firing drift 2`.
fn told(step: Step) -> Vec<String> {
    match step {
        Step::Told(notices) => notices
            .iter()
            .map(|n| format!("{} {} {}", n.phase.word(), n.kind.word(), n.alarms.len() + n.more))
            .collect(),
        Step::Nothing => Vec::new(),
        Step::Elsewhere | Step::Overtaken | Step::StorageFails(_) => panic!("{step:?}"),
    }
}

// --- What raises an alarm ---

async fn drift_is_told_once_however_often_it_is_seen_and_its_end_once(plant: Plant) {
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

async fn drift_that_is_repaired_by_itself_is_told_all_the_same(plant: Plant) {
    let mut watch = plant.watch(&[]);
    plant.finding("P2025", 5).await;
    plant.repair("P2025").await;
    assert_eq!(told(watch.step(at(10)).await), ["firing drift 1"]);
    assert_eq!(told(watch.step(at(95)).await), ["resolved drift 1"]);
}

async fn drift_in_many_work_orders_is_one_message(plant: Plant) {
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
    // One more is told of by itself.
    plant.finding("W99", 40).await;
    assert_eq!(told(watch.step(at(41)).await), ["firing drift 1"]);
}

async fn a_burst_of_duplicates_at_one_station_is_told(plant: Plant) {
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
    // The minute has passed; after five quiet ones more it is over.
    assert!(told(watch.step(at(190)).await).is_empty());
    assert!(told(watch.step(at(489)).await).is_empty());
    assert_eq!(told(watch.step(at(490)).await), ["resolved duplicate-burst 1"]);
}

async fn a_check_that_is_overdue_or_fails_is_told(plant: Plant) {
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
    // A full check that gets on holds up the recent ones and is no reason for an alarm.
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

async fn redis_that_is_away_for_long_is_told_once_whoever_sees_it(plant: Plant) {
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

    // The second one dies, the first one is well again: what nobody renews is over.
    let mut first = plant.watch_as("a", &[], false);
    assert!(told(first.step(at(70)).await).is_empty(), "the other one was seen a moment ago");
    assert!(told(first.step(at(107)).await).is_empty());
    assert!(told(first.step(at(166)).await).is_empty());
    assert_eq!(told(first.step(at(167)).await), ["resolved lease-away 1"], "after a quiet minute");
}

async fn one_replica_has_the_turn_and_another_takes_it_over(plant: Plant) {
    let (mut first, mut second) = (plant.watch_as("a", &[], false), plant.watch_as("b", &[], false));
    plant.finding("P2025", 0).await;
    assert_eq!(told(first.step(at(1)).await), ["firing drift 1"]);
    assert_eq!(second.step(at(35)).await, Step::Elsewhere);
    // The first one is gone.
    assert!(told(second.step(at(36)).await).is_empty(), "it was told already");
    assert_eq!(first.step(at(40)).await, Step::Elsewhere);
    plant.repair("P2025").await;
    assert_eq!(told(second.step(at(91)).await), ["resolved drift 1"]);
    // The lease was taken before the clock was set back: nobody waits until it expires by the old clock.
    assert_ne!(second.step(at(4000)).await, Step::Elsewhere);
    assert_ne!(first.step(at(400)).await, Step::Elsewhere);
}

async fn what_another_one_wrote_meanwhile_is_not_written_again(plant: Plant) {
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

async fn what_checks_find_and_repairs_set_right_is_told_once_each(plant: Plant) {
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

// --- How it gets there ---

async fn messages_arrive_in_their_order_however_often_they_fail(plant: Plant) {
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

async fn what_a_dead_process_had_claimed_is_sent_again_under_its_id(plant: Plant) {
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
    // Nobody sends for a channel that has nothing, or is none.
    assert_eq!(dispatch.step(at(200)).await.unwrap(), Stepped::Nothing);
    plant.store.update_channel("unknown", &mut |_, _| panic!("it has no row")).await.unwrap();
}

async fn the_rate_of_a_robot_holds_whatever_there_is_to_tell(plant: Plant) {
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

async fn a_channel_gets_only_the_alarms_that_it_asked_for(plant: Plant) {
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

async fn what_is_too_old_or_too_many_is_dropped_oldest_first(plant: Plant) {
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
    // What was settled long ago is deleted, alarms with it; open ones stay.
    assert!(plant.store.clean_up(&limits(50, 5, 45)).await.unwrap().is_empty());
    let open = plant.store.open_alarms().await.unwrap();
    assert_eq!(open.len(), 4 + many.len());
}

/// A store that can be switched off.
struct Failing {
    store: Arc<dyn AlarmStore>,
    fails: AtomicBool,
}

impl Failing {
    fn try_it(&self) -> Result<(), StoreError> {
        match self.fails.load(Ordering::Relaxed) {
            true => Err(StoreError::TryAgain("the disk is full".into())),
            false => Ok(()),
        }
    }
}

#[async_trait]
impl AlarmStore for Failing {
    async fn report_sightings(&self, report: &Report) -> Result<bool, StoreError> {
        self.try_it()?;
        self.store.report_sightings(report).await
    }

    async fn conditions(&self, query: &ConditionQuery) -> Result<Conditions, StoreError> {
        self.try_it()?;
        self.store.conditions(query).await
    }

    async fn record(&self, record: &Record) -> Result<bool, StoreError> {
        self.try_it()?;
        self.store.record(record).await
    }

    async fn channel_queues(&self) -> Result<Vec<ChannelQueue>, StoreError> {
        self.store.channel_queues().await
    }

    async fn update_channel(
        &self,
        channel: &str,
        decide: &mut (dyn FnMut(ChannelState, Option<Message>) -> Option<ChannelUpdate> + Send),
    ) -> Result<(), StoreError> {
        self.store.update_channel(channel, decide).await
    }

    async fn open_alarms(&self) -> Result<Vec<Alarm>, StoreError> {
        self.store.open_alarms().await
    }

    async fn clean_up(&self, limits: &CleanUpLimits) -> Result<Vec<Dropped>, StoreError> {
        self.store.clean_up(limits).await
    }
}

async fn a_store_that_fails_for_long_is_told_directly_and_written_down_later(plant: Plant) {
    let (good, bad) = (WebReceiver::start(GOOD).await, WebReceiver::start(Answer::Reset).await);
    let robots = [robot("good", &good), robot("bad", &bad)];
    let store = Arc::new(Failing { store: Arc::clone(&plant.store), fails: AtomicBool::new(true) });
    let mut watch = watch(store.clone(), "a", &robots, false);
    // A short trouble is told to nobody.
    assert_eq!(watch.step(at(0)).await, Step::StorageFails(Vec::new()));
    assert_eq!(watch.step(at(50)).await, Step::StorageFails(Vec::new()));
    store.fails.store(false, Ordering::Relaxed);
    assert!(told(watch.step(at(55)).await).is_empty());

    store.fails.store(true, Ordering::Relaxed);
    assert_eq!(watch.step(at(100)).await, Step::StorageFails(Vec::new()));
    assert_eq!(watch.step(at(159)).await, Step::StorageFails(Vec::new()));
    assert_eq!(watch.step(at(160)).await, Step::StorageFails(vec!["good".into()]));
    assert_eq!(watch.step(at(170)).await, Step::StorageFails(Vec::new()), "once; the other one is tried again");
    assert_eq!(good.titles(), ["[Scanfence] Database failing"]);
    assert!(good.received()[0].text().contains("Database of a:8080: the store asks to try again: the disk is full"));
    assert_eq!(bad.received().len(), 2);
    assert!(plant.store.open_alarms().await.unwrap().is_empty());

    // It is back: written down, and told to whom it could not be told before.
    store.fails.store(false, Ordering::Relaxed);
    bad.then(GOOD);
    assert_eq!(told(watch.step(at(180)).await), ["firing storage-failing 1"]);
    assert_eq!((plant.line("good").await, plant.line("bad").await.unwrap().waiting), (None, 1));
    assert_eq!(plant.store.open_alarms().await.unwrap()[0].since, at(100));
    assert!(told(watch.step(at(190)).await).is_empty());
    assert!(told(watch.step(at(249)).await).is_empty());
    assert_eq!(told(watch.step(at(250)).await), ["resolved storage-failing 1"], "after a quiet minute");
    for robot in &robots {
        let dispatch = plant.dispatch(robot);
        while dispatch.step(at(260)).await.unwrap() == Stepped::Delivered {}
    }
    let pair = ["[Scanfence] Database failing", "[Scanfence] Resolved: Database failing"];
    assert_eq!(good.titles(), pair);
    assert_eq!(bad.titles()[2..], pair);
}

async fn pitfall_38_a_channel_that_stalls_delays_no_other(plant: Plant) {
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

async fn everything_is_read_back_as_it_was_written(plant: Plant) {
    let causes = [
        Cause::Drift {
            work_order: "水 \"泵\" \\ '".into(),
            findings: 2,
            finding: "chain".into(),
            counter: Some("scrap".into()),
            seq: Some(7),
            expected: Some(json!([1, "a", null])),
            actual: Some(json!("b")),
        },
        Cause::CheckOverdue { range: "recent".into(), last_finished: None },
        Cause::CheckFailing { range: "full".into(), error: "line\nline".into() },
        Cause::LeaseAway { replicas: ["a".into()].into() },
        Cause::StorageFailing { replica: "a".into(), error: "e".into() },
        Cause::DuplicateBurst { station: String::new(), refused: 3, within_seconds: 60, work_order: "W".into() },
    ];
    let sightings: Vec<Sighting> = causes.into_iter().map(|cause| Sighting { cause, since: at(3) }).collect();
    let lease = |holder: &str| WatchLease { holder: holder.into(), until: at(9) };
    let report = Report { lease: lease("a"), sightings: sightings.clone(), now: at(4) };
    assert!(plant.store.report_sightings(&report).await.unwrap());
    let query = ConditionQuery { seen_after: at(0), found_after: at(0), duplicates: (at(0), 1), resolved_after: at(0) };
    let mut seen = plant.store.conditions(&query).await.unwrap().sightings;
    seen.sort_by_key(|sighting| sighting.cause.kind());
    assert_eq!(seen, sightings);
    // What is not reported again is forgotten, and that of others is left alone.
    let report = Report { lease: lease("b"), sightings: sightings[..1].to_vec(), ..report };
    assert!(!plant.store.report_sightings(&report).await.unwrap());
    let report = Report { lease: lease("a"), sightings: Vec::new(), ..report };
    assert!(plant.store.report_sightings(&report).await.unwrap());
    assert_eq!(plant.store.conditions(&query).await.unwrap().sightings, sightings[..1]);

    let alarms: Vec<Alarm> = sightings
        .iter()
        .map(|sighting| Alarm {
            alarm_id: format!("a-{}", sighting.cause.kind().word()),
            cause: sighting.cause.clone(),
            since: at(3),
            fired_at: at(5),
            clear_since: None,
            resolved_at: None,
            recurrences: 4,
        })
        .collect();
    let changes = Changes { fired: alarms.clone(), ..Changes::default() };
    let notice = changes.notices(at(5)).into_iter().find(|notice| notice.kind == Kind::Drift).unwrap();
    assert_eq!(notice.phase, Phase::Firing);
    let messages = vec![NewMessage { message_id: "m".into(), channel: "d".into(), notice: notice.clone() }];
    assert!(plant.store.record(&Record { changes, messages, now: at(5) }).await.unwrap());
    let mut open = plant.store.open_alarms().await.unwrap();
    open.sort_by_key(|alarm| alarm.cause.kind());
    assert_eq!(open, alarms);

    let full = ChannelState {
        claimed_by: Some("a".into()),
        claimed_until: Some(at(1)),
        paced_until: Some(at(2)),
        failures: 3,
        failing_since: Some(at(3)),
        next_attempt_at: Some(at(4)),
        last_error: Some("e\u{1f4a5}".into()),
        last_delivered_at: Some(at(5)),
    };
    let mut seen = Vec::new();
    for next in [full.clone(), ChannelState::default()] {
        let mut decide = |line, message: Option<Message>| {
            seen.push((line, message.unwrap().notice));
            Some(ChannelUpdate { state: next.clone(), message: None })
        };
        plant.store.update_channel("d", &mut decide).await.unwrap();
    }
    assert_eq!(seen, [(ChannelState::default(), notice.clone()), (full, notice)]);
}

#[tokio::test]
async fn the_search_for_bursts_reads_duplicates_alone_however_long_the_log() {
    let plant = on_postgres().await;
    let Below::Postgres(database) = &plant.below else { unreachable!("it is on PostgreSQL") };
    let mut connection = database.connect().await;
    let log =
        "insert into update_log (request_id, work_order, seq, at_seq, counter, action, delta, before, after, fence,
                   work_order_status, remaining, recorded_at, recorded_by, outcome, code, rendering)
               select 'r' || n, 'W1', case when n % 50 > 0 then n end, case when n % 50 = 0 then n end, 'input', 'scan',
                      sign(n % 50), 0, 0, 1, 'in_progress', 0, now() - n * interval '1 second', 'line-3',
                      case when n % 50 > 0 then 'counted' else 'refused' end,
                      case when n % 50 = 0 then 'barcode-already-counted' end, 1
               from generate_series(1, 20000) n";
    sqlx::raw_sql(log).execute(&mut connection).await.unwrap();
    sqlx::raw_sql("analyze update_log").execute(&mut connection).await.unwrap();
    let conditions = include_str!("../src/store/postgres/alarms/conditions.sql");
    let prepare = format!(
        "prepare conditions (timestamptz, timestamptz, bigint, timestamptz, bigint, bigint, timestamptz) as {conditions}"
    );
    sqlx::raw_sql(AssertSqlSafe(prepare)).execute(&mut connection).await.unwrap();
    for mode in ["force_custom_plan", "force_generic_plan"] {
        sqlx::raw_sql(AssertSqlSafe(format!("set plan_cache_mode = {mode}"))).execute(&mut connection).await.unwrap();
        let explain = "explain execute conditions (now(), now() - interval '1 minute', 20, now(), 1000, 10000, now())";
        let plan: Vec<String> = sqlx::query_scalar(explain).fetch_all(&mut connection).await.unwrap();
        let plan = plan.join("\n");
        assert!(plan.contains("using update_log_duplicates") && !plan.contains("Seq Scan on update_log"), "{plan}");
    }
}

// --- The service as a process ---

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_the_database_that_die_are_told_of_while_they_are_away() {
    let (mut redis, mut server) = (Redis::start(), Postgres::start(&[]).await);
    let receiver = WebReceiver::start(GOOD).await;
    let channels = json!([{"name": "good", "kind": "wecom", "url": receiver.url(), "allow_private": true}]);
    let setup = Setup::shared(&server.url("postgres"))
        .redis(&redis.url())
        .set("SCANFENCE_ALARM_CHANNELS", &channels.to_string())
        .set("SCANFENCE_ALARM_AFTER", "1s");
    let _service = setup.start().await;
    let count = |title: &str| receiver.titles().iter().filter(|seen| *seen == title).count();
    redis.kill();
    let within = 2 * SOON;
    eventually("Redis is told of", within, async || (count("[Scanfence] Redis does not answer") == 1).then_some(()))
        .await;
    server.kill9().await;
    let told = async || (count("[Scanfence] Database failing") == 1).then_some(());
    eventually("the database is told of, without it", within, told).await;
    server.start_again().await;
    eventually("it is written down", within, async || {
        let listed = setup.command(&["alarms", "--output", "json"]).await;
        let all: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
        let open = all["open"].as_array()?.iter().filter_map(|alarm| alarm["cause"]["kind"].as_str());
        open.collect::<Vec<_>>().contains(&"storage-failing").then_some(())
    })
    .await;
    assert_eq!(
        (count("[Scanfence] Redis does not answer"), count("[Scanfence] Database failing")),
        (1, 1),
        "once each"
    );
}

async fn a_service_tells_people_of_drift_and_bursts_and_shows_no_secret(plant: Plant) {
    let (good, stalled) = (WebReceiver::start(GOOD).await, WebReceiver::start(Answer::Stall).await);
    let failing = WebReceiver::start(Answer::Http("200 OK", "", r#"{"errcode":1,"errmsg":"no TOKENTOKEN"}"#)).await;
    let mail = MailReceiver::start(Smtp::Good).await;
    let channels = json!([
        {"name": "good", "kind": "dingtalk", "url": good.url(), "secret": "SECRETSECRET", "allow_private": true},
        {"name": "stalled", "kind": "wecom", "url": stalled.url(), "allow_private": true},
        {"name": "failing", "kind": "wecom", "url": failing.url(), "allow_private": true, "language": "zh-CN"},
        {"name": "night", "kind": "mail", "url": format!("smtp://127.0.0.1:{}", mail.port()), "tls": false,
         "from": "scanfence@plant.example", "to": ["shift@plant.example"], "allow_private": true},
        {"name": "outside", "kind": "wecom", "url": good.url()},
    ]);
    let setup = plant.setup().set("SCANFENCE_ALARM_CHANNELS", &channels.to_string());
    let setup = setup.set("SCANFENCE_CHECK_RECENT", "off").set("SCANFENCE_CHECK_FULL", "off");
    let mut service = setup.start().await;
    plant.finding("P2025", 0).await;
    let has = |titles: Vec<String>, title: &str| titles.iter().any(|seen| seen == title).then_some(());
    let firing = async || has(good.titles(), "[Scanfence] Drift in a work order");
    eventually("the drift is told", SOON, firing).await;
    eventually("by mail too", SOON, async || (!mail.mails().is_empty()).then_some(())).await;
    eventually("the stalled one was tried", SOON, async || (!stalled.received().is_empty()).then_some(())).await;
    let text = failing.received()[0].text().to_owned();
    assert!(text.starts_with("[Scanfence] 1 个工单数量与记录不符\n• P2025："), "{text}");

    // Meanwhile a scanner fires twice and more, and each scan has its answer.
    let client = service.client();
    let json = ("content-type", "application/json");
    client.request("PUT", "/v1/work-orders/W1", &[json], r#"{"planned_quantity":500}"#).await.unwrap();
    let scan = r#"{"counter":"input","barcode":"B1","station":"L3-T2"}"#;
    for n in 0..21 {
        let key = format!("burst-{n}");
        let reply = client.request("POST", "/v1/work-orders/W1/scans", &[json, ("idempotency-key", &key)], scan).await;
        assert_eq!(reply.unwrap().status.as_u16(), if n == 0 { 201 } else { 409 });
    }
    let firing = async || has(good.titles(), "[Scanfence] Duplicates at a station");
    eventually("the burst is told", SOON, firing).await;

    let shown = eventually("failing channels are shown", SOON, async || {
        let reply = client.request("GET", "/readyz", &[], "").await.ok()?;
        assert!(reply.status.is_success(), "scans are counted all the same");
        let ready: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
        let failing = ready["checks"]["alarms"]["failing"].as_array()?.clone();
        (failing.contains(&"failing".into()) && failing.contains(&"outside".into())).then_some(ready)
    })
    .await;
    assert_eq!((&shown["status"], &shown["checks"]["alarms"]["status"]), (&json!("warn"), &json!("warn")));

    let listed = setup.command(&["alarms", "--output", "json"]).await;
    assert_eq!(listed.status.code(), Some(0));
    let all: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let kinds: Vec<&str> =
        all["open"].as_array().unwrap().iter().map(|a| a["cause"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["drift", "duplicate-burst"]);
    assert_eq!(all["channels"][2]["last_error"], "HTTP 200, code 1 no ***");
    let error = all["channels"][4]["last_error"].as_str().unwrap();
    assert!(error.contains("in the plant's own network"), "{error}");
    assert!(all["channels"][0]["last_delivered_at"].is_string());

    let mut outputs = vec![listed, setup.command(&["alarms"]).await, setup.command(&["config"]).await];
    for (channel, code, part) in [
        ("good", 0, "good: delivered"),
        ("failing", 1, "failing: not delivered: HTTP 200, code 1"),
        ("none", 2, "night"),
    ] {
        let tested = setup.command(&["alarms", "test", channel]).await;
        let said = [&tested.stdout[..], &tested.stderr].concat();
        assert_eq!(tested.status.code(), Some(code), "{}", String::from_utf8_lossy(&said));
        assert!(String::from_utf8_lossy(&said).contains(part), "{}", String::from_utf8_lossy(&said));
        outputs.push(tested);
    }
    assert!(good.titles().contains(&"[Scanfence] Test".to_owned()));

    plant.repair("P2025").await;
    let resolved = async || has(good.titles(), "[Scanfence] Resolved: Drift in a work order");
    eventually("its end is told", SOON, resolved).await;

    let metrics = client.request("GET", "/metrics", &[], "").await.unwrap();
    assert_eq!(service.terminate(SOON).await, Some(0), "a stalled channel does not hold it up");
    let mut texts = vec![service.log(), metrics.text(), shown.to_string()];
    texts.extend(
        outputs
            .iter()
            .flat_map(|output| [&output.stdout, &output.stderr])
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
    );
    for text in texts {
        assert!(!text.contains("TOKENTOKEN") && !text.contains("SECRETSECRET"), "{text}");
    }
}
