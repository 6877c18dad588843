//! Compares `decide` with a naive model that takes the same requests one by one, on plain maps.

#![expect(clippy::unwrap_used, reason = "a test that fails may well panic")]

mod examples;
mod naive;
mod requests;
mod tables;

use std::collections::HashMap;

use naive::{Model, Order, Refused, Seen};
use proptest::prelude::*;
use scanfence::domain::decide::{Arrival, Decision, Verdict, decide};
use scanfence::domain::ids::{Principal, Quantity};
use scanfence::domain::request::Counter;
use scanfence::domain::update::{Outcome, Update};
use scanfence::domain::work_order::BarcodePolicy;
use tables::{Tables, moment, order, patterned};

/// What a decision says of each request.
fn seen(decision: &Decision) -> Vec<Seen> {
    let of_update = |update: &Update| Seen {
        result: update.code.map_or(Ok(update.after.get()), |code| Err(Refused::Finally(code))),
        late: update.late,
    };
    let refused = |why| Seen { result: Err(why), late: false };
    decision
        .verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::Decided(update) | Verdict::Replayed { update, .. } => of_update(update),
            Verdict::KeyReused { .. } => refused(Refused::KeyReused),
            Verdict::WorkOrderUnknown => refused(Refused::WorkOrderUnknown),
            Verdict::UpdateUnknown => refused(Refused::UpdateUnknown),
        })
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn a_batch_comes_to_the_same_as_its_requests_one_by_one(
        batches in requests::batches(),
        plan in 0i64..12,
        allowance in prop::option::of(0i64..3),
        repeatable in any::<bool>(),
        capitals in any::<bool>(),
    ) {
        let first = order("W1", plan, allowance, repeatable);
        let rows = [
            if capitals { patterned(first, "[A-Z]") } else { first },
            order("W2", 1000, None, false),
            order("W3", 0, Some(4), true),
        ];
        let mut model = Model::default();
        for row in &rows {
            model.orders.insert(row.work_order.as_str().to_owned(), Order {
                quantities: Counter::ALL.iter().map(|&counter| (counter, 0)).collect(),
                plan: row.plan.planned_quantity.get(),
                allowance: row.plan.over_plan_allowance.map(Quantity::get),
                repeatable: row.plan.barcode_policy == BarcodePolicy::Repeatable,
                capitals: row.plan.barcode_pattern.is_some(),
                hold: None,
                held_since: None,
                strict: false,
                counted: Vec::new(),
                settled: Vec::new(),
            });
        }
        let mut tables = Tables {
            orders: rows.into_iter().map(|row| (row.work_order.clone(), row)).collect(),
            ..Tables::default()
        };
        let principal = Principal::named("loopback");
        for (number, (edit, batch)) in (0..).zip(batches) {
            if let Some(edit) = edit {
                tables.edit("W2", &edit, number);
                model.edit("W2", &edit, number);
            }
            let expected: Vec<Seen> = batch.iter().map(|request| model.apply(request, number)).collect();
            let arrivals: Vec<_> = batch.iter().map(|request| Arrival { request, principal: &principal }).collect();
            let decision = decide(tables.facts(&batch), &arrivals, &HashMap::new(), moment(number));
            prop_assert_eq!(seen(&decision), expected);
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
        let claims = tables.claims.iter().filter(|(key, _)| key.work_order == *number);
        let mut holders: Vec<&str> =
            claims.flat_map(|(_, claims)| claims).map(|claim| claim.request_id.as_str()).collect();
        let standing = order.counted.iter().filter(|scan| scan.stands && scan.part.is_some());
        let mut expected: Vec<&str> = standing.map(|scan| scan.id.as_str()).collect();
        holders.sort_unstable();
        expected.sort_unstable();
        assert_eq!(holders, expected, "claims are of the scans that were neither taken back nor released");
    }
}
