//! How the parts are put together, watched, and stopped.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::config::{self, Config, Deployment};
use crate::counting::{self, Committer, Panicked};
use crate::domain::ids::Owner;
use crate::http::{self, Http};
use crate::lease::Lease;
use crate::lease::local::LocalLease;
use crate::lease::redis::{BadUrl, RedisLease, RedisLeaseConfig};
use crate::lease::row_lock::RowsAlone;
use crate::monitor::repair::NotRepaired;
use crate::monitor::{self, Monitor, NotAsked};
use crate::schedule::Schedule;
use crate::store::consistency::ConsistencyStore;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::folder::{self, FolderLock, OpenError};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// How long a stopping service still answers 503, so that a load balancer sees it leave.
const LINGER: Duration = Duration::from_secs(1);
/// What of the grace is left for the last commits and for giving leases back, at least.
const LAST_COMMITS: Duration = Duration::from_secs(2);
/// How long the monitor may take to leave a check.
const MONITOR_STOPS: Duration = Duration::from_secs(2);

/// Why the service can't start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The data folder can't be used.
    #[error(transparent)]
    Folder(#[from] OpenError),
    /// PostgreSQL can't be used.
    #[error(transparent)]
    Postgres(#[from] postgres::StartError),
    /// `REDIS_URL` can't be used.
    #[error("REDIS_URL is no Redis address")]
    Redis(#[from] BadUrl),
    /// The address can't be listened on.
    #[error("can't listen on {0}: {1}")]
    Listen(std::net::SocketAddr, #[source] std::io::Error),
    /// Signals can't be heard.
    #[error("signals can't be heard")]
    Signals(#[source] std::io::Error),
    /// The committer died: a half-dead process must not serve.
    #[error(transparent)]
    Panicked(#[from] Panicked),
    /// PostgreSQL has not the tables of this release.
    #[error("the database is of an older release: run scanfence migrate")]
    NotMigrated,
    /// The store does not do what a command asks.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A check can't be asked for.
    #[error(transparent)]
    NotAsked(#[from] NotAsked),
    /// A finding was not repaired.
    #[error(transparent)]
    NotRepaired(#[from] NotRepaired),
}

impl Failure {
    /// Whether a setting is wrong, rather than something that it names.
    #[must_use]
    pub fn is_wrong_usage(&self) -> bool {
        match self {
            Self::Redis(_) | Self::Postgres(postgres::StartError::BadUrl(_)) => true,
            Self::Folder(_)
            | Self::Postgres(_)
            | Self::Listen(..)
            | Self::Signals(_)
            | Self::Panicked(_)
            | Self::NotMigrated
            | Self::Store(_)
            | Self::NotAsked(_)
            | Self::NotRepaired(_) => false,
        }
    }
}

/// Makes the tables or brings them up to date.
///
/// # Errors
/// See [`Failure`].
pub async fn migrate(deployment: Deployment) -> Result<(), Failure> {
    match deployment {
        Deployment::Embedded { data } => folder::migrate(&data).await?,
        Deployment::Shared { database_url, .. } => postgres::migrate(&database_url).await?,
    }
    info!("the tables are up to date");
    Ok(())
}

/// The monitor for a command, which works beside a service: it does nothing by itself.
///
/// # Errors
/// See [`Failure`].
pub async fn monitor(deployment: &Deployment) -> Result<Monitor, Failure> {
    let store: Arc<dyn ConsistencyStore> = match deployment {
        Deployment::Embedded { data } => Arc::new(SqliteStore::open(data).await?),
        Deployment::Shared { database_url, .. } => {
            let store = PostgresStore::open(database_url).await?;
            if !store.ready().await?.migrated {
                return Err(Failure::NotMigrated);
            }
            Arc::new(store)
        }
    };
    let settings = monitor::Settings { recent: Schedule::Off, full: Schedule::Off, repair: Vec::new() };
    Ok(Monitor::new(store, Arc::new(Metrics::new()), Uuid::now_v7().to_string(), settings))
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// See [`Failure`].
pub async fn serve(config: Config) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let signals = hear_signals(stop.clone()).map_err(Failure::Signals)?;
    let listener = TcpListener::bind(config.listen).await.map_err(|error| Failure::Listen(config.listen, error))?;
    let served = serve_on(listener, config, stop).await;
    signals.abort();
    served
}

/// Runs the service on a listener until `stop`, then drains it.
///
/// # Errors
/// See [`Failure`].
pub async fn serve_on(listener: TcpListener, config: Config, stop: CancellationToken) -> Result<(), Failure> {
    if config.access == config::Access::Open {
        warn!("SCANFENCE_ACCESS=open: whoever reaches this service may do everything");
    }
    let owner = Owner::named(&Uuid::now_v7().to_string());
    let metrics = Arc::new(Metrics::new());
    let parts = Parts::open(&config.deployment, owner.clone(), &metrics).await?;
    let monitor = Arc::new(Monitor::new(
        Arc::clone(&parts.consistency),
        Arc::clone(&metrics),
        owner.to_string(),
        monitor_settings(&config.monitor),
    ));
    let settings = counting::Settings {
        queue: config.queue,
        queue_per_work_order: config.queue_per_work_order,
        answer_within: (config.limits.request_timeout / 2).min(counting::Settings::default().answer_within),
        ..counting::Settings::default()
    };
    let (mut committer, intake) =
        Committer::start(Arc::clone(&parts.store), Arc::clone(&parts.lease), Arc::clone(&metrics), settings);
    let http = Http::new(
        Arc::new(intake),
        Arc::clone(&parts.store),
        Arc::clone(&parts.lease),
        Arc::clone(&monitor),
        metrics,
        access(config.access),
        limits(&config),
        stop.clone(),
    );
    info!(
        address = %listener.local_addr().unwrap_or(config.listen),
        deployment = parts.name,
        lease = parts.lease.health().word(),
        version = env!("CARGO_PKG_VERSION"),
        "listening"
    );
    let watching = {
        let (monitor, stop) = (Arc::clone(&monitor), stop.clone());
        tokio::spawn(async move { monitor.run(stop).await })
    };
    let stopped = async {
        stop.cancelled().await;
        info!("stopping");
        Instant::now()
    };
    let (drained, begun) = tokio::select! {
        // A lane ends before it is stopped only by a panic.
        ended = committer.watch() => return Ok(ended?),
        both = async { tokio::join!(http::server::serve(listener, http), stopped) } => both,
    };
    let left = config.shutdown_grace.saturating_sub(begun.elapsed()).max(LAST_COMMITS);
    committer.stop(left).await?;
    // A page is read in less; what is left of a check is another process's to go on with.
    match tokio::time::timeout(MONITOR_STOPS, watching).await {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => error!(%panic, "the monitor had died"),
        Err(_) => warn!("the monitor did not stop in time"),
    }
    parts.close().await;
    info!(connections_cut = drained.connections_cut, requests_left = drained.requests_left, "stopped");
    Ok(())
}

/// Store and lease of one deployment.
struct Parts {
    name: &'static str,
    store: Arc<dyn Store>,
    consistency: Arc<dyn ConsistencyStore>,
    lease: Arc<dyn Lease>,
    /// Held for as long as this process serves from the folder.
    _lock: Option<FolderLock>,
}

impl Parts {
    async fn open(deployment: &Deployment, owner: Owner, metrics: &Arc<Metrics>) -> Result<Self, Failure> {
        match deployment {
            Deployment::Embedded { data } => Self::embedded(data, owner).await,
            Deployment::Shared { database_url, redis } => {
                postgres::migrate(database_url).await?;
                let store = Arc::new(PostgresStore::open(database_url).await?);
                let lease: Arc<dyn Lease> = match redis {
                    None => Arc::new(RowsAlone::new(owner)),
                    Some(redis) => RedisLease::start(redis_lease(redis), owner, Arc::clone(metrics))?,
                };
                Ok(Self { name: "shared", consistency: store.clone(), store, lease, _lock: None })
            }
        }
    }

    async fn embedded(data: &Path, owner: Owner) -> Result<Self, Failure> {
        let lock = FolderLock::take(data)?;
        folder::migrate(data).await?;
        let store = Arc::new(SqliteStore::open(data).await?);
        let lease = Arc::new(LocalLease::new(owner));
        Ok(Self { name: "embedded", consistency: store.clone(), store, lease, _lock: Some(lock) })
    }

    async fn close(self) {
        self.lease.close().await;
        self.store.close().await;
    }
}

fn monitor_settings(monitor: &config::Monitor) -> monitor::Settings {
    let config::Monitor { check_recent, check_full, repair } = monitor.clone();
    monitor::Settings { recent: check_recent, full: check_full, repair }
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

fn access(access: config::Access) -> http::access::Access {
    match access {
        config::Access::Keys => http::access::Access::Loopback,
        config::Access::Open => http::access::Access::Open,
    }
}

fn limits(config: &Config) -> http::Limits {
    let limits = &config.limits;
    http::Limits {
        body: limits.max_body,
        batch_body: limits.max_batch_body,
        headers: limits.max_headers,
        header_read: limits.header_timeout,
        request: limits.request_timeout,
        connections: limits.max_connections,
        in_flight: limits.max_in_flight,
        linger: LINGER,
        grace: config.shutdown_grace.saturating_sub(LAST_COMMITS),
    }
}

/// Cancels `stop` at the first SIGTERM or SIGINT.
fn hear_signals(stop: CancellationToken) -> std::io::Result<tokio::task::JoinHandle<()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        stop.cancel();
    }))
}
