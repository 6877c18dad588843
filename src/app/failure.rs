//! Why the service can't start, had to stop, or a command failed.

use std::net::SocketAddr;

use crate::alarms::senders::BadAddress;
use crate::counting::Panicked;
use crate::lease::redis::BadUrl;
use crate::monitor::NotAsked;
use crate::monitor::repair::NotRepaired;
use crate::store::StoreError;
use crate::store::postgres;
use crate::store::sqlite::folder::OpenError;

/// Why the service can't start, had to stop, or a command failed.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The data folder can't be used.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// PostgreSQL can't be used.
    #[error(transparent)]
    Postgres(#[from] postgres::StartError),
    /// `REDIS_URL` can't be used.
    #[error(
        "REDIS_URL is not a Redis address; the service was not started; use redis://HOST:PORT or rediss://HOST:PORT"
    )]
    Redis(#[from] BadUrl),
    /// The address can't be used.
    #[error("the service can't listen on {0}: {1}; no scans are counted; set another address with SCANFENCE_LISTEN")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// The process can't receive signals.
    #[error("the service can't receive signals and was not started; no scans are counted")]
    Signals(#[source] std::io::Error),
    /// An alarm channel can't be used.
    #[error(transparent)]
    Channel(#[from] BadAddress),
    /// There is no alarm channel with this name.
    #[error("there is no alarm channel {0:?}; the channels are: {1}")]
    NoSuchChannel(String, String),
    /// The committer panicked. The process must stop, because it can't count any more.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// PostgreSQL lacks the tables of this release.
    #[error("the tables of the database are older than this release; nothing was done; run scanfence migrate first")]
    NotMigrated,
    /// The store can't do what a command needs.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A check can't be requested.
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
    /// A finding was not repaired.
    #[error(transparent)]
    NotRepaired(#[from] NotRepaired),
}

impl Failure {
    /// Whether the reason is a wrong setting. If not, something that a setting names failed.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            Self::Redis(_)
            | Self::Postgres(
                postgres::StartError::BadUrl(_)
                | postgres::StartError::Parameter(_)
                | postgres::StartError::SeveralHosts,
            )
            | Self::Channel(_)
            | Self::NoSuchChannel(..) => true,
            Self::Store(_)
            | Self::NotAsked(_)
            | Self::NotRepaired(_)
            | Self::Folder(_)
            | Self::Postgres(_)
            | Self::Listen(..)
            | Self::Signals(_)
            | Self::Panicked(_)
            | Self::NotMigrated => false,
        }
    }
}
