//! The settings of the leases in Redis.

use std::fmt;
use std::time::Duration;

/// Where Redis is, and how long leases last.
#[derive(Clone)]
pub struct RedisLeaseConfig {
    /// Where Redis is. `redis://[[user]:password@]host[:6379][/db]` (one node),
    /// `redis+sentinel://[[user]:password@]host[:26379],…/master-name[/db]`,
    /// `redis+cluster://[[user]:password@]host[:6379],…`; over TLS with `rediss` for `redis`.
    pub url: String,
    /// How long a lease lasts that is not renewed. Not below half a second: a third of it
    /// must leave room for a call and its time limit.
    pub ttl: Duration,
    /// How long a lease is held at most. Then it is released, so that others can take it.
    pub longest_hold: Duration,
    /// What to do while Redis is down.
    pub fallback: Fallback,
}

impl fmt::Debug for RedisLeaseConfig {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { url: _, ttl, longest_hold, fallback } = self;
        f.debug_struct("RedisLeaseConfig")
            .field("ttl", ttl)
            .field("longest_hold", longest_hold)
            .field("fallback", fallback)
            .finish_non_exhaustive()
    }
}

/// What to do while Redis is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Use the row lock of the database.
    Database,
    /// Refuse (503 `lease-unavailable`).
    Refuse,
}
