//! The configuration, made from the settings. Flags override the environment, and the environment
//! overrides the settings file.
//!
//! - `settings`: the table of all settings, from which the flags are made.
//! - `sources`: gathers the texts.
//! - `values` and `channels`: read one text.
//! - `read`: reads all of them, and refuses settings that can't work together.

mod channels;
mod error;
mod read;
mod settings;
mod sources;
mod values;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use strum::{EnumString, VariantNames};

pub use self::error::BadConfig;
pub use self::settings::{FORMS, Given, SETTINGS, Setting, Source, flags};
pub use self::sources::Settings;
use crate::domain::channel::Channel;
use crate::domain::consistency::Kind;
use crate::schedule::Schedule;
use crate::telemetry::LogFormat;

/// The settings in force.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address and port to listen on.
    pub listen: SocketAddr,
    /// Which of the two deployments.
    pub deployment: Deployment,
    /// The longest time that a stop may take.
    pub shutdown_grace: Duration,
    /// Who may call.
    pub access: Access,
    /// Names under which clients reach the service, besides IP addresses and the machine's name.
    pub allowed_hosts: Vec<String>,
    /// Origins of the service's own pages, as browsers see them, in lower case.
    pub public_origins: Vec<String>,
    /// The format of log lines; `None`: text if stderr is a terminal, else JSON.
    pub log_format: Option<LogFormat>,
    /// Which log lines are written, as in `RUST_LOG`.
    pub log_filter: String,
    /// The limits of requests and connections.
    pub limits: Limits,
    /// Most scans that wait to be counted.
    pub queue: usize,
    /// Most scans of one work order that wait to be counted.
    pub queue_per_work_order: usize,
    /// How long ago a scan may have been made, for a hold that was set later to be passed over. `None`:
    /// no hold is passed over.
    pub late_scans: Option<Duration>,
    /// What the monitor does without a request.
    pub monitor: Monitor,
    /// What makes an alarm fire, and who is notified.
    pub alarms: Alarms,
}

/// What the monitor does without a request.
#[derive(Clone, Debug)]
pub struct Monitor {
    /// When the work orders that changed are checked.
    pub check_recent: Schedule,
    /// When all work orders are checked.
    pub check_full: Schedule,
    /// Kinds of findings that are repaired without a person.
    pub repair: Vec<Kind>,
}

/// What makes an alarm fire, and who is notified.
#[derive(Clone, Debug)]
pub struct Alarms {
    /// Who is notified.
    pub channels: Vec<Channel>,
    /// If Redis or the database is down for this long, an alarm fires.
    pub after: Duration,
    /// If one station has this many refused duplicates, an alarm fires.
    pub duplicates: usize,
    /// The time within which they are counted.
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
    /// PostgreSQL, with or without Redis.
    Shared {
        /// The address of PostgreSQL.
        database_url: String,
        /// Redis, for leases; `None`: row locks are used instead of leases.
        redis: Option<Redis>,
    },
}

/// Leases from Redis.
#[derive(Clone, Debug)]
pub struct Redis {
    /// Its address.
    pub url: String,
    /// A lease ends after this time if it is not renewed.
    pub ttl: Duration,
    /// The longest time that one replica keeps a lease.
    pub hold: Duration,
    /// What happens while it is down.
    pub fallback: Fallback,
}

/// What happens while Redis is down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Fallback {
    /// Scans are counted with row locks in the database.
    Database,
    /// Scans are answered 503 `lease-unavailable`.
    Refuse,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumString, VariantNames)]
#[strum(serialize_all = "lowercase")]
pub enum Access {
    /// Callers with a key. No keys exist yet, so only callers on this machine.
    Keys,
    /// Everybody who reaches the port.
    Open,
}

/// The limits of requests and connections.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Largest request body, in bytes.
    pub max_body: usize,
    /// Largest body of `POST /v1/scans`, in bytes.
    pub max_batch_body: usize,
    /// Largest request line and headers together, in bytes.
    pub max_headers: usize,
    /// The longest time that a client may take to send the headers of a request.
    pub header_timeout: Duration,
    /// The longest time that a connection may be idle.
    pub idle_timeout: Duration,
    /// The longest time that a client may take to read the next bytes of its answer.
    pub write_timeout: Duration,
    /// The longest time that a whole request may take.
    pub request_timeout: Duration,
    /// Most open connections.
    pub max_connections: usize,
    /// Most requests that are handled at the same time.
    pub max_in_flight: usize,
}
