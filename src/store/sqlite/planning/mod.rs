//! Planning on SQLite: work orders, and changes of their plans and holds.

use std::sync::LazyLock;

use async_trait::async_trait;
use sqlx::sqlite::SqliteConnection;

use super::row_json::of_columns;
use super::session::arguments::{Arguments, fetch};
use super::session::on_rows::OnRows;
use super::session::{Failure, LEND_LIMIT, limited};
use super::{SqliteStore, read};
use crate::domain::ids::WorkOrderNumber;
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Precondition, Status, WorkOrder};
use crate::store::planning::WORK_ORDER as COLUMNS;
use crate::store::template::fill;
use crate::store::{Edited, PlanningStore, StoreError, WorkOrderQuery, rows};

pub(super) static WORK_ORDER: LazyLock<String> = LazyLock::new(|| filled(include_str!("work_order.sql")));
pub(super) static WORK_ORDERS: LazyLock<String> = LazyLock::new(|| filled(include_str!("work_orders.sql")));
pub(super) static REPLACE: OnRows<WorkOrder> = OnRows::new(include_str!("replace.sql"), COLUMNS);

fn filled(template: &str) -> String {
    fill(template, &[("work_order", &of_columns("w", COLUMNS))])
}

#[async_trait]
impl PlanningStore for SqliteStore {
    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError> {
        limited(async {
            let mut lent = self.begin(LEND_LIMIT).await?;
            let edited = apply(lent.get(), number, edit, precondition, fresh).await;
            let edited = self.finish(lent, edited).await;
            if let Ok(Ok(_)) = edited {
                self.took_a_write();
            }
            edited
        })
        .await
    }

    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError> {
        let mut found = read(&self.quick, &WORK_ORDER, |bound| bound.text(number.as_str())).await?;
        Ok(found.pop())
    }

    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError> {
        read(&self.lists, &WORK_ORDERS, |bound| {
            // Every number sorts after the empty text.
            bound.text(query.after.as_ref().map_or("", WorkOrderNumber::as_str));
            bound.maybe(query.status.map(Status::word));
            bound.maybe(query.line.as_deref());
            bound.maybe(query.q.as_deref());
            bound.number(query.limit);
        })
        .await
    }
}

/// The body of [`PlanningStore::edit`], within its transaction. A refusal writes nothing.
async fn apply(
    connection: &mut SqliteConnection,
    number: &WorkOrderNumber,
    edit: &Edit,
    precondition: &Precondition,
    fresh: Fresh,
) -> Result<Result<Edited, EditRefusal>, Failure> {
    let mut bound = Arguments::default();
    bound.text(number.as_str());
    let found = fetch(connection, WORK_ORDER.as_str(), bound).await?;
    let present = found.first().map(|text| rows::read::<WorkOrder>(text)).transpose()?;
    let row = match edit.apply(number, present.as_ref(), precondition, fresh) {
        Ok(row) => row,
        Err(refusal) => return Ok(Err(refusal)),
    };
    REPLACE.change(connection, &[&row]).await?;
    Ok(Ok(Edited { row, created: present.is_none() }))
}
