//! The bounds of counting.

use std::time::Duration;

/// The bounds of counting.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Most requests that wait in all. Beyond that they are refused as `overloaded`.
    pub queue: usize,
    /// Most requests that wait for one work order.
    pub queue_per_work_order: usize,
    /// Most requests in one commit.
    pub batch: usize,
    /// How long a request may wait before it is answered as unsettled. It is well below the time limit
    /// of a whole HTTP request, so that the answer still arrives.
    pub answer_within: Duration,
    /// How long ago a scan may have been made, for a hold that was set later to be passed over. `None`:
    /// no hold is passed over.
    pub late_scans: Option<Duration>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            queue: 20_000,
            queue_per_work_order: 5_000,
            batch: 512,
            answer_within: Duration::from_secs(10),
            // A long weekend.
            late_scans: Some(Duration::from_secs(72 * 60 * 60)),
        }
    }
}
