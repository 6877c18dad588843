//! What a repair reads and writes under the row lock.

use sqlx::PgConnection;

use super::connection::fetch;
use super::statements::{self as sql, counted};
use crate::domain::consistency::FindingState;
use crate::domain::ids::Owner;
use crate::store::consistency::{ClaimPlace, Evidence, RepairChanges, RepairWanted};
use crate::store::postgres::{audit, run};
use crate::store::{StoreError, rows};

/// Locks the work order, then reads. So nothing that it reads can change before COMMIT.
pub(super) async fn evidence(connection: &mut PgConnection, wanted: &RepairWanted<'_>) -> Result<Evidence, StoreError> {
    let number = &wanted.finding.work_order;
    let lock = sqlx::query_as(sql::LOCK_WORK_ORDER.as_str()).bind(number.clone());
    let locked: Vec<(String,)> = fetch(connection, lock).await?;
    let work_order = locked.first().map(|(row,)| rows::read(row)).transpose()?;
    let state = sqlx::query_as(sql::LOCK_FINDING.as_str()).bind(wanted.finding.finding_id.clone());
    let state: Vec<(String,)> = fetch(connection, state).await?;
    let texts = |text: fn(&ClaimPlace) -> &String| wanted.barcodes.iter().map(text).cloned().collect::<Vec<_>>();
    let mut barcodes = texts(|place| &place.barcode);
    barcodes.sort_unstable();
    barcodes.dedup();
    let barcode_log = sqlx::query_as(sql::BARCODE_LOG.as_str()).bind(number.clone()).bind(barcodes).bind(wanted.limit);
    let claims = sqlx::query_as(sql::BARCODE_CLAIMS.as_str())
        .bind(number.clone())
        .bind(texts(|place| &place.counter))
        .bind(texts(|place| &place.step))
        .bind(texts(|place| &place.barcode))
        .bind(wanted.limit);
    Ok(Evidence {
        state: state.first().and_then(|(state,)| FindingState::of_word(state)),
        work_order,
        log: fetch(connection, counted(number, wanted.after_seq, wanted.limit)).await?,
        barcode_log: fetch(connection, barcode_log).await?,
        claims: fetch(connection, claims).await?,
    })
}

/// Writes what a repair has decided.
pub(super) async fn write(
    connection: &mut PgConnection,
    finding_id: &str,
    changes: &RepairChanges,
) -> Result<(), StoreError> {
    if let Some(row) = &changes.row {
        let repair = sqlx::query(sql::REPAIR_WORK_ORDER.as_str())
            .bind(row.work_order.as_str())
            .bind(row.status.word())
            .bind(row.input_quantity.get())
            .bind(row.output_quantity.get())
            .bind(row.scrap_quantity.get())
            .bind(row.seq.0)
            .bind(row.barcode_counted)
            .bind(row.stamp.0)
            .bind(row.updated_at.to_utc())
            .bind(row.fence.0)
            .bind(row.fence_owner.as_ref().map(Owner::as_str));
        run(connection, repair).await?;
    }
    for (key, claim) in &changes.claims.delete {
        let delete = sqlx::query(sql::DELETE_CLAIM.as_str())
            .bind(key.work_order.as_str())
            .bind(key.counter.word())
            .bind(&key.step)
            .bind(&key.barcode)
            .bind(claim.ordinal);
        run(connection, delete).await?;
    }
    for (key, claim) in changes.claims.insert.iter().chain(&changes.claims.take_over) {
        let set = sqlx::query(sql::SET_CLAIM.as_str())
            .bind(key.work_order.as_str())
            .bind(key.counter.word())
            .bind(&key.step)
            .bind(&key.barcode)
            .bind(claim.ordinal)
            .bind(claim.request_id.as_str())
            .bind(claim.quantity.get());
        run(connection, set).await?;
    }
    run(connection, sqlx::query(sql::MARK_REPAIRED.as_str()).bind(finding_id)).await?;
    audit::add(connection, &changes.entry).await
}
