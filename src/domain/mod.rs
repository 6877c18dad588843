//! The rules, and nothing else: no IO, no clock, no randomness.
//!
//! In reading order:
//!
//! - [`ids`], [`text`], [`barcode`], [`time`]: the types of values.
//! - [`column`]: rows as columns.
//! - [`request`]: a request.
//! - [`work_order`]: a work order.
//! - [`update`]: a row of the update log.
//! - [`decide`]: the counting rules. They make updates from requests and work orders.
//! - [`refusals`]: refused scans that a person may settle.
//! - [`consistency`]: what the monitor checks.
//! - [`audit`]: what people changed besides quantities.
//! - [`alarm`], [`channel`], [`outbox`]: alarms, the channels that send them, and the queue of each
//!   channel.

pub mod alarm;
pub mod audit;
pub mod barcode;
pub mod channel;
pub mod column;
pub mod consistency;
pub mod decide;
pub mod ids;
pub mod outbox;
pub mod refusals;
pub mod request;
pub mod text;
pub mod time;
pub mod update;
#[cfg(test)]
pub(crate) mod words;
pub mod work_order;
