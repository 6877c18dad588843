//! The sockets: accepts connections, limits them, and stops without losing a request.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt as _;

use super::access::Peer;
use super::layer::router;
use super::limits::Limits;
use super::wire::Wire;
use crate::http::state::Http;

/// How a service has stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Drained {
    /// Connections that were still busy when the grace period ended, and were closed.
    pub connections_cut: usize,
    /// Requests with a task of their own that were still running when the grace period ended.
    /// Scans are not among them: counting finishes those, and is stopped after this.
    pub requests_left: usize,
}

/// Serves until the stop signal given to [`Http::new`], and then until the requests under way are
/// done or the grace period has ended.
///
/// From the signal on, `/readyz` and every `/v1` request are answered 503. For [`Limits::linger`],
/// new connections are still accepted, so that a load balancer sees the 503 and not a closed port.
pub async fn serve(listener: TcpListener, http: Arc<Http>) -> Drained {
    let limits = http.limits;
    let routes = router(Arc::clone(&http));
    let protocol = protocol(&limits);
    let slots = Arc::new(Semaphore::new(limits.connections));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();

    let closing = async {
        http.stop.cancelled().await;
        let stopped = Instant::now();
        sleep(limits.linger.min(limits.grace)).await;
        stopped
    };
    tokio::pin!(closing);
    let stopped = loop {
        tokio::select! {
            biased;
            stopped = &mut closing => break stopped,
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
            (socket, peer, slot) = accepted(&listener, &slots) => {
                let routes = routes.clone();
                let service = service_fn(move |request: Request<Incoming>| answer(routes.clone(), peer, request));
                let connection = protocol.serve_connection(Wire::over(TokioIo::new(socket)), service);
                let connection = graceful.watch(connection);
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    drop(slot);
                });
            }
        }
    };
    drop(listener);
    drained(&http, graceful, connections, stopped + limits.grace).await
}

/// HTTP/1.1 with its limits. hyper has no time limits by default.
fn protocol(limits: &Limits) -> http1::Builder {
    let mut protocol = http1::Builder::new();
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.header_read).max_header_size(limits.headers);
    protocol
}

async fn answer(
    routes: Router,
    peer: Peer,
    mut request: Request<Incoming>,
) -> Result<axum::response::Response, std::convert::Infallible> {
    request.extensions_mut().insert(peer);
    routes.oneshot(request).await
}

/// The next connection within the limit. No error ends the loop: an error of one connection concerns
/// only that one, and a lack of file descriptors passes.
async fn accepted(listener: &TcpListener, slots: &Arc<Semaphore>) -> (TcpStream, Peer, OwnedSemaphorePermit) {
    /// Long enough for some connections to end and release their file descriptors.
    const BACK_OFF: Duration = Duration::from_millis(200);
    loop {
        let slot = Arc::clone(slots).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((socket, peer)) => {
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "a connection ended before it was served");
                    continue;
                }
                return (socket, Peer(peer), slot);
            }
            Err(error) if of_one_connection(&error) => {
                tracing::debug!(%error, "a connection ended before it was accepted")
            }
            Err(error) => {
                tracing::warn!(%error, "no connection can be accepted now; trying again");
                sleep(BACK_OFF).await;
            }
        }
    }
}

fn of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

/// Waits until `deadline` for what is under way.
async fn drained(http: &Http, graceful: GracefulShutdown, mut connections: JoinSet<()>, deadline: Instant) -> Drained {
    http.tasks.close();
    // Connections first: an open one may still send a request.
    let ended = async {
        graceful.shutdown().await;
        while connections.join_next().await.is_some() {}
    };
    _ = timeout_at(deadline, ended).await;
    let connections_cut = connections.len();
    connections.shutdown().await;
    _ = timeout_at(deadline, http.tasks.wait()).await;
    let drained = Drained { connections_cut, requests_left: http.tasks.len() };
    if drained != (Drained { connections_cut: 0, requests_left: 0 }) {
        tracing::warn!(
            connections_cut = drained.connections_cut,
            requests_left = drained.requests_left,
            "the grace period ended before all requests were done"
        );
    }
    drained
}
