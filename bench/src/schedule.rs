//! When requests are due: at random moments of a fixed mean rate (as pgbench's `--rate`), also if no
//! connection is free to send them. The wait is part of the latency.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rand::{RngExt as _, SeedableRng as _};
use tokio::sync::Semaphore;

/// Requests that are due and not yet taken.
#[derive(Debug)]
pub struct Schedule {
    due: Mutex<VecDeque<Instant>>,
    ready: Semaphore,
}

/// The pacing thread wakes no more often: more wake-ups would take CPU from the contender.
const SHORTEST_SLEEP: Duration = Duration::from_micros(100);

impl Schedule {
    /// A schedule of `rate` a second from `from` to `to`, with a thread of its own. At its
    /// end, each of `takers` gets a last `None`.
    pub fn start(rate: f64, from: Instant, to: Instant, takers: usize) -> Arc<Self> {
        let schedule = Arc::new(Self { due: Mutex::new(VecDeque::new()), ready: Semaphore::new(0) });
        let pacing = Arc::clone(&schedule);
        // Not joined: it ends at `to`, and the takers wait for their last `None`.
        thread::spawn(move || {
            let mut rng = rand::rngs::SmallRng::seed_from_u64(rate.to_bits());
            let mut next = from;
            while next < to {
                thread::sleep(next.saturating_duration_since(Instant::now()).max(SHORTEST_SLEEP));
                let now = Instant::now();
                let mut released = 0;
                {
                    let mut due = pacing.due.lock().unwrap_or_else(PoisonError::into_inner);
                    while next <= now && next < to {
                        due.push_back(next);
                        released += 1;
                        let uniform: f64 = rng.random();
                        next += Duration::from_secs_f64(-(1.0 - uniform).ln() / rate);
                    }
                }
                pacing.ready.add_permits(released);
            }
            pacing.ready.add_permits(takers);
        });
        schedule
    }

    /// Waits until the next request is due, and returns that moment. `None` at the end.
    pub async fn next(&self) -> Option<Instant> {
        self.ready.acquire().await.ok()?.forget();
        self.due.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_nobody_took_in_time_keeps_the_time_it_was_due() {
        let from = Instant::now();
        let to = from + Duration::from_millis(200);
        let schedule = Schedule::start(1000.0, from, to, 1);
        thread::sleep(Duration::from_millis(300));
        let mut seen = Vec::new();
        while let Some(due) = schedule.next().await {
            seen.push(due);
        }
        assert!((100..400).contains(&seen.len()), "{} of about 200", seen.len());
        assert!(seen.is_sorted() && seen.iter().all(|due| *due < to));
    }
}
