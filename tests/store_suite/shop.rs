//! A shop floor in miniature: names, requests, and the walk from request to row.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use scanfence::domain::barcode::{Barcode, Step};
use scanfence::domain::decide::{Arrival, ClaimKey, Decision, Facts, decide};
use scanfence::domain::ids::{
    Delta, Fence, Owner, Principal, Quantity, RequestId, Revision, Seq, Stamp, WorkOrderNumber,
};
use scanfence::domain::request::{Ask, Barcodes, Change, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::{Outcome, Update};
use scanfence::domain::work_order::{BarcodePolicy, Edit, Fresh, Moment, Plan, Precondition, WorkOrder};
use scanfence::store::{Batch, Store, StoreError, UpdateQuery, Wanted, Written};

/// A name that nobody else has, in this process or any other.
pub fn unique(label: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    static RUN: std::sync::LazyLock<u64> = std::sync::LazyLock::new(rand::random);
    format!("{label}-{:x}-{}", *RUN, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// A fresh work order number. Later ones don't sort after earlier ones.
pub fn number() -> WorkOrderNumber {
    WorkOrderNumber::parse(&unique("W")).unwrap()
}

/// A fresh request id.
pub fn id() -> RequestId {
    RequestId::parse(&unique("r")).unwrap()
}

pub fn pieces(pieces: i64) -> Quantity {
    Quantity::new(pieces).unwrap()
}

/// A point in time, so many milliseconds after a morning in January.
pub fn time(milliseconds: i64) -> Timestamp {
    let morning = Timestamp::parse("2026-01-03T08:00:00Z").unwrap().to_utc();
    Timestamp::cut(morning + std::time::Duration::from_millis(milliseconds.unsigned_abs())).unwrap()
}

pub fn fresh() -> Fresh {
    Fresh { stamp: Stamp(rand::random()), revision: Revision(rand::random()), now: time(0) }
}

pub fn owner(name: &str) -> Owner {
    Owner::named(name)
}

/// A plan without limit.
pub fn plan() -> Plan {
    Plan {
        planned_quantity: pieces(1000),
        over_plan_allowance: None,
        barcode_policy: BarcodePolicy::Once,
        barcode_pattern: None,
        product_code: None,
        product_name: None,
        line: None,
    }
}

/// Creates or replaces a work order.
pub async fn put(store: &dyn Store, number: &WorkOrderNumber, plan: Plan) -> WorkOrder {
    store.edit(number, &Edit::Plan(plan), &Precondition::None, fresh()).await.unwrap().unwrap().row
}

/// A fresh work order under [`plan`].
pub async fn work_order(store: &dyn Store) -> WorkOrderNumber {
    let number = number();
    put(store, &number, plan()).await;
    number
}

pub fn request(work_order: &WorkOrderNumber, ask: Ask) -> Request {
    Request {
        request_id: id(),
        work_order: work_order.clone(),
        counter: Counter::Input,
        ask,
        step: Step::default(),
        station: None,
        terminal: None,
        operator: None,
        note: None,
        scanned_at: None,
    }
}

/// A scan of one piece without a barcode.
pub fn scan(work_order: &WorkOrderNumber) -> Request {
    request(work_order, Ask::Scan { quantity: pieces(1), barcode: None, overriding: None })
}

/// A scan of one piece with a barcode.
pub fn scan_of(work_order: &WorkOrderNumber, barcode: &str) -> Request {
    let barcode = Some(Barcode::parse(barcode).unwrap());
    request(work_order, Ask::Scan { quantity: pieces(1), barcode, overriding: None })
}

pub fn unbind(work_order: &WorkOrderNumber, barcode: &str) -> Request {
    request(work_order, Ask::Unbind { barcode: Barcode::parse(barcode).unwrap() })
}

pub fn correct(work_order: &WorkOrderNumber, delta: i64) -> Request {
    let change = Change::Delta(Delta::new(delta).unwrap());
    request(work_order, Ask::Correct { change, expected: None, reason: "counted by hand".to_owned() })
}

pub fn undo(scan: &Request) -> Request {
    request(&scan.work_order, Ask::Undo { undoes: scan.request_id.clone() })
}

/// A recount to this quantity.
pub fn recount(work_order: &WorkOrderNumber, quantity: i64, barcodes: Barcodes) -> Request {
    let change = Change::SetTo(pieces(quantity), barcodes);
    request(work_order, Ask::Correct { change, expected: None, reason: "counted by hand".to_owned() })
}

/// What a batch of these requests needs to know, as the committer asks it.
pub fn wanted(requests: &[Request]) -> Wanted {
    let mut wanted = Wanted::default();
    let mut claims: HashMap<ClaimKey, i64> = HashMap::new();
    for request in requests {
        wanted.work_orders.push(request.work_order.clone());
        wanted.request_ids.push(request.request_id.clone());
        if let Some(key) = ClaimKey::of(request) {
            *claims.entry(key).or_insert(1) += i64::from(matches!(request.ask, Ask::Unbind { .. }));
        }
        wanted.named.extend(request.names().cloned());
    }
    for (key, depth) in &mut claims {
        let undos = requests.iter().filter(|request| request.work_order == key.work_order);
        let undos = undos.filter(|request| matches!(request.ask, Ask::Undo { .. })).count();
        *depth += i64::try_from(undos).unwrap();
    }
    wanted.named.sort();
    wanted.named.dedup();
    wanted.work_orders.sort();
    wanted.work_orders.dedup();
    wanted.request_ids.sort();
    wanted.request_ids.dedup();
    wanted.claims = claims.into_iter().collect();
    wanted
}

/// Under which lease each work order is written.
pub type Leases = HashMap<WorkOrderNumber, (Fence, Owner)>;

/// One lease for one work order.
pub fn under(work_order: &WorkOrderNumber, fence: i64, name: &str) -> Leases {
    HashMap::from([(work_order.clone(), (Fence(fence), owner(name)))])
}

/// Decides at a time and gives every change its fresh stamp.
pub fn decided_at(now: Timestamp, facts: Facts, requests: &[Request], leases: &Leases) -> (Decision, Batch) {
    let principal = Principal::named("line-3");
    let arrivals: Vec<Arrival> = requests.iter().map(|request| Arrival { request, principal: &principal }).collect();
    let decision = decide(facts, &arrivals, leases, Moment { now, late_scans: None });
    let mut changes = decision.changes.clone();
    for change in &mut changes {
        change.row.stamp = fresh().stamp;
    }
    (decision, Batch { changes, unverified: Vec::new(), unclaimed: Vec::new() })
}

/// Loads and decides, without a lease.
pub async fn prepared(store: &dyn Store, requests: &[Request]) -> Batch {
    prepared_under(store, requests, &Leases::new()).await
}

/// Loads and decides.
pub async fn prepared_under(store: &dyn Store, requests: &[Request], leases: &Leases) -> Batch {
    let facts = store.load(&wanted(requests)).await.unwrap();
    decided_at(time(0), facts, requests, leases).1
}

/// Loads, decides and writes at a time; all must pass.
pub async fn count_at(store: &dyn Store, now: Timestamp, requests: &[Request]) {
    let facts = store.load(&wanted(requests)).await.unwrap();
    let (_, batch) = decided_at(now, facts, requests, &Leases::new());
    let written = store.write(&batch).await.unwrap();
    assert_eq!(written.passed.len(), batch.changes.len(), "nobody else writes here");
}

/// Loads, decides and writes; all must pass.
pub async fn count(store: &dyn Store, requests: &[Request]) {
    count_at(store, time(0), requests).await;
}

/// Loads, decides and writes until every request is decided, as the committer would.
pub async fn settle(store: &dyn Store, requests: &[Request]) {
    for attempt in 0..1000 {
        let facts = match store.load(&wanted(requests)).await {
            Ok(facts) => facts,
            Err(StoreError::TryAgain(_) | StoreError::Broken(_)) => continue,
            Err(error) => panic!("{error:?}"),
        };
        if requests.iter().all(|request| facts.updates.contains_key(&request.request_id)) {
            return;
        }
        let (_, batch) = decided_at(time(0), facts, requests, &Leases::new());
        // Every other time by the row lock: comparing alone starves the slower one (pitfall 42).
        let written = match attempt % 2 {
            0 => store.write(&batch).await,
            _ => {
                let mut again = |facts| decided_at(time(0), facts, requests, &Leases::new()).1;
                store.write_locked(&wanted(requests), &mut again).await
            }
        };
        match written {
            Ok(Written { .. }) | Err(StoreError::TryAgain(_) | StoreError::Taken(_) | StoreError::Broken(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    panic!("not settled");
}

pub async fn row(store: &dyn Store, number: &WorkOrderNumber) -> WorkOrder {
    store.work_order(number).await.unwrap().expect("it was created")
}

/// All that a work order's list may ask for, nothing asked.
pub fn all_of(work_order: &WorkOrderNumber) -> UpdateQuery {
    UpdateQuery {
        work_order: work_order.clone(),
        counter: None,
        outcome: None,
        barcode: None,
        from: None,
        to: None,
        before: None,
        limit: 10_000,
    }
}

pub async fn log(store: &dyn Store, number: &WorkOrderNumber) -> Vec<Update> {
    store.updates(&all_of(number)).await.unwrap()
}

/// The log explains the row (promise 7), and no fence goes back.
pub async fn audit(store: &dyn Store, number: &WorkOrderNumber) {
    let row = row(store, number).await;
    let mut updates = log(store, number).await;
    updates.reverse();
    let counted: Vec<&Update> = updates.iter().filter(|update| update.outcome == Outcome::Counted).collect();
    let seqs: Vec<Option<Seq>> = counted.iter().map(|update| update.seq).collect();
    let gapless: Vec<Option<Seq>> = (1..=row.seq.0).map(|seq| Some(Seq(seq))).collect();
    assert_eq!(seqs, gapless, "{number}: seq runs from 1 to the row's without gaps");
    assert!(counted.windows(2).all(|pair| pair[0].fence <= pair[1].fence), "{number}: fences don't go back");
    for &counter in Counter::ALL {
        let mut stands = 0;
        for update in counted.iter().filter(|update| update.counter == counter) {
            assert_eq!(update.before.get(), stands, "{number}: before is the previous after");
            stands += update.delta.get();
            assert_eq!(update.after.get(), stands, "{number}: after is before and delta");
        }
        assert_eq!(row.quantity(counter).get(), stands, "{number}: the quantity is the sum of its deltas");
    }
}

/// The standing claims of a barcode for the input counter, oldest first.
pub async fn claims(store: &dyn Store, work_order: &WorkOrderNumber, barcode: &str) -> Vec<(i64, RequestId)> {
    let key = ClaimKey::of(&scan_of(work_order, barcode)).expect("it has a barcode");
    let wanted = Wanted { claims: vec![(key.clone(), 1000)], ..Wanted::default() };
    let mut facts = store.load(&wanted).await.unwrap();
    let claims = facts.claims.remove(&key).unwrap_or_default();
    claims.into_iter().map(|claim| (claim.ordinal, claim.request_id)).collect()
}

/// A future that is polled so many times and then dropped.
pub struct DroppedAfter<F> {
    future: Option<Pin<Box<F>>>,
    polls: usize,
}

impl<F: Future> DroppedAfter<F> {
    pub fn new(polls: usize, future: F) -> Self {
        Self { future: Some(Box::pin(future)), polls }
    }
}

impl<F: Future> Future for DroppedAfter<F> {
    /// What it came to, if it got that far.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if self.polls == 0 {
            self.future = None;
            return Poll::Ready(None);
        }
        self.polls -= 1;
        match self.future.as_mut().expect("polled until ready").as_mut().poll(context) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            // The last poll is followed by the drop at once, not by the next wake.
            Poll::Pending if self.polls == 0 => {
                self.future = None;
                Poll::Ready(None)
            }
            Poll::Pending => Poll::Pending,
        }
    }
}

/// The store, to be used by several tasks.
pub type Shared = Arc<dyn Store>;
