//! Reads of the update log on SQLite.

use std::sync::LazyLock;

use async_trait::async_trait;

use super::row_json::of_columns;
use super::session::arguments::list;
use super::{SqliteStore, read};
use crate::domain::column::Row as _;
use crate::domain::ids::{RequestId, Seq};
use crate::domain::request::Counter;
use crate::domain::update::{Outcome, Update};
use crate::store::template::fill;
use crate::store::{BarcodeQuery, LogCursor, StoreError, UpdateQuery, UpdateStore};

pub(super) static UPDATES: LazyLock<String> = LazyLock::new(|| filled(include_str!("updates.sql")));
pub(super) static UPDATES_OF_PART: LazyLock<String> = LazyLock::new(|| filled(include_str!("updates_of_part.sql")));
pub(super) static UPDATES_OF_BARCODE: LazyLock<String> =
    LazyLock::new(|| filled(include_str!("updates_of_barcode.sql")));
pub(super) static UPDATES_BY_ID: LazyLock<String> = LazyLock::new(|| filled(include_str!("updates_by_id.sql")));

fn filled(template: &str) -> String {
    fill(template, &[("update", &of_columns("u", Update::COLUMNS))])
}

#[async_trait]
impl UpdateStore for SqliteStore {
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError> {
        let statement = match query.barcode {
            Some(_) => UPDATES_OF_PART.as_str(),
            None => UPDATES.as_str(),
        };
        let bounds = Bounds::older_than(query.before.as_ref());
        read(&self.lists, statement, |bound| {
            bound.text(query.work_order.as_str());
            bound.number(bounds.counted_below);
            bound.number(bounds.refused_below.0.0);
            bound.text(&bounds.refused_below.1);
            bound.text(&bounds.refused_below.2);
            bound.maybe(query.counter.map(Counter::word));
            bound.maybe(query.outcome.map(Outcome::word));
            bound.maybe(query.from.map(|from| from.to_string()).as_deref());
            bound.maybe(query.to.map(|to| to.to_string()).as_deref());
            bound.number(query.limit);
            bound.maybe(query.barcode.as_deref());
        })
        .await
    }

    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError> {
        let (recorded_at, request_id) = match &query.before {
            Some((recorded_at, request_id)) => (recorded_at.to_string(), request_id.as_str()),
            None => (AFTER_ALL_TIMES.to_owned(), ""),
        };
        read(&self.lists, &UPDATES_OF_BARCODE, |bound| {
            bound.text(&query.barcode);
            bound.text(&recorded_at);
            bound.text(request_id);
            bound.number(query.limit);
        })
        .await
    }

    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        let ids = list(&ids);
        read(&self.quick, &UPDATES_BY_ID, |bound| bound.text(&ids)).await
    }
}

/// Sorts after every time: times begin with a digit.
pub(super) const AFTER_ALL_TIMES: &str = "~";

/// Where the two halves of a list begin, exclusive: counted updates below a `seq`, and refused ones below
/// (`at_seq`, `recorded_at`, `request_id`).
struct Bounds {
    counted_below: i64,
    refused_below: (Seq, String, String),
}

impl Bounds {
    fn older_than(place: Option<&LogCursor>) -> Self {
        match place {
            None => {
                Self { counted_below: i64::MAX, refused_below: (Seq(i64::MAX), AFTER_ALL_TIMES.into(), String::new()) }
            }
            // What is refused at a seq is newer than what was counted there.
            Some(LogCursor { seq, refused: None }) => {
                Self { counted_below: seq.0, refused_below: (*seq, String::new(), String::new()) }
            }
            Some(LogCursor { seq, refused: Some((recorded_at, request_id)) }) => Self {
                counted_below: seq.0.saturating_add(1),
                refused_below: (*seq, recorded_at.to_string(), request_id.to_string()),
            },
        }
    }
}
