//! What happened so far, in numbers.

use std::sync::{Mutex, PoisonError};

/// The numbers of the demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Parts made, each of them scanned once.
    pub made: u64,
    /// Parts whose terminal knows that they are counted.
    pub settled: u64,
    /// Requests that the terminals sent.
    pub sent: u64,
    /// Of those, how many never arrived.
    pub requests_lost: u64,
    /// Answers that never came back.
    pub answers_lost: u64,
    /// Requests that the network delivered twice.
    pub doubled: u64,
    /// Requests that arrived after their terminal had given up waiting.
    pub late: u64,
    /// Requests that the service answered: what a counter that adds one for each would show.
    pub reached: u64,
    /// Of those, how many were known, and answered as before.
    pub repeats: u64,
    /// Parts scanned a second time, and refused.
    pub scanned_twice: u64,
    /// Requests that the service asked to send again later.
    pub put_off: u64,
}

impl Numbers {
    /// Parts that are not settled yet.
    pub fn on_their_way(&self) -> u64 {
        self.made.saturating_sub(self.settled)
    }
}

/// Where everybody notes what happens.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Numbers>);

impl Tally {
    /// Notes something, and gives what the note comes to.
    pub fn note<T>(&self, change: impl FnOnce(&mut Numbers) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The numbers as they are.
    pub fn numbers(&self) -> Numbers {
        self.note(|numbers| *numbers)
    }
}
