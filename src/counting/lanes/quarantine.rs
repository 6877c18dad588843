//! Work orders whose row is behind their log. Their requests are refused, and tried again every 30
//! seconds.
//!
//! A person repairs the row, or the monitor does if it is configured so.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use crate::domain::ids::WorkOrderNumber;

/// How long a quarantined work order is refused before it is tried again. Each try costs the other work
/// orders a failed batch, and the row has to be repaired first.
const QUARANTINE: Duration = Duration::from_secs(30);

/// Work orders whose row is behind their log. Nothing is counted for them until the row is repaired,
/// since every count would be wrong.
#[derive(Default)]
pub(in crate::counting) struct Quarantine {
    until: Mutex<HashMap<WorkOrderNumber, Instant>>,
}

impl Quarantine {
    pub(in crate::counting) fn add(&self, number: &WorkOrderNumber) {
        error!(work_order = %number, alarm = "work-order-quarantined",
            "the work order's row is behind its log: nothing is counted for it until it is repaired");
        self.entries().insert(number.clone(), Instant::now() + QUARANTINE);
    }

    pub(super) fn holds(&self, number: &WorkOrderNumber) -> bool {
        let mut entries = self.entries();
        if entries.is_empty() {
            return false;
        }
        let now = Instant::now();
        entries.retain(|_, until| now < *until);
        entries.contains_key(number)
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<WorkOrderNumber, Instant>> {
        self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
