//! Judges one log and the row that it must explain. Pure.
//!
//! Rows of the log go in, in order; drifts come out. It keeps only sums and [what was taken
//! back](super::named), so a long log can be handed in piece by piece. A quantity is compared with the
//! sum of *all* deltas, never with the `after` of the last row, which may be wrong itself (pitfall 8).

use serde_json::{Value, json};

use super::accepted::Acceptances;
use super::named::{Named, Wrong};
use crate::domain::consistency::{Drift, Kind, Remedy};
use crate::domain::ids::Quantity;
use crate::domain::request::Counter;
use crate::domain::update::Action;
use crate::domain::work_order::{Status, WorkOrder};
use crate::store::consistency::LoggedRow;

/// One work order's log, summed up as far as it was read.
#[derive(Clone, Debug)]
pub struct Ledger {
    work_order: String,
    rows: i64,
    seq: i64,
    fence: i64,
    counters: [CounterSum; 3],
    first_bad: Option<BadRow>,
    bad_rows: i64,
    refused: Option<Drift>,
    named: Named,
    accepted: Acceptances,
}

/// One counter, as its log explains it.
#[derive(Clone, Debug, Default)]
struct CounterSum {
    /// The sum of all deltas, and of accepted changes of the counter without a delta.
    deltas: i64,
    after: i64,
    /// The last row, shown together with a bad one.
    last: Option<LoggedRow>,
}

/// The first row that does not follow from the rows before it.
#[derive(Clone, Debug)]
struct BadRow {
    wrong: Wrong,
    counter: Counter,
    seq: i64,
    request_id: String,
    rows: Vec<Value>,
}

impl Ledger {
    /// An empty log. These drifts of it are accepted.
    #[must_use]
    pub fn of(work_order: &str, accepted: Acceptances) -> Self {
        Self {
            work_order: work_order.to_owned(),
            rows: 0,
            seq: 0,
            fence: 0,
            counters: Default::default(),
            first_bad: None,
            bad_rows: 0,
            refused: None,
            named: Named::default(),
            accepted,
        }
    }

    /// Takes the next row: counted ones by seq, refused ones in any order.
    pub fn take(&mut self, row: LoggedRow) {
        self.rows += 1;
        // A constraint of the database allows no other words.
        let Some(counter) = Counter::of_word(&row.counter) else { return };
        match row.seq {
            None => self.take_refused(counter, &row),
            Some(seq) => self.take_counted(counter, seq, row),
        }
    }

    fn take_counted(&mut self, counter: Counter, seq: i64, row: LoggedRow) {
        let wrong = self.wrong(counter, seq, &row).into_iter().find(|wrong| !self.accepts(wrong, &row));
        // How far the counter moved without a delta: zero, or what is accepted.
        let mut without_delta = 0;
        match wrong {
            None => {
                let moved = row.after.saturating_sub(self.counters[index(counter)].after);
                without_delta = moved.saturating_sub(row.delta);
            }
            Some(wrong) => self.note_bad(counter, &row, wrong),
        }
        self.named.take(&row, seq);
        let sum = &mut self.counters[index(counter)];
        sum.deltas = sum.deltas.saturating_add(row.delta).saturating_add(without_delta);
        sum.after = row.after;
        self.seq = seq;
        self.fence = self.fence.max(row.fence);
        sum.last = Some(row);
    }

    /// All that does not follow from the rows before it.
    fn wrong(&self, counter: Counter, seq: i64, row: &LoggedRow) -> Vec<Wrong> {
        let sum = &self.counters[index(counter)];
        let after = row.before.saturating_add(row.delta);
        let asked = match row.asks_to_take_back() {
            true => row.taken_delta.map(i64::saturating_neg),
            false => row.quantity.filter(|_| row.action == Action::Scan.word()),
        };
        [
            (Kind::Gap, self.seq + 1, seq, seq != self.seq + 1),
            (Kind::Before, sum.after, row.before, row.before != sum.after),
            (Kind::After, after, row.after, row.after != after),
            (Kind::Delta, asked.unwrap_or(row.delta), row.delta, asked.is_some_and(|asked| asked != row.delta)),
            (Kind::Fence, self.fence, row.fence, row.fence < self.fence),
        ]
        .into_iter()
        .filter(|(.., is_wrong)| *is_wrong)
        .map(|(kind, expected, actual, _)| Wrong::number(kind, expected, actual))
        .chain(self.named.judge_takes_back(row, seq))
        .chain(self.named.judge_settles(row))
        .collect()
    }

    fn note_bad(&mut self, counter: Counter, row: &LoggedRow, wrong: Wrong) {
        self.bad_rows += 1;
        if self.first_bad.is_none() {
            let last = &self.counters[index(counter)].last;
            let rows = last.iter().chain([row]).map(shown).collect();
            let (seq, request_id) = (row.seq.unwrap_or(0), row.request_id.clone());
            self.first_bad = Some(BadRow { wrong, counter, seq, request_id, rows });
        }
    }

    /// Whether a person has accepted that this row does not follow in this way.
    fn accepts(&self, wrong: &Wrong, row: &LoggedRow) -> bool {
        let Wrong { kind, expected, actual, .. } = wrong;
        let gap = |to: i64| {
            self.accepted.cover_row(Kind::Gap, row, &json!(self.seq + 1), &json!(to))
                || self.accepted.cover_lost_end(self.seq, to - 1)
        };
        match kind {
            Kind::Gap => row.seq.is_some_and(gap),
            // After an accepted gap the counter is what the row says.
            Kind::Before => {
                self.accepted.cover_row(*kind, row, expected, actual)
                    || row.seq.is_some_and(|seq| seq != self.seq + 1 && gap(seq))
            }
            Kind::Quantity
            | Kind::Status
            | Kind::Seq
            | Kind::After
            | Kind::Delta
            | Kind::Fence
            | Kind::Claim
            | Kind::Twice
            | Kind::TakesBack
            | Kind::Settles
            | Kind::Refused
            | Kind::Orphan => self.accepted.cover_row(*kind, row, expected, actual),
        }
    }

    /// A refused row must change nothing.
    fn take_refused(&mut self, counter: Counter, row: &LoggedRow) {
        let has_moved = row.delta != 0 || row.before != row.after;
        let (expected, actual) = match has_moved {
            true => (json!(row.before), json!(row.after)),
            false => (Value::Null, json!(row.takes_back)),
        };
        if (has_moved || row.takes_back.is_some()) && self.refused.is_none() {
            let drift = Drift {
                work_order: self.work_order.clone(),
                kind: Kind::Refused,
                counter: Some(counter),
                seq: row.at_seq,
                request_id: Some(row.request_id.clone()),
                expected,
                actual,
                details: json!({ "rows": [shown(row)] }),
                remedy: Remedy::Decision,
            };
            self.refused = Some(drift).filter(|drift| !self.accepted.cover(drift));
        }
    }

    /// The last seq read.
    #[must_use]
    pub fn seq(&self) -> i64 {
        self.seq
    }

    /// Rows read, counted and refused.
    #[must_use]
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// What is accepted of it.
    #[must_use]
    pub fn accepted(&self) -> &Acceptances {
        &self.accepted
    }

    /// Whether each row follows from the rows before it, and none is missing up to the work
    /// order's seq. Only then can the row be judged, and repaired, by the log.
    #[must_use]
    pub fn explains(&self, row: &WorkOrder) -> bool {
        let complete = row.seq.0 <= self.seq || self.accepted.cover_lost_end(self.seq, row.seq.0);
        self.first_bad.is_none() && complete
    }

    /// The row as its log explains it; `None` if a sum is not a valid quantity.
    #[must_use]
    pub fn explained(&self, row: &WorkOrder) -> Option<WorkOrder> {
        let mut explained = row.clone();
        for &counter in Counter::ALL {
            explained.set_quantity(counter, Quantity::new(self.counters[index(counter)].deltas)?);
        }
        explained.seq.0 = self.seq;
        if self.fence > explained.fence.0 {
            explained.fence.0 = self.fence;
            explained.fence_owner = None;
        }
        Some(explained)
    }

    /// What is wrong with the log, and with the row that it should explain.
    #[must_use]
    pub fn judge(&self, row: Option<&WorkOrder>) -> Vec<Drift> {
        let Some(row) = row else { return self.orphan().into_iter().collect() };
        let explains = self.explains(row);
        let explained = self.explained(row);
        let remedy = if explains && explained.is_some() { Remedy::Repair } else { Remedy::Decision };
        let mut drifts = Vec::new();
        drifts.extend(self.first_bad.as_ref().map(|bad| self.bad_row(bad, row)));
        drifts.extend(self.refused.clone());
        let of_row = |kind, counter, seq, expected: Value, actual: Value, details: Value, remedy| Drift {
            work_order: self.work_order.clone(),
            kind,
            counter,
            seq,
            request_id: None,
            expected,
            actual,
            details,
            remedy,
        };
        if row.seq.0 != self.seq {
            let seq = (row.seq.0 < self.seq).then_some(row.seq.0 + 1);
            drifts.push(of_row(Kind::Seq, None, seq, json!(self.seq), json!(row.seq.0), json!({}), remedy));
        }
        for &counter in Counter::ALL {
            let sum = &self.counters[index(counter)];
            let quantity = row.quantity(counter).get();
            // After a bad row, a quantity that follows from the last row has the same cause. That
            // bad row is a finding already.
            if quantity == sum.deltas || (self.first_bad.is_some() && quantity == sum.after) {
                continue;
            }
            let last: Vec<Value> = sum.last.iter().map(shown).collect();
            let details = match remedy {
                Remedy::Repair => json!({ "rows": last }),
                Remedy::Decision => json!({ "rows": last, "proposal": self.proposal(counter, row, 0) }),
            };
            let (expected, actual) = (json!(sum.deltas), json!(quantity));
            drifts.push(of_row(Kind::Quantity, Some(counter), None, expected, actual, details, remedy));
        }
        let status: Status = match explained.filter(|_| explains) {
            Some(explained) => explained.present_status(),
            None => row.present_status(),
        };
        if row.status != status {
            let (expected, actual) = (json!(status.word()), json!(row.status.word()));
            drifts.push(of_row(Kind::Status, None, None, expected, actual, json!({}), Remedy::Repair));
        }
        if row.fence.0 < self.fence && !drifts.iter().any(|drift| drift.kind == Kind::Fence) {
            let (expected, actual) = (json!(self.fence), json!(row.fence.0));
            drifts.push(of_row(Kind::Fence, None, None, expected, actual, json!({}), remedy));
        }
        drifts
    }

    fn bad_row(&self, bad: &BadRow, row: &WorkOrder) -> Drift {
        let Wrong { kind, expected, actual, details, excess } = bad.wrong.clone();
        let mut shown = json!({
            "rows": bad.rows,
            "bad_rows": self.bad_rows,
            "proposal": self.proposal(bad.counter, row, excess),
        });
        if let (Some(shown), Value::Object(details)) = (shown.as_object_mut(), details) {
            shown.extend(details);
        }
        Drift {
            work_order: self.work_order.clone(),
            kind,
            // Fence and seq are not of one counter.
            counter: Some(bad.counter).filter(|_| !matches!(kind, Kind::Fence | Kind::Gap)),
            seq: Some(bad.seq),
            request_id: Some(bad.request_id.clone()),
            expected,
            actual,
            details: shown,
            remedy: Remedy::Decision,
        }
    }

    /// The correction that would set a quantity to the sum of its deltas, without an excess among them.
    fn proposal(&self, counter: Counter, row: &WorkOrder, excess: i64) -> Value {
        let sum = self.counters[index(counter)].deltas.saturating_sub(excess);
        let quantity = row.quantity(counter).get();
        if sum == quantity {
            return Value::Null;
        }
        json!({ "correction": { "counter": counter, "delta": sum.saturating_sub(quantity), "expected": quantity } })
    }

    fn orphan(&self) -> Option<Drift> {
        let first = self.counters.iter().filter_map(|sum| sum.last.as_ref()).map(|row| row.request_id.clone()).next();
        let rows = self.counters.iter().filter_map(|sum| sum.last.as_ref()).map(shown);
        (self.rows > 0).then(|| Drift {
            work_order: self.work_order.clone(),
            kind: Kind::Orphan,
            counter: None,
            seq: None,
            request_id: first,
            expected: Value::Null,
            actual: json!(self.rows),
            details: json!({ "rows": rows.collect::<Vec<_>>(), "rows_of_log": self.rows }),
            remedy: Remedy::Decision,
        })
    }
}

/// A row of the log as it is shown in a finding.
#[must_use]
pub fn shown(row: &LoggedRow) -> Value {
    json!({
        "request_id": row.request_id, "seq": row.seq, "at_seq": row.at_seq, "counter": row.counter,
        "action": row.action, "quantity": row.quantity, "delta": row.delta, "before": row.before,
        "after": row.after, "step": row.step, "barcode": row.barcode, "fence": row.fence,
        "barcodes": row.barcodes, "takes_back": row.takes_back, "settles": row.settles,
    })
}

/// The place of a counter among three.
pub(super) fn index(counter: Counter) -> usize {
    match counter {
        Counter::Input => 0,
        Counter::Output => 1,
        Counter::Scrap => 2,
    }
}
