//! What was taken back, released, overridden and settled: the monitor finds each damage of it, and
//! nothing else.

use std::time::Duration;

use scanfence::domain::consistency::{CheckState, Finding, FindingState, Kind, Range, Remedy};
use scanfence::domain::decide::{Arrival, decide};
use scanfence::domain::ids::{Principal, WorkOrderNumber};
use scanfence::domain::request::{Ask, Barcodes, Counter, Override, Request};
use scanfence::domain::work_order::{BarcodePolicy, Edit, Fresh, Hold, Moment, Plan, Precondition};
use scanfence::store::Batch;
use serde_json::{Value, json};

use crate::damages::{DAMAGES, Damage};
use crate::drift::{LONG, long};
use crate::floor::Floor;
use crate::repairs::ask;
use crate::shop::{
    self, Leases, correct, fresh, log, pieces, plan, recount, row, scan, scan_of, time, unbind, undo, wanted,
};

/// An override that counts a refused scan.
fn override_of(refused: &Request) -> Request {
    let mut request = scan(&refused.work_order);
    let overriding = Some(Override { settles: Some(refused.request_id.clone()) });
    request.ask = Ask::Scan { quantity: pieces(1), barcode: None, overriding };
    request
}

/// Sets or lifts a hold at a time.
async fn hold(floor: &Floor, number: &WorkOrderNumber, hold: Option<Hold>, at: i64) {
    let edit = Edit::Hold { hold, reason: "inspection".to_owned(), strict: false };
    let at = Fresh { now: time(at), ..fresh() };
    floor.store.edit(number, &edit, &Precondition::None, at).await.unwrap().unwrap();
}

/// Counts a scan that was made before the present hold was set.
async fn count_late(floor: &Floor, request: &Request) {
    let principal = Principal::named("line-3");
    let facts = floor.store.load(&wanted(std::slice::from_ref(request))).await.unwrap();
    let moment = Moment { now: time(9_000), late_scans: Some(Duration::from_secs(3_600)) };
    let decision = decide(facts, &[Arrival { request, principal: &principal }], &Leases::new(), moment);
    let mut changes = decision.changes;
    assert!(changes[0].updates[0].late, "{changes:?}");
    changes[0].row.stamp = fresh().stamp;
    let batch = Batch { changes, unverified: Vec::new(), unclaimed: Vec::new() };
    assert_eq!(floor.store.write(&batch).await.unwrap().passed.len(), 1);
}

/// Counts these one after the other, under the row lock: only there barcodes are released.
async fn count(floor: &Floor, requests: &[Request]) {
    for request in requests {
        let one = std::slice::from_ref(request);
        let mut decide = |facts| shop::decided_at(time(0), facts, one, &Leases::new()).1;
        floor.store.write_locked(&wanted(one), &mut decide).await.unwrap();
    }
}

/// Counts every action: scans, unbinds, undos, releases, late scans and overrides.
async fn count_everything(floor: &Floor, number: &WorkOrderNumber) {
    let [first, second, third] = ["X", "Y", "X"].map(|barcode| scan_of(number, barcode));
    let plain = scan(number);
    count(floor, &[first.clone(), second.clone(), plain.clone(), undo(&plain), undo(&plain)]).await;
    count(floor, &[undo(&first), third.clone(), unbind(number, "Y"), undo(&second), undo(&third)]).await;
    // Without the release, the same barcodes could not be scanned again.
    let before_release = [scan_of(number, "X"), scan_of(number, "Y")];
    let mut elsewhere = scan_of(number, "X");
    elsewhere.counter = Counter::Output;
    count(floor, &before_release).await;
    count(floor, &[elsewhere.clone(), recount(number, 0, Barcodes::Release)]).await;
    count(floor, &[undo(&before_release[0]), unbind(number, "Y"), scan_of(number, "Y")]).await;
    count(floor, &[recount(number, 7, Barcodes::Keep), correct(number, 2), unbind(number, "Y")]).await;
    let mut undo_elsewhere = undo(&elsewhere);
    undo_elsewhere.counter = Counter::Output;
    count(floor, &[undo_elsewhere, scan_of(number, "Z")]).await;
    hold(floor, number, Some(Hold::Paused), 5_000).await;
    let refused = scan(number);
    count(floor, &[refused.clone(), override_of(&refused), override_of(&refused)]).await;
    let mut late = scan_of(number, "late");
    late.scanned_at = Some(time(4_000));
    count_late(floor, &late).await;
    hold(floor, number, None, 10_000).await;
}

pub async fn every_action_leaves_a_good_log(floor: &Floor) {
    for policy in [BarcodePolicy::Once, BarcodePolicy::Repeatable] {
        let number = floor.work_order(policy).await;
        count_everything(floor, &number).await;
        let updates = log(floor.store.as_ref(), &number).await;
        let is_late = updates.iter().any(|update| update.late && update.seq.is_some());
        let counted =
            |settled: bool| updates.iter().filter(|u| u.seq.is_some() && u.settles.is_some() == settled).count();
        assert!(is_late && counted(true) == 1 && counted(false) > 15, "{updates:#?}");
    }
    for barcode in ["'B' || n", "'crowd'"] {
        let number = long(floor, barcode).await;
        count_everything(floor, &number).await;
    }
    // Repeatable barcodes of a short log, where an older scan than the newest is taken back.
    let number = floor.work_order(BarcodePolicy::Repeatable).await;
    let scans = [scan_of(&number, "A"), scan_of(&number, "A"), scan_of(&number, "A")];
    count(floor, &scans).await;
    count(floor, &[undo(&scans[1]), unbind(&number, "A"), scan_of(&number, "A")]).await;
    let report = floor.check(Range::Full, None).await;
    assert_eq!((report.check.state, report.findings.len()), (CheckState::Good, 0), "{:#?}", report.findings);
}

/// The log of [`DAMAGES`], and its request ids by name.
async fn seeded(floor: &Floor) -> (WorkOrderNumber, Vec<(&'static str, String)>) {
    let number = shop::number();
    let plan = Plan { planned_quantity: pieces(3), over_plan_allowance: Some(pieces(0)), ..plan() };
    shop::put(floor.store.as_ref(), &number, plan).await;
    let output = |mut request: Request| {
        request.counter = Counter::Output;
        request
    };
    let [a, b, c] = ["A", "B", "C"].map(|barcode| scan_of(&number, barcode));
    let (p, r) = (scan(&number), scan(&number));
    let (oa, d) = (output(scan_of(&number, "A")), output(scan_of(&number, "D")));
    let o = override_of(&r);
    count(floor, &[a.clone(), b.clone(), p.clone(), r.clone(), undo(&p), unbind(&number, "B"), c.clone()]).await;
    count(floor, &[oa.clone(), output(recount(&number, 1, Barcodes::Release)), d.clone(), o.clone()]).await;
    let now = row(floor.store.as_ref(), &number).await;
    assert_eq!((now.seq.0, now.input_quantity.get(), now.output_quantity.get()), (10, 3, 2), "{now:?}");
    let ids = [("A", a), ("B", b), ("C", c), ("P", p), ("R", r), ("OA", oa), ("D", d), ("O", o)];
    (number, ids.map(|(name, request)| (name, request.request_id.to_string())).to_vec())
}

/// A value of a finding, with names in place of request ids.
fn named(value: &Value, number: &WorkOrderNumber, ids: &[(&str, String)]) -> String {
    match value.as_str() {
        Some(id) if id == format!("nobody {number}") => "nobody".to_owned(),
        Some(id) => ids.iter().find(|(_, other)| other == id).map_or(id, |(name, _)| name).to_owned(),
        None => value.to_string(),
    }
}

fn assert_found(damage: &Damage, finding: &Finding, number: &WorkOrderNumber, ids: &[(&str, String)]) {
    let remedy = if damage.why.is_some() { Remedy::Decision } else { Remedy::Repair };
    let of = |value: &Value| named(value, number, ids);
    assert_eq!(
        (finding.counter.map(Counter::word), finding.seq, of(&finding.expected), of(&finding.actual), finding.remedy),
        (Some(damage.counter), damage.seq, damage.expected.to_owned(), damage.actual.to_owned(), remedy),
        "{}",
        damage.sql
    );
    let why = damage.why.filter(|why| !why.is_empty());
    assert_eq!(finding.details.get("why").and_then(Value::as_str), why, "{}", damage.sql);
    let proposed = finding.details.pointer("/proposal/correction/delta").and_then(Value::as_i64);
    assert_eq!(proposed, damage.proposed, "{}: {finding:#?}", damage.sql);
}

/// Without its unique indexes a database can hold each damage.
async fn without_indexes(floor: &Floor) {
    floor.sql("drop index update_log_takes_back; drop index update_log_settles").await;
}

pub async fn each_damage_of_what_was_taken_back_is_found(floor: &Floor) {
    without_indexes(floor).await;
    for damage in &DAMAGES {
        let (number, ids) = seeded(floor).await;
        assert!(floor.open(&number).await.is_empty());
        let sql = ids.iter().fold(damage.sql.replace("{W}", number.as_str()), |sql, (name, id)| {
            sql.replace(&format!("{{{name}}}"), id)
        });
        floor.sql(&sql).await;
        let finding = floor.only(&number, damage.kind).await;
        assert_found(damage, &finding, &number, &ids);
        // Repaired from the log, or accepted by a person, it is not found again.
        let accept = finding.remedy == Remedy::Decision;
        let asked = scanfence::monitor::repair::RepairAsk { accept, ..ask(&finding.finding_id) };
        floor.monitor.repair(&asked).await.unwrap();
        let open = floor.open(&number).await;
        assert!(open.is_empty(), "{}: {open:#?}", damage.sql);
    }
}

pub async fn damage_of_a_long_log_is_found_as_that_of_a_short_one(floor: &Floor) {
    without_indexes(floor).await;
    let number = long(floor, "'B' || n").await;
    let (again, plain) = (scan_of(&number, "B8"), scan(&number));
    count(floor, &[unbind(&number, "B8")]).await;
    count(floor, &[again.clone(), plain.clone()]).await;
    count(floor, &[undo(&again), undo(&plain)]).await;
    assert!(floor.open(&number).await.is_empty());

    // A claim that stands though its scan was taken back.
    let claim = |barcode: &str, id: &str| {
        format!("insert into barcode_claims values ('{number}', 'input', '', '{barcode}', 1, '{id}', 1)")
    };
    repaired(floor, &number, &claim("B8", again.request_id.as_str()), (json!(null), json!(again.request_id))).await;

    // A scan that was taken back twice, by the last row.
    let bend = |id: &str| {
        format!(
            "update update_log set undoes = '{id}', takes_back = '{id}'
                 where work_order = '{number}' and action = 'undo' and barcode is null"
        )
    };
    floor.sql(&bend(again.request_id.as_str())).await;
    let finding = floor.only(&number, Kind::TakesBack).await;
    assert_eq!((finding.seq, finding.details["why"].as_str()), (Some(LONG + 5), Some("unknown")), "{finding:#?}");
    floor.sql(&bend(plain.request_id.as_str())).await;
    assert!(floor.open(&number).await.is_empty());

    // A release frees all of them. What is scanned after it stands.
    let after = scan_of(&number, "B9");
    count(floor, &[recount(&number, 0, Barcodes::Release)]).await;
    count(floor, std::slice::from_ref(&after)).await;
    assert!(floor.open(&number).await.is_empty());
    let released = format!("{number}-10");
    repaired(floor, &number, &claim("B10", &released), (json!(null), json!(released))).await;
    let held_by_an_older_one =
        format!("update barcode_claims set request_id = '{number}-9' where work_order = '{number}' and barcode = 'B9'");
    repaired(floor, &number, &held_by_an_older_one, (json!(after.request_id), json!(format!("{number}-9")))).await;
    let missing = format!("delete from barcode_claims where work_order = '{number}' and barcode = 'B9'");
    repaired(floor, &number, &missing, (json!(after.request_id), json!(null))).await;
}

/// Makes a damage of claims, which is found and repaired.
async fn repaired(floor: &Floor, number: &WorkOrderNumber, sql: &str, (expected, actual): (Value, Value)) {
    floor.sql(sql).await;
    let finding = floor.only(number, Kind::Claim).await;
    assert_eq!((&finding.expected, &finding.actual, finding.remedy), (&expected, &actual, Remedy::Repair), "{sql}");
    floor.monitor.repair(&ask(&finding.finding_id)).await.unwrap();
    assert!(floor.open(number).await.is_empty(), "{sql}");
    let state = floor.consistency.finding(&finding.finding_id).await.unwrap().unwrap().state;
    assert_eq!(state, FindingState::Resolved, "{sql}");
}

/// The ordinal of a repeatable barcode's claim is the seq of its scan. A repair writes that.
pub async fn a_repair_writes_claims_with_the_seq_of_their_scans(floor: &Floor) {
    let number = floor.work_order(BarcodePolicy::Repeatable).await;
    let scans = [scan_of(&number, "A"), scan_of(&number, "A"), scan_of(&number, "A")];
    count(floor, &scans).await;
    count(floor, &[undo(&scans[1])]).await;
    let standing = shop::claims(floor.store.as_ref(), &number, "A").await;
    assert_eq!(standing.iter().map(|(ordinal, _)| *ordinal).collect::<Vec<_>>(), [1, 3]);
    let wrong = format!("update barcode_claims set ordinal = 2 where work_order = '{number}' and ordinal = 3");
    floor.sql(&wrong).await;
    let finding = floor.only(&number, Kind::Claim).await;
    assert_eq!(finding.details["claims_wrong"], 2, "{finding:#?}");
    floor.monitor.repair(&ask(&finding.finding_id)).await.unwrap();
    assert_eq!(shop::claims(floor.store.as_ref(), &number, "A").await, standing);
    assert!(floor.open(&number).await.is_empty());
}
