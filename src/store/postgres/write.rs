//! The guarded write: which statement a batch takes, its values, and what it came to.
//!
//! One statement, one transaction. The server sets up every part of a statement whenever it
//! runs it, whether or not there is anything to do for it: a third of what a lone scan costs
//! there. So there are several lengths of the statement, made of the same parts in `write/`.
//! The usual two take everything for new and every work order for unchanged: where that is not
//! so they do nothing at all, and one that looks tells what it was.
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
const PLAIN: &str =
    statement!(["offered", "wanted_all", "passed", "updates", "recorded_all", "logged"], ["answer_all"]);
const PLAIN_LOOKING: &str = statement!(
    ["known", "no_barcodes", "offered", "wanted_free", "passed", "updates", "recorded_of_passed", "logged"],
    ["answer"]
);
/// With barcodes to claim.
const CLAIMING: &str = statement!(
    ["offered", "wanted_all", "passed", "updates", "recorded_all", "logged", "claim_changes", "claims_all", "inserted"],
    ["answer_all"]
);
const CLAIMING_LOOKING: &str = statement!(
    [
        "known",
        "barcodes",
        "offered",
        "wanted_free",
        "passed",
        "updates",
        "recorded_of_passed",
        "logged",
        "claim_changes",
        "claims_of_passed",
        "inserted"
    ],
    ["answer", "answer_barcodes"]
);
/// With claims that no longer stand, too.
const UNBINDING: &str = statement!(
    [
        "known",
        "barcodes",
        "offered",
        "wanted_free",
        "passed",
        "updates",
        "recorded_of_passed",
        "logged",
        "claim_changes",
        "claims_of_passed",
        "inserted",
        "unbound"
    ],
    ["answer", "answer_barcodes", "answer_unbound"]
);

/// The statements of the guarded write: without barcodes, with barcodes, with unbinds; the
/// first two without and with a look for request ids and barcodes.
pub const WRITES: [&str; 5] = [PLAIN, PLAIN_LOOKING, CLAIMING, CLAIMING_LOOKING, UNBINDING];

/// Writes a batch; `looks` says whether it looks for what no load has looked up, or leaves it
/// to the primary keys to refuse it.
pub(super) async fn write(connection: &mut PgConnection, batch: &Batch, looks: bool) -> Result<Written, StoreError> {
    let mut written = Written::default();
    if batch.changes.is_empty() {
        return Ok(written);
    }
    let claims = rows::claim_changes(batch);
    let barcodes = !(claims.is_empty() && batch.unclaimed.is_empty());
    let statement = match (barcodes, looks) {
        _ if claims.iter().any(|claim| claim.change != "insert") => UNBINDING,
        (false, false) => PLAIN,
        (false, true) => PLAIN_LOOKING,
        (true, false) => CLAIMING,
        (true, true) => CLAIMING_LOOKING,
    };
    // The others have no use for them.
    let looks = [PLAIN_LOOKING, CLAIMING_LOOKING, UNBINDING].contains(&statement);
    let unverified = || batch.unverified.iter().filter(|_| looks);
    let write = sqlx::query_as(statement)
        .bind(texts(unverified().map(|(id, _)| id.as_str())))
        .bind(texts(unverified().map(|(_, number)| number.as_str())));
    let write = columns::bind_work_orders(write, batch);
    let mut write = columns::bind_updates(write, batch);
    if barcodes {
        write = columns::bind_claims(write, &claims);
    }
    if statement == CLAIMING_LOOKING || statement == UNBINDING {
        write = columns::bind_unclaimed(write, batch);
    }
    for (kind, row) in fetch(connection, write).await? {
        match kind.as_str() {
            "all_passed" => written.passed = batch.changes.iter().map(|c| c.row.work_order.clone()).collect(),
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
