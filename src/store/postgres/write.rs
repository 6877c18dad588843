//! The guarded write: which statement a batch takes, its values, and what it came to.
//!
//! One statement, one transaction. The server sets up every part of a statement whenever it
//! runs it, whether or not there is anything to do for it: a third of what a lone scan costs
//! there. So there are three lengths of the statement, made of the same parts in `write/`.
//! Arrays are unnested in the select list: in `from`, each would be copied to a store of its
//! own first, at a tenth of the statement's cost.

use std::sync::Arc;

use sqlx::PgConnection;

use super::super::{Batch, StoreError, Written, rows};
use super::{columns, fetch, texts};
use crate::domain::ids::WorkOrderNumber;

macro_rules! statement {
    ([$first:literal $(, $part:literal)*], [$($answer:literal),+]) => {
        concat!(
            "with ", include_str!(concat!("write/", $first, ".sql")),
            $(", ", include_str!(concat!("write/", $part, ".sql")),)*
            $(include_str!(concat!("write/", $answer, ".sql")),)+
        )
    };
}

/// For a batch without barcodes.
const PLAIN: &str = statement!(["known", "no_barcodes", "rows"], ["answer"]);
/// With barcodes to look up and to claim.
const CLAIMING: &str = statement!(["known", "barcodes", "rows", "claims"], ["answer", "answer_barcodes"]);
/// With claims that no longer stand, too.
const UNBINDING: &str =
    statement!(["known", "barcodes", "rows", "claims", "unbound"], ["answer", "answer_barcodes", "answer_unbound"]);

/// The statements of the guarded write: without barcodes, with barcodes, with unbinds.
pub const WRITES: [&str; 3] = [PLAIN, CLAIMING, UNBINDING];

/// Writes a batch.
pub(super) async fn write(connection: &mut PgConnection, batch: &Batch) -> Result<Written, StoreError> {
    let mut written = Written::default();
    if batch.changes.is_empty() {
        return Ok(written);
    }
    let claims = rows::claim_changes(batch);
    let statement = if claims.iter().any(|claim| claim.change != "insert") {
        UNBINDING
    } else if !(claims.is_empty() && batch.unclaimed.is_empty()) {
        CLAIMING
    } else {
        PLAIN
    };
    let unverified = || batch.unverified.iter();
    let write = sqlx::query_as(statement)
        .bind(texts(unverified().map(|(id, _)| id.as_str())))
        .bind(texts(unverified().map(|(_, number)| number.as_str())));
    let write = columns::bind_work_orders(write, batch);
    let mut write = columns::bind_updates(write, batch);
    if statement != PLAIN {
        write = columns::bind_claims(write, &claims);
        write = columns::bind_unclaimed(write, batch);
    }
    for (kind, row) in fetch(connection, write).await? {
        match kind.as_str() {
            "passed" => {
                let number = WorkOrderNumber::parse(&row).map_err(|error| StoreError::Refused(error.into()))?;
                written.passed.insert(number);
            }
            "claimed" => {
                let rows::ClaimRow { key, claim } = rows::read(&row)?;
                written.claimed.push((key, claim));
            }
            "known" => written.known.push(Arc::new(rows::read(&row)?)),
            // `as_loaded`
            _ => {}
        }
    }
    Ok(written)
}
