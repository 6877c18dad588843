//! The guarded write: its statements, and its result.
//!
//! A statement is a message to the connection's thread and one back. On a busy machine that takes as
//! long as the work itself. So there are few statements:
//!
//! | step | statement | if the process dies here |
//! | --- | --- | --- |
//! | take the write lock; look for what no load has looked up | `known.sql`, or `begin immediate` alone | nothing is written |
//! | update the work orders that pass | `update_work_orders.sql` | nothing is written |
//! | add to the log | `insert_log.sql` | nothing is written |
//! | free the barcodes of a counter, if a recount asks for it | `release_claims.sql` | nothing is written |
//! | change claims, if there are any | `delete_claims.sql`, `take_over_claims.sql`, `insert_claims.sql` | nothing is written |
//! | COMMIT | | all of it is written, or nothing |

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::session::Failure;
use super::super::session::arguments::{Arguments, list};
use super::super::session::on_rows::OnRows;
use super::super::session::writer::BEGIN;
use super::load::{ClaimAsk, KNOWN};
use crate::domain::column::Row as _;
use crate::domain::decide::{Claim, ClaimChanges, ClaimKey, WorkOrderChange};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::store::counting::{CLAIM, ClaimRow, GUARDED, sorted_updates};
use crate::store::{Batch, StoreError, Written, rows};

pub(in super::super) static UPDATE_WORK_ORDERS: OnRows<WorkOrderChange> =
    OnRows::new(include_str!("update_work_orders.sql"), GUARDED);
pub(in super::super) static INSERT_LOG: OnRows<Update> = OnRows::new(include_str!("insert_log.sql"), Update::COLUMNS);
pub(in super::super) static DELETE_CLAIMS: OnRows<(ClaimKey, Claim)> =
    OnRows::new(include_str!("delete_claims.sql"), CLAIM);
pub(in super::super) static TAKE_OVER_CLAIMS: OnRows<(ClaimKey, Claim)> =
    OnRows::new(include_str!("take_over_claims.sql"), CLAIM);
pub(in super::super) static INSERT_CLAIMS: OnRows<(ClaimKey, Claim)> =
    OnRows::new(include_str!("insert_claims.sql"), CLAIM);
pub(in super::super) const RELEASE_CLAIMS: &str = include_str!("release_claims.sql");

/// The claims in the table are not those that were loaded.
#[derive(Debug, thiserror::Error)]
#[error("{expected} barcode claims were to be changed, {found} were found")]
struct ClaimsDiffer {
    expected: usize,
    found: u64,
}

/// The statement that begins a batch's transaction. If it `looks`, it also looks for request ids and
/// barcodes that no load has looked up.
pub(super) fn begin(batch: &Batch, looks: bool) -> (&'static str, Arguments) {
    let mut bound = Arguments::default();
    if !looks {
        return (BEGIN, bound);
    }
    let asks: Vec<ClaimAsk> = batch.unclaimed.iter().map(ClaimAsk::from).collect();
    let ids: Vec<&RequestId> = batch.unverified.iter().map(|(request_id, _)| request_id).collect();
    bound.text(&list(&asks));
    bound.text(&list(&ids));
    (&KNOWN, bound)
}

/// The body of the write, within its transaction; `found` is what its beginning gave.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    batch: &Batch,
    found: Option<SqliteRow>,
) -> Result<Written, Failure> {
    let mut written = found.map(read_found).transpose()?.unwrap_or_default();
    let decided: HashSet<&RequestId> = written.known.iter().map(|update| &update.request_id).collect();
    let repeats = batch.unverified.iter().filter(|(request_id, _)| decided.contains(request_id));
    let taken = written.claimed.iter().map(|(key, _)| &key.work_order);
    let held_back: HashSet<&WorkOrderNumber> = repeats.map(|(_, work_order)| work_order).chain(taken).collect();
    let free = batch.changes.iter().filter(|change| !held_back.contains(&change.row.work_order)).collect();
    let changes = pass(connection, free).await?;

    INSERT_LOG.change(connection, &sorted_updates(changes.iter().copied())).await?;
    let deleted = claims(&changes, |change| &change.delete);
    let taken_over = claims(&changes, |change| &change.take_over);
    for (statement, rows) in [(&DELETE_CLAIMS, deleted), (&TAKE_OVER_CLAIMS, taken_over)] {
        let found = statement.change(connection, &rows).await?;
        if found != rows.len() as u64 {
            // The claims were loaded and the stamp has not changed since, so somebody else writes to the
            // tables. Nothing is written; the next load finds the claims that stand.
            return Err(StoreError::TryAgain(ClaimsDiffer { expected: rows.len(), found }.into()).into());
        }
    }
    INSERT_CLAIMS.change(connection, &claims(&changes, |change| &change.insert)).await?;
    written.passed = changes.iter().map(|change| change.row.work_order.clone()).collect();
    Ok(written)
}

/// Frees all barcodes of the counters that the batch releases, before its own claims are written.
pub(super) async fn release(connection: &mut SqliteConnection, batch: &Batch) -> Result<(), Failure> {
    for (work_order, counter) in batch.releases() {
        let mut bound = Arguments::default();
        bound.text(work_order.as_str());
        bound.text(counter.word());
        bound.query(RELEASE_CLAIMS).execute(&mut *connection).await?;
    }
    Ok(())
}

/// What the beginning of a write has found, before anything is written.
fn read_found(row: SqliteRow) -> Result<Written, Failure> {
    let claimed: Vec<ClaimRow> = rows::read(row.try_get(0)?)?;
    let known: Vec<Update> = rows::read(row.try_get(1)?)?;
    Ok(Written {
        passed: HashSet::new(),
        known: known.into_iter().map(Arc::new).collect(),
        claimed: claimed.into_iter().map(ClaimRow::into).collect(),
    })
}

/// Updates the work orders that may be written, and gives their changes.
async fn pass<'a>(
    connection: &mut SqliteConnection,
    mut changes: Vec<&'a WorkOrderChange>,
) -> Result<Vec<&'a WorkOrderChange>, Failure> {
    let passed: HashSet<String> = UPDATE_WORK_ORDERS.fetch(connection, &changes).await?.into_iter().collect();
    changes.retain(|change| passed.contains(change.row.work_order.as_str()));
    Ok(changes)
}

fn claims<'a>(
    changes: &[&'a WorkOrderChange],
    of: fn(&ClaimChanges) -> &Vec<(ClaimKey, Claim)>,
) -> Vec<&'a (ClaimKey, Claim)> {
    changes.iter().flat_map(|change| of(&change.claims)).collect()
}
