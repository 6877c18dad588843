//! The edge: what a request passes before and after its handler.
//!
//! - [`server`] and `wire`: the sockets, and hyper's own refusals as problem+json.
//! - `places`: how many connections there may be, and those kept for health.
//! - [`layer`]: the outermost layer of every route, and the order of its checks.
//! - [`access`]: who may call.
//! - `body`: collects the body.
//! - [`limits`]: the limits of all this.
//! - `request_log`: one metric and one log line per request.

pub mod access;
mod body;
pub(super) mod layer;
pub(super) mod limits;
pub(super) mod places;
mod request_log;
pub mod server;
mod wire;
