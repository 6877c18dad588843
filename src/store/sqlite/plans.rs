//! The plans of the statements: none reads a table from end to end.

use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};

use super::counting::{load, write};
use super::{planning, refusals, updates};
use crate::domain::column::{Column, Row as _};
use crate::domain::update::Update;
use crate::store::counting::CLAIM;
use crate::store::planning::WORK_ORDER;

async fn migrated() -> SqliteConnection {
    let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory is there");
    for migration in crate::store::migrations::SQLITE.iter() {
        connection.execute(migration.sql.clone()).await.expect("the schema is sound");
    }
    connection
}

/// The plan of a statement, a step a line. Without `analyze` it depends on the
/// schema alone, so it stays the same however large the tables grow.
async fn plan_of(statement: &'static str) -> Vec<String> {
    let mut connection = migrated().await;
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
        &load::LOAD_NAMED,
        write::RELEASE_CLAIMS,
        write::UPDATE_WORK_ORDERS.text(24),
        write::INSERT_LOG.text(24),
        write::DELETE_CLAIMS.text(24),
        write::TAKE_OVER_CLAIMS.text(24),
        write::INSERT_CLAIMS.text(24),
        // A list of one row is a subquery, of which the plan shows less.
        planning::REPLACE.text(2),
        &planning::WORK_ORDER,
        &updates::UPDATES_BY_ID,
        &refusals::REFUSAL,
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
        (
            &refusals::REFUSALS,
            &[
                "SEARCH u USING INDEX update_log_refusals (recorded_at>? AND (recorded_at,request_id)<(?,?))",
                "SEARCH s USING INDEX update_log_settles (settles=?)",
                "SEARCH a USING INDEX audit_trail_refusal (refusal=?)",
            ],
        ),
    ] {
        let plan = plan_of(statement).await;
        for step in steps {
            assert!(plan.iter().any(|found| found == step), "{step} in {plan:#?}");
        }
    }
}

#[tokio::test]
async fn the_tables_of_columns_are_those_of_the_database() {
    fn names<Row>(columns: &[Column<Row>]) -> Vec<&'static str> {
        columns.iter().map(|column| column.name).collect()
    }
    let mut connection = migrated().await;
    for (table, columns) in
        [("update_log", names(Update::COLUMNS)), ("work_orders", names(WORK_ORDER)), ("barcode_claims", names(CLAIM))]
    {
        let info = sqlx::AssertSqlSafe(format!("pragma table_info({table})"));
        let found = sqlx::query(info).fetch_all(&mut connection).await.expect("the schema is sound");
        let found: Vec<String> = found.iter().map(|row| row.get("name")).collect();
        assert_eq!(columns, found, "{table}");
    }
}
