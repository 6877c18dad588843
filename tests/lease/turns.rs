//! Replicas that want the same work order take turns.

use std::time::{Duration, Instant};

use scanfence::domain::ids::Fence;
use scanfence::lease::{Ask, Lease as _, LeaseState};

use crate::replica::{LONG, MS, Replica, ask, eventually};
use crate::stage::redis::Redis;

#[tokio::test]
async fn a_lease_is_handed_over_to_the_one_that_waits() {
    let redis = Redis::start();
    let [a, b, c] = ["a", "b", "c"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    // On a slow machine a reservation may end before the test looks.
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
                let _ = tokio::time::timeout(400 * MS, waiter.lease.released().notified()).await;
            }
            waits.push(start.elapsed());
        }
    }
    waits.sort();
    let median = waits[waits.len() / 2];
    assert!(median < 25 * MS, "by a hint, not by looking now and then: {waits:?}");
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

/// Works on `work_order` batch by batch for this time. Returns the number of batches and the longest wait.
pub async fn work(replica: Replica, work_order: &str, time: Duration) -> (u64, Duration) {
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
                let _ = tokio::time::timeout(1000 * MS, replica.lease.released().notified()).await;
            }
            standing @ (LeaseState::RowLock | LeaseState::Unavailable) => panic!("{standing:?}"),
        }
    }
    (batches, longest)
}
