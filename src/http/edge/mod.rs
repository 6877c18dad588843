//! The edge: what a request passes before and after its handler.

pub mod access;
mod body;
pub(super) mod layer;
pub(super) mod limits;
mod request_log;
pub mod server;
mod wire;
