//! Counting: from a typed request to an answer that is on disk.
//!
//! Requests wait in the [`queue`], per work order; the committer takes all that
//! waits, of all work orders, and settles it in one commit. While one commit is on its
//! way the next batch gathers: no timer, no added delay. It has two kinds of lanes: [`lanes::leased`]
//! compares stamps and never waits for a row; [`lanes::row_locked`] locks rows first, for work
//! orders without a lease and for those whose write came too late.

mod answer;
mod batch;
mod committer;
mod intake;
mod lanes;
mod memory;
mod queue;
mod settings;

pub use answer::{Answer, Unsettled};
pub use committer::{Committer, Panicked};
pub use intake::{Counter, Intake};
pub use settings::Settings;
