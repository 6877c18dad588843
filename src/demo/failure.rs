//! Why the demo has no verdict.

use std::path::PathBuf;
use std::time::Duration;

use crate::app;
use crate::config::BadConfig;

/// Why the demo has no verdict.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The folder can't be made.
    #[error("the demo can't make a folder for its data in {0}")]
    Folder(PathBuf, #[source] std::io::Error),
    /// There are no signals, or no free port.
    #[error("the demo can't get signals or a free port")]
    Machine(#[from] std::io::Error),
    /// The defaults are refused.
    #[error(transparent)]
    Config(#[from] BadConfig),
    /// The service did not start, or stopped.
    #[error("the service of the demo stopped")]
    Service(#[from] app::Failure),
    /// The service does not answer.
    #[error("the service of the demo does not answer")]
    Unreachable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The service does something that it should not.
    #[error("the service of the demo {0}")]
    Unexpected(String),
    /// Some scans have no answer in time.
    #[error("no verdict: {0} parts have no answer after {1:?}")]
    Unsettled(u64, Duration),
    /// The user stopped the demo.
    #[error("no verdict: you stopped the demo early")]
    Interrupted,
}
