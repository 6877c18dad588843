//! Counting: from a typed request to an answer that is on disk.
//!
//! Requests wait in the [`queue`], per work order; the committer takes all that
//! waits, of all work orders, and settles it in one commit. While one commit is on its
//! way the next batch gathers: no timer, no added delay. It has two kinds of lanes: [`lanes::leased`]
//! compares stamps and never waits for a row; [`lanes::row_locked`] locks rows first, for work
//! orders without a lease and for those whose write came too late.

mod batch;
mod lanes;

mod memory;
mod queue;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::{JoinError, JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::{Instrument as _, info_span};

use crate::domain::ids::{Principal, WorkOrderNumber};
use crate::domain::request::Request;
use crate::domain::update::Update;
use crate::lease::Lease;
use crate::store::Store;
use crate::telemetry::{CodeLabel, Metrics};
use lanes::leased::LeasedLane;
use lanes::row_locked::RowLockedLane;
use lanes::{LaneContext, Quarantine};
use queue::{Chain, Mailbox, Waiting};

/// What became of a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// It is decided: counted or refused for good, by this request or an earlier equal one.
    Decided {
        /// The row of the log.
        update: Arc<Update>,
        /// Whether it was decided before this request came.
        replayed: bool,
        /// The update that counted the barcode, where that is why it was refused.
        original: Option<Arc<Update>>,
    },
    /// The request id is decided for another request.
    KeyReused {
        /// The update of that other request.
        update: Arc<Update>,
        /// The fields that differ.
        differs: Vec<&'static str>,
    },
    /// There is no such work order.
    WorkOrderUnknown,
    /// It is not decided, or not known to be: to be sent again under the same id.
    Unsettled(Unsettled),
}

/// Why a request is left undecided.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsettled {
    /// The queue is full.
    Overloaded,
    /// The store did not answer in time.
    StorageUnavailable,
    /// Redis is away and the fallback is `refuse`.
    LeaseUnavailable,
    /// The service is about to stop.
    ShuttingDown,
    /// An earlier item of its work order and terminal in the batch is left undecided.
    EarlierItemPending,
    /// The work order's row lags its log.
    WorkOrderQuarantined,
}

impl Unsettled {
    /// Every reason.
    pub const ALL: [Self; 6] = [
        Self::Overloaded,
        Self::StorageUnavailable,
        Self::LeaseUnavailable,
        Self::ShuttingDown,
        Self::EarlierItemPending,
        Self::WorkOrderQuarantined,
    ];

    /// The problem's code (contract, section 4).
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::Overloaded => "overloaded",
            Self::StorageUnavailable => "storage-unavailable",
            Self::LeaseUnavailable => "lease-unavailable",
            Self::ShuttingDown => "shutting-down",
            Self::EarlierItemPending => "earlier-item-pending",
            Self::WorkOrderQuarantined => "work-order-quarantined",
        }
    }
}

/// Takes requests to be counted.
pub trait Counter: Send + Sync + 'static {
    /// Hands in the requests of one call, in order. Requests of one work order and
    /// terminal are settled in that order: once one of them is left unsettled, so are the
    /// later ones. Each receiver gets exactly one answer, within a bounded time, whether or
    /// not anybody waits for it; a request handed in goes on when its receiver is dropped.
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>>;
}

/// The bounds of counting.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most requests that wait in all; beyond that `overloaded`.
    pub queue: usize,
    /// Most requests that wait for one work order.
    pub queue_per_work_order: usize,
    /// Most requests in one commit.
    pub batch: usize,
    /// How long a request may wait before it is answered as unsettled. Kept well below
    /// the limit of a whole request, so that the answer still finds its way.
    pub answer_within: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self { queue: 20_000, queue_per_work_order: 5_000, batch: 512, answer_within: Duration::from_secs(10) }
    }
}

/// One that writes, and one that has the next batch ready when that is done.
const LEASED_LANES: usize = 2;

/// The committer: the mailbox and its lanes.
pub struct Committer {
    mailbox: Arc<Mailbox>,
    lanes: JoinSet<()>,
    readers: TaskTracker,
    freed: JoinHandle<()>,
}

/// Hands requests to the committer; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
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
        let (mut lanes, shared) = (JoinSet::new(), lanes::leased::Shared::default());
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
        (committer, Intake { mailbox, metrics })
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

impl Counter for Intake {
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>> {
        let alone = requests.len() == 1;
        let mut chains: HashMap<(WorkOrderNumber, Option<String>), (Arc<Chain>, usize)> = HashMap::new();
        let mut receivers = Vec::with_capacity(requests.len());
        let mut posted = Vec::with_capacity(requests.len());
        for request in requests {
            let link = (!alone).then(|| {
                let key = (request.work_order.clone(), request.terminal.clone());
                let (chain, place) = chains.entry(key).or_insert_with(|| (Chain::new(), 0));
                *place += 1;
                chain.link(*place)
            });
            let (reply, receiver) = oneshot::channel();
            posted.push(Waiting::new(request, principal.clone(), link, reply, Arc::clone(&self.metrics)));
            receivers.push(receiver);
        }
        self.mailbox.post(posted);
        receivers
    }
}

async fn hear_of_freed(lease: Arc<dyn Lease>, mailbox: Arc<Mailbox>) {
    loop {
        lease.freed().notified().await;
        mailbox.freed();
    }
}
