//! Rows come from both stores as JSON objects named by column, and are read here.
//!
//! So there is one reader for two databases, and a column that is missing in one of them is an error
//! at the first row.

use serde::de::DeserializeOwned;

use super::StoreError;
use super::consistency::{Names, Scope};
use crate::domain::consistency::Drift;

/// Reads one row.
pub(super) fn read<T: DeserializeOwned>(json: &str) -> Result<T, StoreError> {
    serde_json::from_str(json).map_err(|error| StoreError::Refused(error.into()))
}

/// The work orders of a range, from rows (kind, number, length or count).
pub(super) fn names(scope: &Scope, rows: Vec<(String, String, i64)>, limit: i64) -> Names {
    let mut names = Names::default();
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
pub(super) fn only_name(name: &str, after: &str) -> Names {
    let found = if name > after { vec![(name.to_owned(), 0)] } else { Vec::new() };
    Names { found, read_up_to: None }
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
