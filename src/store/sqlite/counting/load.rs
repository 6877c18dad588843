//! The look-ups of a batch.

use std::sync::{Arc, LazyLock};

use serde::Serialize;
use sqlx::Row as _;
use sqlx::sqlite::SqliteConnection;

use super::super::row_json::of_columns;
use super::super::session::Failure;
use super::super::session::arguments::{Arguments, list};
use crate::domain::column::Row as _;
use crate::domain::decide::{ClaimKey, Facts, NamedUpdate};
use crate::domain::ids::WorkOrderNumber;
use crate::domain::request::Counter;
use crate::domain::update::Update;
use crate::domain::work_order::WorkOrder;
use crate::store::counting::{CLAIM, ClaimRow, claims_by_key};
use crate::store::planning::WORK_ORDER;
use crate::store::template::fill;
use crate::store::{Wanted, rows};

/// For a batch that names no earlier update.
pub(in super::super) static LOAD: LazyLock<String> = LazyLock::new(|| filled(include_str!("load.sql"), "?4", ""));
/// Also with what undos and overrides name.
pub(in super::super) static LOAD_NAMED: LazyLock<String> =
    LazyLock::new(|| filled(include_str!("load.sql"), "?4", include_str!("load_named.sql").trim_end()));
pub(in super::super) static KNOWN: LazyLock<String> = LazyLock::new(|| filled(include_str!("known.sql"), "1", ""));

fn filled(template: &str, depth: &str, named: &str) -> String {
    let parts = [
        ("work_order", of_columns("w", WORK_ORDER)),
        ("update", of_columns("u", Update::COLUMNS)),
        ("claim", of_columns("c", CLAIM)),
    ];
    let newest_claims = fill(include_str!("newest_claims.sql").trim_end(), &[("depth", depth)]);
    let named = fill(named, &parts);
    let parts = parts.into_iter().chain([("newest_claims", newest_claims), ("named", named)]);
    fill(template, &parts.collect::<Vec<_>>())
}

/// A barcode whose newest claims are asked for.
#[derive(Serialize)]
pub(super) struct ClaimAsk<'a> {
    work_order: &'a WorkOrderNumber,
    counter: Counter,
    step: &'a str,
    barcode: &'a str,
}

impl<'a> From<&'a ClaimKey> for ClaimAsk<'a> {
    fn from(ClaimKey { work_order, counter, step, barcode }: &'a ClaimKey) -> Self {
        Self { work_order, counter: *counter, step, barcode }
    }
}

pub(super) async fn load(connection: &mut SqliteConnection, wanted: &Wanted) -> Result<Facts, Failure> {
    let asks: Vec<ClaimAsk> = wanted.claims.iter().map(|(key, _)| key.into()).collect();
    let names_updates = !wanted.named.is_empty();
    let mut bound = Arguments::default();
    bound.text(&list(&wanted.work_orders));
    bound.text(&list(&wanted.request_ids));
    bound.text(&list(&asks));
    // SQLite takes one number for all barcodes. More claims than asked for do no harm.
    bound.number(wanted.claims.iter().map(|&(_, depth)| depth).max().unwrap_or(0));
    let statement = match names_updates {
        true => {
            bound.text(&list(&wanted.named));
            &*LOAD_NAMED
        }
        false => &*LOAD,
    };
    let row = bound.query(statement).fetch_one(connection).await?;
    let work_orders: Vec<WorkOrder> = rows::read(row.try_get(0)?)?;
    let updates: Vec<Arc<Update>> = rows::read::<Vec<Update>>(row.try_get(1)?)?.into_iter().map(Arc::new).collect();
    let mut claims: Vec<ClaimRow> = rows::read(row.try_get(2)?)?;
    let mut named: Vec<NamedUpdate> = Vec::new();
    if names_updates {
        named = rows::read(row.try_get(3)?)?;
        claims.extend(rows::read::<Vec<ClaimRow>>(row.try_get(4)?)?);
    }
    Ok(Facts {
        work_orders: work_orders.into_iter().map(|row| (row.work_order.clone(), row)).collect(),
        updates: updates.into_iter().map(|update| (update.request_id.clone(), update)).collect(),
        named: named.into_iter().map(|named| (named.update.request_id.clone(), named)).collect(),
        claims: claims_by_key(claims),
    })
}
