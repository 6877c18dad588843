//! A store, what happens on it, and the senders and watches that work with it.

use std::sync::Arc;
use std::time::Duration;

use scanfence::alarms::WeakKeys;
use scanfence::alarms::dispatch::Dispatch;
use scanfence::alarms::senders::{Sender, address_policy};
use scanfence::alarms::watch::{Due, Own, Replica, Settings, Step, Watch};
use scanfence::domain::alarm::{Alarm, Cause, Changes};
use scanfence::domain::channel::Channel;
use scanfence::domain::time::Timestamp;
use scanfence::store::alarms::{AlarmStore, ChannelQueue, NewMessage, Record};
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::sqlite::SqliteStore;
use scanfence::store::sqlite::folder::{self, DATABASE};
use scanfence::telemetry::Metrics;
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection};
use sqlx::{AssertSqlSafe, Connection as _, PgConnection};
use tempfile::TempDir;

use crate::stage::postgres::Database;
use crate::stage::receivers::WebReceiver;
use crate::stage::service::Setup;

/// A store, and the database below it.
pub struct Plant {
    pub store: Arc<dyn AlarmStore>,
    pub below: Below,
}

pub enum Below {
    Postgres(Database),
    Sqlite(TempDir),
}

impl Plant {
    /// Runs statements that both databases understand.
    pub async fn run(&self, statements: &str) {
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
    pub async fn finding(&self, work_order: &str, found: u64) {
        let at = at(found);
        self.run(&format!(
            "insert into consistency_findings (finding_id, first_check_id, last_check_id, work_order, kind, counter,
                 seq, expected, actual, details, remedy, state, found_at, seen_at)
             values ('f-{work_order}', 'c1', 'c1', '{work_order}', 'quantity', 'input', 12, '275', '276', '{{}}',
                 'repair', 'open', '{at}', '{at}')"
        ))
        .await;
    }

    pub async fn repair(&self, work_order: &str) {
        self.run(&format!("update consistency_findings set state = 'repaired' where work_order = '{work_order}'"))
            .await;
    }

    /// A check that ended in this state.
    pub async fn check(&self, range: &str, state: &str, ended: u64) {
        let at = at(ended);
        self.run(&format!(
            "insert into consistency_checks (check_id, range, state, requested_by, requested_at, finished_at, error)
             values ('c-{range}-{ended}', '{range}', '{state}', 'schedule', '{at}', '{at}',
                 case '{state}' when 'failed' then 'no answer' end)"
        ))
        .await;
    }

    /// This many refused scans of a station, one each second.
    pub async fn refused(&self, station: &str, code: &str, from: u64, count: u64) {
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
    pub fn setup(&self) -> Setup {
        match &self.below {
            Below::Postgres(database) => Setup::shared(database.url()),
            Below::Sqlite(data) => Setup::embedded(data.path()),
        }
    }

    pub fn watch(&self, robots: &[Arc<Sender>]) -> Watch {
        self.watch_as("a", robots, false)
    }

    pub fn watch_as(&self, name: &str, robots: &[Arc<Sender>], redis_is_away: bool) -> Watch {
        watch(Arc::clone(&self.store), name, robots, own(redis_is_away))
    }

    /// A watch whose process notes suspicious replays there.
    pub fn watch_with(&self, name: &str, weak_keys: &Arc<WeakKeys>) -> Watch {
        let own = Own { weak_keys: Arc::clone(weak_keys), ..own(false) };
        watch(Arc::clone(&self.store), name, &[], own)
    }

    pub fn dispatch(&self, robot: &Arc<Sender>) -> Dispatch {
        Dispatch::new(Arc::clone(&self.store), Arc::clone(robot), "a", Arc::new(Metrics::new()))
    }

    pub async fn line(&self, channel: &str) -> Option<ChannelQueue> {
        self.store.channel_queues().await.unwrap().into_iter().find(|line| line.channel == channel)
    }

    /// Puts messages into the outbox that say that these work orders drift.
    pub async fn put(&self, channel: &str, work_orders: &[&str], when: u64) {
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

pub async fn on_postgres() -> Plant {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    Plant { store, below: Below::Postgres(database) }
}

pub async fn on_sqlite() -> Plant {
    let data = TempDir::new().unwrap();
    folder::migrate(data.path()).await.unwrap();
    let store = Arc::new(SqliteStore::open(data.path()).await.unwrap());
    Plant { store, below: Below::Sqlite(data) }
}

pub fn own(redis_is_away: bool) -> Own {
    Own { lease_is_away: Box::new(move || redis_is_away), weak_keys: Arc::default() }
}

pub fn watch(store: Arc<dyn AlarmStore>, name: &str, robots: &[Arc<Sender>], own: Own) -> Watch {
    let within = |limit: u64| -> Due { Arc::new(move |last: Timestamp| Some(last.later(Duration::from_secs(limit)))) };
    let settings = Settings {
        after: Duration::from_secs(60),
        duplicates: 20,
        duplicates_within: Duration::from_secs(60),
        due: vec![("recent", within(900)), ("full", within(90_000))],
    };
    let replica = Replica { holder: name.to_owned(), name: format!("{name}:8080") };
    Watch::new(store, robots.to_vec(), Arc::new(Metrics::new()), settings, replica, own, at(0))
}

pub fn at(seconds: u64) -> Timestamp {
    Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
}

pub fn robot(name: &str, receiver: &WebReceiver) -> Arc<Sender> {
    robot_for(name, receiver, &[])
}

pub fn robot_for(name: &str, receiver: &WebReceiver, alarms: &[&str]) -> Arc<Sender> {
    let channel = json!({
        "name": name, "kind": "wecom", "url": receiver.url(), "alarms": alarms, "allow_private": true,
    });
    let channel: Channel = serde_json::from_value(channel).unwrap();
    Arc::new(Sender::new(channel, address_policy::system()).unwrap())
}

pub fn fired(work_orders: &[&str], when: u64) -> Changes {
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

/// The messages of a step, as `firing drift 2`.
pub fn told(step: Step) -> Vec<String> {
    match step {
        Step::Told(notices) => notices
            .iter()
            .map(|n| format!("{} {} {}", n.phase.word(), n.kind.word(), n.alarms.len() + n.more))
            .collect(),
        Step::Nothing => Vec::new(),
        Step::Elsewhere | Step::Overtaken | Step::StorageFails(_) => panic!("{step:?}"),
    }
}
