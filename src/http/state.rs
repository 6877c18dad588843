//! What every handler works with: the parts of the service, limits, and the stop signal.

use std::sync::Arc;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::edge::access::Access;
use super::edge::limits::Limits;
use super::first_senders::ReplayCheck;
use super::readiness::LastReadiness;
use crate::alarms::{Channels, WeakKeys};
use crate::counting::ScanIntake;
use crate::lease::Lease;
use crate::monitor::Monitor;
use crate::store::Store;
use crate::telemetry::Metrics;

/// What the HTTP layer works with.
pub struct Http {
    pub(super) counter: Arc<dyn ScanIntake>,
    pub(super) store: Arc<dyn Store>,
    pub(super) lease: Arc<dyn Lease>,
    pub(super) monitor: Arc<Monitor>,
    pub(super) channels: Arc<Channels>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) replays: ReplayCheck,
    pub(super) access: Access,
    pub(super) limits: Limits,
    /// Cancelled when the service is to stop.
    pub(super) stop: CancellationToken,
    /// Requests that go on even if their client has left. Not among them: the scans and
    /// corrections of [`COUNTING`](super::routes::COUNTING), which the committer finishes.
    pub(super) tasks: TaskTracker,
    pub(super) in_flight: Arc<Semaphore>,
    pub(super) readiness: LastReadiness,
}

/// The parts that the HTTP layer answers from.
pub struct Parts {
    /// Counts scans.
    pub counter: Arc<dyn ScanIntake>,
    /// Work orders and updates.
    pub store: Arc<dyn Store>,
    /// Which replica works on which work order.
    pub lease: Arc<dyn Lease>,
    /// Checks and repairs.
    pub monitor: Arc<Monitor>,
    /// The state of the channels that alarms are sent on.
    pub channels: Arc<Channels>,
    /// Where suspicious replays are counted for the alarms.
    pub weak_keys: Arc<WeakKeys>,
    /// The service's metrics.
    pub metrics: Arc<Metrics>,
}

impl Http {
    /// The HTTP layer over these parts. `stop` is cancelled when the service is to stop.
    #[must_use]
    pub fn new(parts: Parts, access: Access, limits: Limits, stop: CancellationToken) -> Arc<Self> {
        let Parts { counter, store, lease, monitor, channels, weak_keys, metrics } = parts;
        Arc::new(Self {
            counter,
            store,
            lease,
            monitor,
            channels,
            replays: ReplayCheck::new(Arc::clone(&metrics), weak_keys),
            metrics,
            access,
            limits,
            stop,
            tasks: TaskTracker::new(),
            in_flight: Arc::new(Semaphore::new(limits.in_flight)),
            readiness: LastReadiness::default(),
        })
    }
}
