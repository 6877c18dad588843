//! The committer: starts the lanes, watches them and stops them.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, info_span};

use super::answer::Unsettled;
use super::intake::Intake;
use super::lanes::{LaneContext, LeasedLane, Quarantine, RowLockedLane, Shared};
use super::queue::Mailbox;
use super::settings::Settings;
use crate::lease::Lease;
use crate::store::Store;
use crate::telemetry::{CodeLabel, Metrics};

/// One that writes, and one that has the next batch ready when that is done.
const LEASED_LANES: usize = 2;

/// The committer: the mailbox and its lanes.
pub struct Committer {
    mailbox: Arc<Mailbox>,
    lanes: JoinSet<()>,
    readers: TaskTracker,
    freed: JoinHandle<()>,
}

/// A lane of the committer ended by a panic: the process must not go on serving.
#[derive(Debug, thiserror::Error)]
#[error("a lane of the committer panicked")]
pub struct Panicked(#[from] JoinError);

impl Committer {
    /// Starts the lanes: two under leases, so that one decides while the other's write is on
    /// its way, and one by row locks.
    #[must_use]
    pub fn start(
        store: Arc<dyn Store>,
        lease: Arc<dyn Lease>,
        metrics: Arc<Metrics>,
        settings: Settings,
    ) -> (Self, Intake) {
        for why in Unsettled::ALL {
            // From 0, so that an alarm on it sees the first one rise.
            drop(metrics.unsettled.get_or_create(&CodeLabel { code: why.code() }));
        }
        let mailbox = Arc::new(Mailbox::new(settings, Arc::clone(&metrics)));
        let (quarantine, readers) = (Arc::new(Quarantine::default()), TaskTracker::new());
        let context = LaneContext {
            store,
            lease: Arc::clone(&lease),
            metrics: Arc::clone(&metrics),
            mailbox: Arc::clone(&mailbox),
            quarantine,
            readers: readers.clone(),
        };
        let (mut lanes, shared) = (JoinSet::new(), Shared::default());
        for lane in 1..=LEASED_LANES {
            let leased = LeasedLane::new(context.clone(), shared.clone()).run();
            lanes.spawn(leased.instrument(info_span!("leased_lane", lane)));
        }
        lanes.spawn(RowLockedLane::new(context).run().instrument(info_span!("row_locked_lane")));
        let committer = Self {
            lanes,
            readers,
            freed: tokio::spawn(hear_of_freed(lease, Arc::clone(&mailbox)).instrument(info_span!("freed"))),
            mailbox: Arc::clone(&mailbox),
        };
        (committer, Intake::new(mailbox, metrics))
    }

    /// Waits until a lane ends, which before [`Committer::stop`] only a panic can cause.
    ///
    /// # Errors
    /// [`Panicked`].
    pub async fn watch(&mut self) -> Result<(), Panicked> {
        tokio::select! {
            Some(ended) = self.lanes.join_next() => Ok(ended?),
            ended = &mut self.freed => Ok(ended?),
        }
    }

    /// Takes nothing in any more, settles what waits, and ends; what is left at the
    /// end of `grace` is answered as unsettled.
    ///
    /// # Errors
    /// [`Panicked`].
    pub async fn stop(self, grace: Duration) -> Result<(), Panicked> {
        let Self { mailbox, mut lanes, readers, freed } = self;
        freed.abort();
        mailbox.close();
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
                mailbox.clear();
                lanes.abort_all();
                Ok(())
            }
        }
    }
}

async fn hear_of_freed(lease: Arc<dyn Lease>, mailbox: Arc<Mailbox>) {
    loop {
        lease.freed().notified().await;
        mailbox.freed();
    }
}
