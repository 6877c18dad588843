//! Planning on PostgreSQL: work orders, and changes of their plans and holds.

use std::sync::LazyLock;

use async_trait::async_trait;
use sqlx::PgConnection;
use sqlx::postgres::PgArguments;
use sqlx::query::Query;

use super::counting::lock;
use super::session::{LEND_LIMIT, bounded, execute, run, transaction_over};
use super::{PostgresStore, read};
use crate::domain::column::{Kind, Value};
use crate::domain::ids::WorkOrderNumber;
use crate::domain::time::Timestamp;
use crate::domain::work_order::{Edit, EditRefusal, Fresh, Precondition, WorkOrder};
use crate::store::columns::names;
use crate::store::planning::WORK_ORDER;
use crate::store::template::fill;
use crate::store::{Edited, PlanningStore, StoreError, WorkOrderQuery};

/// How often an edit tries again if another one created the same work order at the same time.
const EDIT_ATTEMPTS: usize = 3;

static CREATE: LazyLock<OnWorkOrder> = LazyLock::new(|| OnWorkOrder::new(include_str!("create.sql")));
static REPLACE: LazyLock<OnWorkOrder> = LazyLock::new(|| OnWorkOrder::new(include_str!("replace.sql")));

#[async_trait]
impl PlanningStore for PostgresStore {
    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError> {
        let mut attempt = 1;
        loop {
            let mut lent = self.quick.lend(LEND_LIMIT).await?;
            let edited = bounded(lent.suspicion(), apply(lent.get(), number, edit, precondition, fresh)).await;
            match transaction_over(lent, edited).await {
                // Two creations at once: the second one finds the row of the first one now.
                Err(StoreError::Taken(_)) if attempt < EDIT_ATTEMPTS => attempt += 1,
                edited => return edited,
            }
        }
    }

    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError> {
        let query = sqlx::query_as(include_str!("work_order.sql"));
        Ok(read(&self.quick, query.bind(number.as_str().to_owned())).await?.pop())
    }

    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError> {
        let page = sqlx::query_as(include_str!("work_orders.sql"))
            .bind(query.after.as_ref().map(|after| after.as_str().to_owned()))
            .bind(query.status.map(|status| status.word()))
            .bind(query.line.clone())
            .bind(query.q.clone())
            .bind(query.limit);
        read(&self.lists, page).await
    }
}

async fn apply(
    connection: &mut PgConnection,
    number: &WorkOrderNumber,
    edit: &Edit,
    precondition: &Precondition,
    fresh: Fresh,
) -> Result<Result<Edited, EditRefusal>, StoreError> {
    execute(connection, "begin").await?;
    let present = lock(connection, std::slice::from_ref(number)).await?.work_orders.remove(number);
    let row = match edit.apply(number, present.as_ref(), precondition, fresh) {
        Ok(row) => row,
        Err(refusal) => {
            execute(connection, "rollback").await?;
            return Ok(Err(refusal));
        }
    };
    let created = present.is_none();
    let write: &'static OnWorkOrder = if created { &CREATE } else { &REPLACE };
    run(connection, write.query(&row)).await?;
    execute(connection, "commit").await?;
    Ok(Ok(Edited { row, created }))
}

/// A statement on one row of `work_orders` that names columns as `{column}`, each once.
struct OnWorkOrder {
    text: String,
    /// Which columns are bound, in order.
    bound: Vec<usize>,
}

impl OnWorkOrder {
    fn new(template: &'static str) -> Self {
        let all = template.contains("{parameters}");
        let is_named = |at: &usize| all || template.contains(&format!("{{{}}}", WORK_ORDER[*at].name));
        let bound: Vec<usize> = (0..WORK_ORDER.len()).filter(is_named).collect();
        let parameters: Vec<String> = (1..=bound.len()).map(|number| format!("${number}")).collect();
        let (columns, together) = (names(WORK_ORDER), parameters.join(", "));
        let mut parts = vec![("columns", columns.as_str()), ("parameters", together.as_str())];
        parts.extend(bound.iter().zip(&parameters).map(|(at, parameter)| (WORK_ORDER[*at].name, parameter.as_str())));
        Self { text: fill(template, &parts), bound }
    }

    fn query<'q>(&'static self, row: &'q WorkOrder) -> Query<'q, sqlx::Postgres, PgArguments> {
        let mut query = sqlx::query(self.text.as_str());
        for at in &self.bound {
            let value = (WORK_ORDER[*at].value)(row);
            query = match WORK_ORDER[*at].kind {
                Kind::Text => query.bind(value.and_then(Value::text)),
                Kind::Number => query.bind(value.and_then(Value::number)),
                Kind::SmallNumber => query.bind(value.and_then(Value::small_number)),
                Kind::Boolean => query.bind(value.and_then(Value::boolean)),
                Kind::Time => query.bind(value.and_then(Value::time).map(Timestamp::to_utc)),
            };
        }
        query
    }
}
