//! Text of SQL from tables of columns, for both stores.

use crate::domain::column::Column;

/// The names, separated by commas: the columns of an insert.
pub(super) fn names<Row>(columns: &[Column<Row>]) -> String {
    columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

/// Declares a table of columns for a type that does not use `row!`. Each column has a name, a kind and
/// its value in a row (`None` is null).
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
