//! The sockets: accepts connections, limits them, and stops without losing a request.
//!
//! Beyond the limit of connections, some more are served, for health and metrics only. So a load balancer
//! sees a full service as what it is: alive and ready.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::{Request, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::{GracefulConnection, GracefulShutdown};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout_at};
use tower::ServiceExt as _;

use super::access::Peer;
use super::layer::router;
use super::limits::Limits;
use super::places::{KEPT_PATIENCE, Place, Places};
use super::wire::{Patience, Phase, Wire};
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
    let mut places = Places::new(limits.connections);
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
            (socket, peer, place) = accepted(&listener, &mut places) => {
                let connection = graceful.watch(connection(socket, peer, &place, routes.clone(), &limits));
                let open = Arc::clone(&http.metrics);
                open.connections.inc();
                connections.spawn(async move {
                    if let Err(error) = connection.await {
                        tracing::debug!(%error, "a connection ended early");
                    }
                    open.connections.dec();
                    drop(place);
                });
            }
        }
    };
    drop(listener);
    drained(&http, graceful, connections, stopped + limits.grace).await
}

/// HTTP/1.1 on a socket, with its limits. hyper has no time limits by default.
fn connection(
    socket: TcpStream,
    peer: Peer,
    place: &Place,
    routes: Router,
    limits: &Limits,
) -> impl GracefulConnection<Error = hyper::Error> + Send + use<> {
    let only_health = place.only_health;
    let at_most = if only_health.is_some() { KEPT_PATIENCE } else { Duration::MAX };
    let phase = Phase::new();
    let patience = Patience { head: limits.header_read.min(at_most), progress: limits.write, answer: limits.request };
    let socket = TokioIo::new(Wire::over(socket, Arc::clone(&phase), patience));
    let service = service_fn(move |mut request: Request<Incoming>| {
        phase.busy();
        let (routes, phase) = (routes.clone(), Arc::clone(&phase));
        async move {
            request.extensions_mut().insert(peer);
            only_health.map(|mark| request.extensions_mut().insert(mark));
            let response = routes.oneshot(request).await;
            phase.idle();
            response
        }
    });
    let mut protocol = http1::Builder::new();
    // Who closes his half after the request still reads the answer.
    protocol.half_close(true);
    // hyper counts it from the end of the last answer, so it limits an idle connection; [`Wire`] limits heads.
    protocol.timer(TokioTimer::new()).header_read_timeout(limits.idle.max(limits.header_read).min(at_most));
    protocol.max_header_size(limits.headers);
    protocol.serve_connection(socket, service)
}

/// The next connection, and its place. No error ends the loop: an error of one connection concerns only that
/// one, and a lack of file descriptors passes.
async fn accepted(listener: &TcpListener, places: &mut Places) -> (TcpStream, Peer, Place) {
    /// Long enough for some connections to end and release their file descriptors.
    const BACK_OFF: Duration = Duration::from_millis(200);
    loop {
        places.wait().await;
        match listener.accept().await {
            Ok((socket, peer)) => {
                if let Err(error) = socket.set_nodelay(true) {
                    tracing::debug!(%error, "a connection ended before it was served");
                    continue;
                }
                let Some(place) = places.take() else { continue };
                return (socket, Peer(peer), place);
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
