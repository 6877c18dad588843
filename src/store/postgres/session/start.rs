//! Starting: reach the server, and check what it promises.

use std::str::FromStr as _;
use std::time::{Duration, Instant};

use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, PgConnection};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::errors::judge;
use super::start_error::{REACH_LIMIT, StartError};
use crate::store::{Readiness, StoreError, migrations};

/// The oldest server that is taken, as `server_version_num`.
const OLDEST_SERVER: i32 = 150_000;
/// The pause between two tries to connect, or to take the lock.
pub(super) const ASK_EVERY: Duration = Duration::from_millis(250);

/// A setting that is sent with the request to connect, to see whether it arrives.
const SENT: (&str, &str) = ("lock_timeout", "1s");

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
    let mut connection = reach(&options.clone().options([SENT])).await?;
    let look = async {
        let settings: (i32, String, String, String, String, String) =
            sqlx::query_as(include_str!("verify.sql")).fetch_one(&mut connection).await?;
        connection.close().await?;
        Ok(settings)
    };
    let (version, encoding, sent, fsync, full_page_writes, synchronous_commit) = answered(look).await?;
    if version < OLDEST_SERVER {
        return Err(StartError::TooOld(version));
    }
    if sent != SENT.1 {
        return Err(StartError::Pooler);
    }
    if encoding != "UTF8" {
        return Err(StartError::NotUtf8(encoding));
    }
    let settings =
        [("fsync", fsync), ("full_page_writes", full_page_writes), ("synchronous_commit", synchronous_commit)];
    match settings.into_iter().find(|(_, value)| value == "off") {
        Some((setting, value)) => Err(StartError::NotDurable { setting, value }),
        None => Ok(()),
    }
}

/// Connects, and tries again while no server answers.
pub(super) async fn reach(options: &PgConnectOptions) -> Result<PgConnection, StartError> {
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
            Err(error) => return Err(judge_refusal(error)),
        }
    }
}

/// What it means that the server did not take a connection.
fn judge_refusal(error: sqlx::Error) -> StartError {
    let refusal = error.as_database_error();
    let code = refusal.and_then(|refusal| refusal.code()).unwrap_or_default();
    match code.as_ref() {
        // invalid password, invalid authorization, insufficient privilege (on the database)
        "28P01" | "28000" | "42501" => StartError::NotLetIn(error),
        "3D000" => StartError::NoDatabase(error),
        // A session that is not new: its prepared statements are there already, or those of ours are not.
        "42P05" | "26000" => StartError::Pooler,
        // PgBouncer's answer, under the code of a protocol violation
        "08P01" if refusal.is_some_and(|refusal| refusal.message().contains("startup parameter")) => StartError::Pooler,
        _ => StartError::Unreachable(error),
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

pub(super) async fn answered<T>(asked: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, StartError> {
    timeout(REACH_LIMIT, asked).await.map_err(|_| StartError::TimedOut)?.map_err(judge_refusal)
}

pub(in super::super) async fn readiness(connection: &mut PgConnection) -> Result<Readiness, StoreError> {
    let versions: Vec<i64> = migrations::POSTGRES.iter().map(|migration| migration.version).collect();
    let (writable, migrated, synchronous_standby) =
        sqlx::query_as(include_str!("readiness.sql")).bind(versions).fetch_one(connection).await.map_err(judge)?;
    Ok(Readiness { writable, migrated, synchronous_standby })
}
