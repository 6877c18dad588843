//! The hearer of hints: another replica asks, or has handed over to us.
//!
//! Each process has its own channel, `scanfence:hints:<owner>`; messages are `asked <work
//! order>` and `freed <work order>`. A lost hint costs some tens of milliseconds: grants and
//! renewals say too whether somebody waits, and the keeper has busy work orders asked for
//! again.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Core;
use crate::domain::ids::WorkOrderNumber;

/// How long to wait before subscribing again: often enough for a hint's worth.
const SUBSCRIBE_AGAIN: Duration = Duration::from_millis(500);

/// How often the connection is asked for a sign of life, and how long it may take: a
/// connection cut without a word is silent, as is one without hints.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

/// Hears hints until told to stop.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    stop.run_until_cancelled_owned(hear(core)).await;
}

async fn hear(core: Arc<Core>) {
    let channel = format!("scanfence:hints:{}", core.owner);
    let mut told = false;
    loop {
        match core.wire.subscribe(&channel).await {
            Ok(pubsub) => {
                if std::mem::take(&mut told) {
                    info!("hints of other replicas are heard again");
                }
                let (mut sink, mut hints) = pubsub.split();
                let mut signs = interval(SIGN_OF_LIFE);
                signs.set_missed_tick_behavior(MissedTickBehavior::Delay);
                loop {
                    tokio::select! {
                        hint = hints.next() => match hint {
                            Some(hint) => core.heed(&hint.get_payload::<String>().unwrap_or_default()),
                            None => break,
                        },
                        _ = signs.tick() => {
                            if !matches!(timeout(SIGN_OF_LIFE, sink.ping::<::redis::Value>()).await, Ok(Ok(_))) {
                                break;
                            }
                        }
                    }
                }
            }
            Err(error) => {
                if !std::mem::replace(&mut told, true) {
                    warn!(%error, "hints of other replicas are not heard: turns may take longer");
                }
            }
        }
        sleep(SUBSCRIBE_AGAIN).await;
    }
}

impl Core {
    fn heed(&self, hint: &str) {
        let Some((word, work_order)) = hint.split_once(' ') else { return };
        let Ok(work_order) = WorkOrderNumber::parse(work_order) else { return };
        match word {
            "asked" => {
                let idle = self.table().hear_asked(work_order, Instant::now());
                if idle {
                    self.wake.notify_one();
                }
            }
            "freed" => {
                self.table().hear_freed(work_order, Instant::now());
                self.freed.notify_one();
            }
            _ => {}
        }
    }
}
