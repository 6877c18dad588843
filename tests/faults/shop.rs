//! The shop floor: terminals that keep each request until it is answered, and retry it on another replica.
//! There are few busy work orders and many quiet ones.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::history::{Attempt, History, Read, Request, Told};
use crate::stage::client::{Client, Reply};

/// How long a terminal waits for one answer before it sends the request again.
const USUAL_PATIENCE: Duration = Duration::from_secs(3);
/// A terminal with this timeout gets no answer over a link that takes 200 ms: the old system's failure.
const HASTY_PATIENCE: Duration = Duration::from_millis(150);
/// A terminal that vanishes does so within this time.
const VANISHING: Duration = Duration::from_millis(30);
/// Requests that may be repeated.
const POOL: usize = 1024;
/// Between two requests of a terminal, at most.
const THINKING: Duration = Duration::from_millis(120);
/// Before a request is sent again, at first and at most.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(300));
/// Barcodes and steps of a work order: few, so that parts meet.
const PARTS: u32 = 40;
const STEPS: u32 = 2;

/// Whether terminals begin new requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shift {
    /// They work.
    Work,
    /// They only settle what they have.
    Settle,
    /// They end.
    Over,
}

/// How long terminals wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// For longer than a healthy service takes.
    Usual,
    /// Less than the link takes.
    Hasty,
    /// They may vanish at any moment.
    Vanishing,
}

/// What the terminals of a plant share.
pub struct Floor {
    /// The doors of the replicas, by URL.
    doors: Vec<String>,
    clients: RwLock<Vec<Client>>,
    patience: Mutex<Patience>,
    /// Requests that may be repeated, newest last.
    pool: Mutex<VecDeque<Arc<Request>>>,
    work_orders: Vec<String>,
    /// Terminals with a request that is not settled.
    busy: AtomicUsize,
    /// What they did.
    pub history: Arc<History>,
}

impl Floor {
    /// Terminals in front of these doors, over these work orders; the first few are busy ones.
    pub fn new(doors: Vec<String>, work_orders: Vec<String>) -> Arc<Self> {
        let floor = Self {
            clients: RwLock::default(),
            doors,
            patience: Mutex::new(Patience::Usual),
            pool: Mutex::default(),
            work_orders,
            busy: AtomicUsize::new(0),
            history: Arc::default(),
        };
        floor.hang_up();
        Arc::new(floor)
    }

    /// Drops every connection; the next requests make new ones.
    pub fn hang_up(&self) {
        let clients = self.doors.iter().map(|url| Client::new(url)).collect();
        *self.clients.write().unwrap_or_else(PoisonError::into_inner) = clients;
    }

    /// Terminals wait this long from now on.
    pub fn set_patience(&self, patience: Patience) {
        *self.patience.lock().unwrap_or_else(PoisonError::into_inner) = patience;
    }

    /// How many terminals have something that is not settled.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    fn client(&self, door: usize) -> Client {
        self.clients.read().unwrap_or_else(PoisonError::into_inner)[door].clone()
    }

    fn patience(&self, chance: &mut StdRng) -> Duration {
        match *self.patience.lock().unwrap_or_else(PoisonError::into_inner) {
            Patience::Usual => USUAL_PATIENCE,
            Patience::Hasty => HASTY_PATIENCE,
            Patience::Vanishing => VANISHING.mul_f64(chance.random()),
        }
    }

    fn keep_for_repeats(&self, request: &Arc<Request>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push_back(Arc::clone(request));
        if pool.len() > POOL {
            pool.pop_front();
        }
    }

    fn known(&self, chance: &mut StdRng) -> Option<Arc<Request>> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = chance.random_range(0..pool.len().max(1));
        pool.get(place).cloned()
    }
}

/// The terminals at work.
pub struct Terminals {
    shift: watch::Sender<Shift>,
    set: JoinSet<()>,
}

impl Terminals {
    /// Starts this many. The seed decides what each of them sends.
    pub fn start(floor: &Arc<Floor>, count: usize, seed: u64) -> Self {
        let (shift, seen) = watch::channel(Shift::Work);
        let mut set = JoinSet::new();
        for number in 0..count {
            let terminal = Terminal {
                floor: Arc::clone(floor),
                name: format!("t{number}"),
                chance: StdRng::seed_from_u64(seed ^ (number as u64 + 1) << 32),
                made: 0,
                seed,
            };
            set.spawn(terminal.work(seen.clone()));
        }
        Self { shift, set }
    }

    /// What they do from now on.
    pub fn shift(&self, shift: Shift) {
        self.shift.send_replace(shift);
    }

    /// Waits until they have ended, after [`Shift::Over`].
    pub async fn join(self) {
        self.set.join_all().await;
    }
}

struct Terminal {
    floor: Arc<Floor>,
    name: String,
    chance: StdRng,
    made: u64,
    seed: u64,
}

impl Terminal {
    async fn work(mut self, mut shift: watch::Receiver<Shift>) {
        loop {
            let now = *shift.borrow_and_update();
            match now {
                Shift::Work => {
                    self.floor.busy.fetch_add(1, Ordering::Relaxed);
                    self.step(&shift).await;
                    self.floor.busy.fetch_sub(1, Ordering::Relaxed);
                    let thinking = THINKING.mul_f64(self.chance.random());
                    sleep(thinking).await;
                }
                Shift::Settle => {
                    if shift.changed().await.is_err() {
                        return;
                    }
                }
                Shift::Over => return,
            }
        }
    }

    /// Half of what is sent is known already, and half of that has another body.
    async fn step(&mut self, shift: &watch::Receiver<Shift>) {
        let known = if self.chance.random_bool(0.5) { self.floor.known(&mut self.chance) } else { None };
        match known {
            Some(known) if self.chance.random() => self.settle(self.changed(&known), shift).await,
            Some(known) => self.settle(known, shift).await,
            None => match self.chance.random_range(0..100) {
                0..6 => self.batch(shift).await,
                6..14 => self.read().await,
                14..15 => {
                    // This work order does not exist: the answer must be 404, and it must be true.
                    let request = self.request("ghost".to_owned(), "scans", json!({ "counter": "input" }));
                    self.settle(Arc::new(request), shift).await;
                }
                _ => {
                    let request = self.fresh(None);
                    self.floor.keep_for_repeats(&request);
                    self.settle(request, shift).await;
                }
            },
        }
    }

    /// Something new: mostly scans, among them parts, and a little of all else.
    fn fresh(&mut self, work_order: Option<&str>) -> Arc<Request> {
        const COUNTERS: [&str; 3] = ["input", "output", "scrap"];
        let work_order = work_order.map_or_else(|| self.work_order(), ToOwned::to_owned);
        let counter = COUNTERS[self.chance.random_range(0..3)];
        let quantity = self.chance.random_range(1..4);
        let mut body = json!({ "counter": counter, "action": "scan", "quantity": quantity, "terminal": self.name });
        match self.chance.random_range(0..100) {
            0..50 => {}
            50..75 => {
                body["barcode"] = json!(self.part());
                body["step"] = json!(self.step_name());
            }
            75..90 => {
                body = json!({ "counter": counter, "action": "unbind", "terminal": self.name,
                    "barcode": self.part(), "step": self.step_name() });
            }
            _ => {
                let delta = if self.chance.random() { 3 } else { -2 };
                body = json!({ "counter": counter, "delta": delta, "reason": "recount", "operator": self.name });
                return Arc::new(self.request(work_order, "corrections", body));
            }
        }
        Arc::new(self.request(work_order, "scans", body))
    }

    fn request(&mut self, work_order: String, route: &'static str, body: Value) -> Request {
        self.made += 1;
        let id = format!("{:x}-{}-{}", self.seed, self.name, self.made);
        Request { work_order, id, route, body }
    }

    /// A known request with another body.
    fn changed(&self, known: &Request) -> Arc<Request> {
        let mut body = known.body.clone();
        match body["quantity"].as_i64() {
            Some(quantity) => body["quantity"] = json!(quantity + 10),
            None => body["note"] = json!("another one"),
        }
        Arc::new(Request { work_order: known.work_order.clone(), id: known.id.clone(), route: known.route, body })
    }

    /// Half of the work is at the few first work orders.
    fn work_order(&mut self) -> String {
        let orders = &self.floor.work_orders;
        let busy = if self.chance.random() { orders.len().min(3) } else { orders.len() };
        orders[self.chance.random_range(0..busy)].clone()
    }

    fn part(&mut self) -> String {
        format!("PART-{}", self.chance.random_range(0..PARTS))
    }

    fn step_name(&mut self) -> String {
        format!("P{}", self.chance.random_range(0..STEPS))
    }

    /// Sends a request to one replica after the other until it is settled.
    async fn settle(&mut self, request: Arc<Request>, shift: &watch::Receiver<Shift>) {
        let mut door = self.chance.random_range(0..self.floor.doors.len());
        let mut pause = BACKOFF.0;
        while *shift.borrow() != Shift::Over {
            let sent = Instant::now();
            let path = format!("/v1/work-orders/{}/{}", request.work_order, request.route);
            let key = [("idempotency-key", request.id.as_str())];
            let reply = self.send(door, "POST", &path, &key, &request.body).await;
            let told = reply.as_ref().map_or(Told::Nothing, told);
            let settled = told.settles();
            let attempt = Attempt { request: Arc::clone(&request), replica: door, sent, ended: Instant::now(), told };
            self.floor.history.tell(attempt);
            if settled {
                return;
            }
            self.wait(&mut pause).await;
            door = (door + 1) % self.floor.doors.len();
        }
    }

    /// Several new scans in one request, and what is left of them in further ones.
    async fn batch(&mut self, shift: &watch::Receiver<Shift>) {
        let work_order = self.work_order();
        let mut items: Vec<Arc<Request>> = (0..6)
            .map(|place| self.fresh((place < 4).then_some(&work_order)))
            .filter(|request| request.route == "scans")
            .collect();
        for item in &items {
            self.floor.keep_for_repeats(item);
        }
        let mut door = self.chance.random_range(0..self.floor.doors.len());
        let mut pause = BACKOFF.0;
        while !items.is_empty() && *shift.borrow() != Shift::Over {
            let body = json!({ "scans": items.iter().map(|item| item.item()).collect::<Vec<_>>() });
            let sent = Instant::now();
            let reply = self.send(door, "POST", "/v1/scans", &[], &body).await;
            let ended = Instant::now();
            let told = told_of_batch(reply.as_ref(), items.len());
            let mut left = Vec::new();
            for (request, told) in items.into_iter().zip(told) {
                if !told.settles() {
                    left.push(Arc::clone(&request));
                }
                self.floor.history.tell(Attempt { request, replica: door, sent, ended, told });
            }
            items = left;
            if !items.is_empty() {
                self.wait(&mut pause).await;
                door = (door + 1) % self.floor.doors.len();
            }
        }
    }

    async fn read(&mut self) {
        let work_order = self.work_order();
        let door = self.chance.random_range(0..self.floor.doors.len());
        let sent = Instant::now();
        let Some(reply) = self.send(door, "GET", &format!("/v1/work-orders/{work_order}"), &[], &Value::Null).await
        else {
            return;
        };
        if reply.status.is_success() {
            let order = reply.json();
            let number = |field: &str| order[field].as_i64().unwrap_or(i64::MIN);
            let quantities = ["input_quantity", "output_quantity", "scrap_quantity"].map(number);
            let seq = number("seq");
            self.floor.history.read(Read { work_order, sent, ended: Instant::now(), seq, quantities });
        }
    }

    /// One HTTP request; nothing if no whole answer came before the terminal's timeout.
    async fn send(
        &mut self,
        door: usize,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Option<Reply> {
        let patience = self.floor.patience(&mut self.chance);
        let client = self.floor.client(door);
        let _under_way = self.floor.history.begin(door);
        let asked = async {
            match method {
                "GET" => client.request(method, path, headers, "").await,
                _ => client.json(method, path, headers, body).await,
            }
        };
        timeout(patience, asked).await.ok()?.ok()
    }

    async fn wait(&mut self, pause: &mut Duration) {
        sleep(pause.mul_f64(0.5 + self.chance.random::<f64>())).await;
        *pause = (*pause * 2).min(BACKOFF.1);
    }
}

/// What a reply says about its request.
fn told(reply: &Reply) -> Told {
    let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else { return odd(reply) };
    match about(reply.status.as_u16(), &body, &body, reply.replayed()) {
        Some(Told::Counted { replayed, update, .. }) => {
            Told::Counted { replayed, update, body: Some(reply.body.clone()) }
        }
        Some(told) => told,
        None => odd(reply),
    }
}

/// The same for each item of a batch.
fn told_of_batch(reply: Option<&Reply>, items: usize) -> Vec<Told> {
    let Some(reply) = reply else { return vec![Told::Nothing; items] };
    let Ok(body) = serde_json::from_slice::<Value>(&reply.body) else { return vec![odd(reply); items] };
    if !reply.status.is_success() {
        let told = about(reply.status.as_u16(), &body, &body, false).unwrap_or_else(|| odd(reply));
        return vec![told; items];
    }
    let results = body["results"].as_array().filter(|results| results.len() == items);
    let Some(results) = results else { return vec![odd(reply); items] };
    let item = |result: &Value| {
        let status = result["status"].as_u64().and_then(|status| u16::try_from(status).ok())?;
        about(status, &result["update"], &result["problem"], result["replayed"] == true)
    };
    results.iter().map(|result| item(result).unwrap_or_else(|| odd(reply))).collect()
}

/// What a status says, with an update or a problem; nothing if the contract has no such answer.
fn about(status: u16, update: &Value, problem: &Value, replayed: bool) -> Option<Told> {
    let code = || problem["code"].as_str().map(ToOwned::to_owned);
    let applied_no = problem["applied"] == "no";
    match status {
        201 => Some(Told::Counted { replayed, update: update.to_string(), body: None }),
        409 => Some(Told::Refused { replayed, code: code()? }),
        422 => {
            let differs = problem["differs"].as_array()?.iter().map(|field| field.as_str().map(ToOwned::to_owned));
            let mut differs: Vec<String> = differs.collect::<Option<_>>()?;
            differs.sort();
            (code()? == "idempotency-key-reused").then_some(Told::Reused { differs, applied_no })
        }
        404 => (code()? == "work-order-unknown").then_some(Told::Undecided { code: code()?, applied_no }),
        408 | 429 | 503 => Some(Told::Undecided { code: code()?, applied_no }),
        _ => None,
    }
}

fn odd(reply: &Reply) -> Told {
    Told::Odd(format!("{} {}", reply.status, String::from_utf8_lossy(&reply.body)))
}
