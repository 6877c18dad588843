//! The keeper: renews leases in use, releases the others, and probes Redis.
//!
//! One pass comes every 50 ms, or when a hint wakes the keeper. The calls of steps 3 to 5 are sent
//! at the same time. Redis runs each script as a whole, and each script compares owner and fence.
//! A round trip carries 250 leases; a cluster gets one call for each lease, all at once.
//!
//! | step | statement | round trips | if the process dies here |
//! | --- | --- | --- | --- |
//! | 1. probe, once a second | `grant.lua` on names of its own (on a cluster `PING` first) | 1 (cluster 2) | Redis drops what the probe wrote after 5 ms |
//! | 2. look what is due ([`LeaseTable::due`](super::held::LeaseTable::due)) | none: memory | 0 | Redis still has every lease, until its time is over |
//! | 3. renew after a third of the lease time | `renew.lua` | 1 | renewed or not, the lease runs out by itself; then another replica gets a higher fence |
//! | 4. release what is idle, asked for, held for longest or ran out | `release.lua` | 1 | as step 3, or another replica has it already |
//! | 5. look up grants without an answer | `view.lua` | 1 | a grant that nobody uses runs out by itself |
//!
//! A renewal or release has no effect on a lease that another replica got since. The count never depends
//! on a lease: the guarded write checks the fence in its own transaction.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::connection::{Failure, Part};
use super::held::Name;
use super::leases::Leases;
use super::scripts::{millis, read_view};
use crate::domain::ids::WorkOrderNumber;

/// How often the keeper looks what is due: half the time of a reservation, so that a reservation
/// whose hint was lost is still found. That is often enough for the shortest lease time, too.
const TICK: Duration = Duration::from_millis(50);

/// How often the keeper probes a Redis that answers. So the breaker opens before the next scan if Redis
/// fails while nobody scans.
const PROBE_EVERY: Duration = Duration::from_secs(1);

/// How long Redis keeps what a probe has written: the script that wrote it must have ended.
const PROBE_KEPT: Duration = Duration::from_millis(5);

/// With how many leases a cluster is probed. Their slots are practically random. With three masters and
/// 16 probes, about 1 process in 200 never probes one of them (3 × (2/3)^16 = 0.5 %).
const PROBES: usize = 16;

/// Keeps the leases until it is to stop.
pub(super) async fn run(leases: Arc<Leases>, stop: CancellationToken) {
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut probed = None;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = ticks.tick() => {}
            () = leases.wake.notified() => {}
        }
        leases.keep(&mut probed).await;
    }
}

impl Leases {
    /// One pass: does everything that is due.
    async fn keep(&self, probed: &mut Option<Instant>) {
        let now = Instant::now();
        let probe = self.breaker().probe(now);
        let due_while_closed = self.breaker().is_closed() && probed.is_none_or(|at| now >= at + PROBE_EVERY);
        if probe || due_while_closed {
            *probed = Some(now);
            let granted = self.probe().await;
            self.report(now, granted.as_ref().err().map(|failure| &**failure));
        }
        let mut due = self.table().due(Instant::now());
        self.note_lost(due.ran_out.len() as u64, "not renewed in time");
        if due.waiting {
            self.released.notify_one();
        }
        // What ran out here may still be held in Redis, which counts without the margin.
        due.release.append(&mut due.ran_out);
        tokio::join!(self.renew(due.renew), self.release(due.release), self.look_for(due.unconfirmed));
    }

    /// Has Redis grant leases that nobody else asks for. Redis may answer a PING and refuse this: if
    /// it is out of memory, became a replica in a failover, or the user may not write.
    async fn probe(&self) -> Result<(), Arc<Failure>> {
        let name: String = self.owner.as_str().chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        let part = |place| -> Part {
            let number = WorkOrderNumber::parse(&format!("probe-{place}.{name}"));
            (number.expect("letters, digits, '-' and '.', fewer than 64"), vec!["0".to_owned()])
        };
        let parts: Vec<Part> = (0..PROBES).map(part).collect();
        let shared = [self.owner.to_string(), millis(PROBE_KEPT), millis(PROBE_KEPT)];
        self.connection.probe(&self.scripts.grant, &shared, &parts).await
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
                Some([word]) if word == "lost" => refused += u64::from(table.renewal_refused(name)),
                // Not answered: retried while time is left.
                _ => {}
            }
        }
        drop(table);
        self.note_lost(refused, "renewal refused");
    }

    /// Finds grants whose answer was lost, so that no replica has to wait until they run out.
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
            match answer.map(|answer| read_view(&answer)) {
                Some(Some(view)) if view.holder == self.owner => table.found_ours(work_order, view.fence, now),
                Some(_) => {}
                None => table.unanswered(&work_order),
            }
        }
    }
}
