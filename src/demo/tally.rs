//! The numbers of what happened so far.

use std::sync::{Mutex, PoisonError};

/// The numbers of the demo.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Parts made. Each of them is scanned once.
    pub made: u64,
    /// Parts whose terminal knows that they are counted.
    pub settled: u64,
    /// Requests that the terminals sent.
    pub sent: u64,
    /// Requests that never arrived.
    pub requests_lost: u64,
    /// Answers that never came back.
    pub answers_lost: u64,
    /// Requests that the network delivered twice.
    pub doubled: u64,
    /// Requests that arrived after their terminal stopped waiting.
    pub late: u64,
    /// Requests that the service answered. A naive counter, which adds one for each, shows this number.
    pub reached: u64,
    /// Repeats among them, which got the same answer as before.
    pub repeats: u64,
    /// Parts scanned a second time, and refused.
    pub scanned_twice: u64,
    /// Requests that the terminal must send again later.
    pub put_off: u64,
}

impl Numbers {
    /// Parts without an answer so far.
    pub fn on_their_way(&self) -> u64 {
        self.made.saturating_sub(self.settled)
    }
}

/// The numbers, shared by all tasks of the demo.
#[derive(Debug, Default)]
pub struct Tally(Mutex<Numbers>);

impl Tally {
    /// Changes the numbers, and gives what `change` gives.
    pub fn note<T>(&self, change: impl FnOnce(&mut Numbers) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The current numbers.
    pub fn numbers(&self) -> Numbers {
        self.note(|numbers| *numbers)
    }
}
