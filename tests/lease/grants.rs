//! A lease is granted to one replica at a time, renewed, released and given back.

use std::time::Instant;

use scanfence::domain::ids::Fence;
use scanfence::lease::redis::Fallback;
use scanfence::lease::{Ask, Lease as _, LeaseState};

use crate::replica::{LONG, MS, Replica, ask, eventually, fence, number};
use crate::stage::redis::Redis;

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
async fn what_the_store_shows_to_be_overtaken_is_dropped_and_given_back() {
    let redis = Redis::start();
    let [a, b] = ["a", "b"].map(|owner| Replica::start(&redis.url(), owner, LONG));
    a.hold("P1", 0).await;
    a.lease.lost(&number("P1")).await;
    a.lease.lost(&number("P1")).await;
    assert_eq!(a.counted("lost"), 1);
    assert_eq!(b.hold("P1", 0).await, Fence(2));
}
