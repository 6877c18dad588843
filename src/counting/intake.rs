//! The way in: requests go into the queues, and each gets a receiver for its answer.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::answer::Answer;
use super::queue::{Chain, Mailbox, Waiting};
use crate::domain::ids::{Principal, WorkOrderNumber};
use crate::domain::request::Request;
use crate::telemetry::Metrics;

/// Takes requests to be counted.
pub trait Counter: Send + Sync + 'static {
    /// Hands in the requests of one call, in order. Requests of one work order and
    /// terminal are settled in that order: once one of them is left unsettled, so are the
    /// later ones. Each receiver gets exactly one answer, within a bounded time, whether or
    /// not anybody waits for it; a request handed in goes on when its receiver is dropped.
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>>;
}

/// Hands requests to the committer; cheap to clone.
#[derive(Clone)]
pub struct Intake {
    mailbox: Arc<Mailbox>,
    metrics: Arc<Metrics>,
}

impl Intake {
    pub(super) fn new(mailbox: Arc<Mailbox>, metrics: Arc<Metrics>) -> Self {
        Self { mailbox, metrics }
    }
}

impl Counter for Intake {
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>> {
        let alone = requests.len() == 1;
        let mut chains: HashMap<(WorkOrderNumber, Option<String>), (Arc<Chain>, usize)> = HashMap::new();
        let mut receivers = Vec::with_capacity(requests.len());
        let mut posted = Vec::with_capacity(requests.len());
        for request in requests {
            let link = (!alone).then(|| {
                let key = (request.work_order.clone(), request.terminal.clone());
                let (chain, place) = chains.entry(key).or_insert_with(|| (Chain::new(), 0));
                *place += 1;
                chain.link(*place)
            });
            let (reply, receiver) = oneshot::channel();
            posted.push(Waiting::new(request, principal.clone(), link, reply, Arc::clone(&self.metrics)));
            receivers.push(receiver);
        }
        self.mailbox.post(posted);
        receivers
    }
}
