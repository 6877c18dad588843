//! Counting on PostgreSQL: the look-ups of a batch, and its write.

mod lists;
mod write;

use std::sync::Arc;

use async_trait::async_trait;
use sqlx::PgConnection;

pub use write::writes;

use super::PostgresStore;
use super::session::{LEND_LIMIT, bounded, execute, fetch, statement_over, transaction_over};
use crate::domain::decide::{Claim, ClaimKey, Facts};
use crate::domain::ids::{RequestId, WorkOrderNumber};
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;
use crate::store::counting::ClaimRow;
use crate::store::{Batch, CountingStore, StoreError, Wanted, Written, rows};

#[async_trait]
impl CountingStore for PostgresStore {
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

    fn epoch(&self) -> u64 {
        self.counting.opened()
    }
}

async fn load(connection: &mut PgConnection, wanted: &Wanted) -> Result<Facts, StoreError> {
    let mut facts = Facts::default();
    let keys = || wanted.claims.iter().map(|(key, _)| key);
    let texts = |text: fn(&ClaimKey) -> &str| keys().map(text).collect::<Vec<_>>();
    let load = sqlx::query_as(include_str!("load.sql"))
        .bind(numbers(&wanted.work_orders))
        .bind(wanted.request_ids.iter().map(RequestId::as_str).collect::<Vec<_>>())
        .bind(texts(|key| key.work_order.as_str()))
        .bind(texts(|key| key.counter.word()))
        .bind(texts(|key| key.step.as_str()))
        .bind(texts(|key| key.barcode.as_str()))
        .bind(wanted.claims.iter().map(|&(_, depth)| depth).collect::<Vec<_>>());
    for (kind, row) in fetch(connection, load).await? {
        match kind.as_str() {
            "work_order" => note_work_order(&mut facts, &row)?,
            "update" => {
                let update: Update = rows::read(&row)?;
                facts.updates.insert(update.request_id.clone(), Arc::new(update));
            }
            _ => {
                let (key, claim) = rows::read::<ClaimRow>(&row)?.into();
                // They come newest first.
                facts.claims.entry(key).or_insert_with(Vec::<Claim>::new).insert(0, claim);
            }
        }
    }
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

fn numbers(work_orders: &[WorkOrderNumber]) -> Vec<&str> {
    work_orders.iter().map(WorkOrderNumber::as_str).collect()
}

fn note_work_order(facts: &mut Facts, row: &str) -> Result<(), StoreError> {
    let row: WorkOrder = rows::read(row)?;
    facts.work_orders.insert(row.work_order.clone(), row);
    Ok(())
}
