//! What this process holds, and what it has heard. Pure: the clock is handed in.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use crate::domain::ids::{Fence, WorkOrderNumber};
use crate::lease::{Ask, Held};

/// Without an `ensure` or `settle` for so long a lease is given up: far longer than a batch
/// takes, and short against the lease time, so that a hung holder is soon out of the way.
pub const IDLE: Duration = Duration::from_secs(1);

/// For so long after another replica's last ask a lease is handed over after every batch.
const HEARD: Duration = Duration::from_secs(1);

/// For so long after a `Busy` this process counts as waiting.
const WAITING: Duration = Duration::from_secs(1);

/// For so long a `Busy` is given again without asking, unless a hint says otherwise: a busy
/// committer makes a batch every few milliseconds, and need not ask with each.
const BUSY_STANDS: Duration = Duration::from_millis(10);

/// Work orders kept at most whose grant went unanswered; the rest run out by themselves.
const DOUBTFUL: usize = 10_000;

/// How long leases last.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How long Redis keeps a lease that is not renewed.
    pub ttl: Duration,
    /// How long a lease is held at most, however often renewed.
    pub longest_hold: Duration,
}

impl Timing {
    /// By how much sooner than Redis we take a lease to end: a twentieth of its time, far
    /// more than the clocks of two machines drift apart meanwhile.
    #[must_use]
    pub fn margin(&self) -> Duration {
        self.ttl / 20
    }

    /// Renewal comes after a third of the time: one may fail, and be tried again.
    fn renew_after(&self) -> Duration {
        self.ttl / 3
    }

    /// A renewal without an answer is tried again so much later.
    fn retry_after(&self) -> Duration {
        self.ttl / 12
    }
}

/// A lease by name and fence: what a script compares, whole.
pub type Name = (WorkOrderNumber, Fence);

/// The leases of this process, and the askers on both sides.
#[derive(Debug)]
pub struct Table {
    timing: Timing,
    leases: HashMap<WorkOrderNumber, Entry>,
    /// When another replica was last heard to ask.
    asked: HashMap<WorkOrderNumber, Instant>,
    /// When we were last told that another replica holds.
    busy: HashMap<WorkOrderNumber, Instant>,
    /// When we last heard that one may be free.
    freed: HashMap<WorkOrderNumber, Instant>,
    /// No longer ours in memory, and in Redis until then, if that could not be told.
    given_up: HashMap<Name, Instant>,
    /// Asked for without an answer: perhaps ours in Redis.
    doubtful: HashSet<WorkOrderNumber>,
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
    fn taken_up(&mut self, now: Instant) -> Held {
        self.used = now;
        self.working = true;
        Held { fence: self.fence, until: Some(self.until) }
    }
}

/// What memory says to an ask.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// Held, in force and above the floor.
    Held(Held),
    /// Another replica's, a moment ago.
    Busy,
    /// To be asked for.
    Missing,
    /// To be asked for: it was held, and ran out without renewal.
    RanOut,
}

/// What a grant came to.
#[derive(Debug, PartialEq, Eq)]
pub enum Granted {
    /// It is held.
    Held(Held),
    /// It came too late to be one.
    TooLate,
}

/// What the keeper has to do now.
#[derive(Debug, Default)]
pub struct Due {
    /// To be renewed, for so long.
    pub renew: Vec<(Name, Duration)>,
    /// To be released: idle, asked for, or held for longest.
    pub release: Vec<Name>,
    /// Ran out without renewal.
    pub ran_out: Vec<Name>,
    /// To be looked at: perhaps ours.
    pub doubtful: Vec<WorkOrderNumber>,
    /// Whether this process waits for another replica.
    pub waiting: bool,
}

impl Table {
    /// Nothing held.
    #[must_use]
    pub fn new(timing: Timing) -> Self {
        Self {
            timing,
            leases: HashMap::new(),
            asked: HashMap::new(),
            busy: HashMap::new(),
            freed: HashMap::new(),
            given_up: HashMap::new(),
            doubtful: HashSet::new(),
            closed: false,
        }
    }

    /// What memory says to an ask; a held lease counts as being worked on from here.
    pub fn find(&mut self, ask: &Ask, now: Instant) -> Found {
        if let Some(entry) = self.leases.get_mut(&ask.work_order) {
            if now < entry.until && entry.fence > ask.floor {
                return Found::Held(entry.taken_up(now));
            }
            let ran_out = now >= entry.until && now < entry.hold_ends;
            self.leases.remove(&ask.work_order);
            return if ran_out { Found::RanOut } else { Found::Missing };
        }
        let stands = self.busy.get(&ask.work_order).is_some_and(|since| now < *since + BUSY_STANDS);
        if stands { Found::Busy } else { Found::Missing }
    }

    /// A lease that is held and in force; it counts as being worked on from here.
    pub fn held(&mut self, work_order: &WorkOrderNumber, now: Instant) -> Option<Held> {
        let entry = self.leases.get_mut(work_order).filter(|entry| now < entry.until)?;
        Some(entry.taken_up(now))
    }

    /// A grant asked for at `sent` has come at `now`. One that has run out on its way is none.
    pub fn granted(
        &mut self,
        work_order: &WorkOrderNumber,
        fence: Fence,
        others_wait: bool,
        sent: Instant,
        now: Instant,
    ) -> Granted {
        self.busy.remove(work_order);
        self.doubtful.remove(work_order);
        // Found to be ours before we heard that it was granted: it is not to be released.
        self.given_up.remove(&(work_order.clone(), fence));
        if others_wait {
            self.asked.insert(work_order.clone(), now);
        }
        let hold_ends = sent + self.timing.longest_hold;
        let until = (sent + self.timing.ttl - self.timing.margin()).min(hold_ends);
        if now >= until || self.closed {
            self.give_up((work_order.clone(), fence), now);
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
        Granted::Held(entry.taken_up(now))
    }

    /// Another replica held, as an answer says that was asked for at `sent` and came at `now`.
    /// It stands unless a hint has overtaken it.
    pub fn busy(&mut self, work_order: &WorkOrderNumber, sent: Instant, now: Instant) {
        self.doubtful.remove(work_order);
        if self.freed.get(work_order).is_none_or(|heard| *heard < sent) {
            self.busy.insert(work_order.clone(), now);
        }
    }

    /// An ask went unanswered: it may have been granted.
    pub fn unanswered(&mut self, work_order: &WorkOrderNumber) {
        if self.doubtful.len() < DOUBTFUL {
            self.doubtful.insert(work_order.clone());
        }
    }

    /// A doubtful one turned out to be ours in Redis, and in memory perhaps not.
    pub fn found_ours(&mut self, work_order: WorkOrderNumber, fence: Fence, now: Instant) {
        if self.leases.get(&work_order).is_none_or(|entry| entry.fence != fence) {
            self.give_up((work_order, fence), now);
        }
    }

    /// Redis is to be told that we do not hold this: by the keeper, until it is
    /// [`Table::told`], or the lease has run out by itself.
    pub fn give_up(&mut self, name: Name, now: Instant) {
        self.drop_lease(&name);
        self.given_up.entry(name).or_insert(now + self.timing.ttl);
    }

    /// Redis was told. A grant that crossed this on its way is over with it.
    pub fn told(&mut self, name: &Name) {
        self.drop_lease(name);
        self.given_up.remove(name);
    }

    /// Whether it was held under this very fence; from here on it is not.
    fn drop_lease(&mut self, name: &Name) -> bool {
        let held = self.leases.get(&name.0).is_some_and(|entry| entry.fence == name.1);
        if held {
            self.leases.remove(&name.0);
        }
        held
    }

    /// A batch is done: what is to be released now, asked for by another replica or held
    /// for longest.
    pub fn settle(&mut self, done: &[WorkOrderNumber], now: Instant) -> Vec<Name> {
        let mut release = Vec::new();
        for work_order in done {
            let asked = self.is_asked(work_order, now);
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

    /// The store has shown a lease to be overtaken. Whether there was one.
    pub fn lost(&mut self, work_order: &WorkOrderNumber, now: Instant) -> bool {
        let lost = self.leases.remove(work_order);
        if let Some(entry) = &lost {
            self.give_up((work_order.clone(), entry.fence), now);
        }
        lost.is_some()
    }

    /// What is due. What is released or ran out is dropped first, so that nothing is
    /// renewed or used after.
    pub fn due(&mut self, now: Instant) -> Due {
        self.asked.retain(|_, at| now < *at + HEARD);
        self.busy.retain(|_, at| now < *at + WAITING);
        self.freed.retain(|_, at| now < *at + HEARD);
        self.given_up.retain(|_, runs_out| now < *runs_out);
        let mut due = Due {
            release: self.given_up.keys().cloned().collect(),
            doubtful: self.doubtful.drain().collect(),
            waiting: !self.busy.is_empty(),
            ..Due::default()
        };
        let (asked, timing) = (&self.asked, self.timing);
        self.leases.retain(|work_order, entry| {
            let name = || (work_order.clone(), entry.fence);
            if now >= entry.until && now < entry.hold_ends {
                due.ran_out.push(name());
                return false;
            }
            let wanted = !entry.working && asked.contains_key(work_order);
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

    /// A renewal asked for at `sent`, for so long, was done.
    pub fn renewed(&mut self, name: &Name, lasts: Duration, others_wait: bool, sent: Instant, now: Instant) {
        let Some(entry) = self.leases.get_mut(&name.0).filter(|entry| entry.fence == name.1) else { return };
        entry.until = (sent + lasts - self.timing.margin()).min(entry.hold_ends);
        entry.renew_at = sent + self.timing.renew_after();
        if others_wait {
            self.asked.insert(name.0.clone(), now);
        }
    }

    /// A renewal was refused: it is lost, unless it was given up or granted anew meanwhile.
    pub fn refused(&mut self, name: &Name) -> bool {
        self.drop_lease(name)
    }

    /// Another replica asks. Whether the lease can be handed over at once.
    pub fn hear_asked(&mut self, work_order: WorkOrderNumber, now: Instant) -> bool {
        let idle = self.leases.get(&work_order).is_some_and(|entry| !entry.working);
        self.asked.insert(work_order, now);
        idle
    }

    /// A work order that was busy may be free.
    pub fn hear_freed(&mut self, work_order: WorkOrderNumber, now: Instant) {
        self.busy.remove(&work_order);
        self.freed.insert(work_order, now);
    }

    /// Takes no more grants; everything that is to be released.
    pub fn close(&mut self) -> Vec<Name> {
        self.closed = true;
        let mut all: Vec<Name> = self.given_up.drain().map(|(name, _)| name).collect();
        all.extend(self.leases.drain().map(|(work_order, entry)| (work_order, entry.fence)));
        all
    }

    /// Whether [`Table::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.closed
    }

    fn is_asked(&self, work_order: &WorkOrderNumber, now: Instant) -> bool {
        self.asked.get(work_order).is_some_and(|at| now < *at + HEARD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: Duration = Duration::from_secs(1);
    const TIMING: Timing = Timing { ttl: Duration::from_secs(10), longest_hold: Duration::from_secs(60) };

    fn number(text: &str) -> WorkOrderNumber {
        WorkOrderNumber::parse(text).unwrap()
    }

    fn ask(text: &str, floor: i64) -> Ask {
        Ask { work_order: number(text), floor: Fence(floor) }
    }

    /// A table with "A" held under fence 7 since `t`.
    fn holding(t: Instant) -> Table {
        let mut table = Table::new(TIMING);
        assert!(matches!(table.granted(&number("A"), Fence(7), false, t, t), Granted::Held(_)));
        table
    }

    /// Uses "A" every half second from `from` for `seconds`, with every renewal done.
    fn work(table: &mut Table, from: Instant, seconds: u32) -> Instant {
        let mut now = from;
        for _ in 0..2 * seconds {
            now += S / 2;
            for (name, lasts) in table.due(now).renew {
                table.renewed(&name, lasts, false, now, now);
            }
            assert!(matches!(table.find(&ask("A", 0), now), Found::Held(_)), "after {:?}", now - from);
            assert_eq!(table.settle(&[number("A")], now), []);
        }
        now
    }

    #[test]
    fn validity_is_counted_from_before_the_ask_less_a_margin() {
        let t = Instant::now();
        let mut table = Table::new(TIMING);
        let until = t + 10 * S - S / 2;
        let held = table.granted(&number("A"), Fence(7), false, t, t + S);
        assert_eq!(held, Granted::Held(Held { fence: Fence(7), until: Some(until) }));
    }

    #[test]
    fn pitfall_16_a_grant_that_has_run_out_on_its_way_is_none_and_is_given_back() {
        let t = Instant::now();
        let mut table = Table::new(TIMING);
        assert_eq!(table.granted(&number("A"), Fence(7), false, t, t + 10 * S), Granted::TooLate);
        assert_eq!(table.find(&ask("A", 0), t + 10 * S), Found::Missing);
        assert_eq!(table.due(t + 10 * S).release, [(number("A"), Fence(7))]);
    }

    #[test]
    fn a_lease_at_or_below_the_floor_is_asked_for_anew() {
        let t = Instant::now();
        for (floor, held) in [(0, true), (6, true), (7, false), (8, false)] {
            let found = holding(t).find(&ask("A", floor), t);
            assert_eq!(matches!(found, Found::Held(_)), held, "floor {floor}: {found:?}");
        }
    }

    #[test]
    fn what_is_held_is_known_without_an_ask_while_it_is_in_force_and_worked_on_from_then() {
        let t = Instant::now();
        let mut table = holding(t);
        assert_eq!(table.held(&number("B"), t), None);
        assert_eq!(table.settle(&[number("A")], t), []);
        let until = t + 10 * S - S / 2;
        assert_eq!(table.held(&number("A"), t + S), Some(Held { fence: Fence(7), until: Some(until) }));
        assert!(!table.hear_asked(number("A"), t + S), "it is being worked on");
        assert_eq!(table.due(t + S + S / 2).release, [], "nor is it idle");
        assert_eq!(table.held(&number("A"), until), None);
    }

    #[test]
    fn pitfall_12_nothing_is_renewed_after_its_release() {
        let t = Instant::now();
        let mut table = holding(t);
        let renew = table.due(t + S / 2 + 3 * S).renew;
        assert!(renew.is_empty(), "idle: released, not renewed");
        let name = (number("A"), Fence(7));
        table.renewed(&name, TIMING.ttl, false, t + 4 * S, t + 4 * S);
        assert_eq!(table.find(&ask("A", 0), t + 4 * S), Found::Missing);
        assert!(!table.refused(&name), "and its late refusal is no loss");
    }

    #[test]
    fn pitfall_13_a_renewal_without_an_answer_is_tried_again_while_time_is_left() {
        let t = Instant::now();
        let mut table = holding(t);
        let mut tries = 0;
        let mut now = t;
        let ran_out = loop {
            now += S / 10;
            if let Found::RanOut = table.find(&ask("A", 0), now) {
                break now;
            }
            tries += table.due(now).renew.len();
        };
        assert_eq!(ran_out - t, TIMING.ttl - TIMING.margin());
        assert!(tries > 3, "{tries}");
    }

    #[test]
    fn pitfall_14_a_holder_without_progress_is_not_renewed() {
        let t = Instant::now();
        let mut table = holding(t);
        assert_eq!(table.due(t + S).release, [(number("A"), Fence(7))]);
        assert!(table.due(t + 4 * S).renew.is_empty());
    }

    #[test]
    fn pitfall_14_nothing_is_held_beyond_the_longest_hold() {
        let t = Instant::now();
        let mut table = holding(t);
        let now = work(&mut table, t, 59);
        assert!(
            matches!(table.find(&ask("A", 0), now), Found::Held(Held { until: Some(until), .. }) if until <= t + 60 * S)
        );
        assert_eq!(table.find(&ask("A", 0), t + 60 * S), Found::Missing, "over, not lost");

        let mut table = holding(t);
        work(&mut table, t, 59);
        assert_eq!(table.settle(&[number("A")], t + 60 * S), [(number("A"), Fence(7))]);

        let mut table = holding(t);
        work(&mut table, t, 59);
        let due = table.due(t + 60 * S);
        assert_eq!((due.release.len(), due.ran_out.len(), due.renew.len()), (1, 0, 0));
    }

    #[test]
    fn pitfall_15_a_refused_renewal_ends_the_lease_unless_it_was_granted_anew_meanwhile() {
        let t = Instant::now();
        let mut table = holding(t);
        let old = (number("A"), Fence(7));
        table.granted(&number("A"), Fence(9), false, t, t);
        assert!(!table.refused(&old));
        assert!(matches!(table.find(&ask("A", 0), t), Found::Held(Held { fence: Fence(9), .. })));
        assert!(table.refused(&(number("A"), Fence(9))));
        assert_eq!(table.find(&ask("A", 0), t), Found::Missing);
    }

    #[test]
    fn what_another_asks_for_goes_after_the_batch_for_a_second() {
        let t = Instant::now();
        let mut table = holding(t);
        assert!(!table.hear_asked(number("A"), t), "it is being worked on");
        assert!(table.due(t).release.is_empty());
        assert_eq!(table.settle(&[number("A")], t), [(number("A"), Fence(7))]);
        table.granted(&number("A"), Fence(9), false, t, t);
        assert_eq!(table.settle(&[number("A")], t + S / 2), [(number("A"), Fence(9))], "and after every batch");
        table.granted(&number("A"), Fence(11), false, t + S, t + S);
        assert_eq!(table.settle(&[number("A")], t + S), [], "for a second");
        assert!(table.hear_asked(number("A"), t + S), "between batches");
        assert_eq!(table.due(t + S).release, [(number("A"), Fence(11))], "the keeper hands over");
    }

    #[test]
    fn a_busy_answer_stands_for_a_moment_or_until_a_hint() {
        let t = Instant::now();
        let mut table = Table::new(TIMING);
        table.busy(&number("A"), t, t);
        assert_eq!(table.find(&ask("A", 0), t), Found::Busy);
        assert_eq!(table.find(&ask("A", 0), t + BUSY_STANDS), Found::Missing);
        table.hear_freed(number("A"), t + S);
        assert_eq!(table.find(&ask("A", 0), t), Found::Missing);
        table.busy(&number("A"), t, t + S);
        assert_eq!(table.find(&ask("A", 0), t + S), Found::Missing, "asked for before the hint, answered after it");
        table.busy(&number("A"), t + 2 * S, t + 2 * S);
        assert_eq!(table.find(&ask("A", 0), t + 2 * S), Found::Busy);
    }

    #[test]
    fn what_could_not_be_released_is_tried_again_until_it_has_run_out() {
        let t = Instant::now();
        let mut table = holding(t);
        let name = (number("A"), Fence(7));
        assert_eq!(table.due(t + IDLE).release.as_slice(), std::slice::from_ref(&name));
        table.give_up(name.clone(), t + IDLE);
        table.give_up(name.clone(), t + 5 * S);
        assert_eq!(table.due(t + 5 * S).release.as_slice(), std::slice::from_ref(&name));
        assert_eq!(table.due(t + IDLE + TIMING.ttl).release, []);
        table.give_up(name.clone(), t);
        table.told(&name);
        assert_eq!(table.due(t).release, []);
    }

    #[test]
    fn a_grant_that_crosses_its_own_finding_is_kept() {
        let t = Instant::now();
        let mut table = Table::new(TIMING);
        table.found_ours(number("A"), Fence(6), t);
        table.found_ours(number("A"), Fence(7), t);
        assert!(matches!(table.granted(&number("A"), Fence(7), false, t, t), Granted::Held(_)));
        assert_eq!(table.due(t).release, [(number("A"), Fence(6))], "what memory holds is not released");
        assert!(matches!(table.find(&ask("A", 0), t), Found::Held(_)));
    }

    #[test]
    fn a_grant_that_crosses_its_own_release_is_not_believed() {
        let t = Instant::now();
        let name = (number("A"), Fence(7));
        for told in [true, false] {
            let mut table = Table::new(TIMING);
            table.found_ours(number("A"), Fence(7), t);
            assert_eq!(table.due(t).release, std::slice::from_ref(&name));
            table.granted(&number("A"), Fence(7), false, t, t);
            match told {
                true => table.told(&name),
                false => table.give_up(name.clone(), t),
            }
            assert_eq!(table.find(&ask("A", 0), t), Found::Missing, "told: {told}");
        }
    }

    #[test]
    fn memory_of_what_was_heard_is_bounded_in_time() {
        let t = Instant::now();
        let mut table = Table::new(TIMING);
        for asked in 0..100 {
            table.hear_asked(number(&format!("P{asked}")), t);
            table.busy(&number(&format!("P{asked}")), t, t);
        }
        assert!(table.due(t).waiting);
        assert!(!table.due(t + S).waiting);
        assert!(table.asked.is_empty() && table.busy.is_empty());
    }
}
