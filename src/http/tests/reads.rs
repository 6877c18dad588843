//! The answers to reads: lists, look-ups, CSV, lease.

use serde_json::{Value, json};

use super::shop::{Mood, held_elsewhere};
use super::{JSON, Reply, Service};
use crate::lease::Health;

pub(super) fn ids(reply: &Reply, member: &str) -> Vec<String> {
    let items = reply.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item[member].as_str().unwrap().to_owned()).collect()
}

/// Walks a list page by page, by cursor and by `Link`; the ids in order.
pub(super) async fn walk(service: &Service, uri: &str, member: &str) -> Vec<String> {
    let mut all = Vec::new();
    let mut next = Some(uri.to_owned());
    while let Some(uri) = next {
        let reply = service.get(&uri).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let page = ids(&reply, member);
        assert!(page.len() <= 2);
        all.extend(page);
        let link = reply.header("link").strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
        next = link.map(str::to_owned);
        match reply.json()["next_cursor"].as_str() {
            Some(cursor) => assert!(next.as_ref().unwrap().ends_with(&format!("cursor={cursor}"))),
            None => assert_eq!(next, None),
        }
        assert!(all.len() < 20, "the list comes to an end");
    }
    all
}

/// Work order W1 with counted and refused updates.
async fn busy() -> Service {
    let service = Service::with_work_order().await;
    for (key, body) in [
        ("k1", r#"{"counter":"input","barcode":"P1"}"#),
        ("k2", r#"{"counter":"input","barcode":"P1"}"#),
        ("\"\\\"k3\"", r#"{"counter":"input","barcode":"Ｐ１"}"#),
        ("k4", r#"{"counter":"output","quantity":501}"#),
        ("k5", r#"{"counter":"output","quantity":2}"#),
    ] {
        service.scan(key, body).await;
    }
    service
}

#[tokio::test]
async fn lists_are_walked_by_cursor_without_gap_or_repeat() {
    let service = busy().await;
    for number in ["W2", "W3", "W4", "W5"] {
        service.put(&format!("/v1/work-orders/{number}"), r#"{"planned_quantity":1,"line":"L4"}"#).await;
    }
    let newest_first = ["k5", "k4", "\"k3", "k2", "k1"];
    assert_eq!(walk(&service, "/v1/work-orders/W1/updates?limit=2", "request_id").await, newest_first);
    assert_eq!(walk(&service, "/v1/updates?limit=2&barcode=P1", "request_id").await, ["\"k3", "k2", "k1"]);
    assert_eq!(walk(&service, "/v1/work-orders?limit=2", "work_order").await, ["W1", "W2", "W3", "W4", "W5"]);
    assert_eq!(walk(&service, "/v1/work-orders?line=L4&limit=2&q=", "work_order").await.len(), 4);
}

#[tokio::test]
async fn lists_keep_to_their_filters() {
    let service = busy().await;
    let at = service.shop.updates()[3].recorded_at;
    let refused = ["k4", "\"k3", "k2"];
    for (query, expected) in [
        ("counter=output", &["k5", "k4"][..]),
        ("outcome=counted", &["k5", "k1"]),
        ("outcome=refused", &refused),
        ("barcode=%20P1%0D", &["\"k3", "k2", "k1"]),
        (&format!("from={at}"), &["k5", "k4"]),
        (&format!("to={at}"), &["\"k3", "k2", "k1"]),
        ("from=2026-01-03T09:00:00%2B08:00&to=2026-01-03T09:00:00%2B08:00", &[]),
    ] {
        let reply = service.get(&format!("/v1/work-orders/W1/updates?{query}")).await;
        assert_eq!(ids(&reply, "request_id"), expected, "{query}");
    }
    for (query, count) in [("status=in_progress", 1), ("status=paused", 0), ("line=L3&q=W", 1), ("q=X", 0)] {
        let reply = service.get(&format!("/v1/work-orders?{query}")).await;
        assert_eq!(ids(&reply, "work_order").len(), count, "{query}");
    }
}

#[tokio::test]
async fn every_wrong_query_parameter_is_named() {
    let service = busy().await;
    let cursor = |reply: Reply| reply.json()["next_cursor"].as_str().unwrap().to_owned();
    let of_updates = cursor(service.get("/v1/work-orders/W1/updates?limit=1").await);
    let changed = format!("{of_updates}0");
    for (uri, wrong) in [
        ("/v1/work-orders?limit=0", &["limit"][..]),
        ("/v1/work-orders?limit=501", &["limit"]),
        ("/v1/work-orders?limit=1e1", &["limit"]),
        ("/v1/work-orders?limit=", &["limit"]),
        ("/v1/work-orders?status=open&colour=red", &["status", "colour"]),
        ("/v1/work-orders?q=a&q=b", &["q"]),
        ("/v1/work-orders?q=%ff", &["q"]),
        ("/v1/work-orders?q=%00", &["q"]),
        ("/v1/work-orders?cursor=", &["cursor"]),
        ("/v1/work-orders?cursor=zz", &["cursor"]),
        ("/v1/work-orders?cursor=%E5%B7%A5", &["cursor"]),
        (&format!("/v1/work-orders?cursor={of_updates}"), &["cursor"]),
        (&format!("/v1/work-orders/W1/updates?cursor={changed}"), &["cursor"]),
        ("/v1/work-orders/W1/updates?counter=in&outcome=x", &["counter", "outcome"]),
        ("/v1/work-orders/W1/updates?from=yesterday&to=2026-01-03T09:00:00+08:00", &["from", "to"]),
        ("/v1/work-orders/W1/updates?barcode=", &["barcode"]),
        ("/v1/work-orders/-/updates?limit=x", &["work_order", "limit"]),
        ("/v1/work-orders/W1?verbose=1", &["verbose"]),
        ("/v1/work-orders/W1/lease?verbose", &["verbose"]),
        ("/v1/updates", &["request_id"]),
        ("/v1/updates?request_id=k1&barcode=P1", &["barcode"]),
        ("/v1/updates?request_id=a%20b", &["request_id"]),
        ("/v1/updates?request_id=k1&cursor=00", &["cursor", "cursor"]),
        ("/v1/updates/a%20b", &["request_id"]),
        ("/v1/updates/%ff", &["request_id"]),
        ("/v1/refusals?code=below-zero&open=yes&since=today&limit=0", &["code", "since", "open", "limit"]),
        ("/v1/refusals?colour=red&open=", &["open", "colour"]),
        (&format!("/v1/refusals?cursor={of_updates}"), &["cursor"]),
    ] {
        let reply = service.get(uri).await;
        assert_eq!(reply.status, 422, "{uri} {reply:?}");
        let problem = reply.problem();
        let errors = problem["errors"].as_array().unwrap();
        let fields: Vec<&str> = errors.iter().map(|error| error["field"].as_str().unwrap()).collect();
        assert_eq!(fields, wrong, "{uri} {problem}");
        assert_eq!(problem["applied"], Value::Null, "what only reads applies nothing");
    }
}

#[tokio::test]
async fn an_update_is_found_by_an_id_that_holds_anything() {
    let service = Service::with_work_order().await;
    for (key, path, query) in [("a/b%c?d#e", "a%2Fb%25c%3Fd%23e", "a/b%25c?d%23e"), ("k+1&x", "k+1&x", "k%2B1%26x")] {
        let counted = service.scan(key, r#"{"counter":"input"}"#).await;
        assert_eq!(counted.status, 201);
        let found = service.get(&format!("/v1/updates/{path}")).await;
        assert_eq!((found.status.as_u16(), found.text()), (200, counted.text()));
        let listed = service.get(&format!("/v1/updates?request_id={query}")).await;
        assert_eq!(listed.json(), json!({"items": [counted.json()], "next_cursor": null}));
    }
    let none = service.get("/v1/updates?request_id=unheard-of").await;
    assert_eq!((none.status.as_u16(), none.json()), (200, json!({"items": [], "next_cursor": null})));
}

#[tokio::test]
async fn csv_has_the_columns_of_the_json_and_no_formula() {
    let service = Service::with_work_order().await;
    let body = json!({"counter": "input", "barcode": "=1+1", "station": "+T2", "terminal": "-7", "operator": "@me",
        "step": "\t=2", "note": "say \"hi\", ＝x"});
    service.scan("=k1", &body.to_string()).await;
    service.correct("k2", r#"{"counter":"input","delta":-1,"operator":"E1","reason":"-"}"#).await;
    service.scan("k3", r#"{"counter":"input","quantity":501}"#).await;
    let uri = "/v1/work-orders/W1/updates";
    for (accept, csv) in [
        ("text/csv", true),
        ("text/*", true),
        ("text/csv;q=0.9, application/json;q=0.8", true),
        ("*/*, text/csv;q=0.1", false),
        ("application/json, text/csv", false),
        ("text/csv;q=0", false),
        ("*/*", false),
        ("", false),
        ("image/png", false),
    ] {
        let reply = service.send(&format!("GET {uri}"), &[("accept", accept)], "").await;
        assert_eq!(reply.header("content-type").starts_with("text/csv"), csv, "{accept}");
        assert_eq!(reply.header("vary"), "Accept");
    }
    let reply = service.send(&format!("GET {uri}?limit=3"), &[("accept", "text/csv")], "").await;
    let mut table = csv::Reader::from_reader(reply.body.as_slice());
    let refused = service.get("/v1/updates/k3").await;
    let columns: Vec<String> = table.headers().unwrap().iter().map(str::to_owned).collect();
    let json_names = refused.text().split(",\"").map(|part| part.trim_start_matches("{\"").split('"').next().unwrap());
    // JSON leaves out two columns that few updates have.
    let mut json_names: Vec<&str> = json_names.collect();
    assert_eq!(json_names.pop(), Some("settled_by"), "only a look-up by request id has it");
    for (column, before) in [("undoes", "late"), ("barcodes", "line")] {
        let at = json_names.iter().position(|name| *name == before).unwrap();
        json_names.insert(at, column);
    }
    assert_eq!(columns, json_names);
    let rows: Vec<csv::StringRecord> = table.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 3);
    let cell = |row: usize, column: &str| rows[row].get(columns.iter().position(|c| c == column).unwrap()).unwrap();
    for (row, column, expected) in [
        (0, "code", "over-plan"),
        (0, "at_seq", "2"),
        (0, "seq", ""),
        (1, "delta", "-1"),
        (1, "reason", "'-"),
        (1, "barcode", ""),
        (2, "request_id", "'=k1"),
        (2, "barcode", "'=1+1"),
        (2, "step", "'\t=2"),
        (2, "station", "'+T2"),
        (2, "terminal", "'-7"),
        (2, "operator", "'@me"),
        (2, "note", "say \"hi\", ＝x"),
        (2, "outcome", "counted"),
    ] {
        assert_eq!(cell(row, column), expected, "{row} {column}");
    }
    let first = service.send(&format!("GET {uri}?limit=1"), &[("accept", "text/csv")], "").await;
    assert!(first.header("link").starts_with("</v1/work-orders/W1/updates?limit=1&cursor="), "{first:?}");
}

#[tokio::test]
async fn a_lease_shows_who_holds_it_or_the_rows_fence() {
    let service = Service::with_work_order().await;
    let uri = "/v1/work-orders/W1/lease";
    assert_eq!(service.get(uri).await.text(), r#"{"held":false,"holder":null,"fence":0,"expires_in_ms":null}"#);
    service.shop.with(|state| state.lease_view = Some(held_elsewhere()));
    assert_eq!(service.get(uri).await.text(), r#"{"held":true,"holder":"replica-2","fence":42,"expires_in_ms":8412}"#);
    service.shop.with(|state| state.lease = Health::Away);
    assert_eq!(service.get(uri).await.code(), "lease-unavailable");
}

#[tokio::test]
async fn a_store_that_is_down_is_503_to_be_tried_again() {
    let service = busy().await;
    service.shop.mood(Mood::StoreDown);
    for line in [
        "GET /v1/work-orders",
        "GET /v1/work-orders/W1",
        "GET /v1/work-orders/W1/updates",
        "GET /v1/work-orders/W1/lease",
        "GET /v1/updates?barcode=P1",
        "GET /v1/updates?request_id=k1",
        "GET /v1/updates/k1",
        "GET /v1/refusals",
        "PUT /v1/work-orders/W1",
    ] {
        let reply = service.send(line, &[JSON], r#"{"planned_quantity":1}"#).await;
        let problem = reply.problem();
        assert_eq!((reply.status.as_u16(), &problem["code"]), (503, &json!("storage-unavailable")), "{line}");
        assert_eq!((reply.header("retry-after"), &problem["retryable"]), ("1", &json!(true)), "{line}");
        let writes = !line.starts_with("GET");
        assert_eq!(problem["applied"], if writes { json!("unknown") } else { Value::Null }, "{line}");
    }
}
