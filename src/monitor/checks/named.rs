//! What the rows of one log name: the scans that they take back, and the refused scans that they settle.
//!
//! It keeps two numbers for each scan that was taken back, so its memory grows with these alone.

use std::collections::{BTreeMap, HashMap};

use serde_json::{Value, json};

use crate::domain::consistency::Kind;
use crate::store::consistency::LoggedRow;

/// What is wrong with a row.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    /// Its kind.
    pub kind: Kind,
    /// What should be there.
    pub expected: Value,
    /// What is there.
    pub actual: Value,
    /// More to show in the finding: an object or null.
    pub details: Value,
    /// The part of its delta that should not be there, as far as that is known.
    pub excess: i64,
}

impl Wrong {
    /// A number that is not as expected.
    pub(super) fn number(kind: Kind, expected: i64, actual: i64) -> Self {
        Self { kind, expected: json!(expected), actual: json!(actual), details: Value::Null, excess: 0 }
    }
}

/// What was taken back, settled and released, in the log as far as it was read.
#[derive(Clone, Debug, Default)]
pub(super) struct Named {
    /// By the seq of a scan: the seq of the row that took it back.
    taken_back: HashMap<i64, i64>,
    /// By the request id of a refused scan: the seq of the row that settled it.
    settled: HashMap<String, i64>,
    /// By counter: the seq of its latest release.
    released_at: BTreeMap<String, i64>,
}

impl Named {
    /// What is wrong with what this row takes back.
    pub(super) fn judge_takes_back(&self, row: &LoggedRow, seq: i64) -> Option<Wrong> {
        let takes_back = row.takes_back.as_ref();
        let wrong = |why: &str, excess: i64, other: Option<i64>| {
            let expected = json!(row.undoes.as_ref().filter(|_| matches!(why, "missing" | "not_asked")));
            let details = json!({ "why": why, "other_seq": other });
            Wrong { kind: Kind::TakesBack, expected, actual: json!(takes_back), details, excess }
        };
        if !row.asks_to_take_back() {
            return takes_back.map(|_| wrong("not_asked", 0, None));
        }
        if takes_back.is_none() {
            return Some(wrong("missing", 0, None));
        }
        if row.action == "undo" && row.undoes.as_ref() != takes_back {
            return Some(wrong("not_asked", 0, None));
        }
        let Some(taken_seq) = row.taken_seq else { return Some(wrong("unknown", row.delta, None)) };
        let released_at = self.released_at.get(&row.counter).copied();
        match self.taken_back.get(&taken_seq) {
            _ if taken_seq >= seq => Some(wrong("later", row.delta, Some(taken_seq))),
            Some(&first) => Some(wrong("twice", row.delta, Some(first))),
            None if released_at.is_some_and(|released_at| taken_seq < released_at) => {
                Some(wrong("released", row.delta, released_at))
            }
            None => None,
        }
    }

    /// What is wrong with what this row settles.
    pub(super) fn judge_settles(&self, row: &LoggedRow) -> Option<Wrong> {
        let settles = row.settles.as_ref()?;
        let (why, excess, other) = match self.settled.get(settles) {
            Some(&first) => ("twice", row.delta, Some(first)),
            None if row.settles_refused => return None,
            None => ("unknown", 0, None),
        };
        let details = json!({ "why": why, "other_seq": other });
        Some(Wrong { kind: Kind::Settles, expected: Value::Null, actual: json!(settles), details, excess })
    }

    /// Takes the next counted row, by seq.
    pub(super) fn take(&mut self, row: &LoggedRow, seq: i64) {
        if row.is_release() {
            self.released_at.insert(row.counter.clone(), seq);
        }
        if let Some(taken_seq) = row.taken_seq {
            self.taken_back.entry(taken_seq).or_insert(seq);
        }
        if let Some(settles) = &row.settles {
            self.settled.entry(settles.clone()).or_insert(seq);
        }
    }
}
