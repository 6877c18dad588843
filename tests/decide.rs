//! Compares `decide` with a naive model that takes the same requests one by one, on plain maps.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use proptest::prelude::*;
use scanfence::domain::barcode::{Barcode, Step};
use scanfence::domain::decide::{Arrival, Claim, ClaimKey, Decision, Facts, Verdict, decide};
use scanfence::domain::ids::{Delta, Fence, Principal, Quantity, RequestId, Revision, Seq, Stamp, WorkOrderNumber};
use scanfence::domain::request::{Ask, Change, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::{Outcome, RefusalCode, Update};
use scanfence::domain::work_order::{BarcodePolicy, Hold, Plan, Status, WorkOrder};

/// The outcome of a request: the code of its refusal, or the counter after it.
type Verdicts = Vec<Result<i64, Refused>>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refused {
    Finally(RefusalCode),
    WorkOrderUnknown,
    KeyReused,
}

/// The naive model: no batches, no net changes, no memory but plain maps.
#[derive(Clone, Default)]
struct Model {
    orders: HashMap<String, Order>,
    decided: HashMap<String, (Request, Result<i64, Refused>)>,
}

#[derive(Clone)]
struct Order {
    quantities: HashMap<Counter, i64>,
    plan: i64,
    allowance: Option<i64>,
    repeatable: bool,
    hold: Option<Hold>,
    standing: Vec<(Counter, String, String, i64)>,
}

impl Model {
    fn apply(&mut self, request: &Request) -> Result<i64, Refused> {
        let id = request.request_id.as_str().to_owned();
        if let Some((earlier, result)) = self.decided.get(&id) {
            return if earlier == request { *result } else { Err(Refused::KeyReused) };
        }
        let order = self.orders.get_mut(request.work_order.as_str()).ok_or(Refused::WorkOrderUnknown)?;
        let result = order.apply(request);
        self.decided.insert(id, (request.clone(), result));
        result
    }
}

impl Order {
    // Long: the rules a second time, in one place, to compare with.
    fn apply(&mut self, request: &Request) -> Result<i64, Refused> {
        use RefusalCode as Code;
        let refused = |code| Err(Refused::Finally(code));
        let counter = request.counter;
        let before = self.quantities[&counter];
        let step = request.step.canonical.clone();
        let newest = |code: &str| self.standing.iter().rposition(|s| s.0 == counter && s.1 == step && s.2 == code);
        let limited = counter != Counter::Scrap;
        match &request.ask {
            Ask::Scan { quantity, barcode } => {
                if self.hold.is_some() {
                    return refused(Code::WorkOrderNotOpen);
                }
                if let Some(code) = barcode
                    && !self.repeatable
                    && newest(&code.canonical).is_some()
                {
                    return refused(Code::BarcodeAlreadyCounted);
                }
                let after = before + quantity.get();
                if limited && self.allowance.is_some_and(|allowance| after > self.plan + allowance) {
                    return refused(Code::OverPlan);
                }
                if let Some(code) = barcode {
                    self.standing.push((counter, step, code.canonical.clone(), quantity.get()));
                }
                self.quantities.insert(counter, after);
                Ok(after)
            }
            Ask::Unbind { barcode } => {
                if self.hold.is_some() {
                    return refused(Code::WorkOrderNotOpen);
                }
                let Some(place) = newest(&barcode.canonical) else { return refused(Code::BarcodeNotCounted) };
                let after = before - self.standing[place].3;
                if after < 0 {
                    return refused(Code::BelowZero);
                }
                self.standing.remove(place);
                self.quantities.insert(counter, after);
                Ok(after)
            }
            Ask::Correct { change, expected, .. } => {
                if self.hold == Some(Hold::Cancelled) {
                    return refused(Code::WorkOrderNotOpen);
                }
                if expected.is_some_and(|expected| expected.get() != before) {
                    return refused(Code::NotAsExpected);
                }
                let after = match change {
                    Change::Delta(delta) => before + delta.get(),
                    Change::SetTo(quantity) => quantity.get(),
                };
                if after < 0 {
                    return refused(Code::BelowZero);
                }
                self.quantities.insert(counter, after);
                Ok(after)
            }
        }
    }
}

/// A store of plain maps that applies a decision's net changes, and refuses what a
/// database would refuse.
struct Tables {
    orders: HashMap<WorkOrderNumber, WorkOrder>,
    log: HashMap<RequestId, Arc<Update>>,
    claims: HashMap<ClaimKey, Vec<Claim>>,
}

impl Tables {
    fn facts(&self) -> Facts {
        Facts { work_orders: self.orders.clone(), updates: self.log.clone(), claims: self.claims.clone() }
    }

    fn write(&mut self, decision: &Decision) {
        for change in &decision.changes {
            self.orders.insert(change.row.work_order.clone(), change.row.clone());
            for update in &change.updates {
                assert!(self.log.insert(update.request_id.clone(), update.clone()).is_none(), "a request id is unique");
            }
            let sets = [&change.claims.delete, &change.claims.take_over, &change.claims.insert];
            let mut keys = HashSet::new();
            for (key, claim) in sets.into_iter().flatten() {
                assert!(keys.insert((key, claim.ordinal)), "the three sets are disjoint");
            }
            for (key, claim) in &change.claims.delete {
                let standing = self.claims.get_mut(key).unwrap();
                let place = standing.iter().position(|c| c == claim).unwrap();
                standing.remove(place);
            }
            for (key, claim) in &change.claims.take_over {
                let standing = self.claims.get_mut(key).unwrap();
                *standing.iter_mut().find(|c| c.ordinal == claim.ordinal).unwrap() = claim.clone();
            }
            for (key, claim) in &change.claims.insert {
                let standing = self.claims.entry(key.clone()).or_default();
                assert!(standing.iter().all(|c| c.ordinal != claim.ordinal), "the primary key is free");
                standing.push(claim.clone());
                standing.sort_by_key(|c| c.ordinal);
            }
        }
    }
}

fn verdicts(decision: &Decision) -> Verdicts {
    let of_update = |update: &Update| match update.code {
        None => Ok(update.after.get()),
        Some(code) => Err(Refused::Finally(code)),
    };
    decision
        .verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Decided(update) | Verdict::Replayed { update, .. } => of_update(update),
            Verdict::KeyReused { .. } => Err(Refused::KeyReused),
            Verdict::WorkOrderUnknown => Err(Refused::WorkOrderUnknown),
        })
        .collect()
}

fn time() -> Timestamp {
    Timestamp::parse("2026-01-03T01:16:54.131Z").unwrap()
}

fn order(number: &str, plan: i64, allowance: Option<i64>, repeatable: bool, hold: Option<Hold>) -> WorkOrder {
    let mut row = WorkOrder {
        work_order: WorkOrderNumber::parse(number).unwrap(),
        plan: Plan {
            planned_quantity: Quantity::new(plan).unwrap(),
            over_plan_allowance: allowance.and_then(Quantity::new),
            barcode_policy: if repeatable { BarcodePolicy::Repeatable } else { BarcodePolicy::Once },
            product_code: None,
            product_name: None,
            line: None,
        },
        hold,
        hold_reason: None,
        status: Status::Pending,
        input_quantity: Quantity::ZERO,
        output_quantity: Quantity::ZERO,
        scrap_quantity: Quantity::ZERO,
        seq: Seq(0),
        fence: Fence(0),
        fence_owner: None,
        stamp: Stamp(7),
        revision: Revision(7),
        barcode_counted: false,
        created_at: time(),
        updated_at: time(),
    };
    row.status = row.present_status();
    row
}

fn request(id: &str, number: &str, counter: Counter, ask: Ask) -> Request {
    Request {
        request_id: RequestId::parse(id).unwrap(),
        work_order: WorkOrderNumber::parse(number).unwrap(),
        counter,
        ask,
        step: Step::default(),
        station: None,
        terminal: None,
        operator: None,
        note: None,
        scanned_at: None,
    }
}

fn requests() -> impl Strategy<Value = Request> {
    let code = prop::sample::select(vec!["A", "B", " a ", "Ａ"]).prop_map(|code| Barcode::parse(code).unwrap());
    let ask = prop_oneof![
        4 => (1i64..4, prop::option::of(code.clone()))
            .prop_map(|(quantity, barcode)| Ask::Scan { quantity: Quantity::new(quantity).unwrap(), barcode }),
        3 => code.prop_map(|barcode| Ask::Unbind { barcode }),
        1 => (-3i64..4, prop::option::of(0i64..4), any::<bool>()).prop_map(|(number, expected, set)| Ask::Correct {
            change: if set || number == 0 {
                Change::SetTo(Quantity::new(number.abs()).unwrap())
            } else {
                Change::Delta(Delta::new(number).unwrap())
            },
            expected: expected.and_then(Quantity::new),
            reason: "counted by hand".into(),
        }),
    ];
    let counter = prop::sample::select(Counter::ALL.to_vec());
    let step = prop::sample::select(vec!["", "P010"]);
    ((0..40u8), prop::sample::select(vec!["W1", "W2", "W3", "none"]), counter, ask, step).prop_map(
        |(id, number, counter, ask, step)| Request {
            step: match ask {
                Ask::Correct { .. } => Step::default(),
                Ask::Scan { .. } | Ask::Unbind { .. } => Step::parse(step).unwrap(),
            },
            ..request(&format!("k{id}"), number, counter, ask)
        },
    )
}

fn batches() -> impl Strategy<Value = Vec<Vec<Request>>> {
    prop::collection::vec(prop::collection::vec(requests(), 0..12), 0..8)
}

/// Raw forms of one barcode that compare equal are one request to the service; the
/// model compares whole requests, so both see the canonical form only.
fn canonical(mut request: Request) -> Request {
    if let Ask::Scan { barcode: Some(code), .. } | Ask::Unbind { barcode: code } = &mut request.ask {
        code.sent.clone_from(&code.canonical);
    }
    request
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn a_batch_comes_to_the_same_as_its_requests_one_by_one(
        batches in batches(),
        plan in 0i64..12,
        allowance in prop::option::of(0i64..3),
        repeatable in any::<bool>(),
        hold in prop::sample::select(vec![None, None, None, Some(Hold::Paused), Some(Hold::Cancelled)]),
    ) {
        let rows = [
            order("W1", plan, allowance, repeatable, None),
            order("W2", 1000, None, false, hold),
            order("W3", 0, Some(4), true, None),
        ];
        let mut model = Model::default();
        for row in &rows {
            model.orders.insert(row.work_order.as_str().to_owned(), Order {
                quantities: Counter::ALL.iter().map(|&counter| (counter, 0)).collect(),
                plan: row.plan.planned_quantity.get(),
                allowance: row.plan.over_plan_allowance.map(Quantity::get),
                repeatable: row.plan.barcode_policy == BarcodePolicy::Repeatable,
                hold: row.hold,
                standing: Vec::new(),
            });
        }
        let mut tables = Tables {
            orders: rows.into_iter().map(|row| (row.work_order.clone(), row)).collect(),
            log: HashMap::new(),
            claims: HashMap::new(),
        };
        let principal = Principal::named("loopback");
        for batch in batches {
            let batch: Vec<Request> = batch.into_iter().map(canonical).collect();
            let expected: Verdicts = batch.iter().map(|request| model.apply(request)).collect();
            let arrivals: Vec<_> = batch.iter().map(|request| Arrival { request, principal: &principal }).collect();
            let decision = decide(tables.facts(), &arrivals, &HashMap::new(), time());
            prop_assert_eq!(verdicts(&decision), expected);
            tables.write(&decision);
        }
        audit(&tables, &model);
    }
}

/// The promises of the log (contract, promise 7), and claims equal to the model's.
fn audit(tables: &Tables, model: &Model) {
    for (number, row) in &tables.orders {
        let order = &model.orders[number.as_str()];
        let mut counted: Vec<_> =
            tables.log.values().filter(|u| u.work_order == *number && u.outcome == Outcome::Counted).collect();
        counted.sort_by_key(|update| update.seq);
        let seqs: Vec<_> = counted.iter().map(|update| update.seq.unwrap().0).collect();
        assert_eq!(seqs, (1..=row.seq.0).collect::<Vec<_>>(), "seq is 1..n without gaps");
        for &counter in Counter::ALL {
            let mut at = 0;
            for update in counted.iter().filter(|update| update.counter == counter) {
                assert_eq!(update.before.get(), at, "before is the previous after");
                at += update.delta.get();
                assert_eq!(update.after.get(), at);
            }
            assert_eq!(row.quantity(counter).get(), at, "the quantity is the sum of the deltas");
            assert_eq!(at, order.quantities[&counter]);
        }
        assert_eq!(row.status, row.present_status());
        let standing: usize =
            tables.claims.iter().filter(|(key, _)| key.work_order == *number).map(|(_, claims)| claims.len()).sum();
        assert_eq!(standing, order.standing.len(), "claims are barcodes counted and not unbound since");
    }
}

fn scan(id: &str, code: Option<&str>) -> Request {
    let barcode = code.map(|code| Barcode::parse(code).unwrap());
    request(id, "W1", Counter::Input, Ask::Scan { quantity: Quantity::new(1).unwrap(), barcode })
}

fn unbind(id: &str, code: &str) -> Request {
    request(id, "W1", Counter::Input, Ask::Unbind { barcode: Barcode::parse(code).unwrap() })
}

fn decide_on(row: WorkOrder, claims: HashMap<ClaimKey, Vec<Claim>>, batch: &[Request]) -> Decision {
    let principal = Principal::named("loopback");
    let facts = Facts { work_orders: [(row.work_order.clone(), row)].into(), claims, ..Facts::default() };
    let arrivals: Vec<_> = batch.iter().map(|request| Arrival { request, principal: &principal }).collect();
    decide(facts, &arrivals, &HashMap::new(), time())
}

#[test]
fn pitfall_02_one_part_under_two_request_ids_counts_once() {
    let decision = decide_on(
        order("W1", 500, Some(0), false, None),
        HashMap::new(),
        &[scan("k1", Some("WA2080ZWJ0926")), scan("k2", Some("WA2080ZWJ0926"))],
    );
    let [Ok(1), Err(Refused::Finally(RefusalCode::BarcodeAlreadyCounted))] = verdicts(&decision)[..] else {
        panic!("{:?}", verdicts(&decision));
    };
    let refused = &decision.changes[0].updates[1];
    assert_eq!(refused.original_request_id.as_ref().map(RequestId::as_str), Some("k1"));
}

#[test]
fn pitfall_07_a_change_below_zero_is_refused_and_not_clamped() {
    let correction =
        Ask::Correct { change: Change::Delta(Delta::new(-1).unwrap()), expected: None, reason: "r".into() };
    let decision = decide_on(
        order("W1", 5, None, false, None),
        HashMap::new(),
        &[request("k1", "W1", Counter::Output, correction)],
    );
    assert_eq!(verdicts(&decision), [Err(Refused::Finally(RefusalCode::BelowZero))]);
    assert_eq!(decision.changes[0].row.output_quantity, Quantity::ZERO);
}

#[test]
fn pitfall_24_the_same_id_twice_in_one_batch_is_one_effect() {
    let decision = decide_on(order("W1", 5, None, false, None), HashMap::new(), &[scan("k", None), scan("k", None)]);
    assert!(matches!(decision.verdicts[..], [Verdict::Decided(_), Verdict::Replayed { in_batch: true, .. }]));
    assert_eq!(decision.changes[0].row.input_quantity.get(), 1);
}

#[test]
fn pitfall_32_an_unbound_barcode_can_be_scanned_again() {
    let decision = decide_on(
        order("W1", 5, None, false, None),
        HashMap::new(),
        &[scan("k1", Some("A")), unbind("k2", "A"), scan("k3", Some("A"))],
    );
    assert_eq!(verdicts(&decision), [Ok(1), Ok(0), Ok(1)]);
}

#[test]
fn pitfall_39_scans_and_unbinds_of_one_barcode_are_one_net_change() {
    let key = ClaimKey::of(&scan("k", Some("A"))).unwrap();
    let standing =
        |id: &str| Claim { ordinal: 1, request_id: RequestId::parse(id).unwrap(), quantity: Quantity::new(1).unwrap() };
    let on = |loaded: Option<&str>, batch: &[Request]| {
        let claims = loaded.map(|id| (key.clone(), vec![standing(id)])).into_iter().collect();
        let mut row = order("W1", 9, None, false, None);
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
    let mut row = order("W1", 0, None, false, None);
    row.scrap_quantity = Quantity::new(1_000_000_000_000).unwrap();
    let one_more = Ask::Scan { quantity: Quantity::new(1).unwrap(), barcode: None };
    let decision = decide_on(row, HashMap::new(), &[request("k", "W1", Counter::Scrap, one_more)]);
    assert_eq!(verdicts(&decision), [Err(Refused::Finally(RefusalCode::OverPlan))]);
}
