//! Requests that the store refuses for ever.

use std::sync::Arc;

use async_trait::async_trait;
use scanfence::counting::Unsettled;
use scanfence::domain::decide::Facts;
use scanfence::domain::ids::RequestId;
use scanfence::domain::request::Request;
use scanfence::domain::update::Update;
use scanfence::store::{Batch, Store, StoreError, Wanted, Written};

use crate::ground::Ground;
use crate::replica::{Replica, counted, scan, unsettled, work_order};
use crate::stage::audit::{assert_audit, log_of};
use crate::stage::bent::{Bend, Bent};

/// Refuses every batch that holds an id with `poison` in it, for ever.
struct Refuses;

#[async_trait]
impl Bend for Refuses {
    async fn write(&self, inner: &Arc<dyn Store>, batch: &Batch) -> Result<Written, StoreError> {
        check_poison(batch)?;
        inner.write(batch).await
    }
    async fn write_locked(
        &self,
        inner: &Arc<dyn Store>,
        wanted: &Wanted,
        decide: &mut (dyn FnMut(Facts) -> Batch + Send),
    ) -> Result<Written, StoreError> {
        let mut refused = Ok(());
        let mut checked = |facts: Facts| {
            let batch = decide(facts);
            refused = check_poison(&batch);
            if refused.is_ok() { batch } else { Batch::default() }
        };
        let written = inner.write_locked(wanted, &mut checked).await;
        refused.and(written)
    }
}

fn check_poison(batch: &Batch) -> Result<(), StoreError> {
    let poisoned = |update: &Arc<Update>| update.request_id.as_str().contains("poison");
    match batch.changes.iter().flat_map(|change| &change.updates).any(poisoned) {
        true => Err(StoreError::Refused("a value that the store never takes, the test says".into())),
        false => Ok(()),
    }
}

on_both_stores! {
    async fn a_request_that_the_store_refuses_for_ever_leaves_the_rest_of_its_batch_counted(ground: Ground) {
        let store = ground.store().await;
        let (a, b) = (work_order(&store, "A").await, work_order(&store, "B").await);
        let replica = Replica::local(Arc::new(Bent { inner: ground.store().await, bend: Refuses }));
        let mut requests: Vec<Request> =
            (0..40).map(|n| scan(if n % 2 == 0 { &a } else { &b }, &format!("k{n}"))).collect();
        requests[17].request_id = RequestId::parse("poison").unwrap();
        // Each has its own terminal, so that none waits for another.
        for (n, request) in requests.iter_mut().enumerate() {
            request.terminal = Some(format!("t{n}"));
        }
        let answers = replica.count_all(requests).await;
        for (n, answer) in answers.iter().enumerate() {
            match n {
                17 => assert_eq!(unsettled(answer), Unsettled::StorageUnavailable),
                _ => drop(counted(answer)),
            }
        }
        assert_audit(&store, &a, &[]).await;
        assert_audit(&store, &b, &[]).await;
        replica.stop().await;
    }

    async fn later_items_of_a_terminal_wait_for_an_earlier_one_that_is_unsettled(ground: Ground) {
        let store = ground.store().await;
        let number = work_order(&store, "A").await;
        let replica = Replica::local(Arc::new(Bent { inner: ground.store().await, bend: Refuses }));
        let answers = replica.count_all(vec![scan(&number, "k1"), scan(&number, "poison"), scan(&number, "k3")]).await;
        counted(&answers[0]);
        assert_eq!(unsettled(&answers[1]), Unsettled::StorageUnavailable);
        assert_eq!(unsettled(&answers[2]), Unsettled::EarlierItemPending);
        assert_eq!(log_of(&store, &number).await.len(), 1);
        replica.stop().await;
    }
}
