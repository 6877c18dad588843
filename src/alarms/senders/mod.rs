//! The senders that bring alarms to people: one per channel of the configuration.
//!
//! In reading order:
//!
//! - `sender`: [`Sender`] sends one [`WordedMessage`], with a time limit.
//! - `payload`: what each kind of receiver is sent, and what its answer means.
//! - `web` and `mail`: the two ways to send.
//! - [`address_policy`]: where a message may go.
//! - `message` and `delivery`: the message, and the result of an attempt to send it.

pub mod address_policy;
mod delivery;
mod mail;
mod message;
mod payload;
mod sender;
mod web;

pub use self::delivery::{Delivered, NotDelivered};
pub use self::message::WordedMessage;
pub use self::sender::{BadAddress, Sender};
