//! Connections to in-memory databases that open and answer when the test says so.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicUsize};

use futures_util::FutureExt as _;
use sqlx::SqliteConnection;

use super::*;

const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_secs(10);
const CHECKED: Idleness = Idleness { trusted: Duration::from_secs(1), kept: Duration::from_secs(60) };

/// Opens in-memory databases. Each permit of the gate lets one open.
#[derive(Clone)]
struct Gated {
    gate: Arc<Semaphore>,
    /// How many openings began.
    begun: Arc<AtomicUsize>,
    /// How many checks began.
    checks: Arc<AtomicUsize>,
    /// Whether the server answers a check.
    answers: Arc<AtomicBool>,
}

impl Gated {
    fn with(permits: usize) -> Self {
        let (gate, answers) = (Arc::new(Semaphore::new(permits)), Arc::new(AtomicBool::new(true)));
        Self { gate, begun: Arc::default(), checks: Arc::default(), answers }
    }

    fn counts(&self) -> (usize, usize) {
        (self.begun.load(Ordering::Acquire), self.checks.load(Ordering::Acquire))
    }
}

impl Opener<SqliteConnection> for Gated {
    fn open(&self) -> BoxFuture<'static, Result<SqliteConnection, sqlx::Error>> {
        self.begun.fetch_add(1, Ordering::AcqRel);
        let gate = Arc::clone(&self.gate);
        async move {
            gate.acquire().await.expect("it stays open").forget();
            SqliteConnection::connect("sqlite::memory:").await
        }
        .boxed()
    }

    fn check<'c>(&self, connection: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        self.checks.fetch_add(1, Ordering::AcqRel);
        match self.answers.load(Ordering::Acquire) {
            true => connection.ping().boxed(),
            false => pending().boxed(),
        }
    }
}

fn of(opener: &Gated, size: usize) -> Connections<SqliteConnection> {
    Connections::new(size, &Server::default(), CHECKED, opener.clone())
}

#[tokio::test]
async fn what_is_opening_counts_as_a_connection_for_as_long_as_it_takes() {
    let opener = Gated::with(0);
    let connections = of(&opener, 3);
    for _ in 0..10 {
        let refused = connections.lend(SHORT).await;
        assert!(matches!(refused, Err(StoreError::TryAgain(_))), "within its limit");
    }
    assert_eq!(opener.counts(), (3, 0), "openings begun");
}

#[tokio::test]
async fn a_connection_that_comes_too_late_is_the_next_callers() {
    let opener = Gated::with(0);
    let connections = of(&opener, 1);
    assert!(connections.lend(SHORT).await.is_err());
    opener.gate.add_permits(1);
    let mut lent = connections.lend(LONG).await.expect("it has opened");
    lent.get().ping().await.expect("it is good");
    lent.give_back();
    connections.lend(LONG).await.expect("it was given back");
    assert_eq!((opener.counts(), connections.opened()), ((1, 0), 1));
}

#[tokio::test]
async fn closing_ends_what_is_opening() {
    let opener = Gated::with(0);
    let connections = of(&opener, 1);
    assert!(connections.lend(SHORT).await.is_err());
    assert_eq!(Arc::strong_count(&opener.gate), 3, "it goes on");
    connections.close().await;
    assert_eq!(Arc::strong_count(&opener.gate), 2, "it has ended");
    assert!(connections.lend(SHORT).await.is_err());
}

/// Steps the clock. It goes on afterwards: SQLite has threads of its own.
async fn later(time: Duration) {
    tokio::time::pause();
    tokio::time::advance(time).await;
    tokio::time::resume();
}

/// Lends and gives back as many at once.
async fn use_at_once(connections: &Connections<SqliteConnection>, many: usize) {
    let mut lent = Vec::new();
    for _ in 0..many {
        lent.push(connections.lend(LONG).await.expect("it is good, or opens"));
    }
    lent.into_iter().for_each(Lent::give_back);
}

#[tokio::test]
async fn an_idle_connection_is_checked_after_a_while_and_closed_after_a_longer_one() {
    let opener = Gated::with(10);
    let connections = of(&opener, 1);
    use_at_once(&connections, 1).await;
    use_at_once(&connections, 1).await;
    assert_eq!(opener.counts(), (1, 0), "it was used just now");
    later(2 * CHECKED.trusted).await;
    use_at_once(&connections, 1).await;
    assert_eq!(opener.counts(), (1, 1), "checked");
    later(2 * CHECKED.kept).await;
    use_at_once(&connections, 1).await;
    assert_eq!(opener.counts(), (2, 1), "closed, and another one opened");
}

#[tokio::test]
async fn where_one_idle_connection_is_silent_no_other_one_is_tried() {
    let opener = Gated::with(20);
    let server = Server::default();
    let connections = Connections::new(5, &server, CHECKED, opener.clone());
    let others = Connections::new(5, &server, CHECKED, opener.clone());
    use_at_once(&connections, 5).await;
    use_at_once(&others, 5).await;
    opener.answers.store(false, Ordering::Release);
    later(2 * CHECKED.trusted).await;
    use_at_once(&connections, 5).await;
    use_at_once(&others, 5).await;
    assert_eq!(opener.counts(), (20, 1), "one check, and all are new");
}

#[tokio::test]
async fn where_a_connection_broke_the_idle_ones_are_checked_and_the_others_get_little_time() {
    let opener = Gated::with(10);
    let connections = of(&opener, 3);
    use_at_once(&connections, 3).await;
    let under_way = connections.lend(LONG).await.expect("it is idle");
    let suspicion = under_way.suspicion();
    drop(connections.lend(LONG).await.expect("it is idle"));
    tokio::time::pause();
    timeout(2 * AFTER_SUSPICION, suspicion).await.expect("its time is over");
    tokio::time::resume();
    under_way.give_back();
    use_at_once(&connections, 2).await;
    assert_eq!(opener.counts(), (3, 2), "the two that are left are checked");
    use_at_once(&connections, 2).await;
    assert_eq!(opener.counts(), (3, 2), "once");
}

#[tokio::test]
async fn what_was_suspect_already_makes_nothing_suspect_that_began_after_it() {
    let opener = Gated::with(10);
    let connections = of(&opener, 4);
    use_at_once(&connections, 2).await;
    let (first, second) = (connections.lend(LONG).await.expect("idle"), connections.lend(LONG).await.expect("idle"));
    drop(first);
    let later = connections.lend(LONG).await.expect("it opens");
    let (old, new) = (second.suspicion(), later.suspicion());
    drop(second);
    tokio::time::pause();
    timeout(2 * AFTER_SUSPICION, old).await.expect("it began before the first one broke");
    timeout(2 * AFTER_SUSPICION, new).await.expect_err("it began after that");
    tokio::time::resume();
}
