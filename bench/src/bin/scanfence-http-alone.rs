//! HTTP and JSON without a database: the most that the generator and the web framework can do on this
//! machine. It counts in memory, so that the generator's check passes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde_json::{Value, json};
use tokio::net::TcpListener;

type Quantities = Arc<RwLock<HashMap<String, AtomicU64>>>;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let routes = Router::new()
        .route("/v1/work-orders/{work_order}", get(read).put(create))
        .route("/v1/work-orders/{work_order}/scans", post(scan))
        .with_state(Quantities::default());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    eprintln!("{}", json!({"message": "listening", "address": listener.local_addr()?.to_string()}));
    axum::serve(listener, routes).await?;
    Ok(())
}

async fn create(State(quantities): State<Quantities>, Path(work_order): Path<String>) -> StatusCode {
    quantities.write().unwrap_or_else(PoisonError::into_inner).entry(work_order).or_default();
    StatusCode::CREATED
}

async fn read(State(quantities): State<Quantities>, Path(work_order): Path<String>) -> Result<Json<Value>, StatusCode> {
    let quantities = quantities.read().unwrap_or_else(PoisonError::into_inner);
    let quantity = quantities.get(&work_order).ok_or(StatusCode::NOT_FOUND)?;
    Ok(Json(json!({"work_order": work_order, "input_quantity": quantity.load(Ordering::Relaxed)})))
}

async fn scan(
    State(quantities): State<Quantities>,
    Path(work_order): Path<String>,
    Json(mut scan): Json<Value>,
) -> Result<(StatusCode, Json<Value>), StatusCode> {
    let quantities = quantities.read().unwrap_or_else(PoisonError::into_inner);
    let quantity = quantities.get(&work_order).ok_or(StatusCode::NOT_FOUND)?;
    scan["after"] = (quantity.fetch_add(1, Ordering::Relaxed) + 1).into();
    scan["work_order"] = work_order.into();
    Ok((StatusCode::CREATED, Json(scan)))
}
