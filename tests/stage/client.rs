//! A client without redirects and retries.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::header::{CONTENT_TYPE, HeaderMap};
use hyper::{Method, Request, StatusCode, Uri};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// A client of one service. Clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    base: String,
    http: legacy::Client<HttpConnector, Full<Bytes>>,
    check: Option<Check>,
}

/// Looks at every answer: the method and path that were asked for, and the answer.
pub type Check = fn(&str, &str, &Reply);

/// An answer, whole.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The status code.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, byte by byte.
    pub body: Bytes,
}

/// No answer, or only a part of one.
pub type Broken = Box<dyn std::error::Error + Send + Sync>;

impl Client {
    /// A client of the service at this URL, without a slash at its end.
    pub fn new(base_url: &str) -> Self {
        Self::connecting(base_url, None)
    }

    /// A client whose connections come from this address of the machine.
    pub fn coming_from(base_url: &str, address: IpAddr) -> Self {
        Self::connecting(base_url, Some(address))
    }

    fn connecting(base_url: &str, from: Option<IpAddr>) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        connector.set_local_address(from);
        // A request is sent once: whether it may be sent again is what is tested here. So a connection must
        // not be taken in the moment in which the service closes it, after 10 s without a request.
        let mut http = legacy::Client::builder(TokioExecutor::new());
        http.retry_canceled_requests(false).pool_idle_timeout(Duration::from_secs(5));
        let http = http.build(connector);
        Self { base: base_url.to_owned(), http, check: None }
    }

    /// The same client, with a check of every answer.
    pub fn checked_by(self, check: Check) -> Self {
        Self { check: Some(check), ..self }
    }

    /// Any request with any body; `headers` as sent.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn request(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Reply, Broken> {
        let uri: Uri = format!("{}{path}", self.base).parse()?;
        let mut request = Request::builder().method(Method::from_bytes(method.as_bytes())?).uri(uri);
        for &(name, value) in headers {
            request = request.header(name, value);
        }
        let answer = self.http.request(request.body(Full::new(body.into()))?).await?;
        let (head, body) = answer.into_parts();
        let reply = Reply { status: head.status, headers: head.headers, body: body.collect().await?.to_bytes() };
        if let Some(check) = self.check {
            check(method, path, &reply);
        }
        Ok(reply)
    }

    /// GETs a path.
    pub async fn get(&self, path: &str) -> Reply {
        answered(self.request("GET", path, &[], "").await)
    }

    /// Creates or replaces a work order, from what planning owns.
    pub async fn put_work_order(&self, work_order: &str, plan: &Value) -> Reply {
        answered(self.json("PUT", &format!("/v1/work-orders/{work_order}"), &[], plan).await)
    }

    /// Sets or lifts a hold.
    pub async fn patch_work_order(&self, work_order: &str, hold: &Value) -> Reply {
        answered(self.json("PATCH", &format!("/v1/work-orders/{work_order}"), &[], hold).await)
    }

    /// The work order as it is.
    pub async fn work_order(&self, work_order: &str) -> Value {
        self.get(&format!("/v1/work-orders/{work_order}")).await.json()
    }

    /// Sends a scan or unbind under a request id.
    pub async fn scan(&self, work_order: &str, key: &str, scan: &Value) -> Reply {
        answered(self.try_scan(work_order, key, scan).await)
    }

    /// The same, if no answer is a possible outcome.
    ///
    /// # Errors
    /// If no whole answer came: the scan may be counted or not.
    pub async fn try_scan(&self, work_order: &str, key: &str, scan: &Value) -> Result<Reply, Broken> {
        self.json("POST", &format!("/v1/work-orders/{work_order}/scans"), &[("idempotency-key", key)], scan).await
    }

    /// Sends a correction under a request id.
    pub async fn correct(&self, work_order: &str, key: &str, correction: &Value) -> Reply {
        let path = format!("/v1/work-orders/{work_order}/corrections");
        answered(self.json("POST", &path, &[("idempotency-key", key)], correction).await)
    }

    /// Sends a batch of scans.
    pub async fn batch(&self, scans: &[Value]) -> Reply {
        answered(self.json("POST", "/v1/scans", &[], &serde_json::json!({ "scans": scans })).await)
    }

    /// A request with a JSON body.
    ///
    /// # Errors
    /// Where no whole answer came.
    pub async fn json(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &Value,
    ) -> Result<Reply, Broken> {
        let mut all = vec![(CONTENT_TYPE.as_str(), "application/json")];
        all.extend(headers);
        self.request(method, path, &all, body.to_string()).await
    }

    /// Sends bytes on a connection of their own, and returns what comes until its end.
    ///
    /// # Errors
    /// Where the connection can't be made, or breaks.
    pub async fn raw(&self, bytes: &[u8]) -> std::io::Result<Vec<u8>> {
        let mut connection = self.connect().await?;
        connection.write_all(bytes).await?;
        let mut answer = Vec::new();
        connection.read_to_end(&mut answer).await?;
        Ok(answer)
    }

    /// A bare connection to the service.
    ///
    /// # Errors
    /// Where it can't be made.
    pub async fn connect(&self) -> std::io::Result<TcpStream> {
        let address: SocketAddr = self.base.trim_start_matches("http://").parse().expect("an address of loopback");
        TcpStream::connect(address).await
    }
}

impl Reply {
    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("no JSON ({error}): {self:?}"))
    }

    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("the body is UTF-8")
    }

    /// A header, where it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Whether it was decided before this request.
    pub fn replayed(&self) -> bool {
        self.header("idempotency-replayed") == Some("true")
    }

    /// The code of a problem.
    pub fn code(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/problem+json"), "{self:?}");
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

fn answered(reply: Result<Reply, Broken>) -> Reply {
    reply.unwrap_or_else(|error| panic!("no answer: {error:?}"))
}
