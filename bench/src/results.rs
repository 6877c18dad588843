//! One measured cell: a contender under one load at one number of connections.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

/// What a measuring program prints as one line of JSON.
#[derive(Debug, Serialize, Deserialize)]
pub struct Cell {
    /// The contender.
    pub name: String,
    /// `hot`, `spread` or `factory`.
    pub load: String,
    /// Connections, each with one request under way at most.
    pub connections: usize,
    /// As fast as it goes. A request is due when its connection is free, so its latency does not include
    /// a wait for a connection.
    pub closed: Phase,
    /// At a fixed rate below that. Latency counts from the time when a request was due.
    pub open: Option<Phase>,
    /// Whether the quantities equal the acknowledged scans.
    pub check: Check,
}

/// One stretch of measuring, warm-up left out.
#[derive(Debug, Serialize, Deserialize)]
pub struct Phase {
    /// The fixed rate, if there was one.
    pub rate: Option<f64>,
    /// Length of the stretch.
    pub seconds: f64,
    /// Requests answered 201 (transactions committed) in it.
    pub answered: u64,
    /// The same per second.
    pub per_second: f64,
    /// Latency of those.
    pub latency: Latency,
    /// Latency by replica, if there are several.
    pub replicas: Vec<Latency>,
    /// Every other answer, by status or name.
    pub others: BTreeMap<String, u64>,
    /// Requests that were due and never sent. Their wait is in the latency.
    pub unsent: u64,
    /// CPU and memory by process.
    pub processes: Vec<Usage>,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50_us: u64,
    /// 99th percentile.
    pub p99_us: u64,
    /// The slowest.
    pub max_us: u64,
}

/// What a process and its children used.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Usage {
    /// Its name. The cost of [`GENERATOR`] is not the contender's.
    pub name: String,
    /// User and system time within the stretch.
    pub cpu_seconds: f64,
    /// The largest memory seen: private pages of all its processes and the largest shared part.
    pub peak_bytes: u64,
}

/// The usage that belongs to the load generator.
pub const GENERATOR: &str = "generator";

/// The comparison at the end.
#[derive(Debug, Serialize, Deserialize)]
pub struct Check {
    /// Distinct request ids answered 201, warm-up and settling included.
    pub acknowledged: u64,
    /// By how much the quantities rose.
    pub quantity: u64,
    /// 201s for repeated request ids.
    pub replayed: u64,
    /// Requests without a 201 that got it when repeated at the end.
    pub settled: u64,
    /// Requests that never got a 201. They may have counted.
    pub unsettled: u64,
}

impl Check {
    /// Each acknowledged scan is counted once, and nothing else is counted except unsettled requests.
    pub fn passed(&self) -> bool {
        (self.acknowledged..=self.acknowledged + self.unsettled).contains(&self.quantity)
    }
}

/// A histogram of microseconds up to ten minutes, to three digits.
pub fn histogram() -> Histogram<u64> {
    const LONGEST_US: u64 = 600_000_000;
    Histogram::new_with_bounds(1, LONGEST_US, 3).expect("1 < 2 * 1 <= longest, and 3 digits are allowed")
}

/// Notes a latency.
pub fn record(histogram: &mut Histogram<u64>, latency: Duration) {
    histogram.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(u64::MAX).max(1));
}

impl From<&Histogram<u64>> for Latency {
    fn from(histogram: &Histogram<u64>) -> Self {
        Self {
            p50_us: histogram.value_at_quantile(0.5),
            p99_us: histogram.value_at_quantile(0.99),
            max_us: histogram.max(),
        }
    }
}
