//! The stage of the tests: servers, services and broken networks, each test's own.
//!
//! In reading order: databases and servers ([`postgres`], [`redis`], [`pooler`]), the service as a process
//! ([`service`]), a client for it ([`client`]), a network that can be broken ([`proxy`]), a
//! [`disk`] that can be filled, a [`clock`] that can be stepped (both by what is [`preload`]ed where
//! need be), a store that is [`bent`], who is told of alarms ([`receivers`]), a shop floor under
//! [`load`], the [`audit`] of what was counted, and the guard that leaves nothing behind ([`guard`]).
//!
//! If something is missing, the test is not skipped: it fails and says what to do.
#![allow(dead_code, reason = "each test program has this module, and none uses all of it")]

pub mod audit;
pub mod bent;
pub mod client;
pub mod clock;
pub mod disk;
pub mod document;
pub mod guard;
pub mod load;
pub mod pooler;
pub mod postgres;
pub mod preload;
pub mod programs;
pub mod proxy;
pub mod receivers;
pub mod redis;
pub mod service;

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

/// The deadline for what should happen at once, also on a busy machine.
pub const SOON: Duration = Duration::from_secs(30);

/// Asks until there is an answer, and returns it. Fails after `within`.
pub async fn eventually<T>(what: &str, within: Duration, mut answer: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    let mut turn = tokio::time::interval(Duration::from_millis(10));
    loop {
        if let Some(answer) = answer().await {
            return answer;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        turn.tick().await;
    }
}

/// The URL of the PostgreSQL server that the tests share, as a superuser.
pub fn database_url() -> String {
    from_test("TEST_DATABASE_URL")
}

/// The URL of the Redis server that the tests share. Nobody flushes it: a test uses work
/// orders of its own, by [`unique`].
pub fn redis_url() -> String {
    from_test("TEST_REDIS_URL")
}

fn from_test(variable: &str) -> String {
    std::env::var(variable).unwrap_or_else(|_| {
        panic!("{variable} is not set: run ./test, or ./test --run cargo test …, which start the servers")
    })
}

/// A word that no other test uses, beginning with `prefix`: for work orders and keys.
pub fn unique(prefix: &str) -> String {
    format!("{prefix}{:016x}", rand::random::<u64>())
}

/// A free port on 127.0.0.1, below those that the kernel gives to outgoing connections, so
/// that a server can be stopped and find its port free again.
pub fn free_port() -> u16 {
    std::iter::repeat_with(|| rand::random_range(10_000..30_000))
        .find(|&port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok())
        .expect("the iterator does not end")
}

/// The last lines of a log.
pub fn tail(log: &str) -> String {
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(40)..].join("\n")
}
