//! The code that the programs of the bench share.
//!
//! - [`results`]: one measured cell, as every program prints it and the table reads it
//! - [`processes`]: CPU and memory of the measured processes, from `/proc`
//! - [`client`]: a keep-alive HTTP/1.1 connection that costs almost nothing
//! - [`schedule`]: when requests are due
//!
//! The programs are `scanfence-load` (load generator), `scanfence-pgbench` (runs
//! pgbench as one cell), `scanfence-per-request` (the rival: lock, transaction,
//! unlock), `scanfence-http-alone` (no storage: the generator's own limit) and
//! `scanfence-table`. `bench/run` puts them together.

pub mod client;
pub mod processes;
pub mod results;
pub mod schedule;
