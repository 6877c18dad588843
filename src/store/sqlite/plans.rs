//! The plans of the statements: none reads a table from end to end.

use sqlx::{Connection as _, Executor as _, SqliteConnection};

use super::counting::{load, write};
use super::{planning, updates};

/// The plan of a statement, a step a line. Without `analyze` it depends on the
/// schema alone, so it stays the same however large the tables grow.
async fn plan_of(statement: &'static str) -> Vec<String> {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory is there");
    let schema = concat!(
        include_str!("../../../migrations/sqlite/0001_planning.sql"),
        include_str!("../../../migrations/sqlite/0002_counting.sql")
    );
    connection.execute(schema).await.expect("the schema is sound");
    let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(explain).fetch_all(&mut connection).await.expect("the statement is sound");
    steps.into_iter().map(|(_, _, _, detail)| detail).collect()
}

/// Steps that scan a whole table (lists sent with the statement do not count).
async fn walks_of(statement: &'static str) -> Vec<String> {
    let sent = ["VIRTUAL TABLE", "CONSTANT", "VALUES CLAUSE"];
    let plan = plan_of(statement).await.into_iter();
    plan.filter(|step| step.starts_with("SCAN") && !sent.iter().any(|list| step.contains(list))).collect()
}

#[tokio::test]
async fn pitfall_47_no_statement_of_the_counting_path_walks_a_table() {
    for statement in [
        load::LOAD.as_str(),
        write::PASSED.text(24),
        write::LOGGED.text(24),
        write::DELETED.text(24),
        write::TAKEN_OVER.text(24),
        write::INSERTED.text(24),
        planning::REPLACE.text(1),
        &planning::WORK_ORDER,
        &updates::UPDATES_BY_ID,
    ] {
        let walks = walks_of(statement).await;
        assert!(walks.is_empty(), "{walks:?} in {statement}");
    }
    let find = load::KNOWN.split_once("begin immediate;").expect("it takes the lock first").1;
    assert_eq!(walks_of(find).await, ["SCAN claimed", "SCAN claimed", "SCAN ids"], "its own lists alone");
}

#[tokio::test]
async fn lists_are_walked_down_an_index() {
    for (statement, steps) in [
        (planning::WORK_ORDERS.as_str(), &["SEARCH w USING PRIMARY KEY (work_order>?)"][..]),
        (
            updates::UPDATES.as_str(),
            &[
                "SEARCH u USING INDEX sqlite_autoindex_update_log_2 (work_order=? AND seq<?)",
                "SEARCH u USING INDEX update_log_refused (work_order=? AND (at_seq,recorded_at,request_id)<(?,?,?))",
            ],
        ),
        (&updates::UPDATES_OF_PART, &["SEARCH u USING INDEX update_log_barcode (barcode_canonical=?)"]),
        (
            &updates::UPDATES_OF_BARCODE,
            &["SEARCH u USING INDEX update_log_barcode (barcode_canonical=? AND (recorded_at,request_id)<(?,?))"],
        ),
    ] {
        let plan = plan_of(statement).await;
        for step in steps {
            assert!(plan.iter().any(|found| found == step), "{step} in {plan:#?}");
        }
    }
}
