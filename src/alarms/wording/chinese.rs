//! Alarm messages in Chinese.

use super::shown::{shown, time, value};
use crate::domain::alarm::{Cause, Kind, Notice, Phase, Sighting};

/// The first line.
pub(super) fn title(notice: &Notice) -> String {
    let count = notice.alarms.len() + notice.more;
    let what = match notice.kind {
        Kind::Drift => format!("{count} 个工单数量与记录不符"),
        Kind::CheckOverdue => "核对逾期未完成".to_owned(),
        Kind::CheckFailing => "核对失败".to_owned(),
        Kind::LeaseAway => "Redis 无响应".to_owned(),
        Kind::StorageFailing => "数据库故障".to_owned(),
        Kind::DuplicateBurst => format!("{count} 个工位大量重复扫码"),
        Kind::WeakKeys => "不同终端可能用了相同的请求号".to_owned(),
    };
    match notice.phase {
        Phase::Firing => format!("[Scanfence] {what}"),
        Phase::Resolved => format!("[Scanfence] 已恢复：{what}"),
    }
}

/// The other lines: the alarms, and while they fire what they mean and what to do.
pub(super) fn lines(notice: &Notice) -> Vec<String> {
    let mut lines: Vec<String> = notice.alarms.iter().map(|alarm| line(alarm, notice)).collect();
    if notice.more > 0 {
        lines.push(format!("另有 {} 个", notice.more));
    }
    match notice.phase {
        Phase::Firing => lines.push(advice(notice.kind).to_owned()),
        Phase::Resolved => {}
    }
    lines
}

/// Title and text of a test message.
pub(super) fn test(channel: &str) -> (String, String) {
    ("[Scanfence] 测试".to_owned(), format!("通道 {channel} 的测试消息，一切正常。"))
}

fn line(Sighting { cause, since }: &Sighting, notice: &Notice) -> String {
    let (since, at) = (time(*since), time(notice.at));
    match notice.phase {
        Phase::Firing => format!("• {}；自 {since}", what(cause)),
        Phase::Resolved => format!("• {}：{since} 至 {at}", place(cause)),
    }
}

/// What is wrong, and where.
fn what(cause: &Cause) -> String {
    let place = place(cause);
    match cause {
        Cause::Drift { findings, finding, counter, seq, expected, actual, .. } => {
            let counter = counter.as_ref().map(|counter| format!("（{}）", shown(counter))).unwrap_or_default();
            let (expected, actual) = (value(expected.as_ref()), value(actual.as_ref()));
            let seq = seq.map(|seq| format!("，首个异常行 seq {seq}")).unwrap_or_default();
            let others = if *findings > 1 { format!("（另有 {} 项）", findings - 1) } else { String::new() };
            format!("{place}：{}{counter}，应为 {expected}，实为 {actual}{seq}{others}", shown(finding))
        }
        Cause::CheckOverdue { last_finished: Some(at), .. } => format!("{place}上次完成于 {}", time(*at)),
        Cause::CheckOverdue { last_finished: None, .. } => format!("{place}还没有完成过"),
        Cause::CheckFailing { error, .. } => format!("{place}失败：{}", shown(error)),
        Cause::LeaseAway { .. } => format!("{place}无响应"),
        Cause::StorageFailing { error, .. } => format!("{place}：{}", shown(error)),
        Cause::DuplicateBurst { refused, within_seconds, work_order, .. } => {
            format!("{place}：{within_seconds} 秒内拒绝 {refused} 次重复扫码，工单 {}", shown(work_order))
        }
        Cause::WeakKeys { replays, request_id, work_order, first, again, .. } => {
            let (id, work_order) = (shown(request_id), shown(work_order));
            let (first, again) = (shown(first), shown(again));
            format!(
                "{place}：{replays} 个请求又从另一来源发来，例如工单 {work_order} 的请求号 {id}，\
                 先来自 {first}，后来自 {again}"
            )
        }
    }
}

/// Where it is.
fn place(cause: &Cause) -> String {
    match cause {
        Cause::Drift { work_order, .. } => shown(work_order),
        Cause::CheckOverdue { range, .. } | Cause::CheckFailing { range, .. } => match range.as_str() {
            "recent" => "近期核对".to_owned(),
            "full" => "全量核对".to_owned(),
            other => format!("{} 核对", shown(other)),
        },
        Cause::LeaseAway { replicas } => {
            let names: Vec<String> = replicas.iter().map(|name| shown(name)).collect();
            format!("Redis（{}）", names.join("、"))
        }
        Cause::StorageFailing { replica, .. } => format!("{} 的数据库", shown(replica)),
        Cause::DuplicateBurst { station, .. } => format!("工位 {}", shown(station)),
        Cause::WeakKeys { replica, .. } => format!("副本 {}", shown(replica)),
    }
}

/// What it means for the scans, and what to do next.
fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::Drift => {
            "扫码照常计数，但数量可能有误。请运行 scanfence check --work-order 工单号，\
             再运行 scanfence repair --finding ID --dry-run。"
        }
        Kind::CheckOverdue => "扫码照常计数，但数量目前没有核对。请查看服务日志和 GET /v1/consistency。",
        Kind::CheckFailing => "扫码照常计数，但数量目前没有核对。请先检查数据库，再查看服务日志。",
        Kind::LeaseAway => "数量仍然正确。扫码变慢，或按设置返回 503。请检查 Redis 和网络。",
        Kind::StorageFailing => "扫码暂时不能计数，终端会保留扫码并重试。请检查数据库及其磁盘。",
        Kind::DuplicateBurst => "每个零件只计一次。请检查：扫码枪是否重复触发，零件是否再次经过工位。",
        Kind::WeakKeys => {
            "可能有零件漏计：它的扫码被当成另一终端扫码的重试。请让终端为每次扫码生成随机请求号（UUIDv7），\
             并上报 terminal。来源见服务日志。"
        }
    }
}
