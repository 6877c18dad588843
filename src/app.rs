//! How the parts are put together, watched, and stopped.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

use crate::alarms::senders::{BadAddress, Sender, address_policy};
use crate::alarms::watch::{self, Replica, Watch};
use crate::alarms::{Alarms, Channels, wording};
use crate::config::{self, Config, Deployment};
use crate::counting::{self, Committer, Panicked};
use crate::domain::alarm::Alarm;
use crate::domain::channel::Channel;
use crate::domain::consistency::Range;
use crate::domain::ids::Owner;
use crate::domain::time::Timestamp;
use crate::http::{self, Http};
use crate::lease::local::LocalLease;
use crate::lease::redis::{BadUrl, RedisLease, RedisLeaseConfig};
use crate::lease::row_lock::RowsAlone;
use crate::lease::{Health, Lease};
use crate::monitor::repair::NotRepaired;
use crate::monitor::{self, Monitor, NotAsked};
use crate::schedule::Schedule;
use crate::store::alarms::{AlarmStore, ChannelLine};
use crate::store::consistency::ConsistencyStore;
use crate::store::postgres::{self, PostgresStore};
use crate::store::sqlite::SqliteStore;
use crate::store::sqlite::folder::{self, FolderLock, OpenError};
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;

/// How long a stopping service still answers 503, so that a load balancer sees it leave.
const LINGER: Duration = Duration::from_secs(1);
/// What of the grace is left for the last commits and for giving leases back, at least; half
/// of it where it is short, so that requests under way have some of it, too.
const LAST_COMMITS: Duration = Duration::from_secs(2);
/// How long the monitor may take to leave a check.
const MONITOR_STOPS: Duration = Duration::from_secs(2);

/// How much later than it was due a check may end, unless it still gets on.
const CHECK_LATE: Duration = Duration::from_secs(15 * 60);

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
    Listen(SocketAddr, #[source] std::io::Error),
    /// Signals can't be heard.
    #[error("signals can't be heard")]
    Signals(#[source] std::io::Error),
    /// A channel of alarms can't be used.
    #[error(transparent)]
    Channel(#[from] BadAddress),
    /// There is no such channel.
    #[error("there is no alarm channel {0:?}; there are: {1}")]
    NoSuchChannel(String, String),
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
            Self::Redis(_)
            | Self::Postgres(postgres::StartError::BadUrl(_))
            | Self::Channel(_)
            | Self::NoSuchChannel(..) => true,
            Self::Store(_)
            | Self::NotAsked(_)
            | Self::NotRepaired(_)
            | Self::Folder(_)
            | Self::Postgres(_)
            | Self::Listen(..)
            | Self::Signals(_)
            | Self::Panicked(_)
            | Self::NotMigrated => false,
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
    let Beside { consistency, .. } = Beside::open(deployment).await?;
    let settings = monitor::Settings { recent: Schedule::Off, full: Schedule::Off, repair: Vec::new() };
    Ok(Monitor::new(consistency, Arc::new(Metrics::new()), Uuid::now_v7().to_string(), settings))
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
    let senders = senders(&config.alarms.channels)?;
    let owner = Owner::named(&Uuid::now_v7().to_string());
    let metrics = Arc::new(Metrics::new());
    let parts = tokio::select! {
        parts = Parts::open(&config.deployment, owner.clone(), &metrics) => parts?,
        // Nothing is counted yet, and a migration is whole or not there.
        () = stop.cancelled() => return Ok(()),
    };
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
    let channels = Arc::new(Channels::default());
    let watch = watch(&config, &parts, senders.clone(), &metrics, listener.local_addr().ok());
    let alarms = Alarms::start(
        watch,
        Arc::clone(&parts.alarms),
        &senders,
        Arc::clone(&channels),
        Arc::clone(&metrics),
        stop.clone(),
    );
    let answering = http::Parts {
        counter: Arc::new(intake),
        store: Arc::clone(&parts.store),
        lease: Arc::clone(&parts.lease),
        channels,
        monitor: Arc::clone(&monitor),
        metrics,
    };
    let http = Http::new(answering, access(config.access), limits(&config), stop.clone());
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
    let left = config.shutdown_grace.saturating_sub(begun.elapsed()).max(last_commits(config.shutdown_grace));
    committer.stop(left).await?;
    // A page is read in less; what is left of a check is another process's to go on with.
    let (checked, ()) = tokio::join!(tokio::time::timeout(MONITOR_STOPS, watching), alarms.stopped());
    match checked {
        Ok(Ok(())) => {}
        Ok(Err(panic)) => error!(%panic, "the monitor had died"),
        Err(_) => warn!("the monitor did not stop in time"),
    }
    parts.close().await;
    info!(connections_cut = drained.connections_cut, requests_left = drained.requests_left, "stopped");
    Ok(())
}

/// What a channel's receiver made of a test message.
#[derive(Debug)]
pub struct Tested {
    /// Whether it took it.
    pub delivered: bool,
    /// What it said, or why there is no answer.
    pub said: String,
    /// How long it took.
    pub took: Duration,
}

/// Sends a real message to one channel, without outbox and without retries.
///
/// # Errors
/// See [`Failure`].
pub async fn test_alarm(channels: &[Channel], channel: &str) -> Result<Tested, Failure> {
    let mut senders = senders(channels)?;
    let Some(at) = senders.iter().position(|sender| sender.channel().name == channel) else {
        let names: Vec<&str> = senders.iter().map(|sender| sender.channel().name.as_str()).collect();
        let names = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        return Err(Failure::NoSuchChannel(channel.to_owned(), names));
    };
    let sender = senders.swap_remove(at);
    let now = now();
    let letter = wording::test_letter(channel, &Uuid::now_v7().to_string(), sender.channel().language, now);
    let begun = Instant::now();
    let (delivered, said) = match sender.send(&letter, now).await {
        Ok(taken) => (true, taken.said),
        Err(refused) => (false, refused.why),
    };
    Ok(Tested { delivered, said, took: begun.elapsed() })
}

/// The open alarms, and how the channels do.
///
/// # Errors
/// See [`Failure`].
pub async fn alarms(deployment: &Deployment) -> Result<(Vec<Alarm>, Vec<ChannelLine>), Failure> {
    let Beside { alarms, .. } = Beside::open(deployment).await?;
    Ok((alarms.open_alarms().await?, alarms.lines().await?))
}

fn senders(channels: &[Channel]) -> Result<Vec<Arc<Sender>>, BadAddress> {
    channels.iter().map(|channel| Sender::new(channel.clone(), address_policy::system()).map(Arc::new)).collect()
}

fn watch(
    config: &Config,
    parts: &Parts,
    senders: Vec<Arc<Sender>>,
    metrics: &Arc<Metrics>,
    address: Option<SocketAddr>,
) -> Watch {
    let lease = Arc::clone(&parts.lease);
    let settings = &config.alarms;
    Watch::new(
        Arc::clone(&parts.alarms),
        senders,
        Arc::clone(metrics),
        watch::Settings {
            after: settings.after,
            duplicates: i64::try_from(settings.duplicates).unwrap_or(i64::MAX),
            duplicates_within: settings.duplicates_within,
            due: vec![
                (Range::Recent.word(), overdue_after(&config.monitor.check_recent)),
                (Range::Full.word(), overdue_after(&config.monitor.check_full)),
            ],
        },
        Replica { holder: parts.lease.owner().to_string(), name: place(address) },
        Box::new(move || lease.health() == Health::Away),
        now(),
    )
}

/// When a check that was to follow the last one is overdue.
fn overdue_after(schedule: &Schedule) -> watch::Due {
    let schedule = schedule.clone();
    Arc::new(move |last| Some(schedule.next_after(last)?.later(CHECK_LATE)))
}

/// Where this process is, for people: the machine, and the port that it listens on.
fn place(address: Option<SocketAddr>) -> String {
    let machine = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let machine = if machine.trim().is_empty() { "localhost" } else { machine.trim() };
    address.map_or_else(|| machine.to_owned(), |address| format!("{machine}:{}", address.port()))
}

fn now() -> Timestamp {
    Timestamp::cut(chrono::Utc::now()).expect("the clock stands between the years 1 and 9999")
}

/// The store as a command has it that works beside a service.
struct Beside {
    consistency: Arc<dyn ConsistencyStore>,
    alarms: Arc<dyn AlarmStore>,
}

impl Beside {
    async fn open(deployment: &Deployment) -> Result<Self, Failure> {
        match deployment {
            Deployment::Embedded { data } => {
                let store = Arc::new(SqliteStore::open(data).await?);
                Ok(Self { consistency: store.clone(), alarms: store })
            }
            Deployment::Shared { database_url, .. } => {
                let store = Arc::new(PostgresStore::open(database_url).await?);
                if !store.ready().await?.migrated {
                    return Err(Failure::NotMigrated);
                }
                Ok(Self { consistency: store.clone(), alarms: store })
            }
        }
    }
}

/// Store and lease of one deployment.
struct Parts {
    name: &'static str,
    store: Arc<dyn Store>,
    alarms: Arc<dyn AlarmStore>,
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
        grace: config.shutdown_grace.saturating_sub(last_commits(config.shutdown_grace)),
    }
}

fn last_commits(grace: Duration) -> Duration {
    LAST_COMMITS.min(grace / 2)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_any_grace_requests_under_way_and_the_last_commits_have_some() {
        for (grace, commits) in [(25_000, 2000), (4000, 2000), (2000, 1000), (1, 0)] {
            let grace = Duration::from_millis(grace);
            assert_eq!(last_commits(grace).as_millis(), commits);
            assert!(last_commits(grace) < grace);
        }
    }
}
