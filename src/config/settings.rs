//! The table of settings: name, environment variable, form, default and meaning of each one.

use clap::Arg;
use strum::Display;

/// One setting: a flag, an environment variable and a key of the settings file.
#[derive(Debug)]
pub struct Setting {
    /// The flag without its dashes. The key of the settings file has `_` instead of `-`.
    pub name: &'static str,
    /// The environment variable.
    pub env: &'static str,
    /// The default; `None`: not set.
    pub default: Option<&'static str>,
    /// Whether the value is hidden when it is shown, and may be given as a file (`…_FILE`).
    pub secret: bool,
    /// The form of the value, such as TIME; [`FORMS`] explains it.
    pub form: &'static str,
    /// What it means.
    pub help: &'static str,
}

/// The text of a setting, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The text.
    pub value: String,
    /// Where it came from.
    pub source: Source,
}

/// Where the value of a setting came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Display, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[strum(serialize_all = "lowercase")]
#[cfg_attr(test, derive(strum::VariantArray))]
pub enum Source {
    /// The command line.
    Flag,
    /// The environment.
    Environment,
    /// The file of `--config`.
    File,
    /// It was not given.
    Default,
}

/// Every setting (contract, sections 8 and 9).
pub const SETTINGS: &[Setting] = &[
    setting(
        "listen",
        "SCANFENCE_LISTEN",
        Some("127.0.0.1:8080"),
        "ADDRESS:PORT",
        "IP address and port that the service listens on",
    ),
    setting(
        "data",
        "SCANFENCE_DATA",
        Some("./data"),
        "FOLDER",
        "folder of the embedded database; not used if database-url is set",
    ),
    secret("database-url", "DATABASE_URL", "URL", "PostgreSQL 15 or later; if not set, the embedded database is used"),
    secret(
        "redis-url",
        "REDIS_URL",
        "URL",
        "Redis 7 or later, for leases; needs database-url; if not set, PostgreSQL row locks are used instead of leases",
    ),
    setting(
        "lease-ttl",
        "SCANFENCE_LEASE_TTL",
        Some("10s"),
        "TIME",
        "a lease ends after this time if it is not renewed; at least 1s",
    ),
    setting(
        "lease-hold",
        "SCANFENCE_LEASE_HOLD",
        Some("60s"),
        "TIME",
        "longest time that one replica keeps a lease; not shorter than lease-ttl",
    ),
    setting(
        "lease-fallback",
        "SCANFENCE_LEASE_FALLBACK",
        Some("database"),
        "database|refuse",
        "if Redis is down: database counts with row locks, slower; refuse answers 503 lease-unavailable",
    ),
    setting(
        "shutdown-grace",
        "SCANFENCE_SHUTDOWN_GRACE",
        Some("25s"),
        "TIME",
        "longest time that stopping the service may take",
    ),
    setting(
        "access",
        "SCANFENCE_ACCESS",
        Some("keys"),
        "keys|open",
        "keys: only callers on this machine, until access keys exist; open: everybody who reaches the port",
    ),
    setting(
        "allowed-hosts",
        "SCANFENCE_ALLOWED_HOSTS",
        None,
        "NAMES",
        "with access = open: names of this service besides its IP addresses and the machine's name, separated by commas",
    ),
    setting(
        "public-origins",
        "SCANFENCE_PUBLIC_ORIGINS",
        None,
        "ORIGINS",
        "addresses of this service in browsers, such as https://line3.plant, separated by commas; \
         if not set: http:// and the name in the browser's request",
    ),
    setting(
        "log-format",
        "SCANFENCE_LOG_FORMAT",
        None,
        "text|json",
        "format of log lines; if not set: text on a terminal, json elsewhere",
    ),
    setting(
        "log-filter",
        "RUST_LOG",
        Some("info"),
        "FILTER",
        "which log lines are written, such as warn or info,scanfence=debug",
    ),
    setting(
        "max-body",
        "SCANFENCE_MAX_BODY",
        Some("16KiB"),
        "SIZE",
        "largest body of a request; POST /v1/scans has its own limit",
    ),
    setting("max-batch-body", "SCANFENCE_MAX_BATCH_BODY", Some("1MiB"), "SIZE", "largest body of POST /v1/scans"),
    setting(
        "max-headers",
        "SCANFENCE_MAX_HEADERS",
        Some("16KiB"),
        "SIZE",
        "largest request line and headers together; at most 256KiB",
    ),
    setting(
        "header-timeout",
        "SCANFENCE_HEADER_TIMEOUT",
        Some("10s"),
        "TIME",
        "longest time that a client may take to send the headers of a request",
    ),
    setting(
        "idle-timeout",
        "SCANFENCE_IDLE_TIMEOUT",
        Some("75s"),
        "TIME",
        "longest time that a connection may be idle between two requests",
    ),
    setting(
        "write-timeout",
        "SCANFENCE_WRITE_TIMEOUT",
        Some("10s"),
        "TIME",
        "longest time that a client may take to read the next bytes of its answer",
    ),
    setting(
        "request-timeout",
        "SCANFENCE_REQUEST_TIMEOUT",
        Some("30s"),
        "TIME",
        "longest time that a whole request may take",
    ),
    setting(
        "max-connections",
        "SCANFENCE_MAX_CONNECTIONS",
        Some("4096"),
        "NUMBER",
        "most connections that are open at the same time",
    ),
    setting(
        "max-in-flight",
        "SCANFENCE_MAX_IN_FLIGHT",
        Some("4096"),
        "NUMBER",
        "most requests that are handled at the same time",
    ),
    setting("queue", "SCANFENCE_QUEUE", Some("20000"), "NUMBER", "most scans that wait to be counted"),
    setting(
        "queue-per-work-order",
        "SCANFENCE_QUEUE_PER_WORK_ORDER",
        Some("5000"),
        "NUMBER",
        "most scans of one work order that wait to be counted",
    ),
    setting(
        "late-scans",
        "SCANFENCE_LATE_SCANS",
        Some("72h"),
        "TIME|off",
        "a scan that was made before a hold is counted if it comes within this time; off: it is refused",
    ),
    setting(
        "check-recent",
        "SCANFENCE_CHECK_RECENT",
        Some("5m"),
        "SCHEDULE",
        "when the work orders that changed are checked against the log",
    ),
    setting(
        "check-full",
        "SCANFENCE_CHECK_FULL",
        Some("0 3 * * *"),
        "SCHEDULE",
        "when all work orders are checked against the log",
    ),
    setting(
        "time-zone",
        "SCANFENCE_TIME_ZONE",
        Some("local"),
        "ZONE",
        "time zone of cron expressions, such as Asia/Shanghai; local is the time zone of the machine",
    ),
    setting(
        "repair-automatically",
        "SCANFENCE_REPAIR_AUTOMATICALLY",
        None,
        "KINDS",
        "kinds of findings that are repaired without a person, with commas between them: \
         quantity, status, seq, fence, claim; if not set: none",
    ),
    secret(
        CHANNELS,
        "SCANFENCE_ALARM_CHANNELS",
        "CHANNELS",
        "who is notified of alarms: [[alarm_channels]] tables (TOML) or a JSON list; if not set: nobody",
    ),
    setting(
        "alarm-after",
        "SCANFENCE_ALARM_AFTER",
        Some("1m"),
        "TIME",
        "if Redis or the database is down for this long, an alarm fires",
    ),
    setting(
        "alarm-duplicates",
        "SCANFENCE_ALARM_DUPLICATES",
        Some("20"),
        "NUMBER",
        "if one station has this many refused duplicates, an alarm fires",
    ),
    setting(
        "alarm-duplicates-within",
        "SCANFENCE_ALARM_DUPLICATES_WITHIN",
        Some("1m"),
        "TIME",
        "time within which these duplicates are counted",
    ),
];

/// The setting that is a list of tables.
pub(super) const CHANNELS: &str = "alarm-channels";

/// What the forms of values are, for the end of `--help`.
pub const FORMS: &str = "\
Forms of values:
  TIME      a number above 0 with its unit: ms, s, m or h, such as 500ms, 10s, 5m
  SIZE      a number of bytes above 0, or of KiB or MiB, such as 16384, 16KiB, 1MiB
  NUMBER    a whole number above 0
  SCHEDULE  an interval such as 5m, a cron expression of five fields such as \"0 3 * * *\", or off

A flag overrides the environment. The environment overrides the settings file.
`scanfence config` prints every setting and where its value comes from.";

const fn setting(
    name: &'static str,
    env: &'static str,
    default: Option<&'static str>,
    form: &'static str,
    help: &'static str,
) -> Setting {
    Setting { name, env, default, secret: false, form, help }
}

const fn secret(name: &'static str, env: &'static str, form: &'static str, help: &'static str) -> Setting {
    Setting { name, env, default: None, secret: true, form, help }
}

/// One flag per setting, and `--config`.
pub fn flags() -> impl Iterator<Item = Arg> {
    let flags = SETTINGS.iter().map(|setting| {
        let Setting { name, env, default, secret, form, help } = *setting;
        let or_file = if secret { format!(" or {env}_FILE") } else { String::new() };
        let default = default.map(|default| format!(" [default: {default}]")).unwrap_or_default();
        Arg::new(name).long(name).value_name(form).global(true).help(format!("{help} [env: {env}{or_file}]{default}"))
    });
    flags.chain([Arg::new("config")
        .long("config")
        .value_name("FILE")
        .global(true)
        .help("settings file (TOML); a key is a flag's name with _ for -; if not set: no file is read")])
}

#[cfg(test)]
mod tests {
    use strum::VariantArray as _;

    use super::*;

    #[test]
    fn a_source_has_one_word_in_text_and_json() {
        for source in Source::VARIANTS {
            assert_eq!(serde_json::to_value(source).unwrap(), source.to_string());
        }
    }
}
