//! A request that waits for its answer.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::chain::Link;
use crate::counting::answer::{Answer, Unsettled};
use crate::domain::ids::Principal;
use crate::domain::request::Request;
use crate::telemetry::{CodeLabel, Metrics};

/// A request that waits for its answer.
#[derive(Debug)]
pub(in crate::counting) struct WaitingRequest {
    /// In a box: it is large, and is moved often.
    pub(in crate::counting) request: Box<Request>,
    pub(in crate::counting) principal: Principal,
    pub(super) since: Instant,
    link: Option<Link>,
    reply: oneshot::Sender<Answer>,
    metrics: Arc<Metrics>,
}

impl WaitingRequest {
    pub(in crate::counting) fn new(
        request: Request,
        principal: Principal,
        link: Option<Link>,
        reply: oneshot::Sender<Answer>,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { request: Box::new(request), principal, since: Instant::now(), link, reply, metrics }
    }

    /// Answers the request. If nobody waits any more, what was counted stays counted.
    pub(in crate::counting) fn answer(self, answer: Answer) {
        if let Answer::Unsettled(why) = answer {
            self.metrics.unsettled.get_or_create(&CodeLabel { code: why.code() }).inc();
            if let Some(link) = &self.link {
                link.note_unsettled();
            }
        }
        // It is no error if the client has gone.
        let _ = self.reply.send(answer);
    }

    /// Whether an earlier item of its chain was left unsettled.
    pub(in crate::counting) fn follows_unsettled(&self) -> bool {
        self.link.as_ref().is_some_and(Link::follows_unsettled)
    }

    /// The reason to give up on it, if any: an earlier item was left unsettled, or it has waited too
    /// long.
    pub(super) fn stop_reason(&self, now: Instant, answer_within: Duration) -> Option<Unsettled> {
        if self.follows_unsettled() {
            Some(Unsettled::EarlierItemPending)
        } else if now.duration_since(self.since) > answer_within {
            Some(Unsettled::StorageUnavailable)
        } else {
            None
        }
    }
}
