//! The shop floor: terminals that keep each request until it is answered, and retry it on another replica.
//! There are few busy work orders and many quiet ones.

use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use scanfence::domain::time::Timestamp;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::floor::Floor;
use super::history::{Attempt, Read, Request, Told};
use super::replies::{told, told_of_batch};
use crate::stage::client::Reply;

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
                    self.floor.note(false);
                    self.step(&shift).await;
                    self.floor.note(true);
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
                14..18 => self.hold().await,
                18..19 => {
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
            0..40 => {}
            40..63 => {
                body["barcode"] = json!(self.part());
                body["step"] = json!(self.step_name());
            }
            63..75 => {
                body = json!({ "counter": counter, "action": "unbind", "terminal": self.name,
                    "barcode": self.part(), "step": self.step_name() });
            }
            75..86 => {
                if let Some(undo) = self.undo() {
                    return undo;
                }
            }
            86..90 => return self.override_of_refused(work_order, body),
            90..92 => {
                let body = json!({ "counter": counter, "set_to": 0, "barcodes": "release", "reason": "recount",
                    "operator": self.name });
                return Arc::new(self.request(work_order, "corrections", body));
            }
            _ => {
                let delta = if self.chance.random() { 3 } else { -2 };
                body = json!({ "counter": counter, "delta": delta, "reason": "recount", "operator": self.name });
                return Arc::new(self.request(work_order, "corrections", body));
            }
        }
        if self.chance.random_bool(0.6) {
            body["scanned_at"] = json!(self.scanned_at());
        }
        Arc::new(self.request(work_order, "scans", body))
    }

    /// An undo of a scan that any terminal has made, perhaps not yet sent, and perhaps undone before.
    fn undo(&mut self) -> Option<Arc<Request>> {
        let known = match self.chance.random() {
            true => self.floor.newest(&mut self.chance),
            false => self.floor.known(&mut self.chance),
        };
        let scan = known.filter(|known| known.body["action"] == "scan")?;
        let body = json!({ "counter": scan.body["counter"], "action": "undo", "undoes": scan.id,
            "terminal": self.name });
        Some(Arc::new(self.request(scan.work_order.clone(), "scans", body)))
    }

    /// A scan that hold and plan do not stop; mostly of a scan that they have stopped.
    fn override_of_refused(&mut self, work_order: String, mut body: Value) -> Arc<Request> {
        body["override"] = json!(true);
        body["note"] = json!("the part is good");
        let Some(refused) = self.floor.refused(&mut self.chance) else {
            return Arc::new(self.request(work_order, "scans", body));
        };
        body["counter"] = refused.body["counter"].clone();
        body["settles"] = json!(refused.id);
        Arc::new(self.request(refused.work_order.clone(), "scans", body))
    }

    /// Some seconds ago.
    fn scanned_at(&mut self) -> String {
        let ago = Duration::from_secs_f64(20.0 * self.chance.random::<f64>());
        let now = Timestamp::cut(std::time::SystemTime::now().into()).expect("it is a time of this century");
        now.before(ago).to_string()
    }

    /// Pauses one of the quiet work orders, or lets it go on. What comes of it does not matter here.
    async fn hold(&mut self) {
        let orders: Vec<&String> = self.floor.work_orders.iter().skip(7).step_by(10).collect();
        let work_order = orders[self.chance.random_range(0..orders.len())].clone();
        let body = match self.chance.random_range(0..10) {
            0..4 => json!({ "status": "in_progress", "reason": "go on" }),
            4..8 => json!({ "status": "paused", "reason": "wait" }),
            _ => json!({ "status": "paused", "reason": "stop", "strict": true }),
        };
        let door = self.chance.random_range(0..self.floor.doors.len());
        drop(self.send(door, "PATCH", &format!("/v1/work-orders/{work_order}"), &[], &body).await);
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

    /// Half of the work is at the few first work orders, and some at those that are paused now and then.
    fn work_order(&mut self) -> String {
        let orders = &self.floor.work_orders;
        let place = match self.chance.random_range(0..20) {
            0..10 => self.chance.random_range(0..orders.len().min(3)),
            10..12 => 7 + 10 * self.chance.random_range(0..orders.len().div_ceil(10)),
            _ => self.chance.random_range(0..orders.len()),
        };
        orders[place.min(orders.len() - 1)].clone()
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
            self.floor.keep_refused(&request, &told);
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
                self.floor.keep_refused(&request, &told);
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
