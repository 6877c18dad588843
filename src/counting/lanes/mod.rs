//! The two kinds of lanes. A lane takes a batch from the queues, settles it, and answers it.
//!
//! - [`leased`]: under leases, many work orders in one guarded statement. [`draft`] is its batch before
//!   the write, and [`write_turn`] lets one lane write at a time.
//! - [`row_locked`]: under row locks, for work orders without a lease or after another writer was faster.
//! - [`context`], [`failures`], [`quarantine`]: what both kinds share.

mod context;
mod draft;
mod failures;
mod leased;
mod quarantine;
mod row_locked;
mod write_turn;

pub(in crate::counting) use context::LaneContext;
pub(in crate::counting) use leased::{LeasedLane, LeasedShared};
pub(in crate::counting) use quarantine::Quarantine;
pub(in crate::counting) use row_locked::RowLockedLane;
