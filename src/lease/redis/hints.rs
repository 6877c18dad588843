//! The receiver of hints: another replica asks for a lease, or has handed one over to this process.
//!
//! Each process has its own channel, `scanfence:hints:<owner>`. The messages are `asked <work order>` and
//! `freed <work order>`. A lost hint costs tens of milliseconds. Grants and renewals also say that others
//! wait, and the keeper makes lanes ask again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::leases::Leases;
use crate::domain::ids::WorkOrderNumber;

/// How long to wait before subscribing again. More often is not worth it: hints only save time.
const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(500);

/// How often the connection is pinged, and how long the answer may take. Without it, a broken
/// connection looks like one without hints.
const PING_EVERY: Duration = Duration::from_secs(2);

/// Receives hints until it is to stop.
pub(super) async fn run(leases: Arc<Leases>, stop: CancellationToken) {
    stop.run_until_cancelled_owned(receive(leases)).await;
}

async fn receive(leases: Arc<Leases>) {
    let channel = format!("scanfence:hints:{}", leases.owner);
    let mut warned = false;
    loop {
        match leases.connection.subscribe(&channel).await {
            Ok(pubsub) => {
                if std::mem::take(&mut warned) {
                    info!("hints of other replicas are received again");
                }
                let (mut sink, mut hints) = pubsub.split();
                let mut pings = interval(PING_EVERY);
                pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        hint = hints.next() => match hint {
                            Some(hint) => leases.handle_hint(&hint.get_payload::<String>().unwrap_or_default()),
                            None => break,
                        },
                        _ = pings.tick() => {
                            if !matches!(timeout(PING_EVERY, sink.ping::<::redis::Value>()).await, Ok(Ok(_))) {
                                break;
                            }
                        }
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut warned, true) {
                    warn!(%error, "hints of other replicas are not received: handing leases over may take longer");
                }
            }
        }
        sleep(SUBSCRIBE_AGAIN).await;
    }
}

impl Leases {
    fn handle_hint(&self, hint: &str) {
        let Some((word, work_order)) = hint.split_once(' ') else { return };
        let Ok(work_order) = WorkOrderNumber::parse(work_order) else { return };
        match word {
            "asked" => {
                let idle = self.table().note_asked(work_order, Instant::now());
                if idle {
                    self.wake.notify_one();
                }
            }
            "freed" => {
                self.table().note_released(work_order, Instant::now());
                self.released.notify_one();
            }
            _ => {}
        }
    }
}
