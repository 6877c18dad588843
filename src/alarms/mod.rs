//! Alarms: compares what is wrong with the alarms that are open, and sends the difference to people.
//!
//! In reading order:
//!
//! - [`watch`] compares, every ten seconds, on one replica at a time. It puts messages into the outbox.
//! - [`weak_keys`] counts what the HTTP layer reports about shared request ids.
//! - [`outbox`] watches the queues, and wakes the dispatch of a channel.
//! - [`dispatch`] sends the queue of one channel.
//! - [`wording`] has the words.
//! - [`senders`] are the ways to send.
//! - [`service`] runs all of it, as [`Alarms`].
//!
//! Alarms use connections of their own, and nothing waits for them. A channel that hangs delays neither a
//! scan nor another channel.

mod channels;
pub mod dispatch;
mod outbox;
pub mod senders;
mod service;
mod sightings;
mod step;
pub mod watch;
mod weak_keys;
pub mod wording;

pub use self::channels::Channels;
pub use self::service::Alarms;
pub use self::weak_keys::{SuspiciousReplay, WeakKeys};
