//! Rows travel from both stores as JSON objects named by column, and are read here.
//!
//! One reader for two databases; and a column that one of them misses is an error at
//! the first row, not a difference that nobody sees.

use serde::de::DeserializeOwned;

use super::StoreError;

/// Reads one row.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Refused(error.into()))
}
