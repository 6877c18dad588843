//! The naive model: it takes requests one by one, on plain maps. No batches, no net changes, no indexes.

use std::collections::HashMap;

use scanfence::domain::request::{Ask, Barcodes, Change, Counter, Request};
use scanfence::domain::time::Timestamp;
use scanfence::domain::update::RefusalCode;
use scanfence::domain::work_order::{Edit, Hold};

use crate::tables::{LATE_SCANS, at};

/// What comes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The counter after it, or why it is refused.
    pub result: Result<i64, Refused>,
    /// Whether a hold was passed over.
    pub late: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    Finally(RefusalCode),
    WorkOrderUnknown,
    UpdateUnknown,
    KeyReused,
}

/// A decided request.
#[derive(Clone)]
struct Decided {
    request: Request,
    seen: Seen,
    /// The number of the batch that decided it.
    batch: i64,
}

#[derive(Clone, Default)]
pub struct Model {
    pub orders: HashMap<String, Order>,
    decided: HashMap<String, Decided>,
}

#[derive(Clone)]
pub struct Order {
    pub quantities: HashMap<Counter, i64>,
    pub plan: i64,
    pub allowance: Option<i64>,
    pub repeatable: bool,
    /// Whether only barcodes of one capital letter pass.
    pub capitals: bool,
    pub hold: Option<Hold>,
    pub held_since: Option<Timestamp>,
    pub strict: bool,
    /// The counted scans, in order.
    pub counted: Vec<CountedScan>,
    /// The refused scans that overrides have counted.
    pub settled: Vec<String>,
}

/// A counted scan.
#[derive(Clone, Debug)]
pub struct CountedScan {
    pub id: String,
    pub counter: Counter,
    pub part: Option<(String, String)>,
    pub quantity: i64,
    /// Whether it was neither taken back nor released.
    pub stands: bool,
}

impl Model {
    /// Settles one request of this batch.
    pub fn apply(&mut self, request: &Request, batch: i64) -> Seen {
        let id = request.request_id.as_str().to_owned();
        let refused = |why| Seen { result: Err(why), late: false };
        if let Some(Decided { request: earlier, seen, .. }) = self.decided.get(&id) {
            return if earlier == request { *seen } else { refused(Refused::KeyReused) };
        }
        let Some(order) = self.orders.get_mut(request.work_order.as_str()) else {
            return refused(Refused::WorkOrderUnknown);
        };
        let named = request.names().and_then(|id| self.decided.get(id.as_str()));
        // What the same batch decides for another work order is not known yet: its write may fail.
        let named = named.filter(|named| named.batch < batch || named.request.work_order == request.work_order);
        if matches!(request.ask, Ask::Undo { .. }) && named.is_none() {
            return refused(Refused::UpdateUnknown);
        }
        let seen = order.apply(request, named, at(batch));
        self.decided.insert(id, Decided { request: request.clone(), seen, batch });
        seen
    }

    pub fn edit(&mut self, number: &str, edit: &Edit, batch: i64) {
        let Edit::Hold { hold, strict, .. } = edit else { return };
        let order = self.orders.get_mut(number).unwrap();
        match (order.hold, hold) {
            (None, Some(_)) => order.held_since = Some(at(batch)),
            (_, None) => order.held_since = None,
            (Some(_), Some(_)) => {}
        }
        order.hold = *hold;
        order.strict = hold.is_some() && *strict;
    }
}

impl Order {
    fn apply(&mut self, request: &Request, named: Option<&Decided>, now: Timestamp) -> Seen {
        let for_parts = !matches!(request.ask, Ask::Correct { .. });
        let late = for_parts && self.hold.is_some() && !self.strict && self.was_made_before_hold(request, now);
        let result = self.judge(request, named, late).map_err(Refused::Finally);
        Seen { result, late }
    }

    fn was_made_before_hold(&self, request: &Request, now: Timestamp) -> bool {
        match (request.scanned_at, self.held_since) {
            (Some(scanned_at), Some(held_since)) => scanned_at < held_since && now.since(scanned_at) <= LATE_SCANS,
            _ => false,
        }
    }

    fn judge(&mut self, request: &Request, named: Option<&Decided>, late: bool) -> Result<i64, RefusalCode> {
        let open = late || self.hold.is_none();
        let counter = request.counter;
        let before = self.quantities[&counter];
        let after = match &request.ask {
            Ask::Scan { .. } => return self.scan(request, named, open),
            Ask::Unbind { barcode } => {
                if !open {
                    return Err(RefusalCode::WorkOrderNotOpen);
                }
                let part = Some((request.step.canonical.clone(), barcode.canonical.clone()));
                let newest = self.counted.iter().rposition(|s| s.stands && s.counter == counter && s.part == part);
                self.take_back(newest.ok_or(RefusalCode::BarcodeNotCounted)?, before)?
            }
            Ask::Undo { undoes } => {
                let scan =
                    self.counted.iter().position(|s| s.stands && s.counter == counter && s.id == undoes.as_str());
                let scan = scan.ok_or(RefusalCode::NothingToUndo)?;
                if !open {
                    return Err(RefusalCode::WorkOrderNotOpen);
                }
                self.take_back(scan, before)?
            }
            Ask::Correct { change, expected, .. } => {
                if self.hold == Some(Hold::Cancelled) {
                    return Err(RefusalCode::WorkOrderNotOpen);
                }
                if expected.is_some_and(|expected| expected.get() != before) {
                    return Err(RefusalCode::NotAsExpected);
                }
                match change {
                    Change::Delta(delta) => before + delta.get(),
                    Change::SetTo(quantity, Barcodes::Keep) => quantity.get(),
                    Change::SetTo(quantity, Barcodes::Release) => {
                        self.counted.iter_mut().filter(|s| s.counter == counter).for_each(|s| s.stands = false);
                        quantity.get()
                    }
                }
            }
        };
        if after < 0 {
            return Err(RefusalCode::BelowZero);
        }
        self.quantities.insert(counter, after);
        Ok(after)
    }

    fn take_back(&mut self, scan: usize, before: i64) -> Result<i64, RefusalCode> {
        let after = before - self.counted[scan].quantity;
        if after < 0 {
            return Err(RefusalCode::BelowZero);
        }
        self.counted[scan].stands = false;
        Ok(after)
    }

    fn scan(&mut self, request: &Request, named: Option<&Decided>, open: bool) -> Result<i64, RefusalCode> {
        let Ask::Scan { quantity, barcode, overriding } = &request.ask else { unreachable!() };
        let counter = request.counter;
        let settles = overriding.as_ref().and_then(|overriding| overriding.settles.as_ref());
        if let Some(settles) = settles
            && !named.is_some_and(|named| self.can_be_settled(named, request))
        {
            assert!(named.is_none_or(|named| named.request.request_id == *settles));
            return Err(RefusalCode::AlreadySettled);
        }
        if !open && overriding.is_none() {
            return Err(RefusalCode::WorkOrderNotOpen);
        }
        let part = barcode.as_ref().map(|code| (request.step.canonical.clone(), code.canonical.clone()));
        if let (true, None, Some((_, code))) = (self.capitals, overriding, &part)
            && !matches!(code.as_bytes(), [b'A'..=b'Z'])
        {
            return Err(RefusalCode::BarcodeMismatch);
        }
        let is_counted = |s: &CountedScan| s.stands && s.counter == counter && s.part == part;
        if part.is_some() && !self.repeatable && self.counted.iter().any(is_counted) {
            return Err(RefusalCode::BarcodeAlreadyCounted);
        }
        let after = self.quantities[&counter] + quantity.get();
        let limited = counter != Counter::Scrap && overriding.is_none();
        if limited && self.allowance.is_some_and(|allowance| after > self.plan + allowance) {
            return Err(RefusalCode::OverPlan);
        }
        let id = request.request_id.as_str().to_owned();
        self.counted.push(CountedScan { id, counter, part, quantity: quantity.get(), stands: true });
        self.settled.extend(settles.map(|id| id.as_str().to_owned()));
        self.quantities.insert(counter, after);
        Ok(after)
    }

    fn can_be_settled(&self, named: &Decided, request: &Request) -> bool {
        use RefusalCode::{BarcodeMismatch, OverPlan, WorkOrderNotOpen};
        let same = named.request.work_order == request.work_order && named.request.counter == request.counter;
        let refused = matches!(named.seen.result, Err(Refused::Finally(BarcodeMismatch | OverPlan | WorkOrderNotOpen)));
        let is_scan = matches!(named.request.ask, Ask::Scan { .. });
        same && is_scan && refused && !self.settled.iter().any(|id| id == named.request.request_id.as_str())
    }
}
