//! The configuration: flags over environment over file, each setting in one table.

use std::collections::{BTreeMap, BTreeSet};
use std::env::VarError;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Arg, ArgMatches};
use url::Url;

use crate::domain::channel::Channel;
use crate::domain::consistency::Kind;
use crate::schedule::{Schedule, Zone};

/// One setting, as flag, environment variable and key of the file.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes; in the file, with `_` for `-`.
    pub name: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The value where none is given; `None`: the setting is off.
    pub default: Option<&'static str>,
    /// Whether it is hidden when shown, and may be given as a file (`…_FILE`).
    pub secret: bool,
    /// What it means.
    pub help: &'static str,
}

const fn setting(name: &'static str, env: &'static str, default: Option<&'static str>, help: &'static str) -> Setting {
    Setting { name, env, default, secret: false, help }
}

const fn secret(name: &'static str, env: &'static str, help: &'static str) -> Setting {
    Setting { name, env, default: None, secret: true, help }
}

/// Every setting (contract, sections 8 and 9).
pub const SETTINGS: &[Setting] = &[
    setting("listen", "SCANFENCE_LISTEN", Some("127.0.0.1:8080"), "address and port to listen on"),
    setting("data", "SCANFENCE_DATA", Some("./data"), "data folder of the embedded store"),
    secret("database-url", "DATABASE_URL", "PostgreSQL 15 or later; without it the store is embedded"),
    secret("redis-url", "REDIS_URL", "Redis 7 or later; without it leases come from the database rows alone"),
    setting("lease-ttl", "SCANFENCE_LEASE_TTL", Some("10s"), "how long a lease lives unless renewed"),
    setting("lease-hold", "SCANFENCE_LEASE_HOLD", Some("60s"), "the longest that a lease is held"),
    setting("lease-fallback", "SCANFENCE_LEASE_FALLBACK", Some("database"), "when Redis is away: database or refuse"),
    setting("shutdown-grace", "SCANFENCE_SHUTDOWN_GRACE", Some("25s"), "how long stopping may take"),
    setting("access", "SCANFENCE_ACCESS", Some("keys"), "keys, or open for a network that is trusted as a whole"),
    setting("log-format", "SCANFENCE_LOG_FORMAT", None, "text or json; by default text on a terminal, else json"),
    setting("log-filter", "RUST_LOG", Some("info"), "which log lines are written"),
    setting("max-body", "SCANFENCE_MAX_BODY", Some("16KiB"), "largest request body"),
    setting("max-batch-body", "SCANFENCE_MAX_BATCH_BODY", Some("1MiB"), "largest body of POST /v1/scans"),
    setting("max-headers", "SCANFENCE_MAX_HEADERS", Some("16KiB"), "largest head of a request, 256KiB at most"),
    setting(
        "header-timeout",
        "SCANFENCE_HEADER_TIMEOUT",
        Some("10s"),
        "how long a client may take to send a request's head",
    ),
    setting("request-timeout", "SCANFENCE_REQUEST_TIMEOUT", Some("30s"), "how long a whole request may take"),
    setting("max-connections", "SCANFENCE_MAX_CONNECTIONS", Some("4096"), "most connections at once"),
    setting("max-in-flight", "SCANFENCE_MAX_IN_FLIGHT", Some("4096"), "most requests at once"),
    setting("queue", "SCANFENCE_QUEUE", Some("20000"), "most scans that wait to be counted"),
    setting(
        "queue-per-work-order",
        "SCANFENCE_QUEUE_PER_WORK_ORDER",
        Some("5000"),
        "most scans that wait for one work order",
    ),
    setting(
        "check-recent",
        "SCANFENCE_CHECK_RECENT",
        Some("5m"),
        "when changed work orders are checked: an interval, a cron expression, or off",
    ),
    setting(
        "check-full",
        "SCANFENCE_CHECK_FULL",
        Some("0 3 * * *"),
        "when all work orders are checked: an interval, a cron expression, or off",
    ),
    setting("time-zone", "SCANFENCE_TIME_ZONE", Some("local"), "time zone of cron expressions, such as Asia/Shanghai"),
    setting(
        "repair-automatically",
        "SCANFENCE_REPAIR_AUTOMATICALLY",
        None,
        "kinds of findings that are repaired without being asked: quantity, status, seq, fence, claim",
    ),
    secret("alarm-channels", "SCANFENCE_ALARM_CHANNELS", "who is told of alarms: [[alarm_channels]] tables, or JSON"),
    setting(
        "alarm-after",
        "SCANFENCE_ALARM_AFTER",
        Some("1m"),
        "how long Redis or the database may be away before an alarm",
    ),
    setting(
        "alarm-duplicates",
        "SCANFENCE_ALARM_DUPLICATES",
        Some("20"),
        "so many refused duplicates at one station raise an alarm",
    ),
    setting(
        "alarm-duplicates-within",
        "SCANFENCE_ALARM_DUPLICATES_WITHIN",
        Some("1m"),
        "the time within which they are counted",
    ),
];

/// The shortest lease: three renewals and two time limits of a Redis call must fit in.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// What is in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Which of the two deployments.
    pub deployment: Deployment,
    /// How long stopping may take.
    pub shutdown_grace: Duration,
    /// Who may call.
    pub access: Access,
    /// `text` or `json`; `None` by whether stderr is a terminal.
    pub log_format: Option<crate::telemetry::LogFormat>,
    /// As in `RUST_LOG`.
    pub log_filter: String,
    /// The limits of the edge.
    pub limits: Limits,
    /// Most scans that wait to be counted.
    pub queue: usize,
    /// Most scans that wait for one work order.
    pub queue_per_work_order: usize,
    /// What the monitor does by itself.
    pub monitor: Monitor,
    /// What raises an alarm, and who is told.
    pub alarms: Alarms,
}

/// What the monitor does by itself.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// When changed work orders are checked.
    pub check_recent: Schedule,
    /// When all are checked.
    pub check_full: Schedule,
    /// Kinds of findings that are repaired without being asked.
    pub repair: Vec<Kind>,
}

/// What raises an alarm, and who is told.
#[derive(Clone, Debug)]
pub struct Alarms {
    /// Who is told.
    pub channels: Vec<Channel>,
    /// How long Redis or the database may be away.
    pub after: Duration,
    /// So many refused duplicates at one station are too many.
    pub duplicates: usize,
    /// Within this time.
    pub duplicates_within: Duration,
}

/// The two deployments.
#[derive(Clone, Debug)]
pub enum Deployment {
    /// SQLite, no servers.
    Embedded {
        /// The data folder.
        data: PathBuf,
    },
    /// PostgreSQL, and Redis where there is one.
    Shared {
        /// Where PostgreSQL is.
        database_url: String,
        /// Where Redis is; `None`: leases from the database rows alone.
        redis: Option<Redis>,
    },
}

/// Leases from Redis.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Where it is.
    pub url: String,
    /// How long a lease lives unless renewed.
    pub ttl: Duration,
    /// The longest that a lease is held.
    pub hold: Duration,
    /// What happens while it is away.
    pub fallback: Fallback,
}

/// What happens while Redis is away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fallback {
    /// Row locks in the database.
    Database,
    /// 503 `lease-unavailable`.
    Refuse,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Callers with a key; until there is one, loopback callers only.
    Keys,
    /// Everybody: the network is trusted as a whole.
    Open,
}

/// The limits of the edge.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Largest body of a batch, in bytes.
    pub max_batch_body: usize,
    /// Largest head of a request, in bytes.
    pub max_headers: usize,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// How long a whole request may take.
    pub request_timeout: Duration,
    /// Most connections at once.
    pub max_connections: usize,
    /// Most requests at once.
    pub max_in_flight: usize,
}

/// A setting's text and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text.
    pub value: String,
    /// `flag`, `environment`, `file` or `default`.
    pub source: Source,
}

/// Where a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The file of `--config`.
    File,
    /// None of these.
    Default,
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Flag => "flag",
            Self::Environment => "environment",
            Self::File => "file",
            Self::Default => "default",
        })
    }
}

/// The most that `max-headers` may be, in bytes: hyper's buffer ends soon above it.
const MOST_HEADERS: usize = 256 * 1024;

/// Why the configuration can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadConfig {
    /// The file of `--config` can't be read.
    #[error("the configuration file {0} can't be read: {1}")]
    File(PathBuf, String),
    /// The file of `--config` has a key that is no setting.
    #[error("{0}: {1} is no setting; settings are: {2}")]
    UnknownKey(PathBuf, String, String),
    /// A variable of the environment is no text.
    #[error("{0} in the environment is not UTF-8")]
    NotUtf8(String),
    /// A secret is given twice.
    #[error("{0} and {0}_FILE are both set; give one of them")]
    SecretTwice(&'static str),
    /// The file that holds a secret can't be read.
    #[error("{0}_FILE can't be read: {1}")]
    SecretFile(&'static str, String),
    /// A value does not fit its setting.
    #[error("{name} = {value:?} (from {source_}; {env} in the environment): {problem}")]
    Value {
        /// The setting.
        name: &'static str,
        /// Its environment variable.
        env: &'static str,
        /// Its text, hidden where it is a secret.
        value: String,
        /// Where it came from.
        source_: Source,
        /// What is wrong with it.
        problem: String,
    },
    /// Settings that can't work together.
    #[error("{0}")]
    Together(String),
}

/// Every setting as it was given, before it is read.
#[derive(Clone, Debug)]
pub struct Settings(BTreeMap<&'static str, Given>);

/// One flag per setting, and `--config`.
pub fn flags() -> impl Iterator<Item = Arg> {
    let flags = SETTINGS.iter().map(|setting| {
        let default = setting.default.map(|default| format!(", default {default}")).unwrap_or_default();
        Arg::new(setting.name)
            .long(setting.name)
            .value_name("VALUE")
            .global(true)
            .help(format!("{} [{}{default}]", setting.help, setting.env))
    });
    flags.chain([Arg::new("config").long("config").value_name("FILE").global(true).help("settings file (TOML)")])
}

impl Settings {
    /// Gathers the settings from flags, the process's environment and the file.
    ///
    /// # Errors
    /// See [`BadConfig`].
    pub fn gather(flags: &ArgMatches) -> Result<Self, BadConfig> {
        Self::from_sources(flags, |name| std::env::var(name))
    }

    /// The defaults but for these, whatever the user has set.
    #[must_use]
    pub fn defaults_but(given: &[(&'static str, String)]) -> Self {
        let default = |setting: &Setting| Some((setting.name, setting.default?.to_owned()));
        let values = SETTINGS.iter().filter_map(default).chain(given.iter().cloned());
        Self(values.map(|(name, value)| (name, Given { value, source: Source::Default })).collect())
    }

    fn from_sources(flags: &ArgMatches, env: impl Fn(&str) -> Result<String, VarError>) -> Result<Self, BadConfig> {
        let env = |name: &str| match env(name) {
            Ok(value) => Ok(Some(value).filter(|value| !value.is_empty())),
            Err(VarError::NotPresent) => Ok(None),
            Err(VarError::NotUnicode(_)) => Err(BadConfig::NotUtf8(name.to_owned())),
        };
        let file = match flags.get_one::<String>("config") {
            Some(path) => read_file(Path::new(path))?,
            None => BTreeMap::new(),
        };
        let mut settings = BTreeMap::new();
        for setting in SETTINGS {
            let from_env = match setting.secret {
                true => secret_from_env(setting, &env)?,
                false => env(setting.env)?,
            };
            let given = flags
                .get_one::<String>(setting.name)
                .map(|value| (value.clone(), Source::Flag))
                .or(from_env.map(|value| (value, Source::Environment)))
                .or(file.get(setting.name).map(|value| (value.clone(), Source::File)))
                .or(setting.default.map(|value| (value.to_owned(), Source::Default)));
            if let Some((value, source)) = given {
                settings.insert(setting.name, Given { value, source });
            }
        }
        Ok(Self(settings))
    }

    /// Every setting in the order of the table, secrets hidden.
    #[must_use]
    pub fn shown(&self) -> Vec<(&'static Setting, Option<Given>)> {
        let shown = |setting: &Setting| {
            let given = self.0.get(setting.name)?;
            let value = if setting.secret { hide(&given.value) } else { given.value.clone() };
            Some(Given { value, source: given.source })
        };
        SETTINGS.iter().map(|setting| (setting, shown(setting))).collect()
    }

    /// Reads every setting, and refuses what can't work together.
    ///
    /// # Errors
    /// See [`BadConfig`].
    pub fn read(&self) -> Result<Config, BadConfig> {
        let database_url = self.text("database-url");
        let redis_url = self.text("redis-url");
        let ttl = self.duration("lease-ttl")?;
        let hold = self.duration("lease-hold")?;
        let fallback =
            self.choice("lease-fallback", &[("database", Fallback::Database), ("refuse", Fallback::Refuse)])?;
        if ttl < SHORTEST_LEASE {
            return Err(BadConfig::Together(format!(
                "lease-ttl must be at least {SHORTEST_LEASE:?}: renewals have to fit in"
            )));
        }
        if hold < ttl {
            return Err(BadConfig::Together("lease-hold is shorter than lease-ttl: no lease could be renewed".into()));
        }
        let deployment = match (database_url, redis_url) {
            (None, None) => Deployment::Embedded { data: PathBuf::from(self.text("data").unwrap_or_default()) },
            (None, Some(_)) => {
                return Err(BadConfig::Together(
                    "REDIS_URL without DATABASE_URL: the embedded store has one process and needs no Redis; \
                     set DATABASE_URL for the shared deployment, or leave REDIS_URL out"
                        .into(),
                ));
            }
            (Some(_), None) if fallback == Fallback::Refuse => {
                return Err(BadConfig::Together(
                    "lease-fallback = refuse without REDIS_URL: without Redis all is counted by the database's row \
                     locks, which is what refuse forbids; set REDIS_URL, or leave lease-fallback out"
                        .into(),
                ));
            }
            (Some(database_url), redis_url) => {
                let redis = redis_url.map(|url| Redis { url, ttl, hold, fallback });
                Deployment::Shared { database_url, redis }
            }
        };
        let config = Config {
            listen: self.parsed("listen", address)?,
            deployment,
            shutdown_grace: self.duration("shutdown-grace")?,
            access: self.choice("access", &[("keys", Access::Keys), ("open", Access::Open)])?,
            log_format: match self.text("log-format") {
                None => None,
                Some(_) => Some(self.choice(
                    "log-format",
                    &[("text", crate::telemetry::LogFormat::Text), ("json", crate::telemetry::LogFormat::Json)],
                )?),
            },
            log_filter: self
                .parsed("log-filter", |text| crate::telemetry::check_filter(text).map(|()| text.to_owned()))?,
            limits: Limits {
                max_body: self.size("max-body")?,
                max_batch_body: self.size("max-batch-body")?,
                max_headers: self.size("max-headers")?,
                header_timeout: self.duration("header-timeout")?,
                request_timeout: self.duration("request-timeout")?,
                max_connections: self.count("max-connections")?,
                max_in_flight: self.count("max-in-flight")?,
            },
            queue: self.count("queue")?,
            queue_per_work_order: self.count("queue-per-work-order")?,
            monitor: self.monitor()?,
            alarms: Alarms {
                channels: self.channels()?,
                after: self.duration("alarm-after")?,
                duplicates: self.count("alarm-duplicates")?,
                duplicates_within: self.duration("alarm-duplicates-within")?,
            },
        };
        if config.limits.max_headers > MOST_HEADERS {
            return Err(BadConfig::Together(format!("max-headers must be at most {}KiB", MOST_HEADERS / 1024)));
        }
        if config.access == Access::Keys && !config.listen.ip().is_loopback() {
            return Err(BadConfig::Together(format!(
                "no access key exists, so {} would be open to everybody: listen on 127.0.0.1, \
                 or set SCANFENCE_ACCESS=open if the network is trusted as a whole",
                config.listen
            )));
        }
        Ok(config)
    }

    fn monitor(&self) -> Result<Monitor, BadConfig> {
        let zone = self.parsed("time-zone", Zone::parse)?;
        Ok(Monitor {
            check_recent: self.parsed("check-recent", |text| Schedule::parse(text, zone))?,
            check_full: self.parsed("check-full", |text| Schedule::parse(text, zone))?,
            repair: self.parsed("repair-automatically", safe_kinds)?,
        })
    }

    /// What is wrong with them is told without their text, which is full of secrets.
    fn channels(&self) -> Result<Vec<Channel>, BadConfig> {
        let Some(given) = self.0.get(CHANNELS) else { return Ok(Vec::new()) };
        let bad = |problem: String| BadConfig::Together(format!("alarm-channels (from {}): {problem}", given.source));
        let channels = read_channels(&given.value).map_err(bad)?;
        let mut names = BTreeSet::new();
        match channels.iter().find(|channel| !names.insert(&channel.name)) {
            Some(twice) => Err(bad(format!("two channels are named {}", twice.name))),
            None => Ok(channels),
        }
    }

    fn text(&self, name: &'static str) -> Option<String> {
        self.0.get(name).map(|given| given.value.clone())
    }

    fn parsed<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, BadConfig> {
        let nothing = Given { value: String::new(), source: Source::Default };
        let given = self.0.get(name).unwrap_or(&nothing);
        parse(&given.value).map_err(|problem| BadConfig::Value {
            name,
            env: SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.env),
            value: given.value.clone(),
            source_: given.source,
            problem,
        })
    }

    fn duration(&self, name: &'static str) -> Result<Duration, BadConfig> {
        self.parsed(name, |text| match humantime::parse_duration(text) {
            Ok(duration) if duration > Duration::ZERO => Ok(duration),
            _ => Err("must be a time above 0 with its unit, such as 10s or 500ms".to_owned()),
        })
    }

    fn count(&self, name: &'static str) -> Result<usize, BadConfig> {
        self.parsed(name, |text| match text.parse() {
            Ok(count) if count > 0 && count <= tokio::sync::Semaphore::MAX_PERMITS => Ok(count),
            _ => Err("must be a whole number above 0".to_owned()),
        })
    }

    fn size(&self, name: &'static str) -> Result<usize, BadConfig> {
        self.parsed(name, |text| {
            let (digits, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
            let factor = match unit.trim() {
                "" | "B" => Some(1),
                "KiB" => Some(1024),
                "MiB" => Some(1024 * 1024),
                _ => None,
            };
            let size = factor.zip(digits.parse::<usize>().ok()).and_then(|(factor, number)| number.checked_mul(factor));
            size.filter(|&size| size > 0)
                .ok_or_else(|| "must be a size above 0, such as 16384, 16KiB or 1MiB".to_owned())
        })
    }

    fn choice<T: Copy>(&self, name: &'static str, choices: &[(&str, T)]) -> Result<T, BadConfig> {
        self.parsed(name, |text| {
            choices.iter().find(|(word, _)| *word == text).map(|&(_, choice)| choice).ok_or_else(|| {
                let words: Vec<_> = choices.iter().map(|(word, _)| *word).collect();
                format!("must be {}", words.join(" or "))
            })
        })
    }
}

/// A list of kinds, all of them safe to repair.
fn safe_kinds(text: &str) -> Result<Vec<Kind>, String> {
    let words = text.split(',').map(str::trim).filter(|word| !word.is_empty());
    let kind = |word| Kind::SAFE_TO_REPAIR.into_iter().find(|kind| kind.word() == word);
    words.map(kind).collect::<Option<_>>().ok_or_else(|| {
        let safe: Vec<_> = Kind::SAFE_TO_REPAIR.into_iter().map(Kind::word).collect();
        format!("must be a list of {}", safe.join(", "))
    })
}

/// An address and a port; `localhost` is the IPv4 loopback address.
fn address(text: &str) -> Result<SocketAddr, String> {
    let ip = text.strip_prefix("localhost:").map(|port| format!("127.0.0.1:{port}"));
    let problem = |_| "must be an IP address and a port, such as 127.0.0.1:8080".to_owned();
    ip.as_deref().unwrap_or(text).parse().map_err(problem)
}

fn secret_from_env(
    setting: &Setting,
    env: &impl Fn(&str) -> Result<Option<String>, BadConfig>,
) -> Result<Option<String>, BadConfig> {
    match (env(setting.env)?, env(&format!("{}_FILE", setting.env))?) {
        (Some(_), Some(_)) => Err(BadConfig::SecretTwice(setting.env)),
        (value, None) => Ok(value),
        (None, Some(path)) => match std::fs::read_to_string(path) {
            Ok(value) => Ok(Some(value.trim().to_owned())),
            Err(error) => Err(BadConfig::SecretFile(setting.env, error.to_string())),
        },
    }
}

fn read_file(path: &Path) -> Result<BTreeMap<String, String>, BadConfig> {
    let unreadable = |problem: String| BadConfig::File(path.to_owned(), problem);
    let text = std::fs::read_to_string(path).map_err(|error| unreadable(error.to_string()))?;
    let table: toml::Table = text.parse().map_err(|error: toml::de::Error| unreadable(error.to_string()))?;
    let mut file = BTreeMap::new();
    for (key, value) in table {
        let name = key.replace('_', "-");
        if !SETTINGS.iter().any(|setting| setting.name == name) {
            let names: Vec<_> = SETTINGS.iter().map(|setting| setting.name.replace('-', "_")).collect();
            return Err(BadConfig::UnknownKey(path.to_owned(), key, names.join(", ")));
        }
        let text = match value {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            toml::Value::Array(tables) if name == CHANNELS => {
                serde_json::to_string(&tables).map_err(|error| unreadable(error.to_string()))?
            }
            _ => return Err(unreadable(format!("{key} must be a text or a whole number"))),
        };
        file.insert(name, text);
    }
    Ok(file)
}

/// The setting that is a list of tables.
const CHANNELS: &str = "alarm-channels";

/// Channels as a JSON list, or as the TOML tables of the file.
fn read_channels(text: &str) -> Result<Vec<Channel>, String> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Tables {
        alarm_channels: Vec<Channel>,
    }
    let is_json = text.trim_start().strip_prefix('[').is_some_and(|rest| !rest.starts_with('['));
    match is_json {
        true => serde_json::from_str(text).map_err(|error| error.to_string()),
        // Its whole text would show the line that is wrong.
        false => toml::from_str(text).map(|tables: Tables| tables.alarm_channels).map_err(|e| e.message().to_owned()),
    }
}

/// An address without its password.
fn hide(secret: &str) -> String {
    match Url::parse(secret) {
        Ok(mut url) if url.has_host() => {
            if url.password().is_some() && url.set_password(Some("***")).is_err() {
                return "***".to_owned();
            }
            if url.query().is_some() {
                url.set_query(Some("***"));
            }
            url.into()
        }
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn gather(args: &[&str], env: &[(&str, &str)]) -> Result<Settings, BadConfig> {
        let command = clap::Command::new("scanfence").args(flags());
        let matches = command.get_matches_from(std::iter::once(&"scanfence").chain(args));
        let env: BTreeMap<_, _> = env.iter().copied().collect();
        Settings::from_sources(&matches, |name| {
            env.get(name).map(|&value| value.to_owned()).ok_or(VarError::NotPresent)
        })
    }

    fn read(args: &[&str], env: &[(&str, &str)]) -> Result<Config, BadConfig> {
        gather(args, env)?.read()
    }

    #[test]
    fn flags_win_over_the_environment_and_that_over_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scanfence.toml");
        std::fs::write(&file, "listen = \"127.0.0.1:3\"\nqueue = 7\nlease_ttl = \"3s\"").unwrap();
        let file = file.to_str().unwrap();
        let env = [("SCANFENCE_LISTEN", "127.0.0.1:2"), ("SCANFENCE_LEASE_TTL", "")];
        let config = read(&["--config", file, "--listen", "127.0.0.1:1"], &env).unwrap();
        assert_eq!((config.listen.port(), config.queue), (1, 7));
        assert_eq!(read(&["--config", file], &env).unwrap().listen.port(), 2);
        let ttl = gather(&["--config", file], &env).unwrap().0["lease-ttl"].clone();
        assert_eq!(ttl, Given { value: "3s".into(), source: Source::File }, "an empty variable is none");
    }

    #[test]
    fn what_does_not_fit_is_refused_with_its_name() {
        for (args, part) in [
            (vec!["--listen", "8080"], "listen"),
            (vec!["--lease-ttl", "10"], "lease-ttl"),
            (vec!["--lease-ttl", "0s"], "lease-ttl"),
            (vec!["--lease-ttl", "100ms"], "lease-ttl must be at least"),
            (vec!["--lease-hold", "5s"], "lease-hold is shorter"),
            (vec!["--access", "all"], "keys or open"),
            (vec!["--max-body", "1GB"], "max-body"),
            (vec!["--queue", "0"], "queue"),
            (vec!["--check-full", "at night"], "check-full"),
            (vec!["--time-zone", "Mars/Olympus"], "time-zone"),
            (vec!["--repair-automatically", "quantity,gap"], "quantity, status"),
            (vec!["--log-filter", "=x=y"], "log-filter"),
            (vec!["--redis-url", "redis://h"], "without DATABASE_URL"),
            (vec!["--database-url", "postgres://h", "--lease-fallback", "refuse"], "without REDIS_URL"),
            (vec!["--max-headers", "257KiB"], "max-headers must be at most 256KiB"),
            (vec!["--listen", "0.0.0.0:8080"], "SCANFENCE_ACCESS=open"),
        ] {
            let problem = read(&args, &[]).unwrap_err().to_string();
            assert!(problem.contains(part), "{args:?}: {problem}");
        }
        assert!(read(&["--listen", "0.0.0.0:8080", "--access", "open"], &[]).is_ok());
        assert_eq!(read(&["--listen", "localhost:81"], &[]).unwrap().listen.to_string(), "127.0.0.1:81");
    }

    #[test]
    fn a_variable_that_is_no_text_is_refused_not_taken_for_missing() {
        let matches = clap::Command::new("scanfence").args(flags()).get_matches_from(["scanfence"]);
        for broken in ["SCANFENCE_DATA", "DATABASE_URL", "DATABASE_URL_FILE"] {
            let settings = Settings::from_sources(&matches, |name| match name == broken {
                true => Err(VarError::NotUnicode("\u{fffd}".into())),
                false => Err(VarError::NotPresent),
            });
            assert_eq!(settings.unwrap_err(), BadConfig::NotUtf8(broken.to_owned()));
        }
    }

    #[test]
    fn an_unknown_key_of_the_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scanfence.toml");
        std::fs::write(&file, "lissten = \"127.0.0.1:3\"").unwrap();
        let problem = gather(&["--config", file.to_str().unwrap()], &[]).unwrap_err();
        assert!(matches!(problem, BadConfig::UnknownKey(_, key, _) if key == "lissten"));
    }

    #[test]
    fn secrets_come_from_files_and_are_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("url");
        std::fs::write(&file, "postgres://u:pass@h/db?sslpassword=word\n").unwrap();
        let file = file.to_str().unwrap();
        let settings = gather(&[], &[("DATABASE_URL_FILE", file)]).unwrap();
        assert!(matches!(settings.read().unwrap().deployment,
            Deployment::Shared { database_url, .. } if database_url.contains("u:pass@h")));
        let shown = format!("{:?}", settings.shown());
        assert!(shown.contains("postgres://u:***@h/db?***") && !shown.contains("pass@") && !shown.contains("word"));
        let twice = gather(&[], &[("DATABASE_URL_FILE", file), ("DATABASE_URL", "postgres://h")]);
        assert_eq!(twice.unwrap_err(), BadConfig::SecretTwice("DATABASE_URL"));
        assert_eq!(hide("no url at all: secret"), "***");
    }

    #[test]
    fn alarm_channels_come_from_tables_of_the_file_or_from_one_variable() {
        const TOML: &str = r#"
            [[alarm_channels]]
            name = "line-3"
            kind = "dingtalk"
            url = "https://oapi.dingtalk.com/robot/send?access_token=TOKEN"
            secret = "TOKEN"
            alarms = ["drift"]

            [[alarm_channels]]
            name = "night"
            kind = "mail"
            url = "smtps://mail.example"
            from = "scanfence@plant.example"
            to = ["shift@plant.example"]
            "#;
        const JSON: &str = r#"[{"name":"line-3","kind":"wecom","url":"https://w.example/send?key=TOKEN"}]"#;
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("scanfence.toml");
        std::fs::write(&file, format!("queue = 7\n{TOML}")).unwrap();
        let file = file.to_str().unwrap();
        let names = |config: Config| config.alarms.channels.into_iter().map(|c| c.name).collect::<Vec<_>>();
        assert_eq!(names(read(&["--config", file], &[]).unwrap()), ["line-3", "night"]);
        assert_eq!(names(read(&[], &[("SCANFENCE_ALARM_CHANNELS", TOML)]).unwrap()), ["line-3", "night"]);
        assert_eq!(names(read(&["--config", file], &[("SCANFENCE_ALARM_CHANNELS", JSON)]).unwrap()), ["line-3"]);
        assert!(names(read(&[], &[]).unwrap()).is_empty());
        let settings = gather(&["--config", file], &[]).unwrap();
        assert!(!format!("{:?} {:?}", settings.shown(), settings.read()).contains("TOKEN"));
    }

    #[test]
    fn the_example_of_alarm_channels_is_read_once_its_secrets_are_in() {
        let example = include_str!("../deploy/alarm-channels.toml");
        assert!(read_channels(example).is_err(), "nobody shall use a key that is published");
        let channels = read_channels(&example.replace("whsec_…", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")).unwrap();
        let kinds: Vec<&str> = channels.iter().map(|channel| channel.receiver.word()).collect();
        assert_eq!(kinds, ["dingtalk", "feishu", "wecom", "webhook", "mail"]);
    }

    #[test]
    fn alarm_channels_that_are_none_are_refused_without_their_secrets() {
        let twice = r#"{"name":"a","kind":"wecom","url":"https://w.example/send?key=TOKEN"}"#;
        for (text, part) in [
            (format!("[{twice},{twice}]"), "two channels are named a"),
            (r#"[{"name":"a","kind":"wecom","url":"https://w.example","secret":"TOKEN"}]"#.into(), "key in its url"),
            (r#"[{"name":"a","kind":"wecom","url":"https://w.example?key=TOKEN","x":1}]"#.into(), "unknown field `x`"),
            ("[[alarm_channels]]\nname = \"a\"\nkind = \"wecom\"\nurl = \"TOKEN\"".into(), "url"),
            ("[[alarm_channels]]\nurl = TOKEN".into(), "alarm-channels"),
            ("TOKEN".into(), "alarm-channels"),
        ] {
            let problem = read(&[], &[("SCANFENCE_ALARM_CHANNELS", &text)]).unwrap_err().to_string();
            assert!(problem.contains(part) && !problem.contains("TOKEN"), "{text}: {problem}");
        }
    }
}
