//! Replicas that work on the same work orders at once: a lease that is granted to everybody, a
//! replica that is slower, work orders taken in opposite orders.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, ready};
use scanfence::counting::{Answer, Settings};
use scanfence::domain::decide::Facts;
use scanfence::domain::ids::{Fence, Owner, RequestId, WorkOrderNumber};
use scanfence::lease::row_lock::RowsAlone;
use scanfence::lease::{self, Health, Held, Lease, LeaseState, Unreachable};
use scanfence::store::{Batch, Store, StoreError, Wanted, Written};
use tokio::sync::{Barrier, Notify};
use tokio::task::JoinSet;

use crate::ground::Ground;
use crate::replica::{Replica, counted, owner, scan, work_order};
use crate::stage::audit::{assert_audit, audit, log_of};
use crate::stage::bent::{Bend, Bent};
use crate::stage::unique;

/// A lease that is granted to everybody, under the same fence or under new ones.
struct LyingLease {
    owner: Owner,
    fences: Arc<AtomicI64>,
    freed: Notify,
}

impl LyingLease {
    fn grant(&self, floor: Fence) -> Held {
        let fence = self.fences.fetch_max(floor.0 + 1, Ordering::AcqRel).max(floor.0 + 1);
        Held { fence: Fence(fence), until: None }
    }
}

#[async_trait]
impl Lease for LyingLease {
    fn owner(&self) -> &Owner {
        &self.owner
    }
    async fn ensure(&self, asks: &[lease::Ask]) -> Vec<LeaseState> {
        asks.iter().map(|ask| LeaseState::Held(self.grant(ask.floor))).collect()
    }
    fn held(&self, _work_order: &WorkOrderNumber) -> Option<Held> {
        Some(self.grant(Fence(0)))
    }
    fn settle(&self, _done: &[WorkOrderNumber]) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }
    async fn lost(&self, _work_order: &WorkOrderNumber) {}
    fn released(&self) -> &Notify {
        &self.freed
    }
    async fn view(&self, _work_order: &WorkOrderNumber) -> Result<Option<lease::View>, Unreachable> {
        Ok(None)
    }
    fn health(&self) -> Health {
        Health::Good
    }
    async fn close(&self) {}
}

/// A store without the guard: a write passes on the present row, not on the loaded one. Both writers
/// decide before either writes, since without a rival nothing could go wrong.
struct NoGuard(Arc<Barrier>);

#[async_trait]
impl Bend for NoGuard {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        // The last writes have no rival any more.
        let _ = tokio::time::timeout(Duration::from_millis(50), self.0.wait()).await;
        let numbers = batch.changes.iter().map(|change| change.row.work_order.clone()).collect();
        let now = inner.load(&Wanted { work_orders: numbers, ..Wanted::default() }).await?;
        let mut batch = batch.clone();
        for change in &mut batch.changes {
            let present = &now.work_orders[&change.row.work_order];
            change.loaded = present.stamp;
            if present.fence >= change.row.fence {
                change.row.fence = present.fence;
                change.row.fence_owner.clone_from(&present.fence_owner);
            }
        }
        inner.write(&batch).await
    }
}

/// Answers slowly, as over a bad line.
struct Slow(Duration);

#[async_trait]
impl Bend for Slow {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        tokio::time::sleep(self.0).await;
        inner.write(batch).await
    }
    async fn write_locked(
        &self,
        inner: &Arc<dyn Store>,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        tokio::time::sleep(self.0).await;
        inner.write_locked(wanted, decide).await
    }
}

/// Opens two replicas whose leases are granted to everybody.
async fn liars(ground: &Ground, bend: impl Fn(Arc<dyn Store>) -> Arc<dyn Store>) -> Vec<Arc<Replica>> {
    let fences = Arc::new(AtomicI64::new(1));
    let mut replicas = Vec::new();
    for _ in 0..2 {
        let lease = LyingLease { owner: owner(), fences: Arc::clone(&fences), freed: Notify::new() };
        let settings = Settings { answer_within: Duration::from_secs(3), ..Settings::default() };
        replicas.push(Arc::new(Replica::with(bend(ground.store().await), Arc::new(lease), settings)));
    }
    replicas
}

/// Two replicas and `clients` terminals, each with `each` scans over the work orders. With `twice`, every
/// scan goes to both replicas at the same time.
async fn crowd(
    replicas: &[Arc<Replica>],
    numbers: &[WorkOrderNumber],
    clients: usize,
    each: usize,
    twice: bool,
) -> Vec<Vec<RequestId>> {
    let mut terminals = JoinSet::new();
    for client in 0..clients {
        let (replicas, numbers) = (replicas.to_vec(), numbers.to_vec());
        terminals.spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0..each {
                let place = (client + n) % numbers.len();
                let request = scan(&numbers[place], &unique("k"));
                let (one, other) =
                    (&replicas[(client / 2 + n) % replicas.len()], &replicas[(client / 2 + n + 1) % replicas.len()]);
                let answers = match twice {
                    true => <[Answer; 2]>::from(tokio::join!(one.count(request.clone()), other.count(request.clone())))
                        .to_vec(),
                    false => vec![one.count(request.clone()).await],
                };
                for answer in answers {
                    match answer {
                        Answer::Decided { .. } => acknowledged.push((place, counted(&answer).request_id.clone())),
                        Answer::Unsettled(_) => {}
                        other => panic!("{other:?}"),
                    }
                }
            }
            acknowledged
        });
    }
    let mut acknowledged = vec![Vec::new(); numbers.len()];
    for (place, id) in terminals.join_all().await.into_iter().flatten() {
        acknowledged[place].push(id);
    }
    acknowledged
}

on_both_stores! {
    async fn pitfall_11_leases_granted_to_everybody_still_count_every_scan_once(ground: Ground) {
        let store = ground.store().await;
        let numbers = [work_order(&store, "A").await, work_order(&store, "B").await];
        let replicas = liars(&ground, |store| store).await;
        let acknowledged = crowd(&replicas, &numbers, 8, 25, true).await;
        for (number, ids) in numbers.iter().zip(&acknowledged) {
            assert!(!ids.is_empty());
            assert_audit(&store, number, ids).await;
            let distinct: HashSet<_> = ids.iter().collect();
            assert_eq!(log_of(&store, number).await.len(), distinct.len(), "and nothing else is in the log");
        }
        let overtaken: u64 = replicas.iter().map(|r| r.metrics.overtaken.get() + r.metrics.fenced_off.get()).sum();
        assert!(overtaken > 0, "the replicas never met: the test shows nothing");
    }

    /// The negative control: with the guard off the same audit goes red, so it can.
    async fn the_audit_goes_red_with_the_guard_switched_off(ground: Ground) {
        // The unique seq would also refuse the second writer.
        match &ground {
            Ground::Postgres(_) => ground.execute("alter table update_log drop constraint update_log_work_order_seq_key").await,
            Ground::Sqlite(_) => ground.execute(
                "create table bare as select * from update_log;
                 drop table update_log;
                 alter table bare rename to update_log;
                 create unique index update_log_request_id on update_log (request_id);").await,
        }
        let store = ground.store().await;
        let numbers = [work_order(&store, "A").await];
        let both = Arc::new(Barrier::new(2));
        let bend = |store| -> Arc<dyn Store> { Arc::new(Bent { inner: store, bend: NoGuard(Arc::clone(&both)) }) };
        let replicas = liars(&ground, bend).await;
        let acknowledged = crowd(&replicas, &numbers, 8, 50, false).await;
        let wrong = audit(&store, &numbers[0], &acknowledged[0]).await;
        let counted = acknowledged[0].len();
        assert!(counted > 0, "nothing was counted: {}", replicas[0].metrics.render());
        assert!(!wrong.is_empty(), "nothing guarded the row, and nothing went wrong?");
    }

    async fn pitfall_42_a_slower_replica_without_redis_gets_its_turn(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "HOT").await;
        let fast = Arc::new(Replica::start(ground.store().await, Arc::new(RowsAlone::new(owner()))));
        let slow = Bent { inner: ground.store().await, bend: Slow(Duration::from_millis(5)) };
        let slow = Replica::start(Arc::new(slow), Arc::new(RowsAlone::new(owner())));
        let stop = Arc::new(AtomicBool::new(false));
        let mut rivals = JoinSet::new();
        for _ in 0..8 {
            let (fast, number, stop) = (Arc::clone(&fast), number.clone(), Arc::clone(&stop));
            rivals.spawn(async move {
                while !stop.load(Ordering::Acquire) {
                    counted(&fast.count(scan(&number, &unique("f"))).await);
                }
            });
        }
        for n in 0..30 {
            counted(&slow.count(scan(&number, &format!("s{n}"))).await);
        }
        stop.store(true, Ordering::Release);
        rivals.join_all().await;
        assert_audit(&store, &number, &[]).await;
        slow.stop().await;
    }

    async fn pitfall_20_work_orders_and_ids_in_opposite_orders_never_deadlock(ground: Ground) {
        if let Ground::Postgres(database) = &ground {
            database.show_deadlocks().await;
        }
        let store = ground.store().await;
        let replicas = liars(&ground, |store| store).await;
        for _ in 0..12 {
            // Fresh ones: after a conflict a work order goes by the row lock for a while.
            let (a, b) = (work_order(&store, "A").await, work_order(&store, "B").await);
            for _ in 0..5 {
                // The same two ids, each under another work order on the other side: one of
                // each is counted, the other is the same key for another request.
                let ids = [unique("x"), unique("y")];
                let (left, right) = tokio::join!(
                    replicas[0].count_all(vec![scan(&a, &ids[0]), scan(&b, &ids[1])]),
                    replicas[1].count_all(vec![scan(&b, &ids[0]), scan(&a, &ids[1])]),
                );
                for (one, other) in left.iter().zip(&right) {
                    let decided = [one, other].iter().filter(|answer| matches!(answer, Answer::Decided { .. })).count();
                    let reused = [one, other].iter().filter(|answer| matches!(answer, Answer::KeyReused { .. })).count();
                    assert_eq!((decided, reused), (1, 1), "{one:?} {other:?}");
                }
            }
            for number in [&a, &b] {
                assert_audit(&store, number, &[]).await;
            }
        }
        for replica in replicas {
            Arc::into_inner(replica).unwrap().stop().await;
        }
        store.close().await;
        drop(store);
        if let Ground::Postgres(database) = &ground {
            assert_eq!(database.deadlocks().await, 0);
        }
    }
}
