//! Repairs what a finding names, from the log; or records that a person accepts it as it is.
//!
//! | step | statement | if the process dies here |
//! | --- | --- | --- |
//! | 1 look for an earlier answer | `audit_entry` | nothing is written |
//! | 2 read the log, in pieces, without a lock | `finding`, `audit_entries`, `counted_after` | nothing is written |
//! | 3 lock the row, read what came since, [judge](judgement) again, write | `repair`, one transaction | row, claims, finding and audit entry are written all or not at all; a retry under the same request id returns the same answer |
//!
//! Scans may race a repair. Those before step 3 are in the sum; those after it find the new stamp
//! and are decided again (pitfall 37). If too many came since step 2, it starts again from step 1.
//! The log is never changed. The audit trail says who, when, why, and what.

mod judgement;

use serde_json::{Value, json};

use self::judgement::{Judgement, ROWS, judge};
use super::checks::accepted::{self, Acceptances, Accepted};
use super::checks::ledger::Ledger;
use super::checks::part::Part;
use super::retry::retried;
use crate::clock::now;
use crate::domain::audit::AuditEntry;
use crate::domain::consistency::{Finding, FindingState, Remedy};
use crate::domain::decide::ClaimChanges;
use crate::domain::ids::Stamp;
use crate::store::StoreError;
use crate::store::consistency::{ClaimPlace, ConsistencyStore, Evidence, RepairChanges, RepairWanted};

/// How often a repair is tried when scans come faster than it reads.
const ATTEMPTS: usize = 5;

/// A request to repair a finding, or to accept it.
#[derive(Clone, Debug, PartialEq)]
pub struct RepairAsk {
    /// The Idempotency-Key.
    pub request_id: String,
    /// The finding to repair.
    pub finding_id: String,
    /// Whether only to show what would change.
    pub dry_run: bool,
    /// Whether to accept the log as it is, if the log can't say what is right.
    pub accept: bool,
    /// Why.
    pub reason: String,
    /// The person named in the request.
    pub operator: Option<String>,
    /// The caller's principal.
    pub principal: String,
}

/// The result of a repair.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Repaired {
    /// The audit entry; of a dry run: the entry that there would be.
    #[serde(flatten)]
    pub entry: AuditEntry,
    /// Whether nothing was written.
    pub dry_run: bool,
    /// Whether an earlier request under this id did it.
    #[serde(skip)]
    pub replayed: bool,
}

/// Why nothing was repaired.
#[derive(Debug, thiserror::Error)]
pub enum NotRepaired {
    /// There is no such finding.
    #[error("there is no finding {0}")]
    Unknown(String),
    /// It is not open any more.
    #[error("the finding is {} already", .0.word())]
    Settled(FindingState),
    /// The log can't say what is right.
    #[error("the log can't say what is right: a person has to decide")]
    DecisionNeeded(Box<Finding>),
    /// The finding can be repaired, so there is nothing to accept.
    #[error("the log says what is right: repair it")]
    NothingToAccept,
    /// The request id belongs to another request.
    #[error("another repair was made under this id")]
    KeyReused {
        /// The fields that differ.
        differs: Vec<&'static str>,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Repairs or accepts what a finding names. The same request id gets the same answer again.
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
            // Another try did it, scans came faster, or the answer was lost. The next round shows which.
            Err(NotRepaired::Store(StoreError::Taken(_) | StoreError::TryAgain(_) | StoreError::Broken(_)))
                if attempt < ATTEMPTS =>
            {
                attempt += 1
            }
            // Perhaps this request settled it itself, if it was sent twice at once.
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

/// What is compared if a request id is used again.
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
    let listed = listed_parts(&finding);
    let places: Vec<ClaimPlace> = listed.iter().map(|part| part.place(0)).collect();
    let wanted = RepairWanted { finding: &finding, after_seq: prefix.seq(), barcodes: &places, limit: ROWS };
    let mut judged = Judgement::Outrun;
    let mut decide = |evidence: Evidence| {
        judged = judge(&finding, &listed, prefix.clone(), evidence);
        let Judgement::Write { before, after, row, claims } = &mut judged else { return None };
        row.stamp = Stamp(rand::random());
        row.updated_at = now();
        let entry = entry(ask, &finding, payload, before.clone(), after.clone());
        let changes = RepairChanges { row: Some(row.as_ref().clone()), claims: std::mem::take(claims), entry };
        (!ask.dry_run).then_some(changes)
    };
    store.repair(&wanted, &mut decide).await?;
    match judged {
        Judgement::Write { before, after, .. } => {
            // The entry as it was written; of a dry run, as it would be.
            let written = retried(|| store.audit_entry(&ask.request_id)).await?;
            let entry = written.unwrap_or_else(|| entry(ask, &finding, payload, before, after));
            Ok(Repaired { entry, dry_run: ask.dry_run, replayed: false })
        }
        Judgement::Settled(state) => Err(NotRepaired::Settled(state)),
        Judgement::DecisionNeeded => Err(NotRepaired::DecisionNeeded(Box::new(finding))),
        Judgement::Outrun => {
            Err(NotRepaired::Store(StoreError::TryAgain("scans came faster than they were read".into())))
        }
    }
}

/// Records that what a finding names is accepted as it is.
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
        let changes = RepairChanges { row: None, claims: ClaimChanges::default(), entry: entry.clone() };
        (state == Some(FindingState::Open) && !ask.dry_run).then_some(changes)
    };
    store.repair(&wanted, &mut decide).await?;
    match state {
        Some(FindingState::Open) => Ok(Repaired { entry, dry_run: ask.dry_run, replayed: false }),
        settled => Err(NotRepaired::Settled(settled.unwrap_or(FindingState::Resolved))),
    }
}

/// Reads a work order's log up to about its end.
async fn read(store: &dyn ConsistencyStore, name: &str) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::of(name, Acceptances::read_one(store, name).await?);
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
fn listed_parts(finding: &Finding) -> Vec<Part> {
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

fn entry(ask: &RepairAsk, finding: &Finding, payload: &Value, before: Value, after: Value) -> AuditEntry {
    AuditEntry {
        request_id: ask.request_id.clone(),
        action: if ask.accept { accepted::ACTION } else { "repair" }.to_owned(),
        work_order: Some(finding.work_order.clone()),
        finding_id: Some(finding.finding_id.clone()),
        refusal: None,
        recorded_at: now(),
        recorded_by: ask.principal.clone(),
        operator: ask.operator.clone(),
        reason: ask.reason.clone(),
        payload: payload.clone(),
        before,
        after,
    }
}
