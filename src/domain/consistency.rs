//! What a check reads, what it finds, and what can be done about it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::request::Counter;
use super::time::Timestamp;

/// Declares an enum whose variants each have a word in JSON, column and label.
macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
        pub enum $name {
            $($(#[$variant_doc])* #[serde(rename = $word)] $variant,)+
        }

        impl $name {
            /// Every one of them.
            pub const ALL: &[Self] = &[$(Self::$variant),+];

            /// Its word in JSON, column and label.
            #[must_use]
            pub fn word(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// The one with this word.
            #[must_use]
            pub fn of_word(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|one| one.word() == word)
            }
        }
    };
}

words! {
    /// Which work orders a check reads.
    Range {
        /// Those changed since the last good check began.
        Recent = "recent",
        /// All of them, and rows that belong to none.
        Full = "full",
        /// One.
        WorkOrder = "work_order",
        /// Those changed since a given time.
        Since = "since",
    }
}

words! {
    /// The state of a check.
    CheckState {
        /// Not begun yet.
        Waiting = "waiting",
        /// A process runs it. If that process died, the next one continues it.
        Running = "running",
        /// Every log explains its quantity.
        Good = "good",
        /// There are findings.
        Drift = "drift",
        /// It could not be completed.
        Failed = "failed",
    }
}

impl CheckState {
    /// Whether it has ended.
    #[must_use]
    pub fn is_over(self) -> bool {
        match self {
            Self::Waiting | Self::Running => false,
            Self::Good | Self::Drift | Self::Failed => true,
        }
    }
}

words! {
    /// What kind of drift a finding is.
    Kind {
        /// A quantity is not the sum of its deltas.
        Quantity = "quantity",
        /// The status does not follow from plan, holds and quantities.
        Status = "status",
        /// The `seq` of the work order is not the last one of its log.
        Seq = "seq",
        /// A row of the log is missing.
        Gap = "gap",
        /// A row's `before` is not the previous row's `after`.
        Before = "before",
        /// A row's `after` is not its `before` plus its `delta`.
        After = "after",
        /// A row's `delta` is not what its request asked for.
        Delta = "delta",
        /// A fence is lower than the one before it.
        Fence = "fence",
        /// The barcode claims are not the barcodes that were counted and not unbound later.
        Claim = "claim",
        /// A barcode was counted again before it was unbound.
        Twice = "twice",
        /// A refused row changed something.
        Refused = "refused",
        /// Rows without a work order.
        Orphan = "orphan",
    }
}

impl Kind {
    /// The kinds that the monitor may repair without a person: the log says what is right, and nothing
    /// in it is in doubt.
    pub const SAFE_TO_REPAIR: [Self; 5] = [Self::Quantity, Self::Status, Self::Seq, Self::Fence, Self::Claim];
}

words! {
    /// What can be done about a finding.
    Remedy {
        /// The log says what is right. A repair can set it.
        Repair = "repair",
        /// The log itself is in doubt. A person has to decide.
        Decision = "decision",
    }
}

words! {
    /// What became of a finding.
    FindingState {
        /// It is not settled.
        Open = "open",
        /// It was repaired.
        Repaired = "repaired",
        /// A later check did not see it any more.
        Resolved = "resolved",
    }
}

/// One drift, as a check found it.
///
/// Numbers and texts are not parsed, because a wrong row may have values that are not valid.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Drift {
    /// The work order that it concerns.
    pub work_order: String,
    /// What kind it is.
    pub kind: Kind,
    /// Of which counter; `None`: of the work order as a whole.
    pub counter: Option<Counter>,
    /// The first bad row's place in the log, if there is one.
    pub seq: Option<i64>,
    /// The first bad row's request id.
    pub request_id: Option<String>,
    /// The value that should be there.
    pub expected: Value,
    /// The value that is there.
    pub actual: Value,
    /// The rows that show it, and a proposed correction.
    pub details: Value,
    /// What can be done.
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
    /// When a check did not see it any more.
    pub resolved_at: Option<Timestamp>,
}

/// One row of `consistency_checks`: a requested check, its progress, and its report.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Its id.
    pub check_id: String,
    /// Which work orders it reads.
    pub range: Range,
    /// The one, where it reads one.
    pub work_order: Option<String>,
    /// Since when they must have changed.
    pub since: Option<Timestamp>,
    /// Its state.
    pub state: CheckState,
    /// Who requested it: a principal, or `schedule`.
    pub requested_by: String,
    /// When it was requested.
    pub requested_at: Timestamp,
    /// When it began to read.
    pub started_at: Option<Timestamp>,
    /// When progress was last noted.
    pub advanced_at: Option<Timestamp>,
    /// When it ended.
    pub finished_at: Option<Timestamp>,
    /// The last work order that was read completely.
    pub read_up_to: Option<String>,
    /// Work orders to read, as counted at the start.
    pub work_orders_total: Option<i64>,
    /// Work orders read.
    pub work_orders_read: i64,
    /// Rows of the log read.
    pub rows_read: i64,
    /// Findings seen, new or known.
    pub findings_seen: i64,
    /// Why it failed.
    pub error: Option<String>,
}

/// One entry of `audit_trail`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// The Idempotency-Key of the request, or one made by the service.
    pub request_id: String,
    /// What was done, such as `repair`.
    pub action: String,
    /// The work order that was changed.
    pub work_order: Option<String>,
    /// The finding that was repaired.
    pub finding_id: Option<String>,
    /// When.
    pub recorded_at: Timestamp,
    /// The caller's principal.
    pub recorded_by: String,
    /// The person named in the request.
    pub operator: Option<String>,
    /// Why.
    pub reason: String,
    /// The request, to compare it if the request id is used again.
    pub payload: Value,
    /// What was there before.
    pub before: Value,
    /// What is there after.
    pub after: Value,
}
