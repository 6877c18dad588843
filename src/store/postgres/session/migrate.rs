//! Starting: make the tables, or bring them up to date, while others count.

use std::time::{Duration, Instant};

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::{Connection as _, PgConnection};
use tokio::time::sleep;
use tracing::warn;

use super::start::{ASK_EVERY, answered, options, reach, verify};
use super::start_error::{MIGRATION_LOCK_LIMIT, MIGRATION_WAIT_LIMIT, StartError};
use crate::store::migrations;

/// How long a migration waits for a table that somebody else uses. All that comes after it, scans too,
/// waits behind it.
const MIGRATION_LOCK_TIMEOUT: &str = "500ms";
/// The pause before such a migration is tried again. Scans go on in it.
const MIGRATION_PAUSE: Duration = Duration::from_secs(2);
/// The advisory lock of the migrations. It may be any number, and it must not change.
const MIGRATION_LOCK: i64 = 0x7363_616e_6665_6e63;

/// Makes the tables, or brings them up to date. Several replicas may start at once: they wait for
/// each other on an advisory lock.
///
/// # Errors
/// See [`StartError`].
pub async fn migrate(url: &str) -> Result<(), StartError> {
    apply(url, &migrations::POSTGRES).await
}

/// Applies these migrations. Scans go on meanwhile: a migration that does not get its table soon stands
/// back for a while. A user who may not change tables may start a service whose tables are made.
///
/// # Errors
/// See [`StartError`].
pub async fn apply(url: &str, migrator: &Migrator) -> Result<(), StartError> {
    let options = options(url)?;
    verify(&options).await?;
    let mut connection = reach(&options).await?;
    take_migration_lock(&mut connection).await?;
    if !all_applied(&mut connection, migrator).await? {
        run(&mut connection, migrator).await?;
    }
    answered(connection.close()).await
}

/// Refuses tables that are not of this release. Says whether all of them are there.
///
/// # Errors
/// See [`StartError`].
pub async fn is_migrated(url: &str) -> Result<bool, StartError> {
    let mut connection = reach(&options(url)?).await?;
    let all = all_applied(&mut connection, &migrations::POSTGRES).await?;
    answered(connection.close()).await?;
    Ok(all)
}

/// The migrations of this release.
pub fn migrations() -> &'static Migrator {
    &migrations::POSTGRES
}

/// Whether all of these migrations were applied. Others are an error.
async fn all_applied(connection: &mut PgConnection, migrator: &Migrator) -> Result<bool, StartError> {
    let exist = sqlx::query_as(include_str!("migrations_exist.sql"));
    let (in_recovery, exist): (bool, bool) = answered(exist.fetch_one(&mut *connection)).await?;
    if in_recovery {
        return Err(StartError::InRecovery);
    }
    if !exist {
        return Ok(false);
    }
    let applied = sqlx::query_as(include_str!("applied.sql")).fetch_all(connection);
    let applied: Vec<(i64, Vec<u8>, bool)> = answered(applied).await?;
    for (version, checksum, _) in &applied {
        match migrator.iter().find(|migration| migration.version == *version) {
            None => return Err(StartError::Newer(*version)),
            Some(ours) if *ours.checksum != **checksum => return Err(StartError::Foreign(*version)),
            Some(_) => {}
        }
    }
    Ok(migrator.iter().all(|ours| applied.iter().any(|(version, _, success)| *version == ours.version && *success)))
}

async fn run(connection: &mut PgConnection, migrator: &Migrator) -> Result<(), StartError> {
    let limit = sqlx::query("select set_config('lock_timeout', $1, false)").bind(MIGRATION_LOCK_TIMEOUT);
    answered(limit.execute(&mut *connection)).await?;
    let begun = Instant::now();
    let mut told = false;
    loop {
        let Err(error) = migrator.run(&mut *connection).await else { return Ok(()) };
        match code_of(&error).as_deref() {
            // lock not available
            Some("55P03") if begun.elapsed() < MIGRATION_LOCK_LIMIT => {
                if !told {
                    warn!("a migration waits for a table that is in use; scans go on, and it is tried again");
                }
                told = true;
                sleep(MIGRATION_PAUSE).await;
            }
            Some("55P03") => return Err(StartError::TableInUse(error)),
            // insufficient privilege
            Some("42501") => return Err(StartError::MayNotMigrate(error)),
            _ => return Err(StartError::Migrate(error)),
        }
    }
}

/// The server's code for the error of a migration.
fn code_of(error: &MigrateError) -> Option<String> {
    let cause = match error {
        MigrateError::Execute(cause) | MigrateError::ExecuteMigration(cause, _) => cause,
        _ => return None,
    };
    cause.as_database_error().and_then(|refusal| refusal.code()).map(|code| code.into_owned())
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
