//! The audit trail: what people and keys changed besides quantities.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::time::Timestamp;

/// One entry of `audit_trail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The Idempotency-Key of the request, or a key that the service made.
    pub request_id: String,
    /// What was done, such as `repair`.
    pub action: String,
    /// The work order that was changed.
    pub work_order: Option<String>,
    /// The finding that was repaired.
    pub finding_id: Option<String>,
    /// The refused scan that was left refused. An entry about something else is shown without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refusal: Option<String>,
    /// When.
    pub recorded_at: Timestamp,
    /// The caller's principal.
    pub recorded_by: String,
    /// The person that the request names.
    pub operator: Option<String>,
    /// Why.
    pub reason: String,
    /// The request's content. It is compared if the request id is used again.
    pub payload: Value,
    /// The values before.
    pub before: Value,
    /// The values after.
    pub after: Value,
}
