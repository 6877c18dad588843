//! Work orders for which nothing is counted until a person has repaired their row.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::error;

use crate::domain::ids::WorkOrderNumber;

/// How long a quarantined work order is refused before it is tried again. A person has to repair its
/// row, and each try costs the other work orders a failed batch.
const QUARANTINE: Duration = Duration::from_secs(30);

/// Work orders whose row is behind their log. Nothing is counted for them until a person has repaired
/// the row, since every count would be wrong.
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
