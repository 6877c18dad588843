//! Single rules, by example.

use std::collections::HashMap;

use scanfence::domain::decide::{Arrival, Claim, ClaimKey, Decision, Facts, Verdict, decide};
use scanfence::domain::ids::{Delta, Principal, Quantity, RequestId, WorkOrderNumber};
use scanfence::domain::request::{Ask, Barcodes, Change, Counter, Request};
use scanfence::domain::update::RefusalCode;
use scanfence::domain::work_order::{Hold, Moment, WorkOrder};

use crate::naive::Refused;
use crate::requests::{id, overriding, recount, request, scan, scan_of, unbind, undo};
use crate::seen;
use crate::tables::{Tables, at, held, moment, order, patterned};

type Results = Vec<Result<i64, Refused>>;

fn results(decision: &Decision) -> Results {
    seen(decision).into_iter().map(|seen| seen.result).collect()
}

fn finally(code: RefusalCode) -> Result<i64, Refused> {
    Err(Refused::Finally(code))
}

fn decide_on(row: WorkOrder, claims: HashMap<ClaimKey, Vec<Claim>>, batch: &[Request]) -> Decision {
    let principal = Principal::named("loopback");
    let facts = Facts { work_orders: [(row.work_order.clone(), row)].into(), claims, ..Facts::default() };
    let arrivals: Vec<_> = batch.iter().map(|request| Arrival { request, principal: &principal }).collect();
    decide(facts, &arrivals, &HashMap::new(), moment(0))
}

#[test]
fn pitfall_02_one_part_under_two_request_ids_counts_once() {
    let decision = decide_on(
        order("W1", 500, Some(0), false),
        HashMap::new(),
        &[scan("k1", Some("WA2080ZWJ0926")), scan("k2", Some("WA2080ZWJ0926"))],
    );
    let [Ok(1), Err(Refused::Finally(RefusalCode::BarcodeAlreadyCounted))] = results(&decision)[..] else {
        panic!("{:?}", results(&decision));
    };
    let refused = &decision.changes[0].updates[1];
    assert_eq!(refused.original_request_id.as_ref().map(RequestId::as_str), Some("k1"));
}

#[test]
fn pitfall_07_a_change_below_zero_is_refused_and_not_clamped() {
    let correction =
        Ask::Correct { change: Change::Delta(Delta::new(-1).unwrap()), expected: None, reason: "r".into() };
    let decision =
        decide_on(order("W1", 5, None, false), HashMap::new(), &[request("k1", "W1", Counter::Output, correction)]);
    assert_eq!(results(&decision), [Err(Refused::Finally(RefusalCode::BelowZero))]);
    assert_eq!(decision.changes[0].row.output_quantity, Quantity::ZERO);
}

#[test]
fn pitfall_24_the_same_id_twice_in_one_batch_is_one_effect() {
    let decision = decide_on(order("W1", 5, None, false), HashMap::new(), &[scan("k", None), scan("k", None)]);
    assert!(matches!(decision.verdicts[..], [Verdict::Decided(_), Verdict::Replayed { in_batch: true, .. }]));
    assert_eq!(decision.changes[0].row.input_quantity.get(), 1);
}

#[test]
fn pitfall_32_an_unbound_barcode_can_be_scanned_again() {
    let decision = decide_on(
        order("W1", 5, None, false),
        HashMap::new(),
        &[scan("k1", Some("A")), unbind("k2", "A"), scan("k3", Some("A"))],
    );
    assert_eq!(results(&decision), [Ok(1), Ok(0), Ok(1)]);
}

#[test]
fn pitfall_39_scans_and_unbinds_of_one_barcode_are_one_net_change() {
    let key = ClaimKey::of(&scan("k", Some("A"))).unwrap();
    let standing = |name: &str| Claim { ordinal: 1, request_id: id(name), quantity: Quantity::new(1).unwrap() };
    let on = |loaded: Option<&str>, batch: &[Request]| {
        let claims = loaded.map(|id| (key.clone(), vec![standing(id)])).into_iter().collect();
        let mut row = order("W1", 9, None, false);
        row.input_quantity = Quantity::new(3).unwrap();
        let claims = decide_on(row, claims, batch).changes.remove(0).claims;
        (claims.delete.len(), claims.take_over.len(), claims.insert.len())
    };
    let (s, u) = (|id| scan(id, Some("A")), |id| unbind(id, "A"));
    assert_eq!(on(None, &[s("k1"), u("k2")]), (0, 0, 0), "scanned and unbound is nothing");
    assert_eq!(on(None, &[s("k1"), u("k2"), s("k3")]), (0, 0, 1));
    assert_eq!(on(Some("k0"), &[u("k1")]), (1, 0, 0));
    assert_eq!(on(Some("k0"), &[u("k1"), s("k2")]), (0, 1, 0), "another update holds it now");
    assert_eq!(on(Some("k0"), &[u("k1"), s("k2"), u("k3")]), (1, 0, 0));
    assert_eq!(on(Some("k0"), &[s("k1")]), (0, 0, 0), "a refusal changes no claim");
}

#[test]
fn a_quantity_never_passes_the_limit_of_all_quantities() {
    let mut row = order("W1", 0, None, false);
    row.scrap_quantity = Quantity::new(1_000_000_000_000).unwrap();
    let one_more = scan_of(1, None, None);
    let decision = decide_on(row, HashMap::new(), &[request("k", "W1", Counter::Scrap, one_more)]);
    assert_eq!(results(&decision), [Err(Refused::Finally(RefusalCode::OverPlan))]);
}

/// Decides requests on one work order, one batch after the other, each ten minutes after the one before.
fn decided(row: WorkOrder, batches: &[&[Request]]) -> Results {
    let mut tables = Tables { orders: [(row.work_order.clone(), row)].into(), ..Tables::default() };
    let principal = Principal::named("loopback");
    let mut all = Vec::new();
    for (number, batch) in (0..).zip(batches) {
        let arrivals: Vec<_> = batch.iter().map(|request| Arrival { request, principal: &principal }).collect();
        let decision = decide(tables.facts(batch), &arrivals, &HashMap::new(), moment(number));
        tables.write(&decision);
        all.extend(results(&decision));
    }
    all
}

#[test]
fn a_scan_without_a_barcode_can_be_undone_once() {
    let row = || order("W1", 9, None, false);
    let (first, undone) = (scan("k1", None), undo("u1", "k1"));
    let nothing = finally(RefusalCode::NothingToUndo);
    let again = [first.clone(), undone.clone(), undo("u2", "k1")];
    assert_eq!(decided(row(), &[&again]), [Ok(1), Ok(0), nothing], "in one batch");
    assert_eq!(decided(row(), &[&again[..1], &again[1..2], &again[2..]]), [Ok(1), Ok(0), nothing], "in three");
    assert_eq!(decided(row(), &[&[first, undone.clone()], &[undone]]), [Ok(1), Ok(0), Ok(0)], "a repeat");
}

#[test]
fn an_undo_before_its_scan_is_not_final() {
    let batches: [&[Request]; 3] = [&[undo("u1", "k1")], &[scan("k1", Some("A"))], &[undo("u1", "k1")]];
    assert_eq!(decided(order("W1", 9, None, false), &batches), [Err(Refused::UpdateUnknown), Ok(1), Ok(0)]);
}

#[test]
fn an_undone_barcode_can_be_scanned_again() {
    let batch = [scan("k1", Some("A")), undo("u1", "k1"), scan("k2", Some("A")), undo("u2", "k1"), undo("u3", "k2")];
    let expected = [Ok(1), Ok(0), Ok(1), finally(RefusalCode::NothingToUndo), Ok(0)];
    assert_eq!(decided(order("W1", 9, None, false), &[&batch]), expected);
    let one_by_one: Vec<&[Request]> = batch.chunks(1).collect();
    assert_eq!(decided(order("W1", 9, None, false), &one_by_one), expected);
}

#[test]
fn only_a_counted_scan_of_the_same_counter_can_be_undone() {
    let output = |request_id: &str| Request { counter: Counter::Output, ..scan(request_id, None) };
    let batch =
        [output("k1"), undo("u1", "k1"), scan("k2", None), undo("u2", "k2"), undo("u3", "u2"), undo("u4", "u1")];
    let nothing = finally(RefusalCode::NothingToUndo);
    assert_eq!(decided(order("W1", 9, None, false), &[&batch]), [Ok(1), nothing, Ok(1), Ok(0), nothing, nothing]);
}

#[test]
fn an_unbind_takes_the_newest_of_what_undos_leave() {
    let scans = ["k1", "k2", "k3"].map(|request_id| scan(request_id, Some("A")));
    let back = [undo("u3", "k3"), undo("u2", "k2"), unbind("b1", "A")];
    let expected = [Ok(1), Ok(2), Ok(3), Ok(2), Ok(1), Ok(0)];
    assert_eq!(decided(order("W1", 9, None, true), &[&scans, &back]), expected);
}

#[test]
fn an_undo_has_the_part_of_its_scan_but_none_of_another_work_order() {
    let mut tables = Tables::default();
    for number in ["W1", "W2"] {
        let row = order(number, 9, None, false);
        tables.orders.insert(row.work_order.clone(), row);
    }
    let principal = Principal::named("loopback");
    let mut decide = |batch: &[Request]| {
        let arrivals: Vec<_> = batch.iter().map(|request| Arrival { request, principal: &principal }).collect();
        let decision = decide(tables.facts(batch), &arrivals, &HashMap::new(), moment(0));
        tables.write(&decision);
        decision.changes.into_iter().flat_map(|change| change.updates).collect::<Vec<_>>()
    };
    decide(&[scan("k1", Some("A")), scan("k2", Some("B"))]);
    let undos =
        decide(&[undo("u1", "k1"), Request { work_order: WorkOrderNumber::parse("W2").unwrap(), ..undo("u2", "k2") }]);
    let part = |at: usize| undos[at].barcode.as_deref();
    assert_eq!((part(0), part(1)), (Some("A"), None));
    assert_eq!(undos[0].takes_back, Some(id("k1")));
    assert_eq!((undos[1].takes_back.as_ref(), undos[1].undoes.as_ref()), (None, Some(&id("k2"))));
}

#[test]
fn a_recount_with_release_frees_barcodes_and_ends_what_can_be_undone() {
    let scans = [scan("k1", Some("A")), scan("k2", None)];
    let after = [unbind("b1", "A"), undo("u1", "k1"), undo("u2", "k2"), scan("k3", Some("A")), undo("u3", "k3")];
    let expected = |release: Results| [vec![Ok(1), Ok(2), Ok(0)], release].concat();
    let released = [
        finally(RefusalCode::BarcodeNotCounted),
        finally(RefusalCode::NothingToUndo),
        finally(RefusalCode::NothingToUndo),
        Ok(1),
        Ok(0),
    ];
    let kept = [
        finally(RefusalCode::BelowZero),
        finally(RefusalCode::BelowZero),
        finally(RefusalCode::BelowZero),
        finally(RefusalCode::BarcodeAlreadyCounted),
        finally(RefusalCode::NothingToUndo),
    ];
    for (barcodes, outcome) in [(Barcodes::Release, released), (Barcodes::Keep, kept)] {
        let recount = [recount("c1", 0, barcodes)];
        let whole = [scans.to_vec(), recount.to_vec(), after.to_vec()].concat();
        let row = || order("W1", 9, None, false);
        assert_eq!(decided(row(), &[&scans, &recount, &after]), expected(outcome.to_vec()), "{barcodes:?}");
        assert_eq!(decided(row(), &[&whole]), expected(outcome.to_vec()), "{barcodes:?} in one batch");
    }
}

#[test]
fn pitfall_76_a_badge_and_two_codes_glued_together_do_not_match_the_pattern() {
    let row = patterned(order("W1", 9, None, false), "WA2080[A-Z]+[0-9]{4}");
    let codes = ["WA2080ZWJ0926", "E1024", "WA2080ZWJ09", "WA2080ZWJ0926WA2080ZWJ0927"];
    let mismatch = finally(RefusalCode::BarcodeMismatch);
    let scans: Vec<Request> = codes.iter().map(|code| scan(code, Some(code))).collect();
    assert_eq!(decided(row.clone(), &[&scans]), [Ok(1), mismatch, mismatch, mismatch]);
    let others = [overriding("o1", Some("E1024"), None), unbind("b1", "E1024"), scan("k2", None)];
    assert_eq!(decided(row, &[&others]), [Ok(1), Ok(0), Ok(1)], "override, unbind, and no barcode");
}

#[test]
fn an_override_counts_past_hold_and_plan_but_never_a_counted_barcode() {
    let batch = [
        overriding("o1", Some("A"), None),
        overriding("o2", Some("A"), None),
        overriding("o3", None, None),
        scan("k1", None),
    ];
    let counted = finally(RefusalCode::BarcodeAlreadyCounted);
    let full = order("W1", 1, Some(0), false);
    assert_eq!(decided(full.clone(), &[&batch]), [Ok(1), counted, Ok(2), finally(RefusalCode::OverPlan)]);
    let cancelled = held(&full, Hold::Cancelled, true, 0);
    assert_eq!(decided(cancelled, &[&batch]), [Ok(1), counted, Ok(2), finally(RefusalCode::WorkOrderNotOpen)]);
}

#[test]
fn a_refused_scan_is_settled_once() {
    let row = || held(&order("W1", 9, None, false), Hold::Paused, true, 0);
    let batch = [
        scan("k1", Some("A")),
        overriding("o1", Some("A"), Some("k1")),
        overriding("o2", Some("B"), Some("k1")),
        overriding("o3", Some("B"), Some("o1")),
        overriding("o4", Some("B"), Some("nobody")),
    ];
    let settled = finally(RefusalCode::AlreadySettled);
    let expected = [finally(RefusalCode::WorkOrderNotOpen), Ok(1), settled, settled, settled];
    assert_eq!(decided(row(), &[&batch]), expected);
    let one_by_one: Vec<&[Request]> = batch.chunks(1).collect();
    assert_eq!(decided(row(), &one_by_one), expected);
}

#[test]
fn a_scan_that_was_made_before_the_hold_is_late_and_not_lost() {
    let open = || order("W1", 9, None, false);
    let made = |request: Request, batch: i64| Request { scanned_at: Some(at(batch)), ..request };
    // Held in batch 3, decided in batch 4. In the tests, 45 minutes are the longest delay.
    let on = |row: WorkOrder, request: Request, late_scans| {
        let principal = Principal::named("loopback");
        let facts = Facts { work_orders: [(row.work_order.clone(), row)].into(), ..Facts::default() };
        let arrivals = [Arrival { request: &request, principal: &principal }];
        let decision = decide(facts, &arrivals, &HashMap::new(), Moment { late_scans, ..moment(4) });
        seen(&decision)[0]
    };
    let limit = moment(4).late_scans;
    let refused = Err(Refused::Finally(RefusalCode::WorkOrderNotOpen));
    let paused = || held(&open(), Hold::Paused, false, 3);
    for (row, request, late_scans, result, late) in [
        (paused(), made(scan("k1", None), 2), limit, Ok(1), true),
        (paused(), made(scan("k1", None), 3), limit, refused, false),
        (paused(), scan("k1", None), limit, refused, false),
        (paused(), made(scan("k1", None), 2), None, refused, false),
        (
            paused(),
            Request { scanned_at: Some(at(0).before(limit.unwrap())), ..scan("k1", None) },
            limit,
            refused,
            false,
        ),
        (held(&open(), Hold::Cancelled, false, 3), made(scan("k1", None), 2), limit, Ok(1), true),
        (held(&open(), Hold::Paused, true, 3), made(scan("k1", None), 2), limit, refused, false),
        (open(), made(scan("k1", None), 2), limit, Ok(1), false),
        // A hold was passed over, and another rule refuses it.
        (paused(), made(unbind("k1", "A"), 2), limit, finally(RefusalCode::BarcodeNotCounted), true),
    ] {
        let seen = on(row, request.clone(), late_scans);
        assert_eq!((seen.result, seen.late), (result, late), "{request:?}");
    }
}
