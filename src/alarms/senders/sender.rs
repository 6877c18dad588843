//! Sends messages to the receiver of one channel.

use std::time::Duration;

use tokio::time::timeout;

use super::address_policy::{AddressPolicy, Lookup};
use super::delivery::{Delivered, NotDelivered};
use super::mail::Mail;
use super::message::WordedMessage;
use super::payload;
use super::web::Web;
use crate::domain::channel::{Address, Channel, Receiver, Secret};
use crate::domain::outbox::Pace;
use crate::domain::time::Timestamp;

/// How long one attempt may take: far less than the 60 s for which a message is claimed.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
/// How many characters of an answer are kept.
const MOST_SAID: usize = 200;
/// A part of an address that is shorter is not treated as a secret.
const SHORTEST_SECRET: usize = 6;

/// Sends messages to the receiver of one channel.
pub struct Sender {
    channel: Channel,
    way: Way,
    /// Texts that are removed from everything that is shown.
    secrets: Vec<String>,
}

/// Why a channel has no sender.
#[derive(Debug, thiserror::Error)]
#[error("alarm channel {name:?}: {problem}")]
pub struct BadAddress {
    name: String,
    problem: String,
}

/// How the message is sent.
enum Way {
    Web(Web),
    Mail(Box<Mail>),
}

impl Sender {
    /// The sender of a channel; `lookup` finds the addresses of its host.
    ///
    /// # Errors
    /// If a mail address is not valid.
    pub fn new(channel: Channel, lookup: Lookup) -> Result<Self, BadAddress> {
        let policy = AddressPolicy::new(channel.allow_private, lookup);
        let bad = |problem| BadAddress { name: channel.name.clone(), problem };
        let way = match &channel.receiver {
            Receiver::DingTalk { .. } | Receiver::Feishu { .. } | Receiver::WeCom { .. } | Receiver::Webhook { .. } => {
                Way::Web(Web::new(policy))
            }
            Receiver::Mail { url, tls, from, to, login } => {
                Way::Mail(Box::new(Mail::new(url, *tls, from, to, login.as_ref(), policy).map_err(bad)?))
            }
        };
        Ok(Self { secrets: secrets(&channel.receiver), way, channel })
    }

    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// How fast messages are sent: slower than each receiver allows, so that other programs can
    /// send to the same receiver, too.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let (every, burst) = match &self.channel.receiver {
            // Allowed: 20 a minute. In any minute at most 4 + 14 are sent.
            Receiver::DingTalk { .. } | Receiver::WeCom { .. } => (4000, 4),
            // Allowed: 100 a minute and 5 a second.
            Receiver::Feishu { .. } => (1000, 3),
            Receiver::Webhook { .. } => (500, 10),
            Receiver::Mail { .. } => (5000, 4),
        };
        Pace { every: Duration::from_millis(every), burst }
    }

    /// Sends a message, once.
    ///
    /// # Errors
    /// If the receiver did not take it, or no answer came. Without an answer it may have taken it.
    pub async fn send(&self, message: &WordedMessage, now: Timestamp) -> Result<Delivered, NotDelivered> {
        match timeout(ATTEMPT_LIMIT, self.attempt(message, now)).await {
            Ok(Ok(Delivered { said })) => Ok(Delivered { said: self.shown(&said) }),
            Ok(Err(NotDelivered { why, pause })) => Err(NotDelivered { why: self.shown(&why), pause }),
            Err(_) => Err(NotDelivered::because("no answer in time")),
        }
    }

    async fn attempt(&self, message: &WordedMessage, now: Timestamp) -> Result<Delivered, NotDelivered> {
        match (&self.way, &self.channel.receiver) {
            (Way::Mail(mail), _) => mail.send(message).await,
            (Way::Web(web), Receiver::DingTalk { url, secret }) => {
                payload::robot_result(&web.post(payload::dingtalk(url, secret.as_ref(), message, now)).await?)
            }
            (Way::Web(web), Receiver::Feishu { url, secret }) => {
                payload::robot_result(&web.post(payload::feishu(url, secret.as_ref(), message, now)).await?)
            }
            (Way::Web(web), Receiver::WeCom { url }) => {
                payload::robot_result(&web.post(payload::wecom(url, message)).await?)
            }
            (Way::Web(web), Receiver::Webhook { url, secret }) => {
                payload::webhook_result(&web.post(payload::webhook(url, secret, message, now)?).await?)
            }
            (Way::Web(_), Receiver::Mail { .. }) => unreachable!("Sender::new gives a mail receiver Way::Mail"),
        }
    }

    /// What is shown of a receiver's text: one short line, without secrets that it may repeat.
    fn shown(&self, text: &str) -> String {
        let mut shown: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        for secret in &self.secrets {
            shown = shown.replace(secret, "***");
        }
        match shown.char_indices().nth(MOST_SAID) {
            Some((end, _)) => format!("{}…", &shown[..end]),
            None => shown,
        }
    }
}

/// The longest first: a short one may be part of a longer one.
fn secrets(receiver: &Receiver) -> Vec<String> {
    let (url, secret) = match receiver {
        Receiver::DingTalk { url, secret } | Receiver::Feishu { url, secret } => (url, secret.as_ref()),
        Receiver::WeCom { url } => (url, None),
        Receiver::Webhook { url, secret } => (url, Some(secret)),
        Receiver::Mail { url, login, .. } => (url, login.as_ref().map(|(_, secret)| secret)),
    };
    let mut secrets = secret_parts(url);
    secrets.extend(secret.map(Secret::reveal).map(str::to_owned));
    secrets.extend(secret.and_then(|secret| secret.reveal().strip_prefix("whsec_")).map(str::to_owned));
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The parts of a URL that may be a secret: the values of its query and the parts of its path.
fn secret_parts(url: &Address) -> Vec<String> {
    let url = url.reveal();
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let steps = url.path_segments().into_iter().flatten().map(str::to_owned);
    let long = |part: &String| part.len() >= SHORTEST_SECRET;
    [url.query().unwrap_or_default().to_owned()].into_iter().chain(values).chain(steps).filter(long).collect()
}
