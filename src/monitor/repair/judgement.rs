//! Decides what a repair writes, while the work order is locked. Pure.

use serde_json::{Value, json};

use crate::domain::consistency::{Finding, FindingState, Kind};
use crate::domain::decide::{Claim, ClaimChanges, ClaimKey};
use crate::domain::work_order::WorkOrder;
use crate::monitor::checks::counted_parts::CountedParts;
use crate::monitor::checks::ledger::Ledger;
use crate::monitor::checks::part::Part;
use crate::store::consistency::{Evidence, LoggedRow};

/// Rows read in one statement, and while the row is locked: a few milliseconds.
pub const ROWS: i64 = 5_000;

/// What a repair has to do.
#[derive(Debug)]
pub enum Judgement {
    /// Nothing: the finding is not open any more.
    Settled(FindingState),
    /// Nothing: the log can't say what is right.
    DecisionNeeded,
    /// Nothing now: too many rows came since the log was read.
    Outrun,
    /// Write this.
    Write {
        /// What is there now, for the audit trail.
        before: Value,
        /// What is there after the repair.
        after: Value,
        /// The work order after it, with its old stamp.
        row: Box<WorkOrder>,
        /// The claims to change.
        claims: ClaimChanges,
    },
}

/// Judges a finding anew. `ledger` has the log up to where `evidence` continues it.
#[must_use]
pub fn judge(finding: &Finding, listed: &[Part], mut ledger: Ledger, evidence: Evidence) -> Judgement {
    match evidence.state {
        Some(FindingState::Open) => {}
        Some(state) => return Judgement::Settled(state),
        None => return Judgement::Settled(FindingState::Resolved),
    }
    let Some(row) = evidence.work_order else { return Judgement::DecisionNeeded };
    if is_full(&evidence.log) {
        return Judgement::Outrun;
    }
    evidence.log.into_iter().for_each(|row| ledger.take(row));
    let explained = || ledger.explained(&row).filter(|_| ledger.explains(&row));
    match finding.kind {
        Kind::Quantity | Kind::Seq | Kind::Fence => {
            explained().map_or(Judgement::DecisionNeeded, |after| write_row(&row, after))
        }
        Kind::Status => {
            let status = explained().map_or_else(|| row.present_status(), |explained| explained.present_status());
            write_row(&row, WorkOrder { status, ..row.clone() })
        }
        Kind::Claim => {
            let is_complete = !is_full(&evidence.barcode_log) && !is_full(&evidence.claims);
            if !ledger.explains(&row) || !is_complete {
                return Judgement::DecisionNeeded;
            }
            // The same barcode may be counted for another counter or step. This finding is not about that.
            let is_listed =
                |row: &&LoggedRow| row.is_release() || Part::of_row(row).is_some_and(|part| listed.contains(&part));
            let mut rows: Vec<&LoggedRow> = evidence.barcode_log.iter().filter(is_listed).collect();
            rows.sort_by_key(|row| row.seq);
            let policy = row.plan.barcode_policy;
            let mut counted = CountedParts::of(&finding.work_order, policy, ledger.accepted().clone());
            rows.into_iter().for_each(|row| counted.take(row));
            let changes = counted.changes(&row.work_order, &evidence.claims);
            changes.map_or(Judgement::DecisionNeeded, |claims| write_claims(row, claims))
        }
        Kind::Gap
        | Kind::Before
        | Kind::After
        | Kind::Delta
        | Kind::Twice
        | Kind::TakesBack
        | Kind::Settles
        | Kind::Refused
        | Kind::Orphan => Judgement::DecisionNeeded,
    }
}

fn is_full<T>(rows: &[T]) -> bool {
    i64::try_from(rows.len()).is_ok_and(|rows| rows >= ROWS)
}

fn write_row(before: &WorkOrder, after: WorkOrder) -> Judgement {
    Judgement::Write {
        before: row_shown(before),
        after: row_shown(&after),
        row: Box::new(after),
        claims: ClaimChanges::default(),
    }
}

fn write_claims(mut row: WorkOrder, claims: ClaimChanges) -> Judgement {
    let (before, after) = claims_shown(&claims);
    // Once a barcode was counted, the barcode policy can't change.
    row.barcode_counted |= !claims.insert.is_empty();
    Judgement::Write { before, after, row: Box::new(row), claims }
}

fn row_shown(row: &WorkOrder) -> Value {
    json!({
        "input_quantity": row.input_quantity, "output_quantity": row.output_quantity,
        "scrap_quantity": row.scrap_quantity, "seq": row.seq, "fence": row.fence, "status": row.status,
    })
}

/// The claims that change: before and after.
fn claims_shown(changes: &ClaimChanges) -> (Value, Value) {
    let shown = |(key, claim): &(ClaimKey, Claim)| {
        json!({
            "counter": key.counter, "step": key.step, "barcode": key.barcode, "ordinal": claim.ordinal,
            "request_id": claim.request_id, "quantity": claim.quantity,
        })
    };
    let before: Vec<Value> = changes.delete.iter().map(shown).collect();
    let after: Vec<Value> = changes.insert.iter().chain(&changes.take_over).map(shown).collect();
    (json!({ "claims": before }), json!({ "claims": after }))
}
