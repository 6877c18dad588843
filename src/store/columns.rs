//! Text of SQL from tables of columns, for both stores.

use crate::domain::column::{Column, Kind};

/// The names, separated by commas: the columns of an insert.
pub(super) fn names<Row>(columns: &[Column<Row>]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// `json_object('seq', u.seq, …)`: a row as JSON on SQLite, under the table's `alias`. PostgreSQL has
/// `row_to_json`.
pub(super) fn json_object<Row>(alias: &str, columns: &[Column<Row>]) -> String {
    let field = |column: &Column<Row>| match column.kind {
        Kind::Boolean => format!("'{0}', json(iif({alias}.{0}, 'true', 'false'))", column.name),
        Kind::Text | Kind::Number | Kind::SmallNumber | Kind::Time => format!("'{0}', {alias}.{0}", column.name),
    };
    format!("json_object({})", columns.iter().map(field).collect::<Vec<_>>().join(", "))
}

/// Declares a table of columns whose rows are of a type that is no [`Row`](crate::domain::column::Row):
/// each column has a name, a kind and its value in a row (`None` is null).
macro_rules! columns {
    ($(#[$doc:meta])* $visibility:vis $name:ident: $Row:ty = |$row:ident| { $($column:ident: $kind:ident = $value:expr,)+ }) => {
        $(#[$doc])*
        $visibility const $name: &[$crate::domain::column::Column<$Row>] = &[$(
            $crate::domain::column::Column {
                name: stringify!($column),
                kind: $crate::domain::column::Kind::$kind,
                value: |$row: &$Row| $value.map($crate::domain::column::Value::$kind),
            },
        )+];
    };
}
pub(super) use columns;
