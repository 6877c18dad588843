//! Store and lease of the two deployments.

use std::path::Path;
use std::sync::Arc;

use super::failure::Failure;
use crate::config::{self, Deployment};
use crate::domain::ids::Owner;
use crate::lease::Lease;
use crate::lease::local::LocalLease;
use crate::lease::redis::{RedisLease, RedisLeaseConfig};
use crate::lease::row_lock::RowsAlone;
use crate::store::Store;
use crate::store::alarms::AlarmStore;
use crate::store::consistency::ConsistencyStore;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::folder::{self, FolderLock};
use crate::telemetry::Metrics;

/// The store for a command. A service may run at the same time.
pub(super) struct Beside {
    pub(super) consistency: Arc<dyn ConsistencyStore>,
    pub(super) alarms: Arc<dyn AlarmStore>,
}

impl Beside {
    pub(super) async fn open(deployment: &Deployment) -> Result<Self, Failure> {
        match deployment {
            Deployment::Embedded { data } => {
                let store = Arc::new(SqliteStore::open(data).await?);
                Ok(Self { consistency: store.clone(), alarms: store })
            }
            Deployment::Shared { database_url, .. } => {
                let store = Arc::new(PostgresStore::open(database_url).await?);
                if !postgres::is_migrated(database_url).await? {
                    return Err(Failure::NotMigrated);
                }
                Ok(Self { consistency: store.clone(), alarms: store })
            }
        }
    }
}

/// Store and lease of one deployment.
pub(super) struct Parts {
    pub(super) name: &'static str,
    pub(super) store: Arc<dyn Store>,
    pub(super) alarms: Arc<dyn AlarmStore>,
    pub(super) consistency: Arc<dyn ConsistencyStore>,
    pub(super) lease: Arc<dyn Lease>,
    /// Held while this process serves from the folder.
    _lock: Option<FolderLock>,
}

impl Parts {
    pub(super) async fn open(deployment: &Deployment, owner: Owner, metrics: &Arc<Metrics>) -> Result<Self, Failure> {
        match deployment {
            Deployment::Embedded { data } => Self::embedded(data, owner).await,
            Deployment::Shared { database_url, redis } => {
                postgres::migrate(database_url).await?;
                let store = Arc::new(PostgresStore::open(database_url).await?);
                let lease: Arc<dyn Lease> = match redis {
                    None => Arc::new(RowsAlone::new(owner)),
                    Some(redis) => RedisLease::start(redis_lease(redis), owner, Arc::clone(metrics))?,
                };
                Ok(Self {
                    name: "shared",
                    alarms: store.clone(),
                    consistency: store.clone(),
                    store,
                    lease,
                    _lock: None,
                })
            }
        }
    }

    async fn embedded(data: &Path, owner: Owner) -> Result<Self, Failure> {
        let lock = FolderLock::take(data)?;
        folder::migrate(data).await?;
        let store = Arc::new(SqliteStore::open(data).await?);
        let lease = Arc::new(LocalLease::new(owner));
        Ok(Self {
            name: "embedded",
            alarms: store.clone(),
            consistency: store.clone(),
            store,
            lease,
            _lock: Some(lock),
        })
    }

    pub(super) async fn close(self) {
        self.lease.close().await;
        self.store.close().await;
    }
}

fn redis_lease(redis: &config::Redis) -> RedisLeaseConfig {
    RedisLeaseConfig {
        url: redis.url.clone(),
        ttl: redis.ttl,
        longest_hold: redis.hold,
        fallback: match redis.fallback {
            config::Fallback::Database => crate::lease::redis::Fallback::Database,
            config::Fallback::Refuse => crate::lease::redis::Fallback::Refuse,
        },
    }
}
