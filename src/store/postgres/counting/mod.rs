//! Counting on PostgreSQL: the look-ups of a batch, and its write.

mod lists;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;

pub use write::writes;

use super::PostgresStore;
use super::session::{LEND_LIMIT, bounded, execute, fetch, run, statement_over, transaction_over};
use crate::domain::decide::{ClaimKey, Facts, NamedUpdate};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;
use crate::store::counting::claims_by_key;
use crate::store::{Batch, CountingStore, StoreError, Wanted, Written, rows};

/// For a batch that names no earlier update.
const LOAD: &str = include_str!("load.sql");
/// Also with what undos and overrides name.
const LOAD_NAMED: &str = concat!(include_str!("load.sql"), include_str!("load_named.sql"));

#[async_trait]
impl CountingStore for PostgresStore {
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError> {
        let mut lent = self.counting.lend(LEND_LIMIT).await?;
        let facts = bounded(lent.suspicion(), load(lent.get(), wanted)).await;
        statement_over(lent, facts)
    }

    async fn write(&self, batch: &Batch) -> Result<Written, StoreError> {
        batch.check_releases_nothing()?;
        self.repeats
            .write(batch, |looks| async move {
                let mut lent = self.counting.lend(LEND_LIMIT).await?;
                let written = bounded(lent.suspicion(), write::write(lent.get(), batch, looks)).await;
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
        let suspicion = lent.suspicion();
        let connection = lent.get();
        let written = bounded(suspicion, async {
            execute(connection, "begin").await?;
            let mut facts = lock(connection, &wanted.work_orders).await?;
            let rest = Wanted { work_orders: Vec::new(), ..wanted.clone() };
            let loaded = load(connection, &rest).await?;
            facts.updates = loaded.updates;
            facts.named = loaded.named;
            facts.claims = loaded.claims;
            let batch = decide(facts);
            release(connection, &batch).await?;
            let written = write::write(connection, &batch, false).await?;
            batch.check_released(&written)?;
            execute(connection, "commit").await?;
            Ok(written)
        })
        .await;
        transaction_over(lent, written).await
    }

    fn epoch(&self) -> u64 {
        self.counting.opened()
    }
}

async fn load(connection: &mut PgConnection, wanted: &Wanted) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let keys = || wanted.claims.iter().map(|(key, _)| key);
    let texts = |text: fn(&ClaimKey) -> &str| keys().map(text).collect::<Vec<_>>();
    let names_updates = !wanted.named.is_empty();
    let load = sqlx::query_as(if names_updates { LOAD_NAMED } else { LOAD })
        .bind(numbers(&wanted.work_orders))
        .bind(wanted.request_ids.iter().map(RequestId::as_str).collect::<Vec<_>>())
        .bind(texts(|key| key.work_order.as_str()))
        .bind(texts(|key| key.counter.word()))
        .bind(texts(|key| key.step.as_str()))
        .bind(texts(|key| key.barcode.as_str()))
        .bind(wanted.claims.iter().map(|&(_, depth)| depth).collect::<Vec<_>>());
    let load = match names_updates {
        true => load.bind(wanted.named.iter().map(RequestId::as_str).collect::<Vec<_>>()),
        false => load,
    };
    let mut claims = Vec::new();
    for (kind, row) in fetch(connection, load).await? {
        match kind.as_str() {
            "work_order" => note_work_order(&mut facts, &row)?,
            "update" => {
                let update: Update = rows::read(&row)?;
                facts.updates.insert(update.request_id.clone(), Arc::new(update));
            }
            "named" => {
                let named: NamedUpdate = rows::read(&row)?;
                facts.named.insert(named.update.request_id.clone(), named);
            }
            _ => claims.push(rows::read(&row)?),
        }
    }
    facts.claims = claims_by_key(claims);
    Ok(facts)
}

/// Locks work orders in this order, and reads each once it is locked. The locks end with the
/// transaction.
pub(super) async fn lock(connection: &mut PgConnection, work_orders: &[WorkOrderNumber]) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let lock = sqlx::query_as(include_str!("lock.sql")).bind(numbers(work_orders));
    for (_, row) in fetch(connection, lock).await? {
        note_work_order(&mut facts, &row)?;
    }
    Ok(facts)
}

/// Frees all barcodes of the counters that the batch releases, before its own claims are written.
async fn release(connection: &mut PgConnection, batch: &Batch) -> Result<(), StoreError> {
    let (work_orders, counters): (Vec<&str>, Vec<&str>) =
        batch.releases().map(|(work_order, counter)| (work_order.as_str(), counter.word())).unzip();
    if work_orders.is_empty() {
        return Ok(());
    }
    run(connection, sqlx::query(include_str!("release_claims.sql")).bind(work_orders).bind(counters)).await.map(drop)
}

fn numbers(work_orders: &[WorkOrderNumber]) -> Vec<&str> {
    work_orders.iter().map(WorkOrderNumber::as_str).collect()
}

fn note_work_order(facts: &mut Facts, row: &str) -> Result<(), StoreError> {
    let row: WorkOrder = rows::read(row)?;
    facts.work_orders.insert(row.work_order.clone(), row);
    Ok(())
}
