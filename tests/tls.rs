//! The shared deployment over TLS, with certificates that only a plant's own authority
//! vouches for: the service is told of it by `SSL_CERT_FILE`.

mod stage;

use std::path::{Path, PathBuf};

use hyper::StatusCode;
use rcgen::CertifiedKey;
use serde_json::{Value, json};
use sqlx::Connection as _;
use stage::postgres::{Database, Postgres};
use stage::redis::Redis;
use stage::service::{Service, Setup};
use stage::{SOON, eventually, free_port, unique};
use tempfile::TempDir;

/// A key and its certificate for 127.0.0.1, in files.
struct Certified {
    folder: TempDir,
}

impl Certified {
    fn new() -> Self {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
        let certified = Self { folder: tempfile::tempdir().expect("a temporary folder") };
        std::fs::write(certified.certificate(), cert.pem()).expect("the folder is ours");
        std::fs::write(certified.key(), signing_key.serialize_pem()).expect("the folder is ours");
        certified
    }

    fn certificate(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.folder.path().join("key.pem")
    }
}

/// PostgreSQL and Redis, each with TLS.
struct Servers {
    certified: Certified,
    database: Database,
    _postgres: Postgres,
    _redis: Redis,
    redis_url: String,
}

impl Servers {
    async fn start() -> Self {
        let certified = Certified::new();
        let (certificate, key) = (certified.certificate(), certified.key());
        let postgres = Postgres::start_with_tls(&certificate, &key).await;
        let database = Database::on(&postgres.url("postgres")).await;
        let port = free_port().to_string();
        let redis = Redis::start_with(&[
            "--tls-port",
            &port,
            "--tls-auth-clients",
            "no",
            "--tls-cert-file",
            text(&certificate),
            "--tls-key-file",
            text(&key),
        ]);
        Self {
            certified,
            database,
            _postgres: postgres,
            _redis: redis,
            redis_url: format!("rediss://127.0.0.1:{port}"),
        }
    }

    /// A deployment that checks whom it speaks to.
    fn setup(&self) -> Setup {
        let url = format!("{}?sslmode=verify-full", self.database.url());
        Setup::shared(&url).redis(&self.redis_url).set("SSL_CERT_FILE", text(&self.certified.certificate()))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

async fn lease_is(service: &Service, status: &str) {
    eventually(&format!("the lease is {status}"), SOON, async || {
        let reply = service.client().get("/readyz").await;
        assert_eq!(reply.status, StatusCode::OK, "{}", reply.text());
        (reply.json()["checks"]["lease"]["status"] == status).then_some(())
    })
    .await;
}

async fn scan_counts(service: &Service) -> String {
    let (client, work_order) = (service.client(), unique("W"));
    client.put_work_order(&work_order, &json!({ "planned_quantity": 5 })).await;
    let reply = client.scan(&work_order, &unique("k"), &json!({ "counter": "input" })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{}", reply.text());
    assert_eq!(client.work_order(&work_order).await["input_quantity"], 1);
    work_order
}

#[tokio::test]
async fn a_scan_counts_over_tls_to_postgresql_and_redis() {
    let servers = Servers::start().await;
    let service = servers.setup().start().await;
    lease_is(&service, "ok").await;
    let work_order = scan_counts(&service).await;
    let lease: Value = service.client().get(&format!("/v1/work-orders/{work_order}/lease")).await.json();
    assert!(lease["fence"].as_i64().is_some_and(|fence| fence > 0), "{lease}");
    let mut connection = servers.database.connect().await;
    let sessions: Vec<(bool,)> = sqlx::query_as(
        "select ssl from pg_stat_ssl join pg_stat_activity using (pid) \
         where datname = current_database() and pid <> pg_backend_pid()",
    )
    .fetch_all(&mut connection)
    .await
    .expect("sessions can be looked at");
    connection.close().await.expect("it is open");
    assert!(!sessions.is_empty() && sessions.iter().all(|&(ssl,)| ssl), "{sessions:?}");
}

#[tokio::test]
async fn a_redis_that_nobody_vouches_for_counts_as_away() {
    let servers = Servers::start().await;
    // Another authority's certificate, of the same name.
    let stranger = Certified::new();
    let setup = Setup::shared(servers.database.url()).redis(&servers.redis_url);
    let service = setup.set("SSL_CERT_FILE", text(&stranger.certificate())).start().await;
    scan_counts(&service).await;
    lease_is(&service, "warn").await;
    scan_counts(&service).await;
    let metrics = service.client().get("/metrics").await.text();
    assert!(metrics.contains("scanfence_breaker_open 1"), "{metrics}");
}

#[tokio::test]
async fn a_database_that_nobody_vouches_for_gets_no_password() {
    let servers = Servers::start().await;
    let stranger = Certified::new();
    let (code, log) = servers.setup().set("SSL_CERT_FILE", text(&stranger.certificate())).refusal().await;
    assert_ne!(code, Some(0), "{log}");
    assert!(log.contains("certificate"), "{log}");
}
