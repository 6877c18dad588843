//! A barcode within its work order.

use std::hash::{DefaultHasher, Hash, Hasher as _};

use crate::store::consistency::{ClaimPlace, ClaimedRow, LoggedRow};

/// A barcode within its work order, for one counter and step.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Part {
    /// For which counter.
    pub counter: String,
    /// For which step.
    pub step: String,
    /// The barcode in canonical form.
    pub barcode: String,
}

impl Part {
    /// The barcode that a row of the log names.
    #[must_use]
    pub fn of_row(row: &LoggedRow) -> Option<Self> {
        let barcode = row.barcode.clone()?;
        Some(Self { counter: row.counter.clone(), step: row.step.clone(), barcode })
    }

    /// The barcode that a claim is about.
    #[must_use]
    pub fn of_claim(claim: &ClaimedRow) -> Self {
        Self { counter: claim.counter.clone(), step: claim.step.clone(), barcode: claim.barcode.clone() }
    }

    /// The place of its claim with this number.
    #[must_use]
    pub fn place(&self, ordinal: i64) -> ClaimPlace {
        let Self { counter, step, barcode } = self.clone();
        ClaimPlace { counter, step, barcode, ordinal }
    }

    /// A number for its count by this scan. Sums of it are compared within one process only.
    #[must_use]
    pub fn checksum(&self, ordinal: i64, request_id: &str, quantity: i64) -> u64 {
        let mut hasher = DefaultHasher::new();
        (self, ordinal, request_id, quantity).hash(&mut hasher);
        hasher.finish()
    }
}
