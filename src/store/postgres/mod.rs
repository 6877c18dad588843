//! The store on PostgreSQL 15 and later.
//!
//! The statements stand in the `.sql` files beside this one; here they are given their
//! values, and what the server says is turned into [`StoreError`].

mod alarms;
mod columns;
mod connect;
mod consistency;
mod write;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use sqlx::postgres::{PgArguments, PgQueryResult};
use sqlx::query::{Query, QueryAs};
use sqlx::{PgConnection, Postgres};
use tokio::time::timeout;

pub use connect::{StartError, migrate};
pub use write::WRITES;

use super::connections::{Connections, Lent};
use super::repeats::Repeats;
use super::rows;
use super::{
    BarcodeQuery, Batch, Edited, Facts, Readiness, Store, StoreError, UpdateQuery, Wanted, WorkOrderQuery, Written,
};
use crate::domain::decide::Claim;
use crate::domain::ids::{Quantity, RequestId, WorkOrderNumber};
use crate::domain::request::Counter;
use crate::domain::update::Update;
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Precondition, WorkOrder};

/// For a guarded write, for the load of the next batch meanwhile, and for the committer's
/// other way, by row locks.
const COUNTING_CONNECTIONS: usize = 3;
/// For reads and for planning's changes; more would only queue inside the database.
const OTHER_CONNECTIONS: usize = 8;
/// One to read for a check, one to note or repair meanwhile.
const MONITOR_CONNECTIONS: usize = 2;
/// How long an operation waits for a connection, free or newly opened.
const LEND_LIMIT: Duration = Duration::from_secs(3);
/// The longest that one operation may take, above the limits that the server keeps
/// itself, so that a server that no longer answers is noticed too. The connection is
/// closed then, which does not cancel a COMMIT on its way.
const OPERATION_LIMIT: Duration = Duration::from_secs(6);
/// How often an edit that raced another creation of the same work order tries again.
const EDIT_ATTEMPTS: usize = 3;

/// The store on PostgreSQL.
pub struct PostgresStore {
    counting: Connections<PgConnection>,
    others: Connections<PgConnection>,
    monitor: Connections<PgConnection>,
    repeats: Repeats,
}

impl PostgresStore {
    /// Connects, and refuses a server that can't keep the promises.
    ///
    /// # Errors
    /// See [`StartError`].
    pub async fn open(url: &str) -> Result<Self, StartError> {
        let options = connect::options(url)?;
        let store = Self {
            counting: connect::connections(&options, COUNTING_CONNECTIONS, connect::Plans::Generic),
            others: connect::connections(&options, OTHER_CONNECTIONS, connect::Plans::Custom),
            monitor: connect::connections(&options, MONITOR_CONNECTIONS, connect::Plans::Generic),
            repeats: Repeats::default(),
        };
        connect::verify(&options).await?;
        Ok(store)
    }
}

#[async_trait]
impl Store for PostgresStore {
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError> {
        let mut lent = self.counting.lend(LEND_LIMIT).await?;
        let facts = bounded(load(lent.get(), wanted)).await;
        statement_over(lent, facts)
    }

    async fn write(&self, batch: &Batch) -> Result<Written, StoreError> {
        self.repeats
            .write(batch, |looks| async move {
                let mut lent = self.counting.lend(LEND_LIMIT).await?;
                let written = bounded(write::write(lent.get(), batch, looks)).await;
                statement_over(lent, written)
            })
            .await
    }

    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        let mut lent = self.counting.lend(LEND_LIMIT).await?;
        let connection = lent.get();
        let written = bounded(async {
            execute(connection, "begin").await?;
            let mut facts = lock(connection, &wanted.work_orders).await?;
            let rest = Wanted { work_orders: Vec::new(), ..wanted.clone() };
            let loaded = load(connection, &rest).await?;
            facts.updates = loaded.updates;
            facts.claims = loaded.claims;
            let written = write::write(connection, &decide(facts), false).await?;
            execute(connection, "commit").await?;
            Ok(written)
        })
        .await;
        transaction_over(lent, written).await
    }

    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut lent = self.others.lend(LEND_LIMIT).await?;
            let edited = bounded(apply(lent.get(), number, edit, precondition, fresh)).await;
            match transaction_over(lent, edited).await {
                // Two creations at once: the loser finds the row of the other one now.
                Err(StoreError::Taken(_)) if attempt < EDIT_ATTEMPTS => attempt += 1,
                edited => return edited,
            }
        }
    }

    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError> {
        let query = sqlx::query_as("select row_to_json(w)::text from work_orders w where w.work_order = $1");
        Ok(self.read(query.bind(number.as_str().to_owned())).await?.pop())
    }

    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError> {
        let page = sqlx::query_as(include_str!("work_orders.sql"))
            .bind(query.after.as_ref().map(|after| after.as_str().to_owned()))
            .bind(query.status.map(|status| status.word()))
            .bind(query.line.clone())
            .bind(query.q.clone())
            .bind(query.limit);
        self.read(page).await
    }

    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError> {
        let columns::CursorBounds { at_most, below, recorded_at, request_id } =
            columns::CursorBounds::of(query.before.as_ref());
        let page = sqlx::query_as(include_str!("updates.sql"))
            .bind(query.work_order.as_str().to_owned())
            .bind(at_most)
            .bind(below)
            .bind(recorded_at)
            .bind(query.counter.map(Counter::word))
            .bind(query.outcome.map(|outcome| outcome.word()))
            .bind(query.barcode.clone())
            .bind(query.from.map(|from| from.to_utc()))
            .bind(query.to.map(|to| to.to_utc()))
            .bind(query.limit)
            .bind(request_id);
        self.read(page).await
    }

    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError> {
        let before = query.before.as_ref();
        let page = sqlx::query_as(
            "select row_to_json(l)::text from update_log l
             where l.barcode_canonical = $1
               and ($2::timestamptz is null or (l.recorded_at, l.request_id) < ($2, $3))
             order by l.recorded_at desc, l.request_id desc
             limit $4",
        )
        .bind(query.barcode.clone())
        .bind(before.map(|(recorded_at, _)| recorded_at.to_utc()))
        .bind(before.map(|(_, id)| id.as_str().to_owned()))
        .bind(query.limit);
        self.read(page).await
    }

    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        let found = sqlx::query_as(
            "select row_to_json(hit)::text from unnest($1::text[]) as wanted(request_id)
             cross join lateral (select * from update_log l where l.request_id = wanted.request_id limit 1) hit",
        )
        .bind(ids.iter().map(|id| id.as_str().to_owned()).collect::<Vec<_>>());
        self.read(found).await
    }

    async fn ready(&self) -> Result<Readiness, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let readiness = bounded(connect::readiness(lent.get())).await;
        statement_over(lent, readiness)
    }

    fn epoch(&self) -> u64 {
        self.counting.opened()
    }

    async fn close(&self) {
        self.counting.close().await;
        self.others.close().await;
        self.monitor.close().await;
    }
}

impl PostgresStore {
    async fn read<T: serde::de::DeserializeOwned>(
        &self,
        query: QueryAs<'static, Postgres, (String,), PgArguments>,
    ) -> Result<Vec<T>, StoreError> {
        let mut lent = self.others.lend(LEND_LIMIT).await?;
        let found = bounded(async { query.fetch_all(lent.get()).await.map_err(judge) }).await;
        let found = statement_over(lent, found)?;
        found.iter().map(|(row,)| rows::read(row)).collect()
    }
}

async fn load(connection: &mut PgConnection, wanted: &Wanted) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let keys = || wanted.claims.iter().map(|(key, _)| key);
    let load = sqlx::query_as(include_str!("load.sql"))
        .bind(texts(wanted.work_orders.iter().map(WorkOrderNumber::as_str)))
        .bind(texts(wanted.request_ids.iter().map(RequestId::as_str)))
        .bind(texts(keys().map(|key| key.work_order.as_str())))
        .bind(texts(keys().map(|key| key.counter.word())))
        .bind(texts(keys().map(|key| key.step.as_str())))
        .bind(texts(keys().map(|key| key.barcode.as_str())))
        .bind(wanted.claims.iter().map(|&(_, depth)| depth).collect::<Vec<_>>());
    for (kind, row) in fetch(connection, load).await? {
        match kind.as_str() {
            "work_order" => note_work_order(&mut facts, &row)?,
            "update" => {
                let update: Update = rows::read(&row)?;
                facts.updates.insert(update.request_id.clone(), Arc::new(update));
            }
            _ => {
                let rows::ClaimRow { key, claim } = rows::read(&row)?;
                // They come newest first.
                facts.claims.entry(key).or_insert_with(Vec::<Claim>::new).insert(0, claim);
            }
        }
    }
    Ok(facts)
}

async fn lock(connection: &mut PgConnection, numbers: &[WorkOrderNumber]) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let lock = sqlx::query_as(include_str!("lock.sql")).bind(texts(numbers.iter().map(WorkOrderNumber::as_str)));
    for (_, row) in fetch(connection, lock).await? {
        note_work_order(&mut facts, &row)?;
    }
    Ok(facts)
}

fn note_work_order(facts: &mut Facts, row: &str) -> Result<(), StoreError> {
    let row: WorkOrder = rows::read(row)?;
    facts.work_orders.insert(row.work_order.clone(), row);
    Ok(())
}

async fn apply(
    connection: &mut PgConnection,
    number: &WorkOrderNumber,
    edit: &Edit,
    precondition: &Precondition,
    fresh: Fresh,
) -> Result<Result<Edited, EditRefusal>, StoreError> {
    execute(connection, "begin").await?;
    let mut facts = lock(connection, std::slice::from_ref(number)).await?;
    let present = facts.work_orders.remove(number);
    let row = match edit.apply(number, present.as_ref(), precondition, fresh) {
        Ok(row) => row,
        Err(refusal) => {
            execute(connection, "rollback").await?;
            return Ok(Err(refusal));
        }
    };
    let created = present.is_none();
    let write = if created { include_str!("create.sql") } else { include_str!("replace.sql") };
    let plan = &row.plan;
    let write = sqlx::query(write)
        .bind(row.work_order.as_str())
        .bind(plan.planned_quantity.get())
        .bind(plan.over_plan_allowance.map(Quantity::get))
        .bind(rows::word(&plan.barcode_policy))
        .bind(plan.product_code.as_deref())
        .bind(plan.product_name.as_deref())
        .bind(plan.line.as_deref())
        .bind(row.hold.as_ref().map(rows::word))
        .bind(row.hold_reason.as_deref())
        .bind(row.status.word())
        .bind(row.stamp.0)
        .bind(row.revision.0)
        .bind(row.updated_at.to_utc());
    run(connection, write).await?;
    execute(connection, "commit").await?;
    Ok(Ok(Edited { row, created }))
}

fn texts<'a>(texts: impl Iterator<Item = &'a str>) -> Vec<&'a str> {
    texts.collect()
}

async fn fetch(
    connection: &mut PgConnection,
    query: QueryAs<'_, Postgres, (String, String), PgArguments>,
) -> Result<Vec<(String, String)>, StoreError> {
    query.fetch_all(connection).await.map_err(judge)
}

async fn run(
    connection: &mut PgConnection,
    query: Query<'_, Postgres, PgArguments>,
) -> Result<PgQueryResult, StoreError> {
    query.execute(connection).await.map_err(judge)
}

async fn execute(connection: &mut PgConnection, statement: &'static str) -> Result<(), StoreError> {
    run(connection, sqlx::query(statement)).await.map(|_| ())
}

/// Ends the wait for an operation at [`OPERATION_LIMIT`]. What was under way is unknown
/// then, and its connection must not be used again.
async fn bounded<T>(operation: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    match timeout(OPERATION_LIMIT, operation).await {
        Ok(done) => done,
        Err(elapsed) => Err(StoreError::Broken(elapsed.into())),
    }
}

/// After a single statement: the connection is good again unless it broke.
fn statement_over<T>(lent: Lent<'_, PgConnection>, result: Result<T, StoreError>) -> Result<T, StoreError> {
    match &result {
        Ok(_)
        | Err(StoreError::TryAgain(_) | StoreError::Taken(_) | StoreError::BehindLog(_) | StoreError::Refused(_)) => {
            lent.give_back();
        }
        Err(StoreError::Broken(_)) => drop(lent),
    }
    result
}

/// After a transaction: an error leaves it open, so it is rolled back first.
async fn transaction_over<T>(mut lent: Lent<'_, PgConnection>, result: Result<T, StoreError>) -> Result<T, StoreError> {
    if let Err(error) = &result
        && !error.outcome_unknown()
        && bounded(execute(lent.get(), "rollback")).await.is_err()
    {
        return result;
    }
    statement_over(lent, result)
}

/// What the server's word means for a batch.
fn judge(error: sqlx::Error) -> StoreError {
    let code = match &error {
        sqlx::Error::Database(refusal) => refusal.code().map(|code| code.into_owned()).unwrap_or_default(),
        _ => return StoreError::Broken(error.into()),
    };
    let constraint = error.as_database_error().and_then(|refusal| refusal.constraint());
    match (code.as_str(), constraint) {
        ("23505", Some("update_log_work_order_seq_key")) => StoreError::BehindLog(error.into()),
        (
            "23505",
            Some(
                "update_log_pkey"
                | "barcode_claims_pkey"
                | "work_orders_pkey"
                | "consistency_checks_pkey"
                | "audit_trail_pkey",
            ),
        ) => StoreError::Taken(error.into()),
        // serialization failure, deadlock, lock not available, statement timeout
        ("40001" | "40P01" | "55P03" | "57014", _) => StoreError::TryAgain(error.into()),
        // a work order that did not pass a write of all or nothing: see `recorded_all.sql`
        ("22P02", _) => StoreError::Taken(error.into()),
        // claims that are not as they were loaded: see `unbound.sql`
        ("22012", _) => StoreError::TryAgain(error.into()),
        // a standby: the connection must be made anew, to wherever the primary is now
        ("25006", _) => StoreError::Broken(error.into()),
        (code, _) => match &code[..2.min(code.len())] {
            // data exception, integrity constraint violation, program limit exceeded
            "22" | "23" | "54" => StoreError::Refused(error.into()),
            // insufficient resources, object not in the state needed, syntax or access
            // (not migrated, rights missing): a matter of the whole database, not of a request
            "53" | "55" | "42" => StoreError::TryAgain(error.into()),
            // connection, transaction state, shutdown, crash, whatever else
            _ => StoreError::Broken(error.into()),
        },
    }
}
