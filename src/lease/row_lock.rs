//! No leases: PostgreSQL without Redis. Every work order goes by its row lock.

use async_trait::async_trait;
use futures_util::future::{BoxFuture, ready};
use tokio::sync::Notify;

use super::{Ask, Health, Held, Lease, LeaseState, Unreachable, View};
use crate::domain::ids::{Owner, WorkOrderNumber};

/// Grants nothing: the rows alone order the work.
#[derive(Debug)]
pub struct RowsAlone {
    owner: Owner,
    freed: Notify,
}

impl RowsAlone {
    /// No leases, for this process.
    #[must_use]
    pub fn new(owner: Owner) -> Self {
        Self { owner, freed: Notify::new() }
    }
}

#[async_trait]
impl Lease for RowsAlone {
    fn owner(&self) -> &Owner {
        &self.owner
    }

    async fn ensure(&self, asks: &[Ask]) -> Vec<LeaseState> {
        vec![LeaseState::RowLock; asks.len()]
    }

    fn held(&self, _work_order: &WorkOrderNumber) -> Option<Held> {
        None
    }

    fn settle(&self, _done: &[WorkOrderNumber]) -> BoxFuture<'_, ()> {
        Box::pin(ready(()))
    }

    async fn lost(&self, _work_order: &WorkOrderNumber) {}

    /// Never notified: nothing is ever busy.
    fn freed(&self) -> &Notify {
        &self.freed
    }

    async fn view(&self, _work_order: &WorkOrderNumber) -> Result<Option<View>, Unreachable> {
        Ok(None)
    }

    fn health(&self) -> Health {
        Health::RowsAlone
    }

    async fn close(&self) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::Fence;

    #[tokio::test]
    async fn every_standing_is_the_row_lock_and_nobody_holds() {
        let lease = RowsAlone::new(Owner::named("a"));
        let work_order = WorkOrderNumber::parse("A").unwrap();
        let asks = vec![Ask { work_order: work_order.clone(), floor: Fence(7) }; 2];
        assert_eq!(lease.ensure(&asks).await, [LeaseState::RowLock, LeaseState::RowLock]);
        assert_eq!(lease.view(&work_order).await.unwrap(), None);
        assert_eq!(lease.health(), Health::RowsAlone);
    }
}
