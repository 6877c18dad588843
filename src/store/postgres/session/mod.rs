//! Sessions of the server: how long an operation may take, and in which state a connection comes back.

mod connect;
mod errors;
mod migrate;
mod start;
mod start_error;

use std::time::Duration;

use sqlx::postgres::{PgArguments, PgQueryResult};
use sqlx::query::{Query, QueryAs};
use sqlx::{PgConnection, Postgres};
use tokio::time::sleep;

pub(super) use connect::{Use, connections};
pub(super) use errors::judge;
pub use migrate::{apply, is_migrated, migrate, migrations};
pub(super) use start::{options, readiness, verify};
pub use start_error::StartError;

use crate::store::StoreError;
use crate::store::connections::Lent;

/// How long an operation waits for a connection, free or newly opened.
pub(super) const LEND_LIMIT: Duration = Duration::from_secs(3);
/// The longest time of one operation. It is above the limits that the server itself keeps, so it
/// notices a server that no longer answers. The connection is closed then, which does not cancel a
/// COMMIT that was sent.
const OPERATION_LIMIT: Duration = Duration::from_secs(6);

/// Why the wait for an operation ended.
#[derive(Debug, thiserror::Error)]
enum Unanswered {
    #[error("the server did not answer within {OPERATION_LIMIT:?}")]
    TooLong,
    #[error("another session broke, and the server did not answer soon after it")]
    Suspect,
}

/// Ends the wait for an operation at [`OPERATION_LIMIT`], or if its session is suspect
/// ([`Lent::suspicion`]). Its outcome is unknown then, and its connection must not be used again.
pub(super) async fn bounded<T>(
    suspicion: impl Future<Output = ()>,
    operation: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    tokio::select! {
        biased;
        done = operation => done,
        () = sleep(OPERATION_LIMIT) => Err(StoreError::Broken(Unanswered::TooLong.into())),
        () = suspicion => Err(StoreError::Broken(Unanswered::Suspect.into())),
    }
}

/// After a single statement: the connection is good again unless it broke.
pub(super) fn statement_over<T>(lent: Lent<'_, PgConnection>, result: Result<T, StoreError>) -> Result<T, StoreError> {
    match &result {
        Ok(_)
        | Err(StoreError::TryAgain(_) | StoreError::Taken(_) | StoreError::BehindLog(_) | StoreError::Refused(_)) => {
            lent.give_back();
        }
        Err(StoreError::Broken(_)) => drop(lent),
    }
    result
}

/// After a transaction: an error leaves it open, so it is rolled back first.
pub(super) async fn transaction_over<T>(
    mut lent: Lent<'_, PgConnection>,
    result: Result<T, StoreError>,
) -> Result<T, StoreError> {
    if let Err(error) = &result
        && !error.outcome_unknown()
        && bounded(lent.suspicion(), execute(lent.get(), "rollback")).await.is_err()
    {
        return result;
    }
    statement_over(lent, result)
}

/// Runs a statement that gives rows of a kind and a JSON text.
pub(super) async fn fetch(
    connection: &mut PgConnection,
    query: QueryAs<'_, Postgres, (String, String), PgArguments>,
) -> Result<Vec<(String, String)>, StoreError> {
    query.fetch_all(connection).await.map_err(judge)
}

/// Runs a statement without rows.
pub(super) async fn run(
    connection: &mut PgConnection,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<PgQueryResult, StoreError> {
    query.execute(connection).await.map_err(judge)
}

/// Runs a statement without values or rows.
pub(super) async fn execute(connection: &mut PgConnection, statement: &'static str) -> Result<(), StoreError> {
    run(connection, sqlx::query(statement)).await.map(|_| ())
}
