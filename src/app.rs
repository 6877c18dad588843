//! How the parts of the service are connected, watched and stopped.

mod commands;
mod deployment;
mod failure;
mod watching;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use uuid::Uuid;

pub use self::commands::{Tested, alarms, migrate, monitor, test_alarm};
use self::deployment::Parts;
pub use self::failure::Failure;
use self::watching::{machine, senders, watch};
use crate::alarms::senders::Sender;
use crate::alarms::{Alarms, Channels, WeakKeys};
use crate::config::{self, Config};
use crate::counting::{self, Committer};
use crate::domain::ids::Owner;
use crate::http::access::{Access, Mode};
use crate::http::{self, Http};
use crate::monitor::{self, Monitor};
use crate::telemetry::Metrics;

/// How long a stopping service still answers 503, so that a load balancer takes it out.
const LINGER: Duration = Duration::from_secs(1);
/// The part of the grace that is kept for the last commits and for releasing leases. If the grace is
/// short, half of it, so that open requests have time, too.
const LAST_COMMITS: Duration = Duration::from_secs(2);
/// How long the monitor may take to stop in a check.
const MONITOR_STOPS: Duration = Duration::from_secs(2);

/// The tasks of a running service, without the listener.
struct Service {
    committer: Committer,
    alarms: Alarms,
    monitor: JoinHandle<()>,
}

/// Runs the service until SIGTERM or SIGINT.
///
/// # Errors
/// See [`Failure`].
pub async fn serve(config: Config) -> Result<(), Failure> {
    let stop = CancellationToken::new();
    let signals = listen_for_signals(stop.clone()).map_err(Failure::Signals)?;
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
    match config.access {
        config::Access::Open => warn!("SCANFENCE_ACCESS=open: everybody who reaches this service may do everything"),
        config::Access::Keys => info!(
            "only callers on this machine are served; a proxy on this machine that adds no header (nginx by itself) \
             makes everybody behind it local"
        ),
    }
    let senders = senders(&config.alarms.channels)?;
    let owner = Owner::named(&Uuid::now_v7().to_string());
    let metrics = Arc::new(Metrics::new());
    let parts = tokio::select! {
        parts = Parts::open(&config.deployment, owner.clone(), &metrics) => parts?,
        // Nothing is counted yet. A migration is complete or undone.
        () = stop.cancelled() => return Ok(()),
    };
    let (mut service, http) = Service::start(&config, &parts, &senders, metrics, &listener, &stop);
    let stopped = async {
        stop.cancelled().await;
        info!("stopping");
        Instant::now()
    };
    let (drained, begun) = tokio::select! {
        // Only a panic ends a lane before it is stopped.
        ended = service.committer.watch() => return Ok(ended?),
        both = async { tokio::join!(http::server::serve(listener, http), stopped) } => both,
    };
    let left = config.shutdown_grace.saturating_sub(begun.elapsed()).max(last_commits(config.shutdown_grace));
    service.stop(left).await?;
    parts.close().await;
    info!(connections_cut = drained.connections_cut, requests_left = drained.requests_left, "stopped");
    Ok(())
}

impl Service {
    /// Starts the tasks, and gives what answers requests.
    fn start(
        config: &Config,
        parts: &Parts,
        senders: &[Arc<Sender>],
        metrics: Arc<Metrics>,
        listener: &TcpListener,
        stop: &CancellationToken,
    ) -> (Self, Arc<Http>) {
        let monitor = Arc::new(Monitor::new(
            Arc::clone(&parts.consistency),
            Arc::clone(&metrics),
            parts.lease.owner().to_string(),
            monitor_settings(&config.monitor),
        ));
        let (committer, intake) = Committer::start(
            Arc::clone(&parts.store),
            Arc::clone(&parts.lease),
            Arc::clone(&metrics),
            counting_settings(config),
        );
        let (channels, weak_keys) = (Arc::new(Channels::default()), Arc::new(WeakKeys::default()));
        let alarms = Alarms::start(
            watch(config, parts, senders.to_vec(), &metrics, Arc::clone(&weak_keys), listener.local_addr().ok()),
            Arc::clone(&parts.alarms),
            senders,
            Arc::clone(&channels),
            Arc::clone(&metrics),
            stop.clone(),
        );
        let answering = http::Parts {
            counter: Arc::new(intake),
            store: Arc::clone(&parts.store),
            lease: Arc::clone(&parts.lease),
            channels,
            weak_keys,
            monitor: Arc::clone(&monitor),
            metrics,
        };
        let http = Http::new(answering, access(config), limits(config), stop.clone());
        info!(
            address = %listener.local_addr().unwrap_or(config.listen),
            deployment = parts.name,
            lease = parts.lease.health().word(),
            version = env!("CARGO_PKG_VERSION"),
            "listening"
        );
        let stop = stop.clone();
        let monitor = tokio::spawn(async move { monitor.run(stop).await });
        (Self { committer, alarms, monitor }, http)
    }

    /// Waits for the tasks to end. The committer may take `left`.
    async fn stop(self, left: Duration) -> Result<(), Failure> {
        self.committer.stop(left).await?;
        // Reading a page takes less time. Another process continues the check.
        let (checked, ()) = tokio::join!(tokio::time::timeout(MONITOR_STOPS, self.monitor), self.alarms.stopped());
        match checked {
            Ok(Ok(())) => {}
            Ok(Err(panic)) => error!(%panic, "the monitor panicked before the stop; scans are not affected"),
            Err(_) => warn!("the monitor did not stop in time; another process continues its check"),
        }
        Ok(())
    }
}

fn counting_settings(config: &Config) -> counting::Settings {
    let defaults = counting::Settings::default();
    counting::Settings {
        queue: config.queue,
        queue_per_work_order: config.queue_per_work_order,
        late_scans: config.late_scans,
        answer_within: (config.limits.request_timeout / 2).min(defaults.answer_within),
        ..defaults
    }
}

fn monitor_settings(monitor: &config::Monitor) -> monitor::Settings {
    let config::Monitor { check_recent, check_full, repair } = monitor.clone();
    monitor::Settings { recent: check_recent, full: check_full, repair }
}

fn access(config: &Config) -> Access {
    let mode = match config.access {
        config::Access::Keys => Mode::Loopback,
        config::Access::Open => Mode::Open,
    };
    let allowed_hosts = config.allowed_hosts.iter().cloned().chain(machine()).map(|host| host.to_ascii_lowercase());
    Access { mode, allowed_hosts: allowed_hosts.collect(), public_origins: config.public_origins.clone() }
}

fn limits(config: &Config) -> http::Limits {
    let limits = &config.limits;
    http::Limits {
        body: limits.max_body,
        batch_body: limits.max_batch_body,
        headers: limits.max_headers,
        header_read: limits.header_timeout,
        idle: limits.idle_timeout,
        write: limits.write_timeout,
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
fn listen_for_signals(stop: CancellationToken) -> std::io::Result<JoinHandle<()>> {
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
