//! Connections that break while the outcome is unknown, restarts, restores, and rows that are behind their log.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use scanfence::counting::{Answer, Unsettled};
use scanfence::domain::ids::{Quantity, RequestId};
use scanfence::domain::request::{Ask, Request};
use scanfence::lease::local::LocalLease;
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::{Batch, Store, StoreError, Written};

use crate::ground::Ground;
use crate::replica::{Replica, counted, owner, scan, unsettled, work_order};
use crate::stage::audit::{assert_audit, log_of};
use crate::stage::bent::{Bend, Bent};
use crate::stage::postgres::Postgres;
use crate::stage::unique;

/// Writes, and then reports once that the connection broke.
struct BreaksAfter(AtomicBool);

#[async_trait]
impl Bend for BreaksAfter {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        let written = inner.write(batch).await;
        if self.0.swap(false, Ordering::AcqRel) { Err(broken()) } else { written }
    }
}

/// Reports that the connection broke, and writes later: before or after the next write.
struct WritesLate {
    late: Mutex<Option<Batch>>,
    before_the_next: bool,
    passed: AtomicI64,
}

#[async_trait]
impl Bend for WritesLate {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        if self.passed.load(Ordering::Acquire) == i64::MIN {
            self.passed.store(0, Ordering::Release);
            *self.late.lock().unwrap() = Some(batch.clone());
            return Err(broken());
        }
        let late = self.late.lock().unwrap().take();
        let run_late = async |late: &Option<Batch>| {
            if let Some(late) = late {
                let written = inner.write(late).await;
                let passed = written.map_or(0, |written| written.passed.len());
                self.passed.fetch_add(i64::try_from(passed).unwrap(), Ordering::AcqRel);
            }
        };
        if self.before_the_next {
            run_late(&late).await;
        }
        let written = inner.write(batch).await;
        if !self.before_the_next {
            run_late(&late).await;
        }
        written
    }
}

fn broken() -> StoreError {
    StoreError::Broken("the connection broke, the test says".into())
}

on_both_stores! {
    async fn pitfall_28_a_connection_lost_during_commit_is_neither_failure_nor_a_second_count(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "W").await;
        let bent = Bent { inner: ground.store().await, bend: BreaksAfter(AtomicBool::new(true)) };
        let replica = Replica::local(Arc::new(bent));
        let answer = replica.count(scan(&number, "k1")).await;
        assert_eq!(counted(&answer).after.get(), 1);
        assert_eq!(counted(&replica.count(scan(&number, "k2")).await).after.get(), 2);
        assert_audit(&store, &number, &[RequestId::parse("k1").unwrap(), RequestId::parse("k2").unwrap()]).await;
        replica.stop().await;
    }

    async fn pitfall_50_a_write_that_appears_after_the_load_changes_nothing(ground: Ground) {
        let store = ground.store().await;
        for before_the_next in [false, true] {
            let number = work_order(&store, "W").await;
            let id = unique("k");
            let bend = WritesLate { late: Mutex::default(), before_the_next, passed: AtomicI64::new(i64::MIN) };
            let bent = Arc::new(Bent { inner: ground.store().await, bend });
            let replica = Replica::local(Arc::clone(&bent) as Arc<dyn Store>);
            let answer = replica.count(scan(&number, &id)).await;
            assert_eq!(counted(&answer).after.get(), 1);
            assert_eq!(bent.bend.passed.load(Ordering::Acquire), i64::from(before_the_next), "one of the two writes passed");
            assert_audit(&store, &number, &[RequestId::parse(&id).unwrap()]).await;
            replica.stop().await;
        }
    }

    async fn pitfall_43_a_row_remembered_from_before_a_restore_is_not_taken_for_the_one_after_it(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "W").await;
        // Both have one owner and so one fence: only the stamp distinguishes their writes.
        let owner = owner();
        let remembers = Replica::start(ground.store().await, Arc::new(LocalLease::new(owner.clone())));
        let other = Replica::start(ground.store().await, Arc::new(LocalLease::new(owner)));
        counted(&remembers.count(scan(&number, "k1")).await);
        ground.execute("create table backup as select stamp from work_orders").await;
        counted(&remembers.count(scan(&number, "lost")).await);
        ground.execute(
            "delete from update_log where request_id = 'lost';
             update work_orders set seq = 1, input_quantity = 1, stamp = (select stamp from backup)").await;
        // As many writes since the backup as the first replica has seen.
        let five = Ask::Scan { quantity: Quantity::new(5).unwrap(), barcode: None, overriding: None };
        assert_eq!(counted(&other.count(Request { ask: five, ..scan(&number, "k2") }).await).after.get(), 6);
        let update = remembers.count(scan(&number, "k3")).await;
        assert_eq!(counted(&update).after.get(), 7, "decided on what is there");
        assert_eq!(remembers.metrics.overtaken.get(), 1, "nothing was decided from memory: the test shows nothing");
        assert_audit(&store, &number, &["k1", "k2", "k3"].map(|id| RequestId::parse(id).unwrap())).await;
        remembers.stop().await;
        other.stop().await;
    }

    async fn a_row_that_lags_its_log_is_quarantined_and_its_neighbours_count(ground: Ground) {
        let store = ground.store().await;
        let (bad, good) = (work_order(&store, "BAD").await, work_order(&store, "GOOD").await);
        let replica = Replica::local(ground.store().await);
        counted(&replica.count(scan(&bad, "k1")).await);
        // As a restore of one table alone would leave it.
        ground.execute(&format!("update work_orders set seq = 0, input_quantity = 0, stamp = 77 where work_order = '{bad}'")).await;
        let answers = replica.count_all(vec![scan(&bad, "k2"), scan(&good, "k3"), scan(&bad, "k4"), scan(&good, "k5")]).await;
        assert_eq!(unsettled(&answers[0]), Unsettled::WorkOrderQuarantined);
        counted(&answers[1]);
        unsettled(&answers[2]);
        counted(&answers[3]);
        assert_eq!(unsettled(&replica.count(scan(&bad, "k6")).await), Unsettled::WorkOrderQuarantined);
        assert_eq!(log_of(&store, &bad).await.len(), 1, "nothing more was counted for it");
        replica.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rows_kept_over_a_restart_of_postgresql_are_dropped() {
    let mut server = Postgres::start(&[]).await;
    let url = server.url("postgres");
    postgres::migrate(&url).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).await.unwrap());
    let number = work_order(&store, "W").await;
    let replica = Replica::local(Arc::new(PostgresStore::open(&url).await.unwrap()));
    let mut acknowledged = Vec::new();
    for round in 0..4 {
        let ids = [format!("a{round}"), format!("b{round}")];
        for id in &ids {
            counted(&replica.count(scan(&number, id)).await);
            acknowledged.push(RequestId::parse(id).unwrap());
        }
        match round % 2 {
            0 => server.restart_fast().await,
            _ => {
                server.kill9().await;
                server.start_again().await;
            }
        }
    }
    let answer = replica.count(scan(&number, "a0")).await;
    assert!(matches!(answer, Answer::Decided { replayed: true, .. }), "{answer:?}");
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(&url).await.unwrap());
    assert_audit(&store, &number, &acknowledged).await;
    replica.stop().await;
}
