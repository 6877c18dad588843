//! What SQLite's result codes mean for the caller.
//!
//! Before COMMIT is sent, a failure leaves nothing written: closing the connection rolls back. So a full
//! disk or an unreadable page is [`StoreError::TryAgain`] then, and the client gets a 503. It is not
//! [`StoreError::Refused`], because the request is not the cause.

use sqlx::error::DatabaseError;

use crate::store::StoreError;

// Primary result codes, https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const RANGE: i32 = 25;

/// What a failure before COMMIT means.
pub(in super::super) fn before_commit(error: sqlx::Error) -> StoreError {
    match Kind::of(&error) {
        Kind::Busy | Kind::Storage => StoreError::TryAgain(error.into()),
        Kind::Taken => StoreError::Taken(error.into()),
        Kind::BehindLog => StoreError::BehindLog(error.into()),
        Kind::Refused => StoreError::Refused(error.into()),
    }
}

/// Whether another writer has the lock.
pub(in super::super) fn is_busy(error: &sqlx::Error) -> bool {
    match Kind::of(error) {
        Kind::Busy => true,
        Kind::Taken | Kind::BehindLog | Kind::Refused | Kind::Storage => false,
    }
}

/// Whether the file, the disk, the memory or the connection is the cause, and not the statement.
pub(in super::super) fn points_at_the_disk(error: &sqlx::Error) -> bool {
    match Kind::of(error) {
        Kind::Storage => true,
        Kind::Busy | Kind::Taken | Kind::BehindLog | Kind::Refused => false,
    }
}

/// Whether the connection may be used again after a rollback.
pub(in super::super) fn connection_is_good(error: &sqlx::Error) -> bool {
    !points_at_the_disk(error)
}

/// Whether a ROLLBACK failed because no transaction was open. Only that failure of a ROLLBACK has the
/// general code `ERROR` (<https://www.sqlite.org/lang_transaction.html>).
pub(in super::super) fn nothing_was_begun(error: &sqlx::Error) -> bool {
    primary_code(error) == Some(ERROR)
}

/// The primary result code, if the failure came from SQLite.
pub(in super::super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// What kind of failure it was.
enum Kind {
    /// Another writer has the lock.
    Busy,
    /// A request id, claim, check id or left refusal exists already.
    Taken,
    /// The log already has an update with this work order and seq.
    BehindLog,
    /// The statement or its values are wrong. A retry would fail too.
    Refused,
    /// The file, the disk, the memory or the connection failed.
    Storage,
}

impl Kind {
    fn of(error: &sqlx::Error) -> Self {
        match primary_code(error) {
            Some(BUSY | LOCKED) => Self::Busy,
            Some(CONSTRAINT) => Self::of_constraint(error.as_database_error().map_or("", DatabaseError::message)),
            Some(ERROR | TOOBIG | MISMATCH | RANGE) => Self::Refused,
            Some(_) => Self::Storage,
            None => match error {
                sqlx::Error::Encode(_)
                | sqlx::Error::Decode(_)
                | sqlx::Error::ColumnDecode { .. }
                | sqlx::Error::RowNotFound => Self::Refused,
                _ => Self::Storage,
            },
        }
    }

    /// Only SQLite's message names the constraint, by its columns.
    fn of_constraint(message: &str) -> Self {
        match message.strip_prefix("UNIQUE constraint failed: ") {
            Some("update_log.work_order, update_log.seq") => Self::BehindLog,
            Some(
                "update_log.request_id"
                | "audit_trail.request_id"
                | "audit_trail.refusal"
                | "consistency_checks.check_id",
            ) => Self::Taken,
            Some(columns) if columns.starts_with("barcode_claims.") => Self::Taken,
            Some(_) | None => Self::Refused,
        }
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn each_failure_means_what_its_caller_can_do_about_it() {
        let table = "create table t (a text primary key, n integer not null check (n < 10)) strict;
            insert into t values ('a', 1)";
        let same_names = "create table update_log (request_id text unique, work_order text, seq integer,
                unique (work_order, seq));
            create table barcode_claims (work_order text, barcode text, primary key (work_order, barcode))
                without rowid;
            insert into update_log values ('r1', 'W', 1);
            insert into barcode_claims values ('W', 'A1')";
        for (statement, meaning) in [
            ("insert into update_log values ('r1', 'W', 2)", "Taken"),
            ("insert into update_log values ('r2', 'W', 1)", "BehindLog"),
            ("insert into barcode_claims values ('W', 'A1')", "Taken"),
            ("insert into t values ('a', 1)", "Refused"),
            ("insert into t values ('b', 10)", "Refused"),
            ("insert into t values ('b', null)", "Refused"),
            ("insert into t values ('b', 'many')", "Refused"),
            ("select zeroblob(2000000000)", "Refused"),
            ("select value from json_each('[1,')", "Refused"),
            // A full disk is not caused by the request.
            ("pragma max_page_count = 1; create table u (a); insert into u values (zeroblob(1000000))", "TryAgain"),
        ] {
            let mut connection = SqliteConnection::connect("sqlite::memory:").await.expect("memory is there");
            connection.execute(table).await.expect("it is new");
            connection.execute(same_names).await.expect("it is new");
            let error = connection.execute(statement).await.expect_err(statement);
            let on_disk = points_at_the_disk(&error);
            let error = before_commit(error);
            assert!(format!("{error:?}").starts_with(meaning), "{statement}: {error:?}");
            assert_eq!(on_disk, meaning == "TryAgain", "{statement}");
            assert!(!error.outcome_unknown());
        }
    }
}
