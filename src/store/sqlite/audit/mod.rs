//! The audit trail on SQLite.

use sqlx::sqlite::SqliteConnection;

use super::row_json::json_object;
use super::session::Failure;
use super::session::arguments::Arguments;
use crate::domain::audit::AuditEntry;
use crate::store::template::statements;

statements! {
    parts;
    ENTRY = "entry.sql",
    ENTRIES = "entries.sql",
    ADD_ENTRY = "add_entry.sql",
}

/// The columns of an entry that hold plain values, and those that hold JSON.
const COLUMNS: [&str; 9] =
    ["request_id", "action", "work_order", "finding_id", "refusal", "recorded_at", "recorded_by", "operator", "reason"];
const JSON_COLUMNS: [&str; 3] = ["payload", "before", "after"];

/// Adds an entry, within a transaction.
pub(super) async fn add(connection: &mut SqliteConnection, entry: &AuditEntry) -> Result<(), Failure> {
    let mut bound = Arguments::default();
    bound.text(&entry.request_id);
    bound.text(&entry.action);
    bound.maybe(entry.work_order.as_deref());
    bound.maybe(entry.finding_id.as_deref());
    bound.maybe(entry.refusal.as_deref());
    bound.text(&entry.recorded_at.to_string());
    bound.text(&entry.recorded_by);
    bound.maybe(entry.operator.as_deref());
    bound.text(&entry.reason);
    bound.text(&entry.payload.to_string());
    bound.text(&entry.before.to_string());
    bound.text(&entry.after.to_string());
    bound.query(&ADD_ENTRY).execute(connection).await?;
    Ok(())
}

fn parts() -> [(&'static str, String); 1] {
    [("entry", json_object("a", &COLUMNS, &JSON_COLUMNS))]
}
