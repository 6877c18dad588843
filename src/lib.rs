//! Scanfence counts shop-floor scans exactly once.
pub mod counting;
pub mod domain;
pub mod http;
pub mod lease;
pub mod store;
pub mod telemetry;
