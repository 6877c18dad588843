//! The senders that bring alarms to people: one per channel of the configuration.
//!
//! In reading order: [`Sender`] sends one [`WordedMessage`], with a time limit; `payload` is what each
//! kind of receiver is sent, and what its answer means; `web` and `mail` are the two ways to send;
//! [`address_policy`] is where a message may go.

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
