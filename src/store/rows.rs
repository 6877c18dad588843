//! Rows travel from both stores as JSON objects named by column, and are read here.
//!
//! One reader for two databases; and a column that one of them misses is an error at
//! the first row, not a difference that nobody sees.

use serde::de::DeserializeOwned;

use super::consistency::{NextWorkOrders, Scope};
use super::{Batch, StoreError};
use crate::domain::consistency::Drift;
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

/// The work orders of a range, from rows (kind, number, length or count).
pub(super) fn names(scope: &Scope, rows: Vec<(String, String, i64)>, limit: i64) -> NextWorkOrders {
    let mut names = NextWorkOrders::default();
    for (kind, name, n) in rows {
        if kind == "found" {
            names.found.push((name, n));
        } else {
            names.read_up_to = Some(name).filter(|_| n >= limit);
        }
    }
    names.found.sort_unstable();
    if *scope == Scope::All && i64::try_from(names.found.len()).is_ok_and(|found| found >= limit) {
        names.read_up_to = names.found.last().map(|(name, _)| name.clone());
    }
    names
}

/// A range of one work order, which is read once.
pub(super) fn only_name(name: &str, after: &str) -> NextWorkOrders {
    let found = if name > after { vec![(name.to_owned(), 0)] } else { Vec::new() };
    NextWorkOrders { found, read_up_to: None }
}

/// Drifts as one list, each with the id that it has if it is new.
pub(super) fn drifts(drifts: &[(String, Drift)]) -> String {
    #[derive(serde::Serialize)]
    struct New<'a> {
        finding_id: &'a str,
        #[serde(flatten)]
        drift: &'a Drift,
    }
    let rows: Vec<New<'_>> = drifts.iter().map(|(finding_id, drift)| New { finding_id, drift }).collect();
    serde_json::to_string(&rows).expect("rows are plain structs of text, numbers and JSON")
}

/// How many, as the database counts.
pub(super) fn length<T>(items: &[T]) -> i64 {
    i64::try_from(items.len()).unwrap_or(i64::MAX)
}
