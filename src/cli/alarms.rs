//! `scanfence alarms`: what is wrong, who was told, and whether a channel works.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::{FAILED, Output, print};
use crate::app::{self, Failure, Tested};
use crate::config::Config;
use crate::domain::alarm::{Alarm, Kind};
use crate::domain::channel::Channel;
use crate::store::alarms::ChannelQueue;

pub(super) fn command() -> Command {
    let channel = Arg::new("channel").value_name("CHANNEL").required(true).help("the channel's name");
    Command::new("alarms").about("Shows the open alarms, and how the channels do").subcommand(
        Command::new("test")
            .about("Sends a real message to a channel, and says what its receiver answered")
            .arg(channel),
    )
}

pub(super) fn channel_of(test: &ArgMatches) -> String {
    test.get_one::<String>("channel").expect("clap requires it").clone()
}

/// `scanfence alarms test CHANNEL`
pub(super) async fn test(config: Config, channel: &str, output: Output) -> Result<ExitCode, Failure> {
    let tested = app::test_alarm(&config.alarms.channels, channel).await?;
    let milliseconds = u64::try_from(tested.took.as_millis()).unwrap_or(u64::MAX);
    let printed = print(match output {
        Output::Text if tested.delivered => format!("{channel}: delivered in {milliseconds} ms: {}", tested.said),
        Output::Text => format!("{channel}: not delivered: {}", tested.said),
        Output::Json => {
            let Tested { delivered, said, .. } = &tested;
            json!({"channel": channel, "delivered": delivered, "said": said, "took_ms": milliseconds}).to_string()
        }
    });
    Ok(if tested.delivered { printed } else { ExitCode::from(FAILED) })
}

/// `scanfence alarms`
pub(super) async fn show(config: Config, output: Output) -> Result<ExitCode, Failure> {
    let (alarms, queues) = app::alarms(&config.deployment).await?;
    let channels: Vec<(Channel, Option<&ChannelQueue>)> = config
        .alarms
        .channels
        .into_iter()
        .map(|channel| {
            let queue = queues.iter().find(|queue| queue.channel == channel.name);
            (channel, queue)
        })
        .collect();
    Ok(print(match output {
        Output::Text => as_text(&alarms, &channels),
        Output::Json => {
            let channels: Vec<Value> =
                channels.iter().map(|(channel, queue)| channel_as_json(channel, *queue)).collect();
            json!({"open": alarms, "channels": channels}).to_string()
        }
    }))
}

fn as_text(alarms: &[Alarm], channels: &[(Channel, Option<&ChannelQueue>)]) -> String {
    let mut text = Vec::new();
    match alarms.is_empty() {
        true => text.push("no open alarms".to_owned()),
        false => text.push(format!("{:<16} {:<40} {:<25} {}", "ALARM", "OF", "SINCE", "FIRED")),
    }
    for alarm in alarms {
        let (kind, key) = (alarm.cause.kind().word(), alarm.cause.key());
        text.push(format!("{kind:<16} {key:<40} {:<25} {}", alarm.since.to_string(), alarm.fired_at));
    }
    text.push(String::new());
    match channels.is_empty() {
        true => text.push("no channels: nobody is told (see SCANFENCE_ALARM_CHANNELS)".to_owned()),
        false => text.push(format!("{:<32} {:<9} {:>7} {:<25} {}", "CHANNEL", "KIND", "WAITING", "DELIVERED", "STATE")),
    }
    for (channel, queue) in channels {
        let waiting = queue.map_or(0, |queue| queue.waiting);
        let delivered = queue.and_then(|queue| queue.state.last_delivered_at);
        let delivered = delivered.map_or("-".to_owned(), |at| at.to_string());
        let state = match queue.map(|queue| (queue.state.failing_since, &queue.state.last_error)) {
            Some((Some(since), error)) => format!("failing since {since}: {}", error.as_deref().unwrap_or("-")),
            Some((None, _)) => "good".to_owned(),
            None => "not used yet".to_owned(),
        };
        text.push(format!("{:<32} {:<9} {waiting:>7} {delivered:<25} {state}", channel.name, channel.receiver.word()));
    }
    text.join("\n")
}

fn channel_as_json(channel: &Channel, queue: Option<&ChannelQueue>) -> Value {
    let gets: Vec<Kind> = Kind::ALL.into_iter().filter(|&kind| channel.gets(kind)).collect();
    let state = queue.map(|queue| &queue.state);
    json!({
        "channel": channel.name,
        "kind": channel.receiver.word(),
        "alarms": gets,
        "waiting": queue.map_or(0, |queue| queue.waiting),
        "failures": state.map_or(0, |state| state.failures),
        "failing_since": state.and_then(|state| state.failing_since),
        "next_attempt_at": state.and_then(|state| state.next_attempt_at),
        "last_error": state.and_then(|state| state.last_error.as_ref()),
        "last_delivered_at": state.and_then(|state| state.last_delivered_at),
    })
}
