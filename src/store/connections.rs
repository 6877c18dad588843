//! A few connections. Each is lent to one user at a time, and taken back only when clean.
//!
//! A general pool takes a connection back in any state. After a cancelled or timed-out statement, that
//! may be an open transaction (pitfall 48). Here only [`Lent::give_back`] returns a connection, and its
//! user calls it after a clean end. In every other case the connection is closed, also if its future is
//! dropped.
//!
//! A connection may die while it is idle: the server restarts, another one takes its place, or its machine
//! loses power and nobody says so. So a connection that was idle for longer than [`Idleness::trusted`] is
//! checked before it is lent, and none is kept for longer than [`Idleness::kept`]. When a connection breaks,
//! all older ones of the same [`Server`] are suspect: idle ones are checked before they are lent, and
//! operations that are under way get [`AFTER_SUSPICION`] more. If such a check fails, the other idle ones are
//! closed without one: with a silent server, each check would cost its whole time limit.
//!
//! Opening a connection goes on after its caller gave up. The server may still work on it and not notice
//! that the client is gone (a commit that waits for a standby does not look). A new attempt would add
//! another session there. So the opening keeps its permit, and a later caller gets the connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use sqlx::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tracing::{Instrument as _, debug, info_span, warn};

use super::StoreError;

/// How long the check of an idle connection may take. A healthy server answers within a millisecond.
const CHECK_LIMIT: Duration = Duration::from_millis(500);
/// How much longer an operation may take after another connection broke. Nearly every healthy one
/// ends within this time. One that is cut off is done again.
const AFTER_SUSPICION: Duration = Duration::from_secs(1);

/// What is known of the server behind connections. Connections of one server share it.
#[derive(Clone)]
pub struct Server(watch::Sender<Seen>);

/// What was seen of a server until a moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Seen {
    /// How many connections broke in use that were not suspect.
    broken: u64,
    /// How many idle connections were dead.
    dead: u64,
}

impl Default for Server {
    fn default() -> Self {
        Self(watch::Sender::new(Seen::default()))
    }
}

impl Server {
    fn seen(&self) -> Seen {
        *self.0.borrow()
    }
}

/// How connections are treated that nobody uses.
#[derive(Clone, Copy, Debug)]
pub struct Idleness {
    /// A connection that was idle for longer than this is checked before it is lent.
    pub trusted: Duration,
    /// A connection that was idle for longer than this is closed.
    pub kept: Duration,
}

impl Idleness {
    /// Connections to a file, which does not go away.
    pub const HARMLESS: Self = Self { trusted: Duration::MAX, kept: Duration::MAX };
}

/// Opens and checks the connections of a set.
pub trait Opener<C>: Send + Sync + 'static {
    /// Opens one. If the database can't be reached, this must end by itself. Only [`Connections::close`]
    /// ends it early.
    fn open(&self) -> BoxFuture<'static, Result<C, sqlx::Error>>;

    /// Whether one that was idle is still good. It may fail, or never end, if it is not.
    fn check<'c>(&self, connection: &'c mut C) -> BoxFuture<'c, Result<(), sqlx::Error>>;
}

/// At most `size` connections to one database. Those that are opening count too.
pub struct Connections<C> {
    opener: Box<dyn Opener<C>>,
    shelf: Arc<Shelf<C>>,
    /// The tasks that open connections. They end when this is dropped.
    openings: Mutex<JoinSet<()>>,
    opened: AtomicU64,
}

/// The idle connections and the free permits. There are never more idle connections than free permits. So
/// a connection is opened only if none is idle.
struct Shelf<C> {
    idle: Mutex<Vec<Idle<C>>>,
    idleness: Idleness,
    size: usize,
    permits: Arc<Semaphore>,
    server: Server,
}

/// A connection that nobody uses now.
struct Idle<C> {
    connection: C,
    since: Instant,
    /// From before its last good answer.
    seen: Seen,
    /// Opened after its caller gave up, and not used yet.
    is_new: bool,
}

/// A lent connection. It is closed when dropped, unless it is given back.
pub struct Lent<'a, C: Connection> {
    home: &'a Shelf<C>,
    /// `None` once it is given back.
    connection: Option<C>,
    permit: Option<OwnedSemaphorePermit>,
    /// When it was lent.
    seen: Seen,
    /// What was seen since then.
    later: watch::Receiver<Seen>,
}

/// The result of an opening, and its permit.
type Opened<C> = (Result<C, sqlx::Error>, OwnedSemaphorePermit);

/// No connection could be had within the time limit.
#[derive(Debug, thiserror::Error)]
#[error("no connection to the database within {0:?}")]
struct NoConnection(Duration);

impl<C: Connection + 'static> Connections<C> {
    /// Connections to this server, opened when they are needed.
    pub fn new(size: usize, server: &Server, idleness: Idleness, opener: impl Opener<C>) -> Self {
        let (idle, permits) = (Mutex::default(), Arc::new(Semaphore::new(size)));
        Self {
            opener: Box::new(opener),
            shelf: Arc::new(Shelf { idle, idleness, size, permits, server: server.clone() }),
            openings: Mutex::default(),
            opened: AtomicU64::new(0),
        }
    }

    /// Lends a connection. Waits at most `limit` until one is free or has opened.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] if none was free and none opened. Nothing was sent yet.
    pub async fn lend(&self, limit: Duration) -> Result<Lent<'_, C>, StoreError> {
        match timeout(limit, self.lend_unbounded()).await {
            Ok(lent) => lent.map_err(|error| StoreError::TryAgain(error.into())),
            Err(_) => Err(StoreError::TryAgain(NoConnection(limit).into())),
        }
    }

    async fn lend_unbounded(&self) -> Result<Lent<'_, C>, sqlx::Error> {
        let permit = Arc::clone(&self.shelf.permits).acquire_owned().await.map_err(|_| sqlx::Error::PoolClosed)?;
        let lent = |connection, permit, seen| {
            let (connection, permit) = (Some(connection), Some(permit));
            Lent { home: &self.shelf, connection, permit, seen, later: self.shelf.server.0.subscribe() }
        };
        if let Some(Idle { connection, seen, is_new, .. }) = self.good_idle().await {
            self.opened.fetch_add(u64::from(is_new), Ordering::AcqRel);
            return Ok(lent(connection, permit, seen));
        }
        let seen = self.shelf.server.seen();
        let (opened, permit) = self.opening(permit).await.map_err(|_ended| sqlx::Error::PoolClosed)?;
        let connection = opened?;
        self.opened.fetch_add(1, Ordering::AcqRel);
        Ok(lent(connection, permit, seen))
    }

    /// An idle connection that is good. The others that are found are closed.
    async fn good_idle(&self) -> Option<Idle<C>> {
        let Shelf { idleness, server, .. } = &*self.shelf;
        loop {
            let mut idle = self.shelf.idle().pop()?;
            let (idle_for, now) = (idle.since.elapsed(), server.seen());
            if idle_for > idleness.kept || idle.seen.dead != now.dead {
                continue;
            }
            if idle_for <= idleness.trusted && idle.seen == now {
                return Some(idle);
            }
            match timeout(CHECK_LIMIT, self.opener.check(&mut idle.connection)).await {
                Ok(Ok(())) => return Some(Idle { seen: now, ..idle }),
                Ok(Err(error)) => debug!(%error, "an idle connection to the database is dead"),
                Err(_) => debug!("an idle connection to the database does not answer"),
            }
            server.0.send_modify(|seen| seen.dead += 1);
        }
    }

    /// Opens one connection, in a task that goes on if its caller gives up.
    fn opening(&self, permit: OwnedSemaphorePermit) -> oneshot::Receiver<Opened<C>> {
        let (opening, shelf) = (self.opener.open(), Arc::clone(&self.shelf));
        let (done, awaited) = oneshot::channel();
        let open = async move {
            if let Err((late, permit)) = done.send((opening.await, permit)) {
                shelf.take_in(late, permit);
            }
        };
        let mut openings = self.openings.lock().unwrap_or_else(PoisonError::into_inner);
        while openings.try_join_next().is_some() {}
        openings.spawn(open.instrument(info_span!("task", name = "opening")));
        awaited
    }

    /// Whether there is a connection, idle or lent.
    pub fn has_any(&self) -> bool {
        let Shelf { permits, size, .. } = &*self.shelf;
        permits.available_permits() < *size || !self.shelf.idle().is_empty()
    }

    /// How many connections were used for the first time. A new one may lead to another server, however
    /// long it was idle before.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Lends no more, closes the idle connections, and ends those that are opening.
    pub async fn close(&self) {
        self.shelf.permits.close();
        let mut openings = std::mem::take(&mut *self.openings.lock().unwrap_or_else(PoisonError::into_inner));
        openings.shutdown().await;
        let idle = std::mem::take(&mut *self.shelf.idle());
        // If the server is gone, closing may hang, so all of them together get one second.
        let closing = idle.into_iter().map(|idle| idle.connection.close());
        let _ = timeout(Duration::from_secs(1), join_all(closing)).await;
    }
}

impl<C> Shelf<C> {
    fn idle(&self) -> MutexGuard<'_, Vec<Idle<C>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, connection: C, seen: Seen, is_new: bool) {
        self.idle().push(Idle { connection, since: Instant::now(), seen, is_new });
    }

    /// Takes the result of an opening whose caller gave up.
    fn take_in(&self, late: Result<C, sqlx::Error>, permit: OwnedSemaphorePermit) {
        match late {
            Ok(connection) if !self.permits.is_closed() => self.put(connection, self.server.seen(), true),
            Ok(_) => {}
            Err(error) => warn!(%error, "a connection to the database did not open"),
        }
        drop(permit);
    }
}

impl<C: Connection> Lent<'_, C> {
    /// The connection.
    pub fn get(&mut self) -> &mut C {
        self.connection.as_mut().expect("it is given back only at the end")
    }

    /// Ends some time after another connection of the same server broke.
    pub fn suspicion(&self) -> impl Future<Output = ()> + Send + use<C> {
        let mut later = self.later.clone();
        async move {
            match later.changed().await {
                Ok(()) => sleep(AFTER_SUSPICION).await,
                Err(_closed) => std::future::pending().await,
            }
        }
    }

    /// Returns it for the next user. Call this only after a clean end, with no transaction open.
    pub fn give_back(mut self) {
        let Some(connection) = self.connection.take() else { return };
        if !self.home.permits.is_closed() {
            self.home.put(connection, self.seen, false);
        }
    }
}

impl<C: Connection> Drop for Lent<'_, C> {
    fn drop(&mut self) {
        // First the connection, then the place for another one.
        if self.connection.take().is_some() {
            // One that was suspect already tells nothing new. Else, on a slow server, each operation that is
            // cut off would cut off those that began after it, without end.
            self.home.server.0.send_if_modified(|now| {
                let is_news = now.broken == self.seen.broken;
                now.broken += u64::from(is_news);
                is_news
            });
        }
        self.permit.take();
    }
}

#[cfg(test)]
mod tests;
