//! The edge: malformed requests, health, documents and metrics (sections 4, 6).

use scanfence::http::{Code, Language};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;

use crate::shop::{Kind, Shop, is_problem};
use crate::stage::{SOON, eventually, unique};

pub async fn malformed_requests_leave_as_problems(shop: &Shop) {
    let order = shop.thousand().await;
    let path = format!("/v1/work-orders/{}", order.number);
    let scans = format!("{path}/scans");
    let long = "x".repeat(20_000);
    let json = ("content-type", "application/json");
    let body = "{\"counter\":\"input\"}";
    for (method, path, headers, body, status, code) in [
        ("GET", "/", vec![], "", 404, "not-found"),
        ("GET", "/v1/nothing", vec![], "", 404, "not-found"),
        ("GET", "/problems/nothing", vec![], "", 404, "not-found"),
        ("GET", "/v1/work-orders/%FF", vec![], "", 422, "invalid-field"),
        ("GET", "/v1/updates/%20", vec![], "", 422, "invalid-field"),
        ("GET", "/v1/work-orders/%00", vec![], "", 422, "invalid-field"),
        ("DELETE", path.as_str(), vec![], "", 405, "method-not-allowed"),
        ("GET", "/v1/scans", vec![], "", 405, "method-not-allowed"),
        ("BREW", scans.as_str(), vec![], "", 405, "method-not-allowed"),
        ("POST", "/livez", vec![], "", 405, "method-not-allowed"),
        ("POST", scans.as_str(), vec![("idempotency-key", "k")], body, 415, "unsupported-media-type"),
        ("POST", scans.as_str(), vec![json, ("content-encoding", "gzip")], body, 415, "unsupported-media-type"),
        (
            "POST",
            scans.as_str(),
            vec![("content-type", "application/json; charset=gbk")],
            body,
            415,
            "unsupported-media-type",
        ),
        ("POST", scans.as_str(), vec![json], body, 400, "idempotency-key-missing"),
        ("POST", scans.as_str(), vec![json, ("x-forwarded-for", "10.0.0.1")], body, 401, "unauthenticated"),
        ("POST", scans.as_str(), vec![json, ("host", "example.org")], body, 401, "unauthenticated"),
        ("GET", path.as_str(), vec![("x", long.as_str())], "", 431, "headers-too-large"),
    ] {
        let at = format!("{method} {path} {:.60}", format!("{headers:?}"));
        let reply = order.client.request(method, path, &headers, body).await;
        let reply = reply.unwrap_or_else(|error| panic!("{at}: {error:?}"));
        is_problem(&reply, status, code, &at);
        if status == 405 {
            let allow = reply.header("allow").unwrap();
            assert!(!allow.is_empty() && !allow.contains(method), "{at}: {allow}");
        }
        if status == 401 {
            assert_eq!(reply.json()["applied"], "unknown", "{at}");
        }
    }
    assert_eq!(order.standing().await["seq"], 0);
}

pub async fn garbage_on_the_socket_is_answered_or_closed(shop: &Shop) {
    let client = shop.client();
    for (bytes, status) in [
        (&b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"[..], "400"),
        (b"hello\r\n\r\n", "400"),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", "400"),
        (b"POST /v1/scans HTTP/1.1\r\nhost: localhost\r\ncontent-length: x\r\n\r\n", "400"),
    ] {
        let answer = String::from_utf8(client.raw(bytes).await.unwrap()).unwrap();
        let said = String::from_utf8_lossy(bytes);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{said}: {answer}");
        assert!(
            answer.contains("application/problem+json") && answer.contains("malformed-request"),
            "{said}: {answer}"
        );
    }
    let answer = client.raw(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await.unwrap();
    assert!(answer.is_empty(), "HTTP/2 is not spoken, and nothing is said in HTTP/1.1 to it");
    assert_eq!(client.get("/livez").await.status, 200, "it is none the worse for it");
}

pub async fn health_and_documents_are_open(shop: &Shop) {
    let client = shop.client();
    assert_eq!(client.get("/livez").await.text(), "ok\n");
    let ready = client.get("/readyz").await;
    assert_eq!(ready.status, 200);
    let report = ready.json();
    assert_eq!(report["status"], "ok", "{report}");
    for check in ["storage", "migrations", "lease", "durability", "draining"] {
        assert_eq!(report["checks"][check]["status"], "ok", "{report}");
    }
    let lease = report["checks"]["lease"]["detail"].as_str().unwrap();
    assert_eq!(lease.contains("rows alone"), shop.kind == Kind::RowsAlone, "{lease}");
    let document = client.get("/openapi.yaml").await;
    assert_eq!(document.text(), scanfence::http::OPENAPI);
    // Anybody may ask for these, also through a proxy.
    for path in ["/livez", "/readyz", "/openapi.yaml", "/problems/over-plan"] {
        let reply = client.request("GET", path, &[("forwarded", "for=10.0.0.1")], "").await.unwrap();
        assert_eq!(reply.status, 200, "{path}");
    }
    for code in Code::ALL {
        for language in Language::ALL {
            let path = format!("/problems/{}", code.word());
            let reply = client.request("GET", &path, &[("accept-language", language.tag())], "").await.unwrap();
            assert_eq!(reply.header("content-language"), Some(language.tag()), "{path}");
            assert!(reply.text().contains(code.title(language)), "{path}: {reply:?}");
        }
    }
}

pub async fn metrics_have_bounded_labels(shop: &Shop) {
    let order = shop.thousand().await;
    let (key, barcode) = (unique("k"), unique("B"));
    let scan = json!({ "counter": "input", "barcode": barcode });
    order.client.scan(&order.number, &key, &scan).await;
    order.client.scan(&order.number, &key, &scan).await;
    order.scan(&scan).await;
    order.client.get(&format!("/v1/{}", unique("path"))).await;
    order.client.request("BREW", "/livez", &[], "").await.unwrap();
    let plain = [("accept", "text/plain;version=0.0.4;q=0.5,*/*;q=0.1")];
    let plain = order.client.request("GET", "/metrics", &plain, "").await.unwrap();
    assert!(plain.header("content-type").unwrap().starts_with("text/plain; version=0.0.4"));
    assert!(plain.text().contains("# TYPE scanfence_replays_total counter\nscanfence_replays_total "), "{plain:?}");
    assert!(!plain.text().contains("# EOF") && !plain.text().contains("# UNIT"), "{plain:?}");
    let metrics = order.client.get("/metrics").await;
    assert!(metrics.header("content-type").unwrap().starts_with("application/openmetrics-text"));
    let text = metrics.text();
    // A metric that never counted anything yet (unsettled, leases without Redis) is not listed.
    for name in ["updates", "replays", "batch_size", "queue_depth", "fenced_off", "breaker_open", "http_requests"] {
        assert!(text.lines().any(|line| line.starts_with("# TYPE ") && line.contains(name)), "{name} in {text}");
    }
    assert!(text.contains("barcode-already-counted") && text.ends_with("# EOF\n"), "{text}");
    for secret in [&order.number, &key, &barcode, "/v1/path", "BREW"] {
        assert!(!text.contains(secret), "{secret} is a label");
    }
}

pub async fn a_client_that_goes_away_loses_and_doubles_nothing(shop: &Shop) {
    const CLIENTS: usize = 40;
    let order = shop.thousand().await;
    let scan = |n: usize| json!({ "counter": "input", "barcode": format!("B{n}") });
    let mut keys = Vec::new();
    for n in 0..CLIENTS {
        let (key, body) = (unique("k"), scan(n).to_string());
        let request = format!(
            "POST /v1/work-orders/{}/scans HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             idempotency-key: {key}\r\ncontent-length: {}\r\n\r\n{body}",
            order.number,
            body.len()
        );
        // The first half leave in mid-request, the others at once or a little after its end.
        let sent = if n < CLIENTS / 2 { request.len() * n / (CLIENTS / 2) } else { request.len() };
        let mut connection = order.client.connect().await.unwrap();
        connection.write_all(&request.as_bytes()[..sent]).await.unwrap();
        for _ in 0..n.saturating_sub(CLIENTS / 2) * 10 {
            tokio::task::yield_now().await;
        }
        drop(connection);
        keys.push(key);
    }
    for (n, key) in keys.iter().enumerate() {
        let reply = order.client.scan(&order.number, key, &scan(n)).await;
        assert_eq!(reply.status, 201, "{n}: {reply:?}");
        assert!(n >= CLIENTS / 2 || !reply.replayed(), "{n}: half a request counts nothing");
    }
    let standing = order.standing().await;
    assert_eq!((&standing["seq"], &standing["input_quantity"]), (&json!(CLIENTS), &json!(CLIENTS)));
    if let Some(database) = &shop.database {
        eventually("no transaction is left open", SOON, async || {
            (database.idle_in_transaction().await == 0).then_some(())
        })
        .await;
    }
}
