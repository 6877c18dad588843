//! Watches a running plant. Four times a second it judges a snapshot of the database. It also reads the
//! metrics of each replica, since a killed one takes its metrics with it.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{interval, timeout};

use super::checker::{Ledger, Violation};
use super::history::History;
use super::replica::Replica;
use super::snapshot::{Books, Reader};
use crate::stage::client::Client;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(250);
/// A snapshot of a database that hangs is given up after this time.
const SNAPSHOT_LIMIT: Duration = Duration::from_secs(5);
/// The same for the metrics of a replica that hangs.
const METRICS_LIMIT: Duration = Duration::from_millis(500);

/// Judges snapshots of the running plant.
pub struct Watcher {
    books: watch::Sender<Books>,
    findings: Arc<Findings>,
    task: JoinHandle<()>,
}

#[derive(Default)]
struct Findings {
    judged: AtomicUsize,
    wrong: Mutex<Vec<Violation>>,
}

impl Watcher {
    /// Begins to watch.
    pub fn start(books: Books, history: &Arc<History>) -> Self {
        let (books, seen) = watch::channel(books);
        let findings = Arc::default();
        let task = tokio::spawn(watch_books(seen, Arc::clone(history), Arc::clone(&findings)));
        Self { books, findings, task }
    }

    /// The books are there from now on.
    pub fn look_at(&self, books: Books) {
        self.books.send_if_modified(|present| {
            let moved = *present != books;
            *present = books;
            moved
        });
    }

    /// How many snapshots were judged.
    pub fn judged(&self) -> usize {
        self.findings.judged.load(Ordering::Relaxed)
    }

    /// What was wrong since this was asked last.
    pub fn found(&self) -> Vec<Violation> {
        std::mem::take(&mut *lock(&self.findings.wrong))
    }
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn watch_books(mut books: watch::Receiver<Books>, history: Arc<History>, findings: Arc<Findings>) {
    let mut turn = interval(EVERY);
    loop {
        // A new server may lack rows that the old one showed. It must have all that was acknowledged.
        let mut reader = Reader::new(books.borrow_and_update().clone());
        let (mut ledger, mut from) = (Ledger::default(), 0);
        loop {
            turn.tick().await;
            match books.has_changed() {
                Ok(true) => break,
                Ok(false) => {}
                Err(_) => return,
            }
            let (acknowledged, to) = history.acknowledged(from);
            from = to;
            for (id, at) in acknowledged {
                ledger.acknowledge(id, at);
            }
            // Where the database is away there is nothing to judge.
            if let Ok(Ok(snapshot)) = timeout(SNAPSHOT_LIMIT, reader.snapshot()).await {
                let wrong = ledger.see(&snapshot);
                findings.judged.fetch_add(1, Ordering::Relaxed);
                lock(&findings.wrong).extend(wrong);
            }
        }
    }
}

/// A replica, and which of its processes.
type Process = (usize, u64);
/// The last value of each series.
type Series = HashMap<String, u64>;

/// Reads the metrics of every process that there is.
pub struct Scraper {
    seen: Arc<Mutex<HashMap<Process, Series>>>,
    task: JoinHandle<()>,
}

impl Scraper {
    /// Begins to read.
    pub fn start(replicas: &[Replica]) -> Self {
        let seen: Arc<Mutex<HashMap<Process, Series>>> = Arc::default();
        let processes: Vec<_> = replicas.iter().map(Replica::processes).collect();
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            let mut turn = interval(EVERY);
            loop {
                turn.tick().await;
                for (place, process) in processes.iter().enumerate() {
                    let Some((number, address)) = process.now() else { continue };
                    let client = Client::new(&format!("http://{address}"));
                    let asked = timeout(METRICS_LIMIT, client.request("GET", "/metrics", &[], "")).await;
                    if let Ok(Ok(reply)) = asked {
                        lock(&noted).insert((place, number), series_of(&reply.text()));
                    }
                }
            }
        });
        Self { seen, task }
    }

    /// The sum of a series over all processes that ever were.
    pub fn sum(&self, series: &str) -> u64 {
        lock(&self.seen).values().filter_map(|process| process.get(series)).sum()
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn series_of(text: &str) -> Series {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let series = lines.filter_map(|line| line.rsplit_once(' '));
    series.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect()
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
