//! When to stop asking, and when to try again. Pure: the clock is handed in.

use std::time::{Duration, Instant};

/// Failures in a row that open the breaker: one spurious time-out must not.
const FAILURES: u32 = 3;

/// How long after opening, or after a failed probe, the next probe may go: short enough
/// that nobody works by the row lock for long without need, and a Redis that hangs costs
/// one time limit a second, paid by no scan.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// A circuit breaker: closed while Redis answers; open after [`FAILURES`] in a row; half-open
/// while one probe is on its way.
#[derive(Debug, Default)]
pub struct Breaker {
    state: State,
    /// Failures in a row.
    failures: u32,
    /// When the last of them was counted.
    failed_at: Option<Instant>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Closed,
    Open {
        since: Instant,
    },
    HalfOpen {
        since: Instant,
    },
}

/// What a result did to the breaker: to be logged and shown, once each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerChange {
    /// Nothing to tell.
    None,
    /// The first failure after success.
    Faltered,
    /// Success after one or two failures; the breaker stayed closed.
    Steadied,
    /// It opened: Redis is asked no more.
    Opened,
    /// It closed again.
    Closed,
}

impl Breaker {
    /// Whether calls may go; a probe is asked for apart.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// Whether the caller shall probe now. Only one is told so at a time; one that never
    /// reports is given up after [`PROBE_EVERY`].
    pub fn probe(&mut self, now: Instant) -> bool {
        match self.state {
            State::Closed => false,
            State::Open { since } | State::HalfOpen { since } => {
                let due = now.saturating_duration_since(since) >= PROBE_EVERY;
                if due {
                    self.state = State::HalfOpen { since: now };
                }
                due
            }
        }
    }

    /// A call or probe begun at `began` succeeded.
    pub fn succeeded(&mut self, began: Instant) -> BreakerChange {
        match self.state {
            State::Closed => {
                let faltered = std::mem::take(&mut self.failures) > 0;
                if faltered { BreakerChange::Steadied } else { BreakerChange::None }
            }
            State::HalfOpen { since } if began >= since => {
                *self = Self::default();
                BreakerChange::Closed
            }
            // A straggler from before: the probe decides.
            State::Open { .. } | State::HalfOpen { .. } => BreakerChange::None,
        }
    }

    /// A call or probe begun at `began` failed by `now`.
    pub fn failed(&mut self, began: Instant, now: Instant) -> BreakerChange {
        match self.state {
            State::Closed => {
                // Calls that were on their way together fail together: one failure, not many.
                if self.failures > 0 && self.failed_at.is_some_and(|at| began < at) {
                    return BreakerChange::None;
                }
                self.failures += 1;
                self.failed_at = Some(now);
                if self.failures >= FAILURES {
                    self.state = State::Open { since: now };
                    BreakerChange::Opened
                } else if self.failures == 1 {
                    BreakerChange::Faltered
                } else {
                    BreakerChange::None
                }
            }
            State::HalfOpen { since } if began >= since => {
                self.state = State::Open { since: now };
                BreakerChange::None
            }
            State::Open { .. } | State::HalfOpen { .. } => BreakerChange::None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn open(start: Instant) -> Breaker {
        let mut breaker = Breaker::default();
        for call in 0..FAILURES {
            breaker.failed(start + call * MS, start + call * MS);
        }
        assert!(!breaker.is_closed());
        breaker
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_a_success_between_does_not() {
        let t = Instant::now();
        let mut breaker = Breaker::default();
        assert_eq!(breaker.failed(t, t), BreakerChange::Faltered);
        assert_eq!(breaker.failed(t + MS, t + MS), BreakerChange::None);
        assert_eq!(breaker.succeeded(t + 2 * MS), BreakerChange::Steadied);
        assert_eq!(breaker.succeeded(t + 2 * MS), BreakerChange::None);
        assert_eq!(breaker.failed(t + 3 * MS, t + 3 * MS), BreakerChange::Faltered);
        assert_eq!(breaker.failed(t + 4 * MS, t + 4 * MS), BreakerChange::None);
        assert!(breaker.is_closed());
        assert_eq!(breaker.failed(t + 5 * MS, t + 5 * MS), BreakerChange::Opened);
        assert!(!breaker.is_closed());
    }

    #[test]
    fn calls_that_fail_together_are_one_failure() {
        let t = Instant::now();
        let mut breaker = Breaker::default();
        for together in 0..10 {
            breaker.failed(t + together * MS, t + 150 * MS);
        }
        assert!(breaker.is_closed());
    }

    #[test]
    fn while_half_open_only_one_probes() {
        let t = Instant::now();
        let mut breaker = open(t);
        assert!(!breaker.probe(t + 500 * MS), "not yet");
        let due = t + PROBE_EVERY + 10 * MS;
        assert!(breaker.probe(due));
        assert!(!breaker.probe(due + MS), "one is on its way");
        assert_eq!(breaker.failed(due, due + 150 * MS), BreakerChange::None);
        assert!(!breaker.is_closed());
        assert!(!breaker.probe(due + 500 * MS));
        let again = due + 150 * MS + PROBE_EVERY;
        assert!(breaker.probe(again));
        assert_eq!(breaker.succeeded(again), BreakerChange::Closed);
        assert!(breaker.is_closed());
        assert!(!breaker.probe(again + PROBE_EVERY * 9), "there is nothing to probe");
    }

    #[test]
    fn a_straggler_neither_closes_nor_reopens_it() {
        let t = Instant::now();
        let mut breaker = open(t);
        assert_eq!(breaker.succeeded(t), BreakerChange::None);
        assert!(!breaker.is_closed());
        let due = t + PROBE_EVERY + 10 * MS;
        assert!(breaker.probe(due));
        assert_eq!(breaker.succeeded(t), BreakerChange::None);
        assert_eq!(breaker.failed(t, due + MS), BreakerChange::None);
        assert_eq!(breaker.succeeded(due), BreakerChange::Closed);
    }

    #[test]
    fn a_probe_that_never_reports_is_given_up() {
        let t = Instant::now();
        let mut breaker = open(t);
        let due = t + PROBE_EVERY + 10 * MS;
        assert!(breaker.probe(due));
        assert!(breaker.probe(due + PROBE_EVERY));
    }

    #[test]
    fn after_closing_it_takes_three_failures_again() {
        let t = Instant::now();
        let mut breaker = open(t);
        let due = t + PROBE_EVERY + 10 * MS;
        assert!(breaker.probe(due));
        breaker.succeeded(due);
        breaker.failed(due + MS, due + MS);
        breaker.failed(due + 2 * MS, due + 2 * MS);
        assert!(breaker.is_closed());
    }
}
