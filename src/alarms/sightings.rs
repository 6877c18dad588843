//! Makes sightings from the conditions that the store has read.

use std::time::Duration;

use crate::domain::alarm::{Cause, Sighting};
use crate::store::alarms::{Burst, Drifting};

/// The sighting of a work order with findings.
pub(super) fn of_drift(drifting: Drifting) -> Sighting {
    let Drifting { work_order, findings, kind, counter, seq, expected, actual, found_at } = drifting;
    let cause = Cause::Drift { work_order, findings, finding: kind, counter, seq, expected, actual };
    Sighting { cause, since: found_at }
}

/// The sighting of a station that has refused many duplicates `within` this time.
pub(super) fn of_burst(burst: Burst, within: Duration) -> Sighting {
    let Burst { station, refused, since, work_order } = burst;
    let cause = Cause::DuplicateBurst { station, refused, within_seconds: within.as_secs(), work_order };
    Sighting { cause, since }
}
