//! What counts, and by how much (sections 2, 3 and 5).

use std::collections::{BTreeMap, HashSet};

use serde_json::{Value, json};

use crate::shop::{Order, Shop, is_problem, with};
use crate::stage::unique;

const LIMIT: i64 = 1_000_000_000_000;

pub async fn pitfall_02_a_part_counts_once_and_the_second_is_told_by_whom(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 500 })).await;
    order.counted(&json!({ "counter": "input", "quantity": 275 })).await;
    let scan = json!({ "counter": "input", "barcode": "WA2080ZWJ0926", "step": "P010", "station": "L3-T2",
                       "terminal": "t7", "operator": "E1024" });
    let first = order.counted(&scan).await;
    assert_eq!((&first["before"], &first["after"]), (&json!(275), &json!(276)));
    let second = order.scan(&with(&scan, &json!({ "operator": "E2", "station": "L3-T9" }))).await;
    is_problem(&second, 409, "barcode-already-counted", "10.8 s later");
    let problem = second.json();
    assert_eq!(problem["original"], first, "when, where and by whom");
    let detail = problem["detail"].as_str().unwrap();
    for word in ["L3-T2", "E1024", first["recorded_at"].as_str().unwrap()] {
        assert!(detail.contains(word), "{detail}");
    }
    assert_eq!(order.standing().await["input_quantity"], 276);
    // Another step, counter or work order is another claim.
    order.counted(&with(&scan, &json!({ "step": "P020" }))).await;
    order.counted(&with(&scan, &json!({ "counter": "output" }))).await;
    shop.thousand().await.counted(&scan).await;
}

pub async fn pitfall_03_05_scans_of_one_millisecond_all_count(shop: &Shop) {
    let order = shop.thousand().await;
    let sent: Vec<_> = (0..60)
        .map(|_| {
            let order = order.clone();
            let scan = json!({ "counter": "output", "scanned_at": "2026-01-03T01:16:54.103Z", "terminal": "t1" });
            tokio::spawn(async move { order.counted(&scan).await["after"].as_i64().unwrap() })
        })
        .collect();
    let mut afters = HashSet::new();
    for after in sent {
        afters.insert(after.await.unwrap());
    }
    assert_eq!(afters, (1..=60).collect());
    assert_eq!(order.standing().await["output_quantity"], 60);
    explained(&order).await;
}

pub async fn pitfall_04_09_the_answer_tells_what_became_of_the_scan(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 2 })).await;
    let key = unique("k");
    let scan = json!({ "counter": "output", "quantity": 2, "note": "last" });
    let reply = order.client.scan(&order.number, &key, &scan).await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let update = reply.json();
    for (field, value) in [
        ("request_id", json!(key)),
        ("work_order", json!(order.number)),
        ("seq", json!(1)),
        ("action", json!("scan")),
        ("delta", json!(2)),
        ("after", json!(2)),
        ("remaining", json!(0)),
        ("work_order_status", json!("completed")),
        ("step", json!("")),
        ("barcode", Value::Null),
        ("note", json!("last")),
        ("recorded_by", json!("loopback")),
        ("outcome", json!("counted")),
    ] {
        assert_eq!(update[field], value, "{field}");
    }
    // A client that gave up and sends the scan again in a batch, by the same id, gets the same update.
    let item = with(&scan, &json!({ "request_id": key, "work_order": order.number }));
    assert_eq!(order.client.batch(&[item]).await.json()["results"][0]["update"], update);
}

pub async fn pitfall_05_06_08_the_log_explains_the_quantity_after_each_change(shop: &Shop) {
    let order = shop.thousand().await;
    for (scan, change) in [
        (Some(json!({ "counter": "input", "quantity": 100 })), None),
        (Some(json!({ "counter": "input", "barcode": "A" })), None),
        (None, Some(json!({ "counter": "input", "delta": -7 }))),
        (Some(json!({ "counter": "output", "quantity": 5 })), None),
        (Some(json!({ "counter": "input", "action": "unbind", "barcode": "A" })), None),
        (None, Some(json!({ "counter": "scrap", "set_to": 9 }))),
        (None, Some(json!({ "counter": "scrap", "set_to": 9 }))),
    ] {
        let reply = match (scan, change) {
            (Some(scan), _) => order.scan(&scan).await,
            (None, change) => order.correct(&change.unwrap()).await,
        };
        assert_eq!(reply.status, 201, "{reply:?}");
        explained(&order).await;
    }
}

/// Checks that the log's chain ends at the work order's quantities.
async fn explained(order: &Order) {
    let (row, mut log) = (order.standing().await, order.updates("outcome=counted&limit=500").await);
    log.reverse();
    let seqs: Vec<i64> = log.iter().map(|update| update["seq"].as_i64().unwrap()).collect();
    assert_eq!(seqs, (1..=row["seq"].as_i64().unwrap()).collect::<Vec<_>>());
    for counter in ["input", "output", "scrap"] {
        let mut standing = 0;
        for update in log.iter().filter(|update| update["counter"] == counter) {
            assert_eq!(update["before"], standing, "{update}");
            standing += update["delta"].as_i64().unwrap();
            assert_eq!(update["after"], standing, "{update}");
        }
        assert_eq!(row[format!("{counter}_quantity")], standing, "{counter}");
    }
}

pub async fn pitfall_07_nothing_is_clamped_at_zero(shop: &Shop) {
    let order = shop.thousand().await;
    order.counted(&json!({ "counter": "scrap", "quantity": 3 })).await;
    let reply = order.correct(&json!({ "counter": "scrap", "delta": -4 })).await;
    is_problem(&reply, 409, "below-zero", "by one");
    assert_eq!(order.standing().await["scrap_quantity"], 3);
    assert_eq!(order.correct(&json!({ "counter": "scrap", "delta": -3 })).await.json()["after"], 0);
}

pub async fn pitfall_30_what_a_scanner_varies_is_one_barcode(shop: &Shop) {
    let order = shop.thousand().await;
    order.counted(&json!({ "counter": "input", "barcode": "WA2080ZWJ0926", "step": "P010" })).await;
    for (barcode, step) in [
        ("ＷＡ２０８０ＺＷＪ０９２６", "P010"),
        (" WA2080ZWJ0926\r\n", "P010"),
        ("\u{3000}WA2080ZWJ0926\t", " Ｐ０１０"),
    ] {
        let reply = order.scan(&json!({ "counter": "input", "barcode": barcode, "step": step })).await;
        is_problem(&reply, 409, "barcode-already-counted", barcode);
    }
    for barcode in ["wa2080zwj0926", "WA2080ZWJ0926\u{1d}21", "WA2080 ZWJ0926"] {
        order.counted(&json!({ "counter": "input", "barcode": barcode, "step": "P010" })).await;
    }
    for barcode in ["A\r\nB", "A\nB", "A\tB"] {
        let reply = order.scan(&json!({ "counter": "input", "barcode": barcode })).await;
        is_problem(&reply, 422, "invalid-field", "two codes run together");
    }
}

pub async fn pitfall_31_a_refused_scan_raises_nothing_anywhere(shop: &Shop) {
    // A shop of its own, so that the metrics count no other test's scans.
    let shop = Shop::own(shop.kind).await;
    let order = shop.thousand().await;
    let scan = json!({ "counter": "input", "barcode": "A" });
    order.counted(&scan).await;
    let standing = order.standing().await;
    for _ in 0..3 {
        is_problem(&order.scan(&scan).await, 409, "barcode-already-counted", "again");
    }
    assert_eq!(order.standing().await, standing);
    let listed = order.client.get(&format!("/v1/work-orders?q={}", order.number)).await.json();
    for (field, value) in standing.as_object().unwrap() {
        assert_eq!(listed["items"][0][field], *value, "{field} in the list");
    }
    assert_eq!(order.updates("outcome=counted").await.len(), 1);
    assert_eq!(order.updates("outcome=refused").await.len(), 3);
    assert_eq!(reported(&order).await, standing["input_quantity"], "the report's deltas");
    assert_eq!(metered(&shop).await, [("counted".to_owned(), 1), ("refused".to_owned(), 3)]);
    assert_eq!(order.counted(&json!({ "counter": "input" })).await["seq"], 2, "refusals take no seq");
}

/// What the deltas of a work order's report add up to, as a spreadsheet would.
async fn reported(order: &Order) -> i64 {
    let path = format!("/v1/work-orders/{}/updates", order.number);
    let report = order.client.request("GET", &path, &[("accept", "text/csv")], "").await.unwrap().text();
    let mut lines = report.lines().map(|line| line.split(',').collect::<Vec<_>>());
    let columns = lines.next().unwrap();
    let delta = columns.iter().position(|column| *column == "delta").unwrap();
    lines.map(|cells| cells[delta].parse::<i64>().unwrap()).sum()
}

/// How many updates of each outcome the metrics have seen.
async fn metered(shop: &Shop) -> Vec<(String, u64)> {
    let mut seen = BTreeMap::new();
    for line in shop.client().get("/metrics").await.text().lines() {
        let Some(sample) = line.strip_prefix("scanfence_updates_total{") else { continue };
        let outcome = sample.split("outcome=\"").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
        *seen.entry(outcome.to_owned()).or_default() += sample.rsplit(' ').next().unwrap().parse::<u64>().unwrap();
    }
    seen.into_iter().collect()
}

pub async fn pitfall_32_an_unbound_barcode_counts_again(shop: &Shop) {
    let order = shop.thousand().await;
    let scan = json!({ "counter": "input", "barcode": "A", "quantity": 4 });
    for round in 0..3 {
        assert_eq!(order.counted(&scan).await["after"], 4, "round {round}");
        let taken = order.counted(&json!({ "counter": "input", "barcode": "Ａ", "action": "unbind" })).await;
        assert_eq!((&taken["delta"], &taken["action"]), (&json!(-4), &json!("unbind")), "what it counted");
    }
    assert_eq!(order.standing().await["seq"], 6);
}

pub async fn pitfall_44_45_text_that_would_upset_a_store_is_refused(shop: &Shop) {
    let order = shop.thousand().await;
    for (field, text) in [
        ("barcode", "A\0B".to_owned()),
        ("note", "A\0B".to_owned()),
        ("operator", "\u{7f}".to_owned()),
        ("step", "a\u{1}b".to_owned()),
        ("terminal", "\u{378}".to_owned()),
        ("barcode", "\u{fdfa}".repeat(128)),
        ("step", "\u{fdfa}".repeat(64)),
    ] {
        let reply = order.scan(&json!({ "counter": "input", field: text })).await;
        is_problem(&reply, 422, "invalid-field", field);
        assert_eq!(reply.json()["errors"][0]["field"], field);
    }
    assert_eq!(order.standing().await["seq"], 0);
    let longest = "界".repeat(128);
    assert_eq!(order.counted(&json!({ "counter": "input", "barcode": longest })).await["barcode"], longest);
}

pub async fn an_unbind_takes_back_the_newest_count_of_a_repeatable_barcode(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 100, "barcode_policy": "repeatable" })).await;
    let unbind = json!({ "counter": "input", "barcode": "BOX", "action": "unbind" });
    for quantity in [2, 3, 5] {
        order.counted(&json!({ "counter": "input", "barcode": "BOX", "quantity": quantity })).await;
    }
    for (delta, after) in [(-5, 5), (-3, 2), (-2, 0)] {
        let taken = order.counted(&unbind).await;
        assert_eq!((&taken["delta"], &taken["after"]), (&json!(delta), &json!(after)));
    }
    is_problem(&order.scan(&unbind).await, 409, "barcode-not-counted", "nothing is left");
    let fixed = order.put(&json!({ "planned_quantity": 100 })).await;
    is_problem(&fixed, 409, "barcode-policy-fixed", "though nothing stands counted now");
    let same = order.put(&json!({ "planned_quantity": 9, "barcode_policy": "repeatable" })).await;
    assert_eq!(same.status, 200, "{same:?}");
}

pub async fn the_plan_and_its_allowance_are_the_limit_of_input_and_output(shop: &Shop) {
    for (allowance, passes, refused) in [(json!(0), 10, Some(1)), (json!(3), 13, Some(1)), (json!(null), 999_999, None)]
    {
        let order = shop.order(&json!({ "planned_quantity": 10, "over_plan_allowance": allowance })).await;
        for counter in ["input", "output"] {
            let update = order.counted(&json!({ "counter": counter, "quantity": passes })).await;
            assert_eq!(update["remaining"], 0, "never below 0");
            if let Some(more) = refused {
                let reply = order.scan(&json!({ "counter": counter, "quantity": more })).await;
                is_problem(&reply, 409, "over-plan", counter);
            }
        }
        order.counted(&json!({ "counter": "scrap", "quantity": 1_000_000 })).await;
        let corrected = order.correct(&json!({ "counter": "input", "delta": 1_000 })).await;
        assert_eq!(corrected.status, 201, "a correction may pass the plan: {corrected:?}");
    }
}

pub async fn corrections_change_by_or_to_a_quantity(shop: &Shop) {
    let order = shop.thousand().await;
    for (change, status, delta, after) in [
        (json!({ "delta": 20 }), 201, 20, 20),
        (json!({ "delta": -5, "expected": 20 }), 201, -5, 15),
        (json!({ "set_to": 15 }), 201, 0, 15),
        (json!({ "set_to": 7, "expected": 15 }), 201, -8, 7),
        (json!({ "set_to": 9, "expected": 15 }), 409, 0, 7),
        (json!({ "set_to": 0 }), 201, -7, 0),
    ] {
        let reply = order.correct(&with(&change, &json!({ "counter": "output" }))).await;
        assert_eq!(reply.status, status, "{change}: {reply:?}");
        if status == 201 {
            let update = reply.json();
            assert_eq!((&update["delta"], &update["after"]), (&json!(delta), &json!(after)), "{change}");
            assert_eq!((&update["action"], &update["reason"]), (&json!("correction"), &json!("盘点")));
        }
        assert_eq!(order.standing().await["output_quantity"], after, "{change}");
    }
    assert_eq!(order.standing().await["seq"], 5, "a set_to of what stands is a counted row too");
}

pub async fn quantities_reach_a_million_millions_and_no_further(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": LIMIT, "over_plan_allowance": LIMIT })).await;
    let top = order.correct(&json!({ "counter": "input", "set_to": LIMIT - 1 })).await.json();
    assert_eq!(top["remaining"], 1);
    assert_eq!(order.counted(&json!({ "counter": "input" })).await["after"], LIMIT);
    let over = order.scan(&json!({ "counter": "input" })).await;
    is_problem(&over, 409, "over-plan", "past 10^12");
    let over = order.correct(&json!({ "counter": "input", "delta": 1 })).await;
    is_problem(&over, 409, "over-plan", "past 10^12 by hand");
    let reply = order.correct(&json!({ "counter": "scrap", "set_to": LIMIT + 1 })).await;
    is_problem(&reply, 422, "invalid-field", "set_to");
    let reply = order.put(&json!({ "planned_quantity": LIMIT + 1 })).await;
    is_problem(&reply, 422, "invalid-field", "planned_quantity");
    assert_eq!(order.standing().await["input_quantity"], LIMIT);
}

pub async fn the_status_follows_hold_quantities_and_plan(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 2 })).await;
    let check = async |status: &str, at: &str| assert_eq!(order.standing().await["status"], status, "{at}");
    check("pending", "new").await;
    order.counted(&json!({ "counter": "input" })).await;
    check("in_progress", "counted").await;
    order.counted(&json!({ "counter": "output", "quantity": 2 })).await;
    check("completed", "output reached the plan").await;
    order.counted(&json!({ "counter": "scrap" })).await;
    order.put(&json!({ "planned_quantity": 3 })).await;
    check("in_progress", "the plan was raised").await;
    let held = order.hold("paused").await.json();
    assert_eq!((&held["status"], &held["hold_reason"]), (&json!("paused"), &json!("tried")));
    is_problem(&order.scan(&json!({ "counter": "input" })).await, 409, "work-order-not-open", "paused");
    let corrected = order.correct(&json!({ "counter": "output", "set_to": 3 })).await.json();
    assert_eq!(corrected["work_order_status"], "paused", "a hold wins");
    order.hold("in_progress").await;
    check("completed", "the hold was lifted").await;
    order.correct(&json!({ "counter": "output", "set_to": 1 })).await;
    check("in_progress", "corrected below the plan").await;
    for (body, field) in [
        (json!({ "status": "completed", "reason": "r" }), "status"),
        (json!({ "status": "pending", "reason": "r" }), "status"),
        (json!({ "status": "paused" }), "reason"),
    ] {
        let reply = order.client.patch_work_order(&order.number, &body).await;
        is_problem(&reply, 422, "invalid-field", field);
        assert_eq!(reply.json()["errors"][0]["field"], field);
    }
    let unknown = order.client.patch_work_order(&unique("P"), &json!({ "status": "paused", "reason": "r" })).await;
    is_problem(&unknown, 404, "work-order-unknown", "PATCH creates nothing");
}
