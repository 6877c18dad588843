//! Redis hangs, loses its data, fails over or grants nothing.

use std::time::{Duration, Instant};

use scanfence::domain::ids::Fence;
use scanfence::lease::redis::Fallback;
use scanfence::lease::{Ask, Health, Lease as _, LeaseState};

use crate::replica::{LONG, MS, Replica, ask, eventually, fence, number};
use crate::stage::free_port;
use crate::stage::redis::{Cluster, Redis, Sentinel};
use crate::turns::work;

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
        a.lease.health() == Health::Away && b.lease.health() == Health::Refusing
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
    let port = free_port();
    let a = Replica::start(&format!("redis://127.0.0.1:{port}"), "a", LONG);
    assert_eq!(a.ask_once("P1", 0).await, LeaseState::RowLock);
    eventually("the breaker opens", async || a.lease.health() == Health::Away).await;
    let _redis = Redis::start_on(port, Vec::new());
    assert_eq!(a.hold("P1", 0).await, Fence(1));
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

/// Asks for one new work order after another for `time`, as a plant does. Returns for how long at the end
/// `replica` has reported without a break that the leases are away.
async fn away_at_last(replica: &Replica, time: Duration) -> Duration {
    let (start, mut since, mut asked) = (Instant::now(), None, 0);
    while start.elapsed() < time {
        if start.elapsed() >= asked * 400 * MS {
            asked += 1;
            replica.ask_once(&format!("P{asked}"), 0).await;
        }
        // Reads still work. They do not show that Redis grants.
        let _ = replica.lease.view(&number("P0")).await;
        match replica.lease.health() {
            Health::Away | Health::Refusing => since = since.or(Some(Instant::now())),
            Health::Good | Health::RowsAlone => since = None,
        }
        tokio::time::sleep(5 * MS).await;
    }
    since.map_or(Duration::ZERO, |since| since.elapsed())
}
