//! Alarms: what is wrong is compared with what was told, and the difference goes out.
//!
//! In reading order: [`watch`] compares, every few seconds, on one replica at a time, and
//! puts messages into the outbox; [`courier`], one per channel, brings them out of it;
//! [`wording`] finds the words. All of it lives beside counting, over connections of its
//! own, and nothing waits for it: a channel that hangs holds up neither a scan nor another
//! channel.

pub mod dispatch;
pub mod senders;
pub mod watch;
pub mod wording;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt as _;
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::dispatch::{Dispatch, Stepped};
use self::senders::Sender;
use self::watch::Watch;
use crate::domain::time::Timestamp;
use crate::store::alarms::AlarmStore;
use crate::telemetry::Metrics;

/// How often what is wrong is looked at: an alarm is for people, who take longer.
pub const WATCH_EVERY: Duration = Duration::from_secs(10);
/// How often the outbox is looked at for messages that another replica put there.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long a service that has stopped counting waits for messages on their way.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// The alarms of a running service.
pub struct Alarms {
    tasks: Vec<(String, JoinHandle<()>)>,
}

/// How the channels do, for `/readyz`.
#[derive(Debug, Default)]
pub struct Channels(RwLock<Vec<String>>);

impl Channels {
    /// The channels whose last attempt failed.
    #[must_use]
    pub fn failing(&self) -> Vec<String> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, failing: Vec<String>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = failing;
    }
}

impl Alarms {
    /// Starts watching, and a courier for each sender; until `stop`.
    #[must_use]
    pub fn start(
        mut watch: Watch,
        store: Arc<dyn AlarmStore>,
        senders: &[Arc<Sender>],
        channels: Arc<Channels>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        let wake = Arc::new(Notify::new());
        let mut tasks = Vec::new();
        let mut couriers = Vec::new();
        for sender in senders {
            let courier = Dispatch::new(Arc::clone(&store), Arc::clone(sender), watch.holder(), Arc::clone(&metrics));
            let poke = Arc::new(Notify::new());
            let name = format!("courier {}", courier.channel());
            couriers.push((courier.clone(), Arc::clone(&poke)));
            tasks.push((name, tokio::spawn(carry(courier, poke, stop.clone()))));
        }
        let look = look(store, couriers, channels, metrics, Arc::clone(&wake), stop.clone());
        tasks.push(("outbox".to_owned(), tokio::spawn(look)));
        let until = stop.clone();
        let watching = async move {
            let mut turn = every(WATCH_EVERY);
            while until.run_until_cancelled(turn.tick()).await.is_some() {
                if let Some(step) = unharmed("the watch", watch.step(now())).await
                    && step.has_told()
                {
                    wake.notify_one();
                }
            }
        };
        tasks.push(("watch".to_owned(), tokio::spawn(watching)));
        Self { tasks }
    }

    /// Waits, once it is to stop, until it has, within a bounded time. What is on its way
    /// then is sent again after the next start, under the same message id.
    pub async fn stopped(self) {
        let deadline = tokio::time::Instant::now() + STOP_LIMIT;
        for (name, mut task) in self.tasks {
            match timeout_at(deadline, &mut task).await {
                Ok(Ok(())) => {}
                Ok(Err(failed)) => error!(cause = %failed, "{name} had ended"),
                Err(_) => {
                    task.abort();
                    info!("{name} was cut off");
                }
            }
        }
    }
}

/// Brings messages whenever there may be some, one after the other.
async fn carry(courier: Dispatch, poke: Arc<Notify>, stop: CancellationToken) {
    while stop.run_until_cancelled(poke.notified()).await.is_some() {
        let mut more = true;
        while more && !stop.is_cancelled() {
            // Once begun, an attempt is not cut off here: it ends by its own limits.
            more = match unharmed("a courier", courier.step(now())).await {
                Some(Ok(Stepped::Delivered)) => true,
                Some(Ok(Stepped::Nothing | Stepped::Failed)) | None => false,
                Some(Err(error)) => {
                    warn!(channel = courier.channel(), cause = %error, "the outbox can't be used");
                    false
                }
            };
        }
    }
}

/// Looks at all lines at once, shows how they do, and pokes the couriers that have work.
async fn look(
    store: Arc<dyn AlarmStore>,
    couriers: Vec<(Dispatch, Arc<Notify>)>,
    channels: Arc<Channels>,
    metrics: Arc<Metrics>,
    wake: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut turn = every(LOOK_EVERY);
    loop {
        let next = async {
            tokio::select! {
                _ = turn.tick() => {}
                () = wake.notified() => {}
            }
        };
        if couriers.is_empty() || stop.run_until_cancelled(next).await.is_none() {
            return;
        }
        // While the store fails there is nothing to say of its lines; the watch sees that it does.
        let Ok(lines) = store.lines().await else { continue };
        let mut failing = Vec::new();
        for (courier, poke) in &couriers {
            let found = lines.iter().find(|line| line.channel == courier.channel());
            let (waiting, fails) = found.map_or((0, false), |found| (found.waiting, found.line.failures > 0));
            metrics.alarm_channel(courier.channel(), waiting, fails);
            if fails {
                failing.push(courier.channel().to_owned());
            }
            if found.is_some_and(|found| found.waiting > 0 && courier.may_send(&found.line, now())) {
                poke.notify_one();
            }
        }
        channels.set(failing);
    }
}

/// Runs one step. A panic in it ends the step and not the watch over the plant.
async fn unharmed<T>(what: &'static str, step: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(done) => Some(done),
        Err(_) => {
            error!("{what} panicked and goes on with the next step");
            None
        }
    }
}

fn every(period: Duration) -> tokio::time::Interval {
    let mut turn = interval(period);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    turn
}

fn now() -> Timestamp {
    Timestamp::cut(Utc::now()).expect("the clock stands between the years 1 and 9999")
}
