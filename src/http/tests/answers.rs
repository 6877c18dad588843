//! The answers to requests that change something.

use serde_json::{Value, json};

use super::shop::Mood;
use super::{JSON, Service};
use crate::counting::Unsettled;
use crate::http::Code;

#[tokio::test]
async fn a_scan_is_counted_and_repeated_byte_by_byte() {
    let service = Service::with_work_order().await;
    let body = r#"{"counter":"input","barcode":"WA2080ZWJ0926","step":"P010","station":"L3-T2","terminal":"t7",
        "operator":"E1024","scanned_at":"2026-01-03T09:16:54.103999+08:00"}"#;
    let first = service.scan("k1", body).await;
    assert_eq!(first.status, 201, "{first:?}");
    assert_eq!(first.header("content-type"), "application/json");
    assert_eq!(first.header("cache-control"), "no-store");
    assert_eq!(first.header("idempotency-replayed"), "");
    let recorded_at = service.shop.updates()[0].recorded_at;
    let expected = [
        r#"{"request_id":"k1","work_order":"W1","seq":1,"counter":"input","action":"scan","delta":1,"before":0,"#,
        r#""after":1,"barcode":"WA2080ZWJ0926","step":"P010","station":"L3-T2","terminal":"t7","operator":"E1024","#,
        r#""reason":null,"note":null,"takes_back":null,"late":false,"override":false,"settles":null,"line":"L3","#,
        r#""product_code":null,"fence":0,"work_order_status":"in_progress","remaining":499,"#,
        r#""scanned_at":"2026-01-03T01:16:54.103Z","recorded_at":""#,
        &recorded_at.to_string(),
        r#"","recorded_by":"loopback","outcome":"counted"}"#,
    ];
    assert_eq!(first.text(), expected.concat(), "the contract's fields in the contract's order");

    service.scan("k2", r#"{"counter":"input"}"#).await;
    for same_key in ["k1", "\"k1\""] {
        let again = service.scan(same_key, body).await;
        assert_eq!((again.status, again.header("idempotency-replayed")), (first.status, "true"));
        assert_eq!(again.body, first.body);
    }
}

#[tokio::test]
async fn a_201_of_a_newer_release_is_left_to_that_release() {
    let service = Service::with_work_order().await;
    service.scan("k1", r#"{"counter":"input"}"#).await;
    service.shop.rewrite(|update| update.rendering += 1);
    assert_eq!(service.scan("k1", r#"{"counter":"input"}"#).await.code(), "storage-unavailable");
    assert_eq!(service.get("/v1/updates/k1").await.status, 200, "it can still be looked at");
}

#[tokio::test]
async fn what_is_omitted_equals_null_and_the_default() {
    let service = Service::with_work_order().await;
    service.scan("k1", r#"{"counter":"output"}"#).await;
    let spelt_out = r#"{"note":null,"quantity":1,"action":"scan","step":"","barcode":null,"counter":"output",
        "station":null,"terminal":null,"operator":null,"scanned_at":null}"#;
    assert_eq!(service.scan("k1", spelt_out).await.header("idempotency-replayed"), "true");
}

#[tokio::test]
async fn a_part_counted_already_is_told_when_where_and_by_whom_again_and_again() {
    let service = Service::with_work_order().await;
    let body = |operator| format!(r#"{{"counter":"input","barcode":"P1","station":"T2","operator":"{operator}"}}"#);
    let counted = service.scan("k1", &body("E1")).await;
    let refused = service.scan("k2", &body("E2")).await.problem();
    assert_eq!(refused["code"], "barcode-already-counted");
    assert_eq!((&refused["applied"], &refused["retryable"]), (&json!("no"), &json!(false)));
    assert_eq!((&refused["request_id"], &refused["instance"]), (&json!("k2"), &json!("/v1/work-orders/W1/scans")));
    assert_eq!(refused["original"], counted.json());
    let again = service.scan("k2", &body("E2")).await;
    assert_eq!(again.header("idempotency-replayed"), "true");
    assert_eq!(again.problem(), refused);
    let row = service.get("/v1/updates/k2").await;
    assert_eq!(row.status, 200);
    assert!(row.text().ends_with(r#""outcome":"refused","code":"barcode-already-counted","at_seq":1}"#), "{row:?}");
    assert!(row.text().contains(r#""seq":null"#));
}

#[tokio::test]
async fn every_final_refusal_is_a_409_that_is_replayed() {
    let service = Service::with_work_order().await;
    service.scan("k0", r#"{"counter":"scrap","quantity":7}"#).await;
    for (key, route, body, code) in [
        ("r1", "scans", r#"{"counter":"input","action":"unbind","barcode":"P1"}"#, "barcode-not-counted"),
        ("r2", "scans", r#"{"counter":"input","quantity":501}"#, "over-plan"),
        ("r3", "corrections", r#"{"counter":"input","delta":-1,"operator":"E1","reason":"x"}"#, "below-zero"),
        (
            "r4",
            "corrections",
            r#"{"counter":"scrap","set_to":1,"expected":8,"operator":"E1","reason":"x"}"#,
            "not-as-expected",
        ),
    ] {
        for replayed in ["", "true"] {
            let line = format!("POST /v1/work-orders/W1/{route}");
            let reply = service.send(&line, &[JSON, ("idempotency-key", key)], body).await;
            assert_eq!((reply.status.as_u16(), reply.header("idempotency-replayed")), (409, replayed), "{reply:?}");
            let problem = reply.problem();
            assert_eq!(problem["code"], code);
            assert_eq!((&problem["applied"], &problem["retryable"]), (&json!("no"), &json!(false)), "{problem}");
        }
    }
    let hold = service.send("PATCH /v1/work-orders/W1", &[JSON], r#"{"status":"paused","reason":"lunch"}"#).await;
    assert_eq!((hold.status.as_u16(), &hold.json()["hold_reason"]), (200, &json!("lunch")));
    assert_eq!(service.scan("r5", r#"{"counter":"input"}"#).await.code(), "work-order-not-open");
}

#[tokio::test]
async fn pitfall_21_a_key_of_another_request_is_refused_and_says_what_became_of_that_one() {
    let service = Service::with_work_order().await;
    service.scan("k1", r#"{"counter":"input"}"#).await;
    service.scan("k2", r#"{"counter":"input","quantity":1000}"#).await;
    for (key, applied) in [("k1", "unknown"), ("k2", "no")] {
        let reply = service.scan(key, r#"{"counter":"output","quantity":2,"note":"x"}"#).await;
        let problem = reply.problem();
        assert_eq!((reply.status.as_u16(), &problem["code"]), (422, &json!("idempotency-key-reused")));
        assert_eq!(problem["differs"], json!(["counter", "quantity", "note"]));
        assert_eq!((&problem["applied"], &problem["retryable"]), (&json!(applied), &json!(false)), "{problem}");
    }
    assert_eq!(service.shop.updates().len(), 2);
}

#[tokio::test]
async fn what_is_left_undecided_is_503_unknown_and_to_be_sent_again() {
    let service = Service::with_work_order().await;
    for (unsettled, code) in [
        (Unsettled::Overloaded, "overloaded"),
        (Unsettled::StorageUnavailable, "storage-unavailable"),
        (Unsettled::LeaseUnavailable, "lease-unavailable"),
        (Unsettled::ShuttingDown, "shutting-down"),
        (Unsettled::EarlierItemPending, "earlier-item-pending"),
        (Unsettled::WorkOrderQuarantined, "work-order-quarantined"),
    ] {
        service.shop.mood(Mood::Leaves(unsettled));
        let reply = service.scan("k1", r#"{"counter":"input"}"#).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, code));
        assert!(reply.header("retry-after").parse::<u32>().unwrap() >= 1);
        let problem = reply.problem();
        assert_eq!((&problem["applied"], &problem["retryable"]), (&json!("unknown"), &json!(true)), "{problem}");
        assert_eq!((&problem["code"], unsettled.code()), (&json!(code), code));
    }
}

#[tokio::test]
async fn a_correction_is_signed_or_sets_and_says_why() {
    let service = Service::with_work_order().await;
    for (key, body, after) in [
        ("c1", r#"{"counter":"input","delta":600,"operator":"E1","reason":"found"}"#, 600),
        ("c2", r#"{"counter":"input","delta":-1,"operator":"E1","reason":"lost","note":"n","expected":600}"#, 599),
        ("c3", r#"{"counter":"input","set_to":599,"delta":null,"operator":"E1","reason":"checked"}"#, 599),
        ("c4", r#"{"counter":"input","set_to":0,"operator":"E1","reason":"all wrong"}"#, 0),
    ] {
        let reply = service.correct(key, body).await;
        assert_eq!((reply.status.as_u16(), &reply.json()["after"]), (201, &json!(after)), "{reply:?}");
        assert_eq!(reply.json()["action"], "correction");
    }
}

/// Fields that are wrong, by route; the errors' fields in order.
#[tokio::test]
// Long: one table of cases.
async fn every_wrong_field_is_named_with_its_reason() {
    let service = Service::with_work_order().await;
    let scans = "POST /v1/work-orders/W1/scans";
    let corrections = "POST /v1/work-orders/W1/corrections";
    let (put, patch) = ("PUT /v1/work-orders/W2", "PATCH /v1/work-orders/W1");
    let long = |n| format!(r#"{{"counter":"input","note":"{}"}}"#, "n".repeat(n));
    let longest = format!(r#"{{"counter":"input","quantity":{}}}"#, "9".repeat(310));
    let batch = r#"{"scans":[{"request_id":"k1","work_order":"W1","counter":"input"}]}"#;
    let pitfall_45 = format!(r#"{{"counter":"input","barcode":"{}"}}"#, "\u{fdfa}".repeat(128));
    for (line, body, wrong) in [
        (scans, "{}", &["counter"][..]),
        (scans, r#"{"counter":null}"#, &["counter"]),
        (scans, r#"{"counter":"Input"}"#, &["counter"]),
        (scans, r#"{"counter":1,"action":"correction","quantity":0}"#, &["counter", "action", "quantity"]),
        (scans, r#"{"counter":"input","quantity":1000001}"#, &["quantity"]),
        (scans, r#"{"counter":"input","quantity":-1}"#, &["quantity"]),
        (scans, r#"{"counter":"input","quantity":1.0}"#, &["quantity"]),
        (scans, r#"{"counter":"input","quantity":1e2}"#, &["quantity"]),
        (scans, r#"{"counter":"input","quantity":"1"}"#, &["quantity"]),
        (scans, r#"{"counter":"input","quantity":99999999999999999999}"#, &["quantity"]),
        (scans, r#"{"counter":"input","quantity":1e400}"#, &["quantity"]),
        (scans, &longest, &["quantity"]),
        (scans, r#"{"counter":"input","action":"unbind"}"#, &["barcode"]),
        (scans, r#"{"counter":"input","action":"unbind","barcode":"P","quantity":1}"#, &["quantity"]),
        (scans, r#"{"counter":"input","barcode":" \r\n"}"#, &["barcode"]),
        (scans, r#"{"counter":"input","barcode":"A\r\nB"}"#, &["barcode"]),
        (scans, r#"{"counter":"input","barcode":"A\u0000"}"#, &["barcode"]),
        (
            scans,
            r#"{"counter":"input","note":"A\u0000","station":"\u007f","step":"\u0080"}"#,
            &["step", "station", "note"],
        ),
        (scans, &pitfall_45, &["barcode"]),
        (scans, &long(501), &["note"]),
        (scans, r#"{"counter":"input","scanned_at":"2026-01-03 01:16:54Z"}"#, &["scanned_at"]),
        (scans, r#"{"counter":"input","scanned_at":1767402000}"#, &["scanned_at"]),
        (scans, r#"{"counter":"input","recorded_by":"me","Quantity":1}"#, &["recorded_by", "Quantity"]),
        (scans, r#"{"counter":"input","work_order":"W1"}"#, &["work_order"]),
        ("POST /v1/work-orders/-W1/scans", r#"{"counter":1}"#, &["work_order", "counter"]),
        ("POST /v1/work-orders/%ff/scans", r#"{"counter":"input"}"#, &["work_order"]),
        ("POST /v1/work-orders/%2e%2e%2fW1/scans", r#"{"counter":"input"}"#, &["work_order"]),
        ("POST /v1/work-orders/W%zz/scans", r#"{"counter":"input"}"#, &["work_order"]),
        (corrections, "{}", &["counter", "delta", "reason", "operator"]),
        (corrections, r#"{"counter":"input","delta":0,"reason":"r","operator":"o"}"#, &["delta"]),
        (corrections, r#"{"counter":"input","delta":1,"set_to":1,"reason":"r","operator":"o"}"#, &["set_to"]),
        (corrections, r#"{"counter":"input","set_to":-1,"reason":"r","operator":"o"}"#, &["set_to"]),
        (corrections, r#"{"counter":"input","delta":1000000000001,"reason":"r","operator":"o"}"#, &["delta"]),
        (
            corrections,
            r#"{"counter":"input","delta":1,"expected":-1,"reason":" ","operator":""}"#,
            &["expected", "reason", "operator"],
        ),
        (corrections, r#"{"counter":"input","delta":1,"reason":"r","operator":"o","barcode":"P"}"#, &["barcode"]),
        (
            corrections,
            r#"{"counter":"input","delta":1,"barcodes":"release","reason":"r","operator":"o"}"#,
            &["barcodes"],
        ),
        (corrections, r#"{"counter":"input","set_to":1,"barcodes":"free","reason":"r","operator":"o"}"#, &["barcodes"]),
        (scans, r#"{"counter":"input","action":"undo"}"#, &["undoes"]),
        (scans, r#"{"counter":"input","undoes":"k0"}"#, &["undoes"]),
        (
            scans,
            r#"{"counter":"input","action":"undo","undoes":"k0","quantity":1,"barcode":"A","step":"P"}"#,
            &["quantity", "barcode", "step"],
        ),
        (scans, r#"{"counter":"input","action":"unbind","barcode":"A","quantity":null,"undoes":"k0"}"#, &["undoes"]),
        (scans, r#"{"counter":"input","override":true}"#, &["note"]),
        (scans, r#"{"counter":"input","override":true,"note":" "}"#, &["note"]),
        (scans, r#"{"counter":"input","override":"yes","note":"n"}"#, &["override"]),
        (scans, r#"{"counter":"input","settles":"k0","note":"n"}"#, &["settles"]),
        (scans, r#"{"counter":"input","action":"unbind","barcode":"A","override":true,"note":"n"}"#, &["override"]),
        (
            scans,
            r#"{"counter":"input","action":"undo","undoes":"k0","override":true,"settles":"k0","note":"n"}"#,
            &["override"],
        ),
        (scans, r#"{"counter":"input","undoes":null,"settles":null,"override":7}"#, &["override"]),
        (put, "{}", &["planned_quantity"]),
        (put, r#"{"planned_quantity":-1,"over_plan_allowance":-1}"#, &["planned_quantity", "over_plan_allowance"]),
        (put, r#"{"planned_quantity":1000000000001}"#, &["planned_quantity"]),
        (put, r#"{"planned_quantity":1,"barcode_policy":"twice","line":7}"#, &["barcode_policy", "line"]),
        (put, r#"{"planned_quantity":1,"status":"paused"}"#, &["status"]),
        (patch, "{}", &["status", "reason"]),
        (patch, r#"{"status":"completed","reason":"r"}"#, &["status"]),
        (patch, r#"{"status":"paused","reason":""}"#, &["reason"]),
        (patch, r#"{"status":"in_progress","reason":"r","strict":true}"#, &["strict"]),
        (put, r#"{"planned_quantity":1,"barcode_pattern":"a)(b"}"#, &["barcode_pattern"]),
        (put, r#"{"planned_quantity":1,"barcode_pattern":""}"#, &["barcode_pattern"]),
        (put, r#"{"planned_quantity":1,"barcode_pattern":"\\w{200}"}"#, &["barcode_pattern"]),
        // fields are not taken from the query
        ("POST /v1/work-orders/W1/scans?quantity=12", r#"{"counter":"output"}"#, &["quantity"]),
        ("POST /v1/work-orders/W1/scans?%ff=1&&", "{}", &["%ff", "counter"]),
        ("PUT /v1/work-orders/W1?line=L3", r#"{"planned_quantity":5}"#, &["line"]),
        ("PATCH /v1/work-orders/W1?reason=r", r#"{"status":"paused"}"#, &["reason", "reason"]),
        ("POST /v1/scans?dry_run=true", batch, &["dry_run"]),
        ("POST /v1/consistency/findings/f1/repair?dry_run=true", r#"{"reason":"r"}"#, &["dry_run"]),
        ("POST /v1/scans", "{}", &["scans"]),
        ("POST /v1/scans", r#"{"scans":[]}"#, &["scans"]),
        ("POST /v1/scans", r#"{"scans":{},"more":1}"#, &["scans", "more"]),
    ] {
        let reply = service.send(line, &[JSON, ("idempotency-key", "k1")], body.to_owned()).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (422, "invalid-field"), "{line} {body}");
        let problem = reply.problem();
        let errors = problem["errors"].as_array().unwrap();
        let fields: Vec<&str> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(fields, wrong, "{line} {body} {problem}");
        assert!(errors.iter().all(|error| !error["reason"].as_str().unwrap().is_empty()), "{problem}");
        assert_eq!((&problem["retryable"], &problem["applied"]), (&json!(false), &Value::Null), "{problem}");
    }
    assert!(service.shop.updates().is_empty(), "nothing of all that was counted");
    assert_eq!(service.scan("k1", &long(500)).await.status, 201);
}

#[tokio::test]
// Long: one table of cases.
async fn the_first_thing_that_is_wrong_answers_in_the_contracts_order() {
    let service = Service::with_work_order().await;
    let scans = "POST /v1/work-orders/W1/scans";
    let (key, plain) = (("idempotency-key", "k1"), ("content-type", "text/plain"));
    let large = format!(r#"{{"note":"{}"}}"#, "n".repeat(16 * 1024));
    let far = ("host", "factory.example");
    for (line, headers, body, code) in [
        (scans, &[far, plain][..], large.as_str(), "unauthenticated"),
        ("DELETE /v1/work-orders/W1/scans", &[plain], &large, "method-not-allowed"),
        ("POST /v1/nothing", &[plain], &large, "not-found"),
        (scans, &[plain], &large, "unsupported-media-type"),
        (scans, &[], "{}", "unsupported-media-type"),
        (scans, &[("content-type", "application/json; charset=gbk")], "{}", "unsupported-media-type"),
        (scans, &[JSON, ("content-encoding", "gzip"), key], "{}", "unsupported-media-type"),
        (scans, &[JSON], &large, "body-too-large"),
        (scans, &[JSON], "{", "idempotency-key-missing"),
        (scans, &[JSON, ("idempotency-key", "")], "{", "idempotency-key-invalid"),
        (scans, &[JSON, ("idempotency-key", "a b")], "{", "idempotency-key-invalid"),
        (scans, &[JSON, ("idempotency-key", "\"a")], "{", "idempotency-key-invalid"),
        (scans, &[JSON, ("idempotency-key", "é")], "{", "idempotency-key-invalid"),
        (scans, &[JSON, key, ("idempotency-key", "k2")], "{", "idempotency-key-invalid"),
        (scans, &[JSON, key], "{", "malformed-request"),
        (scans, &[JSON, key], "[]", "malformed-request"),
        (scans, &[JSON, key], r#"{"counter":"input","counter":"input"}"#, "malformed-request"),
        (scans, &[JSON, key], "{}", "invalid-field"),
        ("POST /v1/work-orders/W9/scans", &[JSON, key], r#"{"counter":"input"}"#, "work-order-unknown"),
        ("PUT /v1/work-orders/W1", &[JSON, ("if-match", "nonsense")], r#"{"planned_quantity":1}"#, "malformed-request"),
        ("PATCH /v1/work-orders/W9", &[JSON], r#"{"status":"paused","reason":"r"}"#, "work-order-unknown"),
        ("GET /v1/work-orders/W9", &[], "", "work-order-unknown"),
        ("GET /v1/work-orders/W9/updates", &[], "", "work-order-unknown"),
        ("GET /v1/work-orders/W9/lease", &[], "", "work-order-unknown"),
        ("GET /v1/updates/unheard-of", &[], "", "not-found"),
        ("GET /problems/unheard-of", &[], "", "not-found"),
        ("GET /", &[], "", "not-found"),
        ("GET /v1/work-orders/", &[], "", "not-found"),
    ] {
        let reply = service.send(line, headers, body.to_owned()).await;
        assert_eq!(reply.code(), code, "{line} {headers:?} {body:.60}");
        let code = Code::of_word(code).unwrap();
        assert_eq!(reply.status, code.status(), "{line}");
        let problem = reply.problem();
        let says = |code| match code {
            Code::Unauthenticated => json!("unknown"),
            Code::WorkOrderUnknown if !line.starts_with("GET") => json!("no"),
            _ => Value::Null,
        };
        assert_eq!(problem["applied"], says(code), "{line} {problem}");
        assert_eq!(problem["retryable"], code == Code::WorkOrderUnknown, "{line} {problem}");
        let path = line.split_once(' ').unwrap().1;
        assert_eq!(problem["instance"], path, "{problem}");
        let bearer = if code == Code::Unauthenticated { "Bearer" } else { "" };
        assert_eq!(reply.header("www-authenticate"), bearer);
    }
    assert!(service.shop.updates().is_empty(), "pitfall 25: no key is made up for a request that has none");
    let marked = service.send(scans, &[JSON, key], "\u{feff}{}").await;
    assert!(marked.problem()["detail"].as_str().unwrap().contains("byte order mark"), "{marked:?}");
    for kind in ["Application/JSON;charset=\"UTF-8\"", "application/json; charset=utf8"] {
        let headers = [("content-type", kind), ("content-encoding", "Identity"), key];
        assert_eq!(service.send(scans, &headers, r#"{"counter":"input"}"#).await.status, 201, "{kind}");
    }
}

#[tokio::test]
// Long: one table of cases.
async fn a_batch_answers_each_item_by_itself_and_in_order() {
    let service = Service::with_work_order().await;
    service.scan("k0", r#"{"counter":"scrap"}"#).await;
    let deep = "[".repeat(200) + &"]".repeat(200);
    let batch = r#"{"scans":[
            {"request_id":"k1","work_order":"W1","counter":"input","barcode":"P1"},
            {"request_id":"k1","work_order":"W1","counter":"input","barcode":"P1"},
            {"request_id":"\"k2\"","work_order":"W1","counter":"input","barcode":"P1"},
            {"request_id":"k0","work_order":"W1","counter":"scrap"},
            {"request_id":"k0","work_order":"W1","counter":"input"},
            {"request_id":"k3","work_order":"W9","counter":"input"},
            {"request_id":"k4","work_order":"W1","counter":"input","counter":"input"},
            {"request_id":"k5","request_id":"k5","work_order":"W1","counter":"input"},
            {"work_order":"W1","counter":"input"},
            {"request_id":7,"work_order":"W1","counter":"input"},
            {"request_id":"k6","work_order":"-","nonsense":{"a":1,"b":[]}},
            "k7",
            {"request_id":"k9","work_order":"W1","counter":"input","operator":"张\ud842"},
            {"request_id":"k9","work_order":"W1","counter":"input","quantity":1e400},
            {"request_id":"k9","work_order":"W1","counter":"input","deep":DEEP},
            {"request_id":"k8","work_order":"W1","counter":"output","quantity":3}
        ]}"#;
    let reply = service.batch(&batch.replace("DEEP", &deep)).await;
    assert_eq!(reply.status, 200);
    let results = reply.json()["results"].as_array().unwrap().clone();
    let expected = [
        (json!("k1"), 201, false, ""),
        (json!("k1"), 201, true, ""),
        (json!("k2"), 409, false, "barcode-already-counted"),
        (json!("k0"), 201, true, ""),
        (json!("k0"), 422, false, "idempotency-key-reused"),
        (json!("k3"), 404, false, "work-order-unknown"),
        (json!("k4"), 400, false, "malformed-request"),
        (Value::Null, 400, false, "malformed-request"),
        (Value::Null, 400, false, "idempotency-key-missing"),
        (Value::Null, 400, false, "idempotency-key-invalid"),
        (json!("k6"), 422, false, "invalid-field"),
        (Value::Null, 400, false, "malformed-request"),
        (json!("k9"), 400, false, "malformed-request"),
        (json!("k9"), 422, false, "invalid-field"),
        (json!("k9"), 400, false, "malformed-request"),
        (json!("k8"), 201, false, ""),
    ];
    assert_eq!(results.len(), expected.len());
    for (result, (request_id, status, replayed, code)) in results.iter().zip(expected) {
        assert_eq!(
            (&result["request_id"], &result["status"], &result["replayed"]),
            (&request_id, &json!(status), &json!(replayed)),
            "{result}"
        );
        let problem = &result["problem"];
        assert_eq!(problem["code"].as_str().unwrap_or_default(), code, "{result}");
        assert_eq!(result["update"]["request_id"], if code.is_empty() { request_id } else { Value::Null });
        if !code.is_empty() {
            assert_eq!((&problem["status"], &problem["instance"]), (&json!(status), &json!("/v1/scans")), "{result}");
        }
    }
    assert_eq!(results[2]["problem"]["original"], results[0]["update"]);
    let fields: Vec<_> = results[10]["problem"]["errors"].as_array().unwrap().iter().map(|e| &e["field"]).collect();
    assert_eq!(fields, ["work_order", "counter", "nonsense"]);
    let single = service.scan("k8", r#"{"counter":"output","quantity":3}"#).await;
    assert_eq!(single.header("idempotency-replayed"), "true");
    assert!(reply.text().contains(&format!("\"update\":{}", single.text())), "the same bytes, singly or in a batch");
}

#[tokio::test]
async fn a_batch_fails_as_a_whole_only_for_its_own_shape_count_or_size() {
    let service = Service::with_work_order().await;
    let item = |n| format!(r#"{{"request_id":"k{n}","work_order":"W1","counter":"scrap"}}"#);
    let batch = |n| format!(r#"{{"scans":[{}]}}"#, (0..n).map(item).collect::<Vec<_>>().join(","));
    let large = format!(r#"{{"scans":["{}"]}}"#, "x".repeat(1024 * 1024));
    for (body, status, code) in [
        (batch(1001), 422, "invalid-field"),
        (large, 413, "body-too-large"),
        (r#"{"scans":[1],"scans":[1]}"#.to_owned(), 400, "malformed-request"),
        ("[]".to_owned(), 400, "malformed-request"),
    ] {
        let reply = service.batch(&body).await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{body:.60}");
    }
    assert!(service.shop.updates().is_empty());
    let reply = service.batch(&batch(1000)).await;
    assert_eq!(reply.status, 200);
    assert_eq!(service.shop.updates().len(), 1000);
}
