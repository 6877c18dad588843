//! Refusals, final ones and others (section 4).

use serde_json::{Value, json};

use crate::shop::{Order, Shop, is_problem, with};
use crate::stage::client::Reply;
use crate::stage::unique;

/// One thing that somebody does to a work order.
enum Step {
    Scan(Value),
    Correct(Value),
    Plan(Value),
    Hold(&'static str),
}
use Step::{Correct, Hold, Plan, Scan};

impl Step {
    async fn take(&self, order: &Order, key: &str, language: &str) -> Reply {
        let by_hand = |change| with(change, &json!({ "operator": "E1", "reason": "tried" }));
        let (method, rest, body) = match self {
            Scan(scan) => ("POST", "/scans", scan.clone()),
            Correct(change) => ("POST", "/corrections", by_hand(change)),
            Plan(plan) => ("PUT", "", plan.clone()),
            Hold(status) => ("PATCH", "", json!({ "status": status, "reason": "tried" })),
        };
        let path = format!("/v1/work-orders/{}{rest}", order.number);
        let headers = [("idempotency-key", key), ("accept-language", language)];
        order.client.json(method, &path, &headers, &body).await.unwrap()
    }
}

// Long: mostly the table of refusals.
pub async fn pitfall_27_a_final_refusal_stands_for_ever(shop: &Shop) {
    let part = || json!({ "counter": "input", "barcode": "A", "operator": "E7", "station": "L1" });
    let unbind = || json!({ "counter": "input", "barcode": "A", "action": "unbind" });
    let piece = || json!({ "counter": "output" });
    let ten = json!({ "planned_quantity": 10 });
    // code, title in Chinese; plan; what happens before; what is refused; what would let it pass
    for (code, chinese, plan, before, refused, later) in [
        ("barcode-already-counted", "条码已计数", ten.clone(), vec![Scan(part())], Scan(part()), Scan(unbind())),
        ("barcode-not-counted", "条码未计数", ten.clone(), vec![], Scan(unbind()), Scan(part())),
        (
            "over-plan",
            "超出计划",
            json!({ "planned_quantity": 1 }),
            vec![Scan(piece())],
            Scan(piece()),
            Plan(json!({ "planned_quantity": 2 })),
        ),
        (
            "over-plan",
            "超出计划",
            json!({ "planned_quantity": 5, "over_plan_allowance": 1 }),
            vec![],
            Scan(json!({ "counter": "input", "quantity": 7 })),
            Plan(json!({ "planned_quantity": 5, "over_plan_allowance": null })),
        ),
        (
            "below-zero",
            "数量低于零",
            ten.clone(),
            vec![],
            Correct(json!({ "counter": "output", "delta": -1 })),
            Scan(piece()),
        ),
        (
            "below-zero",
            "数量低于零",
            ten.clone(),
            vec![Scan(part()), Correct(json!({ "counter": "input", "set_to": 0 }))],
            Scan(unbind()),
            Correct(json!({ "counter": "input", "delta": 1 })),
        ),
        ("work-order-not-open", "工单未开放", ten.clone(), vec![Hold("paused")], Scan(part()), Hold("in_progress")),
        ("work-order-not-open", "工单未开放", ten.clone(), vec![Hold("cancelled")], Scan(part()), Hold("in_progress")),
        (
            "work-order-not-open",
            "工单未开放",
            ten.clone(),
            vec![Hold("cancelled")],
            Correct(json!({ "counter": "scrap", "set_to": 3 })),
            Hold("in_progress"),
        ),
        (
            "not-as-expected",
            "数量与预期不符",
            ten.clone(),
            vec![],
            Correct(json!({ "counter": "output", "delta": 1, "expected": 3 })),
            Correct(json!({ "counter": "output", "set_to": 3 })),
        ),
    ] {
        let order = shop.order(&plan).await;
        for step in before {
            let done = step.take(&order, &unique("k"), "").await;
            assert!(done.status.is_success(), "{code}: {done:?}");
        }
        let standing = order.standing().await;
        let key = unique("k");
        let first = refused.take(&order, &key, "en").await;
        is_problem(&first, 409, code, code);
        assert!(!first.replayed(), "{code}");
        let problem = first.json();
        assert_eq!((&problem["applied"], &problem["request_id"]), (&json!("no"), &json!(key)), "{code}");
        assert_eq!(problem["original"].is_object(), code == "barcode-already-counted", "{code}");
        assert!(problem["title"].as_str().unwrap().is_ascii(), "{code}");
        assert_eq!(order.standing().await, standing, "{code}");

        let row = order.client.get(&format!("/v1/updates/{key}")).await.json();
        assert_eq!((&row["outcome"], &row["code"], &row["delta"]), (&json!("refused"), &json!(code), &json!(0)));
        assert_eq!((&row["seq"], &row["at_seq"]), (&Value::Null, &standing["seq"]), "{code}");
        assert_eq!(row["before"], row["after"], "{code}");

        let done = later.take(&order, &unique("k"), "").await;
        assert!(done.status.is_success(), "{code}: {done:?}");
        let standing = order.standing().await;
        for language in ["en", "zh-CN"] {
            let again = refused.take(&order, &key, language).await;
            is_problem(&again, 409, code, code);
            assert!(again.replayed(), "{code}");
            assert_eq!(again.json()["original"], problem["original"], "{code}");
            assert_eq!(again.header("content-language"), Some(language));
            let title = if language == "en" { problem["title"].as_str().unwrap() } else { chinese };
            assert_eq!(again.json()["title"], title, "{code}");
        }
        assert_eq!(order.standing().await, standing, "{code}");
        let now = refused.take(&order, &unique("k"), "").await;
        assert_eq!(now.status, 201, "{code}: under another id it passes now: {now:?}");
    }
}

pub async fn what_is_not_final_leaves_no_row_and_may_be_sent_again(shop: &Shop) {
    let client = shop.client();
    let good = json!({ "counter": "input" }).to_string();
    let json_type = "application/json";
    let large = format!("{{\"counter\":\"input\",\"note\":\"{}\"}}", "x".repeat(17_000));
    // status, code, applied; method, content type, body
    for (status, code, applied, kind, body) in [
        (404, "work-order-unknown", json!("no"), json_type, good.as_str()),
        (400, "malformed-request", Value::Null, json_type, "{\"counter\":\"input\""),
        (400, "malformed-request", Value::Null, json_type, "[]"),
        (400, "malformed-request", Value::Null, json_type, ""),
        (400, "malformed-request", Value::Null, json_type, "{\"counter\":\"input\",\"counter\":\"input\"}"),
        (422, "invalid-field", Value::Null, json_type, "{\"counter\":\"inputs\"}"),
        (422, "invalid-field", Value::Null, json_type, "{\"counter\":\"input\",\"quantity\":1.0}"),
        (415, "unsupported-media-type", Value::Null, "text/plain", good.as_str()),
        (413, "body-too-large", Value::Null, json_type, large.as_str()),
    ] {
        let (number, key) = (unique("P"), unique("k"));
        let path = format!("/v1/work-orders/{number}/scans");
        let headers = [("content-type", kind), ("idempotency-key", key.as_str())];
        let refused = client.request("POST", &path, &headers, body.to_owned()).await.unwrap();
        is_problem(&refused, status, code, code);
        assert_eq!(refused.json()["applied"], applied, "{code}");
        is_problem(&client.get(&format!("/v1/updates/{key}")).await, 404, "not-found", code);

        client.put_work_order(&number, &json!({ "planned_quantity": 1 })).await;
        let now = client.scan(&number, &key, &json!({ "counter": "input" })).await;
        assert_eq!((now.status.as_u16(), now.replayed()), (201, false), "{code}: {now:?}");
    }
}

pub async fn what_is_wrong_with_fields_is_told_of_all_at_once(shop: &Shop) {
    let order = shop.thousand().await;
    let standing = order.standing().await;
    for (rest, body, fields) in [
        ("scans", json!({}), vec!["counter"]),
        ("scans", json!({ "counter": "input", "Quantity": 2 }), vec!["Quantity"]),
        (
            "scans",
            json!({ "counter": "x", "quantity": 0, "step": 7, "scanned_at": "now" }),
            vec!["counter", "quantity", "step", "scanned_at"],
        ),
        ("scans", json!({ "counter": "input", "quantity": 1_000_001 }), vec!["quantity"]),
        ("scans", json!({ "counter": "input", "action": "correction" }), vec!["action"]),
        ("scans", json!({ "counter": "input", "action": "unbind" }), vec!["barcode"]),
        ("scans", json!({ "counter": "input", "action": "unbind", "barcode": "A", "quantity": 1 }), vec!["quantity"]),
        ("scans", json!({ "counter": "input", "barcode": "" }), vec!["barcode"]),
        ("scans", json!({ "counter": "input", "barcode": "A".repeat(513) }), vec!["barcode"]),
        (
            "scans",
            json!({ "counter": "input", "operator": "é".repeat(65), "note": "n".repeat(501) }),
            vec!["operator", "note"],
        ),
        ("scans", json!({ "counter": "input", "recorded_by": "me" }), vec!["recorded_by"]),
        ("corrections", json!({}), vec!["counter", "delta", "reason", "operator"]),
        (
            "corrections",
            json!({ "counter": "input", "delta": 0, "reason": " ", "operator": "" }),
            vec!["delta", "reason", "operator"],
        ),
        (
            "corrections",
            json!({ "counter": "input", "delta": 1, "set_to": 1, "reason": "r", "operator": "o" }),
            vec!["set_to"],
        ),
        ("corrections", json!({ "counter": "input", "set_to": -1, "reason": "r", "operator": "o" }), vec!["set_to"]),
    ] {
        let path = format!("/v1/work-orders/{}/{rest}", order.number);
        let key = unique("k");
        let reply = order.client.json("POST", &path, &[("idempotency-key", &key)], &body).await.unwrap();
        is_problem(&reply, 422, "invalid-field", &body.to_string());
        let errors = reply.json()["errors"].as_array().unwrap().clone();
        let mut told: Vec<_> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert!(errors.iter().all(|error| error["reason"].is_string()), "{errors:?}");
        told.sort_unstable();
        let mut fields = fields;
        fields.sort_unstable();
        assert_eq!(told, fields, "{body}");
    }
    assert_eq!(order.standing().await, standing);
}
