//! The service of the demo: the real service, with the embedded database, on a free loopback port.
//! Its data is in a folder that is removed at the end.

use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use reqwest::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::audit::Row;
use super::exchange::{Answer, Arrival, Destination, Scan};
use super::failure::Failure;
use crate::config::{BadConfig, Config, Settings};

const WORK_ORDER: &str = "DEMO-1";
/// Much longer than a commit of the embedded database takes.
const ANSWER_LIMIT: Duration = Duration::from_secs(5);

/// The service, seen by a client.
pub struct Service {
    base: String,
    client: reqwest::Client,
}

impl Service {
    /// The service that listens at this address, or will soon.
    pub fn at(address: SocketAddr) -> Result<Self, Failure> {
        // The demo uses plain HTTP, but the client needs a provider. An installed one is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder().no_proxy().timeout(ANSWER_LIMIT).build()?;
        Ok(Self { base: format!("http://{address}/v1"), client })
    }

    /// Creates the work order of the demo.
    pub async fn plan(&self) -> Result<(), Failure> {
        let plan = json!({"planned_quantity": 1000, "over_plan_allowance": null, "product_name": "demo"});
        let sent = self.client.put(format!("{}/work-orders/{WORK_ORDER}", self.base)).json(&plan).send();
        good(sent.await?).map(drop)
    }

    /// The quantity of the work order.
    pub async fn quantity(&self) -> Result<i64, Failure> {
        #[derive(Deserialize)]
        struct WorkOrder {
            input_quantity: i64,
        }
        let answer = self.client.get(format!("{}/work-orders/{WORK_ORDER}", self.base)).send().await?;
        Ok(good(answer)?.json::<WorkOrder>().await?.input_quantity)
    }

    /// The whole log, newest first.
    pub async fn log(&self) -> Result<Vec<Row>, Failure> {
        #[derive(Deserialize)]
        struct Page {
            items: Vec<Row>,
            next_cursor: Option<String>,
        }
        let mut rows = Vec::new();
        let mut cursor = String::new();
        loop {
            let url = format!("{}/work-orders/{WORK_ORDER}/updates?limit=500{cursor}", self.base);
            let page: Page = good(self.client.get(url).send().await?)?.json().await?;
            rows.extend(page.items);
            match page.next_cursor {
                Some(next) => cursor = format!("&cursor={next}"),
                None => return Ok(rows),
            }
        }
    }
}

impl Destination for Service {
    async fn deliver(&self, scan: &Scan) -> Option<Arrival> {
        let sent = self
            .client
            .post(format!("{}/work-orders/{WORK_ORDER}/scans", self.base))
            .header("idempotency-key", &scan.request_id)
            .json(&json!({"counter": "input", "barcode": scan.barcode, "step": "P010", "terminal": scan.terminal}))
            .send();
        let answer = sent.await.ok()?;
        let repeat = answer.headers().get("idempotency-replayed").is_some();
        let status = answer.status();
        // The body is read to its end, so that the connection can be used again.
        let body: Value = answer.json().await.ok()?;
        let answer = match (status, body["code"].as_str()) {
            (StatusCode::CREATED, _) => Answer::Counted,
            (StatusCode::CONFLICT, Some("barcode-already-counted")) => Answer::CountedBefore,
            _ => Answer::NotNow,
        };
        Some(Arrival { answer, repeat })
    }
}

/// A folder that is removed with its content.
pub struct Folder(PathBuf);

impl Folder {
    /// Makes one in `parent`. Only this user may open it.
    pub fn make(parent: &Path) -> Result<Self, Failure> {
        let path = parent.join(format!("scanfence-demo-{}", Uuid::now_v7()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).map_err(|cause| Failure::Folder(parent.into(), cause))?;
        Ok(Self(path))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if let Err(problem) = std::fs::remove_dir_all(&self.0) {
            eprintln!(
                "scanfence: the folder {} could not be removed: {problem}. Remove it yourself.",
                self.0.display()
            );
        }
    }
}

impl From<reqwest::Error> for Failure {
    fn from(error: reqwest::Error) -> Self {
        Self::Unreachable(Box::new(error))
    }
}

fn good(answer: Response) -> Result<Response, Failure> {
    match answer.status().is_success() {
        true => Ok(answer),
        false => Err(Failure::Unexpected(format!("answered {}", answer.status()))),
    }
}

/// The settings of the embedded deployment. The settings of the user are not used.
pub fn config(listen: SocketAddr, data: &Folder) -> Result<Config, BadConfig> {
    let data = data.0.to_string_lossy().into_owned();
    Settings::defaults_but(&[("listen", listen.to_string()), ("data", data)]).read()
}
