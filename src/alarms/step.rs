//! Two helpers of the tasks of the alarms: a step that survives a panic, and a regular tick.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::time::{Interval, MissedTickBehavior, interval};
use tracing::error;

/// Runs one step of a task. A panic ends this step; the task goes on with its next one.
pub(super) async fn caught<T>(task: &'static str, step: impl Future<Output = T>) -> Option<T> {
    match AssertUnwindSafe(step).catch_unwind().await {
        Ok(done) => Some(done),
        Err(_) => {
            error!(task, "a step of the alarms panicked; the task goes on with its next step");
            None
        }
    }
}

/// Ticks once per `period`. A late tick delays the next one.
pub(super) fn every(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}
