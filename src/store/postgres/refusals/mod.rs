//! Refused scans that a person may settle, on PostgreSQL.

use async_trait::async_trait;
use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use super::session::{LEND_LIMIT, bounded, execute, judge, transaction_over};
use super::{PostgresStore, audit, read};
use crate::domain::ids::RequestId;
use crate::domain::refusals::{Leave, NotLeft, Refusal};
use crate::domain::update::RefusalCode;
use crate::store::{RefusalQuery, RefusalStore, StoreError, rows};

const REFUSALS: &str = concat!(include_str!("select.sql"), include_str!("refusals.sql"));
const REFUSAL: &str = concat!(include_str!("select.sql"), include_str!("refusal.sql"));

/// How often a request is tried again if another one left the same scan at the same time.
const LEAVE_ATTEMPTS: usize = 3;

#[async_trait]
impl RefusalStore for PostgresStore {
    async fn refusals(&self, query: &RefusalQuery) -> Result<Vec<Refusal>, StoreError> {
        let before = query.before.as_ref();
        let page = sqlx::query_as(REFUSALS)
            .bind(query.line.clone())
            .bind(query.code.map(RefusalCode::word))
            .bind(query.since.map(|since| since.to_utc()))
            .bind(query.open)
            .bind(before.map(|(recorded_at, _)| recorded_at.to_utc()))
            .bind(before.map(|(_, id)| id.as_str().to_owned()))
            .bind(query.limit);
        read(&self.lists, page).await
    }

    async fn refusal(&self, request_id: &RequestId) -> Result<Option<Refusal>, StoreError> {
        Ok(read(&self.quick, of_id(request_id)).await?.pop())
    }

    async fn leave(&self, request_id: &RequestId, leave: &Leave) -> Result<Result<Refusal, NotLeft>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut lent = self.quick.lend(LEND_LIMIT).await?;
            let left = bounded(lent.suspicion(), apply(lent.get(), request_id, leave)).await;
            match transaction_over(lent, left).await {
                // Two at once: the second one finds the entry of the first one now.
                Err(StoreError::Taken(_)) if attempt < LEAVE_ATTEMPTS => attempt += 1,
                left => return left,
            }
        }
    }
}

/// The body of [`RefusalStore::leave`]. Nothing is locked: if another request has added an entry for this
/// refused scan since it was read, a unique index refuses this one.
async fn apply(
    connection: &mut PgConnection,
    request_id: &RequestId,
    leave: &Leave,
) -> Result<Result<Refusal, NotLeft>, StoreError> {
    execute(connection, "begin").await?;
    let found = of_id(request_id).fetch_optional(&mut *connection).await.map_err(judge)?;
    let found = found.map(|(row,)| rows::read(&row)).transpose()?;
    match leave.judge(found) {
        Ok((refusal, Some(entry))) => {
            audit::add(connection, &entry).await?;
            execute(connection, "commit").await?;
            Ok(Ok(refusal))
        }
        Ok((refusal, None)) => {
            execute(connection, "rollback").await?;
            Ok(Ok(refusal))
        }
        Err(not_left) => {
            execute(connection, "rollback").await?;
            Ok(Err(not_left))
        }
    }
}

fn of_id(request_id: &RequestId) -> QueryAs<'static, sqlx::Postgres, (String,), PgArguments> {
    sqlx::query_as(REFUSAL).bind(request_id.as_str().to_owned())
}
