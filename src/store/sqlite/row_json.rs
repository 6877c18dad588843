//! Rows as JSON objects, one field per column.
//!
//! PostgreSQL has `row_to_json` for this. For SQLite, the expression is made from a list of columns.

use crate::domain::column::{Column, Kind};

/// The expression for a row of the table `alias` with these columns. Columns in `json` hold JSON
/// texts.
pub(super) fn json_object(alias: &str, columns: &[&str], json: &[&str]) -> String {
    let plain = columns.iter().map(|column| format!("'{column}', {alias}.{column}"));
    let json = json.iter().map(|column| format!("'{column}', json({alias}.{column})"));
    format!("json_object({})", plain.chain(json).collect::<Vec<_>>().join(", "))
}

/// The expression for a row of the table `alias` whose columns are these.
pub(super) fn of_columns<Row>(alias: &str, columns: &[Column<Row>]) -> String {
    let field = |column: &Column<Row>| match column.kind {
        Kind::Boolean => format!("'{0}', json(iif({alias}.{0}, 'true', 'false'))", column.name),
        Kind::Text | Kind::Number | Kind::SmallNumber | Kind::Time => format!("'{0}', {alias}.{0}", column.name),
    };
    format!("json_object({})", columns.iter().map(field).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::json_object;

    #[test]
    fn every_column_is_a_field() {
        assert_eq!(json_object("a", &["id"], &["cause"]), "json_object('id', a.id, 'cause', json(a.cause))");
    }
}
