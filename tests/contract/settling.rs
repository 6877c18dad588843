//! Refused scans that a person settles: counted by an override, or left refused (section 14).

use serde_json::{Value, json};

use crate::shop::{Order, Shop, is_problem, with};
use crate::stage::client::Reply;
use crate::stage::unique;

/// A work order of a fresh line, with scans that the pattern, the plan and a hold have refused; the line, and
/// the refused scans, oldest first, each with its request id.
async fn refused_scans(shop: &Shop) -> (Order, String, Vec<(String, Value)>) {
    let line = unique("L");
    let order = shop.order(&json!({ "planned_quantity": 5, "barcode_pattern": "B[0-9]", "line": line })).await;
    let mut refused = Vec::new();
    for (label, scan, code) in [
        ("k/%?#&+", json!({ "counter": "output", "barcode": "badge 7" }), "barcode-mismatch"),
        ("k", json!({ "counter": "output", "barcode": "B1", "quantity": 99 }), "over-plan"),
        ("k", json!({ "counter": "output", "barcode": "B3" }), "work-order-not-open"),
    ] {
        if code == "work-order-not-open" {
            assert_eq!(order.hold("paused").await.status, 200);
        }
        let key = unique(label);
        is_problem(&order.client.scan(&order.number, &key, &scan).await, 409, code, code);
        refused.push((key, scan));
        // A list is ordered by the time of the refusal, in milliseconds.
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    (order, line, refused)
}

/// A request id as a part of a path.
fn encoded(key: &str) -> String {
    key.bytes()
        .map(|byte| if byte.is_ascii_alphanumeric() { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

async fn listed(order: &Order, query: &str) -> Vec<Value> {
    let reply = order.client.get(&format!("/v1/refusals?{query}")).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    reply.json()["items"].as_array().unwrap().clone()
}

fn ids(items: &[Value]) -> Vec<&str> {
    items.iter().map(|item| item["request_id"].as_str().unwrap()).collect()
}

async fn leave(order: &Order, key: &str, body: &Value) -> Reply {
    order.client.json("POST", &format!("/v1/refusals/{}/leave", encoded(key)), &[], body).await.unwrap()
}

async fn looked_up(order: &Order, key: &str) -> Value {
    order.client.get(&format!("/v1/updates/{}", encoded(key))).await.json()
}

pub async fn a_refused_scan_is_listed_and_an_override_settles_it(shop: &Shop) {
    let (order, line, refused) = refused_scans(shop).await;
    let mine = format!("line={line}&open=true");
    let newest_first: Vec<&str> = refused.iter().rev().map(|(key, _)| key.as_str()).collect();
    assert_eq!(ids(&listed(&order, &mine).await), newest_first);
    for (at, (key, scan)) in refused.iter().enumerate() {
        assert_eq!(looked_up(&order, key).await["settled_by"], Value::Null, "open");
        let count = json!({ "override": true, "settles": key, "note": "seen on the pallet" });
        let counted = order.counted(&with(scan, &count)).await;
        let by = counted["request_id"].as_str().unwrap();

        assert_eq!(ids(&listed(&order, &mine).await), newest_first[..2 - at], "it is not open any more");
        let items = listed(&order, &format!("line={line}")).await;
        assert_eq!(ids(&items), newest_first);
        assert_eq!((&items[2 - at]["settled_by"], &items[2 - at]["left"]), (&json!(by), &Value::Null));
        assert_eq!(looked_up(&order, key).await["settled_by"], by);
        let search = order.client.get(&format!("/v1/updates?request_id={}", encoded(key))).await.json();
        assert_eq!(search["items"][0]["settled_by"], by);
        assert_eq!(looked_up(&order, by).await.get("settled_by"), None, "it was counted");

        let again_key = unique("k");
        let again = json!({ "counter": "output", "override": true, "settles": key, "note": "again" });
        for replayed in [false, true] {
            let reply = order.client.scan(&order.number, &again_key, &again).await;
            is_problem(&reply, 409, "already-settled", "settled once, and that is final");
            assert_eq!(reply.replayed(), replayed);
        }
        let left = leave(&order, key, &json!({ "reason": "too late" })).await;
        is_problem(&left, 409, "already-settled", "it was counted");
        assert!(left.json()["detail"].as_str().unwrap().contains(by), "{left:?}");
        let replay = order.client.scan(&order.number, key, scan).await;
        assert_eq!((replay.status.as_u16(), replay.json().get("settled_by")), (409, None), "refused for ever");
    }
    assert_eq!(order.standing().await["output_quantity"], 101);
}

pub async fn a_refused_scan_that_is_left_is_not_open_and_may_still_be_counted(shop: &Shop) {
    let (order, line, refused) = refused_scans(shop).await;
    let [(badge, _), (over, _), (held, scan)] = &refused[..] else { panic!("three: {refused:?}") };
    let (standing, why) = (order.standing().await, json!({ "reason": "a badge, no part", "operator": "E7" }));
    let left = leave(&order, badge, &why).await;
    assert_eq!(left.status, 200, "{left:?}");
    let item = left.json();
    assert_eq!((&item["request_id"], &item["settled_by"]), (&json!(badge), &Value::Null));
    let record = &item["left"];
    assert_eq!((&record["operator"], &record["reason"]), (&why["operator"], &why["reason"]));
    assert_eq!(record["by"], item["recorded_by"], "one caller");
    assert_eq!(order.standing().await, standing, "no quantity changes");

    let again = leave(&order, badge, &json!({ "reason": "other words" })).await;
    assert_eq!((again.status, &again.body), (left.status, &left.body), "the standing record");
    assert_eq!(ids(&listed(&order, &format!("line={line}&open=true")).await), [held, over]);
    assert_eq!(listed(&order, &format!("line={line}&open=false")).await, std::slice::from_ref(&item));
    assert_eq!(ids(&listed(&order, &format!("line={line}&code=over-plan")).await), [over]);
    let since = &item["recorded_at"].as_str().unwrap();
    assert_eq!(ids(&listed(&order, &format!("line={line}&since={since}")).await), [held, over, badge], "inclusive");
    let later = looked_up(&order, over).await["recorded_at"].as_str().unwrap().to_owned();
    assert_eq!(ids(&listed(&order, &format!("line={line}&since={later}")).await), [held, over]);

    leave(&order, held, &json!({ "reason": "not made" })).await;
    let count = json!({ "override": true, "settles": held, "note": "made after all" });
    let counted = order.counted(&with(scan, &count)).await;
    let both = leave(&order, held, &json!({ "reason": "a retry" })).await.json();
    assert_eq!((&both["settled_by"], &both["left"]["reason"]), (&counted["request_id"], &json!("not made")));
    for (key, status, code) in
        [(unique("k"), 404, "not-found"), (counted["request_id"].as_str().unwrap().to_owned(), 409, "already-settled")]
    {
        is_problem(&leave(&order, &key, &json!({ "reason": "tried" })).await, status, code, &key);
    }
}

pub async fn refused_scans_are_paged_without_gap_or_repeat(shop: &Shop) {
    let line = unique("L");
    let order = shop.order(&json!({ "planned_quantity": 1, "line": line })).await;
    let batch: Vec<Value> = (0..7)
        .map(|_| json!({ "request_id": unique("k"), "work_order": order.number, "counter": "input", "quantity": 2 }))
        .collect();
    order.client.batch(&batch).await;
    let whole = listed(&order, &format!("line={line}")).await;
    assert_eq!(whole.len(), 7);
    let mut walked = Vec::new();
    let mut cursor = String::new();
    loop {
        let page = order.client.get(&format!("/v1/refusals?line={line}&limit=3{cursor}")).await.json();
        walked.extend(page["items"].as_array().unwrap().clone());
        match page["next_cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
        assert!(walked.len() < 7);
    }
    assert_eq!(walked, whole, "scans of one time are ordered by request id");
}
