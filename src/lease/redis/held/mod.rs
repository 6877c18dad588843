//! What this process knows about leases, in memory. Pure: the clock is handed in.
//!
//! - [`table`]: the leases that it holds.
//! - [`contention`]: who waits for whom.
//! - [`unconfirmed`]: releases and grants without an answer.
//! - [`timing`]: how long leases last, and when they are renewed.

mod contention;
mod table;
#[cfg(test)]
mod tests;
mod timing;
mod unconfirmed;

pub use table::{Found, Granted, LeaseTable};
pub use timing::Timing;
pub use unconfirmed::Name;
