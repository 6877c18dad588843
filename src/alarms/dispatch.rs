//! Sends the queue of one channel: in order, each message at least once.
//!
//! | step | statement | if the process dies here |
//! | --- | --- | --- |
//! | 1 claim the channel, with its first message | `update_channel` | the claim runs out; another process sends the message |
//! | 2 send, at most 20 s | none | the receiver may have the message; it is sent again, under the same message id |
//! | 3 write the result | `update_channel` | before: as in step 2; after: the message is settled, or the next attempt has a time |

use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::senders::{Delivered, NotDelivered, Sender};
use super::wording;
use crate::clock;
use crate::domain::outbox::{ChannelState, Message, Outcome};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::alarms::{AlarmStore, ChannelUpdate, MessageResult};
use crate::telemetry::Metrics;

/// How often, and how far apart, the result is written if the store fails. Without a result the
/// message is sent again.
const WRITE_ATTEMPTS: u32 = 5;
const WRITE_PAUSE: Duration = Duration::from_millis(500);

/// Sends the queue of one channel.
#[derive(Clone)]
pub struct Dispatch {
    store: Arc<dyn AlarmStore>,
    sender: Arc<Sender>,
    holder: Arc<str>,
    metrics: Arc<Metrics>,
}

/// The result of one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stepped {
    /// No message waits, or none may be sent yet.
    Nothing,
    /// A message was delivered. More may wait.
    Delivered,
    /// An attempt failed. The next one has a time.
    Failed,
}

impl Dispatch {
    /// The dispatch of a sender; `holder` is this process.
    #[must_use]
    pub fn new(store: Arc<dyn AlarmStore>, sender: Arc<Sender>, holder: &str, metrics: Arc<Metrics>) -> Self {
        Self { store, sender, holder: holder.into(), metrics }
    }

    /// The name of its channel.
    #[must_use]
    pub fn channel(&self) -> &str {
        &self.sender.channel().name
    }

    /// Whether the next message may be sent now, by this state of the channel.
    #[must_use]
    pub fn may_send(&self, state: &ChannelState, now: Timestamp) -> bool {
        state.claim(&self.holder, self.sender.pace(), now).is_some()
    }

    /// Claims the first message that waits, sends it, and writes the result.
    ///
    /// # Errors
    /// If the store fails. A claimed message is sent again when its claim has run out.
    pub async fn step(&self, now: Timestamp) -> Result<Stepped, StoreError> {
        let Some(message) = self.claim(now).await? else { return Ok(Stepped::Nothing) };
        let worded = wording::message(&message.notice, &message.message_id, self.sender.channel().language);
        let sent = self.sender.send(&worded, now).await;
        self.write_result(&message, &sent, clock::now().max(now)).await?;
        let channel = self.channel();
        Ok(match sent {
            Ok(Delivered { .. }) => {
                self.metrics.alarm_message(channel, "delivered");
                info!(channel, message = message.message_id, "alarm message delivered");
                Stepped::Delivered
            }
            Err(NotDelivered { why, .. }) => {
                self.metrics.alarm_message(channel, "failed");
                warn!(
                    channel,
                    message = message.message_id,
                    cause = why,
                    "alarm message not delivered; it will be retried"
                );
                Stepped::Failed
            }
        })
    }

    async fn claim(&self, now: Timestamp) -> Result<Option<Message>, StoreError> {
        let mut claimed = None;
        let mut decide = |state: ChannelState, message: Option<Message>| {
            let message = message?;
            let state = state.claim(&self.holder, self.sender.pace(), now)?;
            claimed = Some(message);
            Some(ChannelUpdate { state, message: None })
        };
        self.store.update_channel(self.channel(), &mut decide).await?;
        Ok(claimed)
    }

    /// Writes the result of an attempt, unless another process has claimed the channel since.
    async fn write_result(
        &self,
        message: &Message,
        sent: &Result<Delivered, NotDelivered>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let chance = rand::random::<f64>();
        let mut decide = |state: ChannelState, first: Option<Message>| {
            let first = first?;
            if first.message_id != message.message_id || !state.is_claimed_by(&self.holder) {
                return None;
            }
            let (state, result) = match sent {
                Ok(Delivered { .. }) => (state.delivered(now), MessageResult::Settled(Outcome::Delivered, now)),
                Err(NotDelivered { why, pause }) => (state.failed(why, *pause, chance, now), MessageResult::Failed),
            };
            Some(ChannelUpdate { state, message: Some(result) })
        };
        let mut written = self.store.update_channel(self.channel(), &mut decide).await;
        for _ in 1..WRITE_ATTEMPTS {
            if written.is_ok() {
                break;
            }
            tokio::time::sleep(WRITE_PAUSE).await;
            written = self.store.update_channel(self.channel(), &mut decide).await;
        }
        written
    }
}
