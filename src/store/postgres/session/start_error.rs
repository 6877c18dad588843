//! Why the store can't be started, and how long it is tried.

use std::time::Duration;

use sqlx::migrate::MigrateError;

/// How long startup tries to reach the server. After a power cut it may come up later than this
/// process. The time is short, since a mistyped address costs it too. It is long enough that a
/// supervisor that restarts us at once does not give up: systemd does after five starts in 10 s.
pub(super) const REACH_LIMIT: Duration = Duration::from_secs(10);
/// How long startup waits for another replica's migrations. Our own have no limit: an index on a
/// large log takes minutes or hours.
pub(super) const MIGRATION_WAIT_LIMIT: Duration = Duration::from_secs(60);
/// How long a migration is tried whose table is in use.
pub(super) const MIGRATION_LOCK_LIMIT: Duration = Duration::from_secs(300);

/// Why the store can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `DATABASE_URL` does not parse.
    #[error("DATABASE_URL is no PostgreSQL address")]
    BadUrl(#[source] sqlx::Error),
    /// A parameter of `DATABASE_URL` that would change nothing.
    #[error("DATABASE_URL has the parameter {0:?}, or a value of it, that can't be honoured: correct or remove it")]
    Parameter(String),
    /// Several hosts.
    #[error("DATABASE_URL names several hosts: name one, which leads to the primary")]
    SeveralHosts,
    /// The server can't be reached.
    #[error("PostgreSQL can't be reached")]
    Unreachable(#[source] sqlx::Error),
    /// User or password are wrong, or the server does not let this user in from here.
    #[error("PostgreSQL refuses the user or the password of DATABASE_URL")]
    NotLetIn(#[source] sqlx::Error),
    /// The database does not exist.
    #[error("PostgreSQL has no such database: make it (`createdb`), or correct DATABASE_URL")]
    NoDatabase(#[source] sqlx::Error),
    /// A pooler between us and the server keeps a session's settings from it. It may also give our sessions
    /// to others.
    #[error(
        "there is a connection pooler (such as PgBouncer) between Scanfence and PostgreSQL, and it keeps the \
         settings of a session from the server; connect to PostgreSQL itself: a replica needs few connections"
    )]
    Pooler,
    /// A standby, or a server that is being restored.
    #[error("this PostgreSQL server is in recovery: it is a standby, or is being restored; connect to the primary")]
    InRecovery,
    /// A database that can't hold every text.
    #[error("the database has the encoding {0}: make one with the encoding UTF8, which holds every text")]
    NotUtf8(String),
    /// It did not answer in time.
    #[error("PostgreSQL did not answer within {REACH_LIMIT:?}")]
    TimedOut,
    /// Another process migrates for too long.
    #[error("another process migrates the tables and was not done within {MIGRATION_WAIT_LIMIT:?}")]
    OthersMigrate,
    /// Tables are in use all the time.
    #[error(
        "a migration did not get its table within {MIGRATION_LOCK_LIMIT:?}: somebody has it open \
         (a long report, or a psql with an open transaction); end that, and try again"
    )]
    TableInUse(#[source] MigrateError),
    /// The tables are not of this release, and this user may not change them.
    #[error(
        "the tables are not of this release, and this user may not change them: run `scanfence migrate` as their owner"
    )]
    MayNotMigrate(#[source] MigrateError),
    /// A newer release was here.
    #[error("the tables are of a newer release (migration {0}): start that one or a later one")]
    Newer(i64),
    /// Tables that this program has not made.
    #[error("the migration {0} of this database is not that of Scanfence: its tables were made by something else")]
    Foreign(i64),
    /// The tables can't be made or brought up to date.
    #[error("the tables can't be migrated")]
    Migrate(#[source] MigrateError),
    /// Too old.
    #[error("PostgreSQL 15 or later is needed; this is server_version_num {0}")]
    TooOld(i32),
    /// A setting under which a 201 would not be on disk.
    #[error("{setting}={value} on the PostgreSQL server: an acknowledged scan could be lost; turn it on")]
    NotDurable {
        /// The setting's name.
        setting: &'static str,
        /// Its value.
        value: String,
    },
}
