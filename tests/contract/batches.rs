//! Batches of an offline queue (section 3).

use serde_json::{Value, json};

use crate::shop::{Shop, is_problem, with};
use crate::stage::unique;

/// An item of a batch under a fresh request id.
fn item(work_order: &str, scan: &Value) -> Value {
    with(scan, &json!({ "request_id": unique("k"), "work_order": work_order }))
}

pub async fn items_are_independent_and_answered_in_order(shop: &Shop) {
    let (first, second) = (shop.thousand().await, shop.thousand().await);
    let part = json!({ "counter": "input", "barcode": "A", "terminal": "t1" });
    let unbind = with(&part, &json!({ "action": "unbind" }));
    let items = [
        (item(&first.number, &part), 201, None),
        (item(&second.number, &part), 201, None),
        (item(&first.number, &part), 409, Some("barcode-already-counted")),
        (item(&first.number, &unbind), 201, None),
        (item(&first.number, &part), 201, None),
        (item(&unique("P"), &part), 404, Some("work-order-unknown")),
        (json!({ "request_id": unique("k"), "work_order": second.number }), 422, Some("invalid-field")),
        (json!({ "work_order": second.number, "counter": "input" }), 400, Some("idempotency-key-missing")),
        (
            json!({ "request_id": "a b", "work_order": second.number, "counter": "input" }),
            400,
            Some("idempotency-key-invalid"),
        ),
        (json!(7), 400, Some("malformed-request")),
        (item("no such number!", &part), 422, Some("invalid-field")),
        (item(&second.number, &json!({ "counter": "output", "terminal": "t1" })), 201, None),
    ];
    let sent: Vec<Value> = items.iter().map(|(item, ..)| item.clone()).collect();
    let reply = shop.client().batch(&sent).await;
    assert_eq!(reply.status, 200, "{reply:?}");
    let results = reply.json()["results"].as_array().unwrap().clone();
    assert_eq!(results.len(), items.len());
    for ((item, status, code), result) in items.iter().zip(&results) {
        assert_eq!((&result["status"], &result["replayed"]), (&json!(status), &json!(false)), "{item}: {result}");
        match code {
            None => assert_eq!(result["update"]["request_id"], item["request_id"]),
            Some(code) => assert_eq!(result["problem"]["code"], *code, "{item}"),
        }
        assert_ne!(result.get("update").is_some(), result.get("problem").is_some(), "one of the two: {result}");
    }
    assert_eq!(results[4]["update"]["seq"], 3, "in the order sent");
    assert_eq!(first.standing().await["input_quantity"], 1);
    assert_eq!(second.standing().await["seq"], 2);
}

pub async fn pitfall_24_an_id_twice_in_a_batch_is_one_effect(shop: &Shop) {
    let order = shop.thousand().await;
    let scan = item(&order.number, &json!({ "counter": "input", "barcode": "A" }));
    let other = with(&scan, &json!({ "counter": "output" }));
    let reply = order.client.batch(&[scan.clone(), scan.clone(), other]).await.json();
    let results = reply["results"].as_array().unwrap();
    assert_eq!((&results[0]["status"], &results[0]["replayed"]), (&json!(201), &json!(false)));
    assert_eq!((&results[1]["status"], &results[1]["replayed"]), (&json!(201), &json!(true)));
    assert_eq!(results[0]["update"], results[1]["update"]);
    assert_eq!(results[2]["problem"]["code"], "idempotency-key-reused");
    assert_eq!(results[2]["problem"]["differs"], json!(["counter"]));
    let standing = order.standing().await;
    assert_eq!((&standing["seq"], &standing["output_quantity"]), (&json!(1), &json!(0)));
}

pub async fn a_thousand_items_are_a_batch_and_one_more_is_none(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 2000 })).await;
    let scan =
        |n: usize| item(&order.number, &json!({ "counter": "input", "barcode": format!("B{n}"), "terminal": "t" }));
    let mut items: Vec<Value> = (0..1000).map(scan).collect();
    let first = order.client.batch(&items).await;
    let first = first.json()["results"].as_array().unwrap().clone();
    for (n, result) in first.iter().enumerate() {
        assert_eq!(result["update"]["seq"], n + 1, "in order: {result}");
    }
    let again = order.client.batch(&items).await.json();
    for (first, again) in first.iter().zip(again["results"].as_array().unwrap()) {
        assert_eq!((&again["replayed"], &again["update"]), (&json!(true), &first["update"]));
    }
    items.push(scan(1000));
    is_problem(&order.client.batch(&items).await, 422, "invalid-field", "1001 items");
    assert_eq!(order.standing().await["input_quantity"], 1000);
}

pub async fn a_batch_fails_as_a_whole_for_its_shape_alone(shop: &Shop) {
    let order = shop.thousand().await;
    let good = item(&order.number, &json!({ "counter": "input" }));
    let large = format!("{{\"scans\":[{good}],\"x\":\"{}\"}}", "x".repeat(1024 * 1024));
    for (status, code, kind, body) in [
        (400, "malformed-request", "application/json", "{\"scans\":[".to_owned()),
        (400, "malformed-request", "application/json", "[]".to_owned()),
        (400, "malformed-request", "application/json", format!("{{\"scans\":[{good}],\"scans\":[]}}")),
        (422, "invalid-field", "application/json", "{}".to_owned()),
        (422, "invalid-field", "application/json", "{\"scans\":[]}".to_owned()),
        (422, "invalid-field", "application/json", "{\"scans\":{}}".to_owned()),
        (422, "invalid-field", "application/json", format!("{{\"scans\":[{good}],\"more\":1}}")),
        (415, "unsupported-media-type", "text/json", format!("{{\"scans\":[{good}]}}")),
        (413, "body-too-large", "application/json", large),
    ] {
        let reply = order.client.request("POST", "/v1/scans", &[("content-type", kind)], body).await.unwrap();
        is_problem(&reply, status, code, code);
    }
    assert_eq!(order.standing().await["seq"], 0);
    assert_eq!(order.client.batch(&[good]).await.json()["results"][0]["replayed"], false);
}
