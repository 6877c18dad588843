//! Scanfence counts shop-floor scans exactly once.
//!
//! The parts, in the order in which a scan passes them:
//!
//! - [`http`]: the socket, the routes, the problems. Wrong input is refused here.
//! - [`counting`]: the queues where requests wait, and the committer, which settles all waiting
//!   requests in one commit.
//! - [`lease`]: which replica works on a work order now. It only orders the work.
//! - [`store`]: the tables, and the guarded write that decides; on SQLite and PostgreSQL.
//! - [`domain`]: the rules, as pure functions.
//!
//! Beside counting:
//!
//! - [`monitor`]: checks that the log explains the quantities, and repairs them.
//! - [`alarms`]: notifies people of problems.
//!
//! Around them:
//!
//! - [`clock`]: the time of this machine.
//! - [`config`]: the settings.
//! - [`schedule`]: when checks run.
//! - [`telemetry`]: the metrics and the log.
//! - [`app`]: connects, starts and stops the parts.
//! - [`demo`]: shows in a minute that the count is right.
//! - [`cli`]: the command line.

pub mod alarms;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod counting;
pub mod demo;
pub mod domain;
pub mod http;
pub mod lease;
pub mod monitor;
pub mod schedule;
pub mod store;
pub mod telemetry;
