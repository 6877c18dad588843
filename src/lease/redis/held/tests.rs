//! The table by its own clock: what is held, renewed, released and lost, and when.

use std::time::{Duration, Instant};

use super::contention::BUSY_STANDS;
use super::table::{Found, Granted, IDLE, LeaseTable};
use super::timing::Timing;
use crate::domain::ids::{Fence, WorkOrderNumber};
use crate::lease::{Ask, Held};

const S: Duration = Duration::from_secs(1);
const TIMING: Timing = Timing { ttl: Duration::from_secs(10), longest_hold: Duration::from_secs(60) };

fn number(text: &str) -> WorkOrderNumber {
    WorkOrderNumber::parse(text).unwrap()
}

fn ask(text: &str, floor: i64) -> Ask {
    Ask { work_order: number(text), floor: Fence(floor) }
}

/// A table with "A" held under fence 7 since `t`.
fn holding(t: Instant) -> LeaseTable {
    let mut table = LeaseTable::new(TIMING);
    assert!(matches!(table.granted(&number("A"), Fence(7), false, t, t), Granted::Held(_)));
    table
}

/// Uses "A" every half second from `from` for `seconds`, with every renewal done.
fn work(table: &mut LeaseTable, from: Instant, seconds: u32) -> Instant {
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
    let mut table = LeaseTable::new(TIMING);
    let until = t + 10 * S - S / 2;
    let held = table.granted(&number("A"), Fence(7), false, t, t + S);
    assert_eq!(held, Granted::Held(Held { fence: Fence(7), until: Some(until) }));
}

#[test]
fn pitfall_16_a_grant_that_has_run_out_on_its_way_is_none_and_is_given_back() {
    let t = Instant::now();
    let mut table = LeaseTable::new(TIMING);
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
    assert!(!table.note_asked(number("A"), t + S), "it is being worked on");
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
    assert!(!table.renewal_refused(&name), "and its late refusal is no loss");
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
    assert!(!table.renewal_refused(&old));
    assert!(matches!(table.find(&ask("A", 0), t), Found::Held(Held { fence: Fence(9), .. })));
    assert!(table.renewal_refused(&(number("A"), Fence(9))));
    assert_eq!(table.find(&ask("A", 0), t), Found::Missing);
}

#[test]
fn what_another_asks_for_goes_after_the_batch_for_a_second() {
    let t = Instant::now();
    let mut table = holding(t);
    assert!(!table.note_asked(number("A"), t), "it is being worked on");
    assert!(table.due(t).release.is_empty());
    assert_eq!(table.settle(&[number("A")], t), [(number("A"), Fence(7))]);
    table.granted(&number("A"), Fence(9), false, t, t);
    assert_eq!(table.settle(&[number("A")], t + S / 2), [(number("A"), Fence(9))], "and after every batch");
    table.granted(&number("A"), Fence(11), false, t + S, t + S);
    assert_eq!(table.settle(&[number("A")], t + S), [], "for a second");
    assert!(table.note_asked(number("A"), t + S), "between batches");
    assert_eq!(table.due(t + S).release, [(number("A"), Fence(11))], "the keeper hands over");
}

#[test]
fn a_busy_answer_stands_for_a_moment_or_until_a_hint() {
    let t = Instant::now();
    let mut table = LeaseTable::new(TIMING);
    table.busy(&number("A"), t, t);
    assert_eq!(table.find(&ask("A", 0), t), Found::Busy);
    assert_eq!(table.find(&ask("A", 0), t + BUSY_STANDS), Found::Missing);
    table.note_released(number("A"), t + S);
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
    table.release_later(name.clone(), t + IDLE);
    table.release_later(name.clone(), t + 5 * S);
    assert_eq!(table.due(t + 5 * S).release.as_slice(), std::slice::from_ref(&name));
    assert_eq!(table.due(t + IDLE + TIMING.ttl).release, []);
    table.release_later(name.clone(), t);
    table.release_done(&name);
    assert_eq!(table.due(t).release, []);
}

#[test]
fn a_grant_that_crosses_its_own_finding_is_kept() {
    let t = Instant::now();
    let mut table = LeaseTable::new(TIMING);
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
        let mut table = LeaseTable::new(TIMING);
        table.found_ours(number("A"), Fence(7), t);
        assert_eq!(table.due(t).release, std::slice::from_ref(&name));
        table.granted(&number("A"), Fence(7), false, t, t);
        match told {
            true => table.release_done(&name),
            false => table.release_later(name.clone(), t),
        }
        assert_eq!(table.find(&ask("A", 0), t), Found::Missing, "told: {told}");
    }
}

#[test]
fn memory_of_what_was_heard_is_bounded_in_time() {
    let t = Instant::now();
    let mut table = LeaseTable::new(TIMING);
    for asked in 0..100 {
        table.note_asked(number(&format!("P{asked}")), t);
        table.busy(&number(&format!("P{asked}")), t, t);
    }
    assert!(table.due(t).waiting);
    assert!(!table.due(t + S).waiting);
    assert!(table.contention.is_empty());
}
