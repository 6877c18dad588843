//! Rows travel from both stores as JSON objects named by column, and are read here.
//!
//! One reader for two databases; and a column that one of them misses is an error at
//! the first row, not a difference that nobody sees.

use serde::de::DeserializeOwned;

use super::{Batch, StoreError};
use crate::domain::decide::{Claim, ClaimKey};

/// Reads one row.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Refused(error.into()))
}

/// One row of `barcode_claims`.
#[derive(serde::Deserialize)]
pub(super) struct ClaimRow {
    /// What is claimed.
    #[serde(flatten)]
    pub key: ClaimKey,
    /// The standing count.
    #[serde(flatten)]
    pub claim: Claim,
}

/// One change of `barcode_claims`.
pub(super) struct ClaimChange<'a> {
    /// `delete`, `take_over` or `insert`.
    pub change: &'static str,
    /// What is claimed.
    pub key: &'a ClaimKey,
    /// The standing count: as it was when deleted, else as it will be.
    pub claim: &'a Claim,
}

/// A batch's changes of claims, one list.
pub(super) fn claim_changes(batch: &Batch) -> Vec<ClaimChange<'_>> {
    fn of<'a>(change: &'static str, claims: &'a [(ClaimKey, Claim)]) -> Vec<ClaimChange<'a>> {
        claims.iter().map(|(key, claim)| ClaimChange { change, key, claim }).collect()
    }
    let changes = batch.changes.iter().map(|change| &change.claims);
    changes
        .flat_map(|c| [of("delete", &c.delete), of("take_over", &c.take_over), of("insert", &c.insert)])
        .flatten()
        .collect()
}

/// The word that a value of one of our enums has in JSON and column.
pub(super) fn word<T: serde::Serialize>(value: &T) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => unreachable!("a unit variant is a string"),
    }
}

/// How many, as the database counts.
pub(super) fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
