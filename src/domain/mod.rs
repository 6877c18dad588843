//! The rules, and nothing else: no IO, no clock, no randomness.
//!
//! In reading order: the types of values ([`ids`], [`text`], [`time`]), rows as columns
//! ([`column`]), a request ([`request`]), a work order ([`work_order`]), a row of the log
//! ([`update`]), and the rules that make it from the other two ([`decide`]). Beside counting:
//! what the monitor checks ([`consistency`]), alarms ([`alarm`]), the channels that send them
//! ([`channel`]) and the queue of each channel ([`outbox`]).

pub mod alarm;
pub mod channel;
pub mod column;
pub mod consistency;
pub mod decide;
pub mod ids;
pub mod outbox;
pub mod request;
pub mod text;
pub mod time;
pub mod update;
#[cfg(test)]
pub(crate) mod words;
pub mod work_order;
