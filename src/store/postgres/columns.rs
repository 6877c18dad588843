//! A batch as arrays, one per column, in the order of the guarded write.

use chrono::{DateTime, Utc};
use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use super::super::rows::ClaimChange;
use super::super::{Batch, LogCursor};
use crate::domain::ids::{Owner, Quantity, RequestId};
use crate::domain::update::Update;

type Write<'q> = QueryAs<'q, Postgres, (String, String), PgArguments>;

/// Binds one array per column, which is [`full`] or [`sparse`]: `$rows` is iterated once per column.
macro_rules! bind_columns {
    ($write:expr, $rows:expr, $($kind:ident $column:expr),+ $(,)?) => {{
        let write = $write;
        $(let write = write.bind($kind(&$rows, $column));)+
        write
    }};
}

/// A column that has a value in every row.
fn full<'a, Row, T>(rows: &'a [Row], column: impl Fn(&'a Row) -> T) -> Vec<T> {
    rows.iter().map(column).collect()
}

/// A column that may be null: bound as null where it is so in every row. Unnested beside full
/// ones it is null in every row again, at next to no cost.
fn sparse<'a, Row, T>(rows: &'a [Row], column: impl Fn(&'a Row) -> Option<T>) -> Option<Vec<Option<T>>> {
    let column = full(rows, column);
    column.iter().any(Option::is_some).then_some(column)
}

/// Binds the rows of `work_orders` to write, sorted by work order.
pub(super) fn bind_work_orders<'q>(write: Write<'q>, batch: &'q Batch) -> Write<'q> {
    bind_columns!(
        write,
        batch.changes,
        full | change | change.row.work_order.as_str(),
        full | change | change.loaded.0,
        sparse | change | change.authority.as_ref().map(|(fence, _)| fence.0),
        sparse | change | change.row.fence_owner.as_ref().map(Owner::as_str),
        full | change | change.row.status.word(),
        full | change | change.row.input_quantity.get(),
        full | change | change.row.output_quantity.get(),
        full | change | change.row.scrap_quantity.get(),
        full | change | change.row.seq.0,
        full | change | change.row.fence.0,
        full | change | change.row.stamp.0,
        full | change | change.row.barcode_counted,
        full | change | change.row.updated_at.to_utc(),
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
        full | update | update.request_id.as_str(),
        full | update | update.work_order.as_str(),
        sparse | update | update.seq.map(|seq| seq.0),
        sparse | update | update.at_seq.map(|seq| seq.0),
        full | update | update.counter.word(),
        full | update | update.action.word(),
        sparse | update | update.quantity.map(Quantity::get),
        sparse | update | update.asked_delta.map(|delta| delta.get()),
        sparse | update | update.set_to.map(Quantity::get),
        sparse | update | update.expected.map(Quantity::get),
        full | update | update.delta.get(),
        full | update | update.before.get(),
        full | update | update.after.get(),
        sparse | update | update.barcode.as_deref(),
        sparse | update | update.barcode_canonical.as_deref(),
        full | update | update.step.as_str(),
        full | update | update.step_canonical.as_str(),
        sparse | update | update.station.as_deref(),
        sparse | update | update.terminal.as_deref(),
        sparse | update | update.operator.as_deref(),
        sparse | update | update.reason.as_deref(),
        sparse | update | update.note.as_deref(),
        full | update | update.fence.0,
        full | update | update.work_order_status.word(),
        full | update | update.remaining.get(),
        sparse | update | update.scanned_at.map(|time| time.to_utc()),
        full | update | update.recorded_at.to_utc(),
        full | update | update.recorded_by.as_str(),
        full | update | update.outcome.word(),
        sparse | update | update.code.map(|code| code.word()),
        sparse | update | update.original_request_id.as_ref().map(RequestId::as_str),
        full | update | update.rendering,
    )
}

/// Binds the changes of `barcode_claims`.
pub(super) fn bind_claims<'q>(write: Write<'q>, claims: &[ClaimChange<'q>]) -> Write<'q> {
    bind_columns!(
        write,
        claims,
        full | claim | claim.change,
        full | claim | claim.key.work_order.as_str(),
        full | claim | claim.key.counter.word(),
        full | claim | claim.key.step.as_str(),
        full | claim | claim.key.barcode.as_str(),
        full | claim | claim.claim.ordinal,
        full | claim | claim.claim.request_id.as_str(),
        full | claim | claim.claim.quantity.get(),
    )
}

/// Binds the barcodes that nobody has looked up.
pub(super) fn bind_unclaimed<'q>(write: Write<'q>, batch: &'q Batch) -> Write<'q> {
    bind_columns!(
        write,
        batch.unclaimed,
        full | key | key.work_order.as_str(),
        full | key | key.counter.word(),
        full | key | key.step.as_str(),
        full | key | key.barcode.as_str(),
    )
}

/// A [`LogCursor`] as the bounds that `updates.sql` takes.
#[derive(Default)]
pub(super) struct CursorBounds {
    pub at_most: Option<i64>,
    pub below: Option<i64>,
    pub recorded_at: Option<DateTime<Utc>>,
    pub request_id: Option<String>,
}

impl CursorBounds {
    pub(super) fn of(before: Option<&LogCursor>) -> Self {
        match before {
            None => Self::default(),
            Some(LogCursor { seq, refused: None }) => Self { below: Some(seq.0), ..Self::default() },
            Some(LogCursor { seq, refused: Some((recorded_at, request_id)) }) => Self {
                at_most: Some(seq.0),
                below: None,
                recorded_at: Some(recorded_at.to_utc()),
                request_id: Some(request_id.as_str().to_owned()),
            },
        }
    }
}
