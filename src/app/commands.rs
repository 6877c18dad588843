//! What some commands do: `migrate`, `consistency`, `alarms` and its test message.
//!
//! They work while a service runs, or without one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tracing::info;
use uuid::Uuid;

use super::deployment::Beside;
use super::failure::Failure;
use super::watching::senders;
use crate::alarms::wording;
use crate::clock::now;
use crate::config::Deployment;
use crate::domain::alarm::Alarm;
use crate::domain::channel::Channel;
use crate::monitor::{self, Monitor};
use crate::schedule::Schedule;
use crate::store::alarms::ChannelQueue;
use crate::store::postgres;
use crate::store::sqlite::folder;
use crate::telemetry::Metrics;

/// The result of a test message.
#[derive(Debug)]
pub struct Tested {
    /// Whether the receiver accepted it.
    pub delivered: bool,
    /// What the receiver answered, or why there is no answer.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

/// Creates the tables, or updates them to this release.
///
/// # Errors
/// See [`Failure`].
pub async fn migrate(deployment: Deployment) -> Result<(), Failure> {
    match deployment {
        Deployment::Embedded { data } => folder::migrate(&data).await?,
        Deployment::Shared { database_url, .. } => postgres::migrate(&database_url).await?,
    }
    info!("the tables of the database are up to date");
    Ok(())
}

/// The monitor for a command. It checks and repairs only what the command asks for.
///
/// # Errors
/// See [`Failure`].
pub async fn monitor(deployment: &Deployment) -> Result<Monitor, Failure> {
    let Beside { consistency, .. } = Beside::open(deployment).await?;
    let settings = monitor::Settings { recent: Schedule::Off, full: Schedule::Off, repair: Vec::new() };
    Ok(Monitor::new(consistency, Arc::new(Metrics::new()), Uuid::now_v7().to_string(), settings))
}

/// Sends a real message to one channel, once and at once.
///
/// # Errors
/// See [`Failure`].
pub async fn test_alarm(channels: &[Channel], channel: &str) -> Result<Tested, Failure> {
    let mut senders = senders(channels)?;
    let Some(at) = senders.iter().position(|sender| sender.channel().name == channel) else {
        let names: Vec<&str> = senders.iter().map(|sender| sender.channel().name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Failure::NoSuchChannel(channel.to_owned(), names));
    };
    let sender = senders.swap_remove(at);
    let now = now();
    let message = wording::test_message(channel, &Uuid::now_v7().to_string(), sender.channel().language, now);
    let begun = Instant::now();
    let (delivered, said) = match sender.send(&message, now).await {
        Ok(taken) => (true, taken.said),
        Err(refused) => (false, refused.why),
    };
    Ok(Tested { delivered, said, took: begun.elapsed() })
}

/// The open alarms, and the state of the channels.
///
/// # Errors
/// See [`Failure`].
pub async fn alarms(deployment: &Deployment) -> Result<(Vec<Alarm>, Vec<ChannelQueue>), Failure> {
    let Beside { alarms, .. } = Beside::open(deployment).await?;
    Ok((alarms.open_alarms().await?, alarms.channel_queues().await?))
}
