//! Reads of the update log on PostgreSQL.

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use super::{PostgresStore, read};
use crate::domain::ids::RequestId;
use crate::domain::request::Counter;
use crate::domain::update::Update;
use crate::store::{BarcodeQuery, LogCursor, StoreError, UpdateQuery, UpdateStore};

#[async_trait]
impl UpdateStore for PostgresStore {
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError> {
        let CursorBounds { at_most, below, recorded_at, request_id } = CursorBounds::of(query.before.as_ref());
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
        read(&self.lists, page).await
    }

    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError> {
        let before = query.before.as_ref();
        let page = sqlx::query_as(include_str!("updates_of_barcode.sql"))
            .bind(query.barcode.clone())
            .bind(before.map(|(recorded_at, _)| recorded_at.to_utc()))
            .bind(before.map(|(_, id)| id.as_str().to_owned()))
            .bind(query.limit);
        read(&self.lists, page).await
    }

    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        let ids: Vec<String> = ids.iter().map(|id| id.as_str().to_owned()).collect();
        read(&self.quick, sqlx::query_as(include_str!("updates_by_id.sql")).bind(ids)).await
    }
}

/// A [`LogCursor`] as the bounds that `updates.sql` takes.
#[derive(Default)]
struct CursorBounds {
    at_most: Option<i64>,
    below: Option<i64>,
    recorded_at: Option<DateTime<Utc>>,
    request_id: Option<String>,
}

impl CursorBounds {
    fn of(before: Option<&LogCursor>) -> Self {
        match before {
            None => Self::default(),
            Some(LogCursor { seq, refused: None }) => Self { below: Some(seq.0), ..Self::default() },
            Some(LogCursor { seq, refused: Some((recorded_at, request_id)) }) => Self {
                at_most: Some(seq.0),
                below: None,
                recorded_at: Some(recorded_at.to_utc()),
                request_id: Some(request_id.as_str().to_owned()),
            },
        }
    }
}
