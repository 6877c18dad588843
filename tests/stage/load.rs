//! A shop floor under load: terminals that keep a request until it is answered, replicas
//! that come and go, and the books by which the log is judged at the end.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::StatusCode;
use scanfence::domain::ids::{RequestId, WorkOrderNumber};
use scanfence::domain::update::{Action, Outcome, Update};
use scanfence::store::Store;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::audit::{audit, log_of};
use super::client::{Client, Reply};
use super::service::Service;
use super::{eventually, unique};

/// How long a terminal waits for one answer before it sends the request again.
const CLIENT_PATIENCE: Duration = Duration::from_secs(3);
/// How long a terminal tries until a request must have been settled.
pub const SETTLED_WITHIN: Duration = Duration::from_secs(60);
/// Between two tries of a terminal.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// The replicas that a load balancer sends to, which come and go.
#[derive(Clone, Default)]
pub struct Replicas(Arc<RwLock<Vec<Client>>>);

impl Replicas {
    /// These.
    pub fn of(services: &[&Service]) -> Self {
        let replicas = Self::default();
        replicas.set(services);
        replicas
    }

    /// From now on these, by new connections.
    pub fn set(&self, services: &[&Service]) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) =
            services.iter().map(|service| service.client()).collect();
    }

    /// One of them, by chance; none where there is none.
    fn any(&self) -> Option<Client> {
        let clients = self.0.read().unwrap_or_else(PoisonError::into_inner);
        match clients.len() {
            0 => None,
            count => Some(clients[rand::random_range(0..count)].clone()),
        }
    }
}

/// A request as a terminal keeps it.
#[derive(Clone, Debug)]
pub struct Kept {
    /// Its work order.
    pub work_order: String,
    /// Its request id.
    pub id: String,
    /// Scan or correction.
    pub route: &'static str,
    /// Its body.
    pub body: Value,
}

impl Kept {
    /// A new scan or unbind.
    pub fn scan(work_order: &str, body: Value) -> Self {
        Self { work_order: work_order.to_owned(), id: unique("k"), route: "scans", body }
    }

    /// A new correction.
    pub fn correction(work_order: &str, body: Value) -> Self {
        Self { route: "corrections", ..Self::scan(work_order, body) }
    }

    /// Sends it once.
    async fn send(&self, client: &Client) -> Option<Reply> {
        let path = format!("/v1/work-orders/{}/{}", self.work_order, self.route);
        let sent = client.json("POST", &path, &[("idempotency-key", &self.id)], &self.body).await;
        sent.ok().filter(is_an_answer)
    }

    /// Sends it again and again until it is answered, and says how often it took.
    pub async fn settle(&self, replicas: &Replicas) -> (Reply, usize) {
        let deadline = Instant::now() + SETTLED_WITHIN;
        let mut tries = 0;
        loop {
            tries += 1;
            if let Some(client) = replicas.any()
                && let Ok(Some(reply)) = timeout(CLIENT_PATIENCE, self.send(&client)).await
            {
                return (reply, tries);
            }
            assert!(Instant::now() < deadline, "not settled within {SETTLED_WITHIN:?}: {self:?}");
            sleep(BETWEEN_TRIES).await;
        }
    }

    fn item(&self) -> Value {
        let mut item = self.body.clone();
        item["request_id"] = json!(self.id);
        item["work_order"] = json!(self.work_order);
        item
    }
}

/// Whether a reply settles its request; one that does not has to say so.
fn is_an_answer(reply: &Reply) -> bool {
    if !matches!(reply.status.as_u16(), 408 | 429 | 503) {
        return true;
    }
    assert_unsettled(reply);
    false
}

/// Fails unless a refusal for now is as the contract has it.
pub fn assert_unsettled(reply: &Reply) {
    let problem = reply.json();
    assert_eq!((&problem["applied"], &problem["retryable"]), (&json!("unknown"), &json!(true)), "{problem}");
    if reply.status != StatusCode::REQUEST_TIMEOUT {
        let seconds: u64 = reply.header("retry-after").and_then(|text| text.parse().ok()).expect("it says when");
        assert!(seconds > 0, "{reply:?}");
    }
}

/// A request and what became of it.
#[derive(Clone, Debug)]
struct Entry {
    kept: Kept,
    status: StatusCode,
    /// The body of a 201.
    update: Option<Bytes>,
    /// The code of a final refusal.
    code: Option<String>,
}

impl Entry {
    fn of(kept: Kept, reply: &Reply) -> Self {
        match reply.status {
            StatusCode::CREATED => Self { kept, status: reply.status, update: Some(reply.body.clone()), code: None },
            StatusCode::CONFLICT => Self { kept, status: reply.status, update: None, code: Some(reply.code()) },
            status => panic!("{status} for {kept:?}: {}", reply.text()),
        }
    }

    /// An answer to the same request, later.
    fn check_again(&self, reply: &Reply) {
        assert_eq!(reply.status, self.status, "{:?}: {}", self.kept, reply.text());
        assert!(reply.replayed(), "{:?}: {reply:?}", self.kept);
        match (&self.update, &self.code) {
            (Some(update), _) => assert_eq!(update, &reply.body, "{:?}", self.kept),
            (None, code) => assert_eq!(code.as_deref(), Some(reply.code().as_str())),
        }
    }
}

/// What the terminals were told.
#[derive(Default)]
pub struct Books {
    entries: Vec<Entry>,
    /// Tries beyond the first one of a request.
    pub tried_again: usize,
}

impl Books {
    /// How many scans there are in it, repeats not counted.
    pub fn scans(&self) -> usize {
        self.entries.len()
    }

    /// How many were counted.
    pub fn counted(&self) -> usize {
        self.entries.iter().filter(|entry| entry.update.is_some()).count()
    }

    /// Settles one more request into the books.
    pub async fn settle(&mut self, kept: Kept, replicas: &Replicas) -> Reply {
        let (reply, tries) = kept.settle(replicas).await;
        self.tried_again += tries - 1;
        self.entries.push(Entry::of(kept, &reply));
        reply
    }

    /// Sends something again that was settled before.
    async fn repeat(&mut self, replicas: &Replicas) {
        let Some(entry) = self.entries.get(rand::random_range(0..self.entries.len().max(1))).cloned() else { return };
        let (reply, tries) = entry.kept.settle(replicas).await;
        self.tried_again += tries - 1;
        entry.check_again(&reply);
    }

    /// Settles several scans in one call, and what is left of them in further calls.
    async fn batch(&mut self, mut items: Vec<Kept>, replicas: &Replicas) {
        let deadline = Instant::now() + SETTLED_WITHIN;
        while !items.is_empty() {
            assert!(Instant::now() < deadline, "not settled within {SETTLED_WITHIN:?}: {items:?}");
            let body = json!({ "scans": items.iter().map(Kept::item).collect::<Vec<_>>() });
            let replied = match replicas.any() {
                Some(client) => timeout(CLIENT_PATIENCE, client.json("POST", "/v1/scans", &[], &body)).await.ok(),
                None => None,
            };
            let Some(reply) = replied.and_then(Result::ok).filter(is_an_answer) else {
                self.tried_again += 1;
                sleep(BETWEEN_TRIES).await;
                continue;
            };
            assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
            let results = reply.json();
            let results = results["results"].as_array().expect("one result per item");
            assert_eq!(results.len(), items.len());
            let mut left = Vec::new();
            for (kept, result) in items.into_iter().zip(results) {
                assert_eq!(result["request_id"], kept.id.as_str());
                let status = result["status"].as_u64().expect("a status");
                match u16::try_from(status).expect("a status") {
                    503 => left.push(kept),
                    201 => self.entries.push(Entry { kept, status: StatusCode::CREATED, update: None, code: None }),
                    409 => {
                        let code = result["problem"]["code"].as_str().map(ToOwned::to_owned);
                        self.entries.push(Entry { kept, status: StatusCode::CONFLICT, update: None, code });
                    }
                    status => panic!("{status} in a batch: {result}"),
                }
            }
            items = left;
        }
        // What a batch has counted is asked for singly, so that the books hold its bytes.
        for at in 0..self.entries.len() {
            if self.entries[at].status == StatusCode::CREATED && self.entries[at].update.is_none() {
                let (reply, _) = self.entries[at].kept.settle(replicas).await;
                assert!(reply.replayed(), "{reply:?}");
                let kept = self.entries[at].kept.clone();
                self.entries[at] = Entry::of(kept, &reply);
            }
        }
    }

    /// Judges the logs of these work orders: they explain the quantities, hold exactly what
    /// was acknowledged and exactly what was refused, and no part stands counted twice.
    pub async fn audit(&self, store: &Arc<dyn Store>, work_orders: &[String]) {
        let mut entries: HashMap<&str, Vec<&Entry>> = HashMap::new();
        for entry in &self.entries {
            entries.entry(&entry.kept.work_order).or_default().push(entry);
        }
        for work_order in work_orders {
            let number = WorkOrderNumber::parse(work_order).expect("a work order number");
            let entries = entries.remove(work_order.as_str()).unwrap_or_default();
            let id = |entry: &&Entry| RequestId::parse(&entry.kept.id).expect("a request id");
            let acknowledged: Vec<RequestId> =
                entries.iter().filter(|entry| entry.status == StatusCode::CREATED).map(id).collect();
            let wrong = audit(store, &number, &acknowledged).await;
            assert!(wrong.is_empty(), "{number}: {wrong:#?}");
            let log = log_of(store, &number).await;
            let told: HashSet<(RequestId, Outcome)> = entries
                .iter()
                .map(|entry| {
                    let counted = entry.status == StatusCode::CREATED;
                    (id(entry), if counted { Outcome::Counted } else { Outcome::Refused })
                })
                .collect();
            let logged: HashSet<(RequestId, Outcome)> =
                log.iter().map(|update| (update.request_id.clone(), update.outcome)).collect();
            let odd: Vec<_> = told.symmetric_difference(&logged).collect();
            assert!(odd.is_empty(), "{number}: told and logged differ: {odd:#?}");
            check_parts(&log);
            for entry in entries.iter().filter(|entry| entry.update.is_some()) {
                let update: Value = serde_json::from_slice(entry.update.as_deref().unwrap_or_default())
                    .unwrap_or_else(|error| panic!("no update ({error}): {entry:?}"));
                let row = log.iter().find(|update| update.request_id.as_str() == entry.kept.id).expect("it is logged");
                assert_eq!(
                    (update["seq"].as_i64(), update["after"].as_i64(), update["delta"].as_i64()),
                    (row.seq.map(|seq| seq.0), Some(row.after.get()), Some(row.delta.get())),
                    "{entry:?}"
                );
            }
        }
        assert!(entries.is_empty(), "work orders that nobody audits: {:?}", entries.keys());
    }
}

/// Fails where a part stands counted twice, or is taken back without standing.
fn check_parts(log: &[Update]) {
    let mut standing: HashMap<(String, String, String), i64> = HashMap::new();
    for update in log.iter().filter(|update| update.outcome == Outcome::Counted) {
        let Some(barcode) = &update.barcode_canonical else { continue };
        let part = (update.counter.to_string(), update.step_canonical.clone(), barcode.clone());
        match update.action {
            Action::Scan => {
                let before = standing.insert(part, update.delta.get());
                assert_eq!(before, None, "counted twice: {update:?}");
            }
            Action::Unbind | Action::Undo => {
                let counted = standing.remove(&part);
                assert_eq!(counted, Some(-update.delta.get()), "taken back without standing: {update:?}");
            }
            Action::Correction => {}
        }
    }
}

/// Creates work orders without a limit, by one of the replicas.
pub async fn work_orders(replicas: &Replicas, count: usize) -> Vec<String> {
    let client = replicas.any().expect("there is a replica");
    let mut numbers = Vec::with_capacity(count);
    for _ in 0..count {
        let number = unique("W");
        let plan = json!({ "planned_quantity": 1_000, "over_plan_allowance": null });
        let reply = client.put_work_order(&number, &plan).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
        numbers.push(number);
    }
    numbers
}

/// Terminals at work, until they are told to stop.
pub struct Load {
    stop: Arc<AtomicBool>,
    answered: Arc<AtomicUsize>,
    terminals: JoinSet<Books>,
}

impl Load {
    /// So many terminals, over these work orders, each with one request at a time.
    pub fn start(replicas: &Replicas, work_orders: &[String], terminals: usize) -> Self {
        let (stop, answered): (Arc<AtomicBool>, Arc<AtomicUsize>) = Default::default();
        let mut set = JoinSet::new();
        for terminal in 0..terminals {
            let (replicas, work_orders) = (replicas.clone(), work_orders.to_vec());
            let (stop, answered) = (Arc::clone(&stop), Arc::clone(&answered));
            set.spawn(async move {
                let mut books = Books::default();
                while !stop.load(Ordering::Relaxed) {
                    let before = books.scans();
                    step(&mut books, &replicas, &work_orders, &format!("t{terminal}")).await;
                    answered.fetch_add(books.scans() - before, Ordering::Relaxed);
                }
                books
            });
        }
        Self { stop, answered, terminals: set }
    }

    /// How many scans are settled so far.
    pub fn answered(&self) -> usize {
        self.answered.load(Ordering::Relaxed)
    }

    /// Waits until so many more are settled: the line goes on.
    pub async fn more(&mut self, count: usize) {
        let wanted = self.answered() + count;
        let answered = Arc::clone(&self.answered);
        eventually("the line goes on", SETTLED_WITHIN, async || {
            if self.terminals.try_join_next().is_some_and(|ended| ended.is_err()) {
                panic!("a terminal failed, see above");
            }
            (answered.load(Ordering::Relaxed) >= wanted).then_some(())
        })
        .await;
    }

    /// Has every terminal settle what it has, and collects the books.
    pub async fn stop(self) -> Books {
        self.stop.store(true, Ordering::Relaxed);
        let mut all = Books::default();
        for books in self.terminals.join_all().await {
            all.entries.extend(books.entries);
            all.tried_again += books.tried_again;
        }
        all
    }
}

/// What a terminal does next: mostly scans, among them parts, and a little of all else.
async fn step(books: &mut Books, replicas: &Replicas, work_orders: &[String], terminal: &str) {
    const COUNTERS: [&str; 3] = ["input", "output", "scrap"];
    let work_order = &work_orders[rand::random_range(0..work_orders.len())];
    let counter = COUNTERS[rand::random_range(0..3)];
    let plain = || Kept::scan(work_order, json!({ "counter": counter, "terminal": terminal }));
    let part = |action| {
        let (barcode, step) = (rand::random_range(0..40), rand::random_range(0..2));
        let body = json!({ "counter": counter, "terminal": terminal, "action": action,
            "barcode": format!("PART-{barcode}"), "step": format!("P{step}") });
        Kept::scan(work_order, body)
    };
    match rand::random_range(0..100) {
        0..55 => drop(books.settle(plain(), replicas).await),
        55..75 => drop(books.settle(part("scan"), replicas).await),
        75..85 => drop(books.settle(part("unbind"), replicas).await),
        85..90 => {
            let delta = if rand::random() { 3 } else { -2 };
            let body = json!({ "counter": counter, "delta": delta, "reason": "recount", "operator": "E1" });
            drop(books.settle(Kept::correction(work_order, body), replicas).await);
        }
        90..93 => books.batch(vec![plain(), part("scan"), part("unbind"), part("scan"), plain()], replicas).await,
        _ => books.repeat(replicas).await,
    }
}
