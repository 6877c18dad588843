//! The metrics and the log.

use std::collections::HashSet;
use std::io::IsTerminal as _;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};
use strum::{EnumString, VariantNames};
use tracing_subscriber::EnvFilter;

use crate::domain::update::Update;

/// Every metric of one running service. Labels have few values: words of the contract, matched
/// routes, status codes and channels of the settings. They are never a work order, a key or a person.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    /// New updates in the log.
    pub updates: Family<UpdateLabels, Counter>,
    /// New updates for which a hold was passed over.
    late_updates: Counter,
    /// Retries that got the answer of the first request.
    pub replays: Counter,
    /// Retries within a minute that came from another sender than the first request.
    pub weak_keys: Counter,
    /// Requests that were not decided, by the code of their answer.
    pub unsettled: Family<CodeLabel, Counter>,
    /// Requests per batch.
    pub batch_size: Histogram,
    /// Requests waiting for the committer.
    pub queue_depth: Gauge,
    /// How long requests waited for the committer, in seconds.
    pub queue_wait: Histogram,
    /// Time of each call to the store, in seconds; its count is the number of calls.
    pub store_calls: Family<OperationLabel, Histogram, fn() -> Histogram>,
    /// What happened to leases.
    pub leases: Family<LeaseLabel, Counter>,
    /// Work orders whose write came too late, because another write had changed the row.
    pub overtaken: Counter,
    /// Work orders whose write was refused because a newer fence had written.
    pub fenced_off: Counter,
    /// Work orders that were written with a row lock, because there was no lease.
    pub fallback: Counter,
    /// 1 while the breaker is open, so that Redis gets no requests.
    pub breaker_open: Gauge,
    /// Connections that are open.
    pub connections: Gauge,
    /// HTTP requests that were answered.
    pub http_requests: Family<HttpLabels, Counter>,
    /// Checks that ended.
    pub checks: Family<CheckLabels, Counter>,
    /// How long checks took, in seconds.
    pub check_durations: Family<RangeLabel, Histogram, fn() -> Histogram>,
    /// Rows of the log that checks have read.
    pub check_rows: Counter,
    /// Findings that are open.
    pub findings_open: Gauge,
    /// Open alarms, seen by the replica that watches the alarms now.
    alarms_open: Family<KindLabel, Gauge>,
    /// Attempts to send a message to a channel, and messages that were dropped.
    alarm_messages: Family<MessageLabels, Counter>,
    /// Messages that wait for their channel.
    alarm_waiting: Family<ChannelLabel, Gauge>,
    /// 1 if the last attempt of a channel failed.
    alarm_channel_failing: Family<ChannelLabel, Gauge>,
}

/// Labels of [`Metrics::updates`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct UpdateLabels {
    /// `scan`, `unbind`, `undo` or `correction`.
    pub action: &'static str,
    /// `counted` or `refused`.
    pub outcome: &'static str,
    /// The refusal's code; empty when counted.
    pub code: &'static str,
}

/// Label of [`Metrics::unsettled`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CodeLabel {
    /// The problem's code.
    pub code: &'static str,
}

/// Label of [`Metrics::store_calls`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OperationLabel {
    /// `load`, `write` or `write_locked`.
    pub operation: &'static str,
}

/// Label of [`Metrics::leases`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LeaseLabel {
    /// `granted`, `busy`, `lost`, `broken` or `handed_over`.
    pub event: &'static str,
}

/// Labels of [`Metrics::http_requests`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct HttpLabels {
    /// The method; `OTHER` for unusual ones.
    pub method: &'static str,
    /// The matched route; empty if none matched.
    pub route: &'static str,
    /// The status code.
    pub status: u16,
}

/// Labels of [`Metrics::checks`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct CheckLabels {
    /// `recent`, `full`, `work_order` or `since`.
    pub range: &'static str,
    /// `good`, `drift` or `failed`.
    pub result: &'static str,
}

/// Label of [`Metrics::check_durations`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct RangeLabel {
    /// As in [`CheckLabels`].
    pub range: &'static str,
}

/// Label of [`Metrics::alarms_open`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    /// The kind of alarm.
    kind: &'static str,
}

/// Labels of [`Metrics::alarm_messages`]. The settings name the channels, so there are few.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MessageLabels {
    /// The channel's name.
    channel: String,
    /// `delivered`, `failed` or `dropped`.
    outcome: &'static str,
}

/// Label of metrics that exist once per channel.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ChannelLabel {
    /// The channel's name.
    channel: String,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    /// New metrics. All of them are 0.
    #[must_use]
    pub fn new() -> Self {
        let mut all = Self {
            registry: Registry::with_prefix("scanfence"),
            updates: Family::default(),
            late_updates: Counter::default(),
            replays: Counter::default(),
            weak_keys: Counter::default(),
            unsettled: Family::default(),
            batch_size: Histogram::new([1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0]),
            queue_depth: Gauge::default(),
            queue_wait: Histogram::new(SECONDS),
            store_calls: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            leases: Family::default(),
            overtaken: Counter::default(),
            fenced_off: Counter::default(),
            fallback: Counter::default(),
            breaker_open: Gauge::default(),
            connections: Gauge::default(),
            http_requests: Family::default(),
            checks: Family::default(),
            check_durations: Family::new_with_constructor(|| Histogram::new(MINUTES)),
            check_rows: Counter::default(),
            findings_open: Gauge::default(),
            alarms_open: Family::default(),
            alarm_messages: Family::default(),
            alarm_waiting: Family::default(),
            alarm_channel_failing: Family::default(),
        };
        all.register_counting();
        all.register_leases();
        all.register_http();
        all.register_checks();
        all.register_alarms();
        all
    }

    /// Counts an event of a lease.
    pub fn lease(&self, event: &'static str) {
        self.leases.get_or_create(&LeaseLabel { event }).inc();
    }

    /// Counts a new update in the log.
    pub fn update(&self, update: &Update) {
        let labels = UpdateLabels {
            action: update.action.word(),
            outcome: update.outcome.word(),
            code: update.code.map_or("", |code| code.word()),
        };
        self.updates.get_or_create(&labels).inc();
        if update.late {
            self.late_updates.inc();
        }
    }

    /// Counts a check that ended.
    pub fn check(&self, range: &'static str, result: &'static str, took: Duration, rows: i64) {
        self.checks.get_or_create(&CheckLabels { range, result }).inc();
        self.check_durations.get_or_create(&RangeLabel { range }).observe(took.as_secs_f64());
        self.check_rows.inc_by(rows.unsigned_abs());
    }

    /// Sets how many alarms of a kind are open.
    pub fn alarms_open(&self, kind: &'static str, open: usize) {
        self.alarms_open.get_or_create(&KindLabel { kind }).set(i64::try_from(open).unwrap_or(i64::MAX));
    }

    /// Counts an attempt to send a message to a channel: `delivered` or `failed`.
    pub fn alarm_message(&self, channel: &str, outcome: &'static str) {
        self.alarm_messages.get_or_create(&MessageLabels { channel: channel.to_owned(), outcome }).inc();
    }

    /// Counts messages that were dropped.
    pub fn alarm_messages_dropped(&self, channel: &str, dropped: i64) {
        let labels = MessageLabels { channel: channel.to_owned(), outcome: "dropped" };
        self.alarm_messages.get_or_create(&labels).inc_by(u64::try_from(dropped).unwrap_or_default());
    }

    /// Sets the state of a channel.
    pub fn alarm_channel(&self, channel: &str, waiting: i64, failing: bool) {
        let label = ChannelLabel { channel: channel.to_owned() };
        self.alarm_waiting.get_or_create(&label).set(waiting);
        self.alarm_channel_failing.get_or_create(&label).set(failing.into());
    }

    /// Counts a call to the store.
    pub fn store_call(&self, operation: &'static str, took: Duration) {
        self.store_calls.get_or_create(&OperationLabel { operation }).observe(took.as_secs_f64());
    }

    /// All metrics in the text format of Prometheus (OpenMetrics 1.0).
    #[must_use]
    pub fn render(&self) -> String {
        let mut text = String::new();
        match prometheus_client::encoding::text::encode(&mut text, &self.registry) {
            Ok(()) => text,
            Err(std::fmt::Error) => unreachable!("writing to a String does not fail"),
        }
    }

    /// The same in the text format 0.0.4, in which a counter has the name of its samples.
    #[must_use]
    pub fn render_text(&self) -> String {
        let text = self.render();
        let mut counters = HashSet::new();
        let lines = text.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF");
        // The type comes after the help text.
        let types = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.strip_suffix(" counter"));
        counters.extend(types);
        let named = lines.map(|line| {
            let mut words = line.splitn(4, ' ');
            match (words.next(), words.next(), words.next(), words.next()) {
                (Some("#"), Some(kind), Some(name), rest) if counters.contains(name) => {
                    format!("# {kind} {name}_total {}\n", rest.unwrap_or_default())
                }
                _ => format!("{line}\n"),
            }
        });
        named.collect()
    }

    /// The scans, from the queue to the commit.
    fn register_counting(&mut self) {
        let r = &mut self.registry;
        r.register("updates", "New updates in the log, by action, outcome and refusal code", self.updates.clone());
        let late = "New updates that were made before a hold of their work order and came after it";
        r.register("late_updates", late, self.late_updates.clone());
        r.register("replays", "Retries that got the answer of the first request", self.replays.clone());
        let weak = "Retries within a minute that came from another sender than the first request";
        r.register("weak_keys", weak, self.weak_keys.clone());
        r.register("unsettled", "Requests that were not decided and answered 503, by code", self.unsettled.clone());
        r.register("batch_size", "Requests per batch", self.batch_size.clone());
        r.register("queue_depth", "Requests waiting for the committer", self.queue_depth.clone());
        r.register_with_unit(
            "queue_wait",
            "Time that requests waited for the committer",
            Unit::Seconds,
            self.queue_wait.clone(),
        );
        r.register_with_unit(
            "store_call",
            "Time of each call to the store, by operation",
            Unit::Seconds,
            self.store_calls.clone(),
        );
    }

    /// The leases, and what happens without one.
    fn register_leases(&mut self) {
        let r = &mut self.registry;
        r.register("leases", "Leases that were granted, busy, lost, broken or handed over", self.leases.clone());
        r.register(
            "overtaken",
            "Work orders whose write came too late, because another write had changed the row",
            self.overtaken.clone(),
        );
        r.register("fenced_off", "Work orders whose write was refused under an older fence", self.fenced_off.clone());
        r.register(
            "fallback",
            "Work orders that were written with a row lock, because there was no lease",
            self.fallback.clone(),
        );
        r.register(
            "breaker_open",
            "1 while the breaker is open, so that Redis gets no requests",
            self.breaker_open.clone(),
        );
        for event in ["granted", "busy", "lost", "broken", "handed_over"] {
            // They start at 0, so that an alarm rule sees the first increase.
            drop(self.leases.get_or_create(&LeaseLabel { event }));
        }
    }

    /// The requests.
    fn register_http(&mut self) {
        let r = &mut self.registry;
        r.register("connections", "Connections that are open", self.connections.clone());
        r.register("http_requests", "HTTP requests that were answered", self.http_requests.clone());
    }

    /// The checks of the log.
    fn register_checks(&mut self) {
        let r = &mut self.registry;
        r.register("checks", "Checks of the log against the quantities, by range and result", self.checks.clone());
        r.register_with_unit("check", "Time that checks took, by range", Unit::Seconds, self.check_durations.clone());
        r.register("check_rows", "Rows of the log read by checks", self.check_rows.clone());
        r.register("findings_open", "Findings that were open at the last look", self.findings_open.clone());
        for range in ["recent", "full"] {
            for result in ["good", "drift", "failed"] {
                drop(self.checks.get_or_create(&CheckLabels { range, result }));
            }
        }
    }

    /// The alarms and their channels.
    fn register_alarms(&mut self) {
        let r = &mut self.registry;
        r.register(
            "alarms_open",
            "Open alarms, seen by the replica that watches the alarms now",
            self.alarms_open.clone(),
        );
        r.register(
            "alarm_messages",
            "Attempts to send messages to a channel, and messages that were dropped",
            self.alarm_messages.clone(),
        );
        r.register("alarm_waiting", "Messages that wait for their channel", self.alarm_waiting.clone());
        r.register(
            "alarm_channel_failing",
            "1 if the last attempt of the channel failed",
            self.alarm_channel_failing.clone(),
        );
    }
}

/// Upper bounds of times, from a look-up in memory to the longest wait for an answer.
const SECONDS: [f64; 14] = [0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0, 10.0];

/// Upper bounds of checks in seconds, from one page to a night.
const MINUTES: [f64; 12] = [0.01, 0.05, 0.2, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3600.0, 7200.0, 21600.0];

/// The format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts the log on stderr. `filter` is as in `RUST_LOG`. Without a `format`, it is text on a
/// terminal and JSON elsewhere.
///
/// # Errors
/// If the filter can't be read, or a log was started before.
pub fn start_log(format: Option<LogFormat>, filter: &str) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let filter = EnvFilter::try_new(filter)?;
    let terminal = std::io::stderr().is_terminal();
    let format = format.unwrap_or(if terminal { LogFormat::Text } else { LogFormat::Json });
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(terminal).try_init(),
        LogFormat::Json => log.json().flatten_event(true).try_init(),
    }
}

/// Checks that a filter can be read, as in `RUST_LOG`.
///
/// # Errors
/// If it can't be read: the reason.
pub fn check_filter(filter: &str) -> Result<(), String> {
    EnvFilter::try_new(filter).map(drop).map_err(|error| error.to_string())
}

/// The causes of an error for the log, the outermost first. Some errors repeat their cause in their own
/// text; then it is left out here.
#[must_use]
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut causes: Vec<String> = Vec::new();
    let mut next = error.source();
    while let Some(cause) = next {
        let text = cause.to_string();
        if !causes.last().is_some_and(|outer| outer.contains(&text)) {
            causes.push(text);
        }
        next = cause.source();
    }
    causes.join(": ")
}
