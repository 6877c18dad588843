//! What a check writes while it runs and at its end, within a transaction.

use sqlx::sqlite::SqliteConnection;

use super::connection::{change, seconds};
use super::statements as sql;
use crate::domain::consistency::CheckState;
use crate::store::consistency::Progress;
use crate::store::consistency::rows::drifts;
use crate::store::rows;
use crate::store::sqlite::Failure;
use crate::store::sqlite::calls::{Arguments, list};

/// Notes progress; `false` if the lease is lost.
pub(super) async fn note(connection: &mut SqliteConnection, progress: &Progress<'_>) -> Result<bool, Failure> {
    let mut bound = Arguments::default();
    bound.text(progress.lease.holder);
    bound.text(&seconds(progress.lease.ttl));
    if change(connection, &sql::RENEW_LEASE, bound).await? == 0 {
        return Ok(false);
    }
    if !progress.drifts.is_empty() {
        let mut bound = Arguments::default();
        bound.text(progress.check_id);
        bound.text(&drifts(progress.drifts));
        bound.text(&progress.read_since.to_string());
        change(connection, &sql::SAVE_FINDINGS, bound).await?;
    }
    let mut bound = Arguments::default();
    bound.text(progress.check_id);
    bound.text(&list(&progress.numbers));
    bound.text(&progress.read_since.to_string());
    change(connection, &sql::RESOLVE_READ, bound).await?;
    let mut bound = Arguments::default();
    bound.text(progress.check_id);
    bound.maybe(progress.read_up_to);
    bound.number(rows::length(progress.numbers));
    bound.number(progress.rows_read);
    bound.number(rows::length(progress.drifts));
    change(connection, &sql::ADVANCE_CHECK, bound).await?;
    Ok(true)
}

/// Ends a check and deletes what is old.
pub(super) async fn end(
    connection: &mut SqliteConnection,
    check_id: &str,
    state: CheckState,
    error: Option<&str>,
    kept: i64,
) -> Result<(), Failure> {
    let mut bound = Arguments::default();
    bound.text(check_id);
    bound.text(state.word());
    bound.maybe(error);
    change(connection, &sql::END_CHECK, bound).await?;
    // A check that has read everything knows that the other drifts are gone.
    let mut bound = Arguments::default();
    bound.text(check_id);
    change(connection, &sql::RESOLVE_REST, bound).await?;
    for statement in [&sql::DELETE_OLD_CHECKS, &sql::DELETE_OLD_FINDINGS] {
        let mut bound = Arguments::default();
        bound.number(kept);
        change(connection, statement, bound).await?;
    }
    Ok(())
}
