//! The statements of the monitor; see [`template`](crate::store::template) for their placeholders.

use crate::store::consistency::rows::{CLAIM_COLUMNS, log_row};
use crate::store::planning::WORK_ORDER;
use crate::store::sqlite::row_json::json_object;
use crate::store::sqlite::row_json::of_columns;
use crate::store::sqlite::session::arguments::Arguments;
use crate::store::template::{columns, statements};

/// The columns of a check.
const CHECK_COLUMNS: [&str; 16] = [
    "check_id",
    "range",
    "work_order",
    "since",
    "state",
    "requested_by",
    "requested_at",
    "started_at",
    "advanced_at",
    "finished_at",
    "read_up_to",
    "work_orders_total",
    "work_orders_read",
    "rows_read",
    "findings_seen",
    "error",
];

/// The columns of a finding that hold plain values, and those that hold JSON.
const FINDING_COLUMNS: [&str; 14] = [
    "finding_id",
    "first_check_id",
    "last_check_id",
    "work_order",
    "kind",
    "counter",
    "seq",
    "request_id",
    "remedy",
    "state",
    "found_at",
    "seen_at",
    "repaired_at",
    "resolved_at",
];
const FINDING_JSON: [&str; 3] = ["expected", "actual", "details"];

/// The time by the database's clock, in the form of all times.
const NOW_EXPRESSION: &str = "strftime('%Y-%m-%dT%H:%M:%fZ', 'now')";

statements! {
    parts;
    NOW = "now.sql",
    NEXT_WORK_ORDERS = "next_work_orders.sql",
    NEXT_CHANGED_WORK_ORDERS = "next_changed_work_orders.sql",
    COUNT_WORK_ORDERS = "count_work_orders.sql",
    COUNT_CHANGED_WORK_ORDERS = "count_changed_work_orders.sql",
    WORK_ORDERS = "work_orders.sql",
    PAGE_LOG = "page_log.sql",
    PAGE_CLAIMS = "page_claims.sql",
    COUNTED = "counted.sql",
    REFUSED = "refused.sql",
    LAST_SEQ = "last_seq.sql",
    CLAIMS = "claims.sql",
    COUNT_CLAIMS = "count_claims.sql",
    TAKE_LEASE = "take_lease.sql",
    RENEW_LEASE = "renew_lease.sql",
    RELEASE_LEASE = "release_lease.sql",
    ASK_CHECK = "ask_check.sql",
    UNFINISHED_CHECKS = "unfinished_checks.sql",
    BEGIN_CHECK = "begin_check.sql",
    ADVANCE_CHECK = "advance_check.sql",
    END_CHECK = "end_check.sql",
    CHECK = "check.sql",
    LAST_CHECK = "last_check.sql",
    DELETE_OLD_CHECKS = "delete_old_checks.sql",
    SAVE_FINDINGS = "save_findings.sql",
    RESOLVE_READ = "resolve_read.sql",
    RESOLVE_REST = "resolve_rest.sql",
    FINDINGS = "findings.sql",
    FINDING = "finding.sql",
    COUNT_OPEN_FINDINGS = "count_open_findings.sql",
    DELETE_OLD_FINDINGS = "delete_old_findings.sql",
    LOCK_WORK_ORDER = "lock_work_order.sql",
    LOCK_FINDING = "lock_finding.sql",
    BARCODE_LOG = "barcode_log.sql",
    BARCODE_CLAIMS = "barcode_claims.sql",
    REPAIR_WORK_ORDER = "repair_work_order.sql",
    DELETE_CLAIM = "delete_claim.sql",
    SET_CLAIM = "set_claim.sql",
    MARK_REPAIRED = "mark_repaired.sql",
}

/// The values of [`COUNTED`].
pub(super) fn counted(number: &str, seq: i64, limit: i64) -> Arguments {
    let mut bound = Arguments::default();
    bound.text(number);
    bound.number(seq);
    bound.number(limit);
    bound
}

fn parts() -> [(&'static str, String); 7] {
    [
        ("log_row", log_row()),
        ("named", include_str!("named.sql").to_owned()),
        ("claim", columns("c", CLAIM_COLUMNS)),
        ("work_order", of_columns("w", WORK_ORDER)),
        ("check", json_object("c", &CHECK_COLUMNS, &[])),
        ("finding", json_object("f", &FINDING_COLUMNS, &FINDING_JSON)),
        ("now", NOW_EXPRESSION.to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn no_statement_over_the_log_walks_a_table() {
        let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory is there");
        for schema in [
            include_str!("../../../../migrations/sqlite/0001_planning.sql"),
            include_str!("../../../../migrations/sqlite/0002_counting.sql"),
            include_str!("../../../../migrations/sqlite/0003_consistency.sql"),
        ] {
            connection.execute(schema).await.expect("the schema is sound");
        }
        for statement in [
            &*NEXT_WORK_ORDERS,
            &*WORK_ORDERS,
            &*LOCK_WORK_ORDER,
            &*PAGE_LOG,
            &*PAGE_CLAIMS,
            &*COUNTED,
            &*REFUSED,
            &*LAST_SEQ,
            &*CLAIMS,
            &*COUNT_CLAIMS,
            &*BARCODE_LOG,
            &*BARCODE_CLAIMS,
        ] {
            let explain = sqlx::AssertSqlSafe(format!("explain query plan {statement}"));
            let steps: Vec<(i64, i64, i64, String)> =
                sqlx::query_as(explain).fetch_all(&mut connection).await.expect("the statement is sound");
            let walks: Vec<&String> = steps
                .iter()
                .map(|(_, _, _, step)| step)
                .filter(|step| {
                    ["SCAN l", "SCAN c", "SCAN w", "SCAN u", "SCAN t", "SCAN s"]
                        .iter()
                        .any(|scan| step.starts_with(scan))
                })
                .filter(|step| !["SCAN logged", "SCAN claimed", "SCAN wanted"].contains(&step.as_str()))
                .filter(|step| !step.contains("VIRTUAL TABLE"))
                .collect();
            assert!(walks.is_empty(), "{walks:?} in {statement}");
        }
    }
}
