//! How the monitor uses its connections: one statement, or one snapshot of several.

use serde::de::DeserializeOwned;
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, PgConnection, Postgres};

use crate::store::postgres::PostgresStore;
use crate::store::postgres::session::{LEND_LIMIT, bounded, execute, judge, run, statement_over, transaction_over};
use crate::store::{StoreError, rows};

/// A statement that returns rows.
pub(in super::super) type Select<T> = QueryAs<'static, Postgres, T, PgArguments>;

/// All statements up to `commit` read the same snapshot.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

impl PostgresStore {
    /// Runs one statement that returns rows.
    pub(super) async fn rows<T: Send + Unpin + for<'r> FromRow<'r, PgRow>>(
        &self,
        query: Select<T>,
    ) -> Result<Vec<T>, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let found = bounded(lent.suspicion(), fetch(lent.get(), query)).await;
        statement_over(lent, found)
    }

    /// Runs one statement that returns one JSON text a row.
    pub(super) async fn json_rows<T: DeserializeOwned>(&self, query: Select<(String,)>) -> Result<Vec<T>, StoreError> {
        self.rows(query).await?.iter().map(|(row,)| rows::read(row)).collect()
    }

    /// Runs one statement that returns one number.
    pub(super) async fn number(&self, query: Select<(i64,)>) -> Result<i64, StoreError> {
        Ok(self.rows(query).await?.first().map_or(0, |(number,)| *number))
    }

    /// Runs one statement that writes, and returns how many rows it has changed.
    pub(super) async fn change(&self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let changed = bounded(lent.suspicion(), run(lent.get(), query)).await;
        statement_over(lent, changed).map(|done| done.rows_affected())
    }

    /// Runs several statements that read one snapshot.
    pub(super) async fn snapshot<T>(
        &self,
        read: impl AsyncFnOnce(&mut PgConnection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let suspicion = lent.suspicion();
        let connection = lent.get();
        let found = bounded(suspicion, async {
            execute(connection, SNAPSHOT).await?;
            let found = read(connection).await?;
            execute(connection, "commit").await?;
            Ok(found)
        })
        .await;
        transaction_over(lent, found).await
    }
}

/// Fetches all rows of a statement.
pub(super) async fn fetch<T: Send + Unpin + for<'r> FromRow<'r, PgRow>>(
    connection: &mut PgConnection,
    query: Select<T>,
) -> Result<Vec<T>, StoreError> {
    query.fetch_all(connection).await.map_err(judge)
}
