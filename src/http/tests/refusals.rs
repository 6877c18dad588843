//! Refused scans that a person may settle: their list, and leaving one refused.

use serde_json::{Value, json};

use super::reads::{ids, walk};
use super::shop::Mood;
use super::{JSON, Reply, Service};

/// Work order W1 of line L3 with refused scans, W2 of line L4 with one.
async fn refused() -> Service {
    let service = Service::with_work_order().await;
    let plan = r#"{"planned_quantity":1,"line":"L4","barcode_pattern":"B[0-9]"}"#;
    assert_eq!(service.put("/v1/work-orders/W2", plan).await.status, 201);
    let pause = r#"{"status":"paused","reason":"material"}"#;
    for (key, work_order, body, code) in [
        ("k1", "W1", json!({ "counter": "input", "quantity": 501 }), "over-plan"),
        ("k2", "W2", json!({ "counter": "input", "barcode": "badge" }), "barcode-mismatch"),
        ("k3", "W1", json!({ "counter": "input", "barcode": "P1", "action": "unbind" }), "barcode-not-counted"),
        ("a/b%c?d", "W1", json!({ "counter": "output", "quantity": 501 }), "over-plan"),
        ("k5", "W1", json!({ "counter": "output" }), "work-order-not-open"),
    ] {
        if key == "k5" {
            assert_eq!(service.send("PATCH /v1/work-orders/W1", &[JSON], pause).await.status, 200);
        }
        let line = format!("POST /v1/work-orders/{work_order}/scans");
        let reply = service.send(&line, &[JSON, ("idempotency-key", key)], body.to_string()).await;
        assert_eq!(reply.code(), code);
    }
    service
}

async fn leave(service: &Service, encoded: &str, body: &str) -> Reply {
    service.send(&format!("POST /v1/refusals/{encoded}/leave"), &[JSON], body.to_owned()).await
}

/// Counts a refused scan by an override.
async fn settle(service: &Service, key: &str, refused: &str) {
    let body = json!({ "counter": "output", "override": true, "settles": refused, "note": "seen on the pallet" });
    let reply = service.scan(key, &body.to_string()).await;
    assert_eq!(reply.status, 201, "{reply:?}");
}

#[tokio::test]
async fn the_list_has_only_what_a_person_may_settle_and_keeps_to_its_filters() {
    let service = refused().await;
    settle(&service, "o5", "k5").await;
    leave(&service, "k1", r#"{"reason":"not made"}"#).await;
    let at = service.shop.updates()[3].recorded_at;
    for (query, expected) in [
        (String::new(), &["k5", "a/b%c?d", "k2", "k1"][..]),
        ("open=true".to_owned(), &["a/b%c?d", "k2"]),
        ("open=false".to_owned(), &["k5", "k1"]),
        ("line=L4".to_owned(), &["k2"]),
        ("line=L3&open=true".to_owned(), &["a/b%c?d"]),
        ("code=over-plan".to_owned(), &["a/b%c?d", "k1"]),
        (format!("since={at}"), &["k5", "a/b%c?d"]),
        ("since=2026-01-04T00:00:00Z".to_owned(), &[]),
    ] {
        let reply = service.get(&format!("/v1/refusals?{query}")).await;
        assert_eq!(ids(&reply, "request_id"), expected, "{query}");
    }
    for limit in [1, 2] {
        let uri = format!("/v1/refusals?limit={limit}");
        assert_eq!(walk(&service, &uri, "request_id").await, ["k5", "a/b%c?d", "k2", "k1"], "{limit} a page");
    }
}

#[tokio::test]
async fn an_item_is_the_update_with_what_became_of_it() {
    let service = refused().await;
    settle(&service, "o5", "k5").await;
    let left = leave(&service, "k1", r#"{"reason":"not made","operator":"E7"}"#).await.json();
    let items = service.get("/v1/refusals").await.json()["items"].as_array().unwrap().clone();
    let fates: Vec<_> = items.iter().map(|item| (&item["settled_by"], &item["left"]["reason"])).collect();
    let (by, why) = (json!("o5"), json!("not made"));
    let none = Value::Null;
    assert_eq!(fates, [(&by, &none), (&none, &none), (&none, &none), (&none, &why)]);
    assert_eq!(items[3], left, "leave answers the item of the list");
    let mut fields = left.as_object().unwrap().clone();
    let who = json!({ "by": "loopback", "operator": "E7", "reason": "not made", "at": fields["left"]["at"] });
    assert_eq!(fields.remove("left").unwrap(), who);
    assert_eq!(service.get("/v1/updates/k1").await.json(), Value::Object(fields), "a look-up has settled_by, too");
}

#[tokio::test]
async fn settled_by_is_only_in_look_ups_of_what_may_be_settled() {
    let service = refused().await;
    let looked_up = async |key: &str| {
        let one = service.get(&format!("/v1/updates/{key}")).await.json();
        let searched = service.get(&format!("/v1/updates?request_id={key}")).await.json();
        assert_eq!(searched["items"], json!([one]));
        one.get("settled_by").cloned()
    };
    assert_eq!(looked_up("k5").await, Some(Value::Null));
    settle(&service, "o5", "k5").await;
    assert_eq!(looked_up("k5").await, Some(json!("o5")));
    assert_eq!(looked_up("o5").await, None, "it was counted");
    assert_eq!(looked_up("k3").await, None, "it is no scan");
    let listed = service.get("/v1/work-orders/W1/updates").await.text().to_owned();
    assert!(!listed.contains("settled_by"), "{listed}");
    let replayed = service.scan("k5", r#"{"counter":"output"}"#).await;
    assert_eq!(replayed.header("idempotency-replayed"), "true");
    assert_eq!(replayed.problem().get("settled_by"), None);
}

#[tokio::test]
async fn leaving_again_gives_the_standing_record_also_after_an_override() {
    let service = refused().await;
    let first = leave(&service, "a%2Fb%25c%3Fd", r#"{"reason":"not made"}"#).await;
    assert_eq!((first.status.as_u16(), &first.json()["request_id"]), (200, &json!("a/b%c?d")));
    let again = leave(&service, "a%2Fb%25c%3Fd", r#"{"reason":"other words","operator":"E8"}"#).await;
    assert_eq!((again.status.as_u16(), again.text()), (200, first.text()));
    settle(&service, "o4", "a/b%c?d").await;
    let both = leave(&service, "a%2Fb%25c%3Fd", r#"{"reason":"a retry"}"#).await.json();
    assert_eq!((&both["settled_by"], &both["left"]), (&json!("o4"), &first.json()["left"]));
}

#[tokio::test]
async fn what_can_not_be_left_is_refused() {
    let service = refused().await;
    settle(&service, "o5", "k5").await;
    let why = r#"{"reason":"not made"}"#;
    for (key, body, status, code, detail) in [
        ("unheard-of", why, 404, "not-found", "nothing is decided"),
        ("k5", why, 409, "already-settled", "o5 has counted it"),
        ("o5", why, 409, "already-settled", "not a scan that was refused"),
        ("k3", why, 409, "already-settled", "not a scan that was refused"),
        ("k1", "{}", 422, "invalid-field", "reason: is required"),
        ("k1", r#"{"reason":" "}"#, 422, "invalid-field", "reason: must not be empty"),
        ("k1", r#"{"reason":"r","note":"n"}"#, 422, "invalid-field", "note: is not known here"),
        ("a%20b", why, 422, "invalid-field", "request_id: "),
    ] {
        let reply = leave(&service, key, body).await;
        let problem = reply.problem();
        assert_eq!((reply.status.as_u16(), &problem["code"]), (status, &json!(code)), "{key} {body}: {problem}");
        assert!(problem["detail"].as_str().unwrap().contains(detail), "{key} {body}: {problem}");
        if status < 422 {
            assert_eq!(problem["request_id"], key, "{problem}");
        }
    }
    service.shop.mood(Mood::StoreDown);
    let down = leave(&service, "k1", why).await.problem();
    assert_eq!((&down["code"], &down["applied"]), (&json!("storage-unavailable"), &json!("unknown")));
    service.shop.mood(Mood::Good);
    let items = service.get("/v1/refusals?open=true").await;
    assert!(ids(&items, "request_id").contains(&"k1".to_owned()), "nothing was left");
}
