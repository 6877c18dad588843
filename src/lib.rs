//! Scanfence counts shop-floor scans exactly once.
//!
//! In the order in which a scan comes through:
//!
//! - [`http`]: the socket, the routes, the problems; bad input ends here.
//! - [`counting`]: the mailbox where requests wait and the committer that settles all
//!   that waits in one commit.
//! - [`lease`]: which replica works on a work order now. It only orders the work.
//! - [`store`]: the tables and the guarded write that decides; on SQLite and PostgreSQL.
//! - [`domain`]: the rules, as pure functions.
//!
//! Beside it: [`monitor`], which proves that the log explains the quantities and repairs them,
//! and [`alarms`], which tell people what is wrong.
//!
//! And around it: [`config`] (settings), [`schedule`] (when something is due), [`telemetry`]
//! (metrics and log), [`app`] (how the parts are put together and stopped), [`demo`] (a minute
//! that shows it), [`cli`] (the command line).

pub mod alarms;
pub mod app;
pub mod cli;
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
