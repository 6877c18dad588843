//! What planning gets for its changes.

use serde_json::{Value, json};

use super::{JSON, Service};

#[tokio::test]
async fn a_work_order_is_created_replaced_and_guarded_by_its_etag() {
    let service = Service::new();
    let uri = "/v1/work-orders/W1";
    let all = r#"{"planned_quantity":500,"over_plan_allowance":null,"barcode_policy":"repeatable",
        "product_code":"WA2080","product_name":"轴","line":"L3"}"#;
    let created = service.put(uri, all).await;
    assert_eq!(created.status, 201);
    let row = created.text();
    assert!(
        row.starts_with(
            "{\"work_order\":\"W1\",\"status\":\"pending\",\"planned_quantity\":500,\"over_plan_allowance\":null,\
             \"barcode_policy\":\"repeatable\",\"barcode_pattern\":null,\"product_code\":\"WA2080\",\
             \"product_name\":\"轴\",\"line\":\"L3\",\"hold_reason\":null,\"held_since\":null,\"strict\":false,\
             \"input_quantity\":0,\"output_quantity\":0,\"scrap_quantity\":0,\"seq\":0,\
             \"fence\":0,\"created_at\":\""
        ),
        "{row}"
    );
    let tag = created.header("etag").to_owned();
    assert_eq!(service.get(uri).await.header("etag"), tag);

    let plain = r#"{"planned_quantity":600}"#;
    let replaced = service.send(&format!("PUT {uri}"), &[JSON, ("if-match", &tag)], plain).await;
    assert_eq!(replaced.status, 200);
    let row = replaced.json();
    assert_eq!(
        (&row["over_plan_allowance"], &row["barcode_policy"], &row["line"]),
        (&json!(0), &json!("once"), &Value::Null),
        "what is omitted takes its default"
    );
    assert_ne!(replaced.header("etag"), tag);
    for (line, body) in [(format!("PUT {uri}"), plain), (format!("PATCH {uri}"), r#"{"status":"paused","reason":"r"}"#)]
    {
        let late = service.send(&line, &[JSON, ("if-match", &tag)], body).await;
        let problem = late.problem();
        assert_eq!((late.status.as_u16(), &problem["code"]), (412, &json!("precondition-failed")));
        assert_eq!((&problem["applied"], &problem["retryable"]), (&json!("no"), &json!(false)));
    }
    let missing = service.send("PUT /v1/work-orders/W2", &[JSON, ("if-match", "*")], plain).await;
    assert_eq!(missing.code(), "precondition-failed");
    let create =
        async |body: &'static str| service.send("PUT /v1/work-orders/W3", &[JSON, ("if-none-match", "*")], body).await;
    assert_eq!(create(plain).await.status, 201);
    let again = create(r#"{"planned_quantity":7}"#).await;
    assert_eq!((again.status.as_u16(), again.code().as_str()), (412, "precondition-failed"));
    assert_eq!(service.get("/v1/work-orders/W3").await.json()["planned_quantity"], 600);

    service.scan("k1", r#"{"counter":"input","barcode":"P1"}"#).await;
    let fixed = service.put(uri, r#"{"planned_quantity":600,"barcode_policy":"repeatable"}"#).await;
    assert_eq!((fixed.status.as_u16(), fixed.code().as_str()), (409, "barcode-policy-fixed"));
    assert_eq!(fixed.problem()["applied"], "no");

    for (status, shown) in [("paused", "paused"), ("cancelled", "cancelled"), ("in_progress", "in_progress")] {
        let body = json!({"status": status, "reason": format!("now {status}")}).to_string();
        let held = service.send(&format!("PATCH {uri}"), &[JSON], body).await.json();
        assert_eq!((&held["status"], &held["hold_reason"]), (&json!(shown), &json!(format!("now {status}"))));
    }
}

#[tokio::test]
async fn a_pattern_is_text_that_both_stores_take() {
    let service = Service::new();
    for pattern in ["a\\u0000b", "a\\nb", "\\u0378", "   "] {
        let plan = format!(r#"{{"planned_quantity":9,"barcode_pattern":"{pattern}"}}"#);
        let reply = service.put("/v1/work-orders/W1", &plan).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (422, "invalid-field"), "{pattern}");
    }
    let plan = r#"{"planned_quantity":9,"barcode_pattern":"[0-9]+\\x1D[0-9]+"}"#;
    assert_eq!(service.put("/v1/work-orders/W1", plan).await.status, 201, "a separator by its code");
}

#[tokio::test]
async fn what_equals_the_default_may_be_sent_and_an_undo_of_itself_may_not() {
    let service = Service::with_work_order().await;
    assert_eq!(service.scan("k1", r#"{"counter":"input"}"#).await.status, 201);
    let itself = service.scan("k2", r#"{"counter":"input","action":"undo","undoes":"k2"}"#).await;
    assert_eq!((itself.status.as_u16(), itself.code().as_str()), (422, "invalid-field"), "it can never succeed");
    let step = service.scan("k2", r#"{"counter":"input","action":"undo","undoes":"k1","step":"P1"}"#).await;
    assert_eq!(step.code(), "invalid-field");
    let undo = service.scan("k2", r#"{"counter":"input","action":"undo","undoes":"k1","step":" "}"#).await;
    assert_eq!(undo.status, 201, "{undo:?}");
    let people = r#""reason":"r","operator":"o""#;
    let keep = service.correct("k3", &format!(r#"{{"counter":"input","delta":1,"barcodes":"keep",{people}}}"#)).await;
    assert_eq!(keep.status, 201, "{keep:?}");
    let free = format!(r#"{{"counter":"input","delta":1,"barcodes":"release",{people}}}"#);
    assert_eq!(service.correct("k4", &free).await.code(), "invalid-field");
}
