//! Every kind of drift is found, and nothing else.

use scanfence::domain::consistency::{CheckState, Kind, Range, Remedy};
use scanfence::domain::ids::WorkOrderNumber;
use scanfence::domain::work_order::BarcodePolicy;
use serde_json::{Value, json};

use crate::floor::Floor;
use crate::shop::{correct, count, number, scan, scan_of, settle, unbind};

/// One wrong change of a work order, and the finding for it.
struct Bent {
    /// The statements of the change; `W` stands for the work order.
    sql: &'static str,
    found: &'static [Found],
}

/// A finding: kind, counter, first bad seq, expected, actual, remedy.
type Found = (Kind, Option<&'static str>, Option<i64>, &'static str, &'static str, Remedy);

const REPAIR: Remedy = Remedy::Repair;
const DECISION: Remedy = Remedy::Decision;

/// The log that is bent: seq 1 scan A, 2 scan B, 3 one piece, 4 unbind B, 5 correction +5,
/// 6 scan C, and a refused second scan of A. Input stands at 8.
const BENT: [Bent; 19] = [
    Bent {
        sql: "update work_orders set input_quantity = 11 where work_order = 'W'",
        found: &[(Kind::Quantity, Some("input"), None, "8", "11", REPAIR)],
    },
    Bent {
        sql: "update work_orders set scrap_quantity = 1 where work_order = 'W'",
        found: &[(Kind::Quantity, Some("scrap"), None, "0", "1", REPAIR)],
    },
    Bent {
        sql: "update work_orders set status = 'completed' where work_order = 'W'",
        found: &[(Kind::Status, None, None, "\"in_progress\"", "\"completed\"", REPAIR)],
    },
    Bent {
        sql: "delete from update_log where work_order = 'W' and seq = 3",
        found: &[(Kind::Gap, None, Some(4), "3", "4", DECISION)],
    },
    Bent {
        sql: "delete from update_log where work_order = 'W' and seq = 5",
        found: &[(Kind::Gap, None, Some(6), "5", "6", DECISION)],
    },
    Bent {
        // The last row: what is left is in order, but the row knows of one more.
        sql: "delete from update_log where work_order = 'W' and seq = 6;
              delete from barcode_claims where work_order = 'W' and barcode = 'C'",
        found: &[
            (Kind::Quantity, Some("input"), None, "7", "8", DECISION),
            (Kind::Seq, None, None, "5", "6", DECISION),
        ],
    },
    Bent {
        // A copy without its id: nothing counted it.
        sql: "insert into update_log (request_id, work_order, seq, counter, action, quantity, delta, before, after,
                  fence, work_order_status, remaining, recorded_at, recorded_by, outcome, rendering)
              select 'copy of ' || request_id, work_order, 7, counter, action, quantity, delta, before, after,
                  fence, work_order_status, remaining, recorded_at, recorded_by, outcome, rendering
              from update_log where work_order = 'W' and seq = 3",
        found: &[
            (Kind::Before, Some("input"), Some(7), "8", "2", DECISION),
            (Kind::Quantity, Some("input"), None, "9", "8", DECISION),
            (Kind::Seq, None, Some(7), "7", "6", DECISION),
        ],
    },
    Bent {
        sql: "update update_log set before = 9, after = 10 where work_order = 'W' and seq = 3",
        found: &[(Kind::Before, Some("input"), Some(3), "2", "9", DECISION)],
    },
    Bent {
        sql: "update update_log set after = 4 where work_order = 'W' and seq = 3",
        found: &[(Kind::After, Some("input"), Some(3), "3", "4", DECISION)],
    },
    Bent {
        sql: "update update_log set delta = 7, after = 7 where work_order = 'W' and seq = 1",
        found: &[(Kind::Delta, Some("input"), Some(1), "1", "7", DECISION)],
    },
    Bent {
        sql: "update update_log set fence = 9 where work_order = 'W' and seq = 2;
              update work_orders set fence = 9 where work_order = 'W'",
        found: &[(Kind::Fence, None, Some(3), "9", "0", DECISION)],
    },
    Bent {
        sql: "update update_log set fence = 9 where work_order = 'W' and seq = 6",
        found: &[(Kind::Fence, None, None, "9", "0", REPAIR)],
    },
    Bent {
        sql: "delete from barcode_claims where work_order = 'W' and barcode = 'A'",
        found: &[(Kind::Claim, Some("input"), Some(1), "id of A", "null", REPAIR)],
    },
    Bent {
        sql: "insert into barcode_claims values ('W', 'input', '', 'B', 1, 'nobody', 1)",
        found: &[(Kind::Claim, Some("input"), None, "null", "\"nobody\"", REPAIR)],
    },
    Bent {
        sql: "update barcode_claims set request_id = 'other' where work_order = 'W' and barcode = 'C'",
        found: &[(Kind::Claim, Some("input"), Some(6), "id of C", "\"other\"", REPAIR)],
    },
    Bent {
        sql: "update barcode_claims set quantity = 2 where work_order = 'W' and barcode = 'C'",
        found: &[(Kind::Claim, Some("input"), Some(6), "id of C", "id of C", REPAIR)],
    },
    Bent {
        // As if the barcode had been counted a second time (pitfall 2).
        sql: "update update_log set barcode_canonical = 'A' where work_order = 'W' and seq = 6;
              delete from barcode_claims where work_order = 'W' and barcode = 'C'",
        found: &[(Kind::Twice, Some("input"), Some(6), "null", "id of A", DECISION)],
    },
    Bent {
        sql: "update work_orders set seq = 4, input_quantity = 2 where work_order = 'W'",
        found: &[(Kind::Quantity, Some("input"), None, "8", "2", REPAIR), (Kind::Seq, None, Some(5), "6", "4", REPAIR)],
    },
    Bent {
        sql: "delete from work_orders where work_order = 'W'",
        found: &[(Kind::Orphan, None, None, "null", "7", DECISION)],
    },
];

/// The log that [`BENT`] bends, and the request ids of A and C.
async fn seeded(floor: &Floor) -> (WorkOrderNumber, [String; 2]) {
    let number = floor.work_order(BarcodePolicy::Once).await;
    let requests = [
        scan_of(&number, "A"),
        scan_of(&number, "B"),
        scan(&number),
        unbind(&number, "B"),
        correct(&number, 5),
        scan_of(&number, "C"),
        scan_of(&number, "A"),
    ];
    floor.count(&requests).await;
    let id = |at: usize| requests[at].request_id.to_string();
    (number, [id(0), id(5)])
}

pub async fn every_kind_of_drift_is_found_at_its_first_bad_row(floor: &Floor) {
    let mut bent = Vec::new();
    for case in &BENT {
        let (number, ids) = seeded(floor).await;
        floor.sql(&case.sql.replace("'W'", &format!("'{number}'"))).await;
        bent.push((case, number, ids));
    }
    let report = floor.check(Range::Full, None).await;
    assert_eq!(report.check.state, CheckState::Drift);
    let all: usize = BENT.iter().map(|case| case.found.len()).sum();
    assert_eq!(report.check.findings_seen, i64::try_from(all).unwrap(), "{:#?}", report.findings);
    for (case, number, [a, c]) in &bent {
        let mut found: Vec<_> = report
            .findings
            .iter()
            .filter(|finding| finding.work_order == number.as_str())
            .map(|finding| {
                let counter = finding.counter.map(|counter| counter.word());
                let Value::Object(_) = &finding.details else { panic!("{finding:?}") };
                let (expected, actual) = (finding.expected.to_string(), finding.actual.to_string());
                let named =
                    |text: String| text.replace(&format!("\"{a}\""), "id of A").replace(&format!("\"{c}\""), "id of C");
                (finding.kind, counter, finding.seq, named(expected), named(actual), finding.remedy)
            })
            .collect();
        found.sort();
        let mut expected: Vec<_> = case
            .found
            .iter()
            .map(|&(kind, counter, seq, expected, actual, remedy)| {
                (kind, counter, seq, expected.to_owned(), actual.to_owned(), remedy)
            })
            .collect();
        expected.sort();
        assert_eq!(found, expected, "{}", case.sql);
    }
    // Found again, none of it is opened twice.
    let again = floor.check(Range::Full, None).await;
    let ids = |findings: &[scanfence::domain::consistency::Finding]| {
        let mut ids: Vec<String> = findings.iter().map(|finding| finding.finding_id.clone()).collect();
        ids.sort();
        ids
    };
    assert_eq!(ids(&again.findings), ids(&report.findings));
    // And each is found when its work order alone is checked.
    for (case, number, _) in &bent {
        let alone = floor.check(Range::WorkOrder, Some(number)).await;
        assert_eq!(alone.findings.len(), case.found.len(), "{}", case.sql);
    }
}

pub async fn what_is_in_order_has_no_findings(floor: &Floor) {
    for policy in [BarcodePolicy::Once, BarcodePolicy::Repeatable] {
        let number = floor.work_order(policy).await;
        let mut requests = vec![scan(&number), correct(&number, 3)];
        for barcode in ["A", "B", "A", "A"] {
            requests.push(scan_of(&number, barcode));
        }
        requests.extend([unbind(&number, "A"), unbind(&number, "B"), unbind(&number, "X"), scan_of(&number, "B")]);
        floor.count(&requests).await;
    }
    floor.work_order(BarcodePolicy::Once).await;
    let report = floor.check(Range::Full, None).await;
    assert_eq!((report.check.state, report.findings.len()), (CheckState::Good, 0), "{report:#?}");
    assert_eq!((report.check.work_orders_read, report.check.work_orders_total), (3, Some(3)));
    assert!(report.check.rows_read >= 20, "{report:?}");
}

/// More rows than are read in one snapshot.
pub const LONG: i64 = 12_000;
const REFUSED: i64 = 7_000;

/// A log too long for one snapshot, made by SQL: a part with each piece.
pub async fn long(floor: &Floor, barcode: &str) -> WorkOrderNumber {
    let number = number();
    let policy = if barcode == "'crowd'" { "repeatable" } else { "once" };
    floor
        .sql(&format!(
            "insert into work_orders (work_order, planned_quantity, barcode_policy, status, input_quantity,
                 output_quantity, scrap_quantity, seq, fence, stamp, revision, barcode_counted, created_at, updated_at)
             values ('{number}', 0, '{policy}', 'in_progress', {LONG}, 0, 0, {LONG}, 3, 1, 1, {yes},
                 '2026-01-03T08:00:00.000Z', '2026-01-03T08:00:00.000Z');
             insert into update_log (request_id, work_order, seq, counter, action, quantity, delta, before, after,
                 barcode, barcode_canonical, fence, work_order_status, remaining, recorded_at, recorded_by, outcome,
                 rendering)
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {LONG})
             select '{number}-' || n, '{number}', n, 'input', 'scan', 1, 1, n - 1, n, {barcode}, {barcode}, n / 5000,
                 'in_progress', 0, '2026-01-03T08:00:00.000Z', 'test', 'counted', 1 from n;
             insert into barcode_claims
             select l.work_order, l.counter, '', l.barcode_canonical,
                 case when l.barcode_canonical = 'crowd' then l.seq else 1 end, l.request_id, 1
             from update_log l where l.work_order = '{number}';
             insert into update_log (request_id, work_order, at_seq, counter, action, quantity, delta, before, after,
                 fence, work_order_status, remaining, recorded_at, recorded_by, outcome, code, rendering)
             with recursive n(n) as (select 1 union all select n + 1 from n where n < {REFUSED})
             select '{number}-refused-' || n, '{number}', n / 2, 'input', 'scan', 1, 0, n / 2, n / 2, 1, 'in_progress',
                 0, '2026-01-03T08:00:00.000Z', 'test', 'refused', 'over-plan', 1 from n",
            yes = match floor.environment().0 {
                "DATABASE_URL" => "true",
                _ => "1",
            },
        ))
        .await;
    number
}

// Long: mostly the table of what is changed and what is found.
pub async fn a_long_log_is_judged_as_a_short_one(floor: &Floor) {
    let number = long(floor, "'B' || n").await;
    let report = floor.check(Range::Full, None).await;
    assert_eq!(report.check.state, CheckState::Good, "{:#?}", report.findings);
    assert_eq!(report.check.rows_read, LONG + REFUSED);
    let last = format!("{number}-{LONG}");
    for (bend, mend, kind, seq, expected, actual) in [
        (
            "update update_log set before = 5 where work_order = 'W' and seq = 9000",
            "update update_log set before = 8999 where work_order = 'W' and seq = 9000",
            Kind::Before,
            Some(9000),
            json!(8999),
            json!(5),
        ),
        (
            "update update_log set after = 9 where request_id = 'W-refused-6999'",
            "update update_log set after = 3499 where request_id = 'W-refused-6999'",
            Kind::Refused,
            Some(3499),
            json!(3499),
            json!(9),
        ),
        (
            "update work_orders set input_quantity = 5 where work_order = 'W'",
            "update work_orders set input_quantity = 12000 where work_order = 'W'",
            Kind::Quantity,
            None,
            json!(12000),
            json!(5),
        ),
        (
            "delete from barcode_claims where work_order = 'W' and barcode = 'B12000'",
            "insert into barcode_claims values ('W', 'input', '', 'B12000', 1, 'W-12000', 1)",
            Kind::Claim,
            Some(12000),
            json!(last),
            Value::Null,
        ),
        (
            "insert into barcode_claims values ('W', 'input', '', 'A', 1, 'nobody', 1)",
            "delete from barcode_claims where work_order = 'W' and barcode = 'A'",
            Kind::Claim,
            None,
            Value::Null,
            json!("nobody"),
        ),
        (
            "update barcode_claims set request_id = 'W-7' where work_order = 'W' and barcode = 'B8'",
            "update barcode_claims set request_id = 'W-8' where work_order = 'W' and barcode = 'B8'",
            Kind::Claim,
            Some(8),
            json!(format!("{number}-8")),
            json!(format!("{number}-7")),
        ),
    ] {
        let named = |sql: &str| sql.replace("'W", &format!("'{number}"));
        floor.sql(&named(bend)).await;
        let finding = floor.only(&number, kind).await;
        assert_eq!((finding.seq, finding.expected, finding.actual), (seq, expected, actual), "{bend}");
        floor.sql(&named(mend)).await;
        assert!(floor.open(&number).await.is_empty(), "{mend}");
    }

    // A part that was taken back and scanned again is held by its newest scan.
    let again = scan_of(&number, "B8");
    let newest = again.request_id.to_string();
    settle(floor.store.as_ref(), &[unbind(&number, "B8"), again]).await;
    assert!(floor.open(&number).await.is_empty());
    let held_by = |id: &str| {
        format!("update barcode_claims set request_id = '{id}' where work_order = '{number}' and barcode = 'B8'")
    };
    floor.sql(&held_by(&format!("{number}-8"))).await;
    let finding = floor.only(&number, Kind::Claim).await;
    let (expected, actual) = (json!(newest), json!(format!("{number}-8")));
    assert_eq!((finding.seq, finding.expected, finding.actual), (Some(LONG + 2), expected, actual));
}

pub async fn a_barcode_with_a_crowd_of_claims_is_counted(floor: &Floor) {
    let number = long(floor, "'crowd'").await;
    let report = floor.check(Range::Full, None).await;
    assert_eq!(report.check.state, CheckState::Good, "{:#?}", report.findings);
    floor.sql(&format!("delete from barcode_claims where work_order = '{number}' and ordinal = 500")).await;
    let finding = floor.only(&number, Kind::Claim).await;
    assert_eq!((finding.expected, finding.actual), (json!(LONG), json!(LONG - 1)));
}

/// The row agrees with the last row of its log, and both are wrong.
pub async fn pitfall_08_a_log_whose_last_row_agrees_is_summed_all_the_same(floor: &Floor) {
    let number = floor.work_order(BarcodePolicy::Once).await;
    count(floor.store.as_ref(), &[scan(&number), scan(&number), scan(&number)]).await;
    floor
        .sql(&format!(
            "update update_log set before = 40, after = 41, recorded_at = '2020-01-01T00:00:00.000Z'
             where work_order = '{number}' and seq = 3;
             update work_orders set input_quantity = 41 where work_order = '{number}'"
        ))
        .await;
    let finding = floor.only(&number, Kind::Before).await;
    assert_eq!((finding.seq, &finding.expected, &finding.actual), (Some(3), &json!(2), &json!(40)));
    assert_eq!(finding.remedy, Remedy::Decision);
    let proposed = &finding.details["proposal"]["correction"];
    assert_eq!((&proposed["delta"], &proposed["expected"]), (&json!(-38), &json!(41)), "{finding:#?}");
}

/// A refused row changed nothing; where one says otherwise, or holds a claim, it is found.
pub async fn pitfall_31_a_refused_scan_that_raised_something_is_found(floor: &Floor) {
    let number = floor.work_order(BarcodePolicy::Once).await;
    let (first, second) = (scan_of(&number, "A"), scan_of(&number, "A"));
    floor.count(&[first.clone(), second.clone()]).await;
    let id = &second.request_id;
    floor.sql(&format!("update update_log set after = 2 where request_id = '{id}'")).await;
    let finding = floor.only(&number, Kind::Refused).await;
    assert_eq!(finding.request_id.as_deref(), Some(id.as_str()));
    floor
        .sql(&format!(
            "update update_log set after = 1 where request_id = '{id}';
             update barcode_claims set request_id = '{id}' where work_order = '{number}'"
        ))
        .await;
    let finding = floor.only(&number, Kind::Claim).await;
    assert_eq!((finding.expected, finding.actual), (json!(first.request_id), json!(id)));
}

pub async fn what_no_column_may_hold_is_refused_to_every_hand(floor: &Floor) {
    let number = floor.work_order(BarcodePolicy::Once).await;
    floor.count(&[scan(&number)]).await;
    let refused = [
        ("work_orders", "planned_quantity = -1"),
        ("work_orders", "over_plan_allowance = 1000000000001"),
        ("work_orders", "barcode_policy = 'twice'"),
        ("work_orders", "hold = 'on hold'"),
        ("work_orders", "status = 'done'"),
        ("work_orders", "input_quantity = -1"),
        ("work_orders", "output_quantity = -1"),
        ("work_orders", "scrap_quantity = 1000000000001"),
        ("update_log", "counter = 'rework'"),
        ("update_log", "action = 'guess'"),
        ("update_log", "outcome = 'perhaps'"),
        ("update_log", "outcome = 'refused'"),
        ("update_log", "seq = null"),
    ];
    for (table, change) in refused {
        let statement = format!("update {table} set {change} where work_order = '{number}'");
        let error = floor.try_sql(&statement).await.expect_err(&statement);
        let kind = error.as_database_error().expect(&statement).kind();
        assert_eq!(kind, sqlx::error::ErrorKind::CheckViolation, "{statement}: {error}");
    }
    let statement = "update work_orders set hold = null, over_plan_allowance = null";
    floor.sql(&format!("{statement} where work_order = '{number}'")).await;
}
