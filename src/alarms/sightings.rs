//! What the tables show as wrong, as sightings. Pure.

use std::time::Duration;

use crate::domain::alarm::{Cause, Sighting};
use crate::domain::time::Timestamp;
use crate::store::alarms::{Burst, Checks, Drifting};

/// A running check that made progress this recently is not overdue.
const PROGRESS_WITHIN: Duration = Duration::from_secs(5 * 60);

/// A work order with findings.
pub(super) fn of_drift(drifting: Drifting) -> Sighting {
    let Drifting { work_order, findings, kind, counter, seq, expected, actual, found_at } = drifting;
    let cause = Cause::Drift { work_order, findings, finding: kind, counter, seq, expected, actual };
    Sighting { cause, since: found_at }
}

/// A station with many refused duplicates within this time.
pub(super) fn of_burst(burst: Burst, within: Duration) -> Sighting {
    let Burst { station, refused, since, work_order } = burst;
    let cause = Cause::DuplicateBurst { station, refused, within_seconds: within.as_secs(), work_order };
    Sighting { cause, since }
}

/// The checks of one range: overdue, failing, or neither. `due` is when the next one should have ended.
pub(super) fn of_checks(checks: Checks, due: Option<Timestamp>, now: Timestamp) -> Vec<Sighting> {
    let Checks { range, last_read, last_advance, failed_at, error } = checks;
    let advances = last_advance.is_some_and(|at| now.since(at) < PROGRESS_WITHIN);
    let overdue = due.filter(|&due| due <= now && !advances).map(|since| {
        let cause = Cause::CheckOverdue { range: range.clone(), last_finished: last_read };
        Sighting { cause, since }
    });
    let failing = failed_at.map(|since| {
        let cause = Cause::CheckFailing { range: range.clone(), error: error.unwrap_or_default() };
        Sighting { cause, since }
    });
    overdue.into_iter().chain(failing).collect()
}
