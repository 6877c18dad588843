//! What only shows on a socket: broken requests, slow ones, stopping.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::Service;
use super::shop::Mood;
use crate::http::Limits;
use crate::http::access::{Access, Mode};
use crate::http::server::{Drained, serve};

/// The service on a port.
async fn listening(limits: Limits) -> (Service, SocketAddr, JoinHandle<Drained>) {
    let service = Service::with(limits, Access::of(Mode::Loopback));
    service.put("/v1/work-orders/W1", r#"{"planned_quantity":9}"#).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(serve(listener, service.http.clone()));
    (service, address, server)
}

fn limits() -> Limits {
    Limits { linger: Duration::ZERO, grace: Duration::from_secs(5), ..Limits::default() }
}

async fn all_of(mut socket: TcpStream) -> String {
    let mut reply = Vec::new();
    socket.read_to_end(&mut reply).await.unwrap();
    String::from_utf8(reply).unwrap()
}

const SCAN: &str = "POST /v1/work-orders/W1/scans HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                    Idempotency-Key: k1\r\nContent-Length: 19\r\n\r\n{\"counter\":\"input\"}";
const PLANNING: &str = "PUT /v1/work-orders/W2 HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
                        Content-Length: 22\r\n\r\n{\"planned_quantity\":7}";

#[tokio::test]
async fn what_is_not_http_leaves_as_a_problem_too() {
    let (_service, address, _server) = listening(limits()).await;
    let large_header = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Large: {}\r\n\r\n", "x".repeat(17 * 1024));
    let many_headers = format!("GET /livez HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "A: b\r\n".repeat(101));
    for (sent, status, code) in [
        ("\u{16}\u{3}\u{1} hello\r\n\r\n", 400, "malformed-request"),
        ("GET  HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        ("GET /livez HTTP/3.0\r\n\r\n", 400, "malformed-request"),
        ("GE\u{1}T /livez HTTP/1.1\r\n\r\n", 400, "malformed-request"),
        ("GET /livez HTTP/1.1\r\nno colon\r\n\r\n", 400, "malformed-request"),
        ("POST /v1/scans HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400, "malformed-request"),
        ("POST /v1/scans HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400, "malformed-request"),
        (&large_header, 431, "headers-too-large"),
        (&many_headers, 431, "headers-too-large"),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let reply = all_of(socket).await;
        let (head, body) = reply.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{sent:.60}: {reply}");
        assert!(head.contains("application/problem+json"), "{sent:.60}: {reply}");
        let problem: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!((&problem["code"], &problem["status"]), (&code.into(), &status.into()), "{sent:.60}");
        assert!(head.contains(&format!("content-length: {}", body.len())), "{reply}");
    }
}

#[tokio::test]
async fn unusual_but_valid_http_is_answered_by_the_routes() {
    let (_service, address, _server) = listening(limits()).await;
    let with = |line: &str| format!("{line} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n");
    let chunked = "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    for (sent, status, code) in [
        (with("GET http://localhost/livez") + "\r\n", 200, ""),
        (with("GET /livez") + "Host: localhost\r\n\r\n", 400, "malformed-request"),
        ("GET /livez HTTP/1.1\r\nConnection: close\r\n\r\n".to_owned(), 400, "malformed-request"),
        (with("OPTIONS *") + "\r\n", 404, "not-found"),
        (with("CONNECT localhost:443") + "\r\n", 404, "not-found"),
        (with("BREW /livez") + "\r\n", 405, "method-not-allowed"),
        (with("GET /v1/work-orders/%00") + "\r\n", 422, "invalid-field"),
        (with("POST /v1/scans") + chunked + "zz\r\n{}\r\n0\r\n\r\n", 400, "malformed-request"),
        (with("POST /v1/scans") + chunked + "2\r\n{}\r\n0\r\n\r\n", 422, "invalid-field"),
    ] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(sent.as_bytes()).await.unwrap();
        let reply = all_of(socket).await;
        assert!(reply.starts_with(&format!("HTTP/1.1 {status} ")), "{sent:?}: {reply}");
        assert!(reply.contains(&format!("\"code\":\"{code}\"")) || code.is_empty(), "{sent:?}: {reply}");
    }
}

#[tokio::test]
async fn a_request_that_is_stopped_upon_is_answered_before_the_service_ends() {
    let (service, address, server) = listening(limits()).await;
    service.shop.mood(Mood::HoldsBack);
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(SCAN.as_bytes()).await.unwrap();
    service.shop.handed_in.notified().await;
    service.stop.cancel();
    while TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert!(!server.is_finished());
    assert_eq!(service.shop.release(), 1);
    assert!(all_of(socket).await.starts_with("HTTP/1.1 201 "));
    assert_eq!(server.await.unwrap(), Drained { connections_cut: 0, requests_left: 0 });
}

#[tokio::test]
async fn a_stopping_service_waits_no_longer_than_its_grace() {
    let (service, address, server) = listening(Limits { grace: Duration::from_millis(50), ..limits() }).await;
    service.shop.mood(Mood::HoldsBack);
    let mut sockets = Vec::new();
    for request in [SCAN, PLANNING] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        socket.write_all(request.as_bytes()).await.unwrap();
        service.shop.handed_in.notified().await;
        sockets.push(socket);
    }
    service.stop.cancel();
    // The scan belongs to counting, which is stopped later and waits for it.
    assert_eq!(server.await.unwrap(), Drained { connections_cut: 2, requests_left: 1 });
}

#[tokio::test]
async fn a_lingering_service_tells_new_connections_that_it_stops() {
    let linger = Duration::from_secs(60);
    let (service, address, server) = listening(Limits { linger, grace: 2 * linger, ..limits() }).await;
    service.stop.cancel();
    for (path, status) in [("/readyz", 503), ("/v1/work-orders", 503), ("/livez", 200)] {
        let mut socket = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.unwrap();
        assert!(all_of(socket).await.starts_with(&format!("HTTP/1.1 {status} ")), "{path}");
    }
    server.abort();
}

#[tokio::test]
async fn headers_that_trickle_in_too_slowly_end_the_connection() {
    let (_service, address, _server) = listening(Limits { header_read: Duration::from_millis(50), ..limits() }).await;
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /livez HTTP/1.1\r\nHost:").await.unwrap();
    all_of(socket).await;
}

#[tokio::test]
async fn past_all_connections_a_new_one_waits_for_its_turn() {
    // One, and those that are kept for health.
    let (_service, address, _server) = listening(Limits { connections: 1, ..limits() }).await;
    let mut all = Vec::new();
    for _ in 0..1 + crate::http::edge::places::KEPT {
        all.push(TcpStream::connect(address).await.unwrap());
    }
    let mut last = TcpStream::connect(address).await.unwrap();
    let request = b"GET /livez HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    last.write_all(request).await.unwrap();
    let mut byte = [0];
    let waits = tokio::time::timeout(Duration::from_millis(50), last.peek(&mut byte)).await;
    assert!(waits.is_err(), "it is not served beside them");
    drop(all.pop());
    assert!(all_of(last).await.starts_with("HTTP/1.1 200 "));
}
