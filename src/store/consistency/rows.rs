//! Rows of log and claims as a check reads them, the same way from both stores.

use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::{ClaimedRow, LoggedRow, NextWorkOrders, Scope};
use crate::domain::consistency::Drift;
use crate::store::template::columns;

/// Lists the columns that a row is read from, and reads it by their names.
/// The fields after `;` are expressions of the statements, under their own names.
macro_rules! row {
    ($row:ident, $columns:ident: $($field:ident $column:literal),+; $($named:ident),*) => {
        /// The columns that the row is read from.
        pub(in super::super) const $columns: &[&str] = &[$($column),+];

        impl<'r, R: Row> FromRow<'r, R> for $row
        where
            &'static str: ColumnIndex<R>,
            i64: Decode<'r, R::Database> + Type<R::Database>,
            bool: Decode<'r, R::Database> + Type<R::Database>,
            String: Decode<'r, R::Database> + Type<R::Database>,
        {
            fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
                Ok(Self {
                    $($field: row.try_get($column)?,)+
                    $($named: row.try_get(stringify!($named))?),*
                })
            }
        }
    };
}

row! {
    LoggedRow, LOG_COLUMNS:
    request_id "request_id", work_order "work_order", seq "seq", at_seq "at_seq", counter "counter", action "action",
    quantity "quantity", delta "delta", before "before", after "after", step "step_canonical",
    barcode "barcode_canonical", fence "fence", barcodes "barcodes", undoes "undoes", takes_back "takes_back",
    settles "settles"; taken_seq, taken_delta, settles_refused, recorded_at
}

row! {
    ClaimedRow, CLAIM_COLUMNS:
    work_order "work_order", counter "counter", step "step", barcode "barcode", ordinal "ordinal",
    request_id "request_id", quantity "quantity";
}

/// The select list of [`LoggedRow`] without `recorded_at`: `l` is the row, `t` is the scan that it takes
/// back, and `s` is the scan that it settles.
pub(in super::super) fn log_row() -> String {
    let row = columns("l", LOG_COLUMNS);
    format!("{row}, t.seq as taken_seq, t.delta as taken_delta, s.request_id is not null as settles_refused")
}

/// The next work orders of a range, from rows (kind, number, length or count).
pub(in super::super) fn next_work_orders(
    scope: &Scope,
    rows: Vec<(String, String, i64)>,
    limit: i64,
) -> NextWorkOrders {
    let mut next = NextWorkOrders::default();
    for (kind, number, n) in rows {
        if kind == "found" {
            next.found.push((number, n));
        } else {
            next.read_up_to = Some(number).filter(|_| n >= limit);
        }
    }
    next.found.sort_unstable();
    if *scope == Scope::All && i64::try_from(next.found.len()).is_ok_and(|found| found >= limit) {
        next.read_up_to = next.found.last().map(|(number, _)| number.clone());
    }
    next
}

/// A range of one work order, which is read once.
pub(in super::super) fn only_work_order(number: &str, after: &str) -> NextWorkOrders {
    let found = if number > after { vec![(number.to_owned(), 0)] } else { Vec::new() };
    NextWorkOrders { found, read_up_to: None }
}

/// Drifts as one list, each with the id of its finding if it is new.
pub(in super::super) fn drifts(drifts: &[(String, Drift)]) -> String {
    #[derive(serde::Serialize)]
    struct New<'a> {
        finding_id: &'a str,
        #[serde(flatten)]
        drift: &'a Drift,
    }
    let rows: Vec<New<'_>> = drifts.iter().map(|(finding_id, drift)| New { finding_id, drift }).collect();
    serde_json::to_string(&rows).expect("rows are plain structs of text, numbers and JSON")
}
