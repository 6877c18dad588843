//! The leases that this process holds.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use super::contention::Contention;
use super::timing::Timing;
use super::unconfirmed::{Name, Unconfirmed};
use crate::domain::ids::{Fence, WorkOrderNumber};
use crate::lease::{Ask, Held};

/// A lease without an `ensure` or `settle` for this long is released. A batch takes far less. It
/// is short against the lease time, so that a hung holder soon blocks nobody.
pub const IDLE: Duration = Duration::from_secs(1);

/// The leases of this process, who waits for them, and what Redis has not confirmed.
#[derive(Debug)]
pub struct LeaseTable {
    timing: Timing,
    leases: HashMap<WorkOrderNumber, Entry>,
    pub(super) contention: Contention,
    unconfirmed: Unconfirmed,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    fence: Fence,
    until: Instant,
    /// The end of the longest hold.
    hold_ends: Instant,
    renew_at: Instant,
    /// The last `ensure` or `settle`.
    used: Instant,
    /// Between `ensure` and `settle`.
    working: bool,
}

impl Entry {
    /// Marks it as being worked on.
    fn begin_work(&mut self, now: Instant) -> Held {
        self.used = now;
        self.working = true;
        Held { fence: self.fence, until: Some(self.until) }
    }
}

/// What memory knows about a work order's lease.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// This process holds it, in force and above the floor.
    Held(Held),
    /// Another replica held it a moment ago.
    Busy,
    /// Redis is to be asked.
    Missing,
    /// Redis is to be asked: this process held it, and it ran out without renewal.
    RanOut,
}

/// The effect of a grant.
#[derive(Debug, PartialEq, Eq)]
pub enum Granted {
    /// This process holds the lease.
    Held(Held),
    /// The answer came too late: the lease is not used.
    TooLate,
}

/// What the keeper has to do now.
#[derive(Debug, Default)]
pub struct Due {
    /// To be renewed, and for how long.
    pub renew: Vec<(Name, Duration)>,
    /// To be released: idle, asked for by another replica, or held for longest.
    pub release: Vec<Name>,
    /// Ran out without renewal.
    pub ran_out: Vec<Name>,
    /// To be looked up: Redis may have granted them to this process.
    pub unconfirmed: Vec<WorkOrderNumber>,
    /// Whether this process waits for another replica.
    pub waiting: bool,
}

impl LeaseTable {
    /// Nothing held.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            leases: HashMap::new(),
            contention: Contention::default(),
            unconfirmed: Unconfirmed::default(),
            closed: false,
        }
    }

    /// What memory knows about a lease. A held one counts as being worked on from here.
    pub fn find(&mut self, ask: &Ask, now: Instant) -> Found {
        if let Some(entry) = self.leases.get_mut(&ask.work_order) {
            if now < entry.until && entry.fence > ask.floor {
                return Found::Held(entry.begin_work(now));
            }
            let ran_out = now >= entry.until && now < entry.hold_ends;
            self.leases.remove(&ask.work_order);
            return if ran_out { Found::RanOut } else { Found::Missing };
        }
        if self.contention.is_busy(&ask.work_order, now) { Found::Busy } else { Found::Missing }
    }

    /// A lease that is held and in force. It counts as being worked on from here.
    pub fn held(&mut self, work_order: &WorkOrderNumber, now: Instant) -> Option<Held> {
        let entry = self.leases.get_mut(work_order).filter(|entry| now < entry.until)?;
        Some(entry.begin_work(now))
    }

    /// A grant that was asked for at `sent` came at `now`. If it ran out on its way, it is not used.
    pub fn granted(
        &mut self,
        work_order: &WorkOrderNumber,
        fence: Fence,
        others_wait: bool,
        sent: Instant,
        now: Instant,
    ) -> Granted {
        self.contention.granted(work_order);
        self.unconfirmed.drop_grant(work_order);
        // `found_ours` may have come before this answer: the lease is not to be released then.
        self.unconfirmed.drop_release(&(work_order.clone(), fence));
        if others_wait {
            self.contention.note_asked(work_order.clone(), now);
        }
        let hold_ends = sent + self.timing.longest_hold;
        let until = (sent + self.timing.ttl - self.timing.margin()).min(hold_ends);
        if now >= until || self.closed {
            self.release_later((work_order.clone(), fence), now);
            return Granted::TooLate;
        }
        let entry = self.leases.entry(work_order.clone()).or_insert(Entry {
            fence,
            until,
            hold_ends,
            renew_at: sent + self.timing.renew_after(),
            used: now,
            working: true,
        });
        if entry.fence < fence {
            *entry = Entry { fence, until, hold_ends, renew_at: sent + self.timing.renew_after(), ..*entry };
        }
        Granted::Held(entry.begin_work(now))
    }

    /// Another replica holds it, says an answer that was asked for at `sent` and came at `now`.
    pub fn busy(&mut self, work_order: &WorkOrderNumber, sent: Instant, now: Instant) {
        self.unconfirmed.drop_grant(work_order);
        self.contention.note_busy(work_order, sent, now);
    }

    /// A request was not answered: Redis may have granted the lease.
    pub fn unanswered(&mut self, work_order: &WorkOrderNumber) {
        self.unconfirmed.grant(work_order);
    }

    /// Redis says that this process holds the lease. If memory does not, it is released.
    pub fn found_ours(&mut self, work_order: WorkOrderNumber, fence: Fence, now: Instant) {
        if self.leases.get(&work_order).is_none_or(|entry| entry.fence != fence) {
            self.release_later((work_order, fence), now);
        }
    }

    /// Drops a lease, and leaves it to the keeper to tell Redis. The keeper tries until
    /// [`LeaseTable::release_done`], or until the lease has run out by itself.
    pub fn release_later(&mut self, name: Name, now: Instant) {
        self.drop_lease(&name);
        self.unconfirmed.release(name, now + self.timing.ttl);
    }

    /// The release is done in Redis. If a grant of the same lease crossed it, that is over, too.
    pub fn release_done(&mut self, name: &Name) {
        self.drop_lease(name);
        self.unconfirmed.drop_release(name);
    }

    /// Drops a lease if it is held under this very fence. Returns whether it was.
    fn drop_lease(&mut self, name: &Name) -> bool {
        let held = self.leases.get(&name.0).is_some_and(|entry| entry.fence == name.1);
        if held {
            self.leases.remove(&name.0);
        }
        held
    }

    /// A batch is done. Returns what is to be released now: asked for by another replica, or held
    /// for longest.
    pub fn settle(&mut self, done: &[WorkOrderNumber], now: Instant) -> Vec<Name> {
        let mut release = Vec::new();
        for work_order in done {
            let asked = self.contention.is_asked(work_order, now);
            let Some(entry) = self.leases.get_mut(work_order) else { continue };
            entry.used = now;
            entry.working = false;
            if asked || now >= entry.hold_ends {
                release.push((work_order.clone(), entry.fence));
                self.leases.remove(work_order);
            }
        }
        release
    }

    /// The store has shown that another replica wrote under a newer fence. Returns whether a lease
    /// was held.
    pub fn lost(&mut self, work_order: &WorkOrderNumber, now: Instant) -> bool {
        let lost = self.leases.remove(work_order);
        if let Some(entry) = &lost {
            self.release_later((work_order.clone(), entry.fence), now);
        }
        lost.is_some()
    }

    /// What is due. What is released or ran out is dropped first, so that it is not renewed or
    /// used afterwards.
    pub fn due(&mut self, now: Instant) -> Due {
        self.contention.expire(now);
        let mut due = Due {
            release: self.unconfirmed.releases(now),
            unconfirmed: self.unconfirmed.take_grants(),
            waiting: self.contention.is_waiting(),
            ..Due::default()
        };
        let (contention, timing) = (&self.contention, self.timing);
        self.leases.retain(|work_order, entry| {
            let name = || (work_order.clone(), entry.fence);
            if now >= entry.until && now < entry.hold_ends {
                due.ran_out.push(name());
                return false;
            }
            let wanted = !entry.working && contention.is_asked(work_order, now);
            if now >= entry.hold_ends || now >= entry.used + IDLE || wanted {
                due.release.push(name());
                return false;
            }
            if now >= entry.renew_at && entry.until < entry.hold_ends {
                due.renew.push((name(), timing.ttl.min(entry.hold_ends - now + timing.margin())));
                entry.renew_at = now + timing.retry_after();
            }
            true
        });
        due
    }

    /// A renewal that was asked for at `sent`, and lasts so long, was done.
    pub fn renewed(&mut self, name: &Name, lasts: Duration, others_wait: bool, sent: Instant, now: Instant) {
        let Some(entry) = self.leases.get_mut(&name.0).filter(|entry| entry.fence == name.1) else { return };
        entry.until = (sent + lasts - self.timing.margin()).min(entry.hold_ends);
        entry.renew_at = sent + self.timing.renew_after();
        if others_wait {
            self.contention.note_asked(name.0.clone(), now);
        }
    }

    /// Redis refused a renewal. Returns whether a lease is lost by that. It is not, if it was released or
    /// granted again since.
    pub fn renewal_refused(&mut self, name: &Name) -> bool {
        self.drop_lease(name)
    }

    /// Another replica asks for a lease. Returns whether it can be handed over at once.
    pub fn note_asked(&mut self, work_order: WorkOrderNumber, now: Instant) -> bool {
        let idle = self.leases.get(&work_order).is_some_and(|entry| !entry.working);
        self.contention.note_asked(work_order, now);
        idle
    }

    /// A work order that was busy may be free.
    pub fn note_released(&mut self, work_order: WorkOrderNumber, now: Instant) {
        self.contention.note_released(work_order, now);
    }

    /// Takes no more grants. Returns everything that is to be released.
    pub fn close(&mut self) -> Vec<Name> {
        self.closed = true;
        let mut all = self.unconfirmed.take_releases();
        all.extend(self.leases.drain().map(|(work_order, entry)| (work_order, entry.fence)));
        all
    }

    /// Whether [`LeaseTable::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }
}
