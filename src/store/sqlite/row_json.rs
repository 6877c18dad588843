//! Rows as JSON objects, one field per column.
//!
//! PostgreSQL has `row_to_json` for this. For SQLite, the expression is made from a list of columns.

/// The expression for a row of the table `alias` with these columns. Columns in `json` hold JSON
/// texts.
pub(super) fn json_object(alias: &str, columns: &[&str], json: &[&str]) -> String {
    let plain = columns.iter().map(|column| format!("'{column}', {alias}.{column}"));
    let json = json.iter().map(|column| format!("'{column}', json({alias}.{column})"));
    format!("json_object({})", plain.chain(json).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::json_object;

    #[test]
    fn every_column_is_a_field() {
        assert_eq!(json_object("a", &["id"], &["cause"]), "json_object('id', a.id, 'cause', json(a.cause))");
    }
}
