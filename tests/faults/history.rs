//! The history: each request of each terminal, its time, its replica and its answer.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

/// A request as a terminal keeps it: a request id and what is sent under it.
#[derive(Debug)]
pub struct Request {
    /// Its work order.
    pub work_order: String,
    /// Its request id.
    pub id: String,
    /// `scans` or `corrections`.
    pub route: &'static str,
    /// Its body, every default written out.
    pub body: Value,
}

impl Request {
    /// Itself as an item of a batch.
    pub fn item(&self) -> Value {
        let mut item = self.body.clone();
        item["request_id"] = json!(self.id);
        item["work_order"] = json!(self.work_order);
        item
    }
}

/// One request, sent once.
#[derive(Clone, Debug)]
pub struct Attempt {
    /// What was sent.
    pub request: Arc<Request>,
    /// The door that it was sent to.
    pub replica: usize,
    /// When it was sent.
    pub sent: Instant,
    /// When the answer was there, or given up.
    pub ended: Instant,
    /// What the terminal was told.
    pub told: Told,
}

impl fmt::Display for Attempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { request, replica, sent, ended, told } = self;
        write!(f, "{told:?} by replica {replica}, after {:?}, to {:?}", ended.duration_since(*sent), request.body)
    }
}

/// What a terminal was told, about a request id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// It is counted (201).
    Counted {
        /// Whether it had been decided before.
        replayed: bool,
        /// The update, in one order of fields.
        update: String,
        /// The body, where it came alone and not in a batch.
        body: Option<Bytes>,
    },
    /// It is refused for good (409).
    Refused {
        /// Whether it had been decided before.
        replayed: bool,
        /// The refusal's code.
        code: String,
    },
    /// The request id belongs to another body (422).
    Reused {
        /// The fields that differ, sorted.
        differs: Vec<String>,
        /// Whether it says that the id changed nothing.
        applied_no: bool,
    },
    /// Something else that decides nothing, such as 503 or 404.
    Undecided {
        /// The problem's code.
        code: String,
        /// Whether it says that the id changed nothing.
        applied_no: bool,
    },
    /// No answer, or only a part of one: it may have counted.
    Nothing,
    /// An answer that the contract does not have.
    Odd(String),
}

impl Told {
    /// Whether a terminal lets go of the request now.
    pub fn settles(&self) -> bool {
        match self {
            Self::Counted { .. } | Self::Refused { .. } | Self::Reused { .. } | Self::Odd(_) => true,
            // A scan that an undo names may be under way: the undo is sent again.
            Self::Undecided { code, .. } => code == "work-order-unknown",
            Self::Nothing => false,
        }
    }

    /// Whether it leaves open what became of the request.
    pub fn is_unknown(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Undecided { applied_no, .. } => !applied_no,
            Self::Counted { .. } | Self::Refused { .. } | Self::Reused { .. } | Self::Odd(_) => false,
        }
    }

    /// Whether it was said to be given again.
    pub fn is_replay(&self) -> bool {
        match self {
            Self::Counted { replayed, .. } | Self::Refused { replayed, .. } => *replayed,
            Self::Reused { .. } | Self::Undecided { .. } | Self::Nothing | Self::Odd(_) => false,
        }
    }

    /// Whether it says that the id changed nothing.
    pub fn says_no(&self) -> bool {
        match self {
            Self::Refused { .. } => true,
            Self::Reused { applied_no, .. } | Self::Undecided { applied_no, .. } => *applied_no,
            Self::Counted { .. } | Self::Nothing | Self::Odd(_) => false,
        }
    }
}

/// A work order as somebody read it.
#[derive(Clone, Debug)]
pub struct Read {
    /// Which.
    pub work_order: String,
    /// When it was asked for.
    pub sent: Instant,
    /// When the answer was there.
    pub ended: Instant,
    /// Its number of counted updates.
    pub seq: i64,
    /// Input, output and scrap.
    pub quantities: [i64; 3],
}

/// Everything that terminals did, in the order in which it ended.
#[derive(Debug, Default)]
pub struct History {
    attempts: Mutex<Vec<Attempt>>,
    reads: Mutex<Vec<Read>>,
    /// HTTP requests sent.
    requests: AtomicUsize,
    /// Those among them under way, by door.
    under_way: Mutex<Vec<usize>>,
}

impl History {
    /// Notes an HTTP request, until what it returns is dropped.
    pub fn begin(self: &Arc<Self>, replica: usize) -> UnderWay {
        self.requests.fetch_add(1, Ordering::Relaxed);
        let mut under_way = lock(&self.under_way);
        if under_way.len() <= replica {
            under_way.resize(replica + 1, 0);
        }
        under_way[replica] += 1;
        UnderWay { history: Arc::clone(self), replica }
    }

    /// Notes what an attempt came to.
    pub fn tell(&self, attempt: Attempt) {
        lock(&self.attempts).push(attempt);
    }

    /// Notes a work order as it was read.
    pub fn read(&self, read: Read) {
        lock(&self.reads).push(read);
    }

    /// HTTP requests sent so far.
    pub fn requests(&self) -> usize {
        self.requests.load(Ordering::Relaxed)
    }

    /// How many are under way to a replica.
    pub fn under_way(&self, replica: usize) -> usize {
        lock(&self.under_way).get(replica).copied().unwrap_or_default()
    }

    /// The request ids acknowledged so far, from the `from`-th attempt on, and where to go on.
    pub fn acknowledged(&self, from: usize) -> (Vec<(String, Instant)>, usize) {
        let attempts = lock(&self.attempts);
        let new = attempts[from..].iter().filter(|attempt| matches!(attempt.told, Told::Counted { .. }));
        (new.map(|attempt| (attempt.request.id.clone(), attempt.ended)).collect(), attempts.len())
    }

    /// All attempts.
    pub fn attempts(&self) -> MutexGuard<'_, Vec<Attempt>> {
        lock(&self.attempts)
    }

    /// All reads.
    pub fn reads(&self) -> MutexGuard<'_, Vec<Read>> {
        lock(&self.reads)
    }
}

/// An HTTP request under way.
pub struct UnderWay {
    history: Arc<History>,
    replica: usize,
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.history.under_way)[self.replica] -= 1;
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
