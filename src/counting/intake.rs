//! Takes requests from the routes, puts them into the queues, and returns a receiver for each answer.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::answer::Answer;
use super::queue::{Chain, Queues, WaitingRequest};
use crate::domain::ids::{Principal, WorkOrderNumber};
use crate::domain::request::Request;
use crate::telemetry::Metrics;

/// Takes requests to be counted.
pub trait ScanIntake: Send + Sync + 'static {
    /// Hands in the requests of one call, in order. Requests of one work order and terminal are settled
    /// in that order: if one of them is left unsettled, so are the later ones. Each receiver gets
    /// exactly one answer, within a bounded time. If a receiver is dropped, its request is settled all
    /// the same.
    fn submit(&self, requests: Vec<Request>, principal: &Principal) -> Vec<oneshot::Receiver<Answer>>;
}

/// Puts requests into the queues; cheap to clone.
#[derive(Clone)]
pub struct QueueIntake {
    queues: Arc<Queues>,
    metrics: Arc<Metrics>,
}

impl QueueIntake {
    pub(super) fn new(queues: Arc<Queues>, metrics: Arc<Metrics>) -> Self {
        Self { queues, metrics }
    }
}

impl ScanIntake for QueueIntake {
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
            posted.push(WaitingRequest::new(request, principal.clone(), link, reply, Arc::clone(&self.metrics)));
            receivers.push(receiver);
        }
        self.queues.post(posted);
        receivers
    }
}
