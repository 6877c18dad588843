//! A work order: its row, its status, and what planning may change.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use strum::{EnumString, IntoStaticStr, VariantArray};

use super::barcode::BarcodePattern;
use super::ids::{Fence, Owner, Quantity, Revision, Seq, Stamp, WorkOrderNumber};
use super::request::Counter;
use super::time::Timestamp;

/// Longest product code, product name and line, in characters.
pub const PLAN_TEXT_MAX: usize = 64;

/// One row of `work_orders`, field by column.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkOrder {
    /// Its number.
    pub work_order: WorkOrderNumber,
    /// What planning owns, except the hold.
    #[serde(flatten)]
    pub plan: Plan,
    /// A person's hold. It overrides every other status.
    pub hold: Option<Hold>,
    /// Why it is held, or why the hold was lifted.
    pub hold_reason: Option<String>,
    /// Since when it is held. Another hold or reason does not move it.
    pub held_since: Option<Timestamp>,
    /// Whether the hold also refuses what was scanned before it was set.
    pub strict: bool,
    /// [`WorkOrder::present_status`] at the last write.
    pub status: Status,
    /// Pieces put in.
    pub input_quantity: Quantity,
    /// Good pieces made.
    pub output_quantity: Quantity,
    /// Pieces lost.
    pub scrap_quantity: Quantity,
    /// Number of counted updates.
    pub seq: Seq,
    /// The highest fence under which it was written.
    pub fence: Fence,
    /// Who wrote under that fence.
    pub fence_owner: Option<Owner>,
    /// The guarded write compares it, to see that nobody else has written the row.
    pub stamp: Stamp,
    /// The `ETag` of what planning owns.
    pub revision: Revision,
    /// Whether a barcode was ever counted here. From then on the barcode policy is fixed.
    pub barcode_counted: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last written.
    pub updated_at: Timestamp,
}

/// What `PUT` replaces.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// Pieces to be made.
    pub planned_quantity: Quantity,
    /// By how many pieces input and output may exceed the plan. `None`: without limit.
    pub over_plan_allowance: Option<Quantity>,
    /// Whether a barcode counts once or any number of times.
    pub barcode_policy: BarcodePolicy,
    /// What the barcodes of scans must match. `None`: any.
    pub barcode_pattern: Option<BarcodePattern>,
    /// The product's code.
    pub product_code: Option<String>,
    /// The product's name.
    pub product_name: Option<String>,
    /// The production line.
    pub line: Option<String>,
}

/// How often one barcode counts per work order, counter and step.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum BarcodePolicy {
    /// Once, until it is unbound.
    #[default]
    Once,
    /// Any number of times: barcodes are recorded, not limited.
    Repeatable,
}

/// A person's hold on a work order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
pub enum Hold {
    /// Takes corrections only.
    Paused,
    /// Takes nothing.
    Cancelled,
}

impl BarcodePolicy {
    /// The policy's word in JSON and column.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

impl Hold {
    /// The hold's word in JSON and column.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }
}

/// The status of a work order. It follows from hold, quantities and plan: see
/// [`WorkOrder::present_status`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, EnumString, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Status {
    /// Nothing counted.
    Pending,
    /// Something counted.
    InProgress,
    /// Output has reached the plan.
    Completed,
    /// A person has paused it.
    Paused,
    /// A person has cancelled it.
    Cancelled,
}

impl Status {
    /// Every status.
    pub const ALL: &[Self] = Self::VARIANTS;

    /// The status's word in JSON and column.
    #[must_use]
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The status with this word.
    #[must_use]
    pub fn of_word(word: &str) -> Option<Self> {
        word.parse().ok()
    }

    /// Whether scans and unbinds are taken. The plan is a separate limit.
    #[must_use]
    pub fn takes_scans(self) -> bool {
        match self {
            Self::Pending | Self::InProgress | Self::Completed => true,
            Self::Paused | Self::Cancelled => false,
        }
    }

    /// Whether corrections are taken.
    #[must_use]
    pub fn takes_corrections(self) -> bool {
        match self {
            Self::Pending | Self::InProgress | Self::Completed | Self::Paused => true,
            Self::Cancelled => false,
        }
    }
}

/// Why planning's change is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditRefusal {
    /// There is no such work order.
    #[error("there is no such work order")]
    Unknown,
    /// `If-Match` names other revisions, or there is no such work order.
    #[error("the work order was changed in the meantime")]
    RevisionDiffers,
    /// `If-None-Match: *`, and there is such a work order.
    #[error("the work order exists already")]
    Exists,
    /// The barcode policy would change, and a barcode was counted already.
    #[error("the barcode policy is fixed once a barcode was counted")]
    BarcodePolicyFixed,
}

/// A change by planning: what `PUT` or `PATCH` asks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// `PUT`: create, or replace all that planning owns.
    Plan(Plan),
    /// `PATCH`: set or lift a hold.
    Hold {
        /// The hold to set; `None` lifts it.
        hold: Option<Hold>,
        /// Why.
        reason: String,
        /// Whether it also refuses what was scanned before it.
        strict: bool,
    },
}

/// What `If-Match` or `If-None-Match` asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Precondition {
    /// Neither was sent.
    None,
    /// `If-None-Match: *`: it must not exist.
    Absent,
    /// `If-Match: *`: it must exist.
    Exists,
    /// It must have one of these revisions.
    AnyOf(Vec<Revision>),
}

/// When something is decided, and how late a scan may come.
#[derive(Clone, Copy, Debug)]
pub struct Moment {
    /// Now, by the deciding server's clock. It becomes `recorded_at`.
    pub now: Timestamp,
    /// How long ago a scan may have been made, for a hold that was set later to be passed over. `None`:
    /// no hold is passed over.
    pub late_scans: Option<Duration>,
}

/// Values that a write needs, and that a pure function can't make: random numbers and the time.
#[derive(Clone, Copy, Debug)]
pub struct Fresh {
    /// The stamp to write.
    pub stamp: Stamp,
    /// The revision to write.
    pub revision: Revision,
    /// Now.
    pub now: Timestamp,
}

impl WorkOrder {
    /// The present quantity of a counter.
    #[must_use]
    pub fn quantity(&self, counter: Counter) -> Quantity {
        match counter {
            Counter::Input => self.input_quantity,
            Counter::Output => self.output_quantity,
            Counter::Scrap => self.scrap_quantity,
        }
    }

    /// Sets the quantity of a counter and the status that follows from it.
    pub fn set_quantity(&mut self, counter: Counter, quantity: Quantity) {
        match counter {
            Counter::Input => self.input_quantity = quantity,
            Counter::Output => self.output_quantity = quantity,
            Counter::Scrap => self.scrap_quantity = quantity,
        }
        self.status = self.present_status();
    }

    /// The only place that computes a status (contract, section 5). A hold goes first. Else: completed if
    /// output ≥ plan > 0, in progress if anything was counted, else pending.
    #[must_use]
    pub fn present_status(&self) -> Status {
        let planned = self.plan.planned_quantity;
        match self.hold {
            Some(Hold::Paused) => Status::Paused,
            Some(Hold::Cancelled) => Status::Cancelled,
            None if planned > Quantity::ZERO && self.output_quantity >= planned => Status::Completed,
            None if Counter::ALL.iter().any(|&c| self.quantity(c) > Quantity::ZERO) => Status::InProgress,
            None => Status::Pending,
        }
    }

    /// Whether the present hold is passed over for what was scanned at this time: it was scanned before
    /// the hold was set, the hold is not strict, and it is not too old.
    #[must_use]
    pub fn passes_over_hold(&self, scanned_at: Option<Timestamp>, moment: Moment) -> bool {
        let (Some(held_since), Some(scanned_at), Some(longest)) = (self.held_since, scanned_at, moment.late_scans)
        else {
            return false;
        };
        !self.strict && scanned_at < held_since && moment.now.since(scanned_at) <= longest
    }

    /// Planned quantity minus the counter, but not below 0.
    #[must_use]
    pub fn remaining(&self, counter: Counter) -> Quantity {
        self.plan.planned_quantity.less(self.quantity(counter))
    }

    /// Whether the plan allows this value of the counter. Plan and allowance limit input and output, not
    /// scrap.
    #[must_use]
    pub fn plan_allows(&self, counter: Counter, quantity: Quantity) -> bool {
        match (counter, self.plan.over_plan_allowance) {
            (Counter::Scrap, _) | (_, None) => true,
            (Counter::Input | Counter::Output, Some(allowance)) => {
                quantity.get() <= self.plan.planned_quantity.get() + allowance.get()
            }
        }
    }

    fn new(number: &WorkOrderNumber, plan: Plan, fresh: Fresh) -> Self {
        Self {
            work_order: number.clone(),
            plan,
            hold: None,
            hold_reason: None,
            held_since: None,
            strict: false,
            status: Status::Pending,
            input_quantity: Quantity::ZERO,
            output_quantity: Quantity::ZERO,
            scrap_quantity: Quantity::ZERO,
            seq: Seq(0),
            fence: Fence(0),
            fence_owner: None,
            stamp: fresh.stamp,
            revision: fresh.revision,
            barcode_counted: false,
            created_at: fresh.now,
            updated_at: fresh.now,
        }
    }
}

impl Edit {
    /// The row after this change, given the row before it.
    ///
    /// # Errors
    /// If the change is refused. Then nothing must be written.
    pub fn apply(
        &self,
        number: &WorkOrderNumber,
        present: Option<&WorkOrder>,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<WorkOrder, EditRefusal> {
        match (precondition, present) {
            (Precondition::None, _) | (Precondition::Exists, Some(_)) | (Precondition::Absent, None) => {}
            (Precondition::Absent, Some(_)) => return Err(EditRefusal::Exists),
            (Precondition::AnyOf(revisions), Some(row)) if revisions.contains(&row.revision) => {}
            (Precondition::Exists | Precondition::AnyOf(_), _) => return Err(EditRefusal::RevisionDiffers),
        }
        let mut row = match (self, present) {
            (Self::Plan(plan), None) => return Ok(WorkOrder::new(number, plan.clone(), fresh)),
            (Self::Hold { .. }, None) => return Err(EditRefusal::Unknown),
            (Self::Plan(plan), Some(row)) => {
                if row.barcode_counted && plan.barcode_policy != row.plan.barcode_policy {
                    return Err(EditRefusal::BarcodePolicyFixed);
                }
                WorkOrder { plan: plan.clone(), ..row.clone() }
            }
            (Self::Hold { hold, reason, strict }, Some(row)) => WorkOrder {
                hold: *hold,
                hold_reason: Some(reason.clone()),
                held_since: hold.map(|_| row.held_since.unwrap_or(fresh.now)),
                strict: hold.is_some() && *strict,
                ..row.clone()
            },
        };
        row.status = row.present_status();
        row.stamp = fresh.stamp;
        row.revision = fresh.revision;
        row.updated_at = fresh.now;
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_and_statuses_have_one_word_in_json_and_column() {
        for (counter, word) in Counter::ALL.iter().zip(["input", "output", "scrap"]) {
            assert_eq!((counter.word(), counter.to_string().as_str()), (word, word));
            assert_eq!((Counter::of_word(word), serde_json::to_value(counter).unwrap()), (Some(*counter), word.into()));
        }
        for (status, word) in Status::ALL.iter().zip(["pending", "in_progress", "completed", "paused", "cancelled"]) {
            assert_eq!(status.word(), word);
            assert_eq!((Status::of_word(word), serde_json::to_value(status).unwrap()), (Some(*status), word.into()));
        }
        assert_eq!((Counter::ALL.len(), Status::ALL.len()), (3, 5));
        assert_eq!((Counter::of_word("Input"), Status::of_word("")), (None, None));
    }
}
