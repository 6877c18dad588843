//! The rules, and nothing else: no IO, no clock, no randomness.
//!
//! In reading order: the words ([`ids`], [`text`], [`time`]), what is asked
//! ([`request`]), what it is asked of ([`work_order`]), what came of it
//! ([`update`]), and the one function that gets from the first to the last
//! ([`decide`]). Beside counting: checks and findings ([`consistency`]), alarms ([`alarm`],
//! [`reconcile`]), and who gets their messages ([`channel`], [`outbox`]).

pub mod alarm;
pub mod channel;
pub mod consistency;
pub mod decide;
pub mod ids;
pub mod outbox;
pub mod reconcile;
pub mod request;
pub mod text;
pub mod time;
pub mod update;
pub mod work_order;
