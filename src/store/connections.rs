//! A few connections, lent one at a time and taken back only when clean.
//!
//! A pool takes a connection back whatever state it is in; after a cancelled or
//! timed-out statement that state may be an open transaction (pitfall 48). Here a
//! connection comes back only by [`Lent::give_back`], which its user calls after a
//! clean end; in every other case, a dropped future among them, it is closed.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::Connection;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;

use super::StoreError;

/// At most `size` connections to one database.
pub struct Connections<C> {
    open: Box<dyn Fn() -> BoxFuture<'static, Result<C, sqlx::Error>> + Send + Sync>,
    idle: Mutex<Vec<C>>,
    permits: Semaphore,
    opened: AtomicU64,
}

/// A connection on loan; closed when dropped, unless given back.
pub struct Lent<'a, C: Connection> {
    home: &'a Connections<C>,
    connection: C,
    permit: SemaphorePermit<'a>,
}

/// No connection could be had within the time limit.
#[derive(Debug, thiserror::Error)]
#[error("no connection to the database within {0:?}")]
struct NoConnection(Duration);

impl<C: Connection> Connections<C> {
    /// Connections made by `open` as they are needed.
    pub fn new(
        size: usize,
        open: impl Fn() -> BoxFuture<'static, Result<C, sqlx::Error>> + Send + Sync + 'static,
    ) -> Self {
        Self {
            open: Box::new(open),
            idle: Mutex::new(Vec::new()),
            permits: Semaphore::new(size),
            opened: AtomicU64::new(0),
        }
    }

    /// Lends a connection, waiting at most `limit` for one to come free or to open.
    ///
    /// # Errors
    /// [`StoreError::TryAgain`] where none could be had: nothing was sent yet.
    pub async fn lend(&self, limit: Duration) -> Result<Lent<'_, C>, StoreError> {
        match timeout(limit, self.lend_unbounded()).await {
            Ok(lent) => lent.map_err(|error| StoreError::TryAgain(error.into())),
            Err(_) => Err(StoreError::TryAgain(NoConnection(limit).into())),
        }
    }

    async fn lend_unbounded(&self) -> Result<Lent<'_, C>, sqlx::Error> {
        let permit = self.permits.acquire().await.map_err(|_closed| sqlx::Error::PoolClosed)?;
        let idle = self.idle().pop();
        let connection = match idle {
            Some(connection) => connection,
            None => {
                let connection = (self.open)().await?;
                self.opened.fetch_add(1, Ordering::AcqRel);
                connection
            }
        };
        Ok(Lent { home: self, connection, permit })
    }

    /// How many connections were opened so far.
    pub fn opened(&self) -> u64 {
        self.opened.load(Ordering::Acquire)
    }

    /// Lends no more, and closes what is idle.
    pub async fn close(&self) {
        self.permits.close();
        let idle: Vec<C> = self.idle().drain(..).collect();
        for connection in idle {
            // A server that is gone already needs no goodbye, and none may take for ever.
            let _ = timeout(Duration::from_secs(1), connection.close()).await;
        }
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<C>> {
        self.idle.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl<C: Connection> Lent<'_, C> {
    /// The connection.
    pub fn get(&mut self) -> &mut C {
        &mut self.connection
    }

    /// Takes it back for the next user: only after a clean end, with no transaction open.
    pub fn give_back(self) {
        let Self { home, connection, permit } = self;
        if !home.permits.is_closed() {
            home.idle().push(connection);
        }
        drop(permit);
    }
}
