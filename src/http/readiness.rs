//! The database's last answer to "are you ready?".
//!
//! The answer is kept for one second, so that probes never become a load on the database.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::store::{Readiness, Store, StoreError};

/// How long the store may take to say whether it is ready.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long its answer is kept.
const KEPT: Duration = Duration::from_secs(1);

/// The store's last answer, and the call that is under way.
#[derive(Debug, Default)]
pub(super) struct LastReadiness(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    answer: Option<(Instant, Result<Readiness, String>)>,
    /// A call to the store is never cancelled. If one takes too long, the next probe waits
    /// for the same call instead of starting another one.
    under_way: Option<JoinHandle<Result<Readiness, StoreError>>>,
}

impl LastReadiness {
    /// Whether the store is ready, or why that isn't known.
    pub(super) async fn ask(&self, store: &Arc<dyn Store>, tasks: &TaskTracker) -> Result<Readiness, String> {
        let mut asked = self.0.lock().await;
        if let Some((at, answer)) = &asked.answer
            && at.elapsed() < KEPT
        {
            return answer.clone();
        }
        let call = asked.under_way.get_or_insert_with(|| {
            let store = Arc::clone(store);
            tasks.spawn(async move { store.ready().await })
        });
        let answer = match tokio::time::timeout(PATIENCE, &mut *call).await {
            Err(_) => Err("no answer in time".to_owned()),
            Ok(done) => {
                asked.under_way = None;
                match done {
                    Ok(Ok(readiness)) => Ok(readiness),
                    Ok(Err(error)) => Err(error.to_string()),
                    Err(_) => Err("the check itself failed".to_owned()),
                }
            }
        };
        asked.answer = Some((Instant::now(), answer.clone()));
        answer
    }
}
