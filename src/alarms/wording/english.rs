//! Alarm messages in English.

use super::shown::{shown, time, value};
use crate::domain::alarm::{Cause, Kind, Notice, Phase, Sighting};

/// The first line.
pub(super) fn title(notice: &Notice) -> String {
    let count = notice.alarms.len() + notice.more;
    let what = match notice.kind {
        Kind::Drift if count == 1 => "Drift in a work order".to_owned(),
        Kind::Drift => format!("Drift in {count} work orders"),
        Kind::CheckOverdue => "Check overdue".to_owned(),
        Kind::CheckFailing => "Check failing".to_owned(),
        Kind::LeaseAway => "Redis does not answer".to_owned(),
        Kind::StorageFailing => "Database failing".to_owned(),
        Kind::DuplicateBurst if count == 1 => "Duplicates at a station".to_owned(),
        Kind::DuplicateBurst => format!("Duplicates at {count} stations"),
        Kind::WeakKeys => "Terminals may share request ids".to_owned(),
    };
    match notice.phase {
        Phase::Firing => format!("[Scanfence] {what}"),
        Phase::Resolved => format!("[Scanfence] Resolved: {what}"),
    }
}

/// The other lines: the alarms, and while they fire what they mean and what to do.
pub(super) fn lines(notice: &Notice) -> Vec<String> {
    let mut lines: Vec<String> = notice.alarms.iter().map(|alarm| line(alarm, notice)).collect();
    if notice.more > 0 {
        lines.push(format!("and {} more", notice.more));
    }
    match notice.phase {
        Phase::Firing => lines.push(advice(notice.kind).to_owned()),
        Phase::Resolved => {}
    }
    lines
}

/// Title and text of a test message.
pub(super) fn test(channel: &str) -> (String, String) {
    ("[Scanfence] Test".to_owned(), format!("A test of the channel {channel}. Nothing is wrong."))
}

fn line(Sighting { cause, since }: &Sighting, notice: &Notice) -> String {
    let (since, at) = (time(*since), time(notice.at));
    match notice.phase {
        Phase::Firing => format!("• {}; since {since}", what(cause)),
        Phase::Resolved => format!("• {}: from {since} to {at}", place(cause)),
    }
}

/// What is wrong, and where.
fn what(cause: &Cause) -> String {
    let place = place(cause);
    match cause {
        Cause::Drift { findings, finding, counter, seq, expected, actual, .. } => {
            let counter = counter.as_ref().map(|counter| format!(" of {}", shown(counter))).unwrap_or_default();
            let (expected, actual) = (value(expected.as_ref()), value(actual.as_ref()));
            let seq = seq.map(|seq| format!(", first bad row seq {seq}")).unwrap_or_default();
            let others = if *findings > 1 { format!(" (and {} more findings)", findings - 1) } else { String::new() };
            format!("{place}: {}{counter}, expected {expected}, found {actual}{seq}{others}", shown(finding))
        }
        Cause::CheckOverdue { last_finished: Some(at), .. } => format!("{place} last ended {}", time(*at)),
        Cause::CheckOverdue { last_finished: None, .. } => format!("{place} has not ended yet"),
        Cause::CheckFailing { error, .. } => format!("{place} fails: {}", shown(error)),
        Cause::LeaseAway { .. } => format!("{place} does not answer"),
        Cause::StorageFailing { error, .. } => format!("{place}: {}", shown(error)),
        Cause::DuplicateBurst { refused, within_seconds, work_order, .. } => {
            let work_order = shown(work_order);
            format!("{place}: {refused} duplicates refused within {within_seconds} s, work order {work_order}")
        }
        Cause::WeakKeys { replays, request_id, work_order, first, again, .. } => {
            let (id, work_order) = (shown(request_id), shown(work_order));
            let (first, again) = (shown(first), shown(again));
            format!(
                "{place}: {replays} requests came again from another sender, such as {id} of work order {work_order}, \
                 first from {first}, then from {again}"
            )
        }
    }
}

/// Where it is.
fn place(cause: &Cause) -> String {
    match cause {
        Cause::Drift { work_order, .. } => shown(work_order),
        Cause::CheckOverdue { range, .. } | Cause::CheckFailing { range, .. } => format!("The {} check", shown(range)),
        Cause::LeaseAway { replicas } => {
            let names: Vec<String> = replicas.iter().map(|name| shown(name)).collect();
            format!("Redis (seen by {})", names.join(", "))
        }
        Cause::StorageFailing { replica, .. } => format!("Database of {}", shown(replica)),
        Cause::DuplicateBurst { station, .. } => format!("Station {}", shown(station)),
        Cause::WeakKeys { replica, .. } => format!("Replica {}", shown(replica)),
    }
}

/// What it means for the scans, and what to do next.
fn advice(kind: Kind) -> &'static str {
    match kind {
        Kind::Drift => {
            "Scans are still counted, but the quantity may be wrong. Run scanfence check --work-order NUMBER, then \
             scanfence repair --finding ID --dry-run."
        }
        Kind::CheckOverdue => {
            "Scans are still counted, but quantities are not checked. Read the service's log and GET /v1/consistency."
        }
        Kind::CheckFailing => {
            "Scans are still counted, but quantities are not checked. Look at the database, then read the service's log."
        }
        Kind::LeaseAway => {
            "Scans are counted correctly but slower, or get 503 if so configured. Look at Redis and the network."
        }
        Kind::StorageFailing => {
            "Scans are not counted. Terminals keep them and retry. Look at the database and its disk."
        }
        Kind::DuplicateBurst => {
            "Each part was counted once. Check whether the scanner fires twice, or parts pass the station again."
        }
        Kind::WeakKeys => {
            "A part may be missing from the count: its scan was taken as a repeat of another terminal's scan. Let \
             terminals make a random request id for each scan (UUIDv7) and send terminal. The log names the senders."
        }
    }
}
