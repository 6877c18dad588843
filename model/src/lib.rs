//! The design of Scanfence as a model, tried in every order of events that a few faults allow.
//!
//! - [`design`] is the specification: two workers, two requests, the row and its log, Redis,
//!   and everything that can happen to them.
//! - [`promises`] explores it. The whole design keeps every promise. Without some of its guards it breaks
//!   those promises that the table in ARCHITECTURE.md ("Which guards are needed") names.
//! - [`walk`] finds the runs that never end, or end badly.
//!
//! It is a package of its own and has only tests, so that it can be compiled with optimization.
#![cfg(test)]

mod design;
mod promises;
mod walk;
