//! Two replicas on one database, as processes: with random routing, under load, and with a Redis that is
//! killed, hangs or loses its data.

mod stage;

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use scanfence::domain::ids::WorkOrderNumber;
use scanfence::domain::update::{Outcome, Update};
use scanfence::store::Store;
use scanfence::store::postgres::PostgresStore;
use serde_json::{Value, json};
use stage::audit::{assert_audit, log_of};
use stage::client::{Client, Reply};
use stage::load::{Books, Kept, Load, Replicas, assert_unsettled, work_orders};
use stage::postgres::Database;
use stage::redis::Redis;
use stage::service::{Service, Setup};
use stage::{SOON, eventually, redis_url, unique};
use tokio::task::JoinSet;

/// Two replicas and the servers below them.
struct Plant {
    database: Database,
    a: Service,
    b: Service,
}

impl Plant {
    async fn with(setup: impl FnOnce(Setup) -> Setup) -> Self {
        let database = Database::fresh().await;
        let setup = setup(Setup::shared(database.url()));
        let (a, b) = tokio::join!(setup.start(), setup.start());
        Self { database, a, b }
    }

    async fn with_redis() -> Self {
        Self::with(|setup| setup.redis(&redis_url()).set("SCANFENCE_LEASE_TTL", "1s")).await
    }

    async fn rows_alone() -> Self {
        Self::with(|setup| setup).await
    }

    fn replicas(&self) -> Replicas {
        Replicas::of(&[&self.a, &self.b])
    }

    fn clients(&self) -> [Client; 2] {
        [self.a.client(), self.b.client()]
    }

    async fn store(&self) -> Arc<dyn Store> {
        Arc::new(PostgresStore::open(self.database.url()).await.expect("the database is there"))
    }

    async fn log(&self, work_order: &str) -> Vec<Update> {
        let number = WorkOrderNumber::parse(work_order).expect("a work order number");
        let store = self.store().await;
        assert_audit(&store, &number, &[]).await;
        log_of(&store, &number).await
    }
}

/// Runs a test on both ways to order work: by Redis, and by the database rows alone.
macro_rules! on_both {
    ($($(#[$doc:meta])* async fn $name:ident($plant:ident: Plant) $body:block)*) => {$(
        mod $name {
            use super::*;

            $(#[$doc])*
            async fn check($plant: Plant) $body

            #[tokio::test]
            async fn with_redis() {
                check(Plant::with_redis().await).await;
            }

            #[tokio::test]
            async fn rows_alone() {
                check(Plant::rows_alone().await).await;
            }
        }
    )*};
}

on_both! {
    async fn one_key_sent_200_times_at_once_counts_once(plant: Plant) {
        let [work_order] = &work_orders(&plant.replicas(), 1).await[..] else { unreachable!("one was asked for") };
        let mut sent = JoinSet::new();
        for number in 0..200 {
            let (client, work_order) = (plant.clients()[number % 2].clone(), work_order.clone());
            sent.spawn(async move { client.scan(&work_order, "the-one", &json!({ "counter": "input" })).await });
        }
        let replies = sent.join_all().await;
        assert!(replies.iter().all(|reply| reply.status == StatusCode::CREATED), "{replies:#?}");
        let bodies: HashSet<_> = replies.iter().map(|reply| reply.body.clone()).collect();
        assert_eq!(bodies.len(), 1, "{bodies:#?}");
        assert_eq!(replies.iter().filter(|reply| !reply.replayed()).count(), 1);
        let log = plant.log(work_order).await;
        assert_eq!(log.len(), 1, "{log:#?}");
        assert_eq!(plant.b.client().work_order(work_order).await["input_quantity"], 1);
    }

    async fn a_key_with_changed_bodies_counts_one_of_them(plant: Plant) {
        const KEYS: usize = 100;
        let work_orders = work_orders(&plant.replicas(), 10).await;
        let mut sent = JoinSet::new();
        for time in 0..50 {
            for key in 0..KEYS {
                let (client, work_order) = (plant.clients()[rand::random_range(0..2)].clone(), work_orders[key % 10].clone());
                let scan = json!({ "counter": "input", "quantity": 1 + time % 2 });
                let send = async move { (key, client.scan(&work_order, &format!("k{key}"), &scan).await) };
                sent.spawn(send);
            }
            // Fifty in flight per key would only queue in the client.
            while sent.len() > 400 {
                check_one_of_them(sent.join_next().await.expect("some are left").expect("it does not panic"));
            }
        }
        while let Some(reply) = sent.join_next().await {
            check_one_of_them(reply.expect("it does not panic"));
        }
        let mut updates = 0;
        for (at, work_order) in work_orders.iter().enumerate() {
            let log = plant.log(work_order).await;
            let ids: HashSet<String> = log.iter().map(|update| update.request_id.to_string()).collect();
            assert_eq!(ids, (0..KEYS).filter(|key| key % 10 == at).map(|key| format!("k{key}")).collect());
            updates += log.len();
        }
        assert_eq!(updates, KEYS);
    }

    async fn twelve_undos_of_one_scan_at_once_take_it_back_once(plant: Plant) {
        let work_order = work_orders(&plant.replicas(), 1).await.remove(0);
        for scan in [json!({ "counter": "input", "barcode": "A1" }), json!({ "counter": "input", "quantity": 5 })] {
            let key = unique("k");
            assert_eq!(plant.a.client().scan(&work_order, &key, &scan).await.status, StatusCode::CREATED);
            let mut sent = JoinSet::new();
            for number in 0..12 {
                let (client, work_order) = (plant.clients()[number % 2].clone(), work_order.clone());
                let undo = json!({ "counter": "input", "action": "undo", "undoes": key });
                sent.spawn(async move { client.scan(&work_order, &unique("u"), &undo).await });
            }
            let replies = sent.join_all().await;
            let (won, lost): (Vec<_>, Vec<_>) =
                replies.into_iter().partition(|reply| reply.status == StatusCode::CREATED);
            assert_eq!(won.len(), 1, "{won:#?}");
            assert!(lost.iter().all(|reply| reply.code() == "nothing-to-undo"), "{lost:#?}");
        }
        assert_eq!(plant.b.client().work_order(&work_order).await["input_quantity"], 0);
        let log = plant.log(&work_order).await;
        assert_eq!(log.iter().filter(|update| update.takes_back.is_some()).count(), 2);
        assert_eq!(log.iter().filter(|update| update.outcome == Outcome::Refused).count(), 22);
    }

    async fn twelve_leaves_of_one_refused_scan_at_once_leave_it_once(plant: Plant) {
        let work_order = work_orders(&plant.replicas(), 1).await.remove(0);
        let client = plant.a.client();
        client.patch_work_order(&work_order, &json!({ "status": "paused", "reason": "material" })).await;
        let key = unique("k");
        let refused = client.scan(&work_order, &key, &json!({ "counter": "input" })).await;
        assert_eq!(refused.code(), "work-order-not-open");
        let mut sent = JoinSet::new();
        for number in 0..12 {
            let (client, path) = (plant.clients()[number % 2].clone(), format!("/v1/refusals/{key}/leave"));
            let body = json!({ "reason": format!("reason {number}") });
            sent.spawn(async move { client.json("POST", &path, &[], &body).await.expect("an answer") });
        }
        let replies = sent.join_all().await;
        assert!(replies.iter().all(|reply| reply.status == StatusCode::OK), "{replies:#?}");
        assert!(replies.iter().all(|reply| reply.body == replies[0].body), "one record: {replies:#?}");
    }

    async fn ten_thousand_scans_over_twenty_work_orders_stand_the_audit(plant: Plant) {
        const SCANS: usize = 10_000;
        let replicas = plant.replicas();
        let work_orders = work_orders(&replicas, 20).await;
        let mut load = Load::start(&replicas, &work_orders, 64);
        load.more(SCANS).await;
        let books = load.stop().await;
        assert!(books.scans() >= SCANS);
        assert!(books.counted() > SCANS / 2, "{} counted", books.counted());
        assert_eq!(books.tried_again, 0, "nothing was broken");
        books.audit(&plant.store().await, &work_orders).await;
    }

    async fn a_replica_stopped_for_longer_than_its_leases_changes_nothing_when_it_wakes(plant: Plant) {
        let lease_ttl = Duration::from_secs(1);
        let replicas = plant.replicas();
        let work_orders = work_orders(&replicas, 3).await;
        let mut load = Load::start(&replicas, &work_orders, 16);
        for _ in 0..3 {
            load.more(150).await;
            plant.a.pause();
            let paused = Instant::now();
            // What a load balancer does about it.
            replicas.set(&[&plant.b]);
            while paused.elapsed() < 2 * lease_ttl {
                load.more(20).await;
            }
            plant.a.resume();
            replicas.set(&[&plant.a, &plant.b]);
        }
        load.more(150).await;
        let books = load.stop().await;
        books.audit(&plant.store().await, &work_orders).await;
    }

    /// Fair in counts, not in seconds: what is slow here is slow for both.
    async fn nobody_starves_at_one_hot_work_order(plant: Plant) {
        const COUNTS: usize = 1_200;
        let work_order = work_orders(&plant.replicas(), 1).await.remove(0);
        let counted = Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let mut terminals = JoinSet::new();
        for (client, side) in plant.clients().into_iter().zip(["a", "b"]).cycle().take(24) {
            let (work_order, counted) = (work_order.clone(), Arc::clone(&counted));
            terminals.spawn(async move {
                while counted.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < COUNTS {
                    let reply = client.scan(&work_order, &unique("k"), &json!({ "counter": "input", "station": side })).await;
                    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
                }
            });
        }
        terminals.join_all().await;
        let log = plant.log(&work_order).await;
        let sides: Vec<&str> = log.iter().filter_map(|update| update.station.as_deref()).collect();
        let (total, of_a) = (sides.len(), sides.iter().filter(|side| **side == "a").count());
        assert!(of_a.min(total - of_a) >= total / 5, "{of_a} against {}", total - of_a);
        let longest = sides.chunk_by(|one, next| one == next).map(<[_]>::len).max().unwrap_or(0);
        assert!(longest <= total / 5, "{longest} counts of one side between two of the other, of {total}");
        println!("fairness: {of_a} of {total}, longest wait {longest} counts");
    }
}

/// Every answer is the first one again or "key reused", never another one.
fn check_one_of_them((key, reply): (usize, Reply)) {
    match reply.status {
        StatusCode::CREATED => {}
        StatusCode::UNPROCESSABLE_ENTITY => {
            let problem = reply.json();
            assert_eq!(problem["code"], "idempotency-key-reused", "{problem}");
            assert_eq!(problem["differs"], json!(["quantity"]), "{problem}");
        }
        status => panic!("{status} for k{key}: {}", reply.text()),
    }
}

async fn readiness(service: &Service) -> (StatusCode, Value) {
    let reply = service.client().get("/readyz").await;
    (reply.status, reply.json())
}

/// Waits until the lease is well or ill in the eyes of a service that stays ready.
async fn lease_is(service: &Service, status: &str) {
    eventually(&format!("the lease is {status}"), SOON, async || {
        let (code, report) = readiness(service).await;
        assert_eq!(code, StatusCode::OK, "{report}");
        (report["checks"]["lease"]["status"] == status).then_some(())
    })
    .await;
}

#[tokio::test]
async fn redis_killed_emptied_and_hung_in_mid_load_changes_no_count() {
    let mut redis = Redis::start();
    let url = redis.url();
    let plant = Plant::with(|setup| setup.redis(&url)).await;
    let replicas = plant.replicas();
    let work_orders = work_orders(&replicas, 5).await;
    let mut load = Load::start(&replicas, &work_orders, 16);
    load.more(200).await;
    for _ in 0..2 {
        redis.kill();
        lease_is(&plant.a, "warn").await;
        load.more(200).await;
        redis.restart_empty();
        lease_is(&plant.a, "ok").await;
        load.more(200).await;
    }
    // The restart is so fast that only the lost data shows it.
    redis.restart_empty();
    for _ in 0..20 {
        assert_eq!(redis.ask(&["FLUSHALL"]), "OK");
        load.more(10).await;
    }
    redis.pause();
    lease_is(&plant.b, "warn").await;
    load.more(200).await;
    redis.resume();
    lease_is(&plant.b, "ok").await;
    load.more(200).await;
    let books = load.stop().await;
    assert_eq!(books.tried_again, 0, "the line does not stop with Redis");
    books.audit(&plant.store().await, &work_orders).await;
}

#[tokio::test]
async fn with_the_fallback_refuse_a_scan_waits_for_redis() {
    let mut redis = Redis::start();
    let url = redis.url();
    let plant = Plant::with(|setup| setup.redis(&url).set("SCANFENCE_LEASE_FALLBACK", "refuse")).await;
    let replicas = plant.replicas();
    let work_orders = work_orders(&replicas, 2).await;
    let scan = Kept::scan(&work_orders[0], json!({ "counter": "output" }));
    redis.kill();
    for client in plant.clients() {
        let reply = client.scan(&work_orders[0], &scan.id, &scan.body).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "lease-unavailable"));
        assert_unsettled(&reply);
        // Reads need no lease.
        assert_eq!(client.work_order(&work_orders[0]).await["output_quantity"], 0);
    }
    redis.restart_empty();
    let mut books = Books::default();
    books.settle(scan, &replicas).await;
    // Hung is away, too; a lease that is still held is good until it runs out, so this is
    // about a work order that has none.
    let scan = Kept::scan(&work_orders[1], json!({ "counter": "output" }));
    redis.pause();
    for client in plant.clients() {
        let reply = client.scan(&work_orders[1], &scan.id, &scan.body).await;
        assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "lease-unavailable"));
        assert_unsettled(&reply);
    }
    redis.resume();
    books.settle(scan, &replicas).await;
    books.audit(&plant.store().await, &work_orders).await;
}

/// Two halves of a plant, each with its own Redis: every lease is held twice, and only the database keeps
/// the count right.
#[tokio::test]
async fn a_redis_each_is_slower_and_never_wrong() {
    let database = Database::fresh().await;
    let (one, other) = (Redis::start(), Redis::start());
    let with_one = Setup::shared(database.url()).redis(&one.url());
    let with_other = Setup::shared(database.url()).redis(&other.url());
    let (a, b) = tokio::join!(with_one.start(), with_other.start());
    let replicas = Replicas::of(&[&a, &b]);
    let work_orders = work_orders(&replicas, 3).await;
    let mut load = Load::start(&replicas, &work_orders, 16);
    load.more(800).await;
    let books = load.stop().await;
    assert_eq!(books.tried_again, 0, "slower is not stuck");
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    books.audit(&store, &work_orders).await;
}

#[tokio::test]
async fn replicas_that_start_at_once_on_an_empty_database_all_get_ready() {
    let database = Database::fresh().await;
    let setup = Setup::shared(database.url()).redis(&redis_url());
    let (mut a, b, c, d) = tokio::join!(setup.start(), setup.start(), setup.start(), setup.start());
    let replicas = Replicas::of(&[&a, &b, &c, &d]);
    let work_orders = work_orders(&replicas, 1).await;
    let mut load = Load::start(&replicas, &work_orders, 8);
    load.more(40).await;
    // One stops in order: no scan is refused for good, and none is lost.
    replicas.set(&[&b, &c, &d]);
    assert_eq!(a.terminate(SOON).await, Some(0));
    load.more(40).await;
    let books = load.stop().await;
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    books.audit(&store, &work_orders).await;
}

/// One answer lost between client and replica, then asked for on the other one.
#[tokio::test]
async fn an_answer_lost_on_one_replica_is_had_from_the_other() {
    let plant = Plant::with_redis().await;
    let replicas = plant.replicas();
    let work_orders = work_orders(&replicas, 1).await;
    let proxy = stage::proxy::Proxy::before(&plant.a.base_url()).await;
    let through = Client::new(proxy.url().trim_end_matches('/'));
    let kept = Kept::scan(&work_orders[0], json!({ "counter": "input" }));
    proxy.set(stage::proxy::Link::AnswersCutAfter(20));
    assert!(through.try_scan(&work_orders[0], &kept.id, &kept.body).await.is_err());
    let log = eventually("it is counted though nobody heard", SOON, async || {
        let log = plant.log(&work_orders[0]).await;
        (!log.is_empty()).then_some(log)
    })
    .await;
    let reply = plant.b.client().scan(&work_orders[0], &kept.id, &kept.body).await;
    assert_eq!((reply.status, reply.replayed()), (StatusCode::CREATED, true));
    assert_eq!(reply.json()["seq"].as_i64(), log[0].seq.map(|seq| seq.0));
    assert_eq!(plant.log(&work_orders[0]).await, log);
    assert_eq!(log[0].outcome, Outcome::Counted);
}
