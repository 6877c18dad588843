//! What the monitor needs from the store: reading logs and quantities, checks, findings, and repairs.
//!
//! Both stores use connections of their own for this, so counting never waits for a check. Every
//! read is one short snapshot of bounded size: while a snapshot is open, the database can't delete
//! the old versions of a busy row. The log is append-only, so a long log is read in several
//! statements. Only what is compared with each other must come from one snapshot.

mod logged;
pub(super) mod rows;

use std::time::Duration;

use async_trait::async_trait;

pub use self::logged::{ClaimedRow, LoggedRow};
use super::StoreError;
use crate::domain::audit::AuditEntry;
use crate::domain::consistency::{Check, CheckState, Drift, Finding, FindingState, Range};
use crate::domain::decide::ClaimChanges;
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;

/// Checks, findings, and the rows that they are about.
#[async_trait]
pub trait ConsistencyStore: Send + Sync + 'static {
    // --- Reading ---

    /// The time by the database's clock.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// The next work orders of a range, by number.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn next_work_orders(&self, scope: &Scope, after: &str, limit: i64) -> Result<NextWorkOrders, StoreError>;

    /// About how many work orders a range has.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn count_work_orders(&self, scope: &Scope) -> Result<i64, StoreError>;

    /// All rows of these work orders in one snapshot; `None` if there are more than `limit` rows.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn page(&self, numbers: &[String], limit: i64) -> Result<Option<Page>, StoreError>;

    /// The next counted rows of a long log, by seq.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn counted_after(&self, number: &str, seq: i64, limit: i64) -> Result<Vec<LoggedRow>, StoreError>;

    /// The next refused rows of a long log.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn refused_after(
        &self,
        number: &str,
        after: Option<&RefusedPlace>,
        limit: i64,
    ) -> Result<Vec<LoggedRow>, StoreError>;

    /// The next claims of a work order, and the log's last seq in the same snapshot.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn claims_after(
        &self,
        number: &str,
        after: Option<&ClaimPlace>,
        limit: i64,
    ) -> Result<ClaimSlice, StoreError>;

    /// The log's last seq, and how many claims one barcode has in the same snapshot.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn count_claims(&self, number: &str, barcode: &ClaimPlace) -> Result<(i64, i64), StoreError>;

    /// The end of a long log and its work order in one snapshot.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn tail(&self, number: &str, seq: i64, limit: i64) -> Result<Tail, StoreError>;

    // --- Checks ---

    /// Takes or renews the lease for running checks; `false` if another process has it.
    ///
    /// # Errors
    /// As for any write. If the result is unknown, call it again.
    async fn take_check_lease(&self, lease: &CheckLease<'_>) -> Result<bool, StoreError>;

    /// Releases the lease of this holder.
    ///
    /// # Errors
    /// As for any write. The lease expires anyway.
    async fn release_check_lease(&self, holder: &str) -> Result<(), StoreError>;

    /// Adds a waiting check; `false` if `most_waiting` checks are not finished yet.
    ///
    /// # Errors
    /// As for any write; [`StoreError::Taken`] if the id is in use.
    async fn ask_check(&self, check: &AskedCheck, most_waiting: i64) -> Result<bool, StoreError>;

    /// The checks that are not finished, in the order of their requests.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError>;

    /// Marks a check as running, by the database's clock; `None` if it is finished.
    ///
    /// # Errors
    /// As for any write. Beginning twice is the same as once.
    async fn begin_check(&self, check_id: &str, work_orders: i64) -> Result<Option<Check>, StoreError>;

    /// Notes, in one transaction, how far a check has come and what it has found. It opens new
    /// findings and marks known ones as seen. It resolves the findings of the work orders that were
    /// read and no longer drift. It also renews the lease.
    ///
    /// If the process dies, all of this is written or nothing. The check goes on from its
    /// last note.
    ///
    /// `false`, and nothing is written, if the holder has lost the lease.
    ///
    /// # Errors
    /// As for any write. Noting twice is the same as once, except for the totals.
    async fn note_progress(&self, progress: &Progress<'_>) -> Result<bool, StoreError>;

    /// Ends a check. If it has read everything, the findings that it has not seen are resolved.
    /// Deletes old reports and resolved findings, except the newest `kept`.
    ///
    /// # Errors
    /// As for any write. Ending twice is the same as once.
    async fn end_check(
        &self,
        check_id: &str,
        state: CheckState,
        error: Option<&str>,
        kept: i64,
    ) -> Result<(), StoreError>;

    /// One check.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn check(&self, check_id: &str) -> Result<Option<Check>, StoreError>;

    /// The last check of these ranges that has started; if `good`, the last good one.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn last_check(&self, ranges: &[Range], good: bool) -> Result<Option<Check>, StoreError>;

    /// A page of findings, newest first.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn findings(&self, query: &FindingQuery) -> Result<Vec<Finding>, StoreError>;

    /// How many findings are open.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn open_findings(&self) -> Result<i64, StoreError>;

    /// One finding.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn finding(&self, finding_id: &str) -> Result<Option<Finding>, StoreError>;

    // --- Repair ---

    /// The entry of the audit trail with this request id.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn audit_entry(&self, request_id: &str) -> Result<Option<AuditEntry>, StoreError>;

    /// The entries of the audit trail with this action of these work orders, oldest first.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn audit_entries(&self, numbers: &[String], action: &str) -> Result<Vec<AuditEntry>, StoreError>;

    /// Repairs a work order, in one transaction under the row lock:
    ///
    /// 1. locks the work order and reads the rows after the known part of the log;
    /// 2. calls `decide`, which returns what to write;
    /// 3. writes it, marks the finding as repaired, and adds the entry to the audit trail.
    ///
    /// If the process dies, all of this is written or nothing.
    ///
    /// # Errors
    /// As for any write; [`StoreError::Taken`] if the audit trail has the request id already.
    async fn repair(
        &self,
        wanted: &RepairWanted<'_>,
        decide: &mut (dyn FnMut(Evidence) -> Option<RepairChanges> + Send),
    ) -> Result<(), StoreError>;
}

/// Which work orders to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All numbers that are in any of the three tables.
    All,
    /// Those whose row was written at this time or later.
    ChangedSince(Timestamp),
    /// One.
    One(String),
}

/// The next work orders of a range.
#[derive(Clone, Debug, Default)]
pub struct NextWorkOrders {
    /// Their numbers, and about how long each log is.
    pub found: Vec<(String, i64)>,
    /// The number up to which the store has read; `None`: to the end.
    pub read_up_to: Option<String>,
}

/// Several work orders in one snapshot.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// The rows of those that exist.
    pub work_orders: Vec<WorkOrder>,
    /// All rows of their logs. The rows of one work order are together: counted ones by seq, then
    /// refused ones.
    pub log: Vec<LoggedRow>,
    /// All their claims.
    pub claims: Vec<ClaimedRow>,
}

/// The place of a claim among the claims of its work order.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ClaimPlace {
    /// Its counter.
    pub counter: String,
    /// Its step.
    pub step: String,
    /// The barcode.
    pub barcode: String,
    /// 1 if barcodes count once, else the seq of the update that counted it.
    pub ordinal: i64,
}

/// Some of a work order's claims.
#[derive(Clone, Debug, Default)]
pub struct ClaimSlice {
    /// The log's last seq in the same snapshot.
    pub seq: i64,
    /// The claims, by place.
    pub claims: Vec<ClaimedRow>,
}

/// The place of a refused row among the refused rows of its work order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPlace {
    /// The work order's seq at that moment.
    pub at_seq: i64,
    /// When it was refused.
    pub recorded_at: String,
    /// Its request id.
    pub request_id: String,
}

/// The end of a log, and its work order in the same snapshot.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The work order, if it exists.
    pub work_order: Option<WorkOrder>,
    /// The next counted rows, by seq.
    pub log: Vec<LoggedRow>,
}

/// The right to run checks: one process has it at a time.
#[derive(Clone, Copy, Debug)]
pub struct CheckLease<'a> {
    /// The process.
    pub holder: &'a str,
    /// How long it has the lease from now on.
    pub ttl: Duration,
}

/// A check to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedCheck {
    /// Its id.
    pub check_id: String,
    /// Which work orders.
    pub range: Range,
    /// The work order, if the range is one.
    pub work_order: Option<String>,
    /// Only work orders that have changed since then.
    pub since: Option<Timestamp>,
    /// The principal that asks for it.
    pub requested_by: String,
}

/// How far a check has come since its last note.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The check.
    pub check_id: &'a str,
    /// The lease of the process that runs it, to be renewed.
    pub lease: CheckLease<'a>,
    /// The work orders that were read completely.
    pub numbers: &'a [String],
    /// Their drifts, each with a new id that is used if the finding is new.
    pub drifts: &'a [(String, Drift)],
    /// The number up to which everything is read; `None`: no further than before.
    pub read_up_to: Option<&'a str>,
    /// How many rows of the log were read.
    pub rows_read: i64,
    /// When the first of these rows was read. A finding that was repaired since is not opened again.
    pub read_since: Timestamp,
}

/// Which findings to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct FindingQuery {
    /// Only in this state.
    pub state: Option<FindingState>,
    /// Only of this work order.
    pub work_order: Option<String>,
    /// Only those that this check was the last to see.
    pub check_id: Option<String>,
    /// Only found before this: earlier, or at the same time with a lower id.
    pub before: Option<(Timestamp, String)>,
    /// At most so many.
    pub limit: i64,
}

/// What a repair needs to read.
#[derive(Clone, Debug)]
pub struct RepairWanted<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// The log is known up to this seq.
    pub after_seq: i64,
    /// The barcodes whose claims may have to be repaired. The ordinals don't matter.
    pub barcodes: &'a [ClaimPlace],
    /// At most so many new rows, and so many rows of these barcodes.
    pub limit: i64,
}

/// What the store has while the work order is locked.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The state of the finding.
    pub state: Option<FindingState>,
    /// The work order.
    pub work_order: Option<WorkOrder>,
    /// The counted rows that are new, by seq.
    pub log: Vec<LoggedRow>,
    /// The counted rows of the wanted barcodes, of any counter and step, and the releases.
    pub barcode_log: Vec<LoggedRow>,
    /// The claims of the wanted barcodes.
    pub claims: Vec<ClaimedRow>,
}

/// What a repair writes.
#[derive(Clone, Debug)]
pub struct RepairChanges {
    /// The work order after the repair, with a new stamp; `None`: unchanged.
    pub row: Option<WorkOrder>,
    /// The claims to change.
    pub claims: ClaimChanges,
    /// The entry for the audit trail.
    pub entry: AuditEntry,
}
