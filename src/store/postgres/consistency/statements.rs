//! The statements of the monitor.

use super::connection::Select;
use crate::store::consistency::LoggedRow;
use crate::store::consistency::rows::{CLAIM_COLUMNS, log_row};
use crate::store::template::{columns, statements};

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

/// The next counted rows of a work order.
pub(super) fn counted(number: &str, seq: i64, limit: i64) -> Select<LoggedRow> {
    sqlx::query_as(COUNTED.as_str()).bind(number.to_owned()).bind(seq).bind(limit)
}

fn parts() -> [(&'static str, String); 3] {
    [("log_row", log_row()), ("named", include_str!("named.sql").to_owned()), ("claim", columns("c", CLAIM_COLUMNS))]
}
