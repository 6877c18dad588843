//! A batch as arrays, one per column, in the order of the guarded write.

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use super::super::rows::ClaimChange;
use super::super::{Batch, Place};
use crate::domain::ids::{Owner, Quantity, RequestId};
use crate::domain::update::Update;

type Write<'q> = QueryAs<'q, Postgres, (String, String), PgArguments>;

/// Binds one array per column: `$rows` is iterated once per column.
macro_rules! bind_columns {
    ($write:expr, $rows:expr, $($column:expr),+ $(,)?) => {{
        let write = $write;
        $(let write = write.bind($rows.iter().map($column).collect::<Vec<_>>());)+
        write
    }};
}

/// Binds the rows of `work_orders` to write, sorted by work order.
pub(super) fn bind_work_orders<'q>(write: Write<'q>, batch: &'q Batch) -> Write<'q> {
    bind_columns!(
        write,
        batch.changes,
        |change| change.row.work_order.as_str(),
        |change| change.loaded.0,
        |change| change.tenure.as_ref().map(|(fence, _)| fence.0),
        |change| change.row.fence_owner.as_ref().map(Owner::as_str),
        |change| change.row.status.word(),
        |change| change.row.input_quantity.get(),
        |change| change.row.output_quantity.get(),
        |change| change.row.scrap_quantity.get(),
        |change| change.row.seq.0,
        |change| change.row.fence.0,
        |change| change.row.stamp.0,
        |change| change.row.barcode_counted,
        |change| change.row.updated_at.to_utc(),
    )
}

/// Binds the rows of `update_log` to insert, sorted by request id.
pub(super) fn bind_updates<'q>(write: Write<'q>, batch: &'q Batch) -> Write<'q> {
    let mut updates: Vec<&Update> =
        batch.changes.iter().flat_map(|change| &change.updates).map(AsRef::as_ref).collect();
    updates.sort_unstable_by(|a, b| a.request_id.cmp(&b.request_id));
    bind_columns!(
        write,
        updates,
        |update| update.request_id.as_str(),
        |update| update.work_order.as_str(),
        |update| update.seq.map(|seq| seq.0),
        |update| update.at_seq.map(|seq| seq.0),
        |update| update.counter.word(),
        |update| update.action.word(),
        |update| update.quantity.map(Quantity::get),
        |update| update.asked_delta.map(|delta| delta.get()),
        |update| update.set_to.map(Quantity::get),
        |update| update.expected.map(Quantity::get),
        |update| update.delta.get(),
        |update| update.before.get(),
        |update| update.after.get(),
        |update| update.barcode.as_deref(),
        |update| update.barcode_canonical.as_deref(),
        |update| update.step.as_str(),
        |update| update.step_canonical.as_str(),
        |update| update.station.as_deref(),
        |update| update.terminal.as_deref(),
        |update| update.operator.as_deref(),
        |update| update.reason.as_deref(),
        |update| update.note.as_deref(),
        |update| update.fence.0,
        |update| update.work_order_status.word(),
        |update| update.remaining.get(),
        |update| update.scanned_at.map(|time| time.to_utc()),
        |update| update.recorded_at.to_utc(),
        |update| update.recorded_by.as_str(),
        |update| update.outcome.word(),
        |update| update.code.map(|code| code.word()),
        |update| update.original_request_id.as_ref().map(RequestId::as_str),
        |update| update.rendering,
    )
}

/// Binds the changes of `barcode_claims`.
pub(super) fn bind_claims<'q>(write: Write<'q>, claims: &[ClaimChange<'q>]) -> Write<'q> {
    bind_columns!(
        write,
        claims,
        |claim| claim.change,
        |claim| claim.key.work_order.as_str(),
        |claim| claim.key.counter.word(),
        |claim| claim.key.step.as_str(),
        |claim| claim.key.barcode.as_str(),
        |claim| claim.claim.ordinal,
        |claim| claim.claim.request_id.as_str(),
        |claim| claim.claim.quantity.get(),
    )
}

/// Binds the barcodes that nobody has looked up.
pub(super) fn bind_unclaimed<'q>(write: Write<'q>, batch: &'q Batch) -> Write<'q> {
    bind_columns!(
        write,
        batch.unclaimed,
        |key| key.work_order.as_str(),
        |key| key.counter.word(),
        |key| key.step.as_str(),
        |key| key.barcode.as_str(),
    )
}

/// A [`Place`] as the bounds that `updates.sql` takes.
#[derive(Default)]
pub(super) struct PlaceBounds {
    pub at_most: Option<i64>,
    pub below: Option<i64>,
    pub recorded_at: Option<DateTime<Utc>>,
    pub request_id: Option<String>,
}

impl PlaceBounds {
    pub(super) fn of(before: Option<&Place>) -> Self {
        match before {
            None => Self::default(),
            Some(Place { seq, refused: None }) => Self { below: Some(seq.0), ..Self::default() },
            Some(Place { seq, refused: Some((recorded_at, request_id)) }) => Self {
                at_most: Some(seq.0),
                below: None,
                recorded_at: Some(recorded_at.to_utc()),
                request_id: Some(request_id.as_str().to_owned()),
            },
        }
    }
}
