//! How the monitor uses its connections: snapshots by its own readers, writes by the one writer.

use std::time::Duration;

use serde::de::DeserializeOwned;
use sqlx::FromRow;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use crate::store::sqlite::calls::{Arguments, fetch, run};
use crate::store::sqlite::{Failure, LEND_LIMIT, SqliteStore, errors, limited};
use crate::store::{StoreError, rows};

/// All statements up to `commit` read the snapshot of the first one.
const SNAPSHOT: &str = "begin";

impl SqliteStore {
    /// Runs several statements that read one snapshot.
    pub(super) async fn snapshot<T>(
        &self,
        read: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        limited(async {
            let mut lent = self.monitor.lend(LEND_LIMIT).await?;
            let connection = lent.get();
            let found = async {
                run(connection, SNAPSHOT).await?;
                let found = read(connection).await?;
                run(connection, "commit").await?;
                Ok(found)
            };
            match found.await {
                Ok(found) => {
                    lent.give_back();
                    Ok(found)
                }
                // The connection is closed, and its snapshot ends.
                Err(Failure::Sql(error)) => Err(errors::before_commit(error)),
                Err(Failure::Ours(error)) => Err(error),
            }
        })
        .await
    }

    /// Runs several statements that write, as one transaction.
    pub(super) async fn transaction<T>(
        &self,
        write: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let done = write(lent.get()).await;
            self.finish(lent, done).await
        })
        .await
    }

    /// Runs one statement that writes, and returns how many rows it has changed.
    pub(super) async fn change(&self, statement: &'static str, bound: Arguments) -> Result<u64, StoreError> {
        self.transaction(async |connection| Ok(change(connection, statement, bound).await?)).await
    }

    /// Runs one statement that returns one JSON text a row.
    pub(super) async fn json_rows<T: DeserializeOwned>(
        &self,
        statement: &'static str,
        arguments: impl FnOnce(&mut Arguments),
    ) -> Result<Vec<T>, StoreError> {
        let mut bound = Arguments::default();
        arguments(&mut bound);
        let texts = self.snapshot(async |connection| Ok(fetch(connection, statement, bound).await?)).await?;
        texts.iter().map(|text| rows::read(text)).collect()
    }

    /// Runs one statement that returns one JSON value.
    pub(super) async fn json_value<T: DeserializeOwned>(
        &self,
        statement: &'static str,
        arguments: impl FnOnce(&mut Arguments),
    ) -> Result<T, StoreError> {
        let found = self.json_rows(statement, arguments).await?.pop();
        found.ok_or_else(|| StoreError::Refused("a statement returned no row".into()))
    }
}

/// Fetches all rows of a statement.
pub(super) async fn all<T: Send + Unpin + for<'r> FromRow<'r, SqliteRow>>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<Vec<T>, Failure> {
    Ok(bound.query_as(statement).fetch_all(connection).await?)
}

/// Fetches the first row of a statement that returns one JSON text a row.
pub(super) async fn first<T: DeserializeOwned>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<Option<T>, Failure> {
    let found = fetch(connection, statement, bound).await?;
    Ok(found.first().map(|text| rows::read(text)).transpose()?)
}

/// Runs a statement that writes, and returns how many rows it has changed.
pub(super) async fn change(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<u64, sqlx::Error> {
    Ok(bound.query(statement).execute(connection).await?.rows_affected())
}

/// A duration as SQLite adds it to a time.
pub(super) fn seconds(time: Duration) -> String {
    format!("+{:.3} seconds", time.as_secs_f64())
}
