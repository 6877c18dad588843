//! The rules, and nothing else: no IO, no clock, no randomness.
//!
//! In reading order: the words ([`ids`], [`text`], [`time`]), what is asked
//! ([`request`]), what it is asked of ([`work_order`]), what came of it
//! ([`update`]), and the one function that gets from the first to the last
//! ([`decide`]). Beside counting: the words of the monitor ([`consistency`]), and what is
//! wrong and whom to tell ([`alarm`], [`channel`], [`outbox`]).

pub mod alarm;
pub mod channel;
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
