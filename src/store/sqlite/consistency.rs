//! The monitor's part of the embedded store.
//!
//! It reads by a connection of its own, in snapshots no longer than a page of rows: a
//! reader that lingers keeps the write-ahead log from starting over. What it writes goes
//! through the one writer, seldom and in small transactions.

use std::time::Duration;

use async_trait::async_trait;
use serde::de::DeserializeOwned;
use sqlx::FromRow;
use sqlx::sqlite::{SqliteConnection, SqliteRow};

use super::super::consistency::{
    AskedCheck, ClaimPlace, ClaimSlice, ConsistencyStore, Evidence, FindingQuery, LoggedRow, Mending, Names, Page,
    Progress, RefusedPlace, RepairWanted, Scope, Tail,
};
use super::super::{StoreError, rows};
use super::SqliteStore;
use super::consistency_statements as sql;
use super::planning::WORK_ORDER;
use super::session::arguments::{Arguments, fetch, list, run};
use super::session::{Failure, LEND_LIMIT, errors, limited};
use crate::domain::consistency::{AuditEntry, Check, CheckState, Finding, FindingState, Range};
use crate::domain::ids::Owner;
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;

#[async_trait]
impl ConsistencyStore for SqliteStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        self.look_one(sql::NOW, |_| {}).await
    }

    async fn next_names(&self, scope: &Scope, after: &str, limit: i64) -> Result<Names, StoreError> {
        let mut bound = Arguments::default();
        bound.text(after);
        bound.number(limit);
        let statement = match scope {
            Scope::All => sql::NAMES,
            Scope::ChangedSince(since) => {
                bound.text(&since.to_string());
                sql::NAMES_CHANGED
            }
            Scope::One(name) => return Ok(rows::only_name(name, after)),
        };
        let found = self.snapshot(async |connection| all(connection, statement, bound).await).await?;
        Ok(rows::names(scope, found, limit))
    }

    async fn count_names(&self, scope: &Scope) -> Result<i64, StoreError> {
        match scope {
            Scope::All => self.look_one(sql::COUNT_ALL, |_| {}).await,
            Scope::ChangedSince(since) => {
                self.look_one(sql::COUNT_CHANGED, |bound| bound.text(&since.to_string())).await
            }
            Scope::One(_) => Ok(1),
        }
    }

    async fn page(&self, names: &[String], limit: i64) -> Result<Option<Page>, StoreError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let names_list = list(&names);
        let of_names = || {
            let mut bound = Arguments::default();
            bound.text(&names_list);
            bound.number(limit + 1);
            bound
        };
        let page = self.snapshot(async |connection| {
            let log = all(connection, sql::PAGE_LOG, of_names()).await?;
            let claims = all(connection, sql::PAGE_CLAIMS, of_names()).await?;
            let mut work_orders = Vec::with_capacity(names.len());
            for name in names {
                work_orders.extend(work_order(connection, name).await?);
            }
            Ok(Page { work_orders, log, claims })
        });
        Ok(Some(page.await?).filter(|page| page.log.len() <= most && page.claims.len() <= most))
    }

    async fn counted_after(&self, name: &str, seq: i64, limit: i64) -> Result<Vec<LoggedRow>, StoreError> {
        self.snapshot(async |connection| counted(connection, name, seq, limit).await).await
    }

    async fn refused_after(
        &self,
        name: &str,
        after: Option<&RefusedPlace>,
        limit: i64,
    ) -> Result<Vec<LoggedRow>, StoreError> {
        self.snapshot(async |connection| {
            let mut bound = Arguments::default();
            bound.text(name);
            bound.number(after.map_or(i64::MIN, |place| place.at_seq));
            bound.text(after.map_or("", |place| &place.recorded_at));
            bound.text(after.map_or("", |place| &place.request_id));
            bound.number(limit);
            all(connection, sql::REFUSED, bound).await
        })
        .await
    }

    async fn claims_after(&self, name: &str, after: Option<&ClaimPlace>, limit: i64) -> Result<ClaimSlice, StoreError> {
        self.snapshot(async |connection| {
            let mut bound = Arguments::default();
            bound.text(name);
            let last = fetch(connection, sql::LAST_SEQ, bound).await?;
            let seq = last.first().map(|seq| rows::read(seq)).transpose()?.unwrap_or(0);
            let mut bound = Arguments::default();
            bound.text(name);
            bound.text(after.map_or("", |place| &place.counter));
            bound.text(after.map_or("", |place| &place.step));
            bound.text(after.map_or("", |place| &place.barcode));
            bound.number(after.map_or(i64::MIN, |place| place.ordinal));
            bound.number(limit);
            Ok(ClaimSlice { seq, claims: all(connection, sql::CLAIMS, bound).await? })
        })
        .await
    }

    async fn count_claims(&self, name: &str, part: &ClaimPlace) -> Result<(i64, i64), StoreError> {
        let mut bound = Arguments::default();
        bound.text(name);
        bound.text(&part.counter);
        bound.text(&part.step);
        bound.text(&part.barcode);
        let found: Vec<(i64, i64)> =
            self.snapshot(async |connection| all(connection, sql::COUNT_CLAIMS, bound).await).await?;
        Ok(found.first().copied().unwrap_or_default())
    }

    async fn tail(&self, name: &str, seq: i64, limit: i64) -> Result<Tail, StoreError> {
        self.snapshot(async |connection| {
            let work_order = work_order(connection, name).await?;
            Ok(Tail { work_order, log: counted(connection, name, seq, limit).await? })
        })
        .await
    }

    async fn take_turn(&self, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let mut bound = Arguments::default();
        bound.text(holder);
        bound.text(&seconds(ttl));
        Ok(self.change(sql::TAKE_TURN, bound).await? == 1)
    }

    async fn end_turn(&self, holder: &str) -> Result<(), StoreError> {
        let mut bound = Arguments::default();
        bound.text(holder);
        self.change(sql::END_TURN, bound).await.map(drop)
    }

    async fn ask_check(&self, check: &AskedCheck, most_waiting: i64) -> Result<bool, StoreError> {
        let mut bound = Arguments::default();
        bound.text(&check.check_id);
        bound.text(check.range.word());
        bound.maybe(check.work_order.as_deref());
        bound.maybe(check.since.map(|since| since.to_string()).as_deref());
        bound.text(&check.requested_by);
        bound.number(most_waiting);
        Ok(self.change(sql::ASK_CHECK, bound).await? == 1)
    }

    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError> {
        self.look(sql::UNFINISHED, |_| {}).await
    }

    async fn begin_check(&self, check_id: &str, work_orders: i64) -> Result<Option<Check>, StoreError> {
        let mut bound = Arguments::default();
        bound.text(check_id);
        bound.number(work_orders);
        match self.change(sql::BEGIN_CHECK, bound).await? {
            0 => Ok(None),
            _ => self.check(check_id).await,
        }
    }

    async fn note_progress(&self, progress: &Progress<'_>) -> Result<bool, StoreError> {
        self.transaction(async |connection| note(connection, progress).await).await
    }

    async fn end_check(
        &self,
        check_id: &str,
        state: CheckState,
        error: Option<&str>,
        kept: i64,
    ) -> Result<(), StoreError> {
        self.transaction(async |connection| {
            let mut bound = Arguments::default();
            bound.text(check_id);
            bound.text(state.word());
            bound.maybe(error);
            change(connection, sql::END_CHECK, bound).await?;
            let mut bound = Arguments::default();
            bound.text(check_id);
            // Whoever has read everything knows that the rest is gone.
            change(connection, sql::RESOLVE_REST, bound).await?;
            for statement in [sql::PRUNE_CHECKS, sql::PRUNE_FINDINGS] {
                let mut bound = Arguments::default();
                bound.number(kept);
                change(connection, statement, bound).await?;
            }
            Ok(())
        })
        .await
    }

    async fn check(&self, check_id: &str) -> Result<Option<Check>, StoreError> {
        Ok(self.look(sql::CHECK, |bound| bound.text(check_id)).await?.pop())
    }

    async fn last_check(&self, ranges: &[Range], good: bool) -> Result<Option<Check>, StoreError> {
        let found = self.look(sql::LAST_CHECK, |bound| {
            bound.text(&list(&ranges));
            bound.number(i64::from(good));
        });
        Ok(found.await?.pop())
    }

    async fn findings(&self, query: &FindingQuery) -> Result<Vec<Finding>, StoreError> {
        self.look(sql::FINDINGS, |bound| {
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
        self.look_one(sql::OPEN_COUNT, |_| {}).await
    }

    async fn finding(&self, finding_id: &str) -> Result<Option<Finding>, StoreError> {
        Ok(self.look(sql::FINDING, |bound| bound.text(finding_id)).await?.pop())
    }

    async fn audit_entry(&self, request_id: &str) -> Result<Option<AuditEntry>, StoreError> {
        Ok(self.look(sql::AUDIT_ENTRY, |bound| bound.text(request_id)).await?.pop())
    }

    async fn audit_entries(&self, names: &[String], action: &str) -> Result<Vec<AuditEntry>, StoreError> {
        self.look(sql::AUDIT_ENTRIES, |bound| {
            bound.text(&list(&names));
            bound.text(action);
        })
        .await
    }

    /// The writer is alone between `begin immediate` and COMMIT: that is the row lock.
    async fn repair(
        &self,
        wanted: &RepairWanted<'_>,
        decide: &mut (dyn FnMut(Evidence) -> Option<Mending> + Send),
    ) -> Result<(), StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let mended = match evidence(lent.get(), wanted).await {
                Err(failure) => Err(failure),
                Ok(evidence) => match decide(evidence) {
                    None => Ok(()),
                    Some(mending) => mend(lent.get(), &wanted.finding.finding_id, &mending).await,
                },
            };
            self.finish(lent, mended).await
        })
        .await
    }
}

impl SqliteStore {
    /// Reads by the monitor's connection, all at one moment.
    async fn snapshot<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        limited(async {
            let mut lent = self.monitor.lend(LEND_LIMIT).await?;
            let connection = lent.get();
            let read = async {
                run(connection, sql::SNAPSHOT).await?;
                let found = work(connection).await?;
                run(connection, "commit").await?;
                Ok(found)
            };
            match read.await {
                Ok(found) => {
                    lent.give_back();
                    Ok(found)
                }
                // Its snapshot ends with the connection.
                Err(Failure::Sql(error)) => Err(errors::before_commit(error)),
                Err(Failure::Ours(error)) => Err(error),
            }
        })
        .await
    }

    async fn transaction<T>(
        &self,
        work: impl AsyncFnOnce(&mut SqliteConnection) -> Result<T, Failure>,
    ) -> Result<T, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let done = work(lent.get()).await;
            self.finish(lent, done).await
        })
        .await
    }

    async fn change(&self, statement: &'static str, bound: Arguments) -> Result<u64, StoreError> {
        self.transaction(async |connection| Ok(change(connection, statement, bound).await?)).await
    }

    async fn look<T: DeserializeOwned>(
        &self,
        statement: &'static str,
        arguments: impl FnOnce(&mut Arguments),
    ) -> Result<Vec<T>, StoreError> {
        let mut bound = Arguments::default();
        arguments(&mut bound);
        let texts = self.snapshot(async |connection| Ok(fetch(connection, statement, bound).await?)).await?;
        texts.iter().map(|text| rows::read(text)).collect()
    }

    async fn look_one<T: DeserializeOwned>(
        &self,
        statement: &'static str,
        arguments: impl FnOnce(&mut Arguments),
    ) -> Result<T, StoreError> {
        let found = self.look(statement, arguments).await?.pop();
        found.ok_or_else(|| StoreError::Refused("a statement gave no row".into()))
    }
}

/// A time from now on, as SQLite adds it.
fn seconds(time: Duration) -> String {
    format!("+{:.3} seconds", time.as_secs_f64())
}

async fn all<T: Send + Unpin + for<'r> FromRow<'r, SqliteRow>>(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<Vec<T>, Failure> {
    Ok(bound.query_as(statement).fetch_all(connection).await?)
}

async fn change(
    connection: &mut SqliteConnection,
    statement: &'static str,
    bound: Arguments,
) -> Result<u64, sqlx::Error> {
    Ok(bound.query(statement).execute(connection).await?.rows_affected())
}

async fn work_order(connection: &mut SqliteConnection, name: &str) -> Result<Option<WorkOrder>, Failure> {
    let mut bound = Arguments::default();
    bound.text(name);
    let found = fetch(connection, &WORK_ORDER, bound).await?;
    Ok(found.first().map(|row| rows::read(row)).transpose()?)
}

async fn counted(
    connection: &mut SqliteConnection,
    name: &str,
    seq: i64,
    limit: i64,
) -> Result<Vec<LoggedRow>, Failure> {
    let mut bound = Arguments::default();
    bound.text(name);
    bound.number(seq);
    bound.number(limit);
    all(connection, sql::COUNTED, bound).await
}

async fn note(connection: &mut SqliteConnection, progress: &Progress<'_>) -> Result<bool, Failure> {
    let mut bound = Arguments::default();
    bound.text(progress.holder);
    bound.text(&seconds(progress.ttl));
    if change(connection, sql::RENEW_TURN, bound).await? == 0 {
        return Ok(false);
    }
    if !progress.drifts.is_empty() {
        let mut bound = Arguments::default();
        bound.text(progress.check_id);
        bound.text(&rows::drifts(progress.drifts));
        bound.text(&progress.read_since.to_string());
        change(connection, sql::OPEN_FINDINGS, bound).await?;
    }
    let mut bound = Arguments::default();
    bound.text(progress.check_id);
    bound.text(&list(&progress.names));
    bound.text(&progress.read_since.to_string());
    change(connection, sql::RESOLVE, bound).await?;
    let mut bound = Arguments::default();
    bound.text(progress.check_id);
    bound.maybe(progress.read_up_to);
    bound.number(rows::length(progress.names));
    bound.number(progress.rows_read);
    bound.number(rows::length(progress.drifts));
    change(connection, sql::ADVANCE, bound).await?;
    Ok(true)
}

async fn evidence(connection: &mut SqliteConnection, wanted: &RepairWanted<'_>) -> Result<Evidence, Failure> {
    let name = &wanted.finding.work_order;
    let mut bound = Arguments::default();
    bound.text(&wanted.finding.finding_id);
    let finding = fetch(connection, sql::FINDING, bound).await?;
    let finding: Option<Finding> = finding.first().map(|row| rows::read(row)).transpose()?;
    let of_parts = || {
        let mut bound = Arguments::default();
        bound.text(name);
        bound.text(&list(&wanted.parts));
        bound.number(wanted.limit);
        bound
    };
    Ok(Evidence {
        state: finding.map(|finding| finding.state),
        work_order: work_order(connection, name).await?,
        log: counted(connection, name, wanted.after_seq, wanted.limit).await?,
        parts: all(connection, sql::PARTS, of_parts()).await?,
        claims: all(connection, sql::PARTS_CLAIMS, of_parts()).await?,
    })
}

async fn mend(connection: &mut SqliteConnection, finding_id: &str, mending: &Mending) -> Result<(), Failure> {
    if let Some(row) = &mending.row {
        let mut bound = Arguments::default();
        bound.text(row.work_order.as_str());
        bound.text(row.status.word());
        bound.number(row.input_quantity.get());
        bound.number(row.output_quantity.get());
        bound.number(row.scrap_quantity.get());
        bound.number(row.seq.0);
        bound.number(i64::from(row.barcode_counted));
        bound.number(row.stamp.0);
        bound.text(&row.updated_at.to_string());
        bound.number(row.fence.0);
        bound.maybe(row.fence_owner.as_ref().map(Owner::as_str));
        change(connection, sql::MEND, bound).await?;
    }
    for (key, claim) in &mending.claims.delete {
        let mut bound = Arguments::default();
        bound.text(key.work_order.as_str());
        bound.text(key.counter.word());
        bound.text(&key.step);
        bound.text(&key.barcode);
        bound.number(claim.ordinal);
        change(connection, sql::DELETE_CLAIM, bound).await?;
    }
    for claim in mending.claims.insert.iter().chain(&mending.claims.take_over) {
        let mut bound = Arguments::default();
        for column in crate::store::counting::CLAIM {
            bound.value(column.kind, (column.value)(claim));
        }
        change(connection, sql::SET_CLAIM, bound).await?;
    }
    let mut bound = Arguments::default();
    bound.text(finding_id);
    change(connection, sql::MARK_REPAIRED, bound).await?;
    let entry = &mending.entry;
    let mut bound = Arguments::default();
    bound.text(&entry.request_id);
    bound.text(&entry.action);
    bound.maybe(entry.work_order.as_deref());
    bound.maybe(entry.finding_id.as_deref());
    bound.text(&entry.recorded_at.to_string());
    bound.text(&entry.recorded_by);
    bound.maybe(entry.operator.as_deref());
    bound.text(&entry.reason);
    bound.text(&entry.payload.to_string());
    bound.text(&entry.before.to_string());
    bound.text(&entry.after.to_string());
    change(connection, sql::RECORD_REPAIR, bound).await?;
    Ok(())
}
