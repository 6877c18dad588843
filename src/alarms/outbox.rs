//! Watches the queues of all channels, and wakes the dispatch of a channel that has messages to send.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::channels::Channels;
use super::dispatch::{Dispatch, Stepped};
use super::step::{caught, every};
use crate::clock::now;
use crate::store::alarms::AlarmStore;
use crate::telemetry::Metrics;

/// How often the queues are read. Another replica may have added messages.
const POLL_EVERY: Duration = Duration::from_secs(2);

/// The queue of one channel: what sends it, and what wakes that.
#[derive(Clone)]
pub(super) struct Queue {
    pub(super) dispatch: Dispatch,
    pub(super) wake: Arc<Notify>,
}

/// Sends the messages of one channel, one after the other, whenever it is woken.
pub(super) async fn send(Queue { dispatch, wake }: Queue, stop: CancellationToken) {
    while stop.run_until_cancelled(wake.notified()).await.is_some() {
        let mut more = true;
        while more && !stop.is_cancelled() {
            // A running attempt is not interrupted here. It has limits of its own.
            more = match caught("dispatch", dispatch.step(now())).await {
                Some(Ok(Stepped::Delivered)) => true,
                Some(Ok(Stepped::Nothing | Stepped::Failed)) | None => false,
                Some(Err(error)) => {
                    let channel = dispatch.channel();
                    warn!(channel, cause = %error, "the queue of a channel can't be read or written; retry in {POLL_EVERY:?}");
                    false
                }
            };
        }
    }
}

/// Reads all queues at once, shows how the channels do, and wakes those that can send.
pub(super) async fn poll(
    store: Arc<dyn AlarmStore>,
    queues: Vec<Queue>,
    channels: Arc<Channels>,
    metrics: Arc<Metrics>,
    new_messages: Arc<Notify>,
    stop: CancellationToken,
) {
    let mut ticks = every(POLL_EVERY);
    loop {
        let next = async {
            tokio::select! {
                _ = ticks.tick() => {}
                () = new_messages.notified() => {}
            }
        };
        if queues.is_empty() || stop.run_until_cancelled(next).await.is_none() {
            return;
        }
        // If the store fails, the watch reports that.
        let Ok(found) = store.channel_queues().await else { continue };
        let mut failing = Vec::new();
        for Queue { dispatch, wake } in &queues {
            let channel = dispatch.channel();
            let queue = found.iter().find(|queue| queue.channel == channel);
            let (waiting, fails) = queue.map_or((0, false), |queue| (queue.waiting, queue.state.failures > 0));
            metrics.alarm_channel(channel, waiting, fails);
            if fails {
                failing.push(channel.to_owned());
            }
            if queue.is_some_and(|queue| queue.waiting > 0 && dispatch.may_send(&queue.state, now())) {
                wake.notify_one();
            }
        }
        channels.set_failing(failing);
    }
}
