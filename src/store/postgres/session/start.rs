//! Starting: reach the server, check what it promises, and migrate the tables.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::errors::judge;
use crate::store::{Readiness, StoreError, migrations};

/// The oldest server that is taken, as `server_version_num`.
const OLDEST_SERVER: i32 = 150_000;
/// How long startup tries to reach the server. After a power cut it may come up later than this
/// process. The time is short, since a mistyped address costs it too. It is long enough that a
/// supervisor that restarts us at once does not give up: systemd does after five starts in 10 s.
const REACH_LIMIT: Duration = Duration::from_secs(10);
/// The pause between two tries to connect, or to take the lock.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// How long startup waits for another replica's migrations. Our own have no limit: an index on a
/// large log takes minutes or hours.
const MIGRATION_WAIT_LIMIT: Duration = Duration::from_secs(60);
/// The advisory lock of the migrations. It may be any number, and it must not change.
const MIGRATION_LOCK: i64 = 0x7363_616e_6665_6e63;

/// Why the store can't be started.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// `DATABASE_URL` does not parse.
    #[error("DATABASE_URL is no PostgreSQL address")]
    BadUrl(#[source] sqlx::Error),
    /// The server can't be reached.
    #[error("PostgreSQL can't be reached")]
    Unreachable(#[source] sqlx::Error),
    /// It did not answer in time.
    #[error("PostgreSQL did not answer within {REACH_LIMIT:?}")]
    TimedOut,
    /// Another process migrates for too long.
    #[error("another process migrates the tables and was not done within {MIGRATION_WAIT_LIMIT:?}")]
    OthersMigrate,
    /// The tables can't be made or brought up to date.
    #[error("the tables can't be migrated")]
    Migrate(#[from] sqlx::migrate::MigrateError),
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

/// Reads `DATABASE_URL`.
pub(in super::super) fn options(url: &str) -> Result<PgConnectOptions, StartError> {
    // sqlx does not check the scheme: it would try the address of another kind of server.
    if !["postgres://", "postgresql://"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err(StartError::BadUrl(sqlx::Error::Configuration("it must begin with postgres://".into())));
    }
    let options = PgConnectOptions::from_str(url).map_err(StartError::BadUrl)?;
    Ok(options.application_name("scanfence").disable_statement_logging())
}

/// Refuses a server that is too old, or that acknowledges a commit that is not on disk.
pub(in super::super) async fn verify(options: &PgConnectOptions) -> Result<(), StartError> {
    let mut connection = reach(options).await?;
    let look = async {
        let settings: (i32, String, String, String) =
            sqlx::query_as(include_str!("verify.sql")).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(settings)
    };
    let (version, fsync, full_page_writes, synchronous_commit) = answered(look).await?;
    if version < OLDEST_SERVER {
        return Err(StartError::TooOld(version));
    }
    let settings =
        [("fsync", fsync), ("full_page_writes", full_page_writes), ("synchronous_commit", synchronous_commit)];
    match settings.into_iter().find(|(_, value)| value == "off") {
        Some((setting, value)) => Err(StartError::NotDurable { setting, value }),
        None => Ok(()),
    }
}

/// Makes the tables, or brings them up to date. Several replicas may start at once: they wait for
/// each other on an advisory lock.
///
/// # Errors
/// See [`StartError`].
pub async fn migrate(url: &str) -> Result<(), StartError> {
    let mut connection = reach(&options(url)?).await?;
    take_migration_lock(&mut connection).await?;
    migrations::POSTGRES.run(&mut connection).await?;
    answered(connection.close()).await
}

/// Takes the lock of the migrations until the session ends. It polls. A session that waits in the server
/// holds a snapshot. An index made `concurrently` would wait for that snapshot. (sqlx takes such a lock
/// for its run.)
async fn take_migration_lock(connection: &mut PgConnection) -> Result<(), StartError> {
    let begun = Instant::now();
    loop {
        let take = sqlx::query_scalar("select pg_try_advisory_lock($1)").bind(MIGRATION_LOCK);
        if answered(take.fetch_one(&mut *connection)).await? {
            return Ok(());
        }
        if begun.elapsed() >= MIGRATION_WAIT_LIMIT {
            return Err(StartError::OthersMigrate);
        }
        sleep(ASK_EVERY).await;
    }
}

/// Connects, and tries again while no server answers.
async fn reach(options: &PgConnectOptions) -> Result<PgConnection, StartError> {
    let begun = Instant::now();
    let mut told = false;
    loop {
        let left = REACH_LIMIT.saturating_sub(begun.elapsed());
        match timeout(left, options.connect()).await.map_err(|_| StartError::TimedOut)? {
            Ok(connection) => return Ok(connection),
            Err(error) if may_come_up(&error) && begun.elapsed() + 2 * ASK_EVERY < REACH_LIMIT => {
                if !told {
                    warn!(%error, "PostgreSQL can't be reached yet: startup retries for {REACH_LIMIT:?}");
                }
                told = true;
                sleep(ASK_EVERY).await;
            }
            Err(error) => return Err(StartError::Unreachable(error)),
        }
    }
}

/// Whether the server may come up soon. An error of password or database is final.
fn may_come_up(error: &sqlx::Error) -> bool {
    match error {
        // Refused, no route, a name that is not known yet, a connection closed while it stops.
        sqlx::Error::Io(_) => true,
        // It stops, or starts: admin shutdown, crash shutdown, cannot connect now.
        sqlx::Error::Database(refusal) => matches!(refusal.code().as_deref(), Some("57P01" | "57P02" | "57P03")),
        _ => false,
    }
}

async fn answered<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StartError> {
    timeout(REACH_LIMIT, asked).await.map_err(|_| StartError::TimedOut)?.map_err(StartError::Unreachable)
}

pub(in super::super) async fn readiness(connection: &mut PgConnection) -> Result<Readiness, StoreError> {
    let versions: Vec<i64> = migrations::POSTGRES.iter().map(|migration| migration.version).collect();
    let (writable, migrated, synchronous_standby) =
        sqlx::query_as(include_str!("readiness.sql")).bind(versions).fetch_one(connection).await.map_err(judge)?;
    Ok(Readiness { writable, migrated, synchronous_standby })
}
