//! What the terminals of a plant share.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use rand::RngExt as _;
use rand::rngs::StdRng;

use super::history::{History, Request, Told};
use crate::stage::client::Client;

/// How long a terminal waits for one answer before it sends the request again.
const USUAL_PATIENCE: Duration = Duration::from_secs(3);
/// A terminal with this timeout gets no answer over a link that takes 200 ms: the old system's failure.
const HASTY_PATIENCE: Duration = Duration::from_millis(150);
/// A terminal that vanishes does so within this time.
const VANISHING: Duration = Duration::from_millis(30);
/// Requests that may be repeated.
const POOL: usize = 1024;

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
    pub doors: Vec<String>,
    clients: RwLock<Vec<Client>>,
    patience: Mutex<Patience>,
    /// Requests that may be repeated, newest last.
    pool: Mutex<VecDeque<Arc<Request>>>,
    /// Refused scans that a supervisor may count.
    refused: Mutex<Vec<Arc<Request>>>,
    /// The first few are busy ones.
    pub work_orders: Vec<String>,
    /// Terminals with a request that is not settled.
    busy: AtomicUsize,
    /// What they did.
    pub history: Arc<History>,
}

impl Floor {
    /// In front of these doors, over these work orders.
    pub fn new(doors: Vec<String>, work_orders: Vec<String>) -> Arc<Self> {
        let floor = Self {
            clients: RwLock::default(),
            doors,
            patience: Mutex::new(Patience::Usual),
            pool: Mutex::default(),
            refused: Mutex::default(),
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

    /// A terminal begins something; `true` if it is settled.
    pub fn note(&self, is_settled: bool) {
        match is_settled {
            true => self.busy.fetch_sub(1, Ordering::Relaxed),
            false => self.busy.fetch_add(1, Ordering::Relaxed),
        };
    }

    /// How many terminals have something that is not settled.
    pub fn busy(&self) -> usize {
        self.busy.load(Ordering::Relaxed)
    }

    pub fn client(&self, door: usize) -> Client {
        self.clients.read().unwrap_or_else(PoisonError::into_inner)[door].clone()
    }

    pub fn patience(&self, chance: &mut StdRng) -> Duration {
        match *self.patience.lock().unwrap_or_else(PoisonError::into_inner) {
            Patience::Usual => USUAL_PATIENCE,
            Patience::Hasty => HASTY_PATIENCE,
            Patience::Vanishing => VANISHING.mul_f64(chance.random()),
        }
    }

    pub fn keep_for_repeats(&self, request: &Arc<Request>) {
        let mut pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push_back(Arc::clone(request));
        if pool.len() > POOL {
            pool.pop_front();
        }
    }

    /// Keeps a refused scan, so that an override may settle it.
    pub fn keep_refused(&self, request: &Arc<Request>, told: &Told) {
        const CAN_BE_SETTLED: [&str; 2] = ["over-plan", "work-order-not-open"];
        let is_scan = request.body["action"] == "scan" && request.body["override"] != true;
        if let Told::Refused { code, .. } = told
            && is_scan
            && CAN_BE_SETTLED.contains(&code.as_str())
        {
            self.refused.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(request));
        }
    }

    /// One of the last refused scans.
    pub fn refused(&self, chance: &mut StdRng) -> Option<Arc<Request>> {
        let refused = self.refused.lock().unwrap_or_else(PoisonError::into_inner);
        let place = refused.len().checked_sub(1 + chance.random_range(0..8))?;
        refused.get(place).cloned()
    }

    pub fn known(&self, chance: &mut StdRng) -> Option<Arc<Request>> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = chance.random_range(0..pool.len().max(1));
        pool.get(place).cloned()
    }

    /// One of the newest of them. It may be under way.
    pub fn newest(&self, chance: &mut StdRng) -> Option<Arc<Request>> {
        let pool = self.pool.lock().unwrap_or_else(PoisonError::into_inner);
        let place = pool.len().checked_sub(1 + chance.random_range(0..4))?;
        pool.get(place).cloned()
    }
}
