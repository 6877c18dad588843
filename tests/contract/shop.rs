//! The set-ups, and a work order to try things on.

use std::sync::{Arc, LazyLock, Weak};

use scanfence::http::OPENAPI;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::stage::client::{Client, Reply};
use crate::stage::document::Document;
use crate::stage::postgres::Database;
use crate::stage::service::{Service, Setup};
use crate::stage::{redis_url, unique};

/// Which set-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// SQLite and a lease in the process.
    Embedded,
    /// PostgreSQL and Redis.
    Shared,
    /// PostgreSQL without Redis.
    RowsAlone,
}

/// A running service with its store; gone when the last test that uses it is.
pub struct Shop {
    pub kind: Kind,
    pub service: Service,
    pub setup: Setup,
    pub database: Option<Database>,
    pub folder: TempDir,
}

static OPEN: [Mutex<Weak<Shop>>; 3] = [const { Mutex::const_new(Weak::new()) }; 3];

/// The shop of this set-up that the tests share, opened where nobody has it open.
pub async fn open(kind: Kind) -> Arc<Shop> {
    let mut shared = OPEN[kind as usize].lock().await;
    if let Some(shop) = shared.upgrade() {
        return shop;
    }
    let shop = Arc::new(Shop::own(kind).await);
    *shared = Arc::downgrade(&shop);
    shop
}

impl Shop {
    /// A shop of one's own, to be stopped and started at will.
    pub async fn own(kind: Kind) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let database = match kind {
            Kind::Embedded => None,
            Kind::Shared | Kind::RowsAlone => Some(Database::fresh().await),
        };
        let setup = match &database {
            None => Setup::embedded(&folder.path().join("data")),
            Some(database) => Setup::shared(database.url()),
        };
        let setup = if kind == Kind::Shared { setup.redis(&redis_url()) } else { setup };
        let service = setup.start().await;
        Self { kind, service, setup, database, folder }
    }

    /// A client of this test's own.
    pub fn client(&self) -> Client {
        documented(&self.service)
    }

    /// A fresh work order with this plan.
    pub async fn order(&self, plan: &Value) -> Order {
        let order = Order { client: self.client(), number: unique("P") };
        let made = order.client.put_work_order(&order.number, plan).await;
        assert_eq!(made.status, 201, "{made:?}");
        order
    }

    /// A fresh work order of a thousand pieces.
    pub async fn thousand(&self) -> Order {
        self.order(&json!({ "planned_quantity": 1000 })).await
    }
}

/// A client of a service, whose every answer is as `openapi.yaml` says.
pub fn documented(service: &Service) -> Client {
    static DOCUMENT: LazyLock<Document> = LazyLock::new(|| Document::of(OPENAPI));
    service.client().checked_by(|method, path, reply| {
        let checked = DOCUMENT.check(method, path, reply.status.as_u16(), &reply.headers, &reply.body);
        checked.unwrap_or_else(|error| panic!("{method} {path}: {error}\n{reply:?}"));
    })
}

/// A work order of one test.
#[derive(Clone, Debug)]
pub struct Order {
    pub client: Client,
    pub number: String,
}

impl Order {
    /// Sends a scan or unbind under a fresh request id.
    pub async fn scan(&self, scan: &Value) -> Reply {
        self.client.scan(&self.number, &unique("k"), scan).await
    }

    /// A scan that counts; its update.
    pub async fn counted(&self, scan: &Value) -> Value {
        let reply = self.scan(scan).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()
    }

    /// Sends a correction under a fresh request id, with operator and reason.
    pub async fn correct(&self, change: &Value) -> Reply {
        self.client
            .correct(&self.number, &unique("k"), &with(change, &json!({ "operator": "E1", "reason": "盘点" })))
            .await
    }

    /// Replaces the plan.
    pub async fn put(&self, plan: &Value) -> Reply {
        self.client.put_work_order(&self.number, plan).await
    }

    /// Sets or lifts a hold.
    pub async fn hold(&self, status: &str) -> Reply {
        self.client.patch_work_order(&self.number, &json!({ "status": status, "reason": "tried" })).await
    }

    /// What may not change where nothing is counted.
    pub async fn standing(&self) -> Value {
        let row = self.client.work_order(&self.number).await;
        ["status", "seq", "input_quantity", "output_quantity", "scrap_quantity"]
            .map(|field| (field.to_owned(), row[field].clone()))
            .into_iter()
            .collect::<serde_json::Map<_, _>>()
            .into()
    }

    /// Its updates, newest first, as this query asks.
    pub async fn updates(&self, query: &str) -> Vec<Value> {
        let reply = self.client.get(&format!("/v1/work-orders/{}/updates?{query}", self.number)).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["items"].as_array().unwrap().clone()
    }
}

/// An object with more fields, or other values for them.
pub fn with(object: &Value, more: &Value) -> Value {
    let mut object = object.clone();
    object.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    object
}

/// Checks a problem's members against its code's word; those of one status.
pub fn is_problem(reply: &Reply, status: u16, code: &str, at: &str) {
    assert_eq!((reply.status.as_u16(), reply.code().as_str()), (status, code), "{at}: {reply:?}");
    let problem = reply.json();
    assert_eq!(problem["status"], status, "{at}");
    assert_eq!(problem["type"], format!("/problems/{code}"), "{at}");
    for member in ["title", "detail", "instance"] {
        assert!(problem[member].is_string(), "{at}: {member} in {problem}");
    }
    let retryable = [408, 429, 500, 503].contains(&status) || ["work-order-unknown", "update-unknown"].contains(&code);
    assert_eq!(problem["retryable"], retryable, "{at}");
    assert_eq!(reply.header("retry-after").is_some(), status == 429 || status == 503, "{at}");
}
