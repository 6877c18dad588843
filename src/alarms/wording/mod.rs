//! The words of alarm messages: [`english`] and [`chinese`].
//!
//! Each message says what happened, where and since when, what it means for the scans, and what to
//! do next.

mod chinese;
mod english;
mod shown;

use serde_json::json;

use crate::alarms::senders::WordedMessage;
use crate::domain::alarm::Notice;
use crate::domain::channel::Language;
use crate::domain::time::Timestamp;

/// A notice as a message in this language.
#[must_use]
pub fn message(notice: &Notice, message_id: &str, language: Language) -> WordedMessage {
    let (title, lines) = match language {
        Language::English => (english::title(notice), english::lines(notice)),
        Language::Chinese => (chinese::title(notice), chinese::lines(notice)),
    };
    let event = json!({
        "type": format!("alarm.{}", notice.phase.word()),
        "timestamp": notice.at,
        "data": {
            "kind": notice.kind,
            "alarms": notice.alarms,
            "more": notice.more,
            "title": title,
            "text": lines.join("\n"),
        },
    });
    WordedMessage { message_id: message_id.to_owned(), at: notice.at, language, title, lines, event }
}

/// A message that only shows that a channel works.
#[must_use]
pub fn test_message(channel: &str, message_id: &str, language: Language, now: Timestamp) -> WordedMessage {
    let (title, line) = match language {
        Language::English => english::test(channel),
        Language::Chinese => chinese::test(channel),
    };
    let event = json!({"type": "alarm.test", "timestamp": now, "data": {"title": title, "text": line}});
    WordedMessage { message_id: message_id.to_owned(), at: now, language, title, lines: vec![line], event }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::alarm::{Cause, Phase, Sighting};

    fn at(seconds: u64) -> Timestamp {
        Timestamp::parse("2026-01-03T01:16:54.103Z").unwrap().later(Duration::from_secs(seconds))
    }

    fn every_cause() -> Vec<Cause> {
        vec![
            Cause::Drift {
                work_order: "P2025".into(),
                findings: 3,
                finding: "quantity".into(),
                counter: Some("input".into()),
                seq: Some(12),
                expected: Some(275.into()),
                actual: Some(276.into()),
            },
            Cause::CheckOverdue { range: "recent".into(), last_finished: Some(at(0)) },
            Cause::CheckFailing { range: "full".into(), error: "no answer".into() },
            Cause::LeaseAway { replicas: ["a:8081".into(), "b:8081".into()].into() },
            Cause::StorageFailing { replica: "a:8081".into(), error: "disk full".into() },
            Cause::DuplicateBurst { station: "L3-T2".into(), refused: 31, within_seconds: 60, work_order: "P2".into() },
            Cause::WeakKeys {
                replica: "a:8081".into(),
                replays: 3,
                request_id: "1".into(),
                work_order: "P2".into(),
                first: "10.0.0.7 (open)".into(),
                again: "10.0.0.9 (open)".into(),
            },
        ]
    }

    fn notice(phase: Phase, cause: Cause, more: usize) -> Notice {
        Notice { phase, kind: cause.kind(), at: at(90), alarms: vec![Sighting { cause, since: at(0) }], more }
    }

    #[test]
    fn a_message_says_what_where_since_when_and_what_to_do() {
        let message = message(&notice(Phase::Firing, every_cause().remove(0), 4), "m1", Language::English);
        assert_eq!(message.title, "[Scanfence] Drift in 5 work orders");
        assert_eq!(
            message.lines,
            [
                "• P2025: quantity of input, expected 275, found 276, first bad row seq 12 (and 2 more findings); \
                 since 2026-01-03 01:16:54 UTC",
                "and 4 more",
                "Scans are still counted, but the quantity may be wrong. Run scanfence check --work-order NUMBER, then \
                 scanfence repair --finding ID --dry-run.",
            ]
        );
        let event = &message.event;
        assert_eq!((&event["type"], &event["data"]["kind"]), (&json!("alarm.firing"), &json!("drift")));
        assert_eq!(event["data"]["alarms"][0]["cause"]["work_order"], "P2025");
        assert_eq!(event["timestamp"], "2026-01-03T01:18:24.103Z");
    }

    #[test]
    fn every_alarm_is_worded_in_both_languages_and_at_both_turns() {
        for cause in every_cause() {
            let key = cause.key().to_owned();
            for phase in [Phase::Firing, Phase::Resolved] {
                let worded = |language| message(&notice(phase, cause.clone(), 0), "m1", language);
                let (english, chinese) = (worded(Language::English), worded(Language::Chinese));
                let is_chinese = |message: &WordedMessage| {
                    message.lines.concat().chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c))
                };
                assert!(!is_chinese(&english), "{english:?}");
                assert!(is_chinese(&chinese), "{chinese:?}");
                assert_eq!(english.lines.len(), if phase == Phase::Firing { 2 } else { 1 });
                assert_eq!(english.title.contains("Resolved"), phase == Phase::Resolved);
                let is_range = matches!(cause, Cause::CheckOverdue { .. } | Cause::CheckFailing { .. });
                assert!(is_range || chinese.lines[0].contains(&key), "{chinese:?}");
                assert!(english.lines[0].contains(&key) && english.lines[0].contains("2026-01-03 01:16:54"));
            }
        }
    }

    #[test]
    fn pitfall_34_what_a_scanner_sends_stays_one_visible_line() {
        let station = "A\r\nB\u{202e}evil\u{200b}".to_owned() + &"x".repeat(500);
        let cause = Cause::DuplicateBurst { station, refused: 1, within_seconds: 1, work_order: "P".into() };
        let message = message(&notice(Phase::Firing, cause, 0), "m1", Language::English);
        assert!(message.lines[0].contains("A\u{fffd}\u{fffd}B\u{fffd}evil\u{fffd}x"), "{message:?}");
        assert!(message.lines[0].chars().count() < 300 && !message.lines[0].contains('\n'));
    }
}
