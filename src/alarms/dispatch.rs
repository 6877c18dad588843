//! Brings the messages of one channel out of the outbox, in their order, at least once.

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::wording;
use crate::alarms::senders::{Refused, Sender, Taken};
use crate::domain::outbox::{ChannelState, Message, Outcome};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::alarms::{AlarmStore, First, Worked};
use crate::telemetry::Metrics;

/// How often, and how far apart, the outbox is told what became of a message: what it does
/// not learn is sent again.
const TELLS: u32 = 5;
const TELL_PAUSE: Duration = Duration::from_millis(500);

/// The courier of one channel.
#[derive(Clone)]
pub struct Dispatch {
    store: Arc<dyn AlarmStore>,
    sender: Arc<Sender>,
    holder: Arc<str>,
    metrics: Arc<Metrics>,
}

/// What one step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// There was nothing to send, or it may not be sent yet.
    Nothing,
    /// A message was delivered; there may be more.
    Delivered,
    /// An attempt failed; the next one has a time.
    Failed,
}

impl Dispatch {
    /// The courier of a sender; `holder` is this process.
    #[must_use]
    pub fn new(store: Arc<dyn AlarmStore>, sender: Arc<Sender>, holder: &str, metrics: Arc<Metrics>) -> Self {
        Self { store, sender, holder: holder.into(), metrics }
    }

    /// The name of its channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.sender.channel().name
    }

    /// Whether the next message may be sent now, as far as this line shows.
    #[must_use]
    pub fn may_send(&self, line: &ChannelState, now: Timestamp) -> bool {
        line.claim(&self.holder, self.sender.pace(), now).is_some()
    }

    /// Claims the first message that waits, brings it there, and notes what became of it.
    ///
    /// # Errors
    /// Where the outbox can't be used. What was claimed is sent again once that has run out.
    pub async fn step(&self, now: Timestamp) -> Result<Stepped, StoreError> {
        let Some(message) = self.claim(now).await? else { return Ok(Stepped::Nothing) };
        let letter = wording::letter(&message.notice, &message.message_id, self.sender.channel().language);
        let sent = self.sender.send(&letter, now).await;
        self.tell(&message, &sent, super::now().max(now)).await?;
        let channel = self.channel();
        Ok(match sent {
            Ok(Taken { .. }) => {
                self.metrics.alarm_message(channel, "delivered");
                info!(channel, message = message.message_id, "an alarm's message was delivered");
                Stepped::Delivered
            }
            Err(Refused { why, .. }) => {
                self.metrics.alarm_message(channel, "failed");
                warn!(channel, message = message.message_id, cause = why, "an alarm's message was not delivered");
                Stepped::Failed
            }
        })
    }

    async fn claim(&self, now: Timestamp) -> Result<Option<Message>, StoreError> {
        let mut claimed = None;
        let mut decide = |line: ChannelState, message: Option<Message>| {
            let message = message?;
            let line = line.claim(&self.holder, self.sender.pace(), now)?;
            claimed = Some(message);
            Some(Worked { line, first: None })
        };
        self.store.work(self.channel(), &mut decide).await?;
        Ok(claimed)
    }

    /// Notes what became of a message, unless another process has taken over meanwhile.
    async fn tell(&self, message: &Message, sent: &Result<Taken, Refused>, now: Timestamp) -> Result<(), StoreError> {
        let chance = rand::random::<f64>();
        let mut decide = |line: ChannelState, first: Option<Message>| {
            let first = first?;
            if first.message_id != message.message_id || !line.is_claimed_by(&self.holder) {
                return None;
            }
            Some(match sent {
                Ok(Taken { .. }) => {
                    Worked { line: line.delivered(now), first: Some(First::Settled(Outcome::Delivered, now)) }
                }
                Err(Refused { why, pause }) => {
                    Worked { line: line.failed(why, *pause, chance, now), first: Some(First::Failed) }
                }
            })
        };
        let mut told = self.store.work(self.channel(), &mut decide).await;
        for _ in 1..TELLS {
            if told.is_ok() {
                break;
            }
            tokio::time::sleep(TELL_PAUSE).await;
            told = self.store.work(self.channel(), &mut decide).await;
        }
        told
    }
}
