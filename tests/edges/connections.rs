//! Connections: idle ones, too many of them, and clients that do not read, or send byte by byte.

use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::task::JoinSet;

use super::{embedded, rest};
use crate::stage::{SOON, eventually};

#[tokio::test]
async fn a_connection_may_be_idle_for_longer_than_a_head_may_take() {
    let (service, _folder) =
        embedded(|setup| setup.set("SCANFENCE_HEADER_TIMEOUT", "300ms").set("SCANFENCE_IDLE_TIMEOUT", "2s")).await;
    let get = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut connection = service.client().connect().await.unwrap();
    for _ in 0..2 {
        connection.write_all(get).await.unwrap();
        let mut answer = [0; 512];
        let read = connection.read(&mut answer).await.unwrap();
        assert!(answer[..read].starts_with(b"HTTP/1.1 200 OK"), "{:?}", String::from_utf8_lossy(&answer[..read]));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let answer = rest(connection).await;
    assert_eq!(answer, "", "it is closed without a word");
}

#[tokio::test]
async fn beyond_the_limit_of_connections_health_and_metrics_are_answered_and_all_else_is_told_so() {
    let (service, _folder) =
        embedded(|setup| setup.set("SCANFENCE_MAX_CONNECTIONS", "2").set("SCANFENCE_HEADER_TIMEOUT", "20s")).await;
    let mut slow = Vec::new();
    eventually("all places are taken", SOON, async || {
        slow.push(service.client().connect().await.unwrap());
        // A place may still be that of a client that has just gone.
        for _ in 0..10 {
            let reply = service.client().get("/livez").await;
            (reply.header("connection") == Some("close")).then_some(())?;
        }
        Some(())
    })
    .await;
    let reply = service.client().get("/v1/work-orders").await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
    for path in ["/livez", "/readyz", "/metrics"] {
        let reply = service.client().get(path).await;
        assert_eq!(reply.status, StatusCode::OK, "{path}");
        assert_eq!(reply.header("connection"), Some("close"), "{path}: the place is for the next one");
    }
    let metrics = service.client().get("/metrics").await.text();
    assert!(metrics.contains("scanfence_connections "), "{metrics}");
    let log = service.log();
    assert_eq!(log.matches("all connections are used (max").count(), 1, "{log}");
}

#[tokio::test]
async fn clients_that_never_read_lose_their_connections() {
    let (service, _folder) =
        embedded(|setup| setup.set("SCANFENCE_MAX_CONNECTIONS", "8").set("SCANFENCE_WRITE_TIMEOUT", "1s")).await;
    let get = "GET /openapi.yaml HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(400);
    let mut greedy = Vec::new();
    for _ in 0..8 {
        let mut connection = service.client().connect().await.unwrap();
        // The service stops reading too.
        let _ = tokio::time::timeout(Duration::from_millis(200), connection.write_all(get.as_bytes())).await;
        greedy.push(connection);
    }
    assert_eq!(service.client().get("/livez").await.status, StatusCode::OK);
    eventually("they are cut off", SOON, async || {
        (service.client().get("/v1/work-orders").await.status == StatusCode::OK).then_some(())
    })
    .await;
    drop(greedy);
}

#[tokio::test]
async fn a_client_that_closes_its_half_after_the_request_is_answered() {
    let (service, _folder) = embedded(|setup| setup).await;
    service.client().put_work_order("W1", &json!({ "planned_quantity": 5 })).await;
    let scan = "POST /v1/work-orders/W1/scans HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k1\r\n\
                Content-Type: application/json\r\nContent-Length: 19\r\n\r\n{\"counter\":\"input\"}";
    let mut connection = service.client().connect().await.unwrap();
    connection.write_all(scan.as_bytes()).await.unwrap();
    connection.shutdown().await.unwrap();
    let answer = rest(connection).await;
    assert!(answer.starts_with("HTTP/1.1 201 "), "{answer}");
}

#[tokio::test]
async fn bodies_that_come_byte_by_byte_take_no_more_memory_than_their_size() {
    let (service, _folder) = embedded(|setup| setup).await;
    assert_eq!(service.client().get("/livez").await.status, StatusCode::OK);
    let before = service.memory();
    let mut clients = JoinSet::new();
    for path in ["POST /v1/work-orders/W1/scans", "POST /livez", "GET /livez", "POST /v1/scans"].repeat(5) {
        let mut connection = service.client().connect().await.unwrap();
        clients.spawn(async move {
            let head = format!(
                "{path} HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k\r\n\
                 Content-Type: application/json\r\nContent-Length: 16000\r\n\r\n"
            );
            connection.write_all(head.as_bytes()).await.unwrap();
            for _ in 0..3000 {
                // Whoever reads no body may close.
                if connection.write_all(b" ").await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_micros(300)).await;
            }
            connection
        });
    }
    let connections = clients.join_all().await;
    let after = service.memory();
    assert!(after < before + 32 * 1024, "from {before} to {after} KiB");
    drop(connections);
}
