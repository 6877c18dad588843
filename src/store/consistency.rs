//! What the monitor asks of the store: reading the log against the quantities, keeping
//! checks and findings, and setting right what a finding names.
//!
//! On connections of its own, so that counting never waits for a check. Every read is one
//! short snapshot of bounded size: a snapshot held for long keeps the database from
//! pruning the old versions of a hot row. The log is append-only, so a long one is read
//! as a prefix in several statements; only what is compared with it has to be of one moment.

use std::time::Duration;

use async_trait::async_trait;
use sqlx::{ColumnIndex, Decode, FromRow, Row, Type};

use super::StoreError;
use crate::domain::consistency::{AuditEntry, Check, CheckState, Drift, Finding, FindingState, Range};
use crate::domain::decide::ClaimChanges;
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;

/// Checks, findings, and the rows that they are about.
#[async_trait]
pub trait ConsistencyStore: Send + Sync + 'static {
    // --- Reading ---

    /// What time it is by the database's clock.
    ///
    /// # Errors
    /// Where the store can't be asked.
    async fn now(&self) -> Result<Timestamp, StoreError>;

    /// The next work orders of a range, by number.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn next_work_orders(&self, scope: &Scope, after: &str, limit: i64) -> Result<NextWorkOrders, StoreError>;

    /// How many work orders a range has, about.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn count_work_orders(&self, scope: &Scope) -> Result<i64, StoreError>;

    /// These work orders whole, in one snapshot; `None` where that is more than `limit` rows.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn page(&self, names: &[String], limit: i64) -> Result<Option<Page>, StoreError>;

    /// The next counted rows of a long log, by seq.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn counted_after(&self, name: &str, seq: i64, limit: i64) -> Result<Vec<LoggedRow>, StoreError>;

    /// The next refused rows of a long log.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn refused_after(
        &self,
        name: &str,
        after: Option<&RefusedPlace>,
        limit: i64,
    ) -> Result<Vec<LoggedRow>, StoreError>;

    /// The next claims of a work order, and the log's last seq in the same snapshot.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn claims_after(&self, name: &str, after: Option<&ClaimPlace>, limit: i64) -> Result<ClaimSlice, StoreError>;

    /// How many claims one barcode has, and the log's last seq in the same snapshot.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn count_claims(&self, name: &str, part: &ClaimPlace) -> Result<(i64, i64), StoreError>;

    /// The end of a long log and its work order in one snapshot.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn tail(&self, name: &str, seq: i64, limit: i64) -> Result<Tail, StoreError>;

    // --- Checks ---

    /// Takes or renews the right to run a check; `false` where another holder has it.
    ///
    /// # Errors
    /// As any write; taken or not is found out by asking again.
    async fn take_check_lease(&self, lease: &CheckLease<'_>) -> Result<bool, StoreError>;

    /// Gives the right back.
    ///
    /// # Errors
    /// As any write; it runs out by itself.
    async fn release_check_lease(&self, holder: &str) -> Result<(), StoreError>;

    /// Notes a check that is to be run, unless as many wait as may; `false` then.
    ///
    /// # Errors
    /// As any write; a repeat under the same id is refused as taken.
    async fn ask_check(&self, check: &AskedCheck, most_waiting: i64) -> Result<bool, StoreError>;

    /// The checks that are not over, in the order in which they were asked for.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError>;

    /// Marks a check as begun, by the database's clock, or as gone on with.
    ///
    /// # Errors
    /// As any write; beginning twice is the same as once.
    async fn begin_check(&self, check_id: &str, work_orders: i64) -> Result<Option<Check>, StoreError>;

    /// Notes, in one transaction, how far a check has come and what it has found:
    /// new findings are opened, known ones marked as seen, and those of work orders that
    /// were read and no longer drift are resolved. A process that dies meanwhile has
    /// written all of that or nothing, and the check goes on from where it was noted.
    ///
    /// `false`, and nothing written, where the right to run checks was lost meanwhile.
    ///
    /// # Errors
    /// As any write; noting twice is the same as once, but for the totals.
    async fn note_progress(&self, progress: &Progress<'_>) -> Result<bool, StoreError>;

    /// Ends a check. A complete reading of everything resolves what it has not seen.
    /// Drops the oldest reports and settled findings beyond `kept`.
    ///
    /// # Errors
    /// As any write; ending twice is the same as once.
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
    /// Where the store can't be read.
    async fn check(&self, check_id: &str) -> Result<Option<Check>, StoreError>;

    /// The last check of each of these ranges: that began, or that was good.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn last_check(&self, ranges: &[Range], good: bool) -> Result<Option<Check>, StoreError>;

    /// A page of findings, newest first.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn findings(&self, query: &FindingQuery) -> Result<Vec<Finding>, StoreError>;

    /// How many findings are open.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn open_findings(&self) -> Result<i64, StoreError>;

    /// One finding.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn finding(&self, finding_id: &str) -> Result<Option<Finding>, StoreError>;

    // --- Repair ---

    /// The entry of the audit trail under this request id.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn audit_entry(&self, request_id: &str) -> Result<Option<AuditEntry>, StoreError>;

    /// The entries of the audit trail with this action that name these work orders, oldest first.
    ///
    /// # Errors
    /// Where the store can't be read.
    async fn audit_entries(&self, names: &[String], action: &str) -> Result<Vec<AuditEntry>, StoreError>;

    /// Repairs, in one transaction under the row lock: locks the work order, reads what
    /// came after the prefix, lets `decide` say what is to be written, writes it with a
    /// fresh stamp, marks the finding as repaired and adds `entry` to the audit trail.
    /// A process that dies meanwhile has written all of that or nothing.
    ///
    /// # Errors
    /// As any write; [`StoreError::Taken`] where the request id is in the audit trail already.
    async fn repair(
        &self,
        wanted: &RepairWanted<'_>,
        decide: &mut (dyn FnMut(Evidence) -> Option<RepairChanges> + Send),
    ) -> Result<(), StoreError>;
}

/// Which work orders to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All numbers that stand in any of the three tables.
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
    /// How far was looked; `None`: to the end.
    pub read_up_to: Option<String>,
}

/// Several work orders at one moment.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Their rows, those that there are.
    pub work_orders: Vec<WorkOrder>,
    /// All rows of their logs, each work order's together: counted ones by seq, then refused ones.
    pub log: Vec<LoggedRow>,
    /// All their claims.
    pub claims: Vec<ClaimedRow>,
}

/// A row of the log, as far as a check reads it. Raw, since it may be anything.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LoggedRow {
    /// Its request id.
    pub request_id: String,
    /// Whose quantity.
    pub work_order: String,
    /// Its place; `None` when refused.
    pub seq: Option<i64>,
    /// When refused: where the work order stood.
    pub at_seq: Option<i64>,
    /// Which quantity.
    pub counter: String,
    /// What was asked.
    pub action: String,
    /// Pieces that a scan asked to count.
    pub quantity: Option<i64>,
    /// What was done.
    pub delta: i64,
    /// The counter before.
    pub before: i64,
    /// The counter after.
    pub after: i64,
    /// The step as compared.
    pub step: String,
    /// The barcode as compared.
    pub barcode: Option<String>,
    /// Under which fence.
    pub fence: i64,
    /// When, where the row is one of a refused list; else empty.
    pub recorded_at: String,
}

/// A row of `barcode_claims`.
#[derive(Clone, Debug, PartialEq)]
pub struct ClaimedRow {
    /// Whose.
    pub work_order: String,
    /// For which counter.
    pub counter: String,
    /// For which step.
    pub step: String,
    /// The barcode.
    pub barcode: String,
    /// Its number among the standing counts of the barcode.
    pub ordinal: i64,
    /// The update that counted it.
    pub request_id: String,
    /// How many pieces.
    pub quantity: i64,
    /// Whether that update is in the log: a counted scan of the same barcode and quantity, and
    /// not unbound since.
    pub held: bool,
}

/// Reads a row by the names of its columns, whichever the store.
macro_rules! read_by_name {
    ($row:ident: $($column:ident),+) => {
        impl<'r, R: Row> FromRow<'r, R> for $row
        where
            &'static str: ColumnIndex<R>,
            i64: Decode<'r, R::Database> + Type<R::Database>,
            bool: Decode<'r, R::Database> + Type<R::Database>,
            String: Decode<'r, R::Database> + Type<R::Database>,
        {
            fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
                Ok(Self { $($column: row.try_get(stringify!($column))?),+ })
            }
        }
    };
}

read_by_name! {
    LoggedRow: request_id, work_order, seq, at_seq, counter, action, quantity, delta, before, after, step, barcode, fence,
    recorded_at
}
read_by_name! { ClaimedRow: work_order, counter, step, barcode, ordinal, request_id, quantity, held }

/// The place of a claim among its work order's.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct ClaimPlace {
    /// For which counter.
    pub counter: String,
    /// For which step.
    pub step: String,
    /// The barcode.
    pub barcode: String,
    /// Its number among the standing counts of the barcode.
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

/// The place of a refused row among its work order's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedPlace {
    /// Where the work order stood.
    pub at_seq: i64,
    /// When.
    pub recorded_at: String,
    /// Under which request id.
    pub request_id: String,
}

/// The end of a log, and its work order at that moment.
#[derive(Clone, Debug, Default)]
pub struct Tail {
    /// The work order, if there is one.
    pub work_order: Option<WorkOrder>,
    /// The counted rows after the prefix, by seq.
    pub log: Vec<LoggedRow>,
}

/// A check to be run.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedCheck {
    /// Its id.
    pub check_id: String,
    /// Which work orders.
    pub range: Range,
    /// The one, where it is one.
    pub work_order: Option<String>,
    /// Since when they must have changed.
    pub since: Option<Timestamp>,
    /// Who asks.
    pub requested_by: String,
}

/// The right to run checks: one process has it at a time.
#[derive(Clone, Copy, Debug)]
pub struct CheckLease<'a> {
    /// The process.
    pub holder: &'a str,
    /// How long it lasts.
    pub ttl: Duration,
}

/// How far a check has come since it was last noted.
#[derive(Clone, Debug)]
pub struct Progress<'a> {
    /// The check.
    pub check_id: &'a str,
    /// The lease under which it runs, renewed.
    pub lease: CheckLease<'a>,
    /// The work orders read whole.
    pub numbers: &'a [String],
    /// What they have that should not be, with a fresh id each in case it is new.
    pub drifts: &'a [(String, Drift)],
    /// How far all is read; `None`: no farther than before.
    pub read_up_to: Option<&'a str>,
    /// Rows of the log read.
    pub rows_read: i64,
    /// When these rows began to be read: what was repaired since is not opened again.
    pub read_since: Timestamp,
}

/// Which findings to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct FindingQuery {
    /// Only in this state.
    pub state: Option<FindingState>,
    /// Only of this work order.
    pub work_order: Option<String>,
    /// Only seen by this check, as the last one.
    pub check_id: Option<String>,
    /// Only found before this: older, or at the same time under a lower id.
    pub before: Option<(Timestamp, String)>,
    /// At most so many.
    pub limit: i64,
}

/// What a repair needs to know, and what it leaves behind.
#[derive(Clone, Debug)]
pub struct RepairWanted<'a> {
    /// The finding.
    pub finding: &'a Finding,
    /// The prefix of the log that is known already.
    pub after_seq: i64,
    /// Barcodes whose claims may have to be set right.
    pub barcodes: &'a [ClaimPlace],
    /// At most so many rows after the prefix, and of these barcodes.
    pub limit: i64,
}

/// What stands while the work order is locked.
#[derive(Clone, Debug, Default)]
pub struct Evidence {
    /// The finding's own state now.
    pub state: Option<FindingState>,
    /// The work order.
    pub work_order: Option<WorkOrder>,
    /// The counted rows after the prefix, by seq.
    pub log: Vec<LoggedRow>,
    /// The counted rows of the wanted barcodes, whatever counter and step.
    pub barcode_log: Vec<LoggedRow>,
    /// The claims of the wanted barcodes.
    pub claims: Vec<ClaimedRow>,
}

/// What a repair writes.
#[derive(Clone, Debug)]
pub struct RepairChanges {
    /// The work order after, its stamp fresh; `None`: as it is.
    pub row: Option<WorkOrder>,
    /// The claims to change.
    pub claims: ClaimChanges,
    /// The entry for the audit trail.
    pub entry: AuditEntry,
}
