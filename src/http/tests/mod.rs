//! The HTTP layer in-process: real routes, edge and rules over a store in memory.

mod answers;
mod documented;
mod edges;
mod no_drift;
mod planning;
mod reads;
mod refusals;
mod shop;
mod sockets;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::http::header::HOST;
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt as _;

use self::no_drift::NoDrift;
use self::shop::Shop;
use super::edge::access::{Access, Mode, Peer};
use super::edge::layer::router;
use super::edge::limits::Limits;
use super::state::{Http, Parts};
use crate::alarms::Channels;
use crate::monitor::{self, Monitor};
use crate::schedule::Schedule;
use crate::telemetry::Metrics;

/// The service over a shop.
struct Service {
    shop: Arc<Shop>,
    http: Arc<Http>,
    routes: Router,
    stop: CancellationToken,
}

/// An answer, read whole.
#[derive(Debug)]
struct Reply {
    status: StatusCode,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Service {
    fn new() -> Self {
        Self::with(Limits::default(), Access::of(Mode::Loopback))
    }

    fn with(limits: Limits, access: Access) -> Self {
        let shop = Shop::new();
        let stop = CancellationToken::new();
        let metrics = Arc::new(Metrics::new());
        let (counter, store, lease) = (Arc::clone(&shop), Arc::clone(&shop), Arc::clone(&shop));
        let channels = Arc::new(Channels::default());
        let off = monitor::Settings { recent: Schedule::Off, full: Schedule::Off, repair: Vec::new() };
        let monitor = Arc::new(Monitor::new(Arc::new(NoDrift), Arc::clone(&metrics), "test".to_owned(), off));
        let parts = Parts { counter, store, lease, monitor, channels, weak_keys: Arc::default(), metrics };
        let http = Http::new(parts, access, limits, stop.clone());
        Self { shop, routes: router(Arc::clone(&http)), http, stop }
    }

    /// A service with work order W1, planned 500.
    async fn with_work_order() -> Self {
        let service = Self::new();
        let reply = service.put("/v1/work-orders/W1", r#"{"planned_quantity":500,"line":"L3"}"#).await;
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
        service
    }

    /// One line of a request, its headers, its body.
    async fn send(&self, line: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Reply {
        let (method, uri) = line.split_once(' ').expect("a method and a path");
        let mut request = Request::builder().method(method).uri(uri);
        if !headers.iter().any(|(name, _)| *name == "host") {
            request = request.header(HOST, "localhost:8080");
        }
        for (name, value) in headers {
            request = request.header(*name, value.as_bytes());
        }
        let mut request = request.body(body.into()).unwrap();
        request.extensions_mut().insert(Peer("127.0.0.1:4000".parse().unwrap()));
        let reply = self.routes.clone().oneshot(request).await.unwrap();
        let (parts, body) = reply.into_parts();
        let body = body.collect().await.unwrap().to_bytes().to_vec();
        let reply = Reply { status: parts.status, headers: parts.headers, body };
        documented::check(method, uri, &reply);
        reply
    }

    async fn get(&self, uri: &str) -> Reply {
        self.send(&format!("GET {uri}"), &[], Body::empty()).await
    }

    async fn put(&self, uri: &str, body: &str) -> Reply {
        self.send(&format!("PUT {uri}"), &[JSON], body.to_owned()).await
    }

    async fn scan(&self, key: &str, body: &str) -> Reply {
        self.send("POST /v1/work-orders/W1/scans", &[JSON, ("idempotency-key", key)], body.to_owned()).await
    }

    async fn correct(&self, key: &str, body: &str) -> Reply {
        self.send("POST /v1/work-orders/W1/corrections", &[JSON, ("idempotency-key", key)], body.to_owned()).await
    }

    async fn batch(&self, body: &str) -> Reply {
        self.send("POST /v1/scans", &[JSON], body.to_owned()).await
    }
}

const JSON: (&str, &str) = ("content-type", "application/json");

impl Reply {
    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// The problem that it is, checked for what all problems share.
    fn problem(&self) -> Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{problem}");
        assert_eq!(problem["type"], format!("/problems/{}", problem["code"].as_str().unwrap()), "{problem}");
        for member in ["title", "detail"] {
            assert!(!problem[member].as_str().unwrap().is_empty(), "{problem}");
        }
        assert_eq!(self.header("vary"), "Accept-Language");
        assert_eq!(self.header("x-content-type-options"), "nosniff");
        problem
    }

    fn code(&self) -> String {
        self.problem()["code"].as_str().unwrap().to_owned()
    }
}
