//! The store of the monitor on PostgreSQL.
//!
//! It reads the primary, on connections of its own, in transactions no longer than a page of rows.

mod connection;
mod progress;
mod repair;
mod statements;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::PgConnection;

use self::connection::fetch;
use self::statements::{self as sql, counted};
use super::session::{LEND_LIMIT, bounded, execute, transaction_over};
use super::{PostgresStore, audit};
use crate::domain::audit::AuditEntry;
use crate::domain::consistency::{Check, CheckState, Finding, FindingState, Range};
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;
use crate::store::consistency::rows::{next_work_orders, only_work_order};
use crate::store::consistency::{
    AskedCheck, CheckLease, ClaimPlace, ClaimSlice, ConsistencyStore, Evidence, FindingQuery, LoggedRow,
    NextWorkOrders, Page, Progress, RefusedPlace, RepairChanges, RepairWanted, Scope, Tail,
};
use crate::store::{StoreError, rows};

#[async_trait]
impl ConsistencyStore for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let now: Vec<(DateTime<Utc>,)> = self.rows(sqlx::query_as(sql::NOW.as_str())).await?;
        let now = now.first().and_then(|(now,)| Timestamp::cut(*now));
        now.ok_or_else(|| StoreError::Refused("the server's clock can't be read".into()))
    }

    async fn next_work_orders(&self, scope: &Scope, after: &str, limit: i64) -> Result<NextWorkOrders, StoreError> {
        let query = match scope {
            Scope::All => sqlx::query_as(sql::NEXT_WORK_ORDERS.as_str()).bind(after.to_owned()).bind(limit),
            Scope::ChangedSince(since) => sqlx::query_as(sql::NEXT_CHANGED_WORK_ORDERS.as_str())
                .bind(after.to_owned())
                .bind(limit)
                .bind(since.to_utc()),
            Scope::One(number) => return Ok(only_work_order(number, after)),
        };
        Ok(next_work_orders(scope, self.rows(query).await?, limit))
    }

    async fn count_work_orders(&self, scope: &Scope) -> Result<i64, StoreError> {
        let query = match scope {
            Scope::All => sqlx::query_as(sql::COUNT_WORK_ORDERS.as_str()),
            Scope::ChangedSince(since) => sqlx::query_as(sql::COUNT_CHANGED_WORK_ORDERS.as_str()).bind(since.to_utc()),
            Scope::One(_) => return Ok(1),
        };
        self.number(query).await
    }

    async fn page(&self, numbers: &[String], limit: i64) -> Result<Option<Page>, StoreError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let page = self.snapshot(async |connection| {
            let log = sqlx::query_as(sql::PAGE_LOG.as_str()).bind(numbers.to_vec()).bind(limit + 1);
            let log = fetch(connection, log).await?;
            let claims = sqlx::query_as(sql::PAGE_CLAIMS.as_str()).bind(numbers.to_vec()).bind(limit + 1);
            let claims = fetch(connection, claims).await?;
            Ok(Page { work_orders: work_orders(connection, numbers).await?, log, claims })
        });
        Ok(Some(page.await?).filter(|page| page.log.len() <= most && page.claims.len() <= most))
    }

    async fn counted_after(&self, number: &str, seq: i64, limit: i64) -> Result<Vec<LoggedRow>, StoreError> {
        self.rows(counted(number, seq, limit)).await
    }

    async fn refused_after(
        &self,
        number: &str,
        after: Option<&RefusedPlace>,
        limit: i64,
    ) -> Result<Vec<LoggedRow>, StoreError> {
        let query = sqlx::query_as(sql::REFUSED.as_str())
            .bind(number.to_owned())
            .bind(after.map_or(i64::MIN, |place| place.at_seq))
            .bind(after.map_or("-infinity".to_owned(), |place| place.recorded_at.clone()))
            .bind(after.map(|place| place.request_id.clone()).unwrap_or_default())
            .bind(limit);
        self.rows(query).await
    }

    async fn claims_after(
        &self,
        number: &str,
        after: Option<&ClaimPlace>,
        limit: i64,
    ) -> Result<ClaimSlice, StoreError> {
        // Every counter sorts after the empty text.
        let start = ClaimPlace::default();
        let after = after.unwrap_or(&start);
        self.snapshot(async |connection| {
            let last_seq = sqlx::query_as(sql::LAST_SEQ.as_str()).bind(number.to_owned());
            let last_seq: Vec<(i64,)> = fetch(connection, last_seq).await?;
            let claims = sqlx::query_as(sql::CLAIMS.as_str())
                .bind(number.to_owned())
                .bind(after.counter.clone())
                .bind(after.step.clone())
                .bind(after.barcode.clone())
                .bind(after.ordinal)
                .bind(limit);
            let claims = fetch(connection, claims).await?;
            Ok(ClaimSlice { seq: last_seq.first().map_or(0, |(seq,)| *seq), claims })
        })
        .await
    }

    async fn count_claims(&self, number: &str, barcode: &ClaimPlace) -> Result<(i64, i64), StoreError> {
        let count = sqlx::query_as(sql::COUNT_CLAIMS.as_str())
            .bind(number.to_owned())
            .bind(barcode.counter.clone())
            .bind(barcode.step.clone())
            .bind(barcode.barcode.clone());
        Ok(self.rows(count).await?.pop().unwrap_or_default())
    }

    async fn tail(&self, number: &str, seq: i64, limit: i64) -> Result<Tail, StoreError> {
        self.snapshot(async |connection| {
            let work_order = work_orders(connection, &[number.to_owned()]).await?.pop();
            Ok(Tail { work_order, log: fetch(connection, counted(number, seq, limit)).await? })
        })
        .await
    }

    async fn take_check_lease(&self, lease: &CheckLease<'_>) -> Result<bool, StoreError> {
        let take = sqlx::query(sql::TAKE_LEASE.as_str()).bind(lease.holder).bind(lease.ttl.as_secs_f64());
        Ok(self.change(take).await? == 1)
    }

    async fn release_check_lease(&self, holder: &str) -> Result<(), StoreError> {
        self.change(sqlx::query(sql::RELEASE_LEASE.as_str()).bind(holder)).await.map(drop)
    }

    async fn ask_check(&self, check: &AskedCheck, most_waiting: i64) -> Result<bool, StoreError> {
        let ask = sqlx::query(sql::ASK_CHECK.as_str())
            .bind(&check.check_id)
            .bind(check.range.word())
            .bind(&check.work_order)
            .bind(check.since.map(Timestamp::to_utc))
            .bind(&check.requested_by)
            .bind(most_waiting);
        Ok(self.change(ask).await? == 1)
    }

    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError> {
        self.json_rows(sqlx::query_as(sql::UNFINISHED_CHECKS.as_str())).await
    }

    async fn begin_check(&self, check_id: &str, work_orders: i64) -> Result<Option<Check>, StoreError> {
        let begin = sqlx::query_as(sql::BEGIN_CHECK.as_str()).bind(check_id.to_owned()).bind(work_orders);
        Ok(self.json_rows(begin).await?.pop())
    }

    async fn note_progress(&self, progress: &Progress<'_>) -> Result<bool, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let noted = bounded(lent.suspicion(), progress::note(lent.get(), progress)).await;
        transaction_over(lent, noted).await
    }

    async fn end_check(
        &self,
        check_id: &str,
        state: CheckState,
        error: Option<&str>,
        kept: i64,
    ) -> Result<(), StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let ended = bounded(lent.suspicion(), progress::end(lent.get(), check_id, state, error, kept)).await;
        transaction_over(lent, ended).await
    }

    async fn check(&self, check_id: &str) -> Result<Option<Check>, StoreError> {
        Ok(self.json_rows(sqlx::query_as(sql::CHECK.as_str()).bind(check_id.to_owned())).await?.pop())
    }

    async fn last_check(&self, ranges: &[Range], good: bool) -> Result<Option<Check>, StoreError> {
        let ranges: Vec<String> = ranges.iter().map(|range| range.word().to_owned()).collect();
        let last = sqlx::query_as(sql::LAST_CHECK.as_str()).bind(ranges).bind(good);
        Ok(self.json_rows(last).await?.pop())
    }

    async fn findings(&self, query: &FindingQuery) -> Result<Vec<Finding>, StoreError> {
        let page = sqlx::query_as(sql::FINDINGS.as_str())
            .bind(query.state.map(FindingState::word))
            .bind(query.work_order.clone())
            .bind(query.check_id.clone())
            .bind(query.before.as_ref().map(|(found_at, _)| found_at.to_utc()))
            .bind(query.before.as_ref().map(|(_, id)| id.clone()))
            .bind(query.limit);
        self.json_rows(page).await
    }

    async fn open_findings(&self) -> Result<i64, StoreError> {
        self.number(sqlx::query_as(sql::COUNT_OPEN_FINDINGS.as_str())).await
    }

    async fn finding(&self, finding_id: &str) -> Result<Option<Finding>, StoreError> {
        Ok(self.json_rows(sqlx::query_as(sql::FINDING.as_str()).bind(finding_id.to_owned())).await?.pop())
    }

    async fn audit_entry(&self, request_id: &str) -> Result<Option<AuditEntry>, StoreError> {
        Ok(self.json_rows(audit::entry(request_id)).await?.pop())
    }

    async fn audit_entries(&self, numbers: &[String], action: &str) -> Result<Vec<AuditEntry>, StoreError> {
        self.json_rows(audit::entries(numbers, action)).await
    }

    async fn repair(
        &self,
        wanted: &RepairWanted<'_>,
        decide: &mut (dyn FnMut(Evidence) -> Option<RepairChanges> + Send),
    ) -> Result<(), StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let suspicion = lent.suspicion();
        let connection = lent.get();
        let repaired = bounded(suspicion, async {
            execute(connection, "begin").await?;
            match decide(repair::evidence(connection, wanted).await?) {
                None => execute(connection, "rollback").await,
                Some(changes) => {
                    repair::write(connection, &wanted.finding.finding_id, &changes).await?;
                    execute(connection, "commit").await
                }
            }
        })
        .await;
        transaction_over(lent, repaired).await
    }
}

async fn work_orders(connection: &mut PgConnection, numbers: &[String]) -> Result<Vec<WorkOrder>, StoreError> {
    let found: Vec<(String,)> =
        fetch(connection, sqlx::query_as(sql::WORK_ORDERS.as_str()).bind(numbers.to_vec())).await?;
    found.iter().map(|(row,)| rows::read(row)).collect()
}
