//! Work orders, and what can be read of them (section 5).

use serde_json::{Value, json};

use crate::shop::{Kind, Shop, is_problem};
use crate::stage::unique;

/// All items of a list, page by page.
async fn all(shop: &Shop, path: &str) -> Vec<Value> {
    let client = shop.client();
    let (mut items, mut cursor) = (Vec::new(), String::new());
    loop {
        let reply = client.get(&format!("{path}{cursor}")).await;
        assert_eq!(reply.status, 200, "{path}: {reply:?}");
        let page = reply.json();
        items.extend(page["items"].as_array().unwrap().clone());
        assert_eq!(reply.header("link").is_some(), page["next_cursor"].is_string());
        match page["next_cursor"].as_str() {
            None => return items,
            Some(next) => cursor = format!("&cursor={next}"),
        }
    }
}

pub async fn planning_creates_and_replaces(shop: &Shop) {
    let (client, number) = (shop.client(), unique("P"));
    is_problem(&client.get(&format!("/v1/work-orders/{number}")).await, 404, "work-order-unknown", "GET");
    let full = json!({ "planned_quantity": 500, "over_plan_allowance": null, "barcode_policy": "repeatable",
                       "product_code": "WA2080", "product_name": "轴承座", "line": "L3" });
    let made = client.put_work_order(&number, &full).await;
    assert_eq!(made.status, 201, "{made:?}");
    let row = made.json();
    for (field, value) in full.as_object().unwrap() {
        assert_eq!(row[field], *value, "{field}");
    }
    let got = client.get(&format!("/v1/work-orders/{number}")).await;
    assert_eq!((got.json(), got.header("etag")), (row, made.header("etag")));
    client.scan(&number, &unique("k"), &json!({ "counter": "input", "quantity": 7 })).await;
    let replaced = client.put_work_order(&number, &json!({ "planned_quantity": 0 })).await;
    assert_eq!(replaced.status, 200, "{replaced:?}");
    for (field, value) in [
        ("planned_quantity", json!(0)),
        ("over_plan_allowance", json!(0)),
        ("barcode_policy", json!("once")),
        ("line", Value::Null),
        ("input_quantity", json!(7)),
        ("seq", json!(1)),
    ] {
        assert_eq!(replaced.json()[field], value, "what is omitted takes its default: {field}");
    }
    for number in ["", "-a", "a%20b", "%E5%B7%A5", "a%2Fb", &"a".repeat(65)] {
        let reply = client.put_work_order(number, &json!({ "planned_quantity": 1 })).await;
        assert!([404, 422].contains(&reply.status.as_u16()), "{number}: {reply:?}");
        assert_eq!(reply.header("content-type"), Some("application/problem+json"), "{number}");
    }
    for body in [json!({}), json!({ "planned_quantity": -1 }), json!({ "planned_quantity": 1, "plan": 1 })] {
        is_problem(&client.put_work_order(&unique("P"), &body).await, 422, "invalid-field", &body.to_string());
    }
}

pub async fn pitfall_43_no_etag_comes_again_and_a_stale_one_is_refused(shop: &Shop) {
    let order = shop.thousand().await;
    let path = format!("/v1/work-orders/{}", order.number);
    let mut seen: Vec<u64> = Vec::new();
    let plan = json!({ "planned_quantity": 1000 });
    for _ in 0..20 {
        let tag = order.put(&plan).await.header("etag").unwrap().to_owned();
        let number = u64::from_str_radix(tag.trim_matches('"'), 16).unwrap();
        assert!(!seen.contains(&number), "{tag} came again");
        seen.push(number);
    }
    assert!(!seen.is_sorted() && !seen.iter().rev().is_sorted(), "counted, to come again after a restore: {seen:?}");
    let tag = order.client.get(&path).await.header("etag").unwrap().to_owned();
    order.counted(&json!({ "counter": "input" })).await;
    let put = async |tag: &str| order.client.json("PUT", &path, &[("if-match", tag)], &plan).await.unwrap();
    let patch = json!({ "status": "paused", "reason": "r" });
    assert_eq!(put(&tag).await.status, 200, "a scan is no change by planning");
    is_problem(&put(&tag).await, 412, "precondition-failed", "PUT");
    let held = order.client.json("PATCH", &path, &[("if-match", &tag)], &patch).await.unwrap();
    is_problem(&held, 412, "precondition-failed", "PATCH");
    assert_eq!(put("*").await.status, 200);
    is_problem(&put("oops").await, 400, "malformed-request", "no tag");
    let nowhere = format!("/v1/work-orders/{}", unique("P"));
    let reply = order.client.json("PUT", &nowhere, &[("if-match", "*")], &plan).await.unwrap();
    assert!(!reply.status.is_success(), "it must exist: {reply:?}");
}

pub async fn work_orders_are_listed_filtered_and_paged(shop: &Shop) {
    let (client, line, word) = (shop.client(), unique("L"), unique("Q"));
    let mut numbers: Vec<String> = (0..7).map(|_| unique("P")).collect();
    for (n, number) in numbers.iter().enumerate() {
        let name = if n == 3 { format!("a{word}z") } else { "other".to_owned() };
        client.put_work_order(number, &json!({ "planned_quantity": 1, "line": line, "product_name": name })).await;
    }
    client.patch_work_order(&numbers[2], &json!({ "status": "paused", "reason": "r" })).await;
    let named =
        |items: &[Value]| items.iter().map(|i| i["work_order"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    let (third, fourth) = (numbers[2].clone(), numbers[3].clone());
    numbers.sort();
    for (query, expected) in [
        (format!("line={line}&limit=3"), numbers.clone()),
        (format!("line={line}&limit=7"), numbers.clone()),
        (format!("line={line}&limit=1"), numbers.clone()),
        (format!("line={line}&status=paused"), vec![third]),
        (format!("q={word}"), vec![fourth]),
        (format!("q={line}&limit=2"), numbers.clone()),
        (format!("line={line}&status=completed"), vec![]),
    ] {
        assert_eq!(named(&all(shop, &format!("/v1/work-orders?{query}")).await), expected, "{query}");
    }
    for query in
        ["limit=0", "limit=501", "limit=x", "cursor=zz", "cursor=MXU", "status=open", "sort=line", "limit=1&limit=2"]
    {
        is_problem(&client.get(&format!("/v1/work-orders?{query}")).await, 422, "invalid-field", query);
    }
}

pub async fn updates_are_listed_filtered_and_paged(shop: &Shop) {
    let order = shop.order(&json!({ "planned_quantity": 3 })).await;
    for (counter, barcode) in
        [("input", "A"), ("input", "A"), ("output", "A"), ("input", "B"), ("input", "C"), ("input", "D")]
    {
        order.scan(&json!({ "counter": counter, "barcode": barcode })).await;
    }
    let path = format!("/v1/work-orders/{}/updates", order.number);
    let newest_first = all(shop, &format!("{path}?limit=500")).await;
    assert_eq!(newest_first.len(), 6);
    let at: Vec<i64> = newest_first.iter().map(|u| u["seq"].as_i64().or(u["at_seq"].as_i64()).unwrap()).collect();
    assert!(at.is_sorted_by(|a, b| a >= b), "{at:?}");
    for limit in 1..=6 {
        assert_eq!(all(shop, &format!("{path}?limit={limit}")).await, newest_first, "pages of {limit}");
    }
    let middle = newest_first[2]["recorded_at"].as_str().unwrap().to_owned();
    let count = async |query: &str| all(shop, &format!("{path}?limit=2&{query}")).await.len();
    for (query, expected) in [
        ("counter=input", 5),
        ("outcome=counted", 4),
        ("outcome=refused", 2),
        ("barcode=A", 3),
        ("barcode=%EF%BC%A1&counter=output", 1),
        ("from=2020-01-01T00:00:00Z&to=2020-01-02T00:00:00Z", 0),
    ] {
        assert_eq!(count(query).await, expected, "{query}");
    }
    let split = count(&format!("from={middle}")).await + count(&format!("to={middle}")).await;
    assert_eq!(split, 6, "from is inclusive, to exclusive");
    assert!(count(&format!("from={middle}")).await >= 1);
    for query in ["counter=x", "outcome=x", "from=yesterday", "limit=501", "barcode=", "cursor=00"] {
        is_problem(&order.client.get(&format!("{path}?{query}")).await, 422, "invalid-field", query);
    }
    let nowhere = format!("/v1/work-orders/{}/updates", unique("P"));
    is_problem(&order.client.get(&nowhere).await, 404, "work-order-unknown", "its updates");
}

pub async fn updates_are_csv_where_asked_and_no_formula(shop: &Shop) {
    let order = shop.thousand().await;
    order.counted(&json!({ "counter": "input", "operator": "=1+1", "note": "a,\"b\"", "barcode": "@A" })).await;
    let path = format!("/v1/work-orders/{}/updates", order.number);
    let reply = order.client.request("GET", &path, &[("accept", "text/csv")], "").await.unwrap();
    assert!(reply.header("content-type").unwrap().starts_with("text/csv"), "{reply:?}");
    let text = reply.text();
    let mut lines = text.lines();
    let columns: Vec<&str> = lines.next().unwrap().split(',').collect();
    let update = order.updates("").await.remove(0);
    for field in update.as_object().unwrap().keys() {
        assert!(columns.contains(&field.as_str()), "{field} is no column of {columns:?}");
    }
    let row = lines.next().unwrap();
    for cell in [",'=1+1,", ",\"a,\"\"b\"\"\",", ",'@A,"] {
        assert!(row.contains(cell), "{cell} in {row}");
    }
    assert_eq!(lines.next(), None);
    let json = order.client.request("GET", &path, &[("accept", "text/csv;q=0.1, application/json")], "").await.unwrap();
    assert_eq!(json.header("content-type"), Some("application/json"));
}

pub async fn an_update_is_found_by_any_request_id_and_by_barcode(shop: &Shop) {
    let order = shop.thousand().await;
    let barcode = unique("B%/?#&+");
    for (n, sign) in ["/", "%", "?", "#", "&", "+", "%2F", "..", "="].into_iter().enumerate() {
        let key = format!("{}{sign}x", unique("k"));
        let scan = json!({ "counter": "input", "barcode": barcode, "step": n.to_string() });
        let first = order.client.scan(&order.number, &key, &scan).await;
        assert_eq!(first.status, 201, "{first:?}");
        let encoded: String = key.bytes().map(|byte| format!("%{byte:02X}")).collect();
        let by_path = order.client.get(&format!("/v1/updates/{encoded}")).await;
        assert_eq!((by_path.status.as_u16(), &by_path.body), (200, &first.body), "{key}");
        let by_query = order.client.get(&format!("/v1/updates?request_id={encoded}")).await.json();
        assert_eq!(by_query, json!({ "items": [first.json()], "next_cursor": null }), "{key}");
    }
    let encoded: String = barcode.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let life = all(shop, &format!("/v1/updates?barcode={encoded}&limit=4")).await;
    assert_eq!(life.len(), 9, "the life of one part");
    let none = order.client.get(&format!("/v1/updates?request_id={}", unique("k"))).await.json();
    assert_eq!(none, json!({ "items": [], "next_cursor": null }));
    is_problem(&order.client.get(&format!("/v1/updates/{}", unique("k"))).await, 404, "not-found", "by path");
    for query in ["", "?request_id=a&barcode=b", "?request_id=", "?request_id=a%20b", "?barcode=", "?id=a"] {
        is_problem(&order.client.get(&format!("/v1/updates{query}")).await, 422, "invalid-field", query);
    }
}

pub async fn the_lease_tells_who_works(shop: &Shop) {
    let order = shop.thousand().await;
    let path = format!("/v1/work-orders/{}/lease", order.number);
    let none = json!({ "held": false, "holder": null, "fence": 0, "expires_in_ms": null });
    assert_eq!(order.client.get(&path).await.json(), none, "nobody has worked on it");
    let update = order.counted(&json!({ "counter": "input" })).await;
    let lease = order.client.get(&path).await.json();
    assert_eq!(lease["fence"], update["fence"], "{lease}");
    match shop.kind {
        Kind::RowsAlone => assert_eq!(lease, none, "rows alone know no leases"),
        Kind::Embedded | Kind::Shared => {
            assert_eq!(lease["held"], true, "{lease}");
            assert!(lease["holder"].is_string() && lease["fence"].as_i64() > Some(0), "{lease}");
        }
    }
    if shop.kind == Kind::Shared {
        assert!((1..=10_000).contains(&lease["expires_in_ms"].as_i64().unwrap()), "{lease}");
    }
    let nowhere = format!("/v1/work-orders/{}/lease", unique("P"));
    is_problem(&order.client.get(&nowhere).await, 404, "work-order-unknown", "its lease");
}
