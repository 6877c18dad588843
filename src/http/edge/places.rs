//! The places for connections, and those that are kept for health and metrics.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

/// Connections beyond the limit, for health and metrics.
pub(in crate::http) const KEPT: usize = 64;
/// How long such a connection may be idle, and how long it may take for a head: there are few of them.
pub(super) const KEPT_PATIENCE: Duration = Duration::from_secs(2);
/// The time between two lines of the log that say that all connections are used.
const LINE_EVERY: Duration = Duration::from_secs(10);

/// A place for a connection; free again when dropped.
pub(super) struct Place {
    /// Whether it is one of those that are kept for health and metrics.
    pub only_health: Option<OnlyHealth>,
    _permit: OwnedSemaphorePermit,
}

/// Marks the requests of a connection that has a kept place.
#[derive(Clone, Copy, Debug)]
pub(super) struct OnlyHealth;

/// The places of a service.
pub(super) struct Places {
    usual: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    told: Option<Instant>,
}

impl Places {
    pub fn new(usual: usize) -> Self {
        Self { usual: Arc::new(Semaphore::new(usual)), kept: Arc::new(Semaphore::new(KEPT)), told: None }
    }

    /// Waits until there is one. Only one task takes them, so it is still there afterwards.
    pub async fn wait(&self) {
        tokio::select! {
            _ = self.usual.acquire() => {}
            _ = self.kept.acquire() => {}
        }
    }

    pub fn take(&mut self) -> Option<Place> {
        if let Ok(permit) = Arc::clone(&self.usual).try_acquire_owned() {
            return Some(Place { only_health: None, _permit: permit });
        }
        if self.told.is_none_or(|told| told.elapsed() >= LINE_EVERY) {
            self.told = Some(Instant::now());
            tracing::warn!("all connections are used (max-connections): further clients get 503, health is answered");
        }
        let permit = Arc::clone(&self.kept).try_acquire_owned().ok()?;
        Some(Place { only_health: Some(OnlyHealth), _permit: permit })
    }
}
