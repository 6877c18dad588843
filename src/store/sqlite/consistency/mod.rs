//! The store of the monitor on SQLite.
//!
//! It reads on connections of its own, in snapshots no longer than a page of rows: while a snapshot
//! is open, SQLite can't restart the write-ahead log. It writes through the one writer, seldom and in
//! small transactions.

mod connection;
mod progress;
mod repair;
mod statements;

use async_trait::async_trait;

use self::connection::{all, first, seconds};
use self::statements::{self as sql, counted};
use super::session::arguments::{Arguments, fetch, list};
use super::session::{LEND_LIMIT, limited};
use super::{SqliteStore, audit};
use crate::domain::audit::AuditEntry;
use crate::domain::consistency::{Check, CheckState, Finding, FindingState, Range};
use crate::domain::time::Timestamp;
use crate::store::consistency::rows::{next_work_orders, only_work_order};
use crate::store::consistency::{
    AskedCheck, CheckLease, ClaimPlace, ClaimSlice, ConsistencyStore, Evidence, FindingQuery, LoggedRow,
    NextWorkOrders, Page, Progress, RefusedPlace, RepairChanges, RepairWanted, Scope, Tail,
};
use crate::store::{StoreError, rows};

#[async_trait]
impl ConsistencyStore for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.json_value(&sql::NOW, |_| {}).await
    }

    async fn next_work_orders(&self, scope: &Scope, after: &str, limit: i64) -> Result<NextWorkOrders, StoreError> {
        let mut bound = Arguments::default();
        bound.text(after);
        bound.number(limit);
        let statement = match scope {
            Scope::All => &sql::NEXT_WORK_ORDERS,
            Scope::ChangedSince(since) => {
                bound.text(&since.to_string());
                &sql::NEXT_CHANGED_WORK_ORDERS
            }
            Scope::One(number) => return Ok(only_work_order(number, after)),
        };
        let found = self.snapshot(async |connection| all(connection, statement, bound).await).await?;
        Ok(next_work_orders(scope, found, limit))
    }

    async fn count_work_orders(&self, scope: &Scope) -> Result<i64, StoreError> {
        match scope {
            Scope::All => self.json_value(&sql::COUNT_WORK_ORDERS, |_| {}).await,
            Scope::ChangedSince(since) => {
                self.json_value(&sql::COUNT_CHANGED_WORK_ORDERS, |bound| bound.text(&since.to_string())).await
            }
            Scope::One(_) => Ok(1),
        }
    }

    async fn page(&self, numbers: &[String], limit: i64) -> Result<Option<Page>, StoreError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let numbers = list(&numbers);
        let bound = || {
            let mut bound = Arguments::default();
            bound.text(&numbers);
            bound.number(limit + 1);
            bound
        };
        let page = self.snapshot(async |connection| {
            let log = all(connection, &sql::PAGE_LOG, bound()).await?;
            let claims = all(connection, &sql::PAGE_CLAIMS, bound()).await?;
            let mut bound = Arguments::default();
            bound.text(&numbers);
            let found = fetch(connection, &sql::WORK_ORDERS, bound).await?;
            let work_orders = found.iter().map(|row| rows::read(row)).collect::<Result<_, _>>()?;
            Ok(Page { work_orders, log, claims })
        });
        Ok(Some(page.await?).filter(|page| page.log.len() <= most && page.claims.len() <= most))
    }

    async fn counted_after(&self, number: &str, seq: i64, limit: i64) -> Result<Vec<LoggedRow>, StoreError> {
        let bound = counted(number, seq, limit);
        self.snapshot(async |connection| all(connection, &sql::COUNTED, bound).await).await
    }

    async fn refused_after(
        &self,
        number: &str,
        after: Option<&RefusedPlace>,
        limit: i64,
    ) -> Result<Vec<LoggedRow>, StoreError> {
        let mut bound = Arguments::default();
        bound.text(number);
        bound.number(after.map_or(i64::MIN, |place| place.at_seq));
        bound.text(after.map_or("", |place| &place.recorded_at));
        bound.text(after.map_or("", |place| &place.request_id));
        bound.number(limit);
        self.snapshot(async |connection| all(connection, &sql::REFUSED, bound).await).await
    }

    async fn claims_after(
        &self,
        number: &str,
        after: Option<&ClaimPlace>,
        limit: i64,
    ) -> Result<ClaimSlice, StoreError> {
        self.snapshot(async |connection| {
            let mut bound = Arguments::default();
            bound.text(number);
            let seq = first(connection, &sql::LAST_SEQ, bound).await?.unwrap_or(0);
            let mut bound = Arguments::default();
            bound.text(number);
            bound.text(after.map_or("", |place| &place.counter));
            bound.text(after.map_or("", |place| &place.step));
            bound.text(after.map_or("", |place| &place.barcode));
            bound.number(after.map_or(i64::MIN, |place| place.ordinal));
            bound.number(limit);
            Ok(ClaimSlice { seq, claims: all(connection, &sql::CLAIMS, bound).await? })
        })
        .await
    }

    async fn count_claims(&self, number: &str, barcode: &ClaimPlace) -> Result<(i64, i64), StoreError> {
        let mut bound = Arguments::default();
        bound.text(number);
        bound.text(&barcode.counter);
        bound.text(&barcode.step);
        bound.text(&barcode.barcode);
        let found: Vec<(i64, i64)> =
            self.snapshot(async |connection| all(connection, &sql::COUNT_CLAIMS, bound).await).await?;
        Ok(found.first().copied().unwrap_or_default())
    }

    async fn tail(&self, number: &str, seq: i64, limit: i64) -> Result<Tail, StoreError> {
        self.snapshot(async |connection| {
            let mut bound = Arguments::default();
            bound.text(&list(&[number]));
            let work_order = first(connection, &sql::WORK_ORDERS, bound).await?;
            Ok(Tail { work_order, log: all(connection, &sql::COUNTED, counted(number, seq, limit)).await? })
        })
        .await
    }

    async fn take_check_lease(&self, lease: &CheckLease<'_>) -> Result<bool, StoreError> {
        let mut bound = Arguments::default();
        bound.text(lease.holder);
        bound.text(&seconds(lease.ttl));
        Ok(self.change(&sql::TAKE_LEASE, bound).await? == 1)
    }

    async fn release_check_lease(&self, holder: &str) -> Result<(), StoreError> {
        let mut bound = Arguments::default();
        bound.text(holder);
        self.change(&sql::RELEASE_LEASE, bound).await.map(drop)
    }

    async fn ask_check(&self, check: &AskedCheck, most_waiting: i64) -> Result<bool, StoreError> {
        let mut bound = Arguments::default();
        bound.text(&check.check_id);
        bound.text(check.range.word());
        bound.maybe(check.work_order.as_deref());
        bound.maybe(check.since.map(|since| since.to_string()).as_deref());
        bound.text(&check.requested_by);
        bound.number(most_waiting);
        Ok(self.change(&sql::ASK_CHECK, bound).await? == 1)
    }

    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError> {
        self.json_rows(&sql::UNFINISHED_CHECKS, |_| {}).await
    }

    async fn begin_check(&self, check_id: &str, work_orders: i64) -> Result<Option<Check>, StoreError> {
        let mut bound = Arguments::default();
        bound.text(check_id);
        bound.number(work_orders);
        match self.change(&sql::BEGIN_CHECK, bound).await? {
            0 => Ok(None),
            _ => self.check(check_id).await,
        }
    }

    async fn note_progress(&self, progress: &Progress<'_>) -> Result<bool, StoreError> {
        self.transaction(async |connection| progress::note(connection, progress).await).await
    }

    async fn end_check(
        &self,
        check_id: &str,
        state: CheckState,
        error: Option<&str>,
        kept: i64,
    ) -> Result<(), StoreError> {
        self.transaction(async |connection| progress::end(connection, check_id, state, error, kept).await).await
    }

    async fn check(&self, check_id: &str) -> Result<Option<Check>, StoreError> {
        Ok(self.json_rows(&sql::CHECK, |bound| bound.text(check_id)).await?.pop())
    }

    async fn last_check(&self, ranges: &[Range], good: bool) -> Result<Option<Check>, StoreError> {
        let found = self.json_rows(&sql::LAST_CHECK, |bound| {
            bound.text(&list(&ranges));
            bound.number(i64::from(good));
        });
        Ok(found.await?.pop())
    }

    async fn findings(&self, query: &FindingQuery) -> Result<Vec<Finding>, StoreError> {
        self.json_rows(&sql::FINDINGS, |bound| {
            bound.maybe(query.state.map(FindingState::word));
            bound.maybe(query.work_order.as_deref());
            bound.maybe(query.check_id.as_deref());
            bound.maybe(query.before.as_ref().map(|(found_at, _)| found_at.to_string()).as_deref());
            bound.maybe(query.before.as_ref().map(|(_, id)| id.as_str()));
            bound.number(query.limit);
        })
        .await
    }

    async fn open_findings(&self) -> Result<i64, StoreError> {
        self.json_value(&sql::COUNT_OPEN_FINDINGS, |_| {}).await
    }

    async fn finding(&self, finding_id: &str) -> Result<Option<Finding>, StoreError> {
        Ok(self.json_rows(&sql::FINDING, |bound| bound.text(finding_id)).await?.pop())
    }

    async fn audit_entry(&self, request_id: &str) -> Result<Option<AuditEntry>, StoreError> {
        Ok(self.json_rows(&audit::ENTRY, |bound| bound.text(request_id)).await?.pop())
    }

    async fn audit_entries(&self, numbers: &[String], action: &str) -> Result<Vec<AuditEntry>, StoreError> {
        self.json_rows(&audit::ENTRIES, |bound| {
            bound.text(&list(&numbers));
            bound.text(action);
        })
        .await
    }

    /// No other writer runs between `begin immediate` and COMMIT: that is the row lock.
    async fn repair(
        &self,
        wanted: &RepairWanted<'_>,
        decide: &mut (dyn FnMut(Evidence) -> Option<RepairChanges> + Send),
    ) -> Result<(), StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let repaired = match repair::evidence(lent.get(), wanted).await {
                Err(failure) => Err(failure),
                Ok(evidence) => match decide(evidence) {
                    None => Ok(()),
                    Some(changes) => repair::write(lent.get(), &wanted.finding.finding_id, &changes).await,
                },
            };
            self.finish(lent, repaired).await
        })
        .await
    }
}
