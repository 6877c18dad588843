//! The leases against a real Redis. Tests named after a number hold to that entry of the
//! list of pitfalls that the design keeps.

mod stage;

use std::sync::Arc;
use std::time::{Duration, Instant};

use scanfence::domain::ids::{Fence, Owner, WorkOrderNumber};
use scanfence::lease::redis::{Fallback, RedisLease, RedisLeaseConfig};
use scanfence::lease::{Ask, Health, Held, Lease as _, LeaseState};
use scanfence::telemetry::{LeaseLabel, Metrics};
use stage::redis::{Cluster, Redis, Sentinel};

const MS: Duration = Duration::from_millis(1);
/// Longer than any test waits for something to run out by itself.
const LONG: Duration = Duration::from_secs(20);
/// What ought to happen soon happens within this.
const SOON: Duration = Duration::from_secs(5);

/// One replica.
#[derive(Clone)]
struct Replica {
    lease: Arc<RedisLease>,
    metrics: Arc<Metrics>,
}

impl Replica {
    fn start(url: &str, owner: &str, ttl: Duration) -> Self {
        Self::start_with(url, owner, ttl, LONG, Fallback::Database)
    }

    fn start_with(url: &str, owner: &str, ttl: Duration, longest_hold: Duration, fallback: Fallback) -> Self {
        let metrics = Arc::new(Metrics::new());
        let config = RedisLeaseConfig { url: url.to_owned(), ttl, longest_hold, fallback };
        let lease = RedisLease::start(config, Owner::named(owner), Arc::clone(&metrics)).expect("the URL is good");
        Self { lease, metrics }
    }

    async fn ask_once(&self, work_order: &str, floor: i64) -> LeaseState {
        let asks = [ask(work_order, floor)];
        self.lease.ensure(&asks).await.pop().expect("one standing for each ask")
    }

    /// Asks, again too where one call was too slow: these tests share few cores.
    async fn ask(&self, work_order: &str, floor: i64) -> LeaseState {
        for _ in 0..5 {
            let standing = self.ask_once(work_order, floor).await;
            if standing != LeaseState::RowLock || self.lease.health() != Health::Good {
                return standing;
            }
        }
        LeaseState::RowLock
    }

    /// Asks until it holds.
    async fn hold(&self, work_order: &str, floor: i64) -> Fence {
        let deadline = Instant::now() + SOON;
        loop {
            let standing = self.ask(work_order, floor).await;
            if let LeaseState::Held(Held { fence, .. }) = standing {
                return fence;
            }
            assert!(Instant::now() < deadline, "still {standing:?}");
            tokio::time::sleep(5 * MS).await;
        }
    }

    async fn settle(&self, work_order: &str) {
        self.lease.settle(&[number(work_order)]).await;
    }

    async fn holder(&self, work_order: &str) -> Option<(String, Fence)> {
        let view = self.lease.view(&number(work_order)).await.expect("Redis is there");
        view.map(|view| (view.holder.to_string(), view.fence))
    }

    fn counted(&self, event: &'static str) -> u64 {
        self.metrics.leases.get_or_create(&LeaseLabel { event }).get()
    }
}

fn number(text: &str) -> WorkOrderNumber {
    WorkOrderNumber::parse(text).expect("a good number")
}

fn ask(work_order: &str, floor: i64) -> Ask {
    Ask { work_order: number(work_order), floor: Fence(floor) }
}

fn fence(standing: &LeaseState) -> Fence {
    match standing {
        LeaseState::Held(held) => held.fence,
        LeaseState::Busy | LeaseState::RowLock | LeaseState::Unavailable => panic!("{standing:?}"),
    }
}

/// Waits until it is so.
async fn eventually(what: &str, so: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + SOON;
    while !so().await {
        assert!(Instant::now() < deadline, "never: {what}");
        tokio::time::sleep(5 * MS).await;
    }
}

#[tokio::test]
async fn a_lease_is_granted_to_one_and_fences_grow_from_the_floor() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    let b = Replica::start(&redis.url(), "b", LONG);
    assert_eq!(fence(&a.ask("P1", 0).await), Fence(1));
    assert_eq!(fence(&a.ask("P1", 0).await), Fence(1), "held, from memory");
    assert_eq!(a.counted("granted"), 1);
    assert_eq!(b.ask("P1", 0).await, LeaseState::Busy);
    assert_eq!(b.counted("busy"), 1);
    assert_eq!(fence(&a.ask("P1", 41).await), Fence(42), "the row is further");
    assert_eq!(fence(&a.ask("P1", 42).await), Fence(43), "a floor that is reached");
    let view = b.lease.view(&number("P1")).await.unwrap().unwrap();
    assert_eq!((view.holder.as_str(), view.fence), ("a", Fence(43)));
    assert!(view.expires_in.unwrap() <= LONG);
    assert_eq!(b.holder("P2").await, None);
}

#[tokio::test]
async fn many_work_orders_are_answered_in_the_order_asked() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    let b = Replica::start(&redis.url(), "b", LONG);
    b.lease.ensure(&[ask("P300", 0), ask("P7", 0)]).await;
    let asks: Vec<Ask> = (0..600).map(|i| ask(&format!("P{i}"), i)).collect();
    for (i, standing) in a.lease.ensure(&asks).await.iter().enumerate() {
        match i {
            7 | 300 => assert_eq!(*standing, LeaseState::Busy),
            _ => assert_eq!(fence(standing), Fence(i64::try_from(i).unwrap() + 1)),
        }
    }
}

#[tokio::test]
async fn fences_stay_exact_where_lua_numbers_would_not() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    let mut last = 0;
    for floor in [99_999_999_999_999, 123_456_789_012_345_678, 9_007_199_254_740_993, 999, i64::MAX - 9] {
        last = last.max(floor) + 1;
        a.lease.lost(&number("P1")).await;
        assert_eq!(fence(&a.ask("P1", floor).await), Fence(last), "floor {floor}");
        assert_eq!(redis.ask(&["GET", "scanfence:{P1}:lease"]), format!("a {last}"));
    }
}

#[tokio::test]
async fn pitfall_18_a_wiped_redis_is_noticed_and_no_fence_goes_back() {
    let mut redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", 600 * MS);
    assert_eq!(fence(&a.ask("P1", 6).await), Fence(7));
    redis.ask(&["FLUSHALL"]);
    eventually("the loss is noticed by the renewal", async || {
        if a.counted("lost") == 0 {
            a.lease.settle(&[number("P1")]).await;
        }
        a.counted("lost") == 1
    })
    .await;
    assert_eq!(redis.ask(&["EXISTS", "scanfence:{P1}:lease"]), "0", "pitfall 15: not made anew by the renewal");
    assert_eq!(fence(&a.ask("P1", 7).await), Fence(8), "by the floor");
    redis.ask(&["SCRIPT", "FLUSH"]);
    assert_eq!(fence(&a.ask("P1", 8).await), Fence(9), "the scripts are sent again");
    redis.restart_empty();
    assert_eq!(fence(&a.ask("P1", 9).await), Fence(10), "at the first ask, by a new connection");
    assert!(redis.ask(&["PTTL", "scanfence:{P1}:fence"]).parse::<u64>().unwrap() > 6 * 24 * 60 * 60 * 1000);
}

#[tokio::test]
async fn pitfall_10_a_release_compares_owner_and_fence_whole() {
    let redis = Redis::start();
    for other in ["a 2", "a 11", "aa 1", "b 1", "a reserved"] {
        redis.ask(&["FLUSHALL"]);
        let a = Replica::start(&redis.url(), "a", LONG);
        assert_eq!(fence(&a.ask("P1", 0).await), Fence(1));
        redis.ask(&["SET", "scanfence:{P1}:lease", other, "PX", "20000"]);
        a.lease.close().await;
        assert_eq!(redis.ask(&["GET", "scanfence:{P1}:lease"]), other);
    }
}

#[tokio::test]
async fn renewal_keeps_what_is_in_use_and_gives_up_what_is_not() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", 600 * MS);
    let start = Instant::now();
    while start.elapsed() < 1500 * MS {
        let LeaseState::Held(held) = a.ask("P1", 0).await else { panic!("not held") };
        assert_eq!(held.fence, Fence(1), "after {:?}", start.elapsed());
        assert!(held.in_force());
        a.settle("P1").await;
        tokio::time::sleep(20 * MS).await;
    }
    assert_eq!((a.counted("granted"), a.counted("lost")), (1, 0));
    let start = Instant::now();
    eventually("pitfall 14: idle, it is given up", async || a.holder("P1").await.is_none()).await;
    assert!(start.elapsed() < 1500 * MS);
    assert_eq!(a.counted("lost"), 0, "given up is not lost");
}

#[tokio::test]
async fn pitfall_14_nothing_is_held_beyond_the_longest_hold() {
    let redis = Redis::start();
    let a = Replica::start_with(&redis.url(), "a", 600 * MS, 500 * MS, Fallback::Database);
    let start = Instant::now();
    assert_eq!(a.hold("P1", 0).await, Fence(1));
    while a.hold("P1", 0).await == Fence(1) {
        assert!(start.elapsed() < 510 * MS, "held for {:?}", start.elapsed());
        a.settle("P1").await;
        tokio::time::sleep(5 * MS).await;
    }
    assert!(start.elapsed() >= 490 * MS, "given up after {:?}", start.elapsed());
    assert_eq!(a.counted("lost"), 0);
}

#[tokio::test]
async fn pitfall_16_a_leftover_lease_of_ones_own_is_granted_anew() {
    let redis = Redis::start();
    redis.ask(&["SET", "scanfence:{P1}:lease", "a 7", "PX", "20000"]);
    redis.ask(&["SET", "scanfence:{P1}:fence", "7"]);
    let a = Replica::start(&redis.url(), "a", LONG);
    assert_eq!(fence(&a.ask("P1", 0).await), Fence(8));
}

#[tokio::test]
async fn pitfall_17_a_hung_redis_costs_one_time_limit_and_then_nothing_until_it_is_back() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    let b = Replica::start_with(&redis.url(), "b", LONG, LONG, Fallback::Refuse);
    let held = a.hold("held", 0).await;
    b.hold("other", 0).await;
    redis.pause();
    eventually("pitfall 11: what is not granted is not reported as held", async || {
        let start = Instant::now();
        let standings = a.lease.ensure(&[ask("held", 0), ask("P1", 0)]).await;
        assert!(start.elapsed() < 400 * MS, "{:?}", start.elapsed());
        assert_eq!(fence(&standings[0]), held, "what is held stays held");
        assert_eq!(standings[1], LeaseState::RowLock);
        assert_eq!(b.ask("P2", 0).await, LeaseState::Unavailable);
        a.lease.health() == Health::Away && b.lease.health() == Health::Away
    })
    .await;
    assert!(a.counted("broken") >= 1, "{}", a.counted("broken"));
    assert_eq!(a.metrics.breaker_open.get(), 1);
    let broken = a.counted("broken");
    let start = Instant::now();
    for _ in 0..100 {
        assert_eq!(a.ask("P1", 0).await, LeaseState::RowLock);
    }
    assert!(start.elapsed() < 100 * MS, "Redis is not asked: {:?}", start.elapsed());
    assert_eq!(a.counted("broken"), broken);
    assert!(a.lease.view(&number("P1")).await.is_err());
    redis.resume();
    eventually("it is back", async || {
        a.lease.health() == Health::Good && matches!(a.ask("P1", 0).await, LeaseState::Held(_))
    })
    .await;
    assert_eq!(a.metrics.breaker_open.get(), 0);
}

#[tokio::test]
async fn a_grant_whose_answer_was_lost_blocks_nobody_for_its_time() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    let b = Replica::start(&redis.url(), "b", LONG);
    a.hold("P0", 0).await;
    b.hold("P9", 0).await;
    redis.pause();
    assert_eq!(a.ask_once("P1", 0).await, LeaseState::RowLock, "and Redis will find it in its socket");
    redis.resume();
    redis.wait_for(&["GET", "scanfence:{P1}:fence"], |fence| !fence.is_empty());
    assert!(b.hold("P1", 0).await > Fence(1));
}

#[tokio::test]
async fn the_process_starts_without_redis_and_finds_it_when_it_comes() {
    let port = stage::free_port();
    let a = Replica::start(&format!("redis://127.0.0.1:{port}"), "a", LONG);
    assert_eq!(a.ask_once("P1", 0).await, LeaseState::RowLock);
    eventually("the breaker opens", async || a.lease.health() == Health::Away).await;
    let _redis = Redis::start_on(port, Vec::new());
    assert_eq!(a.hold("P1", 0).await, Fence(1));
}

#[tokio::test]
async fn a_lease_is_handed_over_to_the_one_that_waits() {
    let redis = Redis::start();
    let [a, b, c] = ["a", "b", "c"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    // On a machine that dozes a reservation may lapse before we look.
    let kept = async |work_order: &str, handed_over: u64| {
        a.hold(work_order, 0).await;
        assert_eq!(b.ask(work_order, 0).await, LeaseState::Busy);
        eventually("the ask is heard", async || {
            a.settle(work_order).await;
            a.counted("handed_over") == handed_over
        })
        .await;
        let others = [a.ask(work_order, 0).await, c.ask(work_order, 0).await];
        let waited = b.ask(work_order, 0).await;
        others == [LeaseState::Busy, LeaseState::Busy]
            && matches!(waited, LeaseState::Held(held) if held.fence == Fence(2))
    };
    for turn in 1..=10 {
        if kept(&format!("P{turn}"), turn).await {
            return;
        }
    }
    panic!("none of ten leases was kept for the one that waited");
}

#[tokio::test]
async fn a_reservation_lapses_when_the_one_that_waited_is_gone() {
    let redis = Redis::start();
    let [a, b, c] = ["a", "b", "c"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    a.hold("P1", 0).await;
    assert_eq!(b.ask("P1", 0).await, LeaseState::Busy);
    b.lease.close().await;
    eventually("the ask is heard", async || {
        a.settle("P1").await;
        a.counted("handed_over") == 1
    })
    .await;
    let start = Instant::now();
    c.hold("P1", 0).await;
    assert!(start.elapsed() < 500 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn the_holder_between_batches_hands_over_at_once_and_the_waiter_is_told() {
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    let mut waits = Vec::new();
    for turn in 0..21 {
        let (holder, waiter) = if turn % 2 == 0 { (&a, &b) } else { (&b, &a) };
        holder.hold("P1", 0).await;
        holder.settle("P1").await;
        if waiter.ask("P1", 0).await == LeaseState::Busy {
            let start = Instant::now();
            while !matches!(waiter.ask("P1", 0).await, LeaseState::Held(_)) {
                assert!(start.elapsed() < 400 * MS, "turn {turn}: {:?}", start.elapsed());
                let _ = tokio::time::timeout(400 * MS, waiter.lease.freed().notified()).await;
            }
            waits.push(start.elapsed());
        }
    }
    waits.sort();
    let median = waits[waits.len() / 2];
    assert!(median < 25 * MS, "by a hint, not by looking now and then: {waits:?}");
}

/// Works on `work_order` batch by batch for a while; the batches made and the longest wait.
async fn work(replica: Replica, work_order: &str, time: Duration) -> (u64, Duration) {
    let start = Instant::now();
    let (mut batches, mut longest, mut last) = (0, Duration::ZERO, start);
    while start.elapsed() < time {
        match replica.ask(work_order, 0).await {
            LeaseState::Held(_) => {
                longest = longest.max(last.elapsed());
                tokio::time::sleep(2 * MS).await;
                replica.settle(work_order).await;
                batches += 1;
                last = Instant::now();
            }
            LeaseState::Busy => {
                let _ = tokio::time::timeout(1000 * MS, replica.lease.freed().notified()).await;
            }
            standing @ (LeaseState::RowLock | LeaseState::Unavailable) => panic!("{standing:?}"),
        }
    }
    (batches, longest)
}

#[tokio::test]
async fn three_replicas_take_fair_turns() {
    let redis = Redis::start();
    let [a, b, c] = ["a", "b", "c"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    let time = 2000 * MS;
    let (a, b, c) = tokio::join!(work(a, "P1", time), work(b, "P1", time), work(c, "P1", time));
    println!("batches and longest waits: {a:?} {b:?} {c:?}");
    let total = a.0 + b.0 + c.0;
    for (batches, longest) in [a, b, c] {
        assert!(batches * 5 >= total, "{batches} of {total}");
        assert!(longest < 500 * MS, "waited {longest:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn turns_go_on_when_hints_are_cut() {
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|owner| Replica::start(&redis.url(), owner, 600 * MS));
    let time = 2000 * MS;
    let cut = async {
        for _ in 0..100 {
            redis.ask(&["CLIENT", "KILL", "TYPE", "pubsub"]);
            tokio::time::sleep(20 * MS).await;
        }
    };
    let (a, b, ()) = tokio::join!(work(a, "P1", time), work(b, "P1", time), cut);
    println!("batches and longest waits: {a:?} {b:?}");
    for (batches, longest) in [a, b] {
        assert!(batches > 3);
        assert!(longest < 1000 * MS, "waited {longest:?}");
    }
}

#[tokio::test]
async fn pitfall_20_work_orders_asked_for_in_different_orders_do_not_deadlock() {
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    let there: Vec<Ask> = (0..50).map(|i| ask(&format!("P{i}"), 0)).collect();
    let back: Vec<Ask> = there.iter().rev().cloned().collect();
    let (a, b) = tokio::join!(a.lease.ensure(&there), b.lease.ensure(&back));
    let held = |standings: &[LeaseState]| standings.iter().filter(|s| matches!(s, LeaseState::Held(_))).count();
    assert_eq!(held(&a) + held(&b), 50);
}

#[tokio::test]
async fn closing_releases_everything_and_grants_nothing_more() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    let asks: Vec<Ask> = (0..300).map(|i| ask(&format!("P{i}"), 0)).collect();
    a.lease.ensure(&asks).await;
    let start = Instant::now();
    a.lease.close().await;
    assert!(start.elapsed() < 1500 * MS, "{:?}", start.elapsed());
    assert_eq!(redis.ask(&["KEYS", "scanfence:*:lease"]), "");
    assert_eq!(a.ask("P1", 0).await, LeaseState::RowLock);
    assert_eq!(redis.ask(&["KEYS", "scanfence:*:lease"]), "");
}

#[tokio::test]
async fn a_close_while_redis_hangs_is_bounded() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    a.hold("P1", 0).await;
    redis.pause();
    let start = Instant::now();
    a.lease.close().await;
    assert!(start.elapsed() < 1500 * MS, "{:?}", start.elapsed());
}

#[tokio::test]
async fn what_the_store_shows_to_be_overtaken_is_dropped_and_given_back() {
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    a.hold("P1", 0).await;
    a.lease.lost(&number("P1")).await;
    a.lease.lost(&number("P1")).await;
    assert_eq!(a.counted("lost"), 1);
    assert_eq!(b.hold("P1", 0).await, Fence(2));
}

#[tokio::test]
async fn sentinel_names_the_master_and_after_a_failover_the_new_one() {
    let mut sentinel = Sentinel::start();
    let a = Replica::start(&sentinel.url(), "a", LONG);
    let b = Replica::start(&sentinel.url(), "b", LONG);
    assert_eq!(a.hold("P1", 0).await, Fence(1));
    assert_eq!(b.ask("P1", 0).await, LeaseState::Busy);
    assert_eq!(sentinel.master.ask(&["GET", "scanfence:{P1}:lease"]), "a 1");
    sentinel.fail_over();
    let fence = b.hold("P2", 41).await;
    assert_eq!(fence, Fence(42));
    assert_eq!(sentinel.replica.ask(&["GET", "scanfence:{P2}:lease"]), "b 42");
    assert!(b.hold("P1", 1).await > Fence(1), "the new master is told what the old one could not be");
}

#[tokio::test]
async fn a_cluster_keeps_each_work_order_on_its_node() {
    let cluster = Cluster::start();
    let [a, b] = ["a", "b"].map(|owner| Replica::start(&cluster.url(), owner, LONG));
    a.hold("P0", 0).await;
    b.hold("P1", 0).await;
    let asks: Vec<Ask> = (0..300).map(|i| ask(&format!("P{i}"), 0)).collect();
    eventually("all are held but the one of the other", async || {
        let standings = a.lease.ensure(&asks).await;
        let held = standings.iter().filter(|standing| matches!(standing, LeaseState::Held(_))).count();
        // Kept in use meanwhile.
        matches!(b.ask("P1", 0).await, LeaseState::Held(_)) && standings[1] == LeaseState::Busy && held == 299
    })
    .await;
    for node in &cluster.nodes {
        assert_ne!(node.ask(&["DBSIZE"]), "0");
    }
    let time = 1000 * MS;
    let (turns_a, turns_b) = tokio::join!(work(a.clone(), "P1", time), work(b, "P1", time));
    println!("batches and longest waits: {turns_a:?} {turns_b:?}");
    for (batches, longest) in [turns_a, turns_b] {
        assert!(batches > 10 && longest < 500 * MS, "{batches} batches, waited {longest:?}");
    }
    a.lease.close().await;
    for node in &cluster.nodes {
        assert!(!node.ask(&["KEYS", "scanfence:*:lease"]).contains("{P2}"));
    }
}

/// Asks for one new work order after another, as a plant does, for `time`, and gives how long
/// `replica` said meanwhile that the leases are away, up to the end without a break.
async fn away_at_last(replica: &Replica, time: Duration) -> Duration {
    let (start, mut since, mut asked) = (Instant::now(), None, 0);
    while start.elapsed() < time {
        if start.elapsed() >= asked * 400 * MS {
            asked += 1;
            replica.ask_once(&format!("P{asked}"), 0).await;
        }
        // Reads go on, and are no proof.
        let _ = replica.lease.view(&number("P0")).await;
        match replica.lease.health() {
            Health::Away => since = since.or(Some(Instant::now())),
            Health::Good | Health::RowsAlone => since = None,
        }
        tokio::time::sleep(5 * MS).await;
    }
    since.map_or(Duration::ZERO, |since| since.elapsed())
}

#[tokio::test]
async fn a_redis_that_answers_but_grants_nothing_is_away_until_it_does() {
    let redis = Redis::start();
    let a = Replica::start(&redis.url(), "a", LONG);
    a.hold("P0", 0).await;
    redis.ask(&["CONFIG", "SET", "maxmemory-policy", "noeviction"]);
    for (broken, mended) in [
        (["CONFIG", "SET", "maxmemory", "1"], ["CONFIG", "SET", "maxmemory", "0"]),
        (["ACL", "SETUSER", "default", "-set"], ["ACL", "SETUSER", "default", "+set"]),
    ] {
        assert_eq!(redis.ask(&broken), "OK");
        let away = away_at_last(&a, 7000 * MS).await;
        assert_eq!(redis.ask(&["PING"]), "PONG", "it answers");
        assert!(away > 2500 * MS, "{broken:?}: away for {away:?} without a break");
        assert_eq!(redis.ask(&mended), "OK");
        eventually("it is back", async || a.lease.health() == Health::Good).await;
        a.hold("P0", 0).await;
    }
    redis.wait_for(&["KEYS", "scanfence:*probe*"], str::is_empty);
}

#[tokio::test]
async fn a_node_of_a_cluster_that_grants_nothing_is_found_though_nobody_asks_it() {
    let cluster = Cluster::start();
    let a = Replica::start(&cluster.url(), "a", LONG);
    for node in &cluster.nodes {
        a.hold("P0", 0).await;
        eventually("all is well", async || a.lease.health() == Health::Good).await;
        assert_eq!(node.ask(&["CONFIG", "SET", "maxmemory", "1"]), "OK");
        eventually("it is away", async || a.lease.health() == Health::Away).await;
        assert_eq!(node.ask(&["CONFIG", "SET", "maxmemory", "0"]), "OK");
        eventually("it is back", async || a.lease.health() == Health::Good).await;
    }
}
