//! The traps of counting, each sprung on purpose, on both stores: leases that lie,
//! connections that break with the outcome unknown, rows that lag their log, requests that
//! the store refuses for ever, rivals that are faster.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

mod stage;

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::{BoxFuture, ready};
use scanfence::counting::{Answer, Committer, Counter as _, Intake, Settings, Unsettled};
use scanfence::domain::decide::Facts;
use scanfence::domain::ids::{Barcode, Fence, Owner, Principal, Quantity, RequestId, Revision, Stamp, WorkOrderNumber};
use scanfence::domain::request::{Ask, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::Update;
use scanfence::domain::work_order::{BarcodePolicy, Edit, Fresh, Plan, Precondition};
use scanfence::lease::local::LocalLease;
use scanfence::lease::row_lock::RowsAlone;
use scanfence::lease::{self, Health, Held, Lease, LeaseState, Unreachable};
use scanfence::store::postgres::{self, PostgresStore};
use scanfence::store::sqlite::{SqliteStore, folder};
use scanfence::store::{Batch, Store, StoreError, Wanted, Written};
use scanfence::telemetry::Metrics;
use sqlx::{AssertSqlSafe, Connection as _};
use stage::audit::{assert_audit, audit, log_of};
use stage::bent::{Bend, Bent};
use stage::postgres::{Database, Postgres};
use stage::{SOON, eventually, unique};
use tempfile::TempDir;
use tokio::sync::{Barrier, Notify, Semaphore, oneshot};
use tokio::task::JoinSet;

/// A database of either kind, which any number of stores open.
enum Ground {
    Sqlite(TempDir),
    Postgres(Database),
}

impl Ground {
    async fn sqlite() -> Self {
        let folder = tempfile::tempdir().unwrap();
        folder::migrate(folder.path()).await.unwrap();
        Self::Sqlite(folder)
    }

    async fn postgres() -> Self {
        let database = Database::fresh().await;
        postgres::migrate(database.url()).await.unwrap();
        Self::Postgres(database)
    }

    /// Another store on it, as another replica would open.
    async fn store(&self) -> Arc<dyn Store> {
        match self {
            Self::Sqlite(folder) => Arc::new(SqliteStore::open(folder.path()).await.unwrap()),
            Self::Postgres(database) => Arc::new(PostgresStore::open(database.url()).await.unwrap()),
        }
    }

    /// Runs a statement behind the service's back.
    async fn execute(&self, statement: &str) {
        let statement = sqlx::raw_sql(AssertSqlSafe(statement));
        match self {
            Self::Sqlite(folder) => {
                let url = format!("sqlite://{}", folder.path().join("scanfence.db").display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                statement.execute(&mut connection).await.unwrap();
            }
            Self::Postgres(database) => {
                statement.execute(&mut database.connect().await).await.unwrap();
            }
        }
    }
}

/// Runs one test on both stores.
macro_rules! on_both_stores {
    ($($(#[$doc:meta])* async fn $name:ident($ground:ident: Ground) $body:block)*) => {$(
        mod $name {
            use super::*;

            async fn check($ground: Ground) $body

            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_sqlite() {
                check(Ground::sqlite().await).await;
            }

            $(#[$doc])*
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn on_postgresql() {
                check(Ground::postgres().await).await;
            }
        }
    )*};
}

/// One process as far as counting goes.
struct Replica {
    intake: Intake,
    committer: Committer,
    metrics: Arc<Metrics>,
}

impl Replica {
    fn start(store: Arc<dyn Store>, lease: Arc<dyn Lease>) -> Self {
        Self::with(store, lease, Settings::default())
    }

    fn with(store: Arc<dyn Store>, lease: Arc<dyn Lease>, settings: Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (committer, intake) = Committer::start(store, lease, Arc::clone(&metrics), settings);
        Self { intake, committer, metrics }
    }

    fn local(store: Arc<dyn Store>) -> Self {
        Self::start(store, Arc::new(LocalLease::new(owner())))
    }

    async fn count(&self, request: Request) -> Answer {
        self.count_all(vec![request]).await.remove(0)
    }

    async fn count_all(&self, requests: Vec<Request>) -> Vec<Answer> {
        received(self.intake.submit(requests, &Principal::named("loopback"))).await
    }

    async fn stop(self) {
        self.committer.stop(SOON).await.unwrap();
    }
}

async fn received(receivers: Vec<oneshot::Receiver<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for receiver in receivers {
        let answer = tokio::time::timeout(SOON, receiver).await.expect("every request is answered in time");
        answers.push(answer.expect("every request is answered"));
    }
    answers
}

fn owner() -> Owner {
    Owner::named(&unique("owner-"))
}

fn fresh() -> Fresh {
    Fresh {
        stamp: Stamp(rand::random()),
        revision: Revision(rand::random()),
        now: Timestamp::parse("2026-01-03T01:16:54.131Z").unwrap(),
    }
}

async fn work_order(store: &Arc<dyn Store>, prefix: &str) -> WorkOrderNumber {
    let number = WorkOrderNumber::parse(&unique(prefix)).unwrap();
    let plan = Plan {
        planned_quantity: Quantity::new(100).unwrap(),
        over_plan_allowance: None,
        barcode_policy: BarcodePolicy::Once,
        product_code: None,
        product_name: None,
        line: None,
    };
    store.edit(&number, &Edit::Plan(plan), &Precondition::None, fresh()).await.unwrap().unwrap();
    number
}

fn scan(number: &WorkOrderNumber, id: &str) -> Request {
    Request {
        request_id: RequestId::parse(id).unwrap(),
        work_order: number.clone(),
        counter: Counter::Input,
        ask: Ask::Scan { quantity: Quantity::new(1).unwrap(), barcode: None },
        step: Default::default(),
        station: None,
        terminal: None,
        operator: None,
        note: None,
        scanned_at: None,
    }
}

fn scan_of(number: &WorkOrderNumber, id: &str, barcode: &str) -> Request {
    let barcode = Some(Barcode::parse(barcode).unwrap());
    Request { ask: Ask::Scan { quantity: Quantity::new(1).unwrap(), barcode }, ..scan(number, id) }
}

fn counted(answer: &Answer) -> &Arc<Update> {
    match answer {
        Answer::Decided { update, .. } if update.code.is_none() => update,
        other => panic!("not counted: {other:?}"),
    }
}

fn unsettled(answer: &Answer) -> Unsettled {
    match answer {
        Answer::Unsettled(why) => *why,
        other => panic!("settled: {other:?}"),
    }
}

/// A lease that is granted to everybody, always, under one and the same fence or under
/// ever new ones.
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
    fn freed(&self) -> &Notify {
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

/// The local lease, which notes what it is asked and told; a work order may be busy at first,
/// and come free while it is asked for.
struct Noting {
    local: LocalLease,
    notes: Arc<Mutex<Vec<String>>>,
    busy_at_first: Mutex<Option<WorkOrderNumber>>,
    freed: Notify,
}

impl Noting {
    fn new(busy_at_first: Option<WorkOrderNumber>) -> Self {
        let (local, notes) = (LocalLease::new(owner()), Arc::default());
        Self { local, notes, busy_at_first: Mutex::new(busy_at_first), freed: Notify::new() }
    }

    fn note<'a>(&self, what: &str, numbers: impl Iterator<Item = &'a WorkOrderNumber>) {
        self.notes.lock().unwrap().extend(numbers.map(|number| format!("{what} {number}")));
    }
}

#[async_trait]
impl Lease for Noting {
    fn owner(&self) -> &Owner {
        self.local.owner()
    }
    async fn ensure(&self, asks: &[lease::Ask]) -> Vec<LeaseState> {
        self.note("ensure", asks.iter().map(|ask| &ask.work_order));
        let mut standings = self.local.ensure(asks).await;
        let busy = self.busy_at_first.lock().unwrap().take();
        if let Some(place) = asks.iter().position(|ask| Some(&ask.work_order) == busy.as_ref()) {
            standings[place] = LeaseState::Busy;
            self.freed.notify_one();
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        standings
    }
    fn held(&self, work_order: &WorkOrderNumber) -> Option<Held> {
        self.local.held(work_order)
    }
    fn settle(&self, done: &[WorkOrderNumber]) -> BoxFuture<'_, ()> {
        self.note("settle", done.iter());
        self.local.settle(done)
    }
    async fn lost(&self, work_order: &WorkOrderNumber) {
        self.local.lost(work_order).await;
    }
    fn freed(&self) -> &Notify {
        &self.freed
    }
    async fn view(&self, work_order: &WorkOrderNumber) -> Result<Option<lease::View>, Unreachable> {
        self.local.view(work_order).await
    }
    fn health(&self) -> Health {
        self.local.health()
    }
    async fn close(&self) {
        self.local.close().await;
    }
}

/// Loads one work order when it is let.
struct LoadsAtAGate {
    number: WorkOrderNumber,
    open: Notify,
}

#[async_trait]
impl Bend for Arc<LoadsAtAGate> {
    async fn load(&self, inner: &Arc<dyn Store>, wanted: &Wanted) -> Result<Facts, StoreError> {
        if wanted.work_orders.contains(&self.number) {
            self.open.notified().await;
        }
        inner.load(wanted).await
    }
}

/// Says when it is asked for updates, and reads them when it is let.
#[derive(Default)]
struct ReadsAtAGate {
    asked: Notify,
    open: Notify,
}

#[async_trait]
impl Bend for Arc<ReadsAtAGate> {
    async fn updates_by_id(&self, inner: &Arc<dyn Store>, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        self.asked.notify_one();
        self.open.notified().await;
        inner.updates_by_id(ids).await
    }
}

/// Fails the first writes of all, without having done anything.
struct Failing(AtomicU64);

#[async_trait]
impl Bend for Failing {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        match self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |left| left.checked_sub(1)) {
            Ok(_) => Err(StoreError::Broken("no connection, the test says".into())),
            Err(_) => inner.write(batch).await,
        }
    }
}

fn broken() -> StoreError {
    StoreError::Broken("the connection broke, the test says".into())
}

/// Two replicas, `clients` terminals, `each` scans apiece over the work orders; every
/// scan goes to both replicas where `twice`, the second time while the first is under way.
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

/// A guard switched off: rows are believed to be as they are, whatever was decided upon. Both
/// writers have decided before either writes, since without a rival nothing could go wrong.
struct NoGuard(Arc<Barrier>);

#[async_trait]
impl Bend for NoGuard {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        // The last ones have no rival any more.
        let _ = tokio::time::timeout(Duration::from_millis(50), self.0.wait()).await;
        let numbers = batch.changes.iter().map(|change| change.row.work_order.clone()).collect();
        let now = inner.load(&Wanted { work_orders: numbers, ..Wanted::default() }).await?;
        let mut batch = batch.clone();
        for change in &mut batch.changes {
            change.loaded = now.work_orders[&change.row.work_order].stamp;
            change.authority = None;
        }
        inner.write(&batch).await
    }
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
        // The last line of defence, the unique seq, would refuse the second writer too.
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
}

/// Writes, and then says that the connection broke: once.
struct BreaksAfter(AtomicBool);

#[async_trait]
impl Bend for BreaksAfter {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        let written = inner.write(batch).await;
        if self.0.swap(false, Ordering::AcqRel) { Err(broken()) } else { written }
    }
}

/// Says that the connection broke, and writes later: before or after the next write.
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
        // Of one owner, and so under one fence: the stamp alone tells their writes apart.
        let owner = owner();
        let remembers = Replica::start(ground.store().await, Arc::new(LocalLease::new(owner.clone())));
        let other = Replica::start(ground.store().await, Arc::new(LocalLease::new(owner)));
        counted(&remembers.count(scan(&number, "k1")).await);
        ground.execute("create table backup as select stamp from work_orders").await;
        counted(&remembers.count(scan(&number, "lost")).await);
        ground.execute(
            "delete from update_log where request_id = 'lost';
             update work_orders set seq = 1, input_quantity = 1, stamp = (select stamp from backup)").await;
        // As many writes since the backup as the one that remembers has seen.
        let five = Ask::Scan { quantity: Quantity::new(5).unwrap(), barcode: None };
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

/// Refuses every batch that holds an id with `poison` in it, for ever.
struct Refuses;

fn check_poison(batch: &Batch) -> Result<(), StoreError> {
    let poisoned = |update: &Arc<Update>| update.request_id.as_str().contains("poison");
    match batch.changes.iter().flat_map(|change| &change.updates).any(poisoned) {
        true => Err(StoreError::Refused("a value that the store never takes, the test says".into())),
        false => Ok(()),
    }
}

#[async_trait]
impl Bend for Refuses {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        check_poison(batch)?;
        inner.write(batch).await
    }
    async fn write_locked(
        &self,
        inner: &Arc<dyn Store>,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        let mut refused = Ok(());
        let mut checked = |facts: Facts| {
            let batch = decide(facts);
            refused = check_poison(&batch);
            if refused.is_ok() { batch } else { Batch::default() }
        };
        let written = inner.write_locked(wanted, &mut checked).await;
        refused.and(written)
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

/// Writes when it is let, and remembers what.
struct Gated {
    open: Semaphore,
    at_the_gate: AtomicBool,
    written: Mutex<Vec<Vec<String>>>,
    /// New connections that the store has made besides its own.
    connections: AtomicU64,
}

#[async_trait]
impl Bend for Arc<Gated> {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        self.at_the_gate.store(true, Ordering::Release);
        self.open.acquire().await.unwrap().forget();
        let ids = batch.changes.iter().flat_map(|change| &change.updates).map(|update| update.request_id.to_string());
        self.written.lock().unwrap().push(ids.collect());
        inner.write(batch).await
    }
    async fn write_locked(
        &self,
        _: &Arc<dyn Store>,
        _: &Wanted,
        _: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        panic!("nothing here is to go by the row lock")
    }
    fn epoch(&self, inner: &Arc<dyn Store>) -> u64 {
        inner.epoch() + self.connections.load(Ordering::Acquire)
    }
}

/// A replica that has counted one scan of each of the work orders, whose rows it keeps; the
/// next write waits at the gate.
async fn gated(ground: &Ground, numbers: &[WorkOrderNumber]) -> (Replica, Arc<Gated>) {
    let (open, at_the_gate) = (Semaphore::new(numbers.len()), AtomicBool::new(false));
    let gate = Arc::new(Gated { open, at_the_gate, written: Mutex::default(), connections: AtomicU64::new(0) });
    let replica = Replica::local(Arc::new(Bent { inner: ground.store().await, bend: Arc::clone(&gate) }));
    for number in numbers {
        counted(&replica.count(scan(number, &unique("k"))).await);
    }
    gate.written.lock().unwrap().clear();
    gate.at_the_gate.store(false, Ordering::Release);
    (replica, gate)
}

impl Gated {
    /// Posts one request after the other: the first is being written, the second decided and
    /// waiting for its turn, and the third waits when the gate is opened.
    /// Meanwhile the store makes so many new connections.
    async fn count(&self, replica: &Replica, [first, second, third]: [Request; 3], connections: u64) -> Vec<Answer> {
        let principal = Principal::named("loopback");
        let post = |request| replica.intake.submit(vec![request], &principal);
        let mut receivers = post(first);
        let at_the_gate = async || self.at_the_gate.load(Ordering::Acquire).then_some(());
        eventually("the first is at the gate", SOON, at_the_gate).await;
        receivers.extend(post(second));
        let taken = async || (replica.metrics.queue_depth.get() == 0).then_some(());
        eventually("a lane has the second", SOON, taken).await;
        receivers.extend(post(third));
        self.connections.fetch_add(connections, Ordering::AcqRel);
        self.open.add_permits(3);
        received(receivers).await
    }
}

on_both_stores! {
    async fn a_batch_that_waited_for_its_turn_takes_in_what_has_come_since(ground: Ground) {
        let store = ground.store().await;
        let [a, b, c] = [work_order(&store, "A").await, work_order(&store, "B").await, work_order(&store, "C").await];
        let (replica, gate) = gated(&ground, &[a.clone(), b.clone(), c.clone()]).await;
        let answers = gate.count(&replica, [scan(&a, "k1"), scan(&b, "k2"), scan(&c, "k3")], 0).await;
        for answer in &answers {
            counted(answer);
        }
        assert_eq!(*gate.written.lock().unwrap(), [vec!["k1"], vec!["k2", "k3"]]);
        for number in [&a, &b, &c] {
            assert_audit(&store, number, &[]).await;
        }
        replica.stop().await;
    }

    async fn what_has_come_since_waits_for_the_next_where_memory_was_dropped(ground: Ground) {
        let store = ground.store().await;
        let [a, b, c] = [work_order(&store, "A").await, work_order(&store, "B").await, work_order(&store, "C").await];
        let (replica, gate) = gated(&ground, &[a.clone(), b.clone(), c.clone()]).await;
        let answers = gate.count(&replica, [scan(&a, "k1"), scan(&b, "k2"), scan(&c, "k3")], 1).await;
        for answer in &answers {
            counted(answer);
        }
        assert_eq!(*gate.written.lock().unwrap(), [["k1"], ["k2"], ["k3"]]);
        for number in [&a, &b, &c] {
            assert_audit(&store, number, &[]).await;
        }
        replica.stop().await;
    }

    async fn a_lease_is_settled_after_every_batch_written_or_not(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "W").await;
        let lease = Noting::new(None);
        let notes = Arc::clone(&lease.notes);
        let bent = Bent { inner: Arc::clone(&store), bend: Failing(AtomicU64::new(2)) };
        let replica = Replica::start(Arc::new(bent), Arc::new(lease));
        counted(&replica.count(scan(&number, "k1")).await);
        replica.stop().await;
        let once = [format!("ensure {number}"), format!("settle {number}")];
        assert_eq!(*notes.lock().unwrap(), [&once[..], &once, &once].concat());
    }

    async fn what_comes_free_while_it_is_asked_for_does_not_wait_for_the_rest_of_its_batch(ground: Ground) {
        let store = ground.store().await;
        let (a, b) = (work_order(&store, "A").await, work_order(&store, "B").await);
        let slow = Arc::new(LoadsAtAGate { number: b.clone(), open: Notify::new() });
        let bent = Bent { inner: Arc::clone(&store), bend: Arc::clone(&slow) };
        let replica = Replica::start(Arc::new(bent), Arc::new(Noting::new(Some(a.clone()))));
        let principal = Principal::named("loopback");
        let mut receivers = replica.intake.submit(vec![scan(&a, "k1"), scan(&b, "k2")], &principal);
        let of_b = receivers.split_off(1);
        counted(&received(receivers).await[0]);
        slow.open.notify_one();
        counted(&received(of_b).await[0]);
        replica.stop().await;
    }

    async fn a_repeat_of_a_counted_barcode_holds_nothing_back(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "W").await;
        let (replica, gate) = gated(&ground, std::slice::from_ref(&number)).await;
        gate.open.add_permits(3);
        let part = scan_of(&number, "k1", "A1");
        counted(&replica.count(part.clone()).await);
        let answers = replica.count_all(vec![part, scan(&number, "k2")]).await;
        assert!(matches!(&answers[0], Answer::Decided { replayed: true, .. }), "{answers:?}");
        counted(&answers[1]);
        assert_eq!(*gate.written.lock().unwrap(), [["k1"], ["k2"]]);
        replica.stop().await;
    }

    async fn what_has_come_since_under_an_id_of_the_same_batch_waits_for_the_next(ground: Ground) {
        let store = ground.store().await;
        let [a, b, c] = [work_order(&store, "A").await, work_order(&store, "B").await, work_order(&store, "C").await];
        let (replica, gate) = gated(&ground, &[a.clone(), b.clone(), c.clone()]).await;
        let answers = gate.count(&replica, [scan(&a, "k1"), scan(&b, "k2"), scan(&c, "k2")], 0).await;
        counted(&answers[0]);
        counted(&answers[1]);
        assert!(matches!(&answers[2], Answer::KeyReused { differs, .. } if differs == &["work_order"]), "{answers:?}");
        // Tried for itself, it may find out only by its write.
        assert_eq!(gate.written.lock().unwrap()[..2], [["k1"], ["k2"]]);
        replica.stop().await;
    }

    async fn a_request_that_the_store_refuses_for_ever_leaves_the_rest_of_its_batch_counted(ground: Ground) {
        let store = ground.store().await;
        let (a, b) = (work_order(&store, "A").await, work_order(&store, "B").await);
        let replica = Replica::local(Arc::new(Bent { inner: ground.store().await, bend: Refuses }));
        let mut requests: Vec<Request> =
            (0..40).map(|n| scan(if n % 2 == 0 { &a } else { &b }, &format!("k{n}"))).collect();
        requests[17].request_id = RequestId::parse("poison").unwrap();
        // Terminals of their own, so that they are no chain.
        for (n, request) in requests.iter_mut().enumerate() {
            request.terminal = Some(format!("t{n}"));
        }
        let answers = replica.count_all(requests).await;
        for (n, answer) in answers.iter().enumerate() {
            match n {
                17 => assert_eq!(unsettled(answer), Unsettled::StorageUnavailable),
                _ => drop(counted(answer)),
            }
        }
        assert_audit(&store, &a, &[]).await;
        assert_audit(&store, &b, &[]).await;
        replica.stop().await;
    }

    async fn later_items_of_a_terminal_wait_for_an_earlier_one_that_is_unsettled(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "A").await;
        let replica = Replica::local(Arc::new(Bent { inner: ground.store().await, bend: Refuses }));
        let answers = replica.count_all(vec![scan(&number, "k1"), scan(&number, "poison"), scan(&number, "k3")]).await;
        counted(&answers[0]);
        assert_eq!(unsettled(&answers[1]), Unsettled::StorageUnavailable);
        assert_eq!(unsettled(&answers[2]), Unsettled::EarlierItemPending);
        assert_eq!(log_of(&store, &number).await.len(), 1);
        replica.stop().await;
    }

    async fn an_original_that_is_read_slowly_holds_nothing_else_up(ground: Ground) {
        let store = ground.store().await;
        let (number, other) = (work_order(&store, "A").await, work_order(&store, "B").await);
        let counts = Replica::local(Arc::clone(&store));
        let first = scan_of(&number, &unique("r-"), "A1");
        counted(&counts.count(first.clone()).await);
        counts.stop().await;
        let leases: [Arc<dyn Lease>; 2] = [Arc::new(RowsAlone::new(owner())), Arc::new(LocalLease::new(owner()))];
        for lease in leases {
            let gate = Arc::new(ReadsAtAGate::default());
            let bent = Bent { inner: Arc::clone(&store), bend: Arc::clone(&gate) };
            let replica = Replica::start(Arc::new(bent), lease);
            // Who counted it has to be read, since this replica did not.
            let again = replica.intake.submit(vec![scan_of(&number, &unique("r-"), "A1")], &Principal::named("loopback"));
            gate.asked.notified().await;
            counted(&replica.count(scan(&number, &unique("r-"))).await);
            counted(&replica.count(scan(&other, &unique("r-"))).await);
            gate.open.notify_one();
            let refused = &received(again).await[0];
            let Answer::Decided { original: Some(original), .. } = refused else { panic!("{refused:?}") };
            assert_eq!(original.request_id, first.request_id);
            replica.stop().await;
        }
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
            // Fresh ones: where both have met, they go by the row lock for a while.
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pitfall_19_a_process_stopped_inside_its_transaction_blocks_nobody_for_long() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let store: Arc<dyn Store> = Arc::new(PostgresStore::open(database.url()).await.unwrap());
    let number = work_order(&store, "W").await;
    // The stopped process: it holds the row, as the row-locked lane does, and says nothing.
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

async fn ground_store(database: &Database) -> Arc<dyn Store> {
    Arc::new(PostgresStore::open(database.url()).await.unwrap())
}

/// Statements as they are planned on the committer's connections.
async fn plans(database: &Database, statements: impl IntoIterator<Item = &str>) -> Vec<String> {
    let mut connection = database.connect().await;
    sqlx::raw_sql(
        "set plan_cache_mode = force_generic_plan; set enable_seqscan = off; set enable_hashjoin = off;
         set enable_mergejoin = off; set jit = off",
    )
    .execute(&mut connection)
    .await
    .unwrap();
    let mut plans = Vec::new();
    for (n, statement) in statements.into_iter().enumerate() {
        // The shortest don't use the first two, which a session is told of all the same.
        let prepare = format!("prepare statement_{n} (text[], text[]) as {statement}");
        sqlx::raw_sql(AssertSqlSafe(prepare.as_str())).execute(&mut connection).await.unwrap();
        let values = (1..100).filter(|n| statement.contains(&format!("${n}::"))).max().unwrap().max(2);
        let nulls = vec!["null"; values].join(", ");
        let explain = format!("explain (costs off) execute statement_{n}({nulls})");
        let lines: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(explain)).persistent(false).fetch_all(&mut connection).await.unwrap();
        plans.push(lines.join("\n"));
    }
    plans
}

#[tokio::test]
async fn pitfall_41_rows_are_locked_and_logged_in_the_order_of_their_arrays_whatever_the_planner_would_like() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    for plan in plans(&database, postgres::WRITES).await {
        let locked = plan.split("CTE passed").nth(1).and_then(|rest| rest.split("CTE gate").next()).expect(&plan);
        let order = ["Update on work_orders", "Nested Loop", "ProjectSet", "Index Scan using work_orders_pkey"];
        let places: Vec<_> =
            order.iter().map(|node| locked.find(node).unwrap_or_else(|| panic!("{node}: {plan}"))).collect();
        assert!(places.is_sorted(), "{plan}");
        let logged = plan.split("Insert on update_log").nth(1).expect(&plan);
        let above = logged.split("ProjectSet").next().expect(&plan);
        assert!(above.len() < logged.len() && !above.contains("Loop"), "{plan}");
        for other_order in ["Sort", "Hash", "Merge"] {
            assert!(!plan.contains(other_order), "{plan}");
        }
    }
}

#[tokio::test]
async fn pitfall_47_no_statement_of_counting_scans_a_table() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let reads = [include_str!("../src/store/postgres/load.sql"), include_str!("../src/store/postgres/lock.sql")];
    for plan in plans(&database, postgres::WRITES.into_iter().chain(reads)).await {
        for table in ["work_orders", "update_log", "barcode_claims"] {
            assert!(!plan.contains(&format!("Seq Scan on {table}")), "{plan}");
        }
        // Each element is probed for: a list as a whole looks cheaper to scan for one day.
        assert!(!plan.contains("= ANY ($"), "{plan}");
    }
}

#[tokio::test]
async fn pitfall_46_a_scan_rewrites_its_work_order_within_the_page() {
    let ground = Ground::postgres().await;
    let store = ground.store().await;
    let number = work_order(&store, "W").await;
    let replica = Replica::local(ground.store().await);
    for n in 0..200 {
        counted(&replica.count(scan(&number, &format!("k{n}"))).await);
    }
    replica.stop().await;
    let Ground::Postgres(database) = &ground else { unreachable!("it was made as one") };
    let mut connection = database.connect().await;
    let (updated, hot) = eventually("the statistics arrive", SOON, async || {
        let counts: (i64, i64) =
            sqlx::query_as("select n_tup_upd, n_tup_hot_upd from pg_stat_user_tables where relname = 'work_orders'")
                .fetch_one(&mut connection)
                .await
                .unwrap();
        (counts.0 >= 200).then_some(counts)
    })
    .await;
    assert!(hot * 10 >= updated * 9, "only {hot} of {updated} updates stayed within their page");
}

#[tokio::test]
async fn pitfall_49_key_columns_are_compared_by_byte() {
    let database = Database::fresh().await;
    postgres::migrate(database.url()).await.unwrap();
    let others: Vec<(String, String)> = sqlx::query_as(
        "select c.relname::text, a.attname::text
         from pg_index i
         join pg_class c on c.oid = i.indrelid
         join pg_attribute a on a.attrelid = c.oid and a.attnum = any (i.indkey)
         where c.relname in ('work_orders', 'update_log', 'barcode_claims')
           and a.attcollation <> 0 and a.attcollation <> '\"C\"'::regcollation",
    )
    .fetch_all(&mut database.connect().await)
    .await
    .unwrap();
    assert_eq!(others, [], "indexed text whose order a new C library could change");
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
