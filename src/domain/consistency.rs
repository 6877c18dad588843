//! What a check of the log reads, what it finds, and what can be done about a finding.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::request::Counter;
use super::time::Timestamp;

/// Which work orders a check reads.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Range {
    /// Those that changed since the last good check began.
    Recent,
    /// All work orders, and rows that belong to no work order.
    Full,
    /// One work order.
    WorkOrder,
    /// Those that changed since a given time.
    Since,
}

impl Range {
    /// Every range.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The word in JSON, columns and labels.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The variant with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// The state of a check.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CheckState {
    /// No process has started it.
    Waiting,
    /// A process runs it. If that process died, another one continues.
    Running,
    /// It ended: every log explains its quantity.
    Good,
    /// It ended with findings.
    Drift,
    /// It could not be completed.
    Failed,
}

impl CheckState {
    /// The word in JSON, columns and labels.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// Whether it ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Good | Self::Drift | Self::Failed => true,
        }
    }
}

/// What kind of drift a finding is.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Kind {
    /// A quantity is not the sum of its deltas.
    Quantity,
    /// The status is not the one that the status function gives.
    Status,
    /// The work order's `seq` is not the last `seq` of its log.
    Seq,
    /// A row of the log is missing.
    Gap,
    /// A row's `before` is not the previous row's `after`.
    Before,
    /// A row's `after` is not its `before` and `delta`.
    After,
    /// A row's `delta` is not what its request asked for.
    Delta,
    /// A fence is lower than the one before it.
    Fence,
    /// The barcode claims are not the barcodes that were scanned, and not taken back or released since.
    Claim,
    /// A barcode was counted while it stood counted.
    Twice,
    /// A row takes back an update that it can't take back.
    TakesBack,
    /// A row settles a scan that it can't settle.
    Settles,
    /// A refused row changed a quantity.
    Refused,
    /// Rows without a work order.
    Orphan,
}

impl Kind {
    /// The kinds that the log alone can repair. They may be repaired without a person.
    pub const SAFE_TO_REPAIR: [Self; 5] = [Self::Quantity, Self::Status, Self::Seq, Self::Fence, Self::Claim];

    /// The word in JSON, columns and labels.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// What can be done about a finding.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Remedy {
    /// The log gives the right value. A repair sets it.
    Repair,
    /// The log itself may be wrong. A person has to decide.
    Decision,
}

impl Remedy {
    /// The word in JSON, columns and labels.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The state of a finding.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    EnumString,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FindingState {
    /// It is not repaired yet.
    Open,
    /// It was repaired.
    Repaired,
    /// A later check did not see it again.
    Resolved,
}

impl FindingState {
    /// The word in JSON, columns and labels.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The variant with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }
}

/// A difference that a check found.
///
/// Numbers and texts are raw here, because a wrong row may hold something that is not a quantity
/// or an id.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The work order.
    pub work_order: String,
    /// Its kind.
    pub kind: Kind,
    /// Its counter; `None`: it is about the whole work order.
    pub counter: Option<Counter>,
    /// The `seq` of the first wrong row, if a row is wrong.
    pub seq: Option<i64>,
    /// The request id of the first wrong row.
    pub request_id: Option<String>,
    /// The value that should be there.
    pub expected: Value,
    /// The value that is there.
    pub actual: Value,
    /// The rows that show it, and the proposed correction.
    pub details: Value,
    /// What can be done about it.
    pub remedy: Remedy,
}

/// A drift as it is stored: one row of `consistency_findings`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Its id.
    pub finding_id: String,
    /// The check that saw it first.
    pub first_check_id: String,
    /// The check that saw it last.
    pub last_check_id: String,
    /// See [`Drift`].
    pub work_order: String,
    /// See [`Drift`].
    pub kind: Kind,
    /// See [`Drift`].
    pub counter: Option<Counter>,
    /// See [`Drift`].
    pub seq: Option<i64>,
    /// See [`Drift`].
    pub request_id: Option<String>,
    /// See [`Drift`].
    pub expected: Value,
    /// See [`Drift`].
    pub actual: Value,
    /// See [`Drift`].
    pub details: Value,
    /// See [`Drift`].
    pub remedy: Remedy,
    /// Its state.
    pub state: FindingState,
    /// When it was seen first.
    pub found_at: Timestamp,
    /// When it was seen last.
    pub seen_at: Timestamp,
    /// When it was repaired.
    pub repaired_at: Option<Timestamp>,
    /// When a check did not see it again.
    pub resolved_at: Option<Timestamp>,
}

/// One row of `consistency_checks`: the request, the progress and the report of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its id.
    pub check_id: String,
    /// Which work orders it reads.
    pub range: Range,
    /// The work order, if it reads one.
    pub work_order: Option<String>,
    /// It reads the work orders that changed since this time.
    pub since: Option<Timestamp>,
    /// Its state.
    pub state: CheckState,
    /// Who requested it: a principal, or `schedule`.
    pub requested_by: String,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it started, before the first row was read.
    pub started_at: Option<Timestamp>,
    /// When progress was last recorded.
    pub advanced_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last work order that was read completely.
    pub read_up_to: Option<String>,
    /// Work orders to read, counted at the start.
    pub work_orders_total: Option<i64>,
    /// Work orders read.
    pub work_orders_read: i64,
    /// Rows of the log read.
    pub rows_read: i64,
    /// Findings seen, new and known ones.
    pub findings_seen: i64,
    /// Why it failed.
    pub error: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::super::words::words_agree;
    use super::*;

    #[test]
    fn every_word_is_the_same_in_json_columns_and_labels() {
        words_agree::<Range>();
        words_agree::<CheckState>();
        words_agree::<Kind>();
        words_agree::<Remedy>();
        words_agree::<FindingState>();
        assert_eq!(Range::WorkOrder.word(), "work_order");
    }
}
