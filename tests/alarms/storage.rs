//! What the store keeps of alarms, and what happens while it fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use scanfence::alarms::dispatch::Stepped;
use scanfence::alarms::watch::Step;
use scanfence::domain::alarm::{Alarm, Cause, Changes, Kind, Phase, Sighting};
use scanfence::domain::outbox::{ChannelState, Message};
use scanfence::store::StoreError;
use scanfence::store::alarms::{
    AlarmStore, ChannelQueue, ChannelUpdate, CleanUpLimits, ConditionQuery, Conditions, Dropped, NewMessage, Record,
    Report, WatchLease,
};
use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::plant::{Below, Plant, at, on_postgres, own, robot, told, watch};
use crate::stage::receivers::{Answer, GOOD, WebReceiver};

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

pub async fn a_store_that_fails_for_long_is_told_directly_and_written_down_later(plant: Plant) {
    let (good, bad) = (WebReceiver::start(GOOD).await, WebReceiver::start(Answer::Reset).await);
    let robots = [robot("good", &good), robot("bad", &bad)];
    let store = Arc::new(Failing { store: Arc::clone(&plant.store), fails: AtomicBool::new(true) });
    let mut watch = watch(store.clone(), "a", &robots, own(false));
    // A short failure causes no message.
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

    // It is back: the alarm is written, and sent to the channel that failed before.
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

// Long: a value of every kind is written out.
pub async fn everything_is_read_back_as_it_was_written(plant: Plant) {
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
        Cause::WeakKeys {
            replica: "a".into(),
            replays: 3,
            request_id: "1'\"".into(),
            work_order: "W".into(),
            first: "open".into(),
            again: "::1 (loopback)".into(),
        },
    ];
    let sightings: Vec<Sighting> = causes.into_iter().map(|cause| Sighting { cause, since: at(3) }).collect();
    let lease = |holder: &str| WatchLease { holder: holder.into(), until: at(9) };
    let report = Report { lease: lease("a"), sightings: sightings.clone(), now: at(4) };
    assert!(plant.store.report_sightings(&report).await.unwrap());
    let query = ConditionQuery { seen_after: at(0), found_after: at(0), duplicates: (at(0), 1), resolved_after: at(0) };
    let mut seen = plant.store.conditions(&query).await.unwrap().sightings;
    seen.sort_by_key(|sighting| sighting.cause.kind());
    assert_eq!(seen, sightings);
    // A sighting that is not reported again is deleted. Those of other replicas stay.
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
    let conditions = include_str!("../../src/store/postgres/alarms/conditions.sql");
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
