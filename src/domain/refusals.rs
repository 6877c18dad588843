//! Refused scans that a person may settle: by an override that counts them, or by leaving them refused.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::audit::AuditEntry;
use super::ids::{Principal, RequestId};
use super::time::Timestamp;
use super::update::{Action, RefusalCode, Update};

/// The action of the audit trail's entries about refused scans that were left refused.
pub const LEAVE: &str = "leave-refusal";

/// A refused scan, and what a person did about it.
///
/// A scan that was left refused may still be counted later. Then it has both.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// The refused scan.
    pub update: Update,
    /// The counted override that settles it.
    pub settled_by: Option<RequestId>,
    /// Who left it refused.
    pub left: Option<Left>,
}

/// Who left a scan refused, when and why.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// The caller's principal.
    pub by: String,
    /// The person that the request names.
    pub operator: Option<String>,
    /// Why.
    pub reason: String,
    /// When.
    pub at: Timestamp,
}

/// Whether a person may settle this update: it is a scan, refused by a hold, the plan or the pattern.
#[must_use]
pub fn may_be_settled(update: &Update) -> bool {
    update.action == Action::Scan && update.code.is_some_and(RefusalCode::can_be_settled)
}

/// A request to leave a scan refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leave {
    /// The request id of the entry in the audit trail: a new one.
    pub entry_id: String,
    /// The caller.
    pub principal: Principal,
    /// The person that the request names.
    pub operator: Option<String>,
    /// Why.
    pub reason: String,
    /// The time of the request.
    pub now: Timestamp,
}

/// Why a request to leave a scan refused is itself refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotLeft {
    /// Nothing is decided under this request id.
    #[error("nothing is decided under this request id")]
    Unknown,
    /// It is no refused scan, or its code does not let a person settle it.
    #[error("this is not a scan that was refused by a hold, the plan or the pattern")]
    NotARefusal,
    /// An override has counted it.
    #[error("the scan {0} has counted it")]
    Settled(RequestId),
}

impl Leave {
    /// What becomes of a refused scan, and the entry to write for it. There is no entry if it was left
    /// before: then the earlier one stands, so a request may be sent again.
    ///
    /// # Errors
    /// See [`NotLeft`].
    pub fn judge(&self, found: Option<Refusal>) -> Result<(Refusal, Option<AuditEntry>), NotLeft> {
        let refusal = found.ok_or(NotLeft::Unknown)?;
        if !may_be_settled(&refusal.update) {
            return Err(NotLeft::NotARefusal);
        }
        match (&refusal.left, &refusal.settled_by) {
            (Some(_), _) => Ok((refusal, None)),
            (None, Some(settled_by)) => Err(NotLeft::Settled(settled_by.clone())),
            (None, None) => {
                let entry = self.entry(&refusal.update);
                Ok((Refusal { left: Some(self.left()), ..refusal }, Some(entry)))
            }
        }
    }

    fn left(&self) -> Left {
        let Self { principal, operator, reason, now, .. } = self.clone();
        Left { by: principal.to_string(), operator, reason, at: now }
    }

    fn entry(&self, update: &Update) -> AuditEntry {
        AuditEntry {
            request_id: self.entry_id.clone(),
            action: LEAVE.to_owned(),
            work_order: Some(update.work_order.to_string()),
            finding_id: None,
            refusal: Some(update.request_id.to_string()),
            recorded_at: self.now,
            recorded_by: self.principal.to_string(),
            operator: self.operator.clone(),
            reason: self.reason.clone(),
            payload: json!({ "refusal": update.request_id, "reason": self.reason, "operator": self.operator }),
            before: json!({ "left": false }),
            after: json!({ "left": true }),
        }
    }
}
