//! The store's failures in a row, and the pauses after them.

use std::time::Duration;

use tracing::warn;

use crate::store::StoreError;
use crate::telemetry::causes;

/// The pauses after the first failure of the store, and after many failures in a row.
const FIRST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often the store failed in a row, as one lane sees it.
#[derive(Default)]
pub(in crate::counting) struct FailureStreak {
    in_a_row: u32,
}

impl FailureStreak {
    /// The store has done what it was asked.
    pub(in crate::counting) fn end(&mut self) {
        if self.in_a_row > 1 {
            warn!(failures = self.in_a_row, "the store answers again");
        }
        self.in_a_row = 0;
    }

    /// Notes a failure, and pauses before the next try. It logs the first failure in a row.
    pub(super) async fn pause_after(&mut self, error: &StoreError) {
        self.in_a_row = self.in_a_row.saturating_add(1);
        if self.in_a_row == 1 || error.outcome_unknown() && self.in_a_row.is_power_of_two() {
            warn!(cause = causes(error), failures = self.in_a_row, "{error}");
        }
        let pause = FIRST_PAUSE.saturating_mul(1 << self.in_a_row.min(10).saturating_sub(1));
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
    }
}
