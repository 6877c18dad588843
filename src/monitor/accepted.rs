//! What a person has accepted: drifts of a log that nothing can set right.
//!
//! A row that is lost stays lost, and a check would find its gap for ever. So a person may
//! decide that the log stands as it is. That decision is an entry of the audit trail; a check
//! reads it and takes the row behind the gap as the new measure. It holds for that very drift:
//! whatever else is or goes wrong is found.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::domain::consistency::{AuditEntry, Drift, Finding, Kind};
use crate::domain::request::Counter;
use crate::store::consistency::LoggedRow;

/// The action of an entry of the audit trail by which a finding was accepted.
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
    /// All claims that are wrong, where it is about claims: the rest only names the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    details: Option<Value>,
}

impl Accepted {
    /// What accepting this finding accepts.
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
    /// What these entries of the audit trail accept, by work order.
    #[must_use]
    pub fn of(entries: Vec<AuditEntry>) -> BTreeMap<String, Self> {
        let mut all: BTreeMap<String, Self> = BTreeMap::new();
        for entry in entries.into_iter().filter(|entry| entry.action == ACTION) {
            // An entry that does not say what it accepts accepts nothing.
            if let (Some(name), Ok(accepted)) = (entry.work_order, serde_json::from_value(entry.before)) {
                all.entry(name).or_default().0.push(accepted);
            }
        }
        all
    }

    /// Whether this very drift is accepted.
    #[must_use]
    pub fn cover(&self, drift: &Drift) -> bool {
        self.0.iter().any(|accepted| {
            (accepted.kind, accepted.counter, accepted.seq, &accepted.request_id)
                == (drift.kind, drift.counter, drift.seq, &drift.request_id)
                && (&accepted.expected, &accepted.actual) == (&drift.expected, &drift.actual)
                && accepted.details.as_ref().is_none_or(|details| *details == drift.details)
        })
    }

    /// Whether it is accepted that this row does not follow in this way from those before it.
    #[must_use]
    pub fn cover_row(&self, kind: Kind, row: &LoggedRow, expected: i64, actual: i64) -> bool {
        let values = (Some(expected), Some(actual));
        self.0.iter().any(|accepted| {
            accepted.kind == kind
                && accepted.seq == row.seq
                && accepted.request_id.as_ref() == Some(&row.request_id)
                && (accepted.expected.as_i64(), accepted.actual.as_i64()) == values
        })
    }

    /// Whether it is accepted that the log ends at `last` while the work order stands at `stands`.
    #[must_use]
    pub fn cover_lost_end(&self, last: i64, stands: i64) -> bool {
        self.0.iter().any(|accepted| {
            accepted.kind == Kind::Seq
                && (accepted.expected.as_i64(), accepted.actual.as_i64()) == (Some(last), Some(stands))
        })
    }
}
