//! Connections to the file: how they are opened, how long an operation may take, and how a transaction
//! of the one writer ends.

pub(super) mod arguments;
pub(super) mod errors;
pub mod folder;
pub(super) mod on_rows;
pub(super) mod writer;

use std::path::Path;
use std::time::Duration;

use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use tokio::time::timeout;

use crate::store::StoreError;
use crate::store::connections::Connections;

/// How long SQLite itself waits for a command that writes beside the service. The lanes try again, so
/// this only has to be long enough that they do not loop without a pause.
const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// How long an operation waits for a connection.
pub(super) const LEND_LIMIT: Duration = Duration::from_secs(5);
/// How long an operation may take, with its wait for a connection: above [`LEND_LIMIT`] and
/// [`BUSY_LIMIT`], so that each is reported as what it is, and below the limit of a request.
const OPERATION_LIMIT: Duration = Duration::from_secs(15);

/// Options of every connection.
pub(super) fn options(file: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(file)
        .create_if_missing(false)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_LIMIT)
        .foreign_keys(false)
        .pragma("temp_store", "memory")
        // Five statements of the guarded write stand in it in up to 14 lengths each, beside the others.
        .statement_cache_capacity(256)
        .disable_statement_logging()
}

pub(super) fn connections(size: usize, options: SqliteConnectOptions) -> Connections<SqliteConnection> {
    Connections::new(size, move || {
        let options = options.clone();
        Box::pin(async move { options.connect().await })
    })
}

/// Ends an operation at its time limit. Its connection is dropped with it, and closed.
pub(super) async fn limited<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(OPERATION_LIMIT, operation).await {
        Ok(result) => result,
        Err(elapsed) => Err(StoreError::Broken(elapsed.into())),
    }
}

/// Why the work of a transaction ended early.
pub(super) enum Failure {
    /// SQLite said so.
    Sql(sqlx::Error),
    /// We said so, on a connection that is well.
    Ours(StoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Sql(error)
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Self::Ours(error)
    }
}
