//! Retries count once and get the same answer (sections 2 to 4).

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::shop::{Shop, is_problem, with};
use crate::stage::client::Client;
use crate::stage::{SOON, eventually, unique};

pub async fn a_201_is_the_same_bytes_for_ever(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 5 })).await;
    let key = unique("k");
    let scan = json!({ "counter": "input", "barcode": "Ａ\"\\/1", "operator": "王", "note": "<b>",
                       "scanned_at": "2026-01-03T09:16:54.1039+08:00" });
    let first = order.client.scan(&order.number, &key, &scan).await;
    assert_eq!((first.status.as_u16(), first.replayed()), (201, false), "{first:?}");
    let update = first.json();
    assert_eq!(update["scanned_at"], "2026-01-03T01:16:54.103Z", "cut to milliseconds");
    assert_eq!(update["barcode"], "Ａ\"\\/1", "kept as sent");
    assert_eq!((&update["remaining"], &update["work_order_status"]), (&json!(4), &json!("in_progress")));
    let check = async |at: &str| {
        let again = order.client.scan(&order.number, &key, &scan).await;
        assert_eq!((again.status.as_u16(), again.replayed()), (201, true), "{at}: {again:?}");
        assert_eq!(again.body, first.body, "{at}");
        let quoted = order.client.scan(&order.number, &format!("\"{key}\""), &scan).await;
        assert_eq!((quoted.replayed(), quoted.body), (true, first.body.clone()), "{at}: the quoted form");
        let found = order.client.get(&format!("/v1/updates/{key}")).await;
        assert_eq!((found.status.as_u16(), found.body), (200, first.body.clone()), "{at}: looked up");
    };
    check("at once").await;
    order.counted(&json!({ "counter": "output", "quantity": 5 })).await;
    check("after the work order was completed").await;
    order.put(&json!({ "planned_quantity": 1 })).await;
    check("after another plan").await;
    order.hold("cancelled").await;
    check("after it was cancelled").await;
    assert_eq!(order.standing().await["input_quantity"], 1);
}

pub async fn a_scan_sent_singly_and_in_a_batch_is_one_request(shop: &Shop) {
    let order = shop.thousand().await;
    let scan = json!({ "counter": "input", "barcode": "A", "terminal": "t7" });
    let item = |key: &str, scan: &Value| with(scan, &json!({ "request_id": key, "work_order": order.number }));
    let key = unique("k");
    let single = order.client.scan(&order.number, &key, &scan).await;
    let batch = order.client.batch(&[item(&key, &scan)]).await;
    let result = &batch.json()["results"][0];
    assert_eq!((&result["status"], &result["replayed"]), (&json!(201), &json!(true)), "{batch:?}");
    assert!(batch.text().contains(&single.text()), "the same bytes within the batch");

    let (key, scan) = (unique("k"), json!({ "counter": "input", "barcode": "B" }));
    let batch = order.client.batch(&[item(&key, &scan)]).await;
    assert_eq!(batch.json()["results"][0]["replayed"], false, "{batch:?}");
    let single = order.client.scan(&order.number, &key, &scan).await;
    assert!(single.replayed() && batch.text().contains(&single.text()), "{single:?}");

    // The same holds for a final refusal.
    let key = unique("k");
    let refused = order.client.scan(&order.number, &key, &scan).await;
    is_problem(&refused, 409, "barcode-already-counted", "singly");
    let batch = order.client.batch(&[item(&key, &scan)]).await.json();
    let result = &batch["results"][0];
    assert_eq!((&result["status"], &result["replayed"]), (&json!(409), &json!(true)), "{batch}");
    assert_eq!(result["problem"]["original"], refused.json()["original"]);
    assert_eq!(order.standing().await["input_quantity"], 2);
}

pub async fn pitfall_21_another_payload_under_a_key_is_refused_before_any_effect(shop: &Shop) {
    let order = shop.thousand().await;
    let other = shop.thousand().await;
    let scan = json!({ "counter": "input", "quantity": 2, "barcode": "A", "step": "P1", "station": "s", "terminal": "t",
                       "operator": "o", "scanned_at": "2026-01-03T01:16:54.103Z", "note": "n" });
    let key = unique("k");
    assert_eq!(order.client.scan(&order.number, &key, &scan).await.status, 201);
    let correction_key = unique("k");
    let correction = json!({ "counter": "scrap", "delta": 1, "expected": 0, "reason": "r", "operator": "o" });
    assert_eq!(order.client.correct(&order.number, &correction_key, &correction).await.status, 201);
    let (standing, others) = (order.standing().await, other.standing().await);
    for (field, value) in [
        ("counter", json!("output")),
        ("quantity", json!(3)),
        ("barcode", json!("B")),
        ("barcode", json!(null)),
        ("step", json!("P2")),
        ("step", json!(null)),
        ("station", json!("S")),
        ("terminal", json!("t ")),
        ("operator", json!(null)),
        ("scanned_at", json!("2026-01-03T01:16:54.104Z")),
        ("note", json!("m")),
    ] {
        let changed = order.client.scan(&order.number, &key, &with(&scan, &json!({ field: value }))).await;
        is_problem(&changed, 422, "idempotency-key-reused", field);
        assert_eq!(changed.json()["differs"], json!([field]));
        assert_eq!(changed.json()["applied"], "unknown", "the other request was counted");
    }
    for (field, value) in [("delta", json!(2)), ("expected", json!(1)), ("reason", json!("R")), ("note", json!("n"))] {
        let changed = with(&correction, &json!({ field: value }));
        let changed = order.client.correct(&order.number, &correction_key, &changed).await;
        is_problem(&changed, 422, "idempotency-key-reused", field);
        assert_eq!(changed.json()["differs"], json!([field]));
    }
    let elsewhere = other.client.scan(&other.number, &key, &scan).await;
    is_problem(&elsewhere, 422, "idempotency-key-reused", "work_order");
    assert_eq!(elsewhere.json()["differs"], json!(["work_order"]));
    let nowhere = other.client.scan(&unique("P"), &key, &scan).await;
    is_problem(&nowhere, 422, "idempotency-key-reused", "the look-up comes before the work order");
    let two =
        order.client.scan(&order.number, &key, &with(&scan, &json!({ "counter": "output", "quantity": 9 }))).await;
    let differs: HashSet<String> = serde_json::from_value(two.json()["differs"].clone()).unwrap();
    assert_eq!(differs, HashSet::from(["counter".to_owned(), "quantity".to_owned()]));
    assert_eq!((order.standing().await, other.standing().await), (standing, others));
    assert!(order.client.scan(&order.number, &key, &scan).await.replayed(), "the first one still has it");
}

pub async fn what_is_written_otherwise_is_the_same_request(shop: &Shop) {
    let order = shop.thousand().await;
    let key = unique("k");
    let path = format!("/v1/work-orders/{}/scans", order.number);
    let first = order.client.scan(&order.number, &key, &json!({ "counter": "input", "barcode": "A1" })).await;
    for body in [
        r#"{"counter":"input","barcode":"A1"}"#,
        r#" { "barcode" : "A1" , "counter" : "input" } "#,
        r#"{"counter":"input","barcode":"\u00411","action":"scan","quantity":1,"step":"","note":null}"#,
        r#"{"counter":"input","barcode":" Ａ１\r\n","step":null,"operator":null}"#,
    ] {
        let headers = [("content-type", "application/json; charset=UTF-8"), ("idempotency-key", key.as_str())];
        let again = order.client.request("POST", &path, &headers, body).await.unwrap();
        assert_eq!((again.status.as_u16(), again.replayed()), (201, true), "{body}: {again:?}");
        assert_eq!(again.body, first.body, "{body}");
    }
}

pub async fn pitfall_22_23_equal_requests_at_once_all_get_the_first_ones_answer(shop: &Shop) {
    let order = shop.thousand().await;
    for scan in [json!({ "counter": "input", "barcode": "A" }), json!({ "counter": "input", "barcode": "A" })] {
        let key = unique("k");
        let sent: Vec<_> = (0..30)
            .map(|_| {
                let (client, order, key, scan) = (shop.client(), order.clone(), key.clone(), scan.clone());
                tokio::spawn(async move { client.scan(&order.number, &key, &scan).await })
            })
            .collect();
        let mut replies = Vec::new();
        for reply in sent {
            replies.push(reply.await.unwrap());
        }
        // The second key gets a refusal, which is also made only once.
        let status = replies[0].status;
        assert!(replies.iter().all(|reply| reply.status == status), "{replies:?}");
        assert_eq!(replies.iter().filter(|reply| !reply.replayed()).count(), 1);
        let bodies: HashSet<_> = replies.iter().map(|reply| reply.body.clone()).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    }
    let standing = order.standing().await;
    assert_eq!((&standing["seq"], &standing["input_quantity"]), (&json!(1), &json!(1)));
}

/// All other tests send from 127.0.0.1, so the metric of the shared service is this test's own.
pub async fn a_replay_from_another_address_is_counted_as_a_weak_key(shop: &Shop) {
    let order = shop.thousand().await;
    let (number, here) = (&order.number, &order.client);
    let elsewhere = Client::coming_from(&shop.service.base_url(), "127.0.0.2".parse().unwrap());
    let weak_keys = async |expected: u64, why: &str| {
        let metrics = here.get("/metrics").await.text();
        assert!(metrics.contains(&format!("scanfence_weak_keys_total {expected}\n")), "{why}: {metrics}");
    };
    let scan = json!({ "counter": "input", "barcode": "A" });
    let key = unique("k");
    assert!(!here.scan(number, &key, &scan).await.replayed());
    assert!(here.scan(number, &key, &scan).await.replayed());
    weak_keys(0, "a retry from the same address").await;
    let replay = elsewhere.scan(number, &key, &scan).await;
    assert_eq!((replay.status.as_u16(), replay.replayed()), (201, true), "its answer is that of any replay");
    weak_keys(1, "the same id from another address").await;
    let said = "a request came again from another sender; if it is another terminal, its scan was not counted";
    let logged = async || shop.service.logged(said).into_iter().find(|line| line["request_id"] == *key);
    let line = eventually("the log has it", SOON, logged).await;
    assert_eq!((&line["work_order"], &line["level"]), (&json!(number), &json!("WARN")));
    assert_eq!((&line["first"], &line["again"]), (&json!("127.0.0.1 (loopback)"), &json!("127.0.0.2 (loopback)")));

    let other = json!({ "counter": "input", "barcode": "B" });
    is_problem(&elsewhere.scan(number, &key, &other).await, 422, "idempotency-key-reused", "another scan");
    weak_keys(1, "what differs is refused, so nobody takes it for counted").await;
    let item = with(&scan, &json!({ "request_id": key, "work_order": number }));
    assert_eq!(elsewhere.batch(&[item]).await.json()["results"][0]["replayed"], true);
    weak_keys(2, "in a batch").await;
    let key = unique("k");
    is_problem(&here.scan(number, &key, &scan).await, 409, "barcode-already-counted", "final");
    is_problem(&elsewhere.scan(number, &key, &scan).await, 409, "barcode-already-counted", "the same for ever");
    weak_keys(3, "a refusal").await;
    for (n, piece) in (4..14).map(|n| (n, json!({ "counter": "input", "note": n.to_string() }))) {
        let key = unique("k");
        let (one, two) = tokio::join!(here.scan(number, &key, &piece), elsewhere.scan(number, &key, &piece));
        assert!(one.replayed() != two.replayed(), "one of them is the first: {one:?} {two:?}");
        weak_keys(n, "both at once").await;
    }
}

pub async fn pitfall_25_a_missing_or_bad_key_counts_nothing(shop: &Shop) {
    let order = shop.thousand().await;
    let path = format!("/v1/work-orders/{}/scans", order.number);
    let long = "k".repeat(256);
    let scan = json!({ "counter": "input" });
    let key = |key| vec![("idempotency-key", key)];
    for (headers, code) in [
        (vec![], "idempotency-key-missing"),
        (key(""), "idempotency-key-invalid"),
        (key("a b"), "idempotency-key-invalid"),
        (key("\"open"), "idempotency-key-invalid"),
        (key("\"\""), "idempotency-key-invalid"),
        (key("a\"b"), "idempotency-key-invalid"),
        (key(&long), "idempotency-key-invalid"),
        (vec![("idempotency-key", "a"), ("idempotency-key", "a")], "idempotency-key-invalid"),
    ] {
        let reply = order.client.json("POST", &path, &headers, &scan).await.unwrap();
        is_problem(&reply, 400, code, &format!("{headers:?}"));
        assert!(reply.json().get("applied").is_none(), "{reply:?}");
    }
    assert_eq!(order.standing().await["seq"], 0);
    let longest = format!("{}{}", unique("k"), "~".repeat(255))[..255].to_owned();
    assert_eq!(order.client.scan(&order.number, &longest, &scan).await.status, 201, "255 characters are a key");
}
