//! The committer: starts the lanes, watches them and stops them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, info_span};

use super::answer::Unsettled;
use super::intake::QueueIntake;
use super::lanes::{LaneContext, LeasedLane, LeasedShared, Quarantine, RowLockedLane};
use super::queue::Queues;
use super::settings::Settings;
use crate::lease::Lease;
use crate::store::Store;
use crate::telemetry::{CodeLabel, Metrics};

/// One lane writes, and the other has the next batch ready when the write is done.
const LEASED_LANES: usize = 2;

/// The queues and the lanes.
pub struct Committer {
    queues: Arc<Queues>,
    lanes: JoinSet<()>,
    readers: TaskTracker,
    release_watch: JoinHandle<()>,
}

/// A lane of the committer ended by a panic. The process must not go on serving.
#[derive(Debug, thiserror::Error)]
#[error("a lane of the committer panicked")]
pub struct Panicked(#[from] JoinError);

impl Committer {
    /// Starts two leased lanes and a row-locked one. So one leased lane decides while the other one's
    /// write is on its way.
    #[must_use]
    pub fn start(
        store: Arc<dyn Store>,
        lease: Arc<dyn Lease>,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> (Self, QueueIntake) {
        for why in Unsettled::ALL {
            // They begin at 0, so that an alarm on them sees the first one.
            drop(metrics.unsettled.get_or_create(&CodeLabel { code: why.code() }));
        }
        let late_scans = settings.late_scans;
        let queues = Arc::new(Queues::new(settings, Arc::clone(&metrics)));
        let (quarantine, readers) = (Arc::new(Quarantine::default()), TaskTracker::new());
        let context = LaneContext {
            store,
            lease: Arc::clone(&lease),
            metrics: Arc::clone(&metrics),
            queues: Arc::clone(&queues),
            quarantine,
            readers: readers.clone(),
            late_scans,
        };
        let (mut lanes, shared) = (JoinSet::new(), LeasedShared::default());
        for lane in 1..=LEASED_LANES {
            let leased = LeasedLane::new(context.clone(), shared.clone()).run();
            lanes.spawn(leased.instrument(info_span!("leased_lane", lane)));
        }
        lanes.spawn(RowLockedLane::new(context).run().instrument(info_span!("row_locked_lane")));
        let committer = Self {
            lanes,
            readers,
            release_watch: tokio::spawn(
                watch_released_leases(lease, Arc::clone(&queues)).instrument(info_span!("released_leases")),
            ),
            queues: Arc::clone(&queues),
        };
        (committer, QueueIntake::new(queues, metrics))
    }

    /// Waits until a lane ends. Before [`Committer::stop`] only a panic can cause that.
    ///
    /// # Errors
    /// [`Panicked`].
    pub async fn watch(&mut self) -> Result<(), Panicked> {
        tokio::select! {
            Some(ended) = self.lanes.join_next() => Ok(ended?),
            ended = &mut self.release_watch => Ok(ended?),
        }
    }

    /// Takes no more requests in, settles what waits, and ends. What is left at the end of `grace` is
    /// answered as unsettled.
    ///
    /// # Errors
    /// [`Panicked`].
    pub async fn stop(self, grace: Duration) -> Result<(), Panicked> {
        let Self { queues, mut lanes, readers, release_watch } = self;
        release_watch.abort();
        queues.close();
        let drained = timeout(grace, async {
            while let Some(ended) = lanes.join_next().await {
                ended?;
            }
            readers.close();
            readers.wait().await;
            Ok(())
        });
        match drained.await {
            Ok(ended) => ended,
            Err(_) => {
                queues.clear();
                lanes.abort_all();
                Ok(())
            }
        }
    }
}

async fn watch_released_leases(lease: Arc<dyn Lease>, queues: Arc<Queues>) {
    loop {
        lease.released().notified().await;
        queues.lease_released();
    }
}
