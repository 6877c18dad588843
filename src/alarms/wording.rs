//! The words of messages, in both languages: what, where, since when, and what to do.

use serde_json::{Value, json};

use crate::alarms::senders::Letter;
use crate::domain::alarm::{Cause, Kind, Notice, Phase, Sighting};
use crate::domain::channel::Language;
use crate::domain::time::Timestamp;

/// How much of a text from outside is shown.
const MOST_SHOWN: usize = 120;

/// A notice as a letter.
#[must_use]
pub fn letter(notice: &Notice, message_id: &str, language: Language) -> Letter {
    let words = Words(language);
    let title = words.title(notice);
    let mut lines: Vec<String> = notice.alarms.iter().map(|alarm| words.line(alarm, notice)).collect();
    if notice.more > 0 {
        lines.push(words.more(notice.more));
    }
    if notice.turn == Phase::Firing {
        lines.push(words.advice(notice.kind).to_owned());
    }
    let event = json!({
        "type": format!("alarm.{}", notice.turn.word()),
        "timestamp": notice.at,
        "data": {
            "kind": notice.kind,
            "alarms": notice.alarms,
            "more": notice.more,
            "title": title,
            "text": lines.join("\n"),
        },
    });
    Letter { message_id: message_id.to_owned(), at: notice.at, language, title, lines, event }
}

/// A letter that only shows that a channel works.
#[must_use]
pub fn test_letter(channel: &str, message_id: &str, language: Language, now: Timestamp) -> Letter {
    let (title, line) = match language {
        Language::English => {
            ("[Scanfence] Test".to_owned(), format!("A test of the channel {channel}. Nothing is wrong."))
        }
        Language::Chinese => ("[Scanfence] 测试".to_owned(), format!("通道 {channel} 的测试消息，一切正常。")),
    };
    let event = json!({"type": "alarm.test", "timestamp": now, "data": {"title": title, "text": line}});
    Letter { message_id: message_id.to_owned(), at: now, language, title, lines: vec![line], event }
}

struct Words(Language);

impl Words {
    fn title(&self, notice: &Notice) -> String {
        let count = notice.alarms.len() + notice.more;
        match self.0 {
            Language::English => {
                let what = match notice.kind {
                    Kind::Drift if count == 1 => "Drift in a work order".to_owned(),
                    Kind::Drift => format!("Drift in {count} work orders"),
                    Kind::CheckOverdue => "Check overdue".to_owned(),
                    Kind::CheckFailing => "Check failing".to_owned(),
                    Kind::LeaseAway => "Redis away".to_owned(),
                    Kind::StorageFailing => "Database failing".to_owned(),
                    Kind::DuplicateBurst if count == 1 => "Duplicates at a station".to_owned(),
                    Kind::DuplicateBurst => format!("Duplicates at {count} stations"),
                };
                match notice.turn {
                    Phase::Firing => format!("[Scanfence] {what}"),
                    Phase::Resolved => format!("[Scanfence] Resolved: {what}"),
                }
            }
            Language::Chinese => {
                let what = match notice.kind {
                    Kind::Drift => format!("{count} 个工单数量与记录不符"),
                    Kind::CheckOverdue => "核对逾期未完成".to_owned(),
                    Kind::CheckFailing => "核对失败".to_owned(),
                    Kind::LeaseAway => "Redis 无响应".to_owned(),
                    Kind::StorageFailing => "数据库故障".to_owned(),
                    Kind::DuplicateBurst => format!("{count} 个工位大量重复扫码"),
                };
                match notice.turn {
                    Phase::Firing => format!("[Scanfence] {what}"),
                    Phase::Resolved => format!("[Scanfence] 已恢复：{what}"),
                }
            }
        }
    }

    fn line(&self, Sighting { cause, since }: &Sighting, notice: &Notice) -> String {
        let (since, at) = (time(*since), time(notice.at));
        match (notice.turn, self.0) {
            (Phase::Firing, Language::English) => format!("• {}; since {since}", self.matter(cause)),
            (Phase::Firing, Language::Chinese) => format!("• {}；自 {since}", self.matter(cause)),
            (Phase::Resolved, Language::English) => format!("• {}: from {since} to {at}", self.place(cause)),
            (Phase::Resolved, Language::Chinese) => format!("• {}：{since} 至 {at}", self.place(cause)),
        }
    }

    /// What is the matter.
    fn matter(&self, cause: &Cause) -> String {
        let place = self.place(cause);
        match (cause, self.0) {
            (Cause::Drift { findings, finding, counter, seq, expected, actual, .. }, Language::English) => {
                let counter = counter.as_ref().map(|counter| format!(" of {}", shown(counter))).unwrap_or_default();
                let (expected, actual) = (value(expected.as_ref()), value(actual.as_ref()));
                let seq = seq.map(|seq| format!(", first bad row seq {seq}")).unwrap_or_default();
                let others =
                    if *findings > 1 { format!(" (and {} more findings)", findings - 1) } else { String::new() };
                format!("{place}: {}{counter}, expected {expected}, found {actual}{seq}{others}", shown(finding))
            }
            (Cause::Drift { findings, finding, counter, seq, expected, actual, .. }, Language::Chinese) => {
                let counter = counter.as_ref().map(|counter| format!("（{}）", shown(counter))).unwrap_or_default();
                let (expected, actual) = (value(expected.as_ref()), value(actual.as_ref()));
                let seq = seq.map(|seq| format!("，首个异常行 seq {seq}")).unwrap_or_default();
                let others = if *findings > 1 { format!("（另有 {} 项）", findings - 1) } else { String::new() };
                format!("{place}：{}{counter}，应为 {expected}，实为 {actual}{seq}{others}", shown(finding))
            }
            (Cause::CheckOverdue { last_finished, .. }, Language::English) => match last_finished {
                Some(at) => format!("{place} last ended {}", time(*at)),
                None => format!("{place} never ended yet"),
            },
            (Cause::CheckOverdue { last_finished, .. }, Language::Chinese) => match last_finished {
                Some(at) => format!("{place}上次完成于 {}", time(*at)),
                None => format!("{place}尚未完成过"),
            },
            (Cause::CheckFailing { error, .. }, Language::English) => format!("{place} fails: {}", shown(error)),
            (Cause::CheckFailing { error, .. }, Language::Chinese) => format!("{place}失败：{}", shown(error)),
            (Cause::LeaseAway { .. }, Language::English) => format!("{place} does not answer"),
            (Cause::LeaseAway { .. }, Language::Chinese) => format!("{place}无响应"),
            (Cause::StorageFailing { error, .. }, Language::English) => format!("{place}: {}", shown(error)),
            (Cause::StorageFailing { error, .. }, Language::Chinese) => format!("{place}：{}", shown(error)),
            (Cause::DuplicateBurst { refused, within_seconds, work_order, .. }, Language::English) => {
                format!("{place}: {refused} duplicates refused within {within_seconds} s, {}", shown(work_order))
            }
            (Cause::DuplicateBurst { refused, within_seconds, work_order, .. }, Language::Chinese) => {
                format!("{place}：{within_seconds} 秒内拒绝 {refused} 次重复扫码，工单 {}", shown(work_order))
            }
        }
    }

    /// Where it is.
    fn place(&self, cause: &Cause) -> String {
        match (cause, self.0) {
            (Cause::Drift { work_order, .. }, _) => shown(work_order),
            (Cause::CheckOverdue { range, .. } | Cause::CheckFailing { range, .. }, Language::English) => {
                format!("The {} check", shown(range))
            }
            (Cause::CheckOverdue { range, .. } | Cause::CheckFailing { range, .. }, Language::Chinese) => {
                match range.as_str() {
                    "recent" => "近期核对".to_owned(),
                    "full" => "全量核对".to_owned(),
                    other => format!("{} 核对", shown(other)),
                }
            }
            (Cause::LeaseAway { replicas }, language) => {
                let names: Vec<String> = replicas.iter().map(|name| shown(name)).collect();
                match language {
                    Language::English => format!("Redis, as seen by {}", names.join(", ")),
                    Language::Chinese => format!("Redis（{}）", names.join("、")),
                }
            }
            (Cause::StorageFailing { replica, .. }, Language::English) => format!("Database of {}", shown(replica)),
            (Cause::StorageFailing { replica, .. }, Language::Chinese) => format!("{} 的数据库", shown(replica)),
            (Cause::DuplicateBurst { station, .. }, Language::English) => format!("Station {}", shown(station)),
            (Cause::DuplicateBurst { station, .. }, Language::Chinese) => format!("工位 {}", shown(station)),
        }
    }

    fn more(&self, more: usize) -> String {
        match self.0 {
            Language::English => format!("and {more} more"),
            Language::Chinese => format!("以及另外 {more} 个"),
        }
    }

    fn advice(&self, kind: Kind) -> &'static str {
        match (kind, self.0) {
            (Kind::Drift, Language::English) => {
                "Look with scanfence check --work-order NUMBER, then scanfence repair --finding ID --dry-run."
            }
            (Kind::Drift, Language::Chinese) => {
                "请用 scanfence check --work-order 工单号 查看，再用 scanfence repair --finding ID --dry-run 处理。"
            }
            (Kind::CheckOverdue | Kind::CheckFailing, Language::English) => {
                "Quantities are not being checked. Look at the service's log and GET /v1/consistency."
            }
            (Kind::CheckOverdue | Kind::CheckFailing, Language::Chinese) => {
                "目前数量未被核对。请查看服务日志与 GET /v1/consistency。"
            }
            (Kind::LeaseAway, Language::English) => {
                "Quantities stay right; scans are slower, or refused with 503 if so configured. Look at Redis and the network."
            }
            (Kind::LeaseAway, Language::Chinese) => "数量仍然正确；扫码变慢，或按设置返回 503。请检查 Redis 与网络。",
            (Kind::StorageFailing, Language::English) => {
                "Scans are not being counted; terminals keep them and retry. Look at the database and its disk."
            }
            (Kind::StorageFailing, Language::Chinese) => "扫码暂时无法计数，终端会保留并重试。请检查数据库及其磁盘。",
            (Kind::DuplicateBurst, Language::English) => {
                "Each part was counted once. A scanner that fires twice, or parts that come round again?"
            }
            (Kind::DuplicateBurst, Language::Chinese) => "每个部件只计数一次。扫码枪是否重复触发，或工件是否重复流转？",
        }
    }
}

/// A text from outside, on one line, no longer than it helps, and without characters that
/// nobody sees or that turn the direction of what follows.
fn shown(text: &str) -> String {
    let hidden = |c: char| {
        c.is_control()
            || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
    };
    let shown: String = text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect();
    match shown.char_indices().nth(MOST_SHOWN) {
        Some((end, _)) => format!("{}…", &shown[..end]),
        None => shown,
    }
}

fn value(value: Option<&Value>) -> String {
    match value {
        None | Some(Value::Null) => "–".to_owned(),
        Some(Value::String(text)) => shown(text),
        Some(other) => shown(&other.to_string()),
    }
}

/// To the second: what people read.
fn time(at: Timestamp) -> String {
    at.to_utc().format("%Y-%m-%d %H:%M:%S UTC").to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

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
        ]
    }

    fn notice(turn: Phase, cause: Cause, more: usize) -> Notice {
        Notice { turn, kind: cause.kind(), at: at(90), alarms: vec![Sighting { cause, since: at(0) }], more }
    }

    #[test]
    fn a_message_says_what_where_since_when_and_what_to_do() {
        let letter = letter(&notice(Phase::Firing, every_cause().remove(0), 4), "m1", Language::English);
        assert_eq!(letter.title, "[Scanfence] Drift in 5 work orders");
        assert_eq!(
            letter.lines,
            [
                "• P2025: quantity of input, expected 275, found 276, first bad row seq 12 (and 2 more findings); \
                 since 2026-01-03 01:16:54 UTC",
                "and 4 more",
                "Look with scanfence check --work-order NUMBER, then scanfence repair --finding ID --dry-run.",
            ]
        );
        let event = &letter.event;
        assert_eq!((&event["type"], &event["data"]["kind"]), (&json!("alarm.firing"), &json!("drift")));
        assert_eq!(event["data"]["alarms"][0]["cause"]["work_order"], "P2025");
        assert_eq!(event["timestamp"], "2026-01-03T01:18:24.103Z");
    }

    #[test]
    fn every_alarm_is_worded_in_both_languages_and_at_both_turns() {
        for cause in every_cause() {
            let key = cause.key().to_owned();
            for turn in [Phase::Firing, Phase::Resolved] {
                let said = |language| letter(&notice(turn, cause.clone(), 0), "m1", language);
                let (english, chinese) = (said(Language::English), said(Language::Chinese));
                let is_chinese =
                    |letter: &Letter| letter.lines.concat().chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
                assert!(!is_chinese(&english), "{english:?}");
                assert!(is_chinese(&chinese), "{chinese:?}");
                assert_eq!(english.lines.len(), if turn == Phase::Firing { 2 } else { 1 });
                assert_eq!(english.title.contains("Resolved"), turn == Phase::Resolved);
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
        let letter = letter(&notice(Phase::Firing, cause, 0), "m1", Language::English);
        assert!(letter.lines[0].contains("A\u{fffd}\u{fffd}B\u{fffd}evil\u{fffd}x"), "{letter:?}");
        assert!(letter.lines[0].chars().count() < 300 && !letter.lines[0].contains('\n'));
    }
}
