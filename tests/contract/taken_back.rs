//! Undos, late scans, overrides, and recounts that free barcodes (section 3).

use serde_json::{Value, json};

use crate::shop::{Order, Shop, is_problem, with};
use crate::stage::unique;

/// The request id of an update.
fn id(update: &Value) -> &str {
    update["request_id"].as_str().unwrap()
}

fn undo(update: &Value) -> Value {
    json!({ "counter": update["counter"], "action": "undo", "undoes": id(update) })
}

/// Scans that are refused: by the hold, the plan and the pattern. Each with the code.
async fn refused_scans(order: &Order) -> Vec<(String, Value)> {
    let mut refused = Vec::new();
    for (scan, code) in [
        (json!({ "counter": "output", "barcode": "B1", "quantity": 99 }), "over-plan"),
        (json!({ "counter": "output", "barcode": "badge 7" }), "barcode-mismatch"),
    ] {
        let key = unique("k");
        is_problem(&order.client.scan(&order.number, &key, &scan).await, 409, code, code);
        refused.push((key, scan));
    }
    order.hold("paused").await;
    let (key, scan) = (unique("k"), json!({ "counter": "output", "barcode": "B3" }));
    is_problem(&order.client.scan(&order.number, &key, &scan).await, 409, "work-order-not-open", "held");
    refused.push((key, scan));
    refused
}

pub async fn an_undo_takes_back_exactly_the_scan_that_it_names(shop: &Shop) {
    let order = shop.thousand().await;
    let pieces = order.counted(&json!({ "counter": "input", "quantity": 12 })).await;
    let part = order.counted(&json!({ "counter": "input", "barcode": "A1", "step": "P010" })).await;
    let key = unique("k");
    let reply = order.client.scan(&order.number, &key, &undo(&pieces)).await;
    assert_eq!(reply.status, 201, "{reply:?}");
    let update = reply.json();
    for (field, value) in [
        ("action", json!("undo")),
        ("delta", json!(-12)),
        ("after", json!(1)),
        ("takes_back", pieces["request_id"].clone()),
        ("undoes", pieces["request_id"].clone()),
        ("barcode", Value::Null),
        ("late", json!(false)),
    ] {
        assert_eq!(update[field], value, "{field}");
    }
    let again = order.client.scan(&order.number, &key, &undo(&pieces)).await;
    assert_eq!((&again.body, again.header("idempotency-replayed")), (&reply.body, Some("true")));
    is_problem(&order.scan(&undo(&pieces)).await, 409, "nothing-to-undo", "taken back already");
    is_problem(&order.scan(&undo(&update)).await, 409, "nothing-to-undo", "an undo");

    let update = order.counted(&undo(&part)).await;
    assert_eq!((&update["barcode"], &update["step"]), (&json!("A1"), &json!("P010")), "those of its scan");
    let scan = json!({ "counter": "input", "barcode": "A1", "step": "P010" });
    let second = order.counted(&scan).await;
    is_problem(&order.scan(&undo(&part)).await, 409, "nothing-to-undo", "the barcode is counted anew");
    let unbound = order.counted(&with(&scan, &json!({ "action": "unbind" }))).await;
    assert_eq!(unbound["takes_back"], second["request_id"], "an unbind tells it, too");
    is_problem(&order.scan(&undo(&second)).await, 409, "nothing-to-undo", "unbound");
    assert_eq!(order.standing().await["input_quantity"], 0);
}

pub async fn an_undo_is_of_the_same_work_order_and_counter(shop: &Shop) {
    let (order, other) = (shop.thousand().await, shop.thousand().await);
    let scan = order.counted(&json!({ "counter": "input", "barcode": "A1" })).await;
    is_problem(&other.scan(&undo(&scan)).await, 409, "nothing-to-undo", "another work order");
    let of_output = with(&undo(&scan), &json!({ "counter": "output" }));
    is_problem(&order.scan(&of_output).await, 409, "nothing-to-undo", "another counter");
    assert_eq!(order.standing().await["input_quantity"], 1);
    order.hold("paused").await;
    is_problem(&order.scan(&undo(&scan)).await, 409, "work-order-not-open", "held");
}

/// The scan may still be under way, so the answer is not final.
pub async fn an_undo_before_its_scan_is_404_and_counts_after_it(shop: &Shop) {
    let order = shop.thousand().await;
    let (scan_key, undo_key) = (unique("k"), unique("k"));
    let undo = json!({ "counter": "input", "action": "undo", "undoes": scan_key });
    for _ in 0..2 {
        let early = order.client.scan(&order.number, &undo_key, &undo).await;
        is_problem(&early, 404, "update-unknown", "its scan is not known");
        assert_eq!(early.json()["applied"], "no");
    }
    assert_eq!(order.client.get(&format!("/v1/updates/{undo_key}")).await.status, 404, "no row");
    let scan = json!({ "counter": "input", "barcode": "A1" });
    assert_eq!(order.client.scan(&order.number, &scan_key, &scan).await.status, 201);
    let counted = order.client.scan(&order.number, &undo_key, &undo).await;
    assert_eq!((counted.status.as_u16(), &counted.json()["after"]), (201, &json!(0)), "{counted:?}");
    // In one batch, the scan comes first and the undo sees it.
    let (scan_key, undo_key) = (unique("k"), unique("k"));
    let item = |key: &str, fields: Value| with(&fields, &json!({ "request_id": key, "work_order": order.number }));
    let undo = json!({ "counter": "input", "action": "undo", "undoes": scan_key });
    let batch = [item(&scan_key, scan), item(&undo_key, undo)];
    let results = order.client.batch(&batch).await.json();
    let statuses: Vec<_> = results["results"].as_array().unwrap().iter().map(|result| &result["status"]).collect();
    assert_eq!(statuses, [201, 201], "{results}");
}

/// More undos than the newest claims of a barcode.
pub async fn undos_and_an_unbind_of_one_repeatable_barcode_in_one_batch(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 100, "barcode_policy": "repeatable" })).await;
    let mut scans = Vec::new();
    for quantity in [1, 2, 4, 8] {
        scans.push(order.counted(&json!({ "counter": "input", "barcode": "BOX", "quantity": quantity })).await);
    }
    let item = |fields: Value| with(&fields, &json!({ "request_id": unique("k"), "work_order": order.number }));
    let unbind = json!({ "counter": "input", "barcode": "BOX", "action": "unbind" });
    let batch = [item(undo(&scans[3])), item(undo(&scans[2])), item(unbind), item(undo(&scans[1]))];
    let results = order.client.batch(&batch).await.json();
    let results = results["results"].as_array().unwrap();
    let afters: Vec<_> = results.iter().map(|result| &result["update"]["after"]).collect();
    assert_eq!(afters[..3], [7, 3, 1], "the unbind takes back the newest that is left");
    assert_eq!(results[3]["problem"]["code"], "nothing-to-undo", "the unbind has taken it back");
}

pub async fn a_recount_with_release_frees_the_barcodes_of_its_counter(shop: &Shop) {
    let order = shop.thousand().await;
    let scan = json!({ "counter": "input", "barcode": "A1" });
    let unbind = with(&scan, &json!({ "action": "unbind" }));
    let counted = order.counted(&scan).await;
    let recount = json!({ "counter": "input", "set_to": 0 });
    assert_eq!(order.correct(&recount).await.status, 201);
    for stuck in [&unbind, &undo(&counted)] {
        let reply = order.scan(stuck).await;
        is_problem(&reply, 409, "below-zero", "a recount has removed it");
        let detail = reply.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("\"barcodes\":\"release\""), "it says the way out: {detail}");
    }
    is_problem(&order.scan(&scan).await, 409, "barcode-already-counted", "it stands counted");

    let output = order.counted(&with(&scan, &json!({ "counter": "output" }))).await;
    let release = order.correct(&with(&recount, &json!({ "barcodes": "release" }))).await;
    assert_eq!((release.status.as_u16(), &release.json()["barcodes"]), (201, &json!("release")), "{release:?}");
    is_problem(&order.scan(&undo(&counted)).await, 409, "nothing-to-undo", "older than the release");
    is_problem(&order.scan(&unbind).await, 409, "barcode-not-counted", "it is free");
    assert_eq!(order.counted(&scan).await["after"], 1, "and it counts again");
    assert_eq!(order.counted(&undo(&output)).await["after"], 0, "another counter keeps its barcodes");
}

/// Scans, a release and scans again in one batch: the release is decided alone, in its place.
pub async fn a_release_among_other_requests_keeps_their_order(shop: &Shop) {
    let order = shop.thousand().await;
    let mut afters = tokio::task::JoinSet::new();
    for round in 0..12 {
        let order = order.clone();
        afters.spawn(async move {
            let scan = json!({ "counter": "input", "barcode": format!("A{}", round % 3) });
            let scanned = order.scan(&scan).await.status.as_u16();
            let change = json!({ "counter": "input", "set_to": 0, "barcodes": "release" });
            let released = order.correct(&change).await;
            (scanned, released.status.as_u16())
        });
    }
    while let Some(statuses) = afters.join_next().await {
        let (scanned, released) = statuses.unwrap();
        assert!([201, 409].contains(&scanned), "{scanned}");
        assert_eq!(released, 201);
    }
    assert_eq!(order.standing().await["input_quantity"], 0, "a release is the last of all");
    let log = order.updates("outcome=counted&limit=500").await;
    let mut standing = std::collections::HashSet::new();
    for update in log.iter().rev() {
        match update["action"].as_str() {
            Some("correction") => standing.clear(),
            _ => assert!(standing.insert(update["barcode"].to_string()), "counted twice: {update}"),
        }
    }
}

pub async fn a_late_scan_is_decided_as_if_the_hold_were_not_there(shop: &Shop) {
    // A shop of its own, so that the metric counts no other test's scans.
    let shop = Shop::own(shop.kind).await;
    let order = shop.order(&json!({ "planned_quantity": 5 })).await;
    let before = order.client.work_order(&order.number).await["updated_at"].clone();
    tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    let held = order.hold("paused").await.json();
    assert_eq!(held["strict"], false);
    let again = order.hold("cancelled").await.json();
    assert_eq!(again["held_since"], held["held_since"], "another hold does not move it");

    let scan = json!({ "counter": "input", "barcode": "A1", "scanned_at": before });
    let late = order.counted(&scan).await;
    assert_eq!((&late["late"], &late["work_order_status"]), (&json!(true), &json!("cancelled")));
    let undone = with(&undo(&late), &json!({ "scanned_at": before }));
    assert_eq!(order.counted(&undone).await["late"], true, "an undo can be late, too");
    let key = unique("k");
    let over = order.client.scan(&order.number, &key, &with(&scan, &json!({ "quantity": 6 }))).await;
    is_problem(&over, 409, "over-plan", "the plan is as ever");
    assert_eq!(order.client.get(&format!("/v1/updates/{key}")).await.json()["late"], true, "the hold was passed over");
    for (scanned_at, why) in [
        (Value::Null, "it does not say when"),
        (held["held_since"].clone(), "not before the hold"),
        (json!("2026-01-03T01:16:54.103Z"), "longer ago than late-scans"),
    ] {
        let reply = order.scan(&with(&scan, &json!({ "scanned_at": scanned_at, "barcode": "A2" }))).await;
        is_problem(&reply, 409, "work-order-not-open", why);
    }
    let strict = json!({ "status": "paused", "reason": "wrong material", "strict": true });
    assert_eq!(order.client.patch_work_order(&order.number, &strict).await.json()["strict"], true);
    is_problem(&order.scan(&scan).await, 409, "work-order-not-open", "strict");
    let open = order.hold("in_progress").await.json();
    assert_eq!((&open["held_since"], &open["strict"]), (&Value::Null, &json!(false)));
    assert_eq!(order.counted(&scan).await["late"], false, "there is no hold to pass over");
    let metrics = order.client.get("/metrics").await.text();
    assert!(metrics.contains("scanfence_late_updates_total 3\n"), "counted and refused: {metrics}");
}

pub async fn an_override_settles_a_refused_scan_once(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 5, "barcode_pattern": "B[0-9]" })).await;
    for (refused, scan) in refused_scans(&order).await {
        let settle = json!({ "override": true, "settles": refused, "note": "counted by hand" });
        let counted = order.counted(&with(&scan, &settle)).await;
        assert_eq!((&counted["override"], &counted["settles"]), (&json!(true), &json!(refused)));
        let again = json!({ "counter": "output", "override": true, "settles": refused, "note": "again" });
        is_problem(&order.scan(&again).await, 409, "already-settled", "once");
        let replay = order.client.scan(&order.number, &refused, &scan).await;
        assert_eq!(replay.status, 409, "what was refused stays refused: {replay:?}");
        // Neither does an override count a part twice.
        let twice = order.scan(&with(&scan, &json!({ "override": true, "note": "twice" }))).await;
        is_problem(&twice, 409, "barcode-already-counted", "a part counts once");
        for (settles, why) in [(id(&counted), "it was counted"), (&unique("k"), "nobody has sent it")] {
            let none = json!({ "counter": "output", "override": true, "settles": settles, "note": "n" });
            is_problem(&order.scan(&none).await, 409, "already-settled", why);
        }
    }
    assert_eq!(order.standing().await["output_quantity"], 101, "99 past the plan, a badge, and one past the hold");
}
