//! The verdict of the demo. It is made from the log alone.

use std::collections::HashSet;

use serde::Deserialize;
use serde_json::{Value, json};

/// The fields of a row of the log that the audit reads.
#[derive(Clone, Debug, Deserialize)]
pub struct Row {
    request_id: String,
    /// `None`: it was refused.
    seq: Option<i64>,
    delta: i64,
    before: i64,
    after: i64,
    barcode: Option<String>,
}

/// What the log shows.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The quantity that the service shows.
    pub quantity: i64,
    /// Parts made.
    pub made: u64,
    /// Rows of the log, with the refused ones.
    pub rows: u64,
    /// Rows that counted.
    pub counted: u64,
    /// Whether the quantity is the sum of the log.
    pub sums_up: bool,
    /// Whether rows are numbered from 1 without a gap, and each one starts where the last one ended.
    pub no_gap: bool,
    /// Whether every request is in the log once.
    pub requests_once: bool,
    /// Whether every part made is counted once, and nothing else.
    pub parts_once: bool,
}

/// Checks a log. Its rows may have any order.
#[must_use]
pub fn audit(log: &[Row], quantity: i64, made: u64) -> Verdict {
    let mut counted: Vec<&Row> = log.iter().filter(|row| row.seq.is_some()).collect();
    counted.sort_by_key(|row| row.seq);
    let requests: HashSet<&str> = log.iter().map(|row| row.request_id.as_str()).collect();
    let parts: HashSet<&str> = counted.iter().filter_map(|row| row.barcode.as_deref()).collect();
    let mut last = 0;
    let no_gap = counted.iter().zip(1..).all(|(row, number)| {
        let follows = row.seq == Some(number) && row.before == last && row.after == row.before + row.delta;
        last = row.after;
        follows
    });
    let many = |count: usize| u64::try_from(count).unwrap_or(u64::MAX);
    let all_made = many(counted.len()) == made && u64::try_from(quantity) == Ok(made);
    Verdict {
        quantity,
        made,
        rows: many(log.len()),
        counted: many(counted.len()),
        sums_up: counted.iter().map(|row| row.delta).sum::<i64>() == quantity,
        no_gap,
        requests_once: requests.len() == log.len(),
        parts_once: parts.len() == counted.len() && all_made,
    }
}

impl Verdict {
    /// Whether every part was counted once.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.sums_up && self.no_gap && self.requests_once && self.parts_once
    }

    /// Each check, for programs.
    #[must_use]
    pub fn checks(&self) -> Value {
        json!({
            "quantity_is_the_sum_of_the_log": self.sums_up,
            "log_is_numbered_without_a_gap": self.no_gap,
            "every_request_is_in_the_log_once": self.requests_once,
            "every_part_is_counted_once": self.parts_once,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(request_id: &str, seq: Option<i64>, barcode: &str) -> Row {
        let delta = i64::from(seq.is_some());
        let after = seq.unwrap_or(1);
        Row { request_id: request_id.into(), seq, delta, before: after - delta, after, barcode: Some(barcode.into()) }
    }

    /// Two parts, the first scanned twice; newest first.
    fn good() -> Vec<Row> {
        vec![row("r3", Some(2), "b"), row("r2", None, "a"), row("r1", Some(1), "a")]
    }

    #[test]
    fn a_good_log_is_good() {
        assert!(audit(&good(), 2, 2).holds());
        assert!(audit(&[], 0, 0).holds());
    }

    #[test]
    fn whatever_is_wrong_is_seen() {
        let check = |change: &dyn Fn(&mut Vec<Row>), expected: [bool; 4]| {
            let mut log = good();
            change(&mut log);
            let Verdict { sums_up, no_gap, requests_once, parts_once, .. } = audit(&log, 2, 2);
            assert_eq!([sums_up, no_gap, requests_once, parts_once], expected, "{log:?}");
        };
        check(&|log| log[0].delta = 2, [false, false, true, true]);
        check(&|log| log[0].seq = Some(3), [true, false, true, true]);
        check(&|log| log[0].before = 0, [true, false, true, true]);
        check(&|log| log[0].request_id = "r1".into(), [true, true, false, true]);
        check(&|log| log[0].barcode = Some("a".into()), [true, true, true, false]);
        check(&|log| drop(log.remove(0)), [false, true, true, false]);
        assert!(!audit(&good(), 3, 2).sums_up);
        assert!(!audit(&good(), 2, 3).parts_once);
    }
}
