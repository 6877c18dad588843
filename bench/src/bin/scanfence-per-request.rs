//! The usual way, done right, to compare with. Every request takes the work order's lock in Redis, makes one
//! transaction in PostgreSQL and unlocks.
//!
//! "Right" means:
//!
//! - The lock has an owner and a time to live, and only its owner releases it.
//! - A row lock, the unique request id and the unique barcode claim keep the count right without the lock.
//! - Statements are prepared and connections pooled. Nothing is held longer than needed.
//!
//! It writes the same row as Scanfence, in Scanfence's tables.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use clap::Parser;
use rand::RngExt as _;
use redis::aio::ConnectionManager;
use serde::Deserialize;
use serde_json::{Value, json};
use sqlx::postgres::{PgPool, PgPoolOptions};
use sqlx::{PgConnection, Row as _};
use tokio::net::TcpListener;

#[derive(Debug, Parser)]
struct Args {
    /// PostgreSQL
    #[arg(long, env = "DATABASE_URL")]
    database_url: String,
    /// Redis
    #[arg(long, env = "REDIS_URL")]
    redis_url: String,
    /// Connections to PostgreSQL
    #[arg(long, default_value_t = 32)]
    pool: u32,
}

#[derive(Clone)]
struct Service {
    database: PgPool,
    redis: ConnectionManager,
}

#[derive(Deserialize)]
struct NewWorkOrder {
    planned_quantity: i64,
    over_plan_allowance: Option<i64>,
}

#[derive(Deserialize)]
struct Scan {
    counter: String,
    #[serde(default = "one")]
    quantity: i64,
    barcode: Option<String>,
    #[serde(default)]
    step: String,
    station: Option<String>,
    terminal: Option<String>,
    operator: Option<String>,
}

/// Why a request is not answered 201. Each reason has a status of its own.
enum Refusal {
    KeyMissing,
    InvalidField,
    WorkOrderUnknown,
    KeyReused,
    OverPlan,
    BarcodeCounted,
    LockBusy,
    Broken(anyhow::Error),
}

/// A lock lasts at most this long after its holder has died.
const LOCK_TTL_MS: u64 = 10_000;
/// The longest time that a request waits for the lock.
const LONGEST_WAIT: Duration = Duration::from_secs(15);
/// Between two tries a waiter sleeps a random time within these, so that waiters spread out.
const RETRY_MS: std::ops::Range<u64> = 2..20;

/// Only the owner releases.
static RELEASE: LazyLock<redis::Script> = LazyLock::new(|| {
    redis::Script::new(
        "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end",
    )
});

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let database = PgPoolOptions::new()
        .max_connections(args.pool)
        // The check would cost a round trip per request; the first statement fails anyway.
        .test_before_acquire(false)
        .acquire_timeout(LONGEST_WAIT)
        .connect(&args.database_url)
        .await?;
    let redis = redis::Client::open(args.redis_url)?.get_connection_manager().await?;
    let routes = Router::new()
        .route("/v1/work-orders/{work_order}", get(read).put(create))
        .route("/v1/work-orders/{work_order}/scans", post(scan))
        .with_state(Service { database, redis });
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("{}", json!({"message": "listening", "address": listener.local_addr()?.to_string()}));
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn scan(
    State(service): State<Service>,
    Path(work_order): Path<String>,
    headers: HeaderMap,
    Json(scan): Json<Scan>,
) -> Result<Response, Refusal> {
    let request_id = headers.get("idempotency-key").and_then(|key| key.to_str().ok()).ok_or(Refusal::KeyMissing)?;
    if !(1..=1_000_000).contains(&scan.quantity) {
        return Err(Refusal::InvalidField);
    }
    let lock = format!("lock:{work_order}");
    let owner = format!("{:032x}", rand::random::<u128>());
    let mut redis = service.redis.clone();
    take(&mut redis, &lock, &owner).await?;
    let counted = count(&service.database, &work_order, request_id, &scan).await;
    // If the release fails, the lock ends after its time to live. The count is written.
    let released: redis::RedisResult<i64> = RELEASE.key(&lock).arg(&owner).invoke_async(&mut redis).await;
    if let Err(error) = released {
        eprintln!("{lock}: not released: {error}");
    }
    let (update, replayed) = counted?;
    let mut answer = (StatusCode::CREATED, Json(update)).into_response();
    if replayed {
        answer.headers_mut().insert("idempotency-replayed", axum::http::HeaderValue::from_static("true"));
    }
    Ok(answer)
}

async fn take(redis: &mut ConnectionManager, lock: &str, owner: &str) -> Result<(), Refusal> {
    let end = Instant::now() + LONGEST_WAIT;
    loop {
        let taken: Option<String> =
            redis::cmd("SET").arg(lock).arg(owner).arg("NX").arg("PX").arg(LOCK_TTL_MS).query_async(redis).await?;
        if taken.is_some() {
            return Ok(());
        }
        if Instant::now() > end {
            return Err(Refusal::LockBusy);
        }
        let pause = rand::rng().random_range(RETRY_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
}

// Long: one transaction, statement by statement.
/// One transaction; an early return drops it, which rolls it back.
async fn count(database: &PgPool, work_order: &str, request_id: &str, scan: &Scan) -> Result<(Value, bool), Refusal> {
    let mut transaction = database.begin().await?;
    let row = sqlx::query(match scan.counter.as_str() {
        "input" => "select planned_quantity, over_plan_allowance, seq, input_quantity from work_orders where work_order = $1 for update",
        "output" => "select planned_quantity, over_plan_allowance, seq, output_quantity from work_orders where work_order = $1 for update",
        "scrap" => "select planned_quantity, over_plan_allowance, seq, scrap_quantity from work_orders where work_order = $1 for update",
        _ => return Err(Refusal::InvalidField),
    })
    .bind(work_order)
    .fetch_optional(&mut *transaction)
    .await?
    .ok_or(Refusal::WorkOrderUnknown)?;
    let (planned, allowance, seq, before): (i64, Option<i64>, i64, i64) =
        (row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?);
    let after = before + scan.quantity;
    let logged = sqlx::query(
        "insert into update_log (
             request_id, work_order, seq, counter, action, quantity, delta, before, after, barcode, barcode_canonical,
             step, step_canonical, station, terminal, operator, fence, work_order_status, remaining, recorded_at,
             recorded_by, outcome, rendering)
         values ($1, $2, $3, $4, 'scan', $5, $5, $6, $7, $8, $8, $9, $9, $10, $11, $12, 0, 'in_progress', $13, now(),
             'per-request', 'counted', 1)
         on conflict (request_id) do nothing",
    )
    .bind(request_id)
    .bind(work_order)
    .bind(seq + 1)
    .bind(&scan.counter)
    .bind(scan.quantity)
    .bind(before)
    .bind(after)
    .bind(&scan.barcode)
    .bind(&scan.step)
    .bind(&scan.station)
    .bind(&scan.terminal)
    .bind(&scan.operator)
    .bind(planned - after)
    .execute(&mut *transaction)
    .await?;
    if logged.rows_affected() == 0 {
        return Ok((replay(&mut transaction, work_order, request_id, scan).await?, true));
    }
    if scan.counter != "scrap" && allowance.is_some_and(|allowance| after > planned + allowance) {
        return Err(Refusal::OverPlan);
    }
    if let Some(barcode) = &scan.barcode {
        let claimed = sqlx::query(
            "insert into barcode_claims (work_order, counter, step, barcode, ordinal, request_id, quantity)
             values ($1, $2, $3, $4, 1, $5, $6) on conflict do nothing",
        )
        .bind(work_order)
        .bind(&scan.counter)
        .bind(&scan.step)
        .bind(barcode)
        .bind(request_id)
        .bind(scan.quantity)
        .execute(&mut *transaction)
        .await?;
        if claimed.rows_affected() == 0 {
            return Err(Refusal::BarcodeCounted);
        }
    }
    sqlx::query(match scan.counter.as_str() {
        "input" => "update work_orders set input_quantity = $2, seq = $3, status = 'in_progress', stamp = $4, barcode_counted = barcode_counted or $5, updated_at = now() where work_order = $1",
        "output" => "update work_orders set output_quantity = $2, seq = $3, status = 'in_progress', stamp = $4, barcode_counted = barcode_counted or $5, updated_at = now() where work_order = $1",
        _ => "update work_orders set scrap_quantity = $2, seq = $3, status = 'in_progress', stamp = $4, barcode_counted = barcode_counted or $5, updated_at = now() where work_order = $1",
    })
    .bind(work_order)
    .bind(after)
    .bind(seq + 1)
    .bind(rand::random::<i64>())
    .bind(scan.barcode.is_some())
    .execute(&mut *transaction)
    .await?;
    transaction.commit().await?;
    Ok((update(work_order, request_id, seq + 1, before, scan), false))
}

/// The answer that the request id got before, provided that it is the same request.
async fn replay(
    database: &mut PgConnection,
    work_order: &str,
    request_id: &str,
    scan: &Scan,
) -> Result<Value, Refusal> {
    let row = sqlx::query(
        "select seq, before from update_log
         where request_id = $1 and work_order = $2 and counter = $3 and delta = $4 and step = $5
           and (barcode, station, terminal, operator) is not distinct from ($6, $7, $8, $9)",
    )
    .bind(request_id)
    .bind(work_order)
    .bind(&scan.counter)
    .bind(scan.quantity)
    .bind(&scan.step)
    .bind(&scan.barcode)
    .bind(&scan.station)
    .bind(&scan.terminal)
    .bind(&scan.operator)
    .fetch_optional(database)
    .await?
    .ok_or(Refusal::KeyReused)?;
    Ok(update(work_order, request_id, row.try_get(0)?, row.try_get(1)?, scan))
}

fn update(work_order: &str, request_id: &str, seq: i64, before: i64, scan: &Scan) -> Value {
    json!({
        "request_id": request_id, "work_order": work_order, "seq": seq, "counter": scan.counter,
        "delta": scan.quantity, "before": before, "after": before + scan.quantity, "barcode": scan.barcode,
        "step": scan.step, "station": scan.station, "terminal": scan.terminal, "operator": scan.operator, "outcome": "counted",
    })
}

async fn create(
    State(service): State<Service>,
    Path(work_order): Path<String>,
    Json(new): Json<NewWorkOrder>,
) -> Result<StatusCode, Refusal> {
    sqlx::query(
        "insert into work_orders (
             work_order, planned_quantity, over_plan_allowance, barcode_policy, status, input_quantity, output_quantity,
             scrap_quantity, seq, fence, stamp, revision, barcode_counted, created_at, updated_at)
         values ($1, $2, $3, 'once', 'pending', 0, 0, 0, 0, 0, $4, $4, false, now(), now())
         on conflict (work_order) do update
         set planned_quantity = excluded.planned_quantity, over_plan_allowance = excluded.over_plan_allowance",
    )
    .bind(work_order)
    .bind(new.planned_quantity)
    .bind(new.over_plan_allowance)
    .bind(rand::random::<i64>())
    .execute(&service.database)
    .await?;
    Ok(StatusCode::CREATED)
}

async fn read(State(service): State<Service>, Path(work_order): Path<String>) -> Result<Json<Value>, Refusal> {
    let row = sqlx::query("select seq, input_quantity from work_orders where work_order = $1")
        .bind(&work_order)
        .fetch_optional(&service.database)
        .await?
        .ok_or(Refusal::WorkOrderUnknown)?;
    let (seq, input_quantity): (i64, i64) = (row.try_get(0)?, row.try_get(1)?);
    Ok(Json(json!({"work_order": work_order, "seq": seq, "input_quantity": input_quantity})))
}

fn one() -> i64 {
    1
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, code) = match self {
            Self::KeyMissing => (StatusCode::BAD_REQUEST, "idempotency-key-missing"),
            Self::InvalidField => (StatusCode::UNPROCESSABLE_ENTITY, "invalid-field"),
            Self::WorkOrderUnknown => (StatusCode::NOT_FOUND, "work-order-unknown"),
            Self::KeyReused => (StatusCode::UNPROCESSABLE_ENTITY, "idempotency-key-reused"),
            Self::OverPlan => (StatusCode::CONFLICT, "over-plan"),
            Self::BarcodeCounted => (StatusCode::CONFLICT, "barcode-already-counted"),
            Self::LockBusy => (StatusCode::SERVICE_UNAVAILABLE, "lease-unavailable"),
            Self::Broken(error) => {
                eprintln!("{error:#}");
                (StatusCode::SERVICE_UNAVAILABLE, "storage-unavailable")
            }
        };
        (status, Json(json!({"code": code}))).into_response()
    }
}

impl<E: std::error::Error + Send + Sync + 'static> From<E> for Refusal {
    fn from(error: E) -> Self {
        Self::Broken(error.into())
    }
}
