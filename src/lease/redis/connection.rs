//! The connection to Redis, whichever kind it is: bounded calls, connected anew when broken.
//!
//! Not the driver's `ConnectionManager`: that one keeps a connection on which calls time
//! out, and a partition that drops packets without a word would then last as long as TCP
//! is patient. Here a connection that fails or falls silent is dropped, whatever the kind,
//! and with Sentinel the master is looked up anew.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::Endpoint;
use crate::domain::ids::WorkOrderNumber;

/// A call takes no longer, connecting and one retry included: above the worst of a healthy
/// Redis (a slow `fork` or `fsync`), far below any lease time.
pub const CALL_LIMIT: Duration = Duration::from_millis(150);

/// Connecting goes on in the background of several calls, so it may take longer: TLS, a
/// look-up by Sentinel, the map of a cluster, one lost SYN.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(2);

/// Work orders per script on one node: Redis does nothing else meanwhile (some 2 ms).
const CHUNK: usize = 250;

/// A way to Redis that mends itself.
pub struct Wire {
    place: Endpoint,
    link: Mutex<Link>,
}

/// The present connection, or the attempt at one.
#[derive(Default)]
struct Link {
    /// Tells a connection from the one after it.
    number: u64,
    connecting: Option<Connecting>,
}

/// Callers that give up waiting leave it for the next.
type Connecting = Shared<BoxFuture<'static, Result<Connection, Arc<Failure>>>>;

/// Why Redis did not do it.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// No answer within the time limit.
    #[error("no answer within the time limit")]
    TooLate,
    /// An error of the driver or of Redis.
    #[error("{0}")]
    Redis(#[from] RedisError),
}

/// A script, by text and hash.
#[derive(Debug)]
pub struct Script {
    text: &'static str,
    hash: String,
}

impl Script {
    /// A script with this text.
    #[must_use]
    pub fn new(text: &'static str) -> Self {
        Self { text, hash: ::redis::Script::new(text).get_hash().to_owned() }
    }
}

/// One work order's part of a script: its number and its own arguments.
pub type Part = (WorkOrderNumber, Vec<String>);

/// What a script answered for each work order (`None`: nothing), and why it did not for all.
pub struct Outcome {
    /// In the order of the parts.
    pub answers: Vec<Option<Vec<String>>>,
    /// The last failure, where there was one.
    pub failure: Option<Arc<Failure>>,
}

impl Wire {
    /// A way to this place; connects at the first call.
    #[must_use]
    pub fn new(place: Endpoint) -> Self {
        Self { place, link: Mutex::default() }
    }

    /// Runs a script over these work orders, within [`CALL_LIMIT`]: in few calls on one node,
    /// one for each work order on a cluster, all on their way at once. What a broken
    /// connection has left undone is tried once more on a new one.
    pub async fn run(&self, script: &Script, shared: &[String], parts: &[Part]) -> Outcome {
        let deadline = Instant::now() + CALL_LIMIT;
        let size = if let Endpoint::Cluster(..) = self.place { 1 } else { CHUNK };
        let mut outcome = Outcome { answers: vec![None; parts.len()], failure: None };
        let mut undone: Vec<usize> = (0..parts.len()).step_by(size).collect();
        for _try in 0..2 {
            let (number, connection) = match self.connection(deadline).await {
                Ok(connected) => connected,
                Err(failure) => {
                    let too_late = matches!(*failure, Failure::TooLate);
                    outcome.failure = Some(failure);
                    if too_late { break } else { continue }
                }
            };
            let calls = std::mem::take(&mut undone).into_iter().map(|start| {
                let part = &parts[start..(start + size).min(parts.len())];
                let call = eval(connection.clone(), script, shared, part);
                async move { (start, timeout_at(deadline, call).await) }
            });
            outcome.failure = None;
            let mut silent = false;
            for (start, result) in join_all(calls).await {
                match result {
                    Ok(Ok(answers)) => {
                        for (place, answer) in outcome.answers[start..].iter_mut().zip(answers) {
                            *place = Some(answer);
                        }
                    }
                    Ok(Err(error)) => {
                        outcome.failure = Some(Arc::new(error.into()));
                        undone.push(start);
                    }
                    Err(_elapsed) => {
                        outcome.failure = Some(Arc::new(Failure::TooLate));
                        silent = true;
                    }
                }
            }
            if outcome.failure.is_none() {
                break;
            }
            self.drop_link(number);
            if silent {
                break;
            }
        }
        outcome
    }

    /// Asks a node for what leases need of it, by a script on parts of the caller's own: in one
    /// call on one node; on a cluster first for a sign of life, of every master, since the parts
    /// need not lie on all of them.
    pub async fn probe(&self, script: &Script, shared: &[String], parts: &[Part]) -> Result<(), Arc<Failure>> {
        let parts = match self.place {
            Endpoint::Cluster(..) => {
                self.ping().await?;
                parts
            }
            Endpoint::Single(_) | Endpoint::Sentinel(_) => &parts[..parts.len().min(1)],
        };
        self.run(script, shared, parts).await.failure.map_or(Ok(()), Err)
    }

    async fn ping(&self) -> Result<(), Arc<Failure>> {
        let deadline = Instant::now() + CALL_LIMIT;
        let (number, connection) = self.connection(deadline).await?;
        let result = match timeout_at(deadline, connection.query::<()>(&::redis::cmd("PING"))).await {
            Ok(result) => result.map_err(|error| Arc::new(error.into())),
            Err(_elapsed) => Err(Arc::new(Failure::TooLate)),
        };
        if result.is_err() {
            self.drop_link(number);
        }
        result
    }

    /// A connection of its own that hears `channel`.
    pub async fn subscribe(&self, channel: &str) -> Result<PubSub, Failure> {
        timeout(CONNECT_LIMIT, async {
            let mut pubsub = match &self.place {
                Endpoint::Single(client) => client.get_async_pubsub().await?,
                Endpoint::Sentinel(client) => {
                    let client = client.lock().await.async_get_client().await?;
                    client.get_async_pubsub().await?
                }
                Endpoint::Cluster(_, nodes) => {
                    let mut heard = Err((ErrorKind::Io, "no node").into());
                    for node in nodes {
                        heard = timeout(CONNECT_LIMIT / 4, node.get_async_pubsub())
                            .await
                            .unwrap_or_else(|_elapsed| Err((ErrorKind::Io, "connecting took too long").into()));
                        if heard.is_ok() {
                            break;
                        }
                    }
                    heard?
                }
            };
            pubsub.subscribe(channel).await?;
            Ok(pubsub)
        })
        .await
        .unwrap_or(Err(Failure::TooLate))
    }

    async fn connection(&self, deadline: Instant) -> Result<(u64, Connection), Arc<Failure>> {
        let (number, connecting) = {
            let mut link = self.link();
            if link.connecting.is_none() {
                link.number += 1;
                link.connecting = Some(connect(&self.place));
            }
            (link.number, link.connecting.clone().expect("it was made just above"))
        };
        match timeout_at(deadline, connecting).await {
            Ok(Ok(connection)) => Ok((number, connection)),
            Ok(Err(failure)) => {
                self.drop_link(number);
                Err(failure)
            }
            Err(_elapsed) => Err(Arc::new(Failure::TooLate)),
        }
    }

    fn drop_link(&self, number: u64) {
        let mut link = self.link();
        if link.number == number {
            link.connecting = None;
        }
    }

    fn link(&self) -> MutexGuard<'_, Link> {
        self.link.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection of any kind. Clones share it.
#[derive(Clone)]
enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

impl Connection {
    async fn query<T: FromRedisValue>(self, cmd: &Cmd) -> RedisResult<T> {
        match self {
            Self::Node(mut node) => cmd.query_async(&mut node).await,
            Self::Cluster(mut cluster) => cmd.query_async(&mut cluster).await,
        }
    }
}

fn connect(place: &Endpoint) -> Connecting {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_LIMIT)).set_response_timeout(Some(CALL_LIMIT));
    let connecting: BoxFuture<'static, RedisResult<Connection>> = match place {
        Endpoint::Single(client) => {
            let client = client.clone();
            async move { client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Node) }
                .boxed()
        }
        Endpoint::Sentinel(client) => {
            let client = Arc::clone(client);
            async move {
                let client = client.lock().await.async_get_client().await?;
                client.get_multiplexed_async_connection_with_config(&config).await.map(Connection::Node)
            }
            .boxed()
        }
        Endpoint::Cluster(client, _) => {
            let client = client.clone();
            async move { client.get_async_connection().await.map(Connection::Cluster) }.boxed()
        }
    };
    async move {
        match timeout(CONNECT_LIMIT, connecting).await {
            Ok(result) => result.map_err(|error| Arc::new(error.into())),
            Err(_elapsed) => Err(Arc::new(Failure::TooLate)),
        }
    }
    .boxed()
    .shared()
}

/// Runs a script by its hash, or by its text where Redis does not know it (any more).
async fn eval(
    connection: Connection,
    script: &Script,
    shared: &[String],
    parts: &[Part],
) -> RedisResult<Vec<Vec<String>>> {
    let answers: Vec<Vec<String>> =
        match connection.clone().query(&command("EVALSHA", &script.hash, shared, parts)).await {
            Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::NoScript) => {
                connection.query(&command("EVAL", script.text, shared, parts)).await?
            }
            answered => answered?,
        };
    if answers.len() == parts.len() {
        Ok(answers)
    } else {
        Err((ErrorKind::UnexpectedReturnType, "a script answered for other work orders").into())
    }
}

fn command(verb: &str, script: &str, shared: &[String], parts: &[Part]) -> Cmd {
    let mut cmd = ::redis::cmd(verb);
    cmd.arg(script).arg(3 * parts.len());
    for (work_order, _) in parts {
        for key in ["lease", "fence", "waiting"] {
            cmd.arg(format!("scanfence:{{{work_order}}}:{key}"));
        }
    }
    cmd.arg(shared);
    for (_, own) in parts {
        cmd.arg(own);
    }
    cmd
}
