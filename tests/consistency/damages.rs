//! A log with every action, and each damage of what it took back, released and settled.

use scanfence::domain::consistency::Kind;

/// One damage of the log that [`DAMAGES`] describes.
pub struct Damage {
    /// The statements. `{W}` is the work order, `{A}` the request id of the scan of A, and so on.
    pub sql: &'static str,
    pub kind: Kind,
    pub counter: &'static str,
    pub seq: Option<i64>,
    pub expected: &'static str,
    pub actual: &'static str,
    /// Why, if the log is wrong. `None`: only the claims are wrong, and a repair sets them right.
    pub why: Option<&'static str>,
    /// The correction that is proposed.
    pub proposed: Option<i64>,
}

const OF_LOG: Damage = Damage {
    sql: "",
    kind: Kind::TakesBack,
    counter: "input",
    seq: Some(4),
    expected: "null",
    actual: "null",
    why: None,
    proposed: None,
};
const OF_CLAIM: Damage = Damage { kind: Kind::Claim, ..OF_LOG };

/// A counted row with the seq 11, after which the input is 3 + `delta`.
macro_rules! row_11 {
    ($action:literal, $counter:literal, $barcode:literal, $named:literal, $delta:literal, $before:literal) => {
        concat!(
            "insert into update_log (request_id, work_order, seq, counter, action, quantity, undoes, takes_back, settles,
                 delta, before, after, barcode, barcode_canonical, fence, work_order_status, remaining, recorded_at,
                 recorded_by, outcome, rendering)
             select 'by hand {W}', '{W}', 11, '", $counter, "', '", $action, "',
                 case when '", $action, "' = 'scan' then 1 end,
                 case when '", $action, "' = 'undo' then '", $named, "' end,
                 case when '", $action, "' <> 'scan' then '", $named, "' end,
                 case when '", $action, "' = 'scan' then '", $named, "' end,
                 ", $delta, ", ", $before, ", ", $before, " + ", $delta, ", ", $barcode, ", ", $barcode, ", 0,
                 'in_progress', 0, recorded_at, 'test', 'counted', 1
             from update_log where work_order = '{W}' and seq = 1;
             update work_orders set seq = 11, ", $counter, "_quantity = ", $before, " + ", $delta, "
             where work_order = '{W}'"
        )
    };
}

/// The log: 1 scan A, 2 scan B, 3 scan of a piece (P), a refused scan (R), 4 undo of P, 5 unbind B, 6 scan C;
/// output: 7 scan A (OA), 8 recount to 1 with a release, 9 scan D; 10 an override of R (O). Input stands at
/// 3, output at 2.
pub const DAMAGES: [Damage; 20] = [
    Damage {
        sql: row_11!("undo", "input", "null", "{P}", "-1", "3"),
        seq: Some(11),
        actual: "P",
        why: Some("twice"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        sql: row_11!("unbind", "input", "'B'", "{B}", "-1", "3"),
        seq: Some(11),
        actual: "B",
        why: Some("twice"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        sql: row_11!("undo", "output", "'A'", "{OA}", "-1", "2"),
        counter: "output",
        seq: Some(11),
        actual: "OA",
        why: Some("released"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set undoes = 'nobody {W}', takes_back = 'nobody {W}' where work_order = '{W}' and seq = 4",
        actual: "nobody",
        why: Some("unknown"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        // A refused scan.
        sql: "update update_log set undoes = '{R}', takes_back = '{R}' where work_order = '{W}' and seq = 4",
        actual: "R",
        why: Some("unknown"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        // Of another counter.
        sql: "update update_log set takes_back = '{D}' where work_order = '{W}' and seq = 5",
        seq: Some(5),
        actual: "D",
        why: Some("unknown"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        // Of another barcode.
        sql: "update update_log set takes_back = '{A}' where work_order = '{W}' and seq = 5",
        seq: Some(5),
        actual: "A",
        why: Some("unknown"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set undoes = '{O}', takes_back = '{O}' where work_order = '{W}' and seq = 4",
        actual: "O",
        why: Some("later"),
        proposed: Some(1),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set takes_back = null where work_order = '{W}' and seq = 5",
        seq: Some(5),
        why: Some("missing"),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set takes_back = null where work_order = '{W}' and seq = 4",
        expected: "P",
        why: Some("missing"),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set undoes = '{A}' where work_order = '{W}' and seq = 4",
        expected: "A",
        actual: "P",
        why: Some("not_asked"),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set takes_back = '{A}' where work_order = '{W}' and seq = 6",
        seq: Some(6),
        actual: "A",
        why: Some("not_asked"),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set takes_back = '{A}' where request_id = '{R}'",
        kind: Kind::Refused,
        seq: Some(3),
        actual: "A",
        why: Some(""),
        ..OF_LOG
    },
    Damage {
        sql: row_11!("undo", "input", "null", "{O}", "-2", "3"),
        kind: Kind::Delta,
        seq: Some(11),
        expected: "-1",
        actual: "-2",
        why: Some(""),
        ..OF_LOG
    },
    Damage {
        sql: row_11!("scan", "input", "null", "{R}", "1", "3"),
        kind: Kind::Settles,
        seq: Some(11),
        actual: "R",
        why: Some("twice"),
        proposed: Some(-1),
        ..OF_LOG
    },
    Damage {
        sql: "update update_log set settles = '{A}' where work_order = '{W}' and seq = 10",
        kind: Kind::Settles,
        seq: Some(10),
        actual: "A",
        why: Some("unknown"),
        ..OF_LOG
    },
    Damage {
        // Taken back, and its claim stands.
        sql: row_11!("undo", "input", "'A'", "{A}", "-1", "3"),
        seq: None,
        actual: "A",
        ..OF_CLAIM
    },
    Damage {
        sql: "insert into barcode_claims values ('{W}', 'input', '', 'B', 1, '{B}', 1)",
        seq: None,
        actual: "B",
        ..OF_CLAIM
    },
    Damage {
        // Released, and its claim stands.
        sql: "insert into barcode_claims values ('{W}', 'output', '', 'A', 1, '{OA}', 1)",
        counter: "output",
        seq: None,
        actual: "OA",
        ..OF_CLAIM
    },
    Damage {
        // Scanned after the release, and its claim is missing.
        sql: "delete from barcode_claims where work_order = '{W}' and counter = 'output'",
        counter: "output",
        seq: Some(9),
        expected: "D",
        ..OF_CLAIM
    },
];
