//! The look-ups of a batch.

use std::sync::{Arc, LazyLock};

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::super::row_json::of_columns;
use super::super::session::Failure;
use super::super::session::arguments::{Arguments, list};
use crate::domain::column::Row as _;
use crate::domain::decide::{ClaimKey, Facts};
use crate::domain::ids::WorkOrderNumber;
use crate::domain::request::Counter;
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;
use crate::store::counting::{CLAIM, ClaimRow};
use crate::store::planning::WORK_ORDER;
use crate::store::template::fill;
use crate::store::{Wanted, rows};

pub(in super::super) static LOAD: LazyLock<String> = LazyLock::new(|| filled(include_str!("load.sql")));
pub(in super::super) static KNOWN: LazyLock<String> = LazyLock::new(|| filled(include_str!("known.sql")));

fn filled(template: &str) -> String {
    let parts = [
        ("work_order", of_columns("w", WORK_ORDER)),
        ("update", of_columns("u", Update::COLUMNS)),
        ("claim", of_columns("c", CLAIM)),
        ("newest_claims", include_str!("newest_claims.sql").trim_end().to_owned()),
    ];
    fill(template, &parts.each_ref().map(|(name, part)| (*name, part.as_str())))
}

/// The newest claims of one barcode, as asked for.
#[derive(Serialize)]
pub(super) struct ClaimAsk<'a> {
    work_order: &'a WorkOrderNumber,
    counter: Counter,
    step: &'a str,
    barcode: &'a str,
    depth: i64,
}

impl<'a> ClaimAsk<'a> {
    pub(super) fn of(key: &'a ClaimKey, depth: i64) -> Self {
        Self { work_order: &key.work_order, counter: key.counter, step: &key.step, barcode: &key.barcode, depth }
    }
}

pub(super) async fn load(connection: &mut SqliteConnection, wanted: &Wanted) -> Result<Facts, Failure> {
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
