//! Counting on SQLite: the look-ups of a batch, and its write.

pub(super) mod write;

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::SqliteStore;
use super::session::arguments::{Arguments, list};
use super::session::{Failure, LEND_LIMIT, errors, limited};
use crate::domain::column::Row as _;
use crate::domain::decide::{ClaimKey, Facts};
use crate::domain::ids::WorkOrderNumber;
use crate::domain::request::Counter;
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;
use crate::store::columns::json_object;
use crate::store::counting::{CLAIM, ClaimRow};
use crate::store::planning::WORK_ORDER;
use crate::store::template::fill;
use crate::store::{Batch, CountingStore, StoreError, Wanted, Written, rows};

pub(super) static LOAD: LazyLock<String> = LazyLock::new(|| filled(include_str!("load.sql")));
pub(super) static KNOWN: LazyLock<String> = LazyLock::new(|| filled(include_str!("known.sql")));

fn filled(template: &str) -> String {
    let parts = [
        ("work_order", json_object("w", WORK_ORDER)),
        ("update", json_object("u", Update::COLUMNS)),
        ("claim", json_object("c", CLAIM)),
        ("newest_claims", include_str!("newest_claims.sql").trim_end().to_owned()),
    ];
    fill(template, &parts.each_ref().map(|(name, part)| (*name, part.as_str())))
}

#[async_trait]
impl CountingStore for SqliteStore {
    /// By the writer's connection, whose page cache is warm: the committer, the only
    /// caller, loads and writes in turn.
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError> {
        limited(async {
            let mut lent = self.writer.lend(LEND_LIMIT).await?;
            match load(lent.get(), wanted).await {
                Ok(facts) => {
                    lent.give_back();
                    Ok(facts)
                }
                Err(Failure::Ours(error)) => {
                    lent.give_back();
                    Err(error)
                }
                Err(Failure::Sql(error)) => {
                    if errors::connection_is_good(&error) {
                        lent.give_back();
                    }
                    Err(errors::before_commit(error))
                }
            }
        })
        .await
    }

    async fn write(&self, batch: &Batch) -> Result<Written, StoreError> {
        let attempt = |looks| {
            limited(async move {
                let (statement, bound) = write::begin(batch, looks);
                let (mut lent, found) = self.begin_with(LEND_LIMIT, statement, bound).await?;
                let written = write::write(lent.get(), batch, found).await;
                let written = self.finish(lent, written).await;
                self.note_written(&written);
                written
            })
        };
        self.repeats.write(batch, attempt).await
    }

    /// The writer is alone between `begin immediate` and COMMIT: that is the row lock.
    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let written = match load(lent.get(), wanted).await {
                Ok(facts) => {
                    // All that it bears on was looked up just now, under the lock.
                    let batch = decide(facts);
                    write::write(lent.get(), &batch, None).await
                }
                Err(failure) => Err(failure),
            };
            let written = self.finish(lent, written).await;
            self.note_written(&written);
            written
        })
        .await
    }

    fn epoch(&self) -> u64 {
        self.writer.opened()
    }
}

/// The newest claims of one barcode, as asked for.
#[derive(Serialize)]
struct ClaimAsk<'a> {
    work_order: &'a WorkOrderNumber,
    counter: Counter,
    step: &'a str,
    barcode: &'a str,
    depth: i64,
}

impl<'a> ClaimAsk<'a> {
    fn of(key: &'a ClaimKey, depth: i64) -> Self {
        Self { work_order: &key.work_order, counter: key.counter, step: &key.step, barcode: &key.barcode, depth }
    }
}

async fn load(connection: &mut SqliteConnection, wanted: &Wanted) -> Result<Facts, Failure> {
    let asks = wanted.claims.iter().map(|(key, depth)| ClaimAsk::of(key, *depth));
    let mut bound = Arguments::default();
    bound.text(&list(&wanted.work_orders));
    bound.text(&list(&wanted.request_ids));
    bound.text(&list(&asks.collect::<Vec<_>>()));
    let row = bound.query(LOAD.as_str()).fetch_one(connection).await?;
    let work_orders: Vec<WorkOrder> = rows::read(row.try_get(0)?)?;
    let updates: Vec<Arc<Update>> = rows::read::<Vec<Update>>(row.try_get(1)?)?.into_iter().map(Arc::new).collect();
    let mut claims: Vec<ClaimRow> = rows::read(row.try_get(2)?)?;
    claims.sort_unstable_by_key(|claim| claim.ordinal);

    let mut facts = Facts {
        work_orders: work_orders.into_iter().map(|row| (row.work_order.clone(), row)).collect(),
        updates: updates.into_iter().map(|update| (update.request_id.clone(), update)).collect(),
        ..Facts::default()
    };
    for (key, claim) in claims.into_iter().map(ClaimRow::into) {
        facts.claims.entry(key).or_default().push(claim);
    }
    Ok(facts)
}
