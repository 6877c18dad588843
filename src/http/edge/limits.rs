//! The limits of the edge. Beyond each of them a request waits or is refused, so that memory never
//! grows without end.

use std::time::Duration;

/// The limits of the edge.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Largest body, in bytes.
    pub body: usize,
    /// Largest body of a batch, in bytes.
    pub batch_body: usize,
    /// Largest request line and headers together, in bytes.
    pub headers: usize,
    /// How long the headers of a request may take.
    pub header_read: Duration,
    /// How long a connection may be idle between two requests.
    pub idle: Duration,
    /// How long a client may take to read the next bytes of its answer.
    pub write: Duration,
    /// How long a request may take, from its headers to its answer.
    pub request: Duration,
    /// Connections open at once. Beyond them a few are kept for health and metrics.
    pub connections: usize,
    /// Requests handled at once.
    pub in_flight: usize,
    /// How long a stopping service goes on answering 503, so that a load balancer sees it.
    pub linger: Duration,
    /// How long a stopping service waits for requests under way, `linger` included.
    pub grace: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            body: 16 * 1024,
            batch_body: 1024 * 1024,
            headers: 16 * 1024,
            header_read: Duration::from_secs(10),
            idle: Duration::from_secs(75),
            write: Duration::from_secs(10),
            request: Duration::from_secs(30),
            connections: 4096,
            in_flight: 4096,
            linger: Duration::from_secs(1),
            grace: Duration::from_secs(25),
        }
    }
}
