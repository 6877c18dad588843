//! Refused scans that a person may settle, on SQLite.

use std::sync::LazyLock;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::row_json::of_columns;
use super::session::arguments::{Arguments, fetch};
use super::session::{Failure, LEND_LIMIT, limited};
use super::updates::AFTER_ALL_TIMES;
use super::{SqliteStore, audit, read};
use crate::domain::column::Row as _;
use crate::domain::ids::RequestId;
use crate::domain::refusals::{Leave, NotLeft, Refusal};
use crate::domain::update::{RefusalCode, Update};
use crate::store::template::fill;
use crate::store::{RefusalQuery, RefusalStore, StoreError, rows};

pub(super) static REFUSALS: LazyLock<String> =
    LazyLock::new(|| filled(concat!(include_str!("select.sql"), include_str!("refusals.sql"))));
pub(super) static REFUSAL: LazyLock<String> =
    LazyLock::new(|| filled(concat!(include_str!("select.sql"), include_str!("refusal.sql"))));

fn filled(template: &str) -> String {
    fill(template, &[("update", &of_columns("u", Update::COLUMNS))])
}

#[async_trait]
impl RefusalStore for SqliteStore {
    async fn refusals(&self, query: &RefusalQuery) -> Result<Vec<Refusal>, StoreError> {
        let (recorded_at, request_id) = match &query.before {
            Some((recorded_at, request_id)) => (recorded_at.to_string(), request_id.as_str()),
            None => (AFTER_ALL_TIMES.to_owned(), ""),
        };
        read(&self.lists, &REFUSALS, |bound| {
            bound.maybe(query.line.as_deref());
            bound.maybe(query.code.map(RefusalCode::word));
            // Every time sorts after the empty text.
            bound.text(&query.since.map(|since| since.to_string()).unwrap_or_default());
            bound.maybe_number(query.open.map(i64::from));
            bound.text(&recorded_at);
            bound.text(request_id);
            bound.number(query.limit);
        })
        .await
    }

    async fn refusal(&self, request_id: &RequestId) -> Result<Option<Refusal>, StoreError> {
        Ok(read(&self.quick, &REFUSAL, |bound| bound.text(request_id.as_str())).await?.pop())
    }

    async fn leave(&self, request_id: &RequestId, leave: &Leave) -> Result<Result<Refusal, NotLeft>, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let left = apply(lent.get(), request_id, leave).await;
            self.finish(lent, left).await
        })
        .await
    }
}

/// The body of [`RefusalStore::leave`], within its transaction.
async fn apply(
    connection: &mut SqliteConnection,
    request_id: &RequestId,
    leave: &Leave,
) -> Result<Result<Refusal, NotLeft>, Failure> {
    let mut bound = Arguments::default();
    bound.text(request_id.as_str());
    let found = fetch(connection, REFUSAL.as_str(), bound).await?;
    let found = found.first().map(|text| rows::read(text)).transpose()?;
    Ok(match leave.judge(found) {
        Ok((refusal, entry)) => {
            if let Some(entry) = entry {
                audit::add(connection, &entry).await?;
            }
            Ok(refusal)
        }
        Err(not_left) => Err(not_left),
    })
}
