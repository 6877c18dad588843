//! Repair: sets right what a finding names, from the log, under the row lock; or notes that a
//! person accepts what nothing can set right.
//!
//! The log is read up to its end first, in pieces; what came since, and the row, are read
//! once the row is locked, and the whole is judged again at that instant. So scans may
//! race a repair: those before it are in its sum, those after it find its stamp
//! (pitfall 37). The log is never edited; the audit trail says who, when, why, and what.

use chrono::Utc;
use serde_json::{Value, json};

use super::accepted::{self, Accepted};
use super::check::{self, retried};
use super::ledger::Ledger;
use super::parts::{Part, Standing};
use crate::domain::consistency::{AuditEntry, Finding, FindingState, Kind, Remedy};
use crate::domain::decide::{Claim, ClaimChanges, ClaimKey};
use crate::domain::ids::Stamp;
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;
use crate::store::StoreError;
use crate::store::consistency::{ClaimPlace, ConsistencyStore, Evidence, LoggedRow, RepairChanges, RepairWanted};

/// Rows read at once, and while the row is locked: a few milliseconds.
const ROWS: i64 = 5_000;
/// How often a repair that was outrun by scans begins anew.
const ATTEMPTS: usize = 5;

/// A repair, as it is asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct RepairAsk {
    /// The Idempotency-Key.
    pub request_id: String,
    /// The finding to repair.
    pub finding_id: String,
    /// Whether only to say what would change.
    pub dry_run: bool,
    /// Whether the log is to stand as it is: a decision, where the log can't say what is right.
    pub accept: bool,
    /// Why.
    pub reason: String,
    /// The person named in the request.
    pub operator: Option<String>,
    /// The caller's principal.
    pub principal: String,
}

/// What a repair came to.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Repaired {
    /// The entry of the audit trail, or the one that there would be.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether an earlier request under this id had done it.
    #[serde(skip)]
    pub replayed: bool,
}

/// Why nothing is repaired.
#[derive(Debug, thiserror::Error)]
pub enum NotRepaired {
    /// There is no such finding.
    #[error("there is no finding {0}")]
    Unknown(String),
    /// It does not stand any more.
    #[error("the finding is {} already", .0.word())]
    Settled(FindingState),
    /// The log can't say what is right.
    #[error("the log can't say what is right: a person has to decide")]
    DecisionNeeded(Box<Finding>),
    /// There is nothing to decide.
    #[error("the log says what is right: repair it")]
    NothingToAccept,
    /// The request id belongs to another request.
    #[error("another repair was made under this id")]
    KeyReused {
        /// The fields that differ.
        differs: Vec<&'static str>,
    },
    /// The store did not do it.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Repairs what a finding names, or answers as before under the same request id.
///
/// # Errors
/// See [`NotRepaired`].
pub async fn repair(store: &dyn ConsistencyStore, ask: &RepairAsk) -> Result<Repaired, NotRepaired> {
    let payload = payload(ask);
    let mut attempt = 1;
    loop {
        if let Some(entry) = retried(|| store.audit_entry(&ask.request_id)).await? {
            return replay(entry, &payload, ask.dry_run);
        }
        match attempt_repair(store, ask, &payload).await {
            // Made meanwhile under this id, outrun by scans, or broken off: it shows when asked again.
            Err(NotRepaired::Store(StoreError::Taken(_) | StoreError::TryAgain(_) | StoreError::Broken(_)))
                if attempt < ATTEMPTS =>
            {
                attempt += 1
            }
            // Settled by this very request, sent twice at once?
            Err(NotRepaired::Settled(state)) => {
                return match retried(|| store.audit_entry(&ask.request_id)).await? {
                    Some(entry) => replay(entry, &payload, ask.dry_run),
                    None => Err(NotRepaired::Settled(state)),
                };
            }
            done => return done,
        }
    }
}

/// What is compared when a request id is used again.
fn payload(ask: &RepairAsk) -> Value {
    let mut payload = json!({ "finding_id": ask.finding_id, "reason": ask.reason, "operator": ask.operator });
    if ask.accept {
        payload["accept"] = json!(true);
    }
    payload
}

fn replay(entry: AuditEntry, payload: &Value, dry_run: bool) -> Result<Repaired, NotRepaired> {
    let mut differs: Vec<&'static str> = ["finding_id", "reason", "operator", "accept"]
        .into_iter()
        .filter(|&field| entry.payload.get(field) != payload.get(field))
        .collect();
    if dry_run {
        differs.push("dry_run");
    }
    match differs.is_empty() {
        true => Ok(Repaired { entry, dry_run: false, replayed: true }),
        false => Err(NotRepaired::KeyReused { differs }),
    }
}

async fn attempt_repair(
    store: &dyn ConsistencyStore,
    ask: &RepairAsk,
    payload: &Value,
) -> Result<Repaired, NotRepaired> {
    let finding = retried(|| store.finding(&ask.finding_id)).await?;
    let finding = finding.ok_or_else(|| NotRepaired::Unknown(ask.finding_id.clone()))?;
    if finding.state != FindingState::Open {
        return Err(NotRepaired::Settled(finding.state));
    }
    match (finding.remedy, ask.accept) {
        (Remedy::Decision, true) => return accept(store, ask, &finding, payload).await,
        (Remedy::Decision, false) => return Err(NotRepaired::DecisionNeeded(Box::new(finding))),
        (Remedy::Repair, true) => return Err(NotRepaired::NothingToAccept),
        (Remedy::Repair, false) => {}
    }
    let prefix = read(store, &finding.work_order).await?;
    let parts = parts(&finding);
    let places: Vec<ClaimPlace> = parts.iter().map(|part| part.place(0)).collect();
    let wanted = RepairWanted { finding: &finding, after_seq: prefix.seq(), barcodes: &places, limit: ROWS };
    let mut judged = Judged::Outrun;
    let mut decide = |evidence: Evidence| {
        judged = judge(&finding, &parts, prefix.clone(), evidence);
        let Judged::Mend { before, after, row, claims } = &mut judged else { return None };
        row.stamp = Stamp(rand::random());
        row.updated_at = now();
        let entry = entry(ask, &finding, payload, before.clone(), after.clone());
        let mending = RepairChanges { row: Some(row.as_ref().clone()), claims: std::mem::take(claims), entry };
        (!ask.dry_run).then_some(mending)
    };
    store.repair(&wanted, &mut decide).await?;
    match judged {
        Judged::Mend { before, after, .. } => {
            // As it was written, or as it would be.
            let written = retried(|| store.audit_entry(&ask.request_id)).await?;
            let entry = written.unwrap_or_else(|| entry(ask, &finding, payload, before, after));
            Ok(Repaired { entry, dry_run: ask.dry_run, replayed: false })
        }
        Judged::Settled(state) => Err(NotRepaired::Settled(state)),
        Judged::DecisionNeeded => Err(NotRepaired::DecisionNeeded(Box::new(finding))),
        Judged::Outrun => Err(NotRepaired::Store(StoreError::TryAgain("scans came faster than they were read".into()))),
    }
}

/// Notes that what a finding names is accepted as it is.
async fn accept(
    store: &dyn ConsistencyStore,
    ask: &RepairAsk,
    finding: &Finding,
    payload: &Value,
) -> Result<Repaired, NotRepaired> {
    let (before, after) = (json!(Accepted::of(finding)), json!({ "accepted": true }));
    let entry = entry(ask, finding, payload, before, after);
    let wanted = RepairWanted { finding, after_seq: i64::MAX, barcodes: &[], limit: 1 };
    let mut state = None;
    let mut decide = |evidence: Evidence| {
        state = evidence.state;
        let mending = RepairChanges { row: None, claims: ClaimChanges::default(), entry: entry.clone() };
        (state == Some(FindingState::Open) && !ask.dry_run).then_some(mending)
    };
    store.repair(&wanted, &mut decide).await?;
    match state {
        Some(FindingState::Open) => Ok(Repaired { entry, dry_run: ask.dry_run, replayed: false }),
        settled => Err(NotRepaired::Settled(settled.unwrap_or(FindingState::Resolved))),
    }
}

/// Reads a work order's log up to about its end.
async fn read(store: &dyn ConsistencyStore, name: &str) -> Result<Ledger, StoreError> {
    let accepted = check::accepted(store, &[name.to_owned()]).await?.remove(name).unwrap_or_default();
    let mut ledger = Ledger::of(name, accepted);
    loop {
        let seq = ledger.seq();
        let rows = retried(|| store.counted_after(name, seq, ROWS)).await?;
        let more = i64::try_from(rows.len()).is_ok_and(|read| read >= ROWS);
        rows.into_iter().for_each(|row| ledger.take(row));
        if !more {
            return Ok(ledger);
        }
    }
}

/// The barcodes that a finding lists.
fn parts(finding: &Finding) -> Vec<Part> {
    let Some(counter) = finding.counter else { return Vec::new() };
    let listed = finding.details.get("claims").and_then(Value::as_array).into_iter().flatten();
    let part = |claim: &Value| {
        let text = |field: &str| claim.get(field)?.as_str().map(str::to_owned);
        Some(Part { counter: counter.word().to_owned(), step: text("step")?, barcode: text("barcode")? })
    };
    let mut parts: Vec<Part> = listed.filter_map(part).collect();
    parts.sort_unstable();
    parts.dedup();
    parts
}

/// What stands while the row is locked, judged.
enum Judged {
    /// The finding does not stand any more.
    Settled(FindingState),
    /// The log can't say what is right.
    DecisionNeeded,
    /// Too much came since the log was read.
    Outrun,
    /// This is to be written.
    Mend { before: Value, after: Value, row: Box<WorkOrder>, claims: ClaimChanges },
}

fn judge(finding: &Finding, wanted: &[Part], mut ledger: Ledger, evidence: Evidence) -> Judged {
    let full = |rows: usize| i64::try_from(rows).is_ok_and(|rows| rows >= ROWS);
    match evidence.state {
        Some(FindingState::Open) => {}
        Some(state) => return Judged::Settled(state),
        None => return Judged::Settled(FindingState::Resolved),
    }
    let Some(row) = evidence.work_order else { return Judged::DecisionNeeded };
    if full(evidence.log.len()) {
        return Judged::Outrun;
    }
    evidence.log.into_iter().for_each(|row| ledger.take(row));
    match finding.kind {
        Kind::Quantity | Kind::Seq | Kind::Fence => {
            let explained = ledger.explained(&row).filter(|_| ledger.explains(&row));
            explained.map_or(Judged::DecisionNeeded, |after| mend_row(&row, after))
        }
        Kind::Status => {
            let explained = ledger.explained(&row).filter(|_| ledger.explains(&row));
            let mut after = row.clone();
            after.status = explained.map_or_else(|| row.present_status(), |explained| explained.present_status());
            mend_row(&row, after)
        }
        Kind::Claim => {
            if !ledger.explains(&row) || full(evidence.barcode_log.len()) || full(evidence.claims.len()) {
                return Judged::DecisionNeeded;
            }
            // The same barcode may stand for another counter or step, which is none of this finding's.
            let is_wanted = |row: &&LoggedRow| Part::of_row(row).is_some_and(|part| wanted.contains(&part));
            let mut rows: Vec<&LoggedRow> = evidence.barcode_log.iter().filter(is_wanted).collect();
            rows.sort_by_key(|row| row.seq);
            let mut standing = Standing::of(&finding.work_order, row.plan.barcode_policy, ledger.accepted().clone());
            rows.into_iter().for_each(|row| standing.take(row));
            match standing.mend(&row.work_order, &evidence.claims) {
                None => Judged::DecisionNeeded,
                Some(claims) => {
                    let (before, after) = claims_shown(&claims);
                    let mut mended = row;
                    // Once a barcode was counted the policy is fixed.
                    mended.barcode_counted |= !claims.insert.is_empty();
                    Judged::Mend { before, after, row: Box::new(mended), claims }
                }
            }
        }
        Kind::Gap | Kind::Before | Kind::After | Kind::Delta | Kind::Twice | Kind::Refused | Kind::Orphan => {
            Judged::DecisionNeeded
        }
    }
}

fn mend_row(before: &WorkOrder, after: WorkOrder) -> Judged {
    Judged::Mend {
        before: row_shown(before),
        after: row_shown(&after),
        row: Box::new(after),
        claims: ClaimChanges::default(),
    }
}

fn row_shown(row: &WorkOrder) -> Value {
    json!({
        "input_quantity": row.input_quantity, "output_quantity": row.output_quantity,
        "scrap_quantity": row.scrap_quantity, "seq": row.seq, "fence": row.fence, "status": row.status,
    })
}

/// The claims that change: as they stood, and as they stand.
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

fn entry(ask: &RepairAsk, finding: &Finding, payload: &Value, before: Value, after: Value) -> AuditEntry {
    AuditEntry {
        request_id: ask.request_id.clone(),
        action: if ask.accept { accepted::ACTION } else { "repair" }.to_owned(),
        work_order: Some(finding.work_order.clone()),
        finding_id: Some(finding.finding_id.clone()),
        recorded_at: now(),
        recorded_by: ask.principal.clone(),
        operator: ask.operator.clone(),
        reason: ask.reason.clone(),
        payload: payload.clone(),
        before,
        after,
    }
}

fn now() -> Timestamp {
    Timestamp::cut(Utc::now()).expect("the clock stands before the year 10000")
}
