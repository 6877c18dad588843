//! A wall clock that a test can step, for one process: the time of day alone. What counts
//! durations goes on as before, as when a machine's clock is set.

use std::path::PathBuf;

use tempfile::TempDir;

use super::preload::{self, Number};

/// The clock of the processes that are started with its [`Clock::environment`].
#[derive(Debug)]
pub struct Clock {
    ahead: Number,
    library: PathBuf,
    _folder: TempDir,
}

impl Clock {
    /// One that is right.
    pub fn right() -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let library = preload::library_in(folder.path());
        Self { ahead: Number::zero(folder.path().join("ahead")), library, _folder: folder }
    }

    /// From now on so many seconds ahead of the right time, or behind it.
    pub fn step(&self, seconds: i64) {
        self.ahead.set(seconds);
    }

    /// What a process has to be started with to go by this clock.
    pub fn environment(&self) -> [(String, String); 2] {
        self.ahead.environment("STAGE_CLOCK", &self.library)
    }
}
