//! Batches that wait for their turn, for a lease or for a read, and requests that arrive during that time.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::BoxFuture;
use scanfence::counting::{Answer, ScanIntake as _};
use scanfence::domain::decide::Facts;
use scanfence::domain::ids::{Owner, Principal, RequestId, WorkOrderNumber};
use scanfence::domain::request::Request;
use scanfence::domain::update::Update;
use scanfence::lease::local::LocalLease;
use scanfence::lease::row_lock::RowsAlone;
use scanfence::lease::{self, Health, Held, Lease, LeaseState, Unreachable};
use scanfence::store::{Batch, Store, StoreError, Wanted, Written};
use tokio::sync::{Notify, Semaphore};

use crate::ground::Ground;
use crate::replica::{Replica, counted, owner, received, scan, scan_of, work_order};
use crate::stage::audit::assert_audit;
use crate::stage::bent::{Bend, Bent};
use crate::stage::{SOON, eventually, unique};

/// The local lease, which notes its calls. A work order may be busy at first, and become free during
/// the call that asks for it.
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
    fn released(&self) -> &Notify {
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

/// Loads one work order only after the test opens the gate.
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

/// Reports a call for updates, and reads them only after the test opens the gate.
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

/// Fails the first writes, without doing anything.
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

/// Writes only after the test opens the gate, and remembers the ids.
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
    /// Posts one request after the other, and then opens the gate. At that time the first is being written,
    /// the second is decided and waits for its turn, and the third waits to be decided.
    /// Before that the store makes this many new connections.
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
        // When it is tried alone, only its write may show that the id is taken.
        assert_eq!(gate.written.lock().unwrap()[..2], [["k1"], ["k2"]]);
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
            // This replica did not count it, so it must read the original.
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
}
