//! The connection to Redis, of every kind: calls are bounded, and a broken connection is replaced.
//!
//! Not the driver's `ConnectionManager`: it keeps a connection on which calls time out. If the
//! network drops packets, such a connection would last until TCP gives up. Here a connection that
//! fails or does not answer is dropped, whatever the kind. With Sentinel the master is looked up again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use ::redis::aio::{MultiplexedConnection, PubSub};
use ::redis::cluster_async::ClusterConnection;
use ::redis::{AsyncConnectionConfig, Cmd, ErrorKind, FromRedisValue, RedisError, RedisResult, ServerErrorKind};
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared, join_all};
use tokio::time::{Instant, timeout, timeout_at};

use super::endpoint::Endpoint;
use super::limits::{CALL_LIMIT, CONNECT_LIMIT};
use crate::domain::ids::WorkOrderNumber;

/// Work orders per script on one node. While a script runs, Redis does nothing else (some 2 ms).
const CHUNK: usize = 250;

/// A connection to Redis that is replaced when it breaks.
pub struct RedisConnection {
    endpoint: Endpoint,
    current: Mutex<Current>,
}

/// The present connection, or the attempt at one.
#[derive(Default)]
struct Current {
    /// Distinguishes a connection from the one after it.
    number: u64,
    connecting: Option<Connecting>,
}

/// A caller that stops waiting leaves the attempt to the next caller.
type Connecting = Shared<BoxFuture<'static, Result<Connection, Arc<Failure>>>>;

/// Why a call to Redis failed.
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

/// What a script answered for each work order (`None`: nothing), and why some got no answer.
pub struct Outcome {
    /// In the order of the parts.
    pub answers: Vec<Option<Vec<String>>>,
    /// The last failure, if there was one.
    pub failure: Option<Arc<Failure>>,
}

impl RedisConnection {
    /// A connection to this endpoint. It connects at the first call.
    #[must_use]
    pub fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, current: Mutex::default() }
    }

    /// Runs a script over these work orders, within [`CALL_LIMIT`]. One node gets few calls, a
    /// cluster gets one for each work order; all are sent at once. What a broken connection has left
    /// undone is retried once on a new one.
    pub async fn run(&self, script: &Script, shared: &[String], parts: &[Part]) -> Outcome {
        let deadline = Instant::now() + CALL_LIMIT;
        let size = if let Endpoint::Cluster(..) = self.endpoint { 1 } else { CHUNK };
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
                        for (slot, answer) in outcome.answers[start..].iter_mut().zip(answers) {
                            *slot = Some(answer);
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
            self.drop_connection(number);
            if silent {
                break;
            }
        }
        outcome
    }

    /// Checks that Redis does what leases need, by a script on parts of the caller's own. One node
    /// gets one call. A cluster is pinged first, at every master, since the parts need not lie on all
    /// of them.
    pub async fn probe(&self, script: &Script, shared: &[String], parts: &[Part]) -> Result<(), Arc<Failure>> {
        let parts = match self.endpoint {
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
            self.drop_connection(number);
        }
        result
    }

    /// A separate connection that is subscribed to `channel`.
    pub async fn subscribe(&self, channel: &str) -> Result<PubSub, Failure> {
        timeout(CONNECT_LIMIT, async {
            let mut pubsub = match &self.endpoint {
                Endpoint::Single(client) => client.get_async_pubsub().await?,
                Endpoint::Sentinel(client) => {
                    let client = client.lock().await.async_get_client().await?;
                    client.get_async_pubsub().await?
                }
                Endpoint::Cluster(_, nodes) => {
                    let mut connected = Err((ErrorKind::Io, "no node").into());
                    for node in nodes {
                        connected = timeout(CONNECT_LIMIT / 4, node.get_async_pubsub())
                            .await
                            .unwrap_or_else(|_elapsed| Err((ErrorKind::Io, "connecting took too long").into()));
                        if connected.is_ok() {
                            break;
                        }
                    }
                    connected?
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
            let mut current = self.current();
            if current.connecting.is_none() {
                current.number += 1;
                current.connecting = Some(connect(&self.endpoint));
            }
            (current.number, current.connecting.clone().expect("it was made just above"))
        };
        match timeout_at(deadline, connecting).await {
            Ok(Ok(connection)) => Ok((number, connection)),
            Ok(Err(failure)) => {
                self.drop_connection(number);
                Err(failure)
            }
            Err(_elapsed) => Err(Arc::new(Failure::TooLate)),
        }
    }

    fn drop_connection(&self, number: u64) {
        let mut current = self.current();
        if current.number == number {
            current.connecting = None;
        }
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
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

fn connect(endpoint: &Endpoint) -> Connecting {
    let config =
        AsyncConnectionConfig::new().set_connection_timeout(Some(CONNECT_LIMIT)).set_response_timeout(Some(CALL_LIMIT));
    let connecting: BoxFuture<'static, RedisResult<Connection>> = match endpoint {
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

/// Runs a script by its hash, or by its text if Redis does not know the hash (any more).
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
