//! Requests: made by hand, and made up by the property tests.

use std::time::Duration;

use proptest::prelude::*;
use scanfence::domain::barcode::{Barcode, Step};
use scanfence::domain::ids::{Delta, Quantity, RequestId, WorkOrderNumber};
use scanfence::domain::request::{Ask, Barcodes, Change, Counter, Override, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::work_order::{Edit, Hold};

use crate::tables::at;

pub fn id(text: &str) -> RequestId {
    RequestId::parse(text).unwrap()
}

pub fn request(request_id: &str, number: &str, counter: Counter, ask: Ask) -> Request {
    Request {
        request_id: id(request_id),
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

pub fn scan_of(quantity: i64, code: Option<&str>, overriding: Option<Override>) -> Ask {
    let barcode = code.map(|code| Barcode::parse(code).unwrap());
    Ask::Scan { quantity: Quantity::new(quantity).unwrap(), barcode, overriding }
}

/// A scan of one piece of the input of W1.
pub fn scan(request_id: &str, code: Option<&str>) -> Request {
    request(request_id, "W1", Counter::Input, scan_of(1, code, None))
}

/// An override that counts a piece of the input of W1.
pub fn overriding(request_id: &str, code: Option<&str>, settles: Option<&str>) -> Request {
    let overriding = Override { settles: settles.map(id) };
    request(request_id, "W1", Counter::Input, scan_of(1, code, Some(overriding)))
}

pub fn unbind(request_id: &str, code: &str) -> Request {
    request(request_id, "W1", Counter::Input, Ask::Unbind { barcode: Barcode::parse(code).unwrap() })
}

pub fn undo(request_id: &str, undoes: &str) -> Request {
    request(request_id, "W1", Counter::Input, Ask::Undo { undoes: id(undoes) })
}

/// A recount of the input of W1.
pub fn recount(request_id: &str, quantity: i64, barcodes: Barcodes) -> Request {
    let change = Change::SetTo(Quantity::new(quantity).unwrap(), barcodes);
    request(request_id, "W1", Counter::Input, Ask::Correct { change, expected: None, reason: "counted by hand".into() })
}

/// The id of one of the requests that are made up. A few of them are most often named.
fn some_id(often: u32) -> impl Strategy<Value = RequestId> {
    prop_oneof![often => 0..6u8, 1 => 6..60u8].prop_map(|number| id(&format!("k{number}")))
}

fn asks() -> impl Strategy<Value = Ask> {
    let code = prop::sample::select(vec!["A", "A", " a ", "Ａ", "A\u{200b}"]);
    let code = code.prop_map(|code| Barcode::parse(code).unwrap());
    let overriding = prop::option::weighted(0.3, prop::option::weighted(0.7, some_id(5)));
    let overriding = overriding.prop_map(|settles| settles.map(|settles| Override { settles }));
    prop_oneof![
        6 => (1i64..4, prop::option::of(code.clone()), overriding).prop_map(|(quantity, barcode, overriding)| {
            Ask::Scan { quantity: Quantity::new(quantity).unwrap(), barcode, overriding }
        }),
        3 => code.prop_map(|barcode| Ask::Unbind { barcode }),
        5 => some_id(5).prop_map(|undoes| Ask::Undo { undoes }),
        1 => (-3i64..4, prop::option::of(0i64..4), 0..3u8).prop_map(|(number, expected, kind)| Ask::Correct {
            change: match kind {
                0 if number != 0 => Change::Delta(Delta::new(number).unwrap()),
                0 | 1 => Change::SetTo(Quantity::new(number.abs()).unwrap(), Barcodes::Keep),
                _ => Change::SetTo(Quantity::new(number.abs()).unwrap(), Barcodes::Release),
            },
            expected: expected.and_then(Quantity::new),
            reason: "counted by hand".into(),
        }),
    ]
}

fn requests() -> impl Strategy<Value = Request> {
    let counter = prop_oneof![6 => Just(Counter::Input), 1 => Just(Counter::Output), 1 => Just(Counter::Scrap)];
    let step = prop::sample::select(vec!["", "", "P010"]);
    let number = prop_oneof![8 => Just("W1"), 3 => Just("W2"), 2 => Just("W3"), 1 => Just("none")];
    let scanned_at = prop::option::of((-6i64..9).prop_map(minutes_before));
    (some_id(1), number, counter, asks(), step, scanned_at).prop_map(
        |(request_id, number, counter, ask, step, scanned_at)| {
            let has_step = matches!(ask, Ask::Scan { .. } | Ask::Unbind { .. });
            let step = if has_step { Step::parse(step).unwrap() } else { Step::default() };
            canonical(Request { step, scanned_at, ..request(request_id.as_str(), number, counter, ask) })
        },
    )
}

/// A time five minutes before a batch; below 0: before all of them.
fn minutes_before(batch: i64) -> Timestamp {
    let minutes = |number: i64| Duration::from_secs(60 * number.unsigned_abs());
    at(batch.max(0)).before(minutes(10 * batch.min(0) - 5))
}

/// Raw forms of one barcode that compare equal are one request to the service; the model compares whole
/// requests, so both see the canonical form only.
fn canonical(mut request: Request) -> Request {
    if let Ask::Scan { barcode: Some(code), .. } | Ask::Unbind { barcode: code } = &mut request.ask {
        code.sent.clone_from(&code.canonical);
    }
    request
}

/// What happens in one batch: perhaps planning sets or lifts a hold of W2, and then requests come.
pub fn batches() -> impl Strategy<Value = Vec<(Option<Edit>, Vec<Request>)>> {
    let hold = prop::sample::select(vec![None, Some(Hold::Paused), Some(Hold::Paused), Some(Hold::Cancelled)]);
    let edit = (hold, any::<bool>()).prop_map(|(hold, strict)| Edit::Hold { hold, reason: "r".into(), strict });
    prop::collection::vec((prop::option::of(edit), prop::collection::vec(requests(), 0..16)), 0..8)
}
