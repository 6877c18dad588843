//! One process that counts, and requests for it.

use std::sync::Arc;

use scanfence::counting::{Answer, Committer, QueueIntake, ScanIntake as _, Settings, Unsettled};
use scanfence::domain::barcode::Barcode;
use scanfence::domain::ids::{Owner, Principal, Quantity, RequestId, Revision, Stamp, WorkOrderNumber};
use scanfence::domain::request::{Ask, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::Update;
use scanfence::domain::work_order::{BarcodePolicy, Edit, Fresh, Plan, Precondition};
use scanfence::lease::Lease;
use scanfence::lease::local::LocalLease;
use scanfence::store::Store;
use scanfence::telemetry::Metrics;
use tokio::sync::oneshot;

use crate::stage::{SOON, unique};

/// One process as far as counting goes.
pub struct Replica {
    pub intake: QueueIntake,
    pub committer: Committer,
    pub metrics: Arc<Metrics>,
}

impl Replica {
    pub fn start(store: Arc<dyn Store>, lease: Arc<dyn Lease>) -> Self {
        Self::with(store, lease, Settings::default())
    }

    pub fn with(store: Arc<dyn Store>, lease: Arc<dyn Lease>, settings: Settings) -> Self {
        let metrics = Arc::new(Metrics::new());
        let (committer, intake) = Committer::start(store, lease, Arc::clone(&metrics), settings);
        Self { intake, committer, metrics }
    }

    pub fn local(store: Arc<dyn Store>) -> Self {
        Self::start(store, Arc::new(LocalLease::new(owner())))
    }

    pub async fn count(&self, request: Request) -> Answer {
        self.count_all(vec![request]).await.remove(0)
    }

    pub async fn count_all(&self, requests: Vec<Request>) -> Vec<Answer> {
        received(self.intake.submit(requests, &Principal::named("loopback"))).await
    }

    pub async fn stop(self) {
        self.committer.stop(SOON).await.unwrap();
    }
}

pub async fn received(receivers: Vec<oneshot::Receiver<Answer>>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for receiver in receivers {
        let answer = tokio::time::timeout(SOON, receiver).await.expect("every request is answered in time");
        answers.push(answer.expect("every request is answered"));
    }
    answers
}

pub fn owner() -> Owner {
    Owner::named(&unique("owner-"))
}

pub fn fresh() -> Fresh {
    Fresh {
        stamp: Stamp(rand::random()),
        revision: Revision(rand::random()),
        now: Timestamp::parse("2026-01-03T01:16:54.131Z").unwrap(),
    }
}

pub async fn work_order(store: &Arc<dyn Store>, prefix: &str) -> WorkOrderNumber {
    let number = WorkOrderNumber::parse(&unique(prefix)).unwrap();
    let plan = Plan {
        planned_quantity: Quantity::new(100).unwrap(),
        over_plan_allowance: None,
        barcode_policy: BarcodePolicy::Once,
        barcode_pattern: None,
        product_code: None,
        product_name: None,
        line: None,
    };
    store.edit(&number, &Edit::Plan(plan), &Precondition::None, fresh()).await.unwrap().unwrap();
    number
}

pub fn scan(number: &WorkOrderNumber, id: &str) -> Request {
    Request {
        request_id: RequestId::parse(id).unwrap(),
        work_order: number.clone(),
        counter: Counter::Input,
        ask: Ask::Scan { quantity: Quantity::new(1).unwrap(), barcode: None, overriding: None },
        step: Default::default(),
        station: None,
        terminal: None,
        operator: None,
        note: None,
        scanned_at: None,
    }
}

pub fn scan_of(number: &WorkOrderNumber, id: &str, barcode: &str) -> Request {
    let barcode = Some(Barcode::parse(barcode).unwrap());
    Request { ask: Ask::Scan { quantity: Quantity::new(1).unwrap(), barcode, overriding: None }, ..scan(number, id) }
}

pub fn counted(answer: &Answer) -> &Arc<Update> {
    match answer {
        Answer::Decided { update, .. } if update.code.is_none() => update,
        other => panic!("not counted: {other:?}"),
    }
}

pub fn unsettled(answer: &Answer) -> Unsettled {
    match answer {
        Answer::Unsettled(why) => *why,
        other => panic!("settled: {other:?}"),
    }
}
