//! Where Redis is: what a URL says.

use std::sync::Arc;

use ::redis::cluster::ClusterClient;
use ::redis::sentinel::{SentinelClient, SentinelClientBuilder, SentinelServerType};
use ::redis::{Client, ConnectionAddr, ConnectionInfo, IntoConnectionInfo as _, TlsMode};
use tokio::sync::Mutex;

use super::connection::{CALL_LIMIT, CONNECT_LIMIT};

/// Redis as named by its URL.
///
/// | form | |
/// | --- | --- |
/// | `redis://[[user]:password@]host[:6379][/db]` | one node |
/// | `redis+sentinel://[[user]:password@]host[:26379],…/master-name[/db]` | the master that Sentinel names; user and password are those of Redis |
/// | `redis+cluster://[[user]:password@]host[:6379],…` | a cluster, found from these nodes |
///
/// `rediss://`, `rediss+sentinel://` and `rediss+cluster://` are the same over TLS (Sentinel:
/// to the sentinels and to Redis).
pub enum Endpoint {
    /// One node.
    Single(Box<Client>),
    /// The master that Sentinel names at the time.
    Sentinel(Arc<Mutex<SentinelClient>>),
    /// A cluster, and the nodes from which it is found.
    Cluster(Box<ClusterClient>, Vec<Client>),
}

/// The URL names no Redis. Does not repeat the URL, which may hold a password.
#[derive(Debug, thiserror::Error)]
pub enum BadUrl {
    /// None of the known forms.
    #[error(
        "must be redis://host[:port][/db], redis+sentinel://host:port,…/master-name[/db] \
         or redis+cluster://host:port,… (rediss… for TLS)"
    )]
    Form,
    /// Sentinel needs the name of the master.
    #[error("redis+sentinel:// needs the master's name after the hosts: redis+sentinel://host:26379,…/master-name")]
    NoMasterName,
    /// A cluster has no numbered databases.
    #[error("redis+cluster:// takes no path: a cluster has no numbered databases")]
    PathOnCluster,
    /// The driver refuses it.
    #[error("not a usable Redis URL")]
    Refused(#[source] ::redis::RedisError),
}

const REDIS_PORT: u16 = 6379;
const SENTINEL_PORT: u16 = 26379;

impl Endpoint {
    /// Reads a URL; connects to nothing.
    ///
    /// # Errors
    /// Where it names no Redis.
    pub fn parse(url: &str) -> Result<Self, BadUrl> {
        let (scheme, rest) = url.trim().split_once("://").ok_or(BadUrl::Form)?;
        match scheme {
            "redis" | "rediss" | "unix" | "redis+unix" => {
                Ok(Self::Single(Box::new(Client::open(url.trim()).map_err(BadUrl::Refused)?)))
            }
            "redis+sentinel" | "rediss+sentinel" => Self::sentinel(scheme, &Parts::of(rest)?),
            "redis+cluster" | "rediss+cluster" => Self::cluster(scheme, &Parts::of(rest)?),
            _ => Err(BadUrl::Form),
        }
    }

    fn sentinel(scheme: &str, parts: &Parts<'_>) -> Result<Self, BadUrl> {
        let (master, db) = match parts.path.split_once('/') {
            Some((master, db)) => (master, db.parse().map_err(|_| BadUrl::Form)?),
            None => (parts.path, 0),
        };
        if master.is_empty() {
            return Err(BadUrl::NoMasterName);
        }
        let nodes = parts.nodes(scheme, SENTINEL_PORT)?;
        let redis = nodes.first().ok_or(BadUrl::Form)?.redis_settings().clone();
        let addresses = nodes.iter().map(|node| node.addr().clone());
        let mut builder = SentinelClientBuilder::new(addresses, master, SentinelServerType::Master)
            .map_err(BadUrl::Refused)?
            .set_client_to_redis_db(db);
        if let Some(ConnectionAddr::TcpTls { insecure, .. }) = nodes.first().map(ConnectionInfo::addr) {
            let mode = if *insecure { TlsMode::Insecure } else { TlsMode::Secure };
            builder = builder.set_client_to_redis_tls_mode(mode);
        }
        if let Some(username) = redis.username() {
            builder = builder.set_client_to_redis_username(username);
        }
        if let Some(password) = redis.password() {
            builder = builder.set_client_to_redis_password(password);
        }
        Ok(Self::Sentinel(Arc::new(Mutex::new(builder.build().map_err(BadUrl::Refused)?))))
    }

    fn cluster(scheme: &str, parts: &Parts<'_>) -> Result<Self, BadUrl> {
        if !parts.path.is_empty() {
            return Err(BadUrl::PathOnCluster);
        }
        let nodes = parts.nodes(scheme, REDIS_PORT)?;
        let client = ClusterClient::builder(nodes.clone())
            .retries(1)
            .connection_timeout(CONNECT_LIMIT / 2)
            .response_timeout(CALL_LIMIT)
            .build()
            .map_err(BadUrl::Refused)?;
        let nodes = nodes.into_iter().map(Client::open).collect::<Result<_, _>>().map_err(BadUrl::Refused)?;
        Ok(Self::Cluster(Box::new(client), nodes))
    }
}

/// A URL with several hosts, which no ordinary URL has.
struct Parts<'a> {
    /// With the `@`, or empty.
    credentials: &'a str,
    hosts: &'a str,
    /// Without the leading and a trailing `/`.
    path: &'a str,
}

impl<'a> Parts<'a> {
    fn of(rest: &'a str) -> Result<Self, BadUrl> {
        if rest.contains(['?', '#']) {
            return Err(BadUrl::Form);
        }
        let (credentials, rest) = match rest.rfind('@') {
            Some(at) => rest.split_at(at + 1),
            None => ("", rest),
        };
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        Ok(Self { credentials, hosts, path: path.strip_suffix('/').unwrap_or(path) })
    }

    fn nodes(&self, scheme: &str, default_port: u16) -> Result<Vec<ConnectionInfo>, BadUrl> {
        let scheme = if scheme.starts_with("rediss") { "rediss" } else { "redis" };
        let node = |host: &str| {
            let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            let port = if has_port { String::new() } else { format!(":{default_port}") };
            format!("{scheme}://{}{host}{port}", self.credentials).into_connection_info().map_err(BadUrl::Refused)
        };
        self.hosts.split(',').map(node).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documented_forms_are_read() {
        for url in ["redis://localhost", "redis://:secret@10.0.0.1:6380/2", "rediss://me:secret@redis.example/0"] {
            assert!(matches!(Endpoint::parse(url), Ok(Endpoint::Single(_))), "{url}");
        }
        for url in [
            "redis+sentinel://a,b:26380/line",
            "redis+sentinel://:p%40ss@a:26379,b:26379,c:26379/line/3",
            "rediss+sentinel://a/line/",
        ] {
            assert!(matches!(Endpoint::parse(url), Ok(Endpoint::Sentinel(_))), "{url}");
        }
        for url in ["redis+cluster://a:7000,b:7001", "rediss+cluster://me:secret@a,[::1]:7000/"] {
            assert!(matches!(Endpoint::parse(url), Ok(Endpoint::Cluster(_, nodes)) if nodes.len() == 2), "{url}");
        }
    }

    #[test]
    fn anything_else_is_refused_without_repeating_the_password() {
        for url in [
            "",
            "localhost",
            "http://localhost",
            "redis://",
            "redis://h/notanumber",
            "redis+sentinel://a:26379",
            "redis+sentinel://:geheim@a:26379/",
            "redis+sentinel://:geheim@a:26379/line/x",
            "redis+cluster://:geheim@a:7000/1",
            "redis+cluster://:geheim@a:7000,",
            "redis+cluster://:geheim@a:port",
        ] {
            let Err(error) = Endpoint::parse(url) else { panic!("{url} was taken") };
            assert!(!format!("{error:?} {error}").contains("geheim"), "{error:?}");
        }
    }

    #[test]
    fn hosts_without_a_port_get_the_usual_one() {
        let nodes = Parts::of("u:p@a,b:1,[::1]").unwrap().nodes("redis+sentinel", SENTINEL_PORT).unwrap();
        let addresses: Vec<String> = nodes.iter().map(|node| node.addr().to_string()).collect();
        assert_eq!(addresses, ["a:26379", "b:1", "::1:26379"]);
    }
}
