//! The keeper: renews what is in use, releases what is not, and probes a Redis that was away.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Part};
use super::held::Name;
use super::{Core, View, millis};
use crate::domain::ids::WorkOrderNumber;

/// How often the keeper looks: half the time of a reservation, so that one whose hint was
/// lost is still found, and often enough for the shortest lease time.
const TICK: Duration = Duration::from_millis(50);

/// How often the keeper asks for a sign of life: a Redis that goes away while nobody scans
/// is noticed, and the breaker opened, before the next scan pays for it.
const SIGN_OF_LIFE: Duration = Duration::from_secs(1);

/// How long Redis keeps what a probe has written: until the script that wrote it has ended.
const PROBE_KEPT: Duration = Duration::from_millis(5);

/// So many leases a cluster is probed with. Slots are as good as drawn by lot: one of three
/// masters has none of them in one process of two hundred.
const PROBES: usize = 16;

/// Keeps the leases until told to stop.
pub(super) async fn run(core: Arc<Core>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probed = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
            () = core.wake.notified() => {}
        }
        core.keep(&mut probed).await;
    }
}

impl Core {
    /// One look at everything that is due.
    async fn keep(&self, probed: &mut Option<Instant>) {
        let now = Instant::now();
        let probe = self.breaker().probe(now);
        let quiet = self.breaker().is_closed() && probed.is_none_or(|at| now >= at + SIGN_OF_LIFE);
        if probe || quiet {
            *probed = Some(now);
            let granted = self.probe().await;
            self.judge(now, granted.as_ref().err().map(|failure| &**failure));
        }
        let mut due = self.table().due(Instant::now());
        self.note_lost(due.ran_out.len() as u64, "not renewed in time");
        if due.waiting {
            self.freed.notify_one();
        }
        // What ran out may still be there: Redis counts without the margin.
        due.release.append(&mut due.ran_out);
        tokio::join!(self.renew(due.renew), self.release(due.release), self.look_for(due.doubtful));
    }

    /// Has Redis grant what nobody else asks for. It may answer to a PING and refuse this: when
    /// it is out of memory, a replica since a failover, or the user may not write.
    async fn probe(&self) -> Result<(), Arc<Failure>> {
        let name: String = self.owner.as_str().chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let part = |place| -> Part {
            let number = WorkOrderNumber::parse(&format!("probe-{place}.{name}"));
            (number.expect("letters, digits, '-' and '.', fewer than 64"), vec!["0".to_owned()])
        };
        let parts: Vec<Part> = (0..PROBES).map(part).collect();
        let shared = [self.owner.to_string(), millis(PROBE_KEPT), millis(PROBE_KEPT)];
        self.wire.probe(&self.scripts.grant, &shared, &parts).await
    }

    async fn renew(&self, names: Vec<(Name, Duration)>) {
        if names.is_empty() {
            return;
        }
        let part = |((work_order, fence), lasts): &(Name, Duration)| -> Part {
            (work_order.clone(), vec![fence.to_string(), millis(*lasts)])
        };
        let parts: Vec<Part> = names.iter().map(part).collect();
        let sent = Instant::now();
        let Some(outcome) = self.call(&self.scripts.renew, &[self.owner.to_string()], &parts).await else { return };
        let now = Instant::now();
        let mut refused = 0;
        let mut table = self.table();
        for ((name, lasts), answer) in names.iter().zip(outcome.answers) {
            match answer.as_deref() {
                Some([word, waiting]) if word == "renewed" => table.renewed(name, *lasts, waiting != "0", sent, now),
                Some([word]) if word == "lost" => refused += u64::from(table.refused(name)),
                // Not answered: tried again while time is left.
                _ => {}
            }
        }
        drop(table);
        self.note_lost(refused, "renewal refused");
    }

    /// Finds grants whose answer was lost, so that nobody waits for them to run out.
    async fn look_for(&self, work_orders: Vec<WorkOrderNumber>) {
        if work_orders.is_empty() {
            return;
        }
        let parts: Vec<Part> = work_orders.into_iter().map(|work_order| (work_order, Vec::new())).collect();
        let outcome = self.call(&self.scripts.view, &[], &parts).await;
        let mut answers = outcome.map(|outcome| outcome.answers).unwrap_or_default();
        answers.resize(parts.len(), None);
        let now = Instant::now();
        let mut table = self.table();
        for ((work_order, _), answer) in parts.into_iter().zip(answers) {
            match answer.map(|answer| View::read(&answer)) {
                Some(Some(view)) if view.holder == self.owner => table.found_ours(work_order, view.fence, now),
                Some(_) => {}
                None => table.unanswered(&work_order),
            }
        }
    }
}
