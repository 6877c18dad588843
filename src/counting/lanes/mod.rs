//! The two kinds of lanes, and what they share.

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
