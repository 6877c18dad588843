//! Lists of rows as arrays, one per column, for statements that unnest them.

use sqlx::Postgres;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use crate::domain::column::{Column, Kind, Value};
use crate::domain::time::Timestamp;

pub(super) type Query<'q> = QueryAs<'q, Postgres, (String, String), PgArguments>;

/// `unnest($1::text[]) as request_id, …`: the columns of a list whose first array is `$first`.
pub(super) fn unnested<Row>(columns: &[Column<Row>], first: usize) -> String {
    let arrays = columns.iter().zip(first..);
    let arrays = arrays.map(|(column, at)| format!("unnest({}) as {}", array(column.kind, at), column.name));
    arrays.collect::<Vec<_>>().join(", ")
}

/// `$1::text[]`: one array.
pub(super) fn array(kind: Kind, at: usize) -> String {
    let element = match kind {
        Kind::Text => "text",
        Kind::Number => "bigint",
        Kind::SmallNumber => "smallint",
        Kind::Boolean => "boolean",
        Kind::Time => "timestamptz",
    };
    format!("${at}::{element}[]")
}

/// Binds a list, one array per column. A column that is null in every row is bound as one null, which
/// costs almost nothing. Unnesting gives null for every row.
pub(super) fn bind<'q, Row>(
    mut query: Query<'q>,
    columns: &'static [Column<Row>],
    rows: impl Iterator<Item = &'q Row> + Clone,
) -> Query<'q> {
    for column in columns {
        let values = rows.clone().map(column.value);
        query = match column.kind {
            Kind::Text => query.bind(present(values.map(|value| value.and_then(Value::text)))),
            Kind::Number => query.bind(present(values.map(|value| value.and_then(Value::number)))),
            Kind::SmallNumber => query.bind(present(values.map(|value| value.and_then(Value::small_number)))),
            Kind::Boolean => query.bind(present(values.map(|value| value.and_then(Value::boolean)))),
            Kind::Time => query.bind(present(values.map(|value| value.and_then(Value::time).map(Timestamp::to_utc)))),
        };
    }
    query
}

/// The values of a column, or `None` if all are null.
///
/// Many columns of the log are null in most batches. So it looks first, and makes no list of nulls.
fn present<T>(values: impl Iterator<Item = Option<T>> + Clone) -> Option<Vec<Option<T>>> {
    values.clone().any(|value| value.is_some()).then(|| values.collect())
}
