//! How the alarms are set up: the senders of the channels, and the watch.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use super::deployment::Parts;
use crate::alarms::WeakKeys;
use crate::alarms::senders::{BadAddress, Sender, address_policy};
use crate::alarms::watch::{self, Own, Replica, Watch};
use crate::clock;
use crate::config::Config;
use crate::domain::channel::Channel;
use crate::domain::consistency::Range;
use crate::lease::Health;
use crate::schedule::Schedule;
use crate::telemetry::Metrics;

/// How late a check may end before it is overdue. A check that makes progress is not overdue.
const CHECK_LATE: Duration = Duration::from_secs(15 * 60);

/// One sender per alarm channel.
pub(super) fn senders(channels: &[Channel]) -> Result<Vec<Arc<Sender>>, BadAddress> {
    channels.iter().map(|channel| Sender::new(channel.clone(), address_policy::system()).map(Arc::new)).collect()
}

/// The watch of the alarms, as the settings want it.
pub(super) fn watch(
    config: &Config,
    parts: &Parts,
    senders: Vec<Arc<Sender>>,
    metrics: &Arc<Metrics>,
    weak_keys: Arc<WeakKeys>,
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
        Replica { holder: parts.lease.owner().to_string(), name: name_of_process(address) },
        Own { lease_is_away: Box::new(move || matches!(lease.health(), Health::Away | Health::Refusing)), weak_keys },
        clock::now(),
    )
}

/// When a check is overdue that must follow the last one.
fn overdue_after(schedule: &Schedule) -> watch::Due {
    let schedule = schedule.clone();
    Arc::new(move |last| Some(schedule.next_after(last)?.later(CHECK_LATE)))
}

/// The name of this process for people: the machine and the port.
fn name_of_process(address: Option<SocketAddr>) -> String {
    let machine = machine().unwrap_or_else(|| "localhost".to_owned());
    address.map_or_else(|| machine.clone(), |address| format!("{machine}:{}", address.port()))
}

/// The name of this machine.
pub(super) fn machine() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}
