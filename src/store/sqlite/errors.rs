//! What SQLite's result codes mean for whoever called.
//!
//! Before COMMIT was sent nothing can have been written, whatever broke: closing the
//! connection rolls back. So a full disk or an unreadable page is "try again" there
//! (and 503 at the edge), never "refused for good": it is no fault of the request.

use sqlx::error::DatabaseError;

use super::super::StoreError;

// Primary result codes, https://www.sqlite.org/rescode.html
const ERROR: i32 = 1;
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const TOOBIG: i32 = 18;
const CONSTRAINT: i32 = 19;
const MISMATCH: i32 = 20;
const RANGE: i32 = 25;

/// What a failure before COMMIT means.
pub(super) fn before_commit(error: sqlx::Error) -> StoreError {
    match Kind::of(&error) {
        Kind::Busy | Kind::Storage => StoreError::TryAgain(error.into()),
        Kind::Taken => StoreError::Taken(error.into()),
        Kind::BehindLog => StoreError::BehindLog(error.into()),
        Kind::Refused => StoreError::Refused(error.into()),
    }
}

/// Whether another writer is in the way.
pub(super) fn is_busy(error: &sqlx::Error) -> bool {
    match Kind::of(error) {
        Kind::Busy => true,
        Kind::Taken | Kind::BehindLog | Kind::Refused | Kind::Storage => false,
    }
}

/// Whether the file or its disk is in trouble, rather than the statement.
pub(super) fn points_at_the_disk(error: &sqlx::Error) -> bool {
    match Kind::of(error) {
        Kind::Storage => true,
        Kind::Busy | Kind::Taken | Kind::BehindLog | Kind::Refused => false,
    }
}

/// Whether the connection may be used again once it is rolled back.
pub(super) fn connection_is_good(error: &sqlx::Error) -> bool {
    !points_at_the_disk(error)
}

/// The primary result code of a failure that came from SQLite.
pub(super) fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let extended: i32 = error.as_database_error()?.code()?.parse().ok()?;
    Some(extended & 0xff)
}

/// What kind of failure it was.
enum Kind {
    /// Another writer is in the way.
    Busy,
    /// A request id or claim is taken.
    Taken,
    /// A (work order, seq) is taken.
    BehindLog,
    /// These values will never be taken.
    Refused,
    /// The file, the disk, the memory or the connection.
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

    /// SQLite names a constraint by its columns, in its message alone.
    fn of_constraint(message: &str) -> Self {
        match message.strip_prefix("UNIQUE constraint failed: ") {
            Some("update_log.work_order, update_log.seq") => Self::BehindLog,
            Some("update_log.request_id") => Self::Taken,
            Some(columns) if columns.starts_with("barcode_claims.") => Self::Taken,
            Some(_) | None => Self::Refused,
        }
    }
}
