//! `scanfence alarms`: the open alarms, the state of the channels, and a test of a channel.

use std::process::ExitCode;

use clap::{Arg, ArgMatches, Command};
use serde_json::{Value, json};

use super::output::{FAILED, Output, print};
use crate::app::{self, Failure, Tested};
use crate::config::Config;
use crate::domain::alarm::{Alarm, Kind};
use crate::domain::channel::Channel;
use crate::store::alarms::ChannelLine;

pub(super) fn command() -> Command {
    let channel = Arg::new("channel")
        .value_name("CHANNEL")
        .required(true)
        .help("name of the channel, as in the setting alarm-channels");
    Command::new("alarms").about("Shows the open alarms and the state of every alarm channel").subcommand(
        Command::new("test")
            .about("Sends a real message to a channel and shows the answer; exit code 1 if it is not delivered")
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
    let (alarms, lines) = app::alarms(&config.deployment).await?;
    let channels: Vec<(Channel, Option<&ChannelLine>)> = config
        .alarms
        .channels
        .into_iter()
        .map(|channel| {
            let line = lines.iter().find(|line| line.channel == channel.name);
            (channel, line)
        })
        .collect();
    Ok(print(match output {
        Output::Text => as_text(&alarms, &channels),
        Output::Json => {
            let channels: Vec<Value> = channels.iter().map(|(channel, line)| channel_as_json(channel, *line)).collect();
            json!({"open": alarms, "channels": channels}).to_string()
        }
    }))
}

fn as_text(alarms: &[Alarm], channels: &[(Channel, Option<&ChannelLine>)]) -> String {
    let mut text = Vec::new();
    match alarms.is_empty() {
        true => text.push("no open alarms".to_owned()),
        false => text.push(format!("{:<16} {:<40} {:<25} {}", "ALARM", "ABOUT", "SINCE", "FIRED")),
    }
    for alarm in alarms {
        let (kind, key) = (alarm.cause.kind().word(), alarm.cause.key());
        text.push(format!("{kind:<16} {key:<40} {:<25} {}", alarm.since.to_string(), alarm.fired_at));
    }
    text.push(String::new());
    match channels.is_empty() {
        true => text.push("no alarm channels: nobody is notified; set SCANFENCE_ALARM_CHANNELS".to_owned()),
        false => text.push(format!("{:<32} {:<9} {:>7} {:<25} {}", "CHANNEL", "KIND", "WAITING", "DELIVERED", "STATE")),
    }
    for (channel, line) in channels {
        let waiting = line.map_or(0, |line| line.waiting);
        let delivered = line.and_then(|line| line.line.last_delivered_at);
        let delivered = delivered.map_or("-".to_owned(), |at| at.to_string());
        let state = match line.map(|line| (line.line.failing_since, &line.line.last_error)) {
            Some((Some(since), error)) => format!("failing since {since}: {}", error.as_deref().unwrap_or("-")),
            Some((None, _)) => "good".to_owned(),
            None => "not used yet".to_owned(),
        };
        text.push(format!("{:<32} {:<9} {waiting:>7} {delivered:<25} {state}", channel.name, channel.receiver.word()));
    }
    text.join("\n")
}

fn channel_as_json(channel: &Channel, line: Option<&ChannelLine>) -> Value {
    let gets: Vec<Kind> = Kind::ALL.iter().copied().filter(|&kind| channel.gets(kind)).collect();
    let state = line.map(|line| &line.line);
    json!({
        "channel": channel.name,
        "kind": channel.receiver.word(),
        "alarms": gets,
        "waiting": line.map_or(0, |line| line.waiting),
        "failures": state.map_or(0, |state| state.failures),
        "failing_since": state.and_then(|state| state.failing_since),
        "next_attempt_at": state.and_then(|state| state.next_attempt_at),
        "last_error": state.and_then(|state| state.last_error.as_ref()),
        "last_delivered_at": state.and_then(|state| state.last_delivered_at),
    })
}
