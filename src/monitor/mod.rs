//! The monitor: beside counting, it tells people what is wrong.
//!
//! In reading order: [`alarms`], what is wrong and who was told; [`robots`], how they are
//! reached.

pub mod alarms;
pub mod robots;
