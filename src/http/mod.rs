//! HTTP: reads requests, checks who may call, and writes answers. No other part names axum or hyper.
//!
//! | where | what it does |
//! | --- | --- |
//! | [`edge`] | sockets, limits, who may call, the log line of a request |
//! | [`input`] | from a request's bytes to checked values |
//! | [`routes`] | the table of routes, and one file per resource |
//! | [`output`] | answers: problems and their words, updates, pages of lists, CSV |
//! | [`state`] | what every handler works with |
//! | [`first_senders`] | replays from another sender than the first request |
//! | [`readiness`] | the database's last answer to "are you ready?" |
//!
//! This file only declares and re-exports. What two files need is in a file of its own, so that no
//! file imports from one that imports from it.

mod edge;
mod first_senders;
mod input;
mod output;
mod readiness;
mod routes;
mod state;

#[cfg(test)]
mod tests;

pub use self::edge::limits::Limits;
pub use self::edge::{access, server};
pub use self::output::code::Code;
pub use self::output::language::Language;
pub use self::routes::ROUTES;
pub use self::routes::documents::OPENAPI;
pub use self::state::{Http, Parts};
