//! The store of planning: work orders, and changes of their plans and holds.

use async_trait::async_trait;

use super::StoreError;
use super::columns::columns;
use crate::domain::barcode::BarcodePattern;
use crate::domain::ids::{Owner, Quantity, WorkOrderNumber};
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Hold, Precondition, Status, WorkOrder};

/// Reads work orders, and writes planning's changes.
#[async_trait]
pub trait PlanningStore: Send + Sync + 'static {
    /// Applies planning's change to one work order under its row lock, in one transaction. If the
    /// process dies, it is applied or not.
    ///
    /// # Errors
    /// As [`CountingStore::write`](super::CountingStore::write). The inner result is the refusal by
    /// a rule.
    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError>;

    /// One work order.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError>;

    /// A page of work orders, by number.
    ///
    /// # Errors
    /// If the store can't be read.
    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError>;
}

/// A work order after planning's change.
#[derive(Clone, Debug)]
pub struct Edited {
    /// The row after.
    pub row: WorkOrder,
    /// Whether the change created it.
    pub created: bool,
}

/// Which work orders to list.
#[derive(Clone, Debug, Default)]
pub struct WorkOrderQuery {
    /// Only with this status.
    pub status: Option<Status>,
    /// Only of this line.
    pub line: Option<String>,
    /// Only with this text in number, product code, product name or line. ASCII letters match in
    /// either case.
    pub q: Option<String>,
    /// Only after this number.
    pub after: Option<WorkOrderNumber>,
    /// At most so many.
    pub limit: i64,
}

columns! {
    /// The columns of `work_orders`.
    pub(super) WORK_ORDER: WorkOrder = |row| {
        work_order: Text = Some(row.work_order.as_str()),
        planned_quantity: Number = Some(row.plan.planned_quantity.get()),
        over_plan_allowance: Number = row.plan.over_plan_allowance.map(Quantity::get),
        barcode_policy: Text = Some(row.plan.barcode_policy.word()),
        barcode_pattern: Text = row.plan.barcode_pattern.as_ref().map(BarcodePattern::as_str),
        product_code: Text = row.plan.product_code.as_deref(),
        product_name: Text = row.plan.product_name.as_deref(),
        line: Text = row.plan.line.as_deref(),
        hold: Text = row.hold.map(Hold::word),
        hold_reason: Text = row.hold_reason.as_deref(),
        held_since: Time = row.held_since,
        strict: Boolean = Some(row.strict),
        status: Text = Some(row.status.word()),
        input_quantity: Number = Some(row.input_quantity.get()),
        output_quantity: Number = Some(row.output_quantity.get()),
        scrap_quantity: Number = Some(row.scrap_quantity.get()),
        seq: Number = Some(row.seq.0),
        fence: Number = Some(row.fence.0),
        fence_owner: Text = row.fence_owner.as_ref().map(Owner::as_str),
        stamp: Number = Some(row.stamp.0),
        revision: Number = Some(row.revision.0),
        barcode_counted: Boolean = Some(row.barcode_counted),
        created_at: Time = Some(row.created_at),
        updated_at: Time = Some(row.updated_at),
    }
}
