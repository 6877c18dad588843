//! The options of the demo.

use std::path::PathBuf;
use std::time::Duration;

use super::words::Language;

/// The number of terminals, as on a usual production line.
pub const TERMINALS: u64 = 12;

/// What the user chooses.
#[derive(Clone, Debug)]
pub struct Options {
    /// How long parts are made.
    pub time: Duration,
    /// The start of the random numbers. The same seed repeats the same faults.
    pub seed: u64,
    /// Where the folder of the service is made. It is removed at the end.
    pub folder: PathBuf,
    /// The language of the texts.
    pub language: Language,
    /// Whether stderr shows colours.
    pub colour: bool,
}
