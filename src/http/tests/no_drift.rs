//! A store for the monitor that holds nothing: no checks, no findings, no rows.

use async_trait::async_trait;

use crate::domain::audit::AuditEntry;
use crate::domain::consistency::{Check, CheckState, Finding, Range};
use crate::domain::time::Timestamp;
use crate::store::StoreError;
use crate::store::consistency::{
    AskedCheck, CheckLease, ClaimPlace, ClaimSlice, ConsistencyStore, Evidence, FindingQuery, LoggedRow,
    NextWorkOrders, Page, Progress, RefusedPlace, RepairChanges, RepairWanted, Scope, Tail,
};

pub(super) struct NoDrift;

#[async_trait]
impl ConsistencyStore for NoDrift {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        Ok(Timestamp::parse("2026-01-03T08:00:00Z").unwrap())
    }

    async fn next_work_orders(&self, _: &Scope, _: &str, _: i64) -> Result<NextWorkOrders, StoreError> {
        Ok(NextWorkOrders::default())
    }

    async fn count_work_orders(&self, _: &Scope) -> Result<i64, StoreError> {
        Ok(0)
    }

    async fn page(&self, _: &[String], _: i64) -> Result<Option<Page>, StoreError> {
        Ok(Some(Page::default()))
    }

    async fn counted_after(&self, _: &str, _: i64, _: i64) -> Result<Vec<LoggedRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn refused_after(&self, _: &str, _: Option<&RefusedPlace>, _: i64) -> Result<Vec<LoggedRow>, StoreError> {
        Ok(Vec::new())
    }

    async fn claims_after(&self, _: &str, _: Option<&ClaimPlace>, _: i64) -> Result<ClaimSlice, StoreError> {
        Ok(ClaimSlice::default())
    }

    async fn count_claims(&self, _: &str, _: &ClaimPlace) -> Result<(i64, i64), StoreError> {
        Ok((0, 0))
    }

    async fn tail(&self, _: &str, _: i64, _: i64) -> Result<Tail, StoreError> {
        Ok(Tail::default())
    }

    async fn take_check_lease(&self, _: &CheckLease<'_>) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn release_check_lease(&self, _: &str) -> Result<(), StoreError> {
        Ok(())
    }

    async fn ask_check(&self, _: &AskedCheck, _: i64) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError> {
        Ok(Vec::new())
    }

    async fn begin_check(&self, _: &str, _: i64) -> Result<Option<Check>, StoreError> {
        Ok(None)
    }

    async fn note_progress(&self, _: &Progress<'_>) -> Result<bool, StoreError> {
        Ok(false)
    }

    async fn end_check(&self, _: &str, _: CheckState, _: Option<&str>, _: i64) -> Result<(), StoreError> {
        Ok(())
    }

    async fn check(&self, _: &str) -> Result<Option<Check>, StoreError> {
        Ok(None)
    }

    async fn last_check(&self, _: &[Range], _: bool) -> Result<Option<Check>, StoreError> {
        Ok(None)
    }

    async fn findings(&self, _: &FindingQuery) -> Result<Vec<Finding>, StoreError> {
        Ok(Vec::new())
    }

    async fn open_findings(&self) -> Result<i64, StoreError> {
        Ok(0)
    }

    async fn finding(&self, _: &str) -> Result<Option<Finding>, StoreError> {
        Ok(None)
    }

    async fn audit_entry(&self, _: &str) -> Result<Option<AuditEntry>, StoreError> {
        Ok(None)
    }

    async fn audit_entries(&self, _: &[String], _: &str) -> Result<Vec<AuditEntry>, StoreError> {
        Ok(Vec::new())
    }

    async fn repair(
        &self,
        _: &RepairWanted<'_>,
        _: &mut (dyn FnMut(Evidence) -> Option<RepairChanges> + Send),
    ) -> Result<(), StoreError> {
        Ok(())
    }
}
