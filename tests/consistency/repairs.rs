//! Repairs: from the log, once, and without delaying a scan.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use scanfence::domain::barcode::Step;
use scanfence::domain::consistency::{CheckState, FindingState, Kind, Range, Remedy};
use scanfence::domain::ids::WorkOrderNumber;
use scanfence::domain::request::Counter;
use scanfence::domain::work_order::BarcodePolicy;
use scanfence::monitor::Settings;
use scanfence::monitor::repair::{NotRepaired, RepairAsk};
use serde_json::json;

use crate::floor::{Floor, off};
use crate::shop::{self, row, scan, scan_of, settle, unbind};
use crate::stage::unique;

pub fn ask(finding_id: &str) -> RepairAsk {
    RepairAsk {
        request_id: unique("repair"),
        finding_id: finding_id.to_owned(),
        dry_run: false,
        accept: false,
        reason: "bent by hand".to_owned(),
        operator: Some("E1024".to_owned()),
        principal: "tester".to_owned(),
    }
}

/// Three scans, two of them of parts; and one of them at another step, as scrap.
async fn seeded(floor: &Floor) -> WorkOrderNumber {
    let number = floor.work_order(BarcodePolicy::Once).await;
    let mut elsewhere = scan_of(&number, "A");
    elsewhere.step = Step::parse("P020").unwrap();
    elsewhere.counter = Counter::Scrap;
    floor.count(&[scan_of(&number, "A"), elsewhere, scan_of(&number, "B"), scan(&number)]).await;
    number
}

pub async fn what_the_log_explains_is_set_right_and_resolved(floor: &Floor) {
    for (sql, kind) in [
        ("update work_orders set input_quantity = 99 where work_order = 'W'", Kind::Quantity),
        ("update work_orders set status = 'completed' where work_order = 'W'", Kind::Status),
        ("update work_orders set seq = 1 where work_order = 'W'", Kind::Seq),
        ("update update_log set fence = 7 where work_order = 'W' and seq = 4", Kind::Fence),
        ("delete from barcode_claims where work_order = 'W' and barcode = 'A' and step = ''", Kind::Claim),
        ("insert into barcode_claims values ('W', 'input', '', 'C', 1, 'a claim of nobody', 1)", Kind::Claim),
        (
            "update barcode_claims set request_id = 'other' where work_order = 'W' and barcode = 'A' and step = ''",
            Kind::Claim,
        ),
    ] {
        let number = seeded(floor).await;
        floor.sql(&sql.replace("'W'", &format!("'{number}'"))).await;
        let bent = row(floor.store.as_ref(), &number).await;
        let finding = floor.only(&number, kind).await;
        let ask = ask(&finding.finding_id);
        let repaired = floor.monitor.repair(&ask).await.unwrap();
        assert!(!repaired.replayed && !repaired.dry_run);
        let kept = floor.consistency.audit_entry(&ask.request_id).await.unwrap().expect("who, when, why");
        assert_eq!(kept, repaired.entry, "{sql}");
        assert_eq!((kept.recorded_by.as_str(), kept.reason.as_str()), ("tester", "bent by hand"));
        assert_ne!(kept.before, kept.after, "{sql}");
        let mended = row(floor.store.as_ref(), &number).await;
        assert_ne!(mended.stamp, bent.stamp, "{sql}: whoever has loaded the row loads again");
        let state = floor.consistency.finding(&finding.finding_id).await.unwrap().unwrap().state;
        assert_eq!(state, FindingState::Repaired, "{sql}");
        assert!(floor.open(&number).await.is_empty(), "{sql}");
        let state = floor.consistency.finding(&finding.finding_id).await.unwrap().unwrap().state;
        assert_eq!(state, FindingState::Resolved, "{sql}");
        shop::audit(floor.store.as_ref(), &number).await;
        // And counting goes on from there.
        settle(floor.store.as_ref(), &[scan(&number), unbind(&number, "A"), scan_of(&number, "A")]).await;
        assert!(floor.open(&number).await.is_empty(), "{sql}");
    }
}

pub async fn a_dry_run_changes_nothing_and_says_what_would(floor: &Floor) {
    let number = seeded(floor).await;
    floor.sql(&format!("update work_orders set input_quantity = 99 where work_order = '{number}'")).await;
    let finding = floor.only(&number, Kind::Quantity).await;
    let before = row(floor.store.as_ref(), &number).await;
    let dry = RepairAsk { dry_run: true, ..ask(&finding.finding_id) };
    let would = floor.monitor.repair(&dry).await.unwrap();
    assert!(would.dry_run);
    assert_eq!((&would.entry.before["input_quantity"], &would.entry.after["input_quantity"]), (&json!(99), &json!(3)));
    assert_eq!(row(floor.store.as_ref(), &number).await, before);
    assert_eq!(floor.consistency.audit_entry(&dry.request_id).await.unwrap(), None);
    let done = floor.monitor.repair(&RepairAsk { dry_run: false, ..dry }).await.unwrap();
    assert_eq!((&done.entry.before, &done.entry.after), (&would.entry.before, &would.entry.after));
}

pub async fn a_repeated_repair_is_a_replay(floor: &Floor) {
    let number = seeded(floor).await;
    floor.sql(&format!("update work_orders set input_quantity = 99 where work_order = '{number}'")).await;
    let finding = floor.only(&number, Kind::Quantity).await;
    let asked = ask(&finding.finding_id);
    // At once, by several: one does it, the others get its answer.
    let all = futures_util::future::join_all((0..4).map(|_| floor.monitor.repair(&asked))).await;
    let all: Vec<_> = all.into_iter().map(|repaired| repaired.unwrap().entry).collect();
    assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{all:#?}");
    let again = floor.monitor.repair(&asked).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.entry, all[0]);

    let other = RepairAsk { reason: "another".to_owned(), ..asked.clone() };
    let refused = floor.monitor.repair(&other).await.unwrap_err();
    assert!(matches!(&refused, NotRepaired::KeyReused { differs } if differs == &["reason"]), "{refused:?}");
    let anew = floor.monitor.repair(&ask(&finding.finding_id)).await.unwrap_err();
    assert!(matches!(anew, NotRepaired::Settled(FindingState::Repaired)), "{anew:?}");
    let unknown = floor.monitor.repair(&ask("none")).await.unwrap_err();
    assert!(matches!(unknown, NotRepaired::Unknown(_)), "{unknown:?}");
}

pub async fn what_the_log_cannot_explain_needs_a_decision(floor: &Floor) {
    let number = seeded(floor).await;
    floor.sql(&format!("delete from update_log where work_order = '{number}' and seq = 2")).await;
    let before = row(floor.store.as_ref(), &number).await;
    for finding in floor.open(&number).await {
        let refused = floor.monitor.repair(&ask(&finding.finding_id)).await.unwrap_err();
        assert!(matches!(refused, NotRepaired::DecisionNeeded(_)), "{refused:?}");
    }
    assert_eq!(row(floor.store.as_ref(), &number).await, before);

    // A finding that could be repaired when it was found, but can't any more.
    let number = seeded(floor).await;
    floor.sql(&format!("update work_orders set input_quantity = 99 where work_order = '{number}'")).await;
    let finding = floor.only(&number, Kind::Quantity).await;
    settle(floor.store.as_ref(), &[scan(&number)]).await;
    let refused = floor.monitor.repair(&ask(&finding.finding_id)).await.unwrap_err();
    assert!(matches!(refused, NotRepaired::DecisionNeeded(_)), "its log says 99 → 100 by now: {refused:?}");
}

/// Settles all that is open of a work order: by its log where that says what is right, else by
/// accepting it.
async fn decide(floor: &Floor, number: &WorkOrderNumber) -> Vec<Kind> {
    let mut accepted = Vec::new();
    for _ in 0..4 {
        let open = floor.open(number).await;
        if open.is_empty() {
            break;
        }
        for finding in open {
            let accept = finding.remedy == Remedy::Decision;
            let asked = RepairAsk { accept, ..ask(&finding.finding_id) };
            let done = floor.monitor.repair(&asked).await.unwrap();
            assert_eq!(done.entry.action, if accept { "accept" } else { "repair" });
            let kept = floor.consistency.audit_entry(&asked.request_id).await.unwrap();
            assert_eq!(kept, Some(done.entry), "who, when, why");
            accepted.extend(accept.then_some(finding.kind));
        }
    }
    accepted
}

pub async fn what_a_person_accepts_is_not_found_again_and_what_else_is_wrong_is(floor: &Floor) {
    for (sql, kinds) in [
        ("delete from update_log where work_order = 'W' and seq = 2", &[Kind::Gap][..]),
        ("delete from update_log where work_order = 'W' and seq in (1, 3)", &[Kind::Gap]),
        ("delete from update_log where work_order = 'W' and seq = 4", &[Kind::Seq, Kind::Quantity]),
        ("update update_log set before = 9, after = 10 where work_order = 'W' and seq = 3", &[Kind::Before]),
        ("update update_log set after = 9 where work_order = 'W' and seq = 3", &[Kind::After]),
        ("update update_log set delta = 2, after = 3 where work_order = 'W' and seq = 3", &[Kind::Delta]),
        ("update update_log set fence = 7 where work_order = 'W' and seq = 2", &[Kind::Fence]),
        ("update update_log set barcode_canonical = 'A' where work_order = 'W' and seq = 3", &[Kind::Twice]),
    ] {
        let number = seeded(floor).await;
        floor.sql(&sql.replace("'W'", &format!("'{number}'"))).await;
        let accepted = decide(floor, &number).await;
        assert!(kinds.iter().all(|kind| accepted.contains(kind)), "{sql}: {accepted:?}");
        assert!(floor.open(&number).await.is_empty(), "{sql}: not found again");
        let verdict = floor.check(Range::WorkOrder, Some(&number)).await;
        assert_eq!(verdict.check.state, CheckState::Good, "{sql}");

        // Counting goes on, and nothing of it is taken for the old drift.
        let mut scrap = scan(&number);
        scrap.counter = Counter::Scrap;
        settle(floor.store.as_ref(), &[scan(&number), scrap, scan_of(&number, "D"), unbind(&number, "D")]).await;
        decide(floor, &number).await;
        assert!(floor.open(&number).await.is_empty(), "{sql}");

        // What goes wrong behind it is found.
        floor.sql(&format!("delete from update_log where work_order = '{number}' and seq = 6")).await;
        let open = floor.open(&number).await;
        assert!(open.iter().any(|finding| finding.kind == Kind::Gap), "{sql}: {open:#?}");
    }
}

pub async fn only_what_needs_a_decision_is_accepted_and_once(floor: &Floor) {
    let number = seeded(floor).await;
    floor.sql(&format!("update work_orders set input_quantity = 99 where work_order = '{number}'")).await;
    let finding = floor.only(&number, Kind::Quantity).await;
    let accept = RepairAsk { accept: true, ..ask(&finding.finding_id) };
    let refused = floor.monitor.repair(&accept).await.unwrap_err();
    assert!(matches!(refused, NotRepaired::NothingToAccept), "{refused:?}");

    let number = seeded(floor).await;
    floor.sql(&format!("update update_log set fence = 7 where work_order = '{number}' and seq = 2")).await;
    let finding = floor.only(&number, Kind::Fence).await;
    let before = row(floor.store.as_ref(), &number).await;
    let accept = RepairAsk { accept: true, ..ask(&finding.finding_id) };
    let would = floor.monitor.repair(&RepairAsk { dry_run: true, ..accept.clone() }).await.unwrap();
    assert!(would.dry_run);
    assert_eq!(floor.only(&number, Kind::Fence).await.state, FindingState::Open, "a dry run accepts nothing");
    let done = floor.monitor.repair(&accept).await.unwrap();
    assert_eq!(row(floor.store.as_ref(), &number).await, before, "nothing of the row has changed");
    let again = floor.monitor.repair(&accept).await.unwrap();
    assert!(again.replayed);
    assert_eq!(again.entry, done.entry);
    let other = RepairAsk { accept: false, ..accept };
    let refused = floor.monitor.repair(&other).await.unwrap_err();
    assert!(matches!(&refused, NotRepaired::KeyReused { differs } if differs == &["accept"]), "{refused:?}");

    // Rows whose work order is gone have nothing to be written to, and are accepted all the same.
    let number = seeded(floor).await;
    floor.sql(&format!("delete from work_orders where work_order = '{number}'")).await;
    assert!(decide(floor, &number).await.contains(&Kind::Orphan));
    assert!(floor.open(&number).await.is_empty());
}

/// Scans before the repair are in its sum, scans after it find its stamp.
pub async fn pitfall_37_scans_race_a_repair_and_all_are_counted(floor: &Floor) {
    let number = seeded(floor).await;
    let counted = Arc::new(std::sync::atomic::AtomicI64::new(3));
    for _ in 0..5 {
        // A status or claim can be bent while scans go on, without bending what they log.
        floor
            .sql(&format!("delete from barcode_claims where work_order = '{number}' and barcode = 'A' and step = ''"))
            .await;
        let finding = floor.only(&number, Kind::Claim).await;
        let stop = Arc::new(AtomicBool::new(false));
        let scanning = {
            let (store, number, stop, counted) =
                (Arc::clone(&floor.store), number.clone(), Arc::clone(&stop), Arc::clone(&counted));
            tokio::spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    settle(store.as_ref(), &[scan(&number)]).await;
                    counted.fetch_add(1, Ordering::Relaxed);
                }
            })
        };
        let repaired = floor.monitor.repair(&ask(&finding.finding_id)).await;
        stop.store(true, Ordering::Relaxed);
        scanning.await.unwrap();
        repaired.unwrap();
    }
    // A quantity, with a scan that was decided on the bent row and is written after the repair.
    floor.sql(&format!("update work_orders set output_quantity = 99 where work_order = '{number}'")).await;
    let finding = floor.only(&number, Kind::Quantity).await;
    let late = shop::prepared(floor.store.as_ref(), &[scan(&number)]).await;
    floor.monitor.repair(&ask(&finding.finding_id)).await.unwrap();
    assert!(floor.store.write(&late).await.unwrap().passed.is_empty(), "it was decided on what is no more");
    let mended = row(floor.store.as_ref(), &number).await;
    assert_eq!(mended.input_quantity.get(), counted.load(Ordering::Relaxed));
    assert_eq!(mended.output_quantity.get(), 0);
    assert!(floor.open(&number).await.is_empty());
    shop::audit(floor.store.as_ref(), &number).await;
}

pub async fn kinds_marked_safe_are_repaired_without_being_asked(floor: &Floor) {
    let (safe, other) = (seeded(floor).await, seeded(floor).await);
    floor
        .sql(&format!(
            "update work_orders set input_quantity = 99 where work_order = '{safe}';
             update work_orders set status = 'completed' where work_order = '{other}'"
        ))
        .await;
    let monitor = floor.another("safe", Settings { repair: vec![Kind::Quantity], ..off() });
    let check = monitor.ask(Range::Full, None, None, "test").await.unwrap();
    monitor.run_check(&check, &Default::default(), &|_| {}).await.unwrap();
    let report = monitor.report(&check.check_id).await.unwrap().unwrap();
    assert_eq!(report.check.state, CheckState::Drift, "what was found is told, repaired or not");
    for finding in report.findings {
        let (kind, state) = (finding.kind, finding.state);
        let expected = if kind == Kind::Quantity { FindingState::Repaired } else { FindingState::Open };
        assert_eq!(state, expected, "{kind:?}");
        let entry = floor.consistency.audit_entry(&format!("monitor-{}", finding.finding_id)).await.unwrap();
        assert_eq!(entry.map(|entry| entry.recorded_by), (kind == Kind::Quantity).then(|| "monitor".to_owned()));
    }
    assert_eq!(row(floor.store.as_ref(), &safe).await.input_quantity.get(), 3);
}
