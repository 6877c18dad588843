//! Negative controls. Each test takes one protection away from the store and the database.
//! The same terminals and the same checker must find a violation within a minute.
//!
//! The program has no switch for it. The tests put its parts together around a store that leaves
//! something out. Each replica has a lease of its own that does not know the other one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use scanfence::counting::{Committer, Settings};
use scanfence::domain::decide::{ClaimChanges, Facts};
use scanfence::domain::ids::Owner;
use scanfence::http::access::{Access, Mode};
use scanfence::http::{Http, Limits, Parts, server};
use scanfence::lease::local::LocalLease;
use scanfence::monitor::{self, Monitor};
use scanfence::schedule::Schedule;
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::{Batch, Store, StoreError, Wanted, Written};
use scanfence::telemetry::Metrics;
use sqlx::AssertSqlSafe;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::checker::{Promise, Violation};
use super::floor::Floor;
use super::run::{books_of, work_orders};
use super::shop::{Shift, Terminals};
use super::snapshot::Books;
use super::watch::Watcher;
use super::{STAGE, say};
use crate::stage::bent::{Bend, Bent};
use crate::stage::postgres::Database;
use crate::stage::{SOON, eventually, unique};

/// Within this time the checker has to go red.
const A_MINUTE: Duration = Duration::from_secs(60);
/// So many requests have to go well where nothing is taken away.
const ENOUGH: usize = 1_500;

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Off {
    Nothing,
    /// Nobody looks whether a request id is decided.
    RequestIds,
    /// Nobody looks whether a barcode stands counted.
    Claims,
    /// A write passes although the row has changed since it was loaded, under any fence.
    Guard,
}

impl Off {
    /// Also drops the constraint of the database that would catch the error.
    fn statement(self) -> &'static str {
        match self {
            Self::Nothing => "select 1",
            Self::RequestIds => {
                "alter table update_log drop constraint update_log_pkey;
                 create index update_log_request_id on update_log (request_id)"
            }
            Self::Claims => "alter table barcode_claims drop constraint barcode_claims_pkey",
            Self::Guard => "alter table update_log drop constraint update_log_work_order_seq_key",
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_stays_green_with_every_protection_on() {
    let wrong = run_without(Off::Nothing).await;
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_goes_red_without_the_look_up_of_request_ids() {
    assert_red(&run_without(Off::RequestIds).await, Promise::Once);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_goes_red_without_the_claim_of_barcodes() {
    assert_red(&run_without(Off::Claims).await, Promise::Barcodes);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_checker_goes_red_without_the_guard_of_stamp_and_fence() {
    assert_red(&run_without(Off::Guard).await, Promise::Chain);
}

fn assert_red(wrong: &[Violation], promise: Promise) {
    assert!(wrong.iter().any(|violation| violation.promise == promise), "not {promise:?}: {wrong:#?}");
}

/// Runs two replicas with something taken away until the checker goes red, or for long
/// enough to see that it doesn't.
async fn run_without(off: Off) -> Vec<Violation> {
    let _alone = STAGE.lock().await;
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.expect("the database is there");
    sqlx::raw_sql(AssertSqlSafe(off.statement()))
        .execute(&mut database.connect().await)
        .await
        .expect("the tables are there");
    let stop = CancellationToken::new();
    let doors = vec![replica(&database, off, &stop).await, replica(&database, off, &stop).await];
    let floor = Floor::new(doors.clone(), work_orders(&doors[0], 8).await);
    let terminals = Terminals::start(&floor, 24, 0);
    let books = Books::Postgres(database.url().to_owned());
    let watcher = Watcher::start(books.clone(), &floor.history);
    let begun = Instant::now();
    let mut wrong = eventually("the checker goes red", A_MINUTE, async || {
        let wrong = watcher.found();
        let done = !wrong.is_empty() || off == Off::Nothing && floor.history.requests() >= ENOUGH;
        done.then_some(wrong)
    })
    .await;
    if let Some(first) = wrong.first() {
        say(format_args!("{off:?} off: red after {:?}: {first}", begun.elapsed()));
    }
    if off == Off::Nothing {
        terminals.shift(Shift::Settle);
        eventually("everything is settled", SOON, async || (floor.busy() == 0).then_some(())).await;
        wrong.extend(books_of(books, &floor.history).await.1);
    }
    terminals.shift(Shift::Over);
    terminals.join().await;
    stop.cancel();
    wrong
}

/// Starts a replica without a process of its own; its URL.
async fn replica(database: &Database, off: Off, stop: &CancellationToken) -> String {
    let inner = Arc::new(PostgresStore::open(database.url()).await.expect("the database is there"));
    let protected: Arc<dyn Store> = Arc::clone(&inner) as _;
    let store: Arc<dyn Store> = Arc::new(Bent { inner: protected, bend: Unprotected { off } });
    let lease = Arc::new(LocalLease::new(Owner::named(&unique("o"))));
    let metrics = Arc::new(Metrics::new());
    let (committer, intake) =
        Committer::start(Arc::clone(&store), Arc::clone(&lease) as _, Arc::clone(&metrics), Settings::default());
    let by_nobody = monitor::Settings { recent: Schedule::Off, full: Schedule::Off, repair: Vec::new() };
    let parts = Parts {
        counter: Arc::new(intake),
        store,
        lease,
        monitor: Arc::new(Monitor::new(inner, Arc::clone(&metrics), unique("m"), by_nobody)),
        channels: Arc::default(),
        weak_keys: Arc::default(),
        metrics,
    };
    let http = Http::new(parts, Access::of(Mode::Open), Limits::default(), stop.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
    let address = listener.local_addr().expect("it is bound");
    // Ends with the test's runtime.
    tokio::spawn(async move {
        server::serve(listener, http).await;
        committer.stop(SOON).await
    });
    format!("http://{address}")
}

/// What a store leaves out.
struct Unprotected {
    off: Off,
}

impl Unprotected {
    fn forget(&self, mut facts: Facts) -> Facts {
        match self.off {
            Off::Nothing | Off::Guard => {}
            Off::RequestIds => facts.updates.clear(),
            Off::Claims => facts.claims.clear(),
        }
        facts
    }

    fn weaken(&self, batch: &Batch) -> Batch {
        let mut batch = batch.clone();
        match self.off {
            Off::Nothing | Off::Guard => {}
            Off::RequestIds => batch.unverified.clear(),
            Off::Claims => {
                batch.unclaimed.clear();
                for change in &mut batch.changes {
                    // Only new ones: those that stand are not known.
                    change.claims = ClaimChanges { insert: change.claims.insert.clone(), ..ClaimChanges::default() };
                }
            }
        }
        batch
    }
}

#[async_trait]
impl Bend for Unprotected {
    async fn load(&self, inner: &Arc<dyn Store>, wanted: &Wanted) -> Result<Facts, StoreError> {
        Ok(self.forget(inner.load(wanted).await?))
    }
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        let mut batch = self.weaken(batch);
        if self.off == Off::Guard {
            let numbers = batch.changes.iter().map(|change| change.row.work_order.clone()).collect();
            let now = inner.load(&Wanted { work_orders: numbers, ..Wanted::default() }).await?;
            for change in &mut batch.changes {
                let present = &now.work_orders[&change.row.work_order];
                change.loaded = present.stamp;
                if present.fence >= change.row.fence {
                    change.row.fence = present.fence;
                    change.row.fence_owner.clone_from(&present.fence_owner);
                }
            }
        }
        inner.write(&batch).await
    }
    async fn write_locked(
        &self,
        inner: &Arc<dyn Store>,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        let mut decide = |facts: Facts| self.weaken(&decide(self.forget(facts)));
        inner.write_locked(wanted, &mut decide).await
    }
}
