//! Repeats a call to the store while the store fails.

use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use tokio::time::sleep;

use crate::store::StoreError;

/// How long a failing call is repeated.
const RETRY_LIMIT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(200);

/// Calls `operation`. While the store asks to try again, or its connection is broken, calls it again.
///
/// # Errors
/// The last error of `operation`.
pub(super) async fn retried<'a, T>(
    operation: impl Fn() -> BoxFuture<'a, Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let until = Instant::now() + RETRY_LIMIT;
    loop {
        match operation().await {
            Err(StoreError::TryAgain(_) | StoreError::Broken(_)) if Instant::now() < until => sleep(PAUSE).await,
            done => return done,
        }
    }
}
