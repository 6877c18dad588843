//! How long leases last, and when they are renewed.

use std::time::Duration;

/// How long leases last.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long Redis keeps a lease that is not renewed.
    pub ttl: Duration,
    /// How long a lease is held at most, however often it is renewed.
    pub longest_hold: Duration,
}

impl Timing {
    /// How much sooner than Redis this process treats a lease as over: a twentieth of its time. In that
    /// time, the clocks of two machines drift apart far less.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.ttl / 20
    }

    /// Renewal comes after a third of the time. So one renewal may fail and be retried.
    pub(super) fn renew_after(&self) -> Duration {
        self.ttl / 3
    }

    /// A renewal without an answer is retried after this time.
    pub(super) fn retry_after(&self) -> Duration {
        self.ttl / 12
    }
}
