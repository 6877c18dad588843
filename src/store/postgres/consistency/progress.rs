//! What a check writes while it runs and at its end, as transactions.

use sqlx::PgConnection;

use super::statements as sql;
use crate::domain::consistency::CheckState;
use crate::store::consistency::Progress;
use crate::store::consistency::rows::drifts;
use crate::store::postgres::{execute, run};
use crate::store::{StoreError, rows};

/// Notes progress; `false` if the lease is lost.
pub(super) async fn note(connection: &mut PgConnection, progress: &Progress<'_>) -> Result<bool, StoreError> {
    execute(connection, "begin").await?;
    let renew = sqlx::query(sql::RENEW_LEASE.as_str());
    let renew = renew.bind(progress.lease.holder).bind(progress.lease.ttl.as_secs_f64());
    if run(connection, renew).await?.rows_affected() == 0 {
        execute(connection, "rollback").await?;
        return Ok(false);
    }
    if !progress.drifts.is_empty() {
        let save = sqlx::query(sql::SAVE_FINDINGS.as_str())
            .bind(progress.check_id)
            .bind(drifts(progress.drifts))
            .bind(progress.read_since.to_utc());
        run(connection, save).await?;
    }
    let resolve = sqlx::query(sql::RESOLVE_READ.as_str())
        .bind(progress.check_id)
        .bind(progress.numbers.to_vec())
        .bind(progress.read_since.to_utc());
    run(connection, resolve).await?;
    let advance = sqlx::query(sql::ADVANCE_CHECK.as_str())
        .bind(progress.check_id)
        .bind(progress.read_up_to)
        .bind(rows::length(progress.numbers))
        .bind(progress.rows_read)
        .bind(rows::length(progress.drifts));
    run(connection, advance).await?;
    execute(connection, "commit").await?;
    Ok(true)
}

/// Ends a check and deletes what is old.
pub(super) async fn end(
    connection: &mut PgConnection,
    check_id: &str,
    state: CheckState,
    error: Option<&str>,
    kept: i64,
) -> Result<(), StoreError> {
    execute(connection, "begin").await?;
    let end = sqlx::query(sql::END_CHECK.as_str()).bind(check_id).bind(state.word()).bind(error);
    run(connection, end).await?;
    // A check that has read everything knows that the other drifts are gone.
    run(connection, sqlx::query(sql::RESOLVE_REST.as_str()).bind(check_id)).await?;
    run(connection, sqlx::query(sql::DELETE_OLD_CHECKS.as_str()).bind(kept)).await?;
    run(connection, sqlx::query(sql::DELETE_OLD_FINDINGS.as_str()).bind(kept)).await?;
    execute(connection, "commit").await
}
