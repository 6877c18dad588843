//! The store of refused scans that a person may settle.

use async_trait::async_trait;

use super::StoreError;
use crate::domain::ids::RequestId;
use crate::domain::refusals::{Leave, NotLeft, Refusal};
use crate::domain::time::Timestamp;
use crate::domain::update::RefusalCode;

/// Reads refused scans, and notes which of them a person has left refused.
#[async_trait]
pub trait RefusalStore: Send + Sync + 'static {
    /// A page of the refused scans that a person may settle, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn refusals(&self, query: &RefusalQuery) -> Result<Vec<Refusal>, StoreError>;

    /// The update with this request id, and what a person did about it. It may be an update of any kind.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn refusal(&self, request_id: &RequestId) -> Result<Option<Refusal>, StoreError>;

    /// Leaves a scan refused, in one transaction: reads it, judges by [`Leave::judge`], and adds the entry
    /// to the audit trail. If two do so at once, one entry is written, and both get that one.
    ///
    /// If the process dies, the entry is written or not. Calling it again is safe.
    ///
    /// # Errors
    /// As for any write.
    async fn leave(&self, request_id: &RequestId, leave: &Leave) -> Result<Result<Refusal, NotLeft>, StoreError>;
}

/// Which refused scans to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct RefusalQuery {
    /// Only of this line, as it was when the scan was refused.
    pub line: Option<String>,
    /// Only with this code.
    pub code: Option<RefusalCode>,
    /// Only recorded at this time or later.
    pub since: Option<Timestamp>,
    /// Only those that are neither settled nor left (`true`), or only the others.
    pub open: Option<bool>,
    /// Only older than this: recorded before, or at the same time under a lower request id.
    pub before: Option<(Timestamp, RequestId)>,
    /// At most so many.
    pub limit: i64,
}
