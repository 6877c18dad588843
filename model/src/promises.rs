//! The promises, tried in every order of events: with all guards in place, and without some.

use std::collections::BTreeSet;
use std::path::Path;

use stateright::{Checker, Model as _};

use crate::design::{
    Action, Ask, BACK_ONCE, Design, EARLIER, EXPLAINED, Guard, KEPT, NO_LATE_WRITER, ONCE, PART_ONCE, State, Work,
};
use crate::walk::{Ends, walk};

/// Both are counted, whichever comes first.
const TWO_SCANS: Work = after(None, [Ask::Count, Ask::Count]);
/// The first is counted, and the second refused for good.
const ONE_PART_TWICE: Work = after(None, [Ask::CountPart, Ask::CountPart]);
/// The correction is counted or refused for good, depending on the order.
const SCAN_AND_CORRECTION: Work = after(None, [Ask::Count, Ask::TakeBack]);
/// One is counted, and the other has nothing to undo.
const UNDO_TWICE: Work = after(Some(Ask::Count), [Ask::Undo(EARLIER), Ask::Undo(EARLIER)]);
/// The part counts again only after the undo.
const UNDO_AND_PART: Work = after(Some(Ask::CountPart), [Ask::CountPart, Ask::Undo(EARLIER)]);
/// An undo that may come before its scan.
const UNDO_OF_THE_OTHER: Work = after(None, [Ask::CountPart, Ask::Undo(0)]);
/// Both take back the same scan.
const UNBIND_AND_UNDO: Work = after(Some(Ask::CountPart), [Ask::Unbind, Ask::Undo(EARLIER)]);
/// The part counts again only after the release.
const RELEASE_AND_PART: Work = after(Some(Ask::CountPart), [Ask::CountPart, Ask::Release]);
/// After the release, there is nothing to undo.
const RELEASE_AND_UNDO: Work = after(Some(Ask::Count), [Ask::Release, Ask::Undo(EARLIER)]);
const TAKING_BACK: [Work; 6] =
    [UNDO_TWICE, UNDO_AND_PART, UNDO_OF_THE_OTHER, UNBIND_AND_UNDO, RELEASE_AND_PART, RELEASE_AND_UNDO];

const fn after(earlier: Option<Ask>, asks: [Ask; 2]) -> Work {
    Work { earlier, asks }
}

/// Every promise holds without these guards, even without all of them together.
const SPARE: [Guard; 11] = [
    Guard::IdLookUp,
    Guard::PartLookUp,
    Guard::TakenBackKey,
    Guard::Floor,
    Guard::LockFirst,
    Guard::SeqKey,
    Guard::OneHolder,
    Guard::ReleaseWhole,
    Guard::KeptUnderFence,
    Guard::Forget,
    Guard::ReleaseByRowLock,
];

/// The cores of a small machine.
const THREADS: usize = 2;

impl Ends for Design {
    fn is_fault(action: Action) -> bool {
        action.is_fault()
    }

    fn is_good_end(state: &State) -> bool {
        state.is_settled()
    }

    fn representative(state: &State) -> State {
        state.regardless_of_workers()
    }
}

#[test]
fn every_promise_is_kept_whatever_three_faults_happen_when() {
    for (work, faults) in [(TWO_SCANS, 2), (ONE_PART_TWICE, 3), (SCAN_AND_CORRECTION, 3)] {
        let checked = explore(Design::whole(work, faults));
        println!("{work:?}, {faults} faults: {} states", checked.unique_state_count());
        checked.assert_properties();
    }
}

#[test]
fn every_run_ends_with_everybody_answered() {
    for work in [TWO_SCANS, ONE_PART_TWICE, SCAN_AND_CORRECTION] {
        let walked = walk(&Design::whole(work, 2));
        println!("{work:?}, 2 faults: {} states, and every run from each of them ends well", walked.states);
        assert!(walked.broken.is_empty(), "{walked:#?}");
    }
}

#[test]
fn what_takes_back_keeps_every_promise_and_ends() {
    for work in TAKING_BACK {
        let walked = walk(&Design::whole(work, 2));
        println!("{work:?}, 2 faults: {} states, and every run from each of them ends well", walked.states);
        assert!(walked.broken.is_empty(), "{walked:#?}");
    }
    let checked = explore(Design::whole(UNDO_OF_THE_OTHER, 1));
    for happens in ["an undo comes before its scan", "a scan is taken back"] {
        checked.assert_any_discovery(happens);
    }
}

#[test]
fn no_promise_leans_on_the_spare_guards() {
    let all = [ONE_PART_TWICE, SCAN_AND_CORRECTION].into_iter().chain(TAKING_BACK);
    for (work, faults) in all.zip([2, 2].into_iter().chain([1; 6])) {
        let walked = walk(&Design { work, faults, without: SPARE.into() });
        println!("{work:?} without {SPARE:?}, {faults} faults: {} states", walked.states);
        assert!(walked.broken.is_empty(), "{walked:#?}");
    }
}

/// Only "no late writer" needs a fence. The count needs no lease.
#[test]
fn the_count_is_right_without_leases_and_fences() {
    let mut without = Vec::from(SPARE);
    without.extend([Guard::AskAnew, Guard::Fence, Guard::FenceOwner]);
    let checked = explore(Design { work: ONE_PART_TWICE, faults: 2, without });
    for promise in [ONCE, PART_ONCE, BACK_ONCE, EXPLAINED, KEPT] {
        checked.assert_no_discovery(promise);
    }
    checked.assert_any_discovery(NO_LATE_WRITER);
}

/// One fault is enough: with two the table is the same (tried, but it takes minutes).
#[test]
fn architecture_md_tells_what_carries_the_weight() {
    let mut table = String::from("| without | no longer true |\n| --- | --- |\n");
    let mut add = |without: &[Guard]| {
        let broken = broken(without);
        let breaks = !broken.is_empty();
        if breaks {
            let words: Vec<&str> = without.iter().map(|guard| guard.words()).collect();
            table += &format!("| {} | {} |\n", words.join(" **and** "), Vec::from_iter(broken).join("; "));
        }
        breaks
    };
    let rest: Vec<Guard> = Guard::ALL.into_iter().filter(|&guard| !add(&[guard])).collect();
    for (place, &one) in rest.iter().enumerate() {
        for &other in &rest[place + 1..] {
            add(&[one, other]);
        }
    }
    let spare = SPARE.map(|guard| format!("- {}\n", guard.words())).concat();
    table += &format!("| all guards of the list below at once | nothing |\n\n{spare}");

    let map = Path::new(env!("CARGO_MANIFEST_DIR")).join("../ARCHITECTURE.md");
    let map = std::fs::read_to_string(map).expect("ARCHITECTURE.md can be read");
    assert!(map.contains(&table), "ARCHITECTURE.md should have this table:\n\n{table}");
}

fn explore(design: Design) -> impl Checker<Design> {
    design.checker().threads(THREADS).symmetry_fn(State::regardless_of_workers).spawn_dfs().join()
}

/// What is broken without these guards.
fn broken(without: &[Guard]) -> BTreeSet<&'static str> {
    let all = [ONE_PART_TWICE, SCAN_AND_CORRECTION].into_iter().chain(TAKING_BACK);
    all.flat_map(|work| walk(&Design { work, faults: 1, without: without.to_vec() }).broken).collect()
}
