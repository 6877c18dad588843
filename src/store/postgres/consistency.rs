//! The monitor's part of the store on PostgreSQL.
//!
//! Reads go through connections of their own, in transactions that last no longer than a
//! page of rows, on the primary.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use sqlx::postgres::{PgArguments, PgRow};
use sqlx::query::{Query, QueryAs};
use sqlx::{FromRow, PgConnection, Postgres};

use super::super::consistency::{
    AskedCheck, ClaimPlace, ClaimSlice, ClaimedRow, ConsistencyStore, Evidence, FindingQuery, LoggedRow, Mending,
    Names, Page, Progress, RefusedPlace, RepairWanted, Scope, Tail,
};
use super::super::{StoreError, rows};
use super::PostgresStore;
use super::session::{LEND_LIMIT, bounded, execute, judge, run, statement_over, transaction_over};
use crate::domain::consistency::{AuditEntry, Check, CheckState, Finding, FindingState, Range};
use crate::domain::ids::Owner;
use crate::domain::time::Timestamp;
use crate::domain::work_order::WorkOrder;

/// One moment for all statements up to `commit`.
const SNAPSHOT: &str = "begin isolation level repeatable read read only";

type Select<T> = QueryAs<'static, Postgres, T, PgArguments>;

#[async_trait]
impl ConsistencyStore for PostgresStore {
    async fn now(&self) -> Result<Timestamp, StoreError> {
        let now: Vec<(DateTime<Utc>,)> = self.look(sqlx::query_as("select clock_timestamp()")).await?;
        let now = now.first().and_then(|(now,)| Timestamp::cut(*now));
        now.ok_or_else(|| StoreError::Refused("the server's clock can't be read".into()))
    }

    async fn next_names(&self, scope: &Scope, after: &str, limit: i64) -> Result<Names, StoreError> {
        let query = match scope {
            Scope::All => sqlx::query_as(include_str!("consistency/names.sql")).bind(after.to_owned()).bind(limit),
            Scope::ChangedSince(since) => sqlx::query_as(include_str!("consistency/names_changed.sql"))
                .bind(after.to_owned())
                .bind(limit)
                .bind(since.to_utc()),
            Scope::One(name) => return Ok(rows::only_name(name, after)),
        };
        let found: Vec<(String, String, i64)> = self.look(query).await?;
        Ok(rows::names(scope, found, limit))
    }

    async fn count_names(&self, scope: &Scope) -> Result<i64, StoreError> {
        let query = match scope {
            Scope::All => sqlx::query_as("select count(*) from work_orders"),
            Scope::ChangedSince(since) => {
                sqlx::query_as("select count(*) from work_orders w where w.updated_at >= $1").bind(since.to_utc())
            }
            Scope::One(_) => return Ok(1),
        };
        let count: Vec<(i64,)> = self.look(query).await?;
        Ok(count.first().map_or(0, |(count,)| *count))
    }

    async fn page(&self, names: &[String], limit: i64) -> Result<Option<Page>, StoreError> {
        let most = usize::try_from(limit).unwrap_or(usize::MAX);
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let connection = lent.get();
        let page = bounded(async {
            execute(connection, SNAPSHOT).await?;
            let log = sqlx::query_as(include_str!("consistency/page_log.sql")).bind(names.to_vec()).bind(limit + 1);
            let log = all(connection, log).await?;
            let claims = sqlx::query_as(include_str!("consistency/page_claims.sql"));
            let claims = all(connection, claims.bind(names.to_vec()).bind(limit + 1)).await?;
            let work_orders = work_orders(connection, names).await?;
            execute(connection, "commit").await?;
            Ok(Page { work_orders, log, claims })
        })
        .await;
        let page = transaction_over(lent, page).await?;
        Ok(Some(page).filter(|page| page.log.len() <= most && page.claims.len() <= most))
    }

    async fn counted_after(&self, name: &str, seq: i64, limit: i64) -> Result<Vec<LoggedRow>, StoreError> {
        self.look(counted(name, seq, limit)).await
    }

    async fn refused_after(
        &self,
        name: &str,
        after: Option<&RefusedPlace>,
        limit: i64,
    ) -> Result<Vec<LoggedRow>, StoreError> {
        let query = sqlx::query_as(include_str!("consistency/refused.sql"))
            .bind(name.to_owned())
            .bind(after.map_or(i64::MIN, |place| place.at_seq))
            .bind(after.map_or("-infinity".to_owned(), |place| place.recorded_at.clone()))
            .bind(after.map(|place| place.request_id.clone()).unwrap_or_default())
            .bind(limit);
        self.look(query).await
    }

    async fn claims_after(&self, name: &str, after: Option<&ClaimPlace>, limit: i64) -> Result<ClaimSlice, StoreError> {
        // Every counter sorts after the empty text.
        let start = ClaimPlace::default();
        let after = after.unwrap_or(&start);
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let connection = lent.get();
        let slice = bounded(async {
            execute(connection, SNAPSHOT).await?;
            let last: Vec<(i64,)> = all(
                connection,
                sqlx::query_as("select coalesce(max(l.seq), 0) from update_log l where l.work_order = $1")
                    .bind(name.to_owned()),
            )
            .await?;
            let claims = sqlx::query_as(include_str!("consistency/claims.sql"))
                .bind(name.to_owned())
                .bind(after.counter.clone())
                .bind(after.step.clone())
                .bind(after.barcode.clone())
                .bind(after.ordinal)
                .bind(limit);
            let claims = all(connection, claims).await?;
            execute(connection, "commit").await?;
            Ok(ClaimSlice { seq: last.first().map_or(0, |(seq,)| *seq), claims })
        })
        .await;
        transaction_over(lent, slice).await
    }

    async fn count_claims(&self, name: &str, part: &ClaimPlace) -> Result<(i64, i64), StoreError> {
        let count = sqlx::query_as(
            "select (select coalesce(max(l.seq), 0) from update_log l where l.work_order = $1),
                    (select count(*) from barcode_claims c
                     where c.work_order = $1 and c.counter = $2 and c.step = $3 and c.barcode = $4)",
        )
        .bind(name.to_owned())
        .bind(part.counter.clone())
        .bind(part.step.clone())
        .bind(part.barcode.clone());
        Ok(self.look(count).await?.pop().unwrap_or_default())
    }

    async fn tail(&self, name: &str, seq: i64, limit: i64) -> Result<Tail, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let connection = lent.get();
        let tail = bounded(async {
            execute(connection, SNAPSHOT).await?;
            let work_order = work_orders(connection, &[name.to_owned()]).await?.pop();
            let log = all(connection, counted(name, seq, limit)).await?;
            execute(connection, "commit").await?;
            Ok(Tail { work_order, log })
        })
        .await;
        transaction_over(lent, tail).await
    }

    async fn take_turn(&self, holder: &str, ttl: Duration) -> Result<bool, StoreError> {
        let take = sqlx::query(
            "update consistency_lease
             set holder = $1, expires_at = clock_timestamp() + make_interval(secs => $2)
             where lease = 1
               and (holder is null or holder = $1 or expires_at < clock_timestamp()
                    -- what no turn lasts was written by a clock that was set back since
                    or expires_at > clock_timestamp() + make_interval(secs => $2 + 60))",
        );
        Ok(self.change(take.bind(holder).bind(ttl.as_secs_f64())).await? == 1)
    }

    async fn end_turn(&self, holder: &str) -> Result<(), StoreError> {
        let end = sqlx::query("update consistency_lease set holder = null where lease = 1 and holder = $1");
        self.change(end.bind(holder)).await.map(drop)
    }

    async fn ask_check(&self, check: &AskedCheck, most_waiting: i64) -> Result<bool, StoreError> {
        let ask = sqlx::query(
            "insert into consistency_checks
                 (check_id, range, work_order, since, state, requested_by, requested_at)
             select $1, $2, $3, $4, 'waiting', $5, clock_timestamp()
             where (select count(*) from consistency_checks where state in ('waiting', 'running')) < $6",
        );
        let ask = ask
            .bind(&check.check_id)
            .bind(check.range.word())
            .bind(&check.work_order)
            .bind(check.since.map(Timestamp::to_utc))
            .bind(&check.requested_by)
            .bind(most_waiting);
        Ok(self.change(ask).await? == 1)
    }

    async fn unfinished_checks(&self) -> Result<Vec<Check>, StoreError> {
        self.read_rows(sqlx::query_as(
            "select row_to_json(c)::text from consistency_checks c
             where c.state in ('waiting', 'running') order by c.requested_at, c.check_id",
        ))
        .await
    }

    async fn begin_check(&self, check_id: &str, work_orders: i64) -> Result<Option<Check>, StoreError> {
        let begin = sqlx::query_as(
            "update consistency_checks c
             set state = 'running', started_at = coalesce(started_at, clock_timestamp()),
                 advanced_at = clock_timestamp(), work_orders_total = coalesce(work_orders_total, $2)
             where c.check_id = $1 and c.state in ('waiting', 'running')
             returning row_to_json(c)::text",
        );
        Ok(self.read_rows(begin.bind(check_id.to_owned()).bind(work_orders)).await?.pop())
    }

    async fn note_progress(&self, progress: &Progress<'_>) -> Result<bool, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let noted = bounded(note(lent.get(), progress)).await;
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
        let connection = lent.get();
        let ended = bounded(async {
            execute(connection, "begin").await?;
            let end = sqlx::query(
                "update consistency_checks set state = $2, error = $3, finished_at = clock_timestamp()
                 where check_id = $1 and state in ('waiting', 'running')",
            );
            run(connection, end.bind(check_id).bind(state.word()).bind(error)).await?;
            // Whoever has read everything knows that the rest is gone.
            let resolve = sqlx::query(
                "update consistency_findings f set state = 'resolved', resolved_at = clock_timestamp()
                 from consistency_checks c
                 where c.check_id = $1 and c.range = 'full' and c.state in ('good', 'drift')
                   and f.state <> 'resolved' and f.last_check_id <> $1 and f.seen_at < c.started_at",
            );
            run(connection, resolve.bind(check_id)).await?;
            run(connection, sqlx::query(include_str!("consistency/prune.sql")).bind(kept)).await?;
            execute(connection, "commit").await
        })
        .await;
        transaction_over(lent, ended).await
    }

    async fn check(&self, check_id: &str) -> Result<Option<Check>, StoreError> {
        let check = sqlx::query_as("select row_to_json(c)::text from consistency_checks c where c.check_id = $1");
        Ok(self.read_rows(check.bind(check_id.to_owned())).await?.pop())
    }

    async fn last_check(&self, ranges: &[Range], good: bool) -> Result<Option<Check>, StoreError> {
        let last = sqlx::query_as(
            "select row_to_json(c)::text from consistency_checks c
             where c.range = any ($1) and (not $2 or c.state = 'good')
               -- null is none, and neither is what a clock has dated that was set back since
               and c.started_at <= clock_timestamp() + interval '60 seconds'
             order by c.started_at desc, c.check_id desc limit 1",
        );
        let ranges: Vec<String> = ranges.iter().map(|range| range.word().to_owned()).collect();
        Ok(self.read_rows(last.bind(ranges).bind(good)).await?.pop())
    }

    async fn findings(&self, query: &FindingQuery) -> Result<Vec<Finding>, StoreError> {
        let page = sqlx::query_as(include_str!("consistency/findings.sql"))
            .bind(query.state.map(FindingState::word))
            .bind(query.work_order.clone())
            .bind(query.check_id.clone())
            .bind(query.before.as_ref().map(|(found_at, _)| found_at.to_utc()))
            .bind(query.before.as_ref().map(|(_, id)| id.clone()))
            .bind(query.limit);
        self.read_rows(page).await
    }

    async fn open_findings(&self) -> Result<i64, StoreError> {
        let count = sqlx::query_as("select count(*) from consistency_findings where state = 'open'");
        let count: Vec<(i64,)> = self.look(count).await?;
        Ok(count.first().map_or(0, |(count,)| *count))
    }

    async fn finding(&self, finding_id: &str) -> Result<Option<Finding>, StoreError> {
        let finding = sqlx::query_as("select row_to_json(f)::text from consistency_findings f where f.finding_id = $1");
        Ok(self.read_rows(finding.bind(finding_id.to_owned())).await?.pop())
    }

    async fn audit_entry(&self, request_id: &str) -> Result<Option<AuditEntry>, StoreError> {
        let entry = sqlx::query_as("select row_to_json(a)::text from audit_trail a where a.request_id = $1");
        Ok(self.read_rows(entry.bind(request_id.to_owned())).await?.pop())
    }

    async fn audit_entries(&self, names: &[String], action: &str) -> Result<Vec<AuditEntry>, StoreError> {
        let entries = sqlx::query_as(
            "select row_to_json(hit)::text from unnest($1::text[]) as wanted(work_order)
             cross join lateral (
                 select * from audit_trail a where a.work_order = wanted.work_order and a.action = $2
                 order by a.recorded_at
             ) hit",
        );
        self.read_rows(entries.bind(names.to_vec()).bind(action.to_owned())).await
    }

    async fn repair(
        &self,
        wanted: &RepairWanted<'_>,
        decide: &mut (dyn FnMut(Evidence) -> Option<Mending> + Send),
    ) -> Result<(), StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let connection = lent.get();
        let repaired = bounded(async {
            execute(connection, "begin").await?;
            match decide(evidence(connection, wanted).await?) {
                None => execute(connection, "rollback").await,
                Some(mending) => {
                    mend(connection, &wanted.finding.finding_id, &mending).await?;
                    execute(connection, "commit").await
                }
            }
        })
        .await;
        transaction_over(lent, repaired).await
    }
}

impl PostgresStore {
    async fn look<T: Send + Unpin + for<'r> FromRow<'r, PgRow>>(&self, query: Select<T>) -> Result<Vec<T>, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let found = bounded(all(lent.get(), query)).await;
        statement_over(lent, found)
    }

    async fn read_rows<T: serde::de::DeserializeOwned>(&self, query: Select<(String,)>) -> Result<Vec<T>, StoreError> {
        self.look(query).await?.iter().map(|(row,)| rows::read(row)).collect()
    }

    async fn change(&self, query: Query<'_, Postgres, PgArguments>) -> Result<u64, StoreError> {
        let mut lent = self.monitor.lend(LEND_LIMIT).await?;
        let changed = bounded(run(lent.get(), query)).await;
        statement_over(lent, changed).map(|done| done.rows_affected())
    }
}

async fn all<T: Send + Unpin + for<'r> FromRow<'r, PgRow>>(
    connection: &mut PgConnection,
    query: Select<T>,
) -> Result<Vec<T>, StoreError> {
    query.fetch_all(connection).await.map_err(judge)
}

async fn work_orders(connection: &mut PgConnection, names: &[String]) -> Result<Vec<WorkOrder>, StoreError> {
    let query = sqlx::query_as(
        "select row_to_json(hit)::text from unnest($1::text[]) as wanted(work_order)
         cross join lateral (select * from work_orders w where w.work_order = wanted.work_order limit 1) hit",
    );
    let found: Vec<(String,)> = all(connection, query.bind(names.to_vec())).await?;
    found.iter().map(|(row,)| rows::read(row)).collect()
}

fn counted(name: &str, seq: i64, limit: i64) -> Select<LoggedRow> {
    sqlx::query_as(include_str!("consistency/counted.sql")).bind(name.to_owned()).bind(seq).bind(limit)
}

async fn note(connection: &mut PgConnection, progress: &Progress<'_>) -> Result<bool, StoreError> {
    execute(connection, "begin").await?;
    let renew = sqlx::query(
        "update consistency_lease set expires_at = clock_timestamp() + make_interval(secs => $2)
         where lease = 1 and holder = $1",
    );
    let renewed = run(connection, renew.bind(progress.holder).bind(progress.ttl.as_secs_f64())).await?;
    if renewed.rows_affected() == 0 {
        execute(connection, "rollback").await?;
        return Ok(false);
    }
    if !progress.drifts.is_empty() {
        let open = sqlx::query(include_str!("consistency/open_findings.sql"))
            .bind(progress.check_id)
            .bind(rows::drifts(progress.drifts))
            .bind(progress.read_since.to_utc());
        run(connection, open).await?;
    }
    let resolve = sqlx::query(
        "update consistency_findings set state = 'resolved', resolved_at = clock_timestamp()
         where state <> 'resolved' and work_order = any ($2) and last_check_id <> $1 and seen_at < $3",
    );
    let names = progress.names.to_vec();
    run(connection, resolve.bind(progress.check_id).bind(names).bind(progress.read_since.to_utc())).await?;
    let advance = sqlx::query(
        "update consistency_checks
         set advanced_at = clock_timestamp(), read_up_to = coalesce($2, read_up_to),
             work_orders_read = work_orders_read + $3, rows_read = rows_read + $4, findings_seen = findings_seen + $5
         where check_id = $1",
    );
    let advance = advance
        .bind(progress.check_id)
        .bind(progress.read_up_to)
        .bind(rows::length(progress.names))
        .bind(progress.rows_read)
        .bind(rows::length(progress.drifts));
    run(connection, advance).await?;
    execute(connection, "commit").await?;
    Ok(true)
}

/// Locks the work order, then reads: what is read after the lock is what stands.
async fn evidence(connection: &mut PgConnection, wanted: &RepairWanted<'_>) -> Result<Evidence, StoreError> {
    let name = &wanted.finding.work_order;
    let lock = sqlx::query_as(include_str!("counting/lock.sql")).bind(vec![name.clone()]);
    let locked: Vec<(String, String)> = all(connection, lock).await?;
    let work_order = locked.first().map(|(_, row)| rows::read(row)).transpose()?;
    let state = sqlx::query_as("select state from consistency_findings where finding_id = $1 for update");
    let state: Vec<(String,)> = all(connection, state.bind(wanted.finding.finding_id.clone())).await?;
    let texts = |text: fn(&ClaimPlace) -> &String| wanted.parts.iter().map(text).cloned().collect::<Vec<_>>();
    let mut barcodes = texts(|part| &part.barcode);
    barcodes.sort_unstable();
    barcodes.dedup();
    let parts =
        sqlx::query_as(include_str!("consistency/parts.sql")).bind(name.clone()).bind(barcodes).bind(wanted.limit);
    let claims = sqlx::query_as::<_, ClaimedRow>(include_str!("consistency/parts_claims.sql"))
        .bind(name.clone())
        .bind(texts(|part| &part.counter))
        .bind(texts(|part| &part.step))
        .bind(texts(|part| &part.barcode))
        .bind(wanted.limit);
    Ok(Evidence {
        state: state.first().and_then(|(state,)| FindingState::of_word(state)),
        work_order,
        log: all(connection, counted(name, wanted.after_seq, wanted.limit)).await?,
        parts: all(connection, parts).await?,
        claims: all(connection, claims).await?,
    })
}

async fn mend(connection: &mut PgConnection, finding_id: &str, mending: &Mending) -> Result<(), StoreError> {
    if let Some(row) = &mending.row {
        let set = sqlx::query(include_str!("consistency/mend.sql"))
            .bind(row.work_order.as_str())
            .bind(row.status.word())
            .bind(row.input_quantity.get())
            .bind(row.output_quantity.get())
            .bind(row.scrap_quantity.get())
            .bind(row.seq.0)
            .bind(row.barcode_counted)
            .bind(row.stamp.0)
            .bind(row.updated_at.to_utc())
            .bind(row.fence.0)
            .bind(row.fence_owner.as_ref().map(Owner::as_str));
        run(connection, set).await?;
    }
    for (key, claim) in &mending.claims.delete {
        let delete = sqlx::query(
            "delete from barcode_claims
             where work_order = $1 and counter = $2 and step = $3 and barcode = $4 and ordinal = $5",
        );
        let delete = delete.bind(key.work_order.as_str()).bind(key.counter.word()).bind(&key.step);
        run(connection, delete.bind(&key.barcode).bind(claim.ordinal)).await?;
    }
    for (key, claim) in mending.claims.insert.iter().chain(&mending.claims.take_over) {
        let insert = sqlx::query(
            "insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
             values ($1, $2, $3, $4, $5, $6, $7)
             on conflict on constraint barcode_claims_pkey
             do update set request_id = excluded.request_id, quantity = excluded.quantity",
        );
        let insert = insert.bind(key.work_order.as_str()).bind(key.counter.word()).bind(&key.step).bind(&key.barcode);
        let insert = insert.bind(claim.ordinal).bind(claim.request_id.as_str()).bind(claim.quantity.get());
        run(connection, insert).await?;
    }
    let settle = sqlx::query(
        "update consistency_findings set state = 'repaired', repaired_at = clock_timestamp() where finding_id = $1",
    );
    run(connection, settle.bind(finding_id)).await?;
    let entry = &mending.entry;
    let record = sqlx::query(
        "insert into audit_trail (request_id, action, work_order, finding_id, recorded_at, recorded_by, operator,
             reason, payload, before, after)
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, $10::text::jsonb, $11::text::jsonb)",
    );
    let record = record
        .bind(&entry.request_id)
        .bind(&entry.action)
        .bind(&entry.work_order)
        .bind(&entry.finding_id)
        .bind(entry.recorded_at.to_utc())
        .bind(&entry.recorded_by)
        .bind(&entry.operator)
        .bind(&entry.reason)
        .bind(entry.payload.to_string())
        .bind(entry.before.to_string())
        .bind(entry.after.to_string());
    run(connection, record).await.map(drop)
}
