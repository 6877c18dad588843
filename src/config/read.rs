//! From texts to the configuration: every setting is read, and settings that can't work together are refused.

use std::path::PathBuf;
use std::time::Duration;

use super::error::BadConfig;
use super::settings::{CHANNELS, Given, SETTINGS, Source};
use super::sources::Settings;
use super::{Access, Alarms, Config, Deployment, Fallback, Limits, Monitor, Redis, channels, values};
use crate::domain::channel::Channel;
use crate::schedule::{Schedule, Zone};
use crate::telemetry;

/// The shortest lease: three renewals and two time limits of a Redis call must fit into it.
const SHORTEST_LEASE: Duration = Duration::from_secs(1);

/// The most that `max-headers` may be, in bytes: the buffer of hyper ends a little above it.
const MOST_HEADERS: usize = 256 * 1024;

impl Settings {
    /// Reads every setting, and refuses settings that can't work together.
    ///
    /// # Errors
    /// See [`BadConfig`].
    pub fn read(&self) -> Result<Config, BadConfig> {
        let config = Config {
            deployment: self.deployment()?,
            listen: self.parsed("listen", values::address)?,
            shutdown_grace: self.duration("shutdown-grace")?,
            access: self.parsed("access", values::choice)?,
            allowed_hosts: self.parsed("allowed-hosts", values::hosts)?,
            public_origins: self.parsed("public-origins", values::origins)?,
            log_format: match self.text("log-format") {
                None => None,
                Some(_) => Some(self.parsed("log-format", values::choice)?),
            },
            log_filter: self.parsed("log-filter", |text| telemetry::check_filter(text).map(|()| text.to_owned()))?,
            limits: self.limits()?,
            queue: self.count("queue")?,
            queue_per_work_order: self.count("queue-per-work-order")?,
            late_scans: self.parsed("late-scans", values::duration_or_off)?,
            monitor: self.monitor()?,
            alarms: Alarms {
                channels: self.channels()?,
                after: self.duration("alarm-after")?,
                duplicates: self.count("alarm-duplicates")?,
                duplicates_within: self.duration("alarm-duplicates-within")?,
            },
        };
        if config.access == Access::Keys && !config.listen.ip().is_loopback() {
            return Err(BadConfig::Together(format!(
                "listen = {} would let everybody in, because no access keys exist; listen on 127.0.0.1, \
                 or set SCANFENCE_ACCESS=open if you trust everybody in this network",
                config.listen
            )));
        }
        Ok(config)
    }

    fn deployment(&self) -> Result<Deployment, BadConfig> {
        let ttl = self.duration("lease-ttl")?;
        let hold = self.duration("lease-hold")?;
        let fallback = self.parsed("lease-fallback", values::choice)?;
        if ttl < SHORTEST_LEASE {
            return Err(BadConfig::Together(format!(
                "lease-ttl must be at least {SHORTEST_LEASE:?}; a shorter lease ends before it can be renewed"
            )));
        }
        if hold < ttl {
            return Err(BadConfig::Together(
                "lease-hold is shorter than lease-ttl, so no lease could be renewed; \
                 set lease-hold to lease-ttl or longer"
                    .into(),
            ));
        }
        match (self.text("database-url"), self.text("redis-url")) {
            (None, None) => Ok(Deployment::Embedded { data: PathBuf::from(self.text("data").unwrap_or_default()) }),
            (None, Some(_)) => Err(BadConfig::Together(
                "REDIS_URL without DATABASE_URL: the embedded database does not use Redis; \
                 set DATABASE_URL to your PostgreSQL, or remove REDIS_URL"
                    .into(),
            )),
            (Some(_), None) if fallback == Fallback::Refuse => Err(BadConfig::Together(
                "lease-fallback = refuse without REDIS_URL: without Redis every scan is counted with row locks, \
                 which refuse forbids; set REDIS_URL, or remove lease-fallback"
                    .into(),
            )),
            (Some(database_url), redis_url) => {
                let redis = redis_url.map(|url| Redis { url, ttl, hold, fallback });
                Ok(Deployment::Shared { database_url, redis })
            }
        }
    }

    fn limits(&self) -> Result<Limits, BadConfig> {
        let limits = Limits {
            max_body: self.size("max-body")?,
            max_batch_body: self.size("max-batch-body")?,
            max_headers: self.size("max-headers")?,
            header_timeout: self.duration("header-timeout")?,
            idle_timeout: self.duration("idle-timeout")?,
            write_timeout: self.duration("write-timeout")?,
            request_timeout: self.duration("request-timeout")?,
            max_connections: self.count("max-connections")?,
            max_in_flight: self.count("max-in-flight")?,
        };
        match limits.max_headers > MOST_HEADERS {
            true => Err(BadConfig::Together(format!("max-headers must be at most {}KiB", MOST_HEADERS / 1024))),
            false => Ok(limits),
        }
    }

    fn monitor(&self) -> Result<Monitor, BadConfig> {
        let zone = self.parsed("time-zone", Zone::parse)?;
        Ok(Monitor {
            check_recent: self.parsed("check-recent", |text| Schedule::parse(text, zone))?,
            check_full: self.parsed("check-full", |text| Schedule::parse(text, zone))?,
            repair: self.parsed("repair-automatically", values::safe_kinds)?,
        })
    }

    /// A refusal does not show the text, which is full of secrets.
    fn channels(&self) -> Result<Vec<Channel>, BadConfig> {
        let Some(given) = self.given(CHANNELS) else { return Ok(Vec::new()) };
        channels::channels(&given.value)
            .map_err(|problem| BadConfig::Together(format!("{CHANNELS} (from {}): {problem}", given.source)))
    }

    fn text(&self, name: &'static str) -> Option<String> {
        self.given(name).map(|given| given.value.clone())
    }

    fn duration(&self, name: &'static str) -> Result<Duration, BadConfig> {
        self.parsed(name, values::duration)
    }

    fn count(&self, name: &'static str) -> Result<usize, BadConfig> {
        self.parsed(name, values::count)
    }

    fn size(&self, name: &'static str) -> Result<usize, BadConfig> {
        self.parsed(name, values::size)
    }

    fn parsed<T>(&self, name: &'static str, parse: impl Fn(&str) -> Result<T, String>) -> Result<T, BadConfig> {
        let nothing = Given { value: String::new(), source: Source::Default };
        let given = self.given(name).unwrap_or(&nothing);
        parse(&given.value).map_err(|problem| BadConfig::Value {
            name,
            env: SETTINGS.iter().find(|setting| setting.name == name).map_or("", |setting| setting.env),
            value: given.value.clone(),
            source_: given.source,
            problem,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::super::sources::tests::read;

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
            (vec!["--allowed-hosts", "line3:8080"], "without a port"),
            (vec!["--public-origins", "line3.plant"], "such as https://"),
            (vec!["--public-origins", "https://line3.plant/board"], "such as https://"),
            (vec!["--late-scans", "3 days ago"], "or off"),
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
        assert_eq!(read(&["--late-scans", "off"], &[]).unwrap().late_scans, None);
        assert_eq!(read(&[], &[]).unwrap().late_scans, Some(Duration::from_secs(72 * 60 * 60)));
        assert_eq!(read(&["--listen", "localhost:81"], &[]).unwrap().listen.to_string(), "127.0.0.1:81");
    }
}
