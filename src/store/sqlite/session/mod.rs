//! Connections to the file, and the limits of their waits.
//!
//! How a transaction of the one writer ends is in [`writer`]. The other files: [`folder`] (the data
//! folder), [`errors`] (what SQLite's codes mean), [`arguments`] and [`on_rows`] (the values of
//! statements).

pub(super) mod arguments;
pub(super) mod errors;
pub mod folder;
pub(super) mod on_rows;
pub(super) mod writer;

use std::future::ready;
use std::path::Path;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use sqlx::ConnectOptions as _;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use tokio::time::timeout;

use crate::store::StoreError;
use crate::store::connections::{Connections, Idleness, Opener, Server};

/// How long SQLite itself waits while a command writes. It can be short, because the lanes retry. It only
/// has to be long enough that they do not loop without a pause.
const BUSY_LIMIT: Duration = Duration::from_secs(2);
/// How long an operation waits for a connection.
pub(super) const LEND_LIMIT: Duration = Duration::from_secs(5);
/// How long an operation may take, with its wait for a connection. It is longer than [`LEND_LIMIT`] and
/// [`BUSY_LIMIT`], so each of these is reported as its own error. It is shorter than the limit of a
/// request.
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
    Connections::new(size, &Server::default(), Idleness::HARMLESS, File(options))
}

/// Opens connections to the file.
struct File(SqliteConnectOptions);

impl Opener<SqliteConnection> for File {
    fn open(&self) -> BoxFuture<'static, Result<SqliteConnection, sqlx::Error>> {
        let options = self.0.clone();
        async move { options.connect().await }.boxed()
    }

    fn check<'c>(&self, _connection: &'c mut SqliteConnection) -> BoxFuture<'c, Result<(), sqlx::Error>> {
        ready(Ok(())).boxed()
    }
}

/// Ends an operation at its time limit. Its connection is dropped with it, and so is closed.
pub(super) async fn limited<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(OPERATION_LIMIT, operation).await {
        Ok(result) => result,
        Err(elapsed) => Err(StoreError::Broken(elapsed.into())),
    }
}

/// Why the work of a transaction ended early.
pub(super) enum Failure {
    /// SQLite reported an error.
    Sql(sqlx::Error),
    /// Our own error. The connection is good.
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
