//! A few connections. Each is lent to one user at a time, and taken back only when clean.
//!
//! A general pool takes a connection back in any state. After a cancelled or timed-out statement, that
//! may be an open transaction (pitfall 48). Here only [`Lent::give_back`] returns a connection, and its
//! user calls it after a clean end. In every other case the connection is closed, also if its future is
//! dropped.
//!
//! Opening a connection goes on after its caller gave up. The server may still work on it and not notice
//! that the client is gone (a commit that waits for a standby does not look). A new attempt would add
//! another session there. So the opening keeps its permit, and a later caller gets the connection.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument as _, info_span, warn};

use super::StoreError;

/// At most `size` connections to one database. Those that are opening count too.
pub struct Connections<C> {
    open: Box<dyn Fn() -> BoxFuture<'static, Result<C, sqlx::Error>> + Send + Sync>,
    shelf: Arc<Shelf<C>>,
    /// The tasks that open connections. They end when this is dropped.
    openings: Mutex<JoinSet<()>>,
    opened: AtomicU64,
}

/// The idle connections and the free permits. There are never more idle connections than free permits. So
/// a connection is opened only if none is idle.
struct Shelf<C> {
    idle: Mutex<Idle<C>>,
    permits: Arc<Semaphore>,
}

/// Connections that nobody uses now.
struct Idle<C> {
    given_back: Vec<C>,
    /// Opened after their callers gave up, and not used yet.
    unused: Vec<C>,
}

/// A lent connection. It is closed when dropped, unless it is given back.
pub struct Lent<'a, C: Connection> {
    home: &'a Shelf<C>,
    connection: C,
    permit: OwnedSemaphorePermit,
}

/// The result of an opening, and its permit.
type Opened<C> = (Result<C, sqlx::Error>, OwnedSemaphorePermit);

/// No connection could be had within the time limit.
#[derive(Debug, thiserror::Error)]
#[error("no connection to the database within {0:?}")]
struct NoConnection(Duration);

impl<C: Connection + 'static> Connections<C> {
    /// Connections that `open` makes when they are needed. If the database can't be reached, `open` must
    /// end by itself. Only [`Connections::close`] ends it early.
    pub fn new(
        size: usize,
        open: impl Fn() -> BoxFuture<'static, Result<C, sqlx::Error>> + Send + Sync + 'static,
    ) -> Self {
        let idle = Mutex::new(Idle { given_back: Vec::new(), unused: Vec::new() });
        Self {
            open: Box::new(open),
            shelf: Arc::new(Shelf { idle, permits: Arc::new(Semaphore::new(size)) }),
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
        let given_back = self.shelf.idle().given_back.pop();
        if let Some(connection) = given_back {
            return Ok(Lent { home: &self.shelf, connection, permit });
        }
        let unused = self.shelf.idle().unused.pop();
        let (connection, permit) = match unused {
            Some(connection) => (connection, permit),
            None => {
                let (opened, permit) = self.opening(permit).await.map_err(|_ended| sqlx::Error::PoolClosed)?;
                (opened?, permit)
            }
        };
        self.opened.fetch_add(1, Ordering::AcqRel);
        Ok(Lent { home: &self.shelf, connection, permit })
    }

    /// Opens one connection, in a task that goes on if its caller gives up.
    fn opening(&self, permit: OwnedSemaphorePermit) -> oneshot::Receiver<Opened<C>> {
        let (opening, shelf) = ((self.open)(), Arc::clone(&self.shelf));
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
        let idle = {
            let mut idle = self.shelf.idle();
            let Idle { given_back, unused } = &mut *idle;
            given_back.drain(..).chain(unused.drain(..)).collect::<Vec<C>>()
        };
        for connection in idle {
            // If the server is gone, closing may hang, so it gets one second.
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
        }
    }
}

impl<C> Shelf<C> {
    fn idle(&self) -> MutexGuard<'_, Idle<C>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the result of an opening whose caller gave up.
    fn take_in(&self, late: Result<C, sqlx::Error>, permit: OwnedSemaphorePermit) {
        match late {
            Ok(connection) if !self.permits.is_closed() => self.idle().unused.push(connection),
            Ok(_) => {}
            Err(error) => warn!(%error, "a connection to the database did not open"),
        }
        drop(permit);
    }
}

impl<C: Connection> Lent<'_, C> {
    /// The connection.
    pub fn get(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Returns it for the next user. Call this only after a clean end, with no transaction open.
    pub fn give_back(self) {
        let Self { home, connection, permit } = self;
        if !home.permits.is_closed() {
            home.idle().given_back.push(connection);
        }
        drop(permit);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::atomic::AtomicUsize;

    use futures_util::FutureExt as _;
    use sqlx::SqliteConnection;

    use super::*;

    const SHORT: Duration = Duration::from_millis(10);
    const LONG: Duration = Duration::from_secs(10);

    /// In-memory databases. Each permit of the gate lets one open. The number counts the openings that
    /// began.
    fn gated(size: usize) -> (Connections<SqliteConnection>, Arc<Semaphore>, Arc<AtomicUsize>) {
        let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
        let connections = Connections::new(size, {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            move || {
                begun.fetch_add(1, Ordering::AcqRel);
                let gate = Arc::clone(&gate);
                async move {
                    gate.acquire().await.expect("it stays open").forget();
                    SqliteConnection::connect("sqlite::memory:").await
                }
                .boxed()
            }
        });
        (connections, gate, begun)
    }

    #[tokio::test]
    async fn what_is_opening_counts_as_a_connection_for_as_long_as_it_takes() {
        let (connections, _gate, begun) = gated(3);
        for _ in 0..10 {
            let refused = connections.lend(SHORT).await;
            assert!(matches!(refused, Err(StoreError::TryAgain(_))), "within its limit");
        }
        assert_eq!(begun.load(Ordering::Acquire), 3, "openings begun");
    }

    #[tokio::test]
    async fn a_connection_that_comes_too_late_is_the_next_callers() {
        let (connections, gate, begun) = gated(1);
        assert!(connections.lend(SHORT).await.is_err());
        gate.add_permits(1);
        let mut lent = connections.lend(LONG).await.expect("it has opened");
        lent.get().ping().await.expect("it is good");
        lent.give_back();
        connections.lend(LONG).await.expect("it was given back");
        assert_eq!((begun.load(Ordering::Acquire), connections.opened()), (1, 1));
    }

    #[tokio::test]
    async fn closing_ends_what_is_opening() {
        let alive = Arc::new(());
        let connections = Connections::<SqliteConnection>::new(1, {
            let alive = Arc::clone(&alive);
            move || {
                let alive = Arc::clone(&alive);
                async move {
                    let _alive = alive;
                    pending().await
                }
                .boxed()
            }
        });
        assert!(connections.lend(SHORT).await.is_err());
        assert_eq!(Arc::strong_count(&alive), 3, "it goes on");
        connections.close().await;
        assert_eq!(Arc::strong_count(&alive), 2, "it has ended");
        assert!(connections.lend(SHORT).await.is_err());
    }
}
