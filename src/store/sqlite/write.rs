//! The guarded write: what it asks for, what it changes, and what it came to.
//!
//! A statement is a message to the connection's thread and one back, which on a busy machine
//! takes as long as the work: so the lock is taken and everything asked for in the first, and
//! the work orders, the log and the claims take one each.

use std::collections::HashSet;
use std::sync::Arc;

use sqlx::Row as _;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::{Batch, StoreError, Written, rows};
use super::calls::{Arguments, change, list};
use super::{ClaimAsk, ClaimRow, Failure, statements};
use crate::domain::decide::{Claim, ClaimChanges, ClaimKey, WorkOrderChange};
use crate::domain::ids::{Owner, Quantity, RequestId, WorkOrderNumber};
use crate::domain::update::Update;

/// The claims in the table are not those that were loaded.
#[derive(Debug, thiserror::Error)]
#[error("{expected} barcode claims were to be changed, {found} were found")]
struct ClaimsDiffer {
    expected: usize,
    found: u64,
}

/// The statement that begins a batch's transaction; where it `looks`, it asks for what no load
/// has looked up.
pub(super) fn begin(batch: &Batch, looks: bool) -> (&'static str, Arguments) {
    let mut bound = Arguments::default();
    if !looks {
        return (statements::BEGIN, bound);
    }
    let asks: Vec<ClaimAsk> = batch.unclaimed.iter().map(|key| ClaimAsk::of(key, 1)).collect();
    let ids: Vec<&RequestId> = batch.unverified.iter().map(|(request_id, _)| request_id).collect();
    bound.text(&list(&asks));
    bound.text(&list(&ids));
    (statements::BEGIN_AND_FIND, bound)
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
    let blocked: HashSet<&WorkOrderNumber> = repeats.map(|(_, work_order)| work_order).chain(taken).collect();
    let free = batch.changes.iter().filter(|change| !blocked.contains(&change.row.work_order)).collect();
    let changes = guard(connection, free).await?;

    // Sorted, so that neighbours in the index are written together.
    let mut updates: Vec<&Update> = changes.iter().flat_map(|change| &change.updates).map(Arc::as_ref).collect();
    updates.sort_unstable_by(|a, b| a.request_id.cmp(&b.request_id));
    statements::RECORD.change(connection, &updates, bind_update).await?;

    let delete = claims(&changes, |change| &change.delete);
    let take_over = claims(&changes, |change| &change.take_over);
    for (statement, rows) in [(statements::DELETE_CLAIMS, delete), (statements::TAKE_OVER_CLAIMS, take_over)] {
        let rows: Vec<ClaimRow> = rows.into_iter().map(ClaimRow::of).collect();
        let found = change(connection, statement, &rows).await?;
        if found != rows.len() as u64 {
            // The claims were loaded and the stamp has not changed since, so this is not
            // ours to explain; nothing is written, and the next load tells what stands.
            return Err(StoreError::TryAgain(ClaimsDiffer { expected: rows.len(), found }.into()).into());
        }
    }
    let insert = claims(&changes, |change| &change.insert);
    statements::INSERT_CLAIMS.change(connection, &insert, |bound, claim| bind_claim(bound, claim)).await?;
    written.passed = changes.iter().map(|change| change.row.work_order.clone()).collect();
    Ok(written)
}

/// What a batch found out at its beginning, with nothing written yet.
fn read_found(row: SqliteRow) -> Result<Written, Failure> {
    let claimed: Vec<ClaimRow> = rows::read(row.try_get(0)?)?;
    let known: Vec<Update> = rows::read(row.try_get(1)?)?;
    Ok(Written {
        passed: HashSet::new(),
        known: known.into_iter().map(Arc::new).collect(),
        claimed: claimed.into_iter().map(ClaimRow::into).collect(),
    })
}

/// Updates the work orders that may be written, and says which changes those were.
async fn guard<'a>(
    connection: &mut SqliteConnection,
    mut changes: Vec<&'a WorkOrderChange>,
) -> Result<Vec<&'a WorkOrderChange>, Failure> {
    let passed: HashSet<String> =
        statements::GUARD.fetch(connection, &changes, bind_work_order).await?.into_iter().collect();
    changes.retain(|change| passed.contains(change.row.work_order.as_str()));
    Ok(changes)
}

fn claims<'a>(
    changes: &[&'a WorkOrderChange],
    pick: fn(&ClaimChanges) -> &Vec<(ClaimKey, Claim)>,
) -> Vec<&'a (ClaimKey, Claim)> {
    changes.iter().flat_map(|change| pick(&change.claims)).collect()
}

/// What the guarded update compares and sets, in the order of its columns. Without a lease
/// `fence` and `fence_owner` are the row's own, which its fence allows as long as its stamp is
/// the loaded one.
fn bind_work_order(bound: &mut Arguments, change: &&WorkOrderChange) {
    let WorkOrderChange { loaded, authority, row, .. } = change;
    let (fence, fence_owner) = match authority {
        Some((fence, owner)) => (*fence, Some(owner)),
        None => (row.fence, row.fence_owner.as_ref()),
    };
    bound.text(row.work_order.as_str());
    bound.number(loaded.0);
    bound.text(row.status.word());
    bound.number(row.input_quantity.get());
    bound.number(row.output_quantity.get());
    bound.number(row.scrap_quantity.get());
    bound.number(row.seq.0);
    bound.number(fence.0);
    bound.maybe(fence_owner.map(Owner::as_str));
    bound.number(row.stamp.0);
    bound.number(row.barcode_counted.into());
    bound.text(&row.updated_at.to_string());
}

/// A row of `update_log`, in the order of the statement's columns.
fn bind_update(bound: &mut Arguments, update: &&Update) {
    bound.text(update.request_id.as_str());
    bound.text(update.work_order.as_str());
    bound.maybe_number(update.seq.map(|seq| seq.0));
    bound.maybe_number(update.at_seq.map(|seq| seq.0));
    bound.text(update.counter.word());
    bound.text(update.action.word());
    bound.maybe_number(update.quantity.map(Quantity::get));
    bound.maybe_number(update.asked_delta.map(|delta| delta.get()));
    bound.maybe_number(update.set_to.map(Quantity::get));
    bound.maybe_number(update.expected.map(Quantity::get));
    bound.number(update.delta.get());
    bound.number(update.before.get());
    bound.number(update.after.get());
    bound.maybe(update.barcode.as_deref());
    bound.maybe(update.barcode_canonical.as_deref());
    bound.text(&update.step);
    bound.text(&update.step_canonical);
    bound.maybe(update.station.as_deref());
    bound.maybe(update.terminal.as_deref());
    bound.maybe(update.operator.as_deref());
    bound.maybe(update.reason.as_deref());
    bound.maybe(update.note.as_deref());
    bound.number(update.fence.0);
    bound.text(update.work_order_status.word());
    bound.number(update.remaining.get());
    bound.maybe(update.scanned_at.map(|time| time.to_string()).as_deref());
    bound.text(&update.recorded_at.to_string());
    bound.text(update.recorded_by.as_str());
    bound.text(update.outcome.word());
    bound.maybe(update.code.map(|code| code.word()));
    bound.maybe(update.original_request_id.as_ref().map(RequestId::as_str));
    bound.number(update.rendering.into());
}

/// A row of `barcode_claims`, in the order of the statement's columns.
pub(super) fn bind_claim(bound: &mut Arguments, (key, claim): &(ClaimKey, Claim)) {
    bound.text(key.work_order.as_str());
    bound.text(key.counter.word());
    bound.text(&key.step);
    bound.text(&key.barcode);
    bound.number(claim.ordinal);
    bound.text(claim.request_id.as_str());
    bound.number(claim.quantity.get());
}
