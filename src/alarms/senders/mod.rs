//! The senders that bring alarms to people: one per channel of the configuration.
//!
//! In reading order: [`Sender`]; `payload`, what each kind is sent and what its answer
//! means; `web` and `mail`, how it gets there; [`reach`], where it may go.

pub mod address_policy;
mod mail;
mod payload;
mod web;

use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use self::address_policy::{AddressPolicy, Lookup};
use self::mail::Mail;
use self::web::Web;
use crate::domain::channel::{Address, Channel, Language, Receiver, Secret};
use crate::domain::outbox::Pace;
use crate::domain::time::Timestamp;

/// How long one attempt may take: well below the time for which a message is claimed.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(20);
/// How much of what a receiver said is kept.
const MOST_SAID: usize = 200;
/// A part of an address that is shorter is no secret.
const SHORTEST_SECRET: usize = 6;

/// Brings messages to the receiver of one channel.
pub struct Sender {
    channel: Channel,
    way: Way,
    /// What must not appear in anything that is shown.
    secrets: Vec<String>,
}

/// A message in the words of its channel's language.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message's id, the same over all attempts.
    pub message_id: String,
    /// When what it tells of happened.
    pub at: Timestamp,
    /// Its language.
    pub language: Language,
    /// The first line.
    pub title: String,
    /// The rest.
    pub lines: Vec<String>,
    /// The same for programs.
    pub event: Value,
}

/// The receiver took it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// What it said, shortened, without secrets.
    pub said: String,
}

/// The receiver did not take it, or nobody knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// Why, shortened, without secrets.
    pub why: String,
    /// For how long it asked to be left alone.
    pub pause: Option<Duration>,
}

/// Why a channel has no sender.
#[derive(Debug, thiserror::Error)]
#[error("alarm channel {name:?}: {problem}")]
pub struct BadAddress {
    name: String,
    problem: String,
}

/// How to get there.
enum Way {
    Web(Web),
    Mail(Box<Mail>),
}

impl Letter {
    /// All lines.
    fn whole(&self) -> String {
        std::iter::once(&self.title).chain(&self.lines).map(String::as_str).collect::<Vec<_>>().join("\n")
    }
}

impl Refused {
    fn because(why: String) -> Self {
        Self { why, pause: None }
    }
}

impl Sender {
    /// The sender of a channel; `lookup` finds the addresses of its host.
    ///
    /// # Errors
    /// Where a mail address is none.
    pub fn new(channel: Channel, lookup: Lookup) -> Result<Self, BadAddress> {
        let reach = AddressPolicy::new(channel.allow_private, lookup);
        let bad = |problem| BadAddress { name: channel.name.clone(), problem };
        let way = match &channel.receiver {
            Receiver::DingTalk { .. } | Receiver::Feishu { .. } | Receiver::WeCom { .. } | Receiver::Webhook { .. } => {
                Way::Web(Web::new(reach))
            }
            Receiver::Mail { url, tls, from, to, login } => {
                Way::Mail(Box::new(Mail::new(url, *tls, from, to, login.as_ref(), reach).map_err(bad)?))
            }
        };
        Ok(Self { secrets: secrets(&channel.receiver), way, channel })
    }

    /// Its channel.
    #[must_use]
    pub fn channel(&self) -> &Channel {
        &self.channel
    }

    /// How fast its receiver takes messages: below what each allows, so that other senders
    /// to the same sender have room.
    #[must_use]
    pub fn pace(&self) -> Pace {
        let (every, burst) = match &self.channel.receiver {
            // 20 a minute; at most 4 + 14 in any
            Receiver::DingTalk { .. } | Receiver::WeCom { .. } => (4000, 4),
            // 100 a minute and 5 a second
            Receiver::Feishu { .. } => (1000, 3),
            Receiver::Webhook { .. } => (500, 10),
            Receiver::Mail { .. } => (5000, 4),
        };
        Pace { every: Duration::from_millis(every), burst }
    }

    /// Brings it there, once.
    ///
    /// # Errors
    /// Where it was not taken, or no answer came: then it may have been.
    pub async fn send(&self, letter: &Letter, now: Timestamp) -> Result<Taken, Refused> {
        match timeout(ATTEMPT_LIMIT, self.attempt(letter, now)).await {
            Ok(Ok(Taken { said })) => Ok(Taken { said: self.shown(&said) }),
            Ok(Err(Refused { why, pause })) => Err(Refused { why: self.shown(&why), pause }),
            Err(_) => Err(Refused::because("no answer in time".to_owned())),
        }
    }

    async fn attempt(&self, letter: &Letter, now: Timestamp) -> Result<Taken, Refused> {
        match (&self.way, &self.channel.receiver) {
            (Way::Mail(mail), _) => mail.send(letter).await,
            (Way::Web(web), Receiver::DingTalk { url, secret }) => {
                payload::robots_verdict(&web.post(payload::dingtalk(url, secret.as_ref(), letter, now)).await?)
            }
            (Way::Web(web), Receiver::Feishu { url, secret }) => {
                payload::robots_verdict(&web.post(payload::feishu(url, secret.as_ref(), letter, now)).await?)
            }
            (Way::Web(web), Receiver::WeCom { url }) => {
                payload::robots_verdict(&web.post(payload::wecom(url, letter)).await?)
            }
            (Way::Web(web), Receiver::Webhook { url, secret }) => {
                payload::webhooks_verdict(&web.post(payload::webhook(url, secret, letter, now)?).await?)
            }
            (Way::Web(_), Receiver::Mail { .. }) => unreachable!("mail goes by mail: see Sender::new"),
        }
    }

    /// What may be shown of a text from outside: one short line without secrets, whatever
    /// the receiver repeated of them.
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

/// The longest first, so that none leaves a rest of another one standing.
fn secrets(receiver: &Receiver) -> Vec<String> {
    let (url, secret) = match receiver {
        Receiver::DingTalk { url, secret } | Receiver::Feishu { url, secret } => (url, secret.as_ref()),
        Receiver::WeCom { url } => (url, None),
        Receiver::Webhook { url, secret } => (url, Some(secret)),
        Receiver::Mail { url, login, .. } => (url, login.as_ref().map(|(_, secret)| secret)),
    };
    let mut secrets = parts(url);
    secrets.extend(secret.map(Secret::reveal).map(str::to_owned));
    secrets.extend(secret.and_then(|secret| secret.reveal().strip_prefix("whsec_")).map(str::to_owned));
    secrets.retain(|secret| !secret.is_empty());
    secrets.sort_by_key(|secret| std::cmp::Reverse(secret.len()));
    secrets
}

/// The parts of an address that may be a key: values of its query, steps of its path.
fn parts(url: &Address) -> Vec<String> {
    let url = url.reveal();
    let values = url.query_pairs().map(|(_, value)| value.into_owned());
    let steps = url.path_segments().into_iter().flatten().map(str::to_owned);
    let long = |part: &String| part.len() >= SHORTEST_SECRET;
    [url.query().unwrap_or_default().to_owned()].into_iter().chain(values).chain(steps).filter(long).collect()
}
