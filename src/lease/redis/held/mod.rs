//! What this process knows about leases, in memory. Pure: the clock is handed in.

mod contention;
mod table;
#[cfg(test)]
mod tests;
mod timing;
mod unconfirmed;

pub use table::{Found, Granted, LeaseTable};
pub use timing::Timing;
pub use unconfirmed::Name;
