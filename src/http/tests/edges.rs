//! The edge: methods, languages, limits, time, defects, stopping.

use std::time::Duration;

use axum::body::Body;
use serde_json::json;
use tokio::task::yield_now;

use super::shop::Mood;
use super::{JSON, Service};
use crate::http::access::{Access, Mode};
use crate::http::{Code, Limits, ROUTES};
use crate::lease::Health;
use crate::store::Readiness;

#[tokio::test]
async fn a_path_says_which_methods_it_takes() {
    let service = Service::with_work_order().await;
    for (line, allow) in [
        ("DELETE /v1/work-orders/W1", "PUT,PATCH,GET,HEAD"),
        ("GET /v1/work-orders/W1/scans", "POST"),
        ("GET /v1/scans", "POST"),
        ("POST /v1/updates", "GET,HEAD"),
        ("OPTIONS /v1/scans", "POST"),
        ("BREW /livez", "GET,HEAD"),
    ] {
        let reply = service.send(line, &[JSON], "{}").await;
        assert_eq!((reply.status.as_u16(), reply.code().as_str()), (405, "method-not-allowed"), "{line}");
        assert_eq!(reply.header("allow"), allow, "{line}");
    }
}

#[tokio::test]
async fn head_works_where_get_does() {
    let service = Service::with_work_order().await;
    for path in ["/v1/work-orders/W1", "/v1/work-orders", "/v1/work-orders/W9", "/livez", "/openapi.yaml"] {
        let get = service.get(path).await;
        let head = service.send(&format!("HEAD {path}"), &[], Body::empty()).await;
        assert_eq!((head.status, head.body.len()), (get.status, 0), "{path}");
        assert_eq!(head.header("content-length"), get.body.len().to_string(), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
    }
}

#[tokio::test]
async fn a_problem_speaks_the_callers_language_and_explains_itself() {
    let service = Service::with_work_order().await;
    for (language, tag, title) in [
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh-CN", "工单不存在"),
        ("zh-TW;q=0, zh-CN, en;q=0.5", "zh-CN", "工单不存在"),
        ("de", "en", "There is no such work order"),
    ] {
        let reply = service.send("GET /v1/work-orders/W9", &[("accept-language", language)], "").await;
        assert_eq!((reply.header("content-language"), &reply.problem()["title"]), (tag, &json!(title)));
        let explained = service.send("GET /problems/work-order-unknown", &[("accept-language", language)], "").await;
        assert_eq!((explained.status.as_u16(), explained.header("content-language")), (200, tag));
        assert!(explained.text().contains(title), "{explained:?}");
        let batch = r#"{"scans":[{"request_id":"k1","work_order":"W9","counter":"input"}]}"#;
        let batch = service.send("POST /v1/scans", &[JSON, ("accept-language", language)], batch).await;
        assert_eq!(batch.json()["results"][0]["problem"]["title"], title);
    }
    for code in Code::ALL {
        assert_eq!(service.get(&format!("/problems/{}", code.word())).await.status, 200, "{code:?}");
    }
}

#[tokio::test]
async fn a_client_that_goes_away_cancels_nothing() {
    let service = Service::with_work_order().await;
    service.shop.mood(Mood::HoldsBack);
    {
        let request = service.scan("k1", r#"{"counter":"input"}"#);
        tokio::pin!(request);
        tokio::select! {
            reply = &mut request => panic!("answered before it was decided: {reply:?}"),
            () = service.shop.handed_in.notified() => {}
        }
    }
    assert_eq!(service.shop.release(), 0, "nobody takes the answer");
    service.shop.mood(Mood::Good);
    let again = service.scan("k1", r#"{"counter":"input"}"#).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
}

#[tokio::test]
async fn planning_goes_on_without_its_client_and_is_waited_for() {
    let service = Service::with_work_order().await;
    service.shop.mood(Mood::HoldsBack);
    {
        let request = service.put("/v1/work-orders/W2", r#"{"planned_quantity":7}"#);
        tokio::pin!(request);
        tokio::select! {
            reply = &mut request => panic!("answered before it was written: {reply:?}"),
            () = service.shop.handed_in.notified() => {}
        }
    }
    assert_eq!(service.http.tasks.len(), 1, "its task goes on without it");
    service.shop.mood(Mood::Good);
    service.shop.release();
    service.http.tasks.close();
    service.http.tasks.wait().await;
    assert_eq!(service.get("/v1/work-orders/W2").await.json()["planned_quantity"], 7);
}

#[tokio::test(start_paused = true)]
async fn a_request_that_takes_too_long_is_503_and_goes_on() {
    let service = Service::with_work_order().await;
    service.shop.mood(Mood::HoldsBack);
    let late = service.scan("k1", r#"{"counter":"input"}"#).await;
    let problem = late.problem();
    assert_eq!((late.status.as_u16(), &problem["code"]), (503, &json!("timed-out")));
    assert_eq!((&problem["applied"], &problem["retryable"]), (&json!("unknown"), &json!(true)));
    assert_eq!(problem["request_id"], "k1", "to ask after it");
    service.shop.mood(Mood::Good);
    let again = service.scan("k1", r#"{"counter":"input"}"#).await;
    assert_eq!((again.status.as_u16(), again.header("idempotency-replayed")), (201, "true"));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_does_not_arrive_is_408_and_frees_its_place() {
    let limits = Limits { in_flight: 1, ..Limits::default() };
    let service = Service::with(limits, Access::of(Mode::Loopback));
    let never = Body::from_stream(futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>());
    let reply = service.send("POST /v1/scans", &[JSON], never).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (408, "request-timeout"));
    assert_eq!(service.get("/v1/work-orders").await.status, 200);
    let broken = futures_util::stream::iter([Err::<bytes::Bytes, _>(std::io::Error::other("gone"))]);
    let reply = service.send("POST /v1/scans", &[JSON], Body::from_stream(broken)).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (400, "malformed-request"));
}

#[tokio::test]
async fn a_body_of_unknown_length_is_read_no_further_than_its_limit() {
    let service = Service::with_work_order().await;
    let chunk = || Ok::<_, std::io::Error>(bytes::Bytes::from(vec![b' '; 1024]));
    let endless = Body::from_stream(futures_util::stream::repeat_with(chunk));
    let line = "POST /v1/work-orders/W1/scans";
    let reply = service.send(line, &[JSON, ("idempotency-key", "k1")], endless).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (413, "body-too-large"));
}

#[tokio::test]
async fn past_the_requests_in_flight_all_but_health_is_503() {
    let service = Service::with(Limits { in_flight: 1, ..Limits::default() }, Access::of(Mode::Loopback));
    service.put("/v1/work-orders/W1", r#"{"planned_quantity":1}"#).await;
    service.shop.mood(Mood::HoldsBack);
    let waiting = service.scan("k1", r#"{"counter":"input"}"#);
    tokio::pin!(waiting);
    tokio::select! {
        reply = &mut waiting => panic!("{reply:?}"),
        () = service.shop.handed_in.notified() => {}
    }
    let shed = service.scan("k2", r#"{"counter":"input"}"#).await;
    assert_eq!((shed.status.as_u16(), shed.code().as_str()), (503, "overloaded"));
    assert_eq!((shed.header("retry-after"), &shed.problem()["applied"]), ("1", &json!("unknown")));
    assert_eq!(shed.problem()["request_id"], "k2");
    for open in ["/livez", "/readyz", "/openapi.yaml", "/problems/overloaded"] {
        assert_eq!(service.get(open).await.status, 200, "{open}");
    }
    service.shop.release();
    assert_eq!(waiting.await.status, 201);
    assert_eq!(service.get("/metrics").await.status, 200);
}

#[tokio::test]
async fn a_defect_is_a_500_of_unknown_effect() {
    let service = Service::with_work_order().await;
    for mood in [Mood::Panics, Mood::Gone] {
        service.shop.mood(mood);
        let reply = service.scan("k1", r#"{"counter":"input"}"#).await;
        let problem = reply.problem();
        assert_eq!((reply.status.as_u16(), &problem["code"]), (500, &json!("internal-error")));
        assert_eq!((&problem["applied"], &problem["retryable"]), (&json!("unknown"), &json!(true)));
        assert_eq!(problem["request_id"], "k1");
    }
    service.shop.mood(Mood::Panics);
    assert_eq!(service.put("/v1/work-orders/W2", r#"{"planned_quantity":1}"#).await.code(), "internal-error");
    service.shop.mood(Mood::Good);
    assert_eq!(service.scan("k1", r#"{"counter":"input"}"#).await.status, 201);
}

#[tokio::test]
async fn only_the_open_routes_answer_strangers() {
    let service = Service::new();
    let far = ("host", "factory.example");
    for (method, path) in ROUTES {
        let open = ["/livez", "/readyz", "/openapi.yaml", "/problems/{code}"].contains(path);
        let reply = service.send(&format!("{method} {}", path.replace(['{', '}'], "")), &[far], "").await;
        assert_eq!(reply.status == 401, !open, "{method} {path} {reply:?}");
    }
    assert_eq!(service.send("GET /unheard-of", &[far], "").await.status, 401);
    let open = Service::with(Limits::default(), Access::of(Mode::Open));
    open.put("/v1/work-orders/W1", r#"{"planned_quantity":1}"#).await;
    let line = "POST /v1/work-orders/W1/scans";
    let scan = async |host| {
        let headers = [("host", host), ("x-real-ip", "10.0.0.7"), JSON, ("idempotency-key", "k1")];
        open.send(line, &headers, r#"{"counter":"input"}"#).await
    };
    assert_eq!(scan("factory.example").await.code(), "forbidden", "a name that is not ours");
    assert_eq!(scan("10.0.0.2:8080").await.json()["recorded_by"], "open");
    let from_a_page = [("origin", "http://page.example"), JSON];
    let reply = open.send("PUT /v1/work-orders/W1", &from_a_page, r#"{"planned_quantity":7}"#).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (403, "forbidden"));
}

#[tokio::test]
async fn a_stopping_service_says_so() {
    let service = Service::with_work_order().await;
    service.stop.cancel();
    let reply = service.scan("k1", r#"{"counter":"input"}"#).await;
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (503, "shutting-down"));
    assert_eq!((reply.header("connection"), &reply.problem()["applied"]), ("close", &json!("unknown")));
    assert_eq!(service.get("/v1/work-orders").await.code(), "shutting-down");
    let ready = service.get("/readyz").await;
    assert_eq!((ready.status.as_u16(), &ready.json()["status"]), (503, &json!("fail")));
    assert_eq!(service.get("/livez").await.status, 200);
}

#[tokio::test(start_paused = true)]
async fn readiness_follows_the_store_and_spares_it() {
    let service = Service::new();
    let readiness = |writable, migrated| Some(Readiness { writable, migrated, synchronous_standby: true });
    for (store, lease, status, word, storage, migrations) in [
        (readiness(true, true), Health::Good, 200, "ok", "ok", "ok"),
        (readiness(true, true), Health::RowsAlone, 200, "ok", "ok", "ok"),
        (readiness(true, true), Health::Away, 200, "warn", "ok", "ok"),
        (readiness(true, true), Health::Refusing, 503, "fail", "ok", "ok"),
        (readiness(false, true), Health::Good, 503, "fail", "fail", "ok"),
        (readiness(true, false), Health::Away, 503, "fail", "ok", "fail"),
    ] {
        service.shop.with(|state| (state.readiness, state.lease) = (store, lease));
        let reply = service.get("/readyz").await;
        let report = reply.json();
        assert_eq!((reply.status.as_u16(), &report["status"]), (status, &json!(word)), "{report}");
        let checks = &report["checks"];
        assert_eq!(
            (
                &checks["storage"]["status"],
                &checks["migrations"]["status"],
                &checks["durability"]["synchronous_standby"]
            ),
            (&json!(storage), &json!(migrations), &json!(true)),
            "{report}"
        );
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    let asked = service.shop.with(|state| std::mem::take(&mut state.asked_if_ready));
    assert_eq!(asked, 6);

    service.shop.with(|state| state.readiness = None);
    for _ in 0..10 {
        let reply = service.get("/readyz").await;
        assert_eq!((reply.status.as_u16(), &reply.json()["checks"]["storage"]["status"]), (503, &json!("fail")));
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    assert_eq!(service.shop.with(|state| state.asked_if_ready), 1, "a question under way is not asked again");
    yield_now().await;
}

#[tokio::test]
async fn requests_are_counted_by_matched_route_alone() {
    let service = Service::with_work_order().await;
    service.scan("k1", r#"{"counter":"input"}"#).await;
    service.get("/v1/work-orders/W9").await;
    service.get("/secret-path").await;
    service.send("BREW /livez", &[], "").await;
    let metrics = service.get("/metrics").await;
    let text = metrics.text();
    for line in [
        r#"method="POST",route="/v1/work-orders/{work_order}/scans",status="201"} 1"#,
        r#"method="GET",route="/v1/work-orders/{work_order}",status="404"} 1"#,
        r#"method="GET",route="",status="404"} 1"#,
        r#"method="OTHER",route="/livez",status="405"} 1"#,
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
    assert!(!text.contains("W9") && !text.contains("secret"), "{text}");
}
