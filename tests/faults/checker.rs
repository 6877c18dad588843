//! Compares the history with the books and names what is wrong. It does no IO.
//!
//! [`Ledger`] judges snapshots as they come, [`judge`] the whole history at a calm moment.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::time::Instant;

use scanfence::domain::time::Timestamp;
use serde_json::{Value, json};

use super::history::{Attempt, Read, Request, Told};
use super::parts::Parts;
use super::snapshot::{Claim, Row, Snapshot, WorkOrder};

/// What is promised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Promise {
    /// A request id has one row, and does what was asked under it.
    Once,
    /// Every answer to a request id is the same.
    SameAnswer,
    /// An acknowledged update is never lost.
    Durable,
    /// A quantity is the sum of its log.
    Conserve,
    /// The log has no gaps, and each row begins at the quantity at which the last one ended.
    Chain,
    /// No fence is older than the one before it.
    Fence,
    /// A read shows one state. It is not older than what was acknowledged before the read began, and not newer
    /// than what was tried before it ended.
    Window,
    /// A request that was told "not applied" is not counted.
    HonestNo,
    /// A part is counted at most once at a time.
    Barcodes,
    /// After all faults have ended, every request gets its answer.
    Live,
    /// No lease, no open transaction and no gap is left over.
    Clean,
}

/// A promise that was broken, and how.
#[derive(Clone, Debug)]
pub struct Violation {
    /// Which.
    pub promise: Promise,
    /// How.
    pub how: String,
}

impl Violation {
    /// This one, so.
    pub fn of(promise: Promise, how: impl Into<String>) -> Self {
        Self { promise, how: how.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.promise, self.how)
    }
}

const COUNTERS: [&str; 3] = ["input", "output", "scrap"];

/// The rows that the snapshots have shown so far.
#[derive(Default)]
pub struct Ledger {
    orders: HashMap<String, Order>,
    /// The row of each request id.
    rows: HashMap<String, Row>,
    /// Acknowledged request ids. Every snapshot that begins later must have them.
    due: Vec<(String, Instant)>,
}

/// A work order as its log explains it.
#[derive(Default)]
struct Order {
    seq: i64,
    fence: i64,
    /// Input, output and scrap after each `seq`; before the first, nothing.
    states: Vec<[i64; 3]>,
    parts: Parts,
}

impl Order {
    fn quantities(&self) -> [i64; 3] {
        self.states.last().copied().unwrap_or_default()
    }
}

impl Ledger {
    /// Notes that a request id was acknowledged.
    pub fn acknowledge(&mut self, id: String, at: Instant) {
        self.due.push((id, at));
    }

    /// Judges what is new in a snapshot.
    pub fn see(&mut self, snapshot: &Snapshot) -> Vec<Violation> {
        let mut wrong = Vec::new();
        for row in &snapshot.rows {
            self.see_row(row, &mut wrong);
        }
        for order in &snapshot.work_orders {
            self.see_work_order(order, snapshot, &mut wrong);
        }
        let rows = &self.rows;
        self.due.retain(|(id, at)| {
            let due = *at < snapshot.began;
            if due && rows.get(id).is_none_or(|row| row.outcome != "counted") {
                wrong.push(Violation::of(Promise::Durable, format!("{id} was acknowledged and is not in the log")));
            }
            !due
        });
        wrong
    }

    /// The row of a request id.
    pub fn row(&self, id: &str) -> Option<&Row> {
        self.rows.get(id)
    }

    /// All rows.
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.values()
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// How many of them were counted.
    pub fn counted(&self) -> usize {
        self.rows.values().filter(|row| row.outcome == "counted").count()
    }

    // Long: all that a row must keep, in the order in which it is checked.
    fn see_row(&mut self, row: &Row, wrong: &mut Vec<Violation>) {
        let mut say = |promise, how: String| wrong.push(Violation::of(promise, how));
        let name = format!("{} of {} (seq {:?})", row.request_id, row.work_order, row.seq);
        if let Some(other) = self.rows.get(&row.request_id) {
            let same = (&other.work_order, other.seq, other.at_seq) == (&row.work_order, row.seq, row.at_seq);
            if !same {
                say(Promise::Once, format!("{name} has another row, {:?}", other.seq));
            } else if row.seq.is_none() {
                return; // a refused row may be read twice
            }
        }
        let order = self.orders.entry(row.work_order.clone()).or_default();
        let Some(counter) = COUNTERS.iter().position(|counter| *counter == row.counter) else {
            return say(Promise::Chain, format!("{name} has the counter {}", row.counter));
        };
        self.rows.insert(row.request_id.clone(), row.clone());
        let Some(seq) = row.seq else {
            if row.outcome != "refused" || row.delta != 0 || row.before != row.after {
                say(Promise::Chain, format!("{name} was refused and changed something: {row:?}"));
            }
            order.parts.take(row).into_iter().for_each(|how| say(Promise::Barcodes, format!("{name} {how}")));
            return;
        };
        if seq != order.seq + 1 {
            say(Promise::Chain, format!("{name} follows seq {}", order.seq));
        }
        let mut quantities = order.quantities();
        if row.before != quantities[counter] {
            say(
                Promise::Chain,
                format!("{name} goes from {}, and before it stood {}", row.before, quantities[counter]),
            );
        }
        if row.after != row.before + row.delta {
            say(Promise::Chain, format!("{name} goes from {} by {} to {}", row.before, row.delta, row.after));
        }
        let asked = match row.action.as_str() {
            "scan" => row.quantity,
            "correction" => row.asked_delta.or(row.set_to.map(|set_to| set_to - row.before)),
            // What it takes back says how many.
            _ => None,
        };
        if asked.is_some_and(|asked| asked != row.delta) {
            say(Promise::Once, format!("{name} was asked for {asked:?} and did {}", row.delta));
        }
        if row.fence < order.fence {
            say(Promise::Fence, format!("{name} has fence {} after {}", row.fence, order.fence));
        }
        quantities[counter] += row.delta;
        order.seq = seq;
        order.fence = order.fence.max(row.fence);
        order.states.push(quantities);
        order.parts.take(row).into_iter().for_each(|how| say(Promise::Barcodes, format!("{name} {how}")));
    }

    fn see_work_order(&mut self, row: &WorkOrder, snapshot: &Snapshot, wrong: &mut Vec<Violation>) {
        let order = self.orders.entry(row.work_order.clone()).or_default();
        let name = &row.work_order;
        if row.seq != order.seq {
            wrong.push(Violation::of(
                Promise::Chain,
                format!("{name} is at seq {}, its log ends at {}", row.seq, order.seq),
            ));
            // A lost row is reported once.
            order.seq = row.seq;
        }
        let quantities = [row.input_quantity, row.output_quantity, row.scrap_quantity];
        if quantities != order.quantities() {
            wrong.push(Violation::of(
                Promise::Conserve,
                format!("{name} has {quantities:?}, its log sums to {:?}", order.quantities()),
            ));
        }
        if row.fence < order.fence {
            let how = format!("{name} is at fence {}, its log has {}", row.fence, order.fence);
            wrong.push(Violation::of(Promise::Fence, how));
        }
        let claims = snapshot.claims.iter().filter(|claim| claim.work_order == *name);
        let claim = |claim: &Claim| {
            let part = (claim.counter.clone(), claim.step.clone(), claim.barcode.clone());
            (part, (claim.request_id.clone(), claim.quantity))
        };
        let claims: Vec<_> = claims.map(claim).collect();
        let parts: BTreeMap<_, _> = claims.iter().cloned().collect();
        let standing = order.parts.claims();
        if parts.len() != claims.len() || parts != standing {
            let how = format!("{name}: claims and log differ:\n  {claims:?}\n  {standing:?}");
            wrong.push(Violation::of(Promise::Barcodes, how));
        }
    }
}

/// Judges a history by the books as they are now, with nothing under way.
pub fn judge(attempts: &[Attempt], reads: &[Read], ledger: &Ledger) -> Vec<Violation> {
    let mut by_id: HashMap<&str, Vec<&Attempt>> = HashMap::new();
    for attempt in attempts {
        by_id.entry(&attempt.request.id).or_default().push(attempt);
    }
    let mut wrong: Vec<Violation> = Vec::new();
    for (id, attempts) in &by_id {
        let row = ledger.row(id);
        wrong.extend(same_answer(id, attempts));
        wrong.extend(as_logged(id, attempts, row));
        wrong.extend(honest_no(id, attempts, row));
    }
    for (id, row) in &ledger.rows {
        if !by_id.contains_key(id.as_str()) {
            wrong.push(Violation::of(Promise::Once, format!("nobody has sent {id}: {row:?}")));
        }
    }
    wrong.extend(windows(attempts, reads, &by_id, ledger));
    wrong
}

/// All 201s of an id are the same, byte by byte; all final refusals have one code; never both.
fn same_answer(id: &str, attempts: &[&Attempt]) -> Vec<Violation> {
    let (mut updates, mut bodies, mut codes) = (HashSet::new(), HashSet::new(), HashSet::new());
    let mut wrong = Vec::new();
    for attempt in attempts {
        match &attempt.told {
            Told::Counted { update, body, .. } => {
                updates.insert(update);
                bodies.extend(body);
            }
            Told::Refused { code, .. } => drop(codes.insert(code)),
            Told::Odd(answer) => {
                wrong.push(Violation::of(Promise::SameAnswer, format!("{id}: no answer of the contract: {answer}")));
            }
            Told::Reused { .. } | Told::Undecided { .. } | Told::Nothing => {}
        }
    }
    if updates.len().max(bodies.len()) + codes.len() > 1 {
        wrong.push(Violation::of(Promise::SameAnswer, format!("{id}: {bodies:?}, {updates:?}, {codes:?}")));
    }
    wrong
}

/// Every answer agrees with the log.
fn as_logged(id: &str, attempts: &[&Attempt], row: Option<&Row>) -> Vec<Violation> {
    let mut wrong = Vec::new();
    for attempt in attempts {
        let found = match (&attempt.told, row) {
            (Told::Counted { update, .. }, Some(row)) => {
                let update: Value = serde_json::from_str(update).unwrap_or_default();
                let told = (update["seq"].as_i64(), update["after"].as_i64(), update["delta"].as_i64());
                told == (row.seq, Some(row.after), Some(row.delta)) && difference(&attempt.request, row).is_empty()
            }
            (Told::Refused { code, .. }, Some(row)) => {
                row.code.as_ref() == Some(code) && difference(&attempt.request, row).is_empty()
            }
            (Told::Reused { differs, .. }, Some(row)) => {
                let difference = difference(&attempt.request, row);
                !difference.is_empty() && difference == *differs
            }
            (Told::Counted { .. } | Told::Refused { .. } | Told::Reused { .. }, None) => false,
            (Told::Undecided { .. } | Told::Nothing | Told::Odd(_), _) => true,
        };
        if !found {
            let promise = match (&attempt.told, row) {
                (Told::Counted { .. }, None) => Promise::Durable,
                (Told::Reused { .. } | Told::Refused { .. }, None) => Promise::SameAnswer,
                _ => Promise::Once,
            };
            wrong.push(Violation::of(promise, format!("{id} was told {attempt}, and the log has {row:?}")));
        }
    }
    wrong
}

/// The fields in which a request differs from the one that a row was written for, sorted.
fn difference(request: &Request, row: &Row) -> Vec<String> {
    let logged = json!({
        "work_order": row.work_order, "counter": row.counter, "quantity": row.quantity, "delta": row.asked_delta,
        "action": row.action, "barcode": row.barcode, "step": row.step, "station": row.station,
        "terminal": row.terminal, "operator": row.operator, "reason": row.reason, "note": row.note,
        "set_to": row.set_to, "barcodes": row.barcodes, "undoes": row.undoes, "override": row.r#override,
        "settles": row.settles, "scanned_at": row.scanned_at.as_deref().map(in_utc),
    });
    let mut sent = request.item();
    if row.action == "undo" {
        // Those of the scan that it names.
        ["barcode", "step"]
            .into_iter()
            .for_each(|part| drop(sent.as_object_mut().map(|sent| sent.insert(part.into(), logged[part].clone()))));
    }
    if request.route == "corrections" {
        sent["action"] = json!("correction");
    }
    let fields = logged.as_object().expect("it is made as one");
    let blank = |field: &str| match field {
        "step" => json!(""),
        "override" => json!(false),
        _ => Value::Null,
    };
    let differs = |field: &&String| {
        let asked = sent.get(field.as_str()).cloned().unwrap_or_else(|| blank(field));
        asked != logged[field.as_str()]
    };
    let mut differing: Vec<String> = fields.keys().filter(differs).cloned().collect();
    differing.sort();
    differing
}

/// PostgreSQL writes a time of its JSON with another offset.
fn in_utc(time: &str) -> String {
    Timestamp::parse(time).map_or_else(|_| time.to_owned(), |time| time.to_string())
}

/// Where an answer says that an id changed nothing, it did not, unless it was tried once more.
fn honest_no(id: &str, attempts: &[&Attempt], row: Option<&Row>) -> Option<Violation> {
    if row.is_none_or(|row| row.outcome != "counted") {
        return None;
    }
    let lie = attempts.iter().find(|no| {
        // What was given up may arrive at any time later.
        let open = |other: &&&Attempt| other.ended > no.sent || other.told == Told::Nothing;
        no.told.says_no() && !attempts.iter().filter(|other| !std::ptr::eq(**other, **no)).any(|other| open(&other))
    })?;
    Some(Violation::of(Promise::HonestNo, format!("{id} is counted, and was told {lie}")))
}

/// Each read shows the state of one `seq`, which lies between what was acknowledged before
/// it began and what was tried before it ended.
fn windows(
    attempts: &[Attempt],
    reads: &[Read],
    by_id: &HashMap<&str, Vec<&Attempt>>,
    ledger: &Ledger,
) -> Vec<Violation> {
    let mut wrong = Vec::new();
    let mut acknowledged: HashMap<&str, Vec<(Instant, i64)>> = HashMap::new();
    for attempt in attempts.iter().filter(|attempt| matches!(attempt.told, Told::Counted { .. })) {
        let seq = ledger.row(&attempt.request.id).and_then(|row| row.seq);
        acknowledged.entry(&attempt.request.work_order).or_default().extend(seq.map(|seq| (attempt.ended, seq)));
    }
    // So that the last one up to a time has the highest seq up to then.
    for acknowledged in acknowledged.values_mut() {
        acknowledged.sort();
        let mut highest = 0;
        for (_, seq) in acknowledged {
            highest = highest.max(*seq);
            *seq = highest;
        }
    }
    // For each work order and seq, when everything up to there had been tried.
    let mut tried: HashMap<&str, Vec<Option<Instant>>> = HashMap::new();
    for row in ledger.rows.values() {
        let (Some(seq), Some(attempts)) = (row.seq, by_id.get(row.request_id.as_str())) else { continue };
        let tried = tried.entry(&row.work_order).or_default();
        let place = usize::try_from(seq).unwrap_or_default();
        tried.resize(tried.len().max(place + 1), None);
        tried[place] = attempts.iter().map(|attempt| attempt.sent).min();
    }
    for tried in tried.values_mut() {
        let mut latest = None;
        for tried in tried {
            latest = latest.max(*tried);
            *tried = latest;
        }
    }
    for read in reads {
        let mut say = |how: &str| wrong.push(Violation::of(Promise::Window, format!("{how}: {read:?}")));
        let name = read.work_order.as_str();
        let states = ledger.orders.get(name).map(|order| order.states.as_slice()).unwrap_or_default();
        let place = usize::try_from(read.seq).unwrap_or_default();
        let state = if place == 0 { Some([0; 3]) } else { states.get(place - 1).copied() };
        if state != Some(read.quantities) {
            say(&format!("at that seq stood {state:?}"));
        }
        let acknowledged = acknowledged.get(name).map(Vec::as_slice).unwrap_or_default();
        let before = acknowledged.partition_point(|(ended, _)| *ended < read.sent);
        if before > 0 && acknowledged[before - 1].1 > read.seq {
            say(&format!("seq {} was acknowledged before", acknowledged[before - 1].1));
        }
        let tried = tried.get(name).and_then(|tried| tried.get(place)).copied().flatten();
        if tried.is_some_and(|tried| tried > read.ended) {
            say("something in it was tried only later");
        }
    }
    wrong
}
