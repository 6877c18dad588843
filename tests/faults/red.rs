//! Shows that the checker goes red: a good history, and one violation of each promise.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::json;

use super::checker::{Ledger, Promise, judge};
use super::history::{Attempt, Read, Request, Told};
use super::snapshot::{Claim, Row, Snapshot, WorkOrder};

/// Everything that the checker judges, and it is good.
#[derive(Clone)]
struct Evidence {
    begun: Instant,
    snapshot: Snapshot,
    attempts: Vec<Attempt>,
    reads: Vec<Read>,
}

#[test]
fn a_good_history_is_green() {
    let wrong = promises_broken(&Evidence::good());
    assert!(wrong.is_empty(), "{wrong:?}");
}

// Long: one breach after the other.
#[test]
fn every_breach_of_a_promise_is_red() {
    check("a row twice", Promise::Once, |e| {
        let again = Row { seq: Some(4), before: 1, after: 2, ..e.snapshot.rows[0].clone() };
        e.snapshot.rows.push(again);
        e.snapshot.work_orders[0].seq = 4;
        e.snapshot.work_orders[0].input_quantity = 2;
    });
    check("more than was asked for", Promise::Once, |e| {
        e.snapshot.rows[0].delta = 2;
        e.snapshot.rows[0].after = 2;
        e.snapshot.work_orders[0].input_quantity = 2;
    });
    check("something nobody has sent", Promise::Once, |e| {
        e.attempts.retain(|attempt| attempt.request.id != "c");
    });
    check("another body's 201", Promise::Once, |e| {
        e.attempts[0].request = request("a", json!({ "counter": "input", "action": "scan", "quantity": 7 }));
    });
    check("the wrong fields named", Promise::Once, |e| {
        let changed = request("a", json!({ "counter": "input", "action": "scan", "quantity": 7 }));
        e.tell(changed, 40, 41, Told::Reused { differs: vec!["note".into()], applied_no: false });
    });
    check("two bodies", Promise::SameAnswer, |e| {
        let again = counted(&e.snapshot.rows[0], "{} ");
        e.tell(e.attempts[0].request.clone(), 40, 41, again);
    });
    check("counted, then refused", Promise::SameAnswer, |e| {
        let refused = Told::Refused { replayed: true, code: "over-plan".into() };
        e.tell(e.attempts[0].request.clone(), 40, 41, refused);
    });
    check("a 500", Promise::SameAnswer, |e| {
        e.tell(e.attempts[0].request.clone(), 40, 41, Told::Odd("500".into()));
    });
    check("an acknowledged row lost", Promise::Durable, |e| {
        e.snapshot.rows.remove(2);
        e.snapshot.work_orders[0].seq = 2;
        e.snapshot.work_orders[0].input_quantity = 2;
        e.snapshot.claims = vec![claim("b")];
    });
    check("a quantity of its own", Promise::Conserve, |e| e.snapshot.work_orders[0].input_quantity = 3);
    check("a gap", Promise::Chain, |e| {
        e.snapshot.rows.remove(0);
    });
    check("a jump", Promise::Chain, |e| e.snapshot.rows[1].before = 5);
    check("a row behind its log", Promise::Chain, |e| e.snapshot.work_orders[0].seq = 2);
    check("a refusal that counts", Promise::Chain, |e| e.snapshot.rows[3].after = 2);
    check("an older fence later", Promise::Fence, |e| e.snapshot.rows[2].fence = 1);
    check("a row under an older fence than its log", Promise::Fence, |e| e.snapshot.work_orders[0].fence = 1);
    check("a read of no state", Promise::Window, |e| e.reads[0].quantities = [9, 0, 0]);
    check("a read older than an answer", Promise::Window, |e| {
        e.reads[0].seq = 0;
        e.reads[0].quantities = [0; 3];
    });
    check("a read newer than any try", Promise::Window, |e| {
        e.reads[0].ended = e.begun;
        e.reads[0].sent = e.begun;
    });
    check("a no, and it is counted", Promise::HonestNo, |e| {
        let no = Told::Undecided { code: "work-order-unknown".into(), applied_no: true };
        e.tell(e.attempts[2].request.clone(), 40, 41, no);
    });
    check("a part counted twice", Promise::Barcodes, |e| {
        let again =
            Row { request_id: "x".into(), seq: Some(4), delta: 1, before: 1, after: 2, ..e.snapshot.rows[1].clone() };
        e.snapshot.rows.insert(2, Row { seq: Some(3), before: 2, after: 3, ..again });
    });
    check("a scan taken back twice", Promise::Barcodes, |e| {
        let again = Row { request_id: "x".into(), seq: Some(4), before: 1, after: 0, ..e.snapshot.rows[2].clone() };
        e.snapshot.rows.push(again);
        e.snapshot.work_orders[0].seq = 4;
        e.snapshot.work_orders[0].input_quantity = 0;
    });
    check("an undo of another scan", Promise::Barcodes, |e| {
        e.snapshot.rows[2].action = "undo".into();
        e.snapshot.rows[2].undoes = Some("a".into());
    });
    check("an undo of more than was counted", Promise::Barcodes, |e| {
        e.snapshot.rows[2].delta = -2;
        e.snapshot.rows[2].after = 0;
        e.snapshot.work_orders[0].input_quantity = 0;
    });
    check("an unbind of nothing", Promise::Barcodes, |e| e.snapshot.rows[2].takes_back = None);
    check("a scan that takes something back", Promise::Barcodes, |e| {
        e.snapshot.rows[1].takes_back = Some("a".into());
    });
    check("a claim that stands though its scan was released", Promise::Barcodes, |e| {
        let rows = &mut e.snapshot.rows;
        (rows[2].action, rows[2].takes_back, rows[2].barcode) = ("correction".into(), None, None);
        (rows[2].set_to, rows[2].barcodes) = (Some(1), Some("release".into()));
        e.snapshot.claims.push(claim("b"));
    });
    check("late without a hold", Promise::Barcodes, |e| e.snapshot.rows[0].late = true);
    check("counted in spite of a hold", Promise::Barcodes, |e| {
        e.snapshot.rows[0].work_order_status = "paused".into();
    });
    check("settled twice", Promise::Barcodes, |e| {
        let refused = Row { request_id: "r".into(), ..e.snapshot.rows[3].clone() };
        e.snapshot.rows.insert(0, refused);
        e.snapshot.rows[1].settles = Some("r".into());
        e.snapshot.rows[2].settles = Some("r".into());
    });
    check("settles what was not refused", Promise::Barcodes, |e| e.snapshot.rows[1].settles = Some("a".into()));
    check("a claim of nobody", Promise::Barcodes, |e| e.snapshot.claims.push(claim("z")));
    check("a claim missing", Promise::Barcodes, |e| {
        e.snapshot.rows.remove(2);
        e.snapshot.work_orders[0].seq = 2;
    });
}

#[test]
fn a_no_before_a_later_try_is_honest() {
    let mut evidence = Evidence::good();
    let first = evidence.attempts[0].clone();
    let no = Told::Undecided { code: "work-order-unknown".into(), applied_no: true };
    let (sent, ended) = (evidence.begun, evidence.begun + Duration::from_millis(1));
    evidence.attempts.insert(0, Attempt { sent, ended, told: no, ..first });
    let wrong = promises_broken(&evidence);
    assert!(wrong.is_empty(), "{wrong:?}");
}

fn check(what: &str, promise: Promise, bend: impl FnOnce(&mut Evidence)) {
    let mut evidence = Evidence::good();
    bend(&mut evidence);
    let broken = promises_broken(&evidence);
    assert!(broken.contains(&promise), "{what}: not {promise:?} but {broken:?}");
}

fn promises_broken(evidence: &Evidence) -> Vec<Promise> {
    let mut ledger = Ledger::default();
    for attempt in evidence.attempts.iter().filter(|attempt| matches!(attempt.told, Told::Counted { .. })) {
        ledger.acknowledge(attempt.request.id.clone(), attempt.ended);
    }
    let mut wrong = ledger.see(&evidence.snapshot);
    wrong.extend(judge(&evidence.attempts, &evidence.reads, &ledger));
    wrong.into_iter().map(|violation| violation.promise).collect()
}

impl Evidence {
    /// Input goes to 1 by `a`, to 2 by the part of `b`, to 1 by its unbind `c`; `d` is refused.
    fn good() -> Self {
        let begun = Instant::now();
        let rows = vec![
            row("a", Some(1), "scan", 1, 0),
            Row { barcode: Some("B".into()), ..row("b", Some(2), "scan", 1, 1) },
            Row { barcode: Some("B".into()), ..row("c", Some(3), "unbind", -1, 2) },
            row("d", None, "scan", 0, 1),
        ];
        let work_order = WorkOrder {
            work_order: "W".into(),
            input_quantity: 1,
            output_quantity: 0,
            scrap_quantity: 0,
            seq: 3,
            fence: 2,
            stamp: 1,
        };
        let snapshot =
            Snapshot { began: begun + Duration::from_secs(1), work_orders: vec![work_order], rows, claims: Vec::new() };
        let scan = json!({ "counter": "input", "action": "scan", "quantity": 1 });
        let part = json!({ "counter": "input", "action": "scan", "quantity": 1, "barcode": "B" });
        let unbind = json!({ "counter": "input", "action": "unbind", "barcode": "B" });
        let bodies = [("a", scan.clone()), ("b", part), ("c", unbind), ("d", scan)];
        let mut evidence = Self { begun, snapshot, attempts: Vec::new(), reads: Vec::new() };
        for (at, (id, body)) in (1..).zip(bodies) {
            let row = evidence.snapshot.rows.iter().find(|row| row.request_id == id).expect("it is there");
            let told = match &row.code {
                None => counted(row, "{}"),
                Some(code) => Told::Refused { replayed: false, code: code.clone() },
            };
            evidence.tell(request(id, body), 10 * at, 10 * at + 1, told);
        }
        let (sent, ended) = (begun + Duration::from_millis(35), begun + Duration::from_millis(36));
        evidence.reads.push(Read { work_order: "W".into(), sent, ended, seq: 3, quantities: [1, 0, 0] });
        evidence
    }

    /// Notes an attempt between these milliseconds.
    fn tell(&mut self, request: Arc<Request>, sent: u64, ended: u64, told: Told) {
        let at = |millis| self.begun + Duration::from_millis(millis);
        self.attempts.push(Attempt { request, replica: 0, sent: at(sent), ended: at(ended), told });
    }
}

/// A row of the log, counted if it has a `seq`.
fn row(id: &str, seq: Option<i64>, action: &str, delta: i64, before: i64) -> Row {
    Row {
        request_id: id.into(),
        work_order: "W".into(),
        seq,
        at_seq: seq.is_none().then_some(3),
        counter: "input".into(),
        action: action.into(),
        quantity: (action == "scan").then_some(1),
        asked_delta: None,
        set_to: None,
        barcodes: None,
        undoes: None,
        r#override: false,
        settles: None,
        delta,
        before,
        after: before + delta,
        takes_back: (action == "unbind").then(|| "b".into()),
        late: false,
        barcode: None,
        step: String::new(),
        station: None,
        terminal: None,
        operator: None,
        reason: None,
        note: None,
        fence: 2,
        work_order_status: "in_progress".into(),
        scanned_at: None,
        outcome: if seq.is_some() { "counted" } else { "refused" }.into(),
        code: seq.is_none().then(|| "over-plan".into()),
    }
}

fn request(id: &str, body: serde_json::Value) -> Arc<Request> {
    Arc::new(Request { work_order: "W".into(), id: id.into(), route: "scans", body })
}

fn counted(row: &Row, body: &'static str) -> Told {
    let update = json!({ "seq": row.seq, "after": row.after, "delta": row.delta }).to_string();
    Told::Counted { replayed: false, update, body: Some(Bytes::from_static(body.as_bytes())) }
}

fn claim(id: &str) -> Claim {
    let (work_order, counter, step) = ("W".into(), "input".into(), String::new());
    Claim { work_order, counter, step, barcode: "B".into(), request_id: id.into(), quantity: 1 }
}
