//! Rows that another session holds.

use std::sync::Arc;
use std::time::Duration;

use scanfence::counting::ScanIntake as _;
use scanfence::domain::decide::Facts;
use scanfence::domain::ids::Principal;
use scanfence::lease::Lease;
use scanfence::lease::local::LocalLease;
use scanfence::lease::row_lock::RowsAlone;
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::{Batch, Store, Wanted};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::sync::Notify;

use crate::replica::{Replica, counted, owner, received, scan, work_order};
use crate::stage::audit::assert_audit;
use crate::stage::postgres::Database;
use crate::stage::unique;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_19_a_process_stopped_inside_its_transaction_blocks_nobody_for_long() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    let number = work_order(&store, "W").await;
    // The stopped process: it holds the row, as the row-locked lane does, and goes silent.
    let stopped: Arc<dyn Store> = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    let held = Arc::new(Notify::new());
    let (locked, number_held) = (Arc::clone(&held), number.clone());
    let hang = tokio::task::spawn(async move {
        let wanted = Wanted { work_orders: vec![number_held], ..Wanted::default() };
        let mut decide = |_: Facts| {
            locked.notify_one();
            // Blocks its worker thread, as SIGSTOP would.
            std::thread::sleep(Duration::from_secs(4));
            Batch::default()
        };
        stopped.write_locked(&wanted, &mut decide).await
    });
    held.notified().await;
    let replica = Replica::start(ground_store(&database).await, Arc::new(RowsAlone::new(owner())));
    counted(&replica.count(scan(&number, "k")).await);
    assert!(hang.await.unwrap().is_err(), "the server ended the session that held the row");
    assert_audit(&store, &number, &[]).await;
    replica.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_row_that_is_held_elsewhere_holds_no_other_up() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store = ground_store(&database).await;
    let stuck = work_order(&store, "S").await;
    let mut others = Vec::new();
    for _ in 0..5 {
        others.push(work_order(&store, "W").await);
    }
    let leases: [Arc<dyn Lease>; 2] = [Arc::new(RowsAlone::new(owner())), Arc::new(LocalLease::new(owner()))];
    for lease in leases {
        let mut beside = database.connect().await;
        let lock = format!("begin; select from work_orders where work_order = '{stuck}' for update");
        sqlx::raw_sql(AssertSqlSafe(lock)).execute(&mut beside).await.unwrap();

        let replica = Replica::start(Arc::clone(&store), lease);
        let waits = scan(&stuck, &unique("r-"));
        let mut held = Vec::new();
        for _ in 0..2 {
            let batch = std::iter::once(waits.clone()).chain(others.iter().map(|other| scan(other, &unique("r-"))));
            let mut answers = replica.intake.submit(batch.collect(), &Principal::named("loopback"));
            held.push(answers.remove(0));
            for answer in received(answers).await {
                counted(&answer);
            }
        }
        beside.close().await.unwrap();
        received(held).await;
        counted(&replica.count(waits).await);
        replica.stop().await;
    }
}

async fn ground_store(database: &Database) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(database.url()).await.unwrap())
}
