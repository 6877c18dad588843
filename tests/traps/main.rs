//! Tests for the ways in which this design could count wrongly. Most run on both stores.
//!
//! In reading order:
//!
//! - [`ground`]: a database of either kind;
//! - [`replica`]: a process that counts on it;
//! - [`rivals`]: replicas that write the same work orders at once;
//! - [`breaks`]: connections that break while the outcome is unknown;
//! - [`refuses`]: requests that the store never takes;
//! - [`batches`]: batches that wait;
//! - [`rows`]: rows that another session holds;
//! - [`plans`]: the plans of PostgreSQL.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

#[path = "../stage/mod.rs"]
mod stage;

#[macro_use]
mod ground;
mod batches;
mod breaks;
mod plans;
mod refuses;
mod replica;
mod rivals;
mod rows;
