//! The traps of counting. Each test springs one on purpose, on both stores.
//!
//! In reading order: a database of either kind ([`ground`]), a process that counts on it
//! ([`replica`]), and the traps: [`rivals`] that are faster, connections that [`break`](breaks)
//! with the outcome unknown, requests that the store [`refuses`], [`batches`] that wait for their turn,
//! [`rows`] that others hold, and the [`plans`] of PostgreSQL.

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
