//! The audit trail on PostgreSQL.

use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::QueryAs;

use super::session::run;
use crate::domain::audit::AuditEntry;
use crate::store::StoreError;

/// A statement that returns one JSON text a row.
type Select = QueryAs<'static, sqlx::Postgres, (String,), PgArguments>;

/// Reads the entry with this request id.
pub(super) fn entry(request_id: &str) -> Select {
    sqlx::query_as(include_str!("entry.sql")).bind(request_id.to_owned())
}

/// Reads the entries with this action of these work orders.
pub(super) fn entries(numbers: &[String], action: &str) -> Select {
    sqlx::query_as(include_str!("entries.sql")).bind(numbers.to_vec()).bind(action.to_owned())
}

/// Adds an entry, within a transaction.
pub(super) async fn add(connection: &mut PgConnection, entry: &AuditEntry) -> Result<(), StoreError> {
    let add = sqlx::query(include_str!("add_entry.sql"))
        .bind(&entry.request_id)
        .bind(&entry.action)
        .bind(&entry.work_order)
        .bind(&entry.finding_id)
        .bind(&entry.refusal)
        .bind(entry.recorded_at.to_utc())
        .bind(&entry.recorded_by)
        .bind(&entry.operator)
        .bind(&entry.reason)
        .bind(entry.payload.to_string())
        .bind(entry.before.to_string())
        .bind(entry.after.to_string());
    run(connection, add).await.map(drop)
}
