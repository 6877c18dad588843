//! A store that behaves differently in some calls, as a test needs it, and otherwise like another store.

use std::sync::Arc;

use async_trait::async_trait;
use scanfence::domain::decide::Facts;
use scanfence::domain::ids::{RequestId, WorkOrderNumber};
use scanfence::domain::refusals::{Leave, NotLeft, Refusal};
use scanfence::domain::update::Update;
use scanfence::domain::work_order::{Edit, EditRefusal, Fresh, Precondition, WorkOrder};
use scanfence::store::{
    BarcodeQuery, Batch, CountingStore, Edited, PlanningStore, Readiness, RefusalQuery, RefusalStore, Store,
    StoreError, UpdateQuery, UpdateStore, Wanted, WorkOrderQuery, Written,
};

/// The calls that a [`Bent`] store changes.
#[async_trait]
pub trait Bend: Send + Sync + 'static {
    async fn load(&self, inner: &Arc<dyn Store>, wanted: &Wanted) -> Result<Facts, StoreError> {
        inner.load(wanted).await
    }
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        inner.write(batch).await
    }
    async fn write_locked(
        &self,
        inner: &Arc<dyn Store>,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        inner.write_locked(wanted, decide).await
    }
    async fn updates_by_id(&self, inner: &Arc<dyn Store>, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        inner.updates_by_id(ids).await
    }
    fn epoch(&self, inner: &Arc<dyn Store>) -> u64 {
        inner.epoch()
    }
}

/// A store that passes every call on, except for those that its [`Bend`] changes.
pub struct Bent<B> {
    /// The other one.
    pub inner: Arc<dyn Store>,
    /// The calls that it changes.
    pub bend: B,
}

#[async_trait]
impl<B: Bend> CountingStore for Bent<B> {
    async fn load(&self, wanted: &Wanted) -> Result<Facts, StoreError> {
        self.bend.load(&self.inner, wanted).await
    }

    async fn write(&self, batch: &Batch) -> Result<Written, StoreError> {
        self.bend.write(&self.inner, batch).await
    }

    async fn write_locked(
        &self,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        self.bend.write_locked(&self.inner, wanted, decide).await
    }

    fn epoch(&self) -> u64 {
        self.bend.epoch(&self.inner)
    }
}

#[async_trait]
impl<B: Bend> PlanningStore for Bent<B> {
    async fn edit(
        &self,
        number: &WorkOrderNumber,
        edit: &Edit,
        precondition: &Precondition,
        fresh: Fresh,
    ) -> Result<Result<Edited, EditRefusal>, StoreError> {
        self.inner.edit(number, edit, precondition, fresh).await
    }

    async fn work_order(&self, number: &WorkOrderNumber) -> Result<Option<WorkOrder>, StoreError> {
        self.inner.work_order(number).await
    }

    async fn work_orders(&self, query: &WorkOrderQuery) -> Result<Vec<WorkOrder>, StoreError> {
        self.inner.work_orders(query).await
    }
}

#[async_trait]
impl<B: Bend> UpdateStore for Bent<B> {
    async fn updates(&self, query: &UpdateQuery) -> Result<Vec<Update>, StoreError> {
        self.inner.updates(query).await
    }

    async fn updates_of_barcode(&self, query: &BarcodeQuery) -> Result<Vec<Update>, StoreError> {
        self.inner.updates_of_barcode(query).await
    }

    async fn updates_by_id(&self, ids: &[RequestId]) -> Result<Vec<Update>, StoreError> {
        self.bend.updates_by_id(&self.inner, ids).await
    }
}

#[async_trait]
impl<B: Bend> RefusalStore for Bent<B> {
    async fn refusals(&self, query: &RefusalQuery) -> Result<Vec<Refusal>, StoreError> {
        self.inner.refusals(query).await
    }

    async fn refusal(&self, request_id: &RequestId) -> Result<Option<Refusal>, StoreError> {
        self.inner.refusal(request_id).await
    }

    async fn leave(&self, request_id: &RequestId, leave: &Leave) -> Result<Result<Refusal, NotLeft>, StoreError> {
        self.inner.leave(request_id, leave).await
    }
}

#[async_trait]
impl<B: Bend> Store for Bent<B> {
    async fn ready(&self) -> Result<Readiness, StoreError> {
        self.inner.ready().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
