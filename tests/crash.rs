//! An acknowledged scan is never lost, and any other can be settled by a retry: over kill -9 of the service
//! and of PostgreSQL, restarts, pauses, and links that break anywhere.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use scanfence::domain::ids::{RequestId, WorkOrderNumber};
use scanfence::store::Store;
use scanfence::store::postgres::PostgresStore;
use scanfence::store::sqlite::SqliteStore;
use serde_json::json;
use sqlx::Connection as _;
use stage::audit::{assert_audit, log_of};
use stage::client::Client;
use stage::disk::Disk;
use stage::load::{Books, Kept, Load, Replicas, assert_unsettled, work_orders};
use stage::postgres::{Database, Postgres};
use stage::proxy::{Link, Proxy};
use stage::service::{Service, Setup};
use stage::{SOON, eventually, redis_url, unique};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

async fn postgres_store(url: &str) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(url).await.expect("the database is there"))
}

#[tokio::test]
async fn embedded_killed_in_mid_load_loses_and_doubles_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let setup = Setup::embedded(folder.path());
    let mut service = setup.start().await;
    let replicas = Replicas::of(&[&service]);
    let work_orders = work_orders(&replicas, 4).await;
    let mut load = Load::start(&replicas, &work_orders, 16);
    for _ in 0..4 {
        load.more(120).await;
        service.kill9();
        service = setup.start().await;
        replicas.set(&[&service]);
    }
    load.more(120).await;
    let books = load.stop().await;
    assert!(books.tried_again > 0, "nobody was cut off: nothing was tried");
    let store: Arc<dyn Store> = Arc::new(SqliteStore::open(folder.path()).await.unwrap());
    books.audit(&store, &work_orders).await;
    drop(service);
}

#[tokio::test]
async fn a_shared_replica_killed_in_mid_load_loses_and_doubles_nothing() {
    let database = Database::fresh().await;
    let setup = Setup::shared(database.url()).redis(&redis_url());
    let (mut a, mut b) = tokio::join!(setup.start(), setup.start());
    let replicas = Replicas::of(&[&a, &b]);
    let work_orders = work_orders(&replicas, 4).await;
    let mut load = Load::start(&replicas, &work_orders, 16);
    for round in 0..4 {
        load.more(120).await;
        let victim = if round % 2 == 0 { &mut a } else { &mut b };
        victim.kill9();
        // The other one takes over the leases of the dead without waiting them out.
        load.more(60).await;
        *victim = setup.start().await;
        replicas.set(&[&a, &b]);
    }
    load.more(120).await;
    let books = load.stop().await;
    assert!(books.tried_again > 0, "nobody was cut off: nothing was tried");
    books.audit(&postgres_store(database.url()).await, &work_orders).await;
}

/// Replicas on a PostgreSQL of their own.
struct Plant {
    database: Database,
    a: Service,
    b: Service,
    postgres: Postgres,
}

impl Plant {
    async fn start() -> Self {
        let postgres = Postgres::start(&[("max_connections", "60")]).await;
        let database = Database::on(&postgres.url("postgres")).await;
        let setup = Setup::shared(database.url());
        let with_redis = setup.clone().redis(&redis_url());
        let (a, b) = tokio::join!(with_redis.start(), with_redis.start());
        Self { database, a, b, postgres }
    }
}

#[tokio::test]
async fn postgresql_killed_or_restarted_under_load_loses_and_doubles_nothing() {
    let mut plant = Plant::start().await;
    let replicas = Replicas::of(&[&plant.a, &plant.b]);
    let work_orders = work_orders(&replicas, 4).await;
    let mut load = Load::start(&replicas, &work_orders, 16);
    for _ in 0..2 {
        load.more(120).await;
        plant.postgres.kill9().await;
        plant.postgres.start_again().await;
        load.more(120).await;
        plant.postgres.restart_fast().await;
    }
    load.more(120).await;
    plant.a.ready(SOON).await;
    plant.b.ready(SOON).await;
    let books = load.stop().await;
    books.audit(&postgres_store(plant.database.url()).await, &work_orders).await;
}

#[tokio::test]
async fn while_postgresql_hangs_every_request_is_answered_and_later_settled() {
    const ANSWERED_WITHIN: Duration = Duration::from_secs(30 + 5); // the limit of a whole request, and some
    let plant = Plant::start().await;
    let replicas = Replicas::of(&[&plant.a, &plant.b]);
    let work_orders = work_orders(&replicas, 2).await;
    let mut books = Books::default();
    books.settle(Kept::scan(&work_orders[0], json!({ "counter": "input" })), &replicas).await;
    plant.postgres.pause();
    let paused = Instant::now();
    let mut sent = JoinSet::new();
    let mut kept = Vec::new();
    for number in 0..20 {
        let scan = Kept::scan(&work_orders[number % 2], json!({ "counter": "input", "barcode": format!("B{number}") }));
        kept.push(scan.clone());
        let client = [&plant.a, &plant.b][number / 2 % 2].client();
        sent.spawn(async move {
            let reply = client.scan(&scan.work_order, &scan.id, &scan.body);
            timeout(ANSWERED_WITHIN, reply).await.expect("every request is answered")
        });
    }
    while let Some(reply) = sent.join_next().await {
        let reply = reply.unwrap();
        let code = reply.code();
        assert!(["storage-unavailable", "request-timeout"].contains(&code.as_str()), "{reply:?}");
        assert_unsettled(&reply);
    }
    println!("all answered after {:?}", paused.elapsed());
    assert_eq!(plant.a.client().get("/readyz").await.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(plant.a.client().get("/livez").await.status, StatusCode::OK);
    plant.postgres.resume();
    for scan in kept {
        let reply = books.settle(scan, &replicas).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    }
    books.audit(&postgres_store(plant.database.url()).await, &work_orders).await;
}

/// A row that only the primary has is visible there once it has crashed and started again.
/// An answer read from it would name a scan that the standby never had.
#[tokio::test]
async fn pitfall_29_no_answer_rests_on_a_row_that_only_a_crashed_primary_has() {
    const PAST_EVERY_LIMIT: Duration = Duration::from_secs(8); // of a statement, an operation, a transaction
    let disks = [Disk::small(256), Disk::small(256)];
    let mut primary = Postgres::start_on(&disks[0], &[("max_connections", "60")]).await;
    let mut standby = primary.standby_on(&disks[1]).await;
    let proxy = Proxy::before(&primary.url("postgres")).await;
    // By a lease: locking the row is a commit to be waited for in itself.
    let service = Setup::shared(proxy.url()).redis(&redis_url()).start().await;
    let replicas = Replicas::of(&[&service]);
    let work_orders = work_orders(&replicas, 1).await;
    let mut books = Books::default();
    books.settle(Kept::scan(&work_orders[0], json!({ "counter": "input" })), &replicas).await;

    // Its COMMIT waits for the standby, and its client goes away, which must not end the wait.
    standby.kill9().await;
    let kept = Kept::scan(&work_orders[0], json!({ "counter": "input" }));
    let (client, sent) = (service.client(), kept.clone());
    let asked = tokio::spawn(async move { client.try_scan(&sent.work_order, &sent.id, &sent.body).await });
    let mut watcher = sqlx::PgConnection::connect(&primary.url("postgres")).await.unwrap();
    let waiting = "select pid from pg_stat_activity where wait_event = 'SyncRep'";
    let commit: i32 = eventually("the commit waits for the standby", SOON, async || {
        sqlx::query_scalar(waiting).fetch_optional(&mut watcher).await.unwrap()
    })
    .await;
    asked.abort();
    sleep(PAST_EVERY_LIMIT).await;
    let still: Vec<i32> = sqlx::query_scalar(waiting).fetch_all(&mut watcher).await.unwrap();
    assert!(still.contains(&commit), "the wait of {commit} was ended, and only {still:?} wait");
    primary.kill9().await;
    primary.start_again().await;
    let mut watcher = sqlx::PgConnection::connect(&primary.url("postgres")).await.unwrap();
    let row = "select count(*) from update_log where request_id = $1";
    let on_primary: i64 = sqlx::query_scalar(row).bind(&kept.id).fetch_one(&mut watcher).await.unwrap();
    assert_eq!(on_primary, 1, "the row is there to be taken for good");
    let reply = service.client().scan(&kept.work_order, &kept.id, &kept.body).await;
    assert_eq!(reply.code(), "storage-unavailable", "{reply:?}");
    assert_unsettled(&reply);

    // Then the machine is lost.
    primary.kill9().await;
    standby.start_again().await;
    standby.promote().await;
    proxy.lead_to(([127, 0, 0, 1], standby.port()).into());
    let reply = books.settle(kept, &replicas).await;
    assert_eq!((reply.status, reply.replayed()), (StatusCode::CREATED, false), "the standby never had it");
    books.audit(&postgres_store(&standby.url("postgres")).await, &work_orders).await;
}

/// The link to PostgreSQL breaks after a number of bytes of answers: in a load, in a write, and between a
/// COMMIT and its answer. The service must not assume that nothing happened, and must not write again.
#[tokio::test]
async fn pitfall_28_answers_of_postgresql_cut_anywhere_neither_lose_nor_double() {
    let database = Database::fresh().await;
    let proxy = Proxy::before(database.url()).await;
    let rows_alone = Setup::shared(proxy.url());
    let with_redis = rows_alone.clone().redis(&redis_url());
    let (a, b) = tokio::join!(rows_alone.start(), with_redis.start());
    let replicas = Replicas::of(&[&a, &b]);
    let work_orders = work_orders(&replicas, 2).await;
    let mut load = Load::start(&replicas, &work_orders, 6);
    for cut in [0, 1, 5, 17, 60, 150, 400, 900, 1_500, 2_500, 4_000] {
        load.more(4).await;
        let before = proxy.cuts();
        proxy.set(Link::AnswersCutAfter(cut));
        // Every earlier connection is cut or idle.
        let _ = timeout(Duration::from_millis(150), load.more(40)).await;
        eventually("an answer is cut", SOON, async || (proxy.cuts() > before).then_some(())).await;
        proxy.reset().await;
    }
    load.more(20).await;
    let books = load.stop().await;
    books.audit(&postgres_store(database.url()).await, &work_orders).await;
}

/// The write is done, but its answer is lost: the row appears while the service waits,
/// for longer than a marker of a few seconds would keep a second one off.
#[tokio::test]
async fn pitfall_22_50_answers_of_postgresql_that_stall_neither_lose_nor_double() {
    let database = Database::fresh().await;
    let proxy = Proxy::before(database.url()).await;
    // By a lease, and with the row at hand, a write is one question; otherwise it is several, and
    // would stop at the first.
    let service = Setup::shared(proxy.url()).redis(&redis_url()).start().await;
    let replicas = Replicas::of(&[&service]);
    let work_orders = work_orders(&replicas, 1).await;
    let store = postgres_store(database.url()).await;
    let mut books = Books::default();
    for _ in 0..3 {
        books.settle(Kept::scan(&work_orders[0], json!({ "counter": "input" })), &replicas).await;
    }
    proxy.set(Link::AnswersStalled);
    let kept = Kept::scan(&work_orders[0], json!({ "counter": "input" }));
    let asked = Instant::now();
    let reply = service.client().scan(&kept.work_order, &kept.id, &kept.body).await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable"));
    assert_unsettled(&reply);
    assert!(asked.elapsed() > Duration::from_secs(8), "{:?}", asked.elapsed());
    let done = store.updates_by_id(&[RequestId::parse(&kept.id).unwrap()]).await.unwrap();
    assert_eq!(done.len(), 1, "it is done meanwhile");
    proxy.reset().await;
    let reply = books.settle(kept, &replicas).await;
    assert_eq!((reply.status, reply.replayed()), (StatusCode::CREATED, true));
    books.audit(&store, &work_orders).await;
}

/// Where a write is held up inside the server.
#[derive(Clone, Copy, Debug)]
enum HeldUp {
    /// Before it: somebody else rewrites the row by hand, under its old stamp.
    AtTheRow,
    /// In its COMMIT.
    AtTheCommit,
}

/// The link breaks while a write is held up in the server, which does it later, or not:
/// meanwhile the same request is tried again here and asked for on the other replica.
///
/// Gives its database back, since dropping one waits for the disk, and would keep whatever
/// else runs on this thread waiting, too.
async fn broken_off_while(held_up: HeldUp, redis: bool) -> Database {
    let database = Database::fresh().await;
    let proxy = Proxy::before(database.url()).await;
    let setup = |url: &str| if redis { Setup::shared(url).redis(&redis_url()) } else { Setup::shared(url) };
    let (by_proxy, direct) = (setup(proxy.url()), setup(database.url()));
    let (broken, whole) = tokio::join!(by_proxy.start(), direct.start());
    let all = Replicas::of(&[&broken, &whole]);
    let work_orders = work_orders(&all, 1).await;
    let (mut holder, mut watcher) = (database.connect().await, database.connect().await);
    // A commit waits while another session has this lock exclusively.
    let hold_commits = "create function held_up() returns trigger language plpgsql as
             $$ begin perform pg_advisory_xact_lock_shared(1); return null; end $$;
         create constraint trigger held_up after insert on update_log
             deferrable initially deferred for each row execute function held_up()";
    sqlx::raw_sql(hold_commits).execute(&mut watcher).await.unwrap();
    let mut books = Books::default();
    for _ in 0..5 {
        let kept = Kept::scan(&work_orders[0], json!({ "counter": "input", "barcode": unique("B") }));
        let hold = match held_up {
            HeldUp::AtTheRow => "begin; update work_orders set line = line",
            HeldUp::AtTheCommit => "begin; select pg_advisory_xact_lock(1)",
        };
        sqlx::raw_sql(hold).execute(&mut holder).await.unwrap();
        let (client, sent) = (broken.client(), kept.clone());
        let asked = tokio::spawn(async move { client.try_scan(&sent.work_order, &sent.id, &sent.body).await });
        eventually("the write waits", SOON, async || {
            let waiting = "select count(*) from pg_stat_activity \
                           where datname = current_database() and wait_event_type = 'Lock'";
            let waiting: i64 = sqlx::query_scalar(waiting).fetch_one(&mut watcher).await.unwrap();
            (waiting > 0).then_some(())
        })
        .await;
        proxy.reset().await;
        let (client, sent) = (whole.client(), kept.clone());
        let elsewhere = tokio::spawn(async move { client.try_scan(&sent.work_order, &sent.id, &sent.body).await });
        sqlx::raw_sql("commit").execute(&mut holder).await.unwrap();
        let (here, elsewhere) = (asked.await.unwrap().unwrap(), elsewhere.await.unwrap().unwrap());
        for reply in [&here, &elsewhere] {
            assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        }
        assert_eq!(here.body, elsewhere.body);
        assert_eq!(books.settle(kept, &all).await.body, here.body);
    }
    let store = postgres_store(database.url()).await;
    let number = WorkOrderNumber::parse(&work_orders[0]).unwrap();
    assert_eq!(log_of(&store, &number).await.len(), 5);
    books.audit(&store, &work_orders).await;
    database
}

#[tokio::test]
async fn pitfall_50_a_write_held_up_at_its_row_is_not_done_twice() {
    let _both = tokio::join!(broken_off_while(HeldUp::AtTheRow, true), broken_off_while(HeldUp::AtTheRow, false));
}

#[tokio::test]
async fn pitfall_28_a_commit_held_up_while_its_link_breaks_is_not_done_twice() {
    let _both = tokio::join!(broken_off_while(HeldUp::AtTheCommit, true), broken_off_while(HeldUp::AtTheCommit, false));
}

/// The old system's failure: the answer takes 200 ms, the client gives up after 150 ms and
/// sends it again; both runs counted.
#[tokio::test]
async fn pitfall_04_a_client_that_gives_up_too_early_counts_once() {
    const LATENCY: Duration = Duration::from_millis(200);
    const PATIENCE: Duration = Duration::from_millis(150);
    let database = Database::fresh().await;
    let setup = Setup::shared(database.url()).redis(&redis_url());
    let (a, b) = tokio::join!(setup.start(), setup.start());
    let direct = Replicas::of(&[&a, &b]);
    let work_orders = work_orders(&direct, 1).await;
    let number = WorkOrderNumber::parse(&work_orders[0]).unwrap();
    let slow = [Proxy::before(&a.base_url()).await, Proxy::before(&b.base_url()).await];
    let clients: Vec<Client> = slow.iter().map(|proxy| Client::new(proxy.url().trim_end_matches('/'))).collect();
    for proxy in &slow {
        proxy.set(Link::Slow(LATENCY));
    }
    let scan = json!({ "counter": "input", "terminal": "t1" });
    let mut terminals = JoinSet::new();
    for _ in 0..10 {
        let (clients, work_order, scan) = (clients.clone(), work_orders[0].clone(), scan.clone());
        terminals.spawn(async move {
            let id = unique("k");
            for attempt in 0..6 {
                let asked = clients[attempt % 2].try_scan(&work_order, &id, &scan);
                assert!(timeout(PATIENCE, asked).await.is_err(), "the link is slower than that");
            }
            id
        });
    }
    let ids = terminals.join_all().await;
    for proxy in &slow {
        proxy.set(Link::Good);
    }
    let mut acknowledged = Vec::new();
    for id in &ids {
        acknowledged.push(RequestId::parse(id).unwrap());
        let reply = clients[0].scan(&work_orders[0], id, &scan).await;
        assert_eq!((reply.status, reply.replayed()), (StatusCode::CREATED, true), "{reply:?}");
    }
    let store = postgres_store(database.url()).await;
    assert_audit(&store, &number, &acknowledged).await;
    assert_eq!(log_of(&store, &number).await.len(), ids.len());
    assert_eq!(a.client().work_order(&work_orders[0]).await["input_quantity"], ids.len());
}
