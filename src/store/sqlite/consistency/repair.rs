//! What a repair reads and writes, within a transaction of the one writer.

use sqlx::sqlite::SqliteConnection;

use super::connection::{all, change, first};
use super::statements::{self as sql, counted};
use crate::domain::consistency::FindingState;
use crate::domain::ids::Owner;
use crate::store::consistency::{Evidence, RepairChanges, RepairWanted};
use crate::store::sqlite::calls::{Arguments, list};
use crate::store::sqlite::write::bind_claim;
use crate::store::sqlite::{Failure, audit};

/// Reads what the repair needs.
pub(super) async fn evidence(
    connection: &mut SqliteConnection,
    wanted: &RepairWanted<'_>,
) -> Result<Evidence, Failure> {
    let number = &wanted.finding.work_order;
    let mut bound = Arguments::default();
    bound.text(number);
    let work_order = first(connection, &sql::LOCK_WORK_ORDER, bound).await?;
    let mut bound = Arguments::default();
    bound.text(&wanted.finding.finding_id);
    let state: Option<FindingState> = first(connection, &sql::LOCK_FINDING, bound).await?;
    let of_barcodes = || {
        let mut bound = Arguments::default();
        bound.text(number);
        bound.text(&list(&wanted.barcodes));
        bound.number(wanted.limit);
        bound
    };
    Ok(Evidence {
        state,
        work_order,
        log: all(connection, &sql::COUNTED, counted(number, wanted.after_seq, wanted.limit)).await?,
        barcode_log: all(connection, &sql::BARCODE_LOG, of_barcodes()).await?,
        claims: all(connection, &sql::BARCODE_CLAIMS, of_barcodes()).await?,
    })
}

/// Writes what a repair has decided.
pub(super) async fn write(
    connection: &mut SqliteConnection,
    finding_id: &str,
    changes: &RepairChanges,
) -> Result<(), Failure> {
    if let Some(row) = &changes.row {
        let mut bound = Arguments::default();
        bound.text(row.work_order.as_str());
        bound.text(row.status.word());
        bound.number(row.input_quantity.get());
        bound.number(row.output_quantity.get());
        bound.number(row.scrap_quantity.get());
        bound.number(row.seq.0);
        bound.number(i64::from(row.barcode_counted));
        bound.number(row.stamp.0);
        bound.text(&row.updated_at.to_string());
        bound.number(row.fence.0);
        bound.maybe(row.fence_owner.as_ref().map(Owner::as_str));
        change(connection, &sql::REPAIR_WORK_ORDER, bound).await?;
    }
    for (key, claim) in &changes.claims.delete {
        let mut bound = Arguments::default();
        bound.text(key.work_order.as_str());
        bound.text(key.counter.word());
        bound.text(&key.step);
        bound.text(&key.barcode);
        bound.number(claim.ordinal);
        change(connection, &sql::DELETE_CLAIM, bound).await?;
    }
    for claim in changes.claims.insert.iter().chain(&changes.claims.take_over) {
        let mut bound = Arguments::default();
        bind_claim(&mut bound, claim);
        change(connection, &sql::SET_CLAIM, bound).await?;
    }
    let mut bound = Arguments::default();
    bound.text(finding_id);
    change(connection, &sql::MARK_REPAIRED, bound).await?;
    audit::add(connection, &changes.entry).await
}
