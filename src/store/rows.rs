//! Rows come from both stores as JSON objects named by column, and are read here.
//!
//! So there is one reader for two databases, and a column that is missing in one of them is an error
//! at the first row.

use serde::de::DeserializeOwned;

use super::StoreError;

/// Reads one row.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Refused(error.into()))
}

/// How many, as the database counts.
pub(super) fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
