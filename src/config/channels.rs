//! The alarm channels: a list of tables in the settings file, or in one variable.

use std::collections::BTreeSet;

use crate::domain::channel::Channel;

/// Reads channels from a JSON list, or from the TOML tables of the settings file.
///
/// The reason of a refusal never shows the text, which is full of secrets.
pub(super) fn channels(text: &str) -> Result<Vec<Channel>, String> {
    let channels = parse(text)?;
    let mut names = BTreeSet::new();
    match channels.iter().find(|channel| !names.insert(&channel.name)) {
        Some(twice) => Err(format!("two channels are named {}; rename one of them", twice.name)),
        None => Ok(channels),
    }
}

fn parse(text: &str) -> Result<Vec<Channel>, String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tables {
        alarm_channels: Vec<Channel>,
    }
    let is_json = text.trim_start().strip_prefix('[').is_some_and(|rest| !rest.starts_with('['));
    match is_json {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        // The whole error would show the line that is wrong; its message does not.
        false => toml::from_str(text).map(|tables: Tables| tables.alarm_channels).map_err(|e| e.message().to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;
    use super::super::sources::tests::{gather, read};
    use super::*;

    #[test]
    fn alarm_channels_come_from_tables_of_the_file_or_from_one_variable() {
        const TOML: &str = r#"
            [[alarm_channels]]
            name = "line-3"
            kind = "dingtalk"
            url = "https://oapi.dingtalk.com/robot/send?access_token=TOKEN"
            secret = "TOKEN"
            alarms = ["drift"]

            [[alarm_channels]]
            name = "night"
            kind = "mail"
            url = "smtps://mail.example"
            from = "scanfence@plant.example"
            to = ["shift@plant.example"]
            "#;
        const JSON: &str = r#"[{"name":"line-3","kind":"wecom","url":"https://w.example/send?key=TOKEN"}]"#;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scanfence.toml");
        std::fs::write(&file, format!("queue = 7\n{TOML}")).unwrap();
        let file = file.to_str().unwrap();
        let names = |config: Config| config.alarms.channels.into_iter().map(|c| c.name).collect::<Vec<_>>();
        assert_eq!(names(read(&["--config", file], &[]).unwrap()), ["line-3", "night"]);
        assert_eq!(names(read(&[], &[("SCANFENCE_ALARM_CHANNELS", TOML)]).unwrap()), ["line-3", "night"]);
        assert_eq!(names(read(&["--config", file], &[("SCANFENCE_ALARM_CHANNELS", JSON)]).unwrap()), ["line-3"]);
        assert!(names(read(&[], &[]).unwrap()).is_empty());
        let settings = gather(&["--config", file], &[]).unwrap();
        assert!(!format!("{:?} {:?}", settings.shown(), settings.read()).contains("TOKEN"));
    }

    #[test]
    fn the_example_of_alarm_channels_is_read_once_its_secrets_are_in() {
        let example = include_str!("../../deploy/alarm-channels.toml");
        assert!(channels(example).is_err(), "a published key must not be used");
        let channels = channels(&example.replace("whsec_…", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let kinds: Vec<&str> = channels.iter().map(|channel| channel.receiver.word()).collect();
        assert_eq!(kinds, ["dingtalk", "feishu", "wecom", "webhook", "mail"]);
    }

    #[test]
    fn alarm_channels_that_are_none_are_refused_without_their_secrets() {
        let twice = r#"{"name":"a","kind":"wecom","url":"https://w.example/send?key=TOKEN"}"#;
        for (text, part) in [
            (format!("[{twice},{twice}]"), "two channels are named a"),
            (r#"[{"name":"a","kind":"wecom","url":"https://w.example","secret":"TOKEN"}]"#.into(), "key in its url"),
            (r#"[{"name":"a","kind":"wecom","url":"https://w.example?key=TOKEN","x":1}]"#.into(), "unknown field `x`"),
            ("[[alarm_channels]]\nname = \"a\"\nkind = \"wecom\"\nurl = \"TOKEN\"".into(), "url"),
            ("[[alarm_channels]]\nurl = TOKEN".into(), "alarm-channels"),
            ("TOKEN".into(), "alarm-channels"),
        ] {
            let problem = read(&[], &[("SCANFENCE_ALARM_CHANNELS", &text)]).unwrap_err().to_string();
            assert!(problem.contains(part) && !problem.contains("TOKEN"), "{text}: {problem}");
        }
    }
}
