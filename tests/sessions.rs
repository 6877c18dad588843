//! The sessions of PostgreSQL, as plants have them: servers that go silent, restart or turn out to be a
//! standby, slow lists, poolers, users without rights, and migrations while people read.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stage;

use std::time::{Duration, Instant};

use hyper::StatusCode;
use scanfence::store::postgres::{self, PostgresStore, StartError};
use scanfence::store::{PlanningStore as _, Store as _, WorkOrderQuery};
use serde_json::json;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::{AssertSqlSafe, PgConnection, SqlSafeStr as _};
use stage::client::Client;
use stage::disk::Disk;
use stage::pooler::Pooler;
use stage::postgres::{Database, Postgres};
use stage::proxy::Proxy;
use stage::service::Setup;
use stage::{SOON, database_url, eventually, redis_url, unique};
use tokio::task::JoinSet;
use tokio::time::sleep;
use url::Url;

/// Counting and readiness are back within 7 s of a silent server. The rest is for a busy machine.
const BACK_WITHIN: Duration = Duration::from_secs(10);

async fn sql(connection: &mut PgConnection, statement: &str) {
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.unwrap();
}

/// A work order that takes many scans.
async fn work_order(client: &Client) -> String {
    let number = unique("WO");
    let reply = client.put_work_order(&number, &json!({ "planned_quantity": 1_000_000 })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    number
}

async fn scan(client: &Client, work_order: &str) -> StatusCode {
    client.scan(work_order, &unique("id"), &json!({ "counter": "input" })).await.status
}

/// Scans and probes until both are good again, and says how long that took.
async fn back_after(client: &Client, work_order: &str) -> Duration {
    let begun = Instant::now();
    let counted = async { while scan(client, work_order).await != StatusCode::CREATED {} };
    let ready = async {
        // A balancer asks about once a second.
        while client.get("/readyz").await.status != StatusCode::OK {
            sleep(Duration::from_millis(500)).await;
        }
    };
    tokio::join!(counted, ready);
    begun.elapsed()
}

// Servers that go silent

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_and_readiness_are_back_soon_after_the_databases_machine_lost_its_power() {
    let database = Database::fresh().await;
    let proxy = Proxy::before(database.url()).await;
    let service = Setup::shared(proxy.url()).redis(&redis_url()).start().await;
    let client = service.client();
    let number = work_order(&client).await;
    // Every set has idle sessions.
    let mut all = JoinSet::new();
    for _ in 0..24 {
        let (client, number) = (client.clone(), number.clone());
        all.spawn(async move {
            assert_eq!(scan(&client, &number).await, StatusCode::CREATED);
            for path in ["/readyz", "/v1/work-orders?limit=5", "/v1/refusals", &format!("/v1/work-orders/{number}")] {
                assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
            }
        });
    }
    all.join_all().await;
    assert!(proxy.connections() > 8, "{} sessions are open", proxy.connections());

    proxy.silence();
    let took = back_after(&client, &number).await;
    assert!(took < BACK_WITHIN, "{took:?}");
    for path in ["/v1/work-orders?limit=5", "/v1/refusals", &format!("/v1/work-orders/{number}")] {
        assert_eq!(client.get(path).await.status, StatusCode::OK, "{path}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn counting_goes_on_soon_after_the_machine_of_redis_lost_its_power() {
    let database = Database::fresh().await;
    let proxy = Proxy::before(&redis_url()).await;
    let service = Setup::shared(database.url()).redis(proxy.url()).start().await;
    let client = service.client();
    let number = work_order(&client).await;
    assert_eq!(scan(&client, &number).await, StatusCode::CREATED);
    proxy.silence();
    let took = back_after(&client, &number).await;
    assert!(took < BACK_WITHIN, "{took:?}");
    eventually("Redis grants again", BACK_WITHIN, async || {
        (client.get("/readyz").await.json()["checks"]["lease"]["status"] == "ok").then_some(())
    })
    .await;
}

// Sessions that end

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_read_and_no_plan_meets_a_session_that_has_ended() {
    let database = Database::fresh().await;
    let service = Setup::shared(database.url()).start().await;
    let client = service.client();
    let number = work_order(&client).await;
    let mut beside = database.connect().await;
    let paths = ["/readyz", "/v1/work-orders", "/v1/refusals", &format!("/v1/work-orders/{number}")];
    for _ in 0..5 {
        let all = paths.iter().cycle().take(16).map(|path| client.get(path));
        for reply in futures_util::future::join_all(all).await {
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        }
        // As a restart, or the server's idle_session_timeout.
        let end = "select count(pg_terminate_backend(pid, 5000)) from pg_stat_activity
                   where datname = current_database() and pid <> pg_backend_pid()";
        let ended: i64 = sqlx::query_scalar(end).fetch_one(&mut beside).await.unwrap();
        assert!(ended > 3, "{ended} sessions ended");
        for path in paths {
            let reply = client.get(path).await;
            assert_eq!(reply.status, StatusCode::OK, "{path}: {}", reply.text());
        }
        let reply = client.put_work_order(&number, &json!({ "planned_quantity": 1_000_000 })).await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_standby_is_refused_for_everything() {
    let disk = Disk::small(200);
    let primary = Postgres::start(&[("hot_standby", "on")]).await;
    postgres::migrate(&primary.url("postgres")).await.unwrap();
    let standby = primary.standby_on(&disk).await;
    let store = PostgresStore::open(&standby.url("postgres")).await.unwrap();
    let read = store.work_orders(&WorkOrderQuery::default()).await;
    assert!(read.is_err(), "{read:?}");
    let ready = store.ready().await;
    assert!(ready.as_ref().is_ok_and(|ready| !ready.writable), "{ready:?}");
    let migrated = postgres::migrate(&standby.url("postgres")).await;
    assert!(matches!(migrated, Err(StartError::InRecovery)), "{migrated:?}");
}

// Lists beside the line

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn slow_lists_keep_neither_scans_nor_readiness_waiting() {
    let database = Database::fresh().await;
    let service = Setup::shared(database.url()).start().await;
    let client = service.client();
    let number = work_order(&client).await;
    // Only the list of refusals reads this table.
    let mut holder = database.connect().await;
    sql(&mut holder, "begin; lock table audit_trail in access exclusive mode").await;
    let mut readers = JoinSet::new();
    for _ in 0..24 {
        let client = client.clone();
        readers.spawn(async move {
            loop {
                client.get("/v1/refusals").await;
            }
        });
    }
    sleep(Duration::from_millis(500)).await;
    for _ in 0..20 {
        let ready = client.get("/readyz").await;
        assert_eq!(ready.status, StatusCode::OK, "{}", ready.text());
        assert_eq!(scan(&client, &number).await, StatusCode::CREATED);
        assert_eq!(client.get(&format!("/v1/work-orders/{number}")).await.status, StatusCode::OK);
        sleep(Duration::from_millis(150)).await;
    }
    assert_eq!(client.get("/v1/refusals").await.status, StatusCode::SERVICE_UNAVAILABLE, "the list is slow");
    readers.shutdown().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_whose_connections_are_used_up_is_not_ready() {
    let (database, user) = (Database::fresh().await, User::new("connection limit 1").await);
    postgres::migrate(database.url()).await.unwrap();
    user.may_count(&database).await;
    let service = Setup::shared(&user.url(&database)).launch().await;
    let reply = eventually("it says why", BACK_WITHIN, async || {
        let reply = service.client().get("/readyz").await;
        (reply.status == StatusCode::SERVICE_UNAVAILABLE).then_some(reply)
    })
    .await;
    assert_eq!(reply.json()["checks"]["storage"]["status"], "fail", "{}", reply.text());
}

// Users

/// A user of the shared server, dropped at the end.
struct User {
    name: String,
}

impl User {
    async fn new(with: &str) -> Self {
        let name = unique("user_");
        let mut server = <PgConnection as sqlx::Connection>::connect(&database_url()).await.unwrap();
        sql(&mut server, &format!("create role {name} login password 'of a test' {with}")).await;
        Self { name }
    }

    /// The database as this user sees it.
    fn url(&self, database: &Database) -> String {
        let mut url = Url::parse(database.url()).unwrap();
        url.set_username(&self.name).unwrap();
        url.set_password(Some("of a test")).unwrap();
        url.into()
    }

    /// What `docs/operate.md` says that the user of the service needs.
    async fn may_count(&self, database: &Database) {
        let grant = format!("grant select, insert, update, delete on all tables in schema public to {}", self.name);
        sql(&mut database.connect().await, &grant).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_user_who_may_not_change_tables_serves_what_the_owner_has_migrated() {
    let (database, user) = (Database::fresh().await, User::new("").await);
    let setup = Setup::shared(&user.url(&database));
    let (code, log) = setup.refusal().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("run `scanfence migrate` as their owner"), "{log}");
    postgres::migrate(database.url()).await.unwrap();
    user.may_count(&database).await;
    let service = setup.start().await;
    let number = work_order(&service.client()).await;
    assert_eq!(scan(&service.client(), &number).await, StatusCode::CREATED);
}

// Migrations

/// A migration after those of this release.
fn with_one_more(sql: &'static str) -> Migrator {
    let mut all: Vec<Migration> = postgres::migrations().iter().cloned().collect();
    all.push(Migration::new(900, "one more".into(), MigrationType::Simple, sql.into_sql_str(), false));
    Migrator::with_migrations(all)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_that_waits_for_a_report_lets_scans_pass() {
    let database = Database::fresh().await;
    let service = Setup::shared(database.url()).start().await;
    let client = service.client();
    let number = work_order(&client).await;
    let mut report = database.connect().await;
    sql(&mut report, "begin; select count(*) from work_orders").await;
    let one_more = with_one_more("alter table work_orders add column one_more text");
    let scans = async {
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(4) {
            assert_eq!(scan(&client, &number).await, StatusCode::CREATED);
        }
        sql(&mut report, "commit").await;
        Instant::now()
    };
    let migration = async {
        postgres::apply(database.url(), &one_more).await.unwrap();
        Instant::now()
    };
    let (read, migrated) = tokio::join!(scans, migration);
    assert!(migrated > read, "it waited for the report");
    sql(&mut report, "select one_more from work_orders").await;
    assert_eq!(scan(&client, &number).await, StatusCode::CREATED);
}

#[tokio::test]
async fn a_migration_may_take_as_long_as_it_takes() {
    let database = Database::fresh().await;
    let long = with_one_more("select pg_sleep(2)");
    let hour = async {
        let mut looking = database.connect().await;
        let sleeps = "select true from pg_stat_activity where datname = current_database() and wait_event = 'PgSleep'";
        eventually("it is at it", SOON, async || {
            sqlx::query_scalar::<_, bool>(sleeps).fetch_optional(&mut looking).await.unwrap()
        })
        .await;
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(60 * 60)).await;
        tokio::time::resume();
    };
    let (migrated, ()) = tokio::join!(postgres::apply(database.url(), &long), hour);
    migrated.unwrap();
}

// Each reason has its own message

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_fails_says_why() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let mut beside = database.connect().await;
    let of = |change: fn(&mut Url)| {
        let mut url = Url::parse(database.url()).unwrap();
        change(&mut url);
        String::from(url)
    };
    let wrong_password = of(|url| url.set_password(Some("wrong")).unwrap());
    let no_database = of(|url| url.set_path("there_is_none"));
    for (url, words) in [(&wrong_password, "refuses the user or the password"), (&no_database, "has no such database")]
    {
        let (code, log) = Setup::shared(url).refusal().await;
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(words), "{log}");
        assert_eq!(
            log.matches("database \\\"there_is_none\\\" does not exist").count(),
            usize::from(url == &no_database)
        );
    }
    let setup = Setup::shared(database.url());
    sql(
        &mut beside,
        "insert into _sqlx_migrations select 999, 'later', installed_on, true, checksum, 1 from _sqlx_migrations limit 1",
    )
    .await;
    let (code, log) = setup.refusal().await;
    assert!(code == Some(1) && log.contains("of a newer release (migration 999)"), "{log}");
    let checked = setup.command(&["check"]).await;
    assert_eq!(checked.status.code(), Some(1), "{checked:?}");
    assert!(String::from_utf8_lossy(&checked.stderr).contains("of a newer release"), "{checked:?}");
    sql(&mut beside, "update _sqlx_migrations set checksum = 'another' where version = 2").await;
    let (_, log) = setup.refusal().await;
    assert!(!log.contains("\"cause\""), "there is none: {log}");
    assert!(log.contains("the migration 2 of this database is not that of Scanfence"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_does_not_hold_every_text_is_refused() {
    let mut server = <PgConnection as sqlx::Connection>::connect(&database_url()).await.unwrap();
    let name = unique("latin_");
    let make = format!("create database {name} template template0 encoding 'LATIN1' locale_provider libc locale 'C'");
    sql(&mut server, &make).await;
    let mut url = Url::parse(&database_url()).unwrap();
    url.set_path(&name);
    let (code, log) = Setup::shared(url.as_str()).refusal().await;
    sql(&mut server, &format!("drop database {name} with (force)")).await;
    assert!(code == Some(1) && log.contains("the encoding LATIN1"), "{log}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pooler_is_refused_whatever_it_does_with_the_settings_of_a_session() {
    let database = Database::fresh().await;
    for settings in [
        "pool_mode = session",
        "pool_mode = transaction",
        "pool_mode = transaction\nignore_startup_parameters = extra_float_digits,options",
    ] {
        let pooler = Pooler::before(database.url(), settings).await;
        // The second time, it has sessions of the first.
        for _ in 0..2 {
            let (code, log) = Setup::shared(pooler.url()).refusal().await;
            assert!(code == Some(1) && log.contains("connection pooler"), "{settings}: {log}");
        }
    }
}
