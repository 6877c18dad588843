//! What a person has accepted: drifts that no repair can remove.
//!
//! A lost row stays lost, and every check would find its gap again. So a person may accept the
//! log as it is. The audit trail records that decision. A check reads it, and goes on from the row
//! after the gap. It covers that drift alone: anything else that is wrong, now or later, is found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::audit::AuditEntry;
use crate::domain::consistency::{Drift, Finding, Kind};
use crate::domain::request::Counter;
use crate::monitor::retry::retried;
use crate::store::StoreError;
use crate::store::consistency::{ConsistencyStore, LoggedRow};

/// The action of the audit entry that accepts a finding.
pub const ACTION: &str = "accept";

/// A drift as it was accepted: `before` in the audit trail.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Accepted {
    kind: Kind,
    counter: Option<Counter>,
    seq: Option<i64>,
    request_id: Option<String>,
    expected: Value,
    actual: Value,
    /// Of a claim drift: all wrong claims. The other fields name only the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

impl Accepted {
    /// What is accepted when this finding is accepted.
    #[must_use]
    pub fn of(finding: &Finding) -> Self {
        let Finding { kind, counter, seq, request_id, expected, actual, details, .. } = finding.clone();
        let details = (kind == Kind::Claim).then_some(details);
        Self { kind, counter, seq, request_id, expected, actual, details }
    }
}

/// All that is accepted of one work order.
#[derive(Clone, Debug, Default)]
pub struct Acceptances(Vec<Accepted>);

impl Acceptances {
    /// What is accepted of these work orders.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn read(store: &dyn ConsistencyStore, names: &[String]) -> Result<BTreeMap<String, Self>, StoreError> {
        Ok(Self::of(retried(|| store.audit_entries(names, ACTION)).await?))
    }

    /// What is accepted of this work order.
    ///
    /// # Errors
    /// If the store can't be read.
    pub async fn read_one(store: &dyn ConsistencyStore, name: &str) -> Result<Self, StoreError> {
        Ok(Self::read(store, &[name.to_owned()]).await?.remove(name).unwrap_or_default())
    }

    /// What these audit entries accept, by work order.
    #[must_use]
    pub fn of(entries: Vec<AuditEntry>) -> BTreeMap<String, Self> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.action == ACTION) {
            // An entry without a readable drift accepts nothing.
            if let (Some(name), Ok(accepted)) = (entry.work_order, serde_json::from_value(entry.before)) {
                all.entry(name).or_default().0.push(accepted);
            }
        }
        all
    }

    /// Whether exactly this drift is accepted.
    #[must_use]
    pub fn cover(&self, drift: &Drift) -> bool {
        self.0.iter().any(|accepted| {
            (accepted.kind, accepted.counter, accepted.seq, &accepted.request_id)
                == (drift.kind, drift.counter, drift.seq, &drift.request_id)
                && (&accepted.expected, &accepted.actual) == (&drift.expected, &drift.actual)
                && accepted.details.as_ref().is_none_or(|details| *details == drift.details)
        })
    }

    /// Whether it is accepted that this row does not follow, in this way, from the rows before it.
    #[must_use]
    pub fn cover_row(&self, kind: Kind, row: &LoggedRow, expected: &Value, actual: &Value) -> bool {
        self.0.iter().any(|accepted| {
            accepted.kind == kind
                && accepted.seq == row.seq
                && accepted.request_id.as_ref() == Some(&row.request_id)
                && (&accepted.expected, &accepted.actual) == (expected, actual)
        })
    }

    /// Whether it is accepted that the log ends at seq `last` while the row has the seq `of_row`.
    #[must_use]
    pub fn cover_lost_end(&self, last: i64, of_row: i64) -> bool {
        self.0.iter().any(|accepted| {
            accepted.kind == Kind::Seq
                && (accepted.expected.as_i64(), accepted.actual.as_i64()) == (Some(last), Some(of_row))
        })
    }
}
