//! The tasks of the alarms in a running service: the watch, the outbox, and one dispatch per channel.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::channels::Channels;
use super::dispatch::Dispatch;
use super::outbox::{self, Queue};
use super::senders::Sender;
use super::step::{caught, every};
use super::watch::{WATCH_EVERY, Watch};
use crate::clock::now;
use crate::store::alarms::AlarmStore;
use crate::telemetry::Metrics;

/// How long a stopping service waits for messages that are being sent.
const STOP_LIMIT: Duration = Duration::from_secs(1);

/// The alarms of a running service.
pub struct Alarms {
    tasks: Vec<(String, JoinHandle<()>)>,
}

impl Alarms {
    /// Starts the watch, the outbox, and a dispatch for each sender. They run until `stop`.
    #[must_use]
    pub fn start(
        watch: Watch,
        store: Arc<dyn AlarmStore>,
        senders: &[Arc<Sender>],
        channels: Arc<Channels>,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> Self {
        let new_messages = Arc::new(Notify::new());
        let mut tasks = Vec::new();
        let mut queues = Vec::new();
        for sender in senders {
            let dispatch = Dispatch::new(Arc::clone(&store), Arc::clone(sender), watch.holder(), Arc::clone(&metrics));
            let queue = Queue { dispatch, wake: Arc::new(Notify::new()) };
            let name = format!("dispatch {}", queue.dispatch.channel());
            queues.push(queue.clone());
            tasks.push((name, tokio::spawn(outbox::send(queue, stop.clone()))));
        }
        let poll = outbox::poll(store, queues, channels, metrics, Arc::clone(&new_messages), stop.clone());
        tasks.push(("outbox".to_owned(), tokio::spawn(poll)));
        tasks.push(("watch".to_owned(), tokio::spawn(run_watch(watch, new_messages, stop))));
        Self { tasks }
    }

    /// Waits until the tasks have stopped, for a bounded time. A message that is being sent then is
    /// sent again after the next start, under the same message id.
    pub async fn stopped(self) {
        let deadline = Instant::now() + STOP_LIMIT;
        for (task, mut handle) in self.tasks {
            match timeout_at(deadline, &mut handle).await {
                Ok(Ok(())) => {}
                Ok(Err(failed)) => error!(task, cause = %failed, "a task of the alarms had failed before the stop"),
                Err(_) => {
                    handle.abort();
                    info!(
                        task,
                        "a task of the alarms was stopped while it was sending; it sends again after the next start"
                    );
                }
            }
        }
    }
}

async fn run_watch(mut watch: Watch, new_messages: Arc<Notify>, stop: CancellationToken) {
    let mut ticks = every(WATCH_EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        if let Some(step) = caught("watch", watch.step(now())).await
            && step.has_told()
        {
            new_messages.notify_one();
        }
    }
}
