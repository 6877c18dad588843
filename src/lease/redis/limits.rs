//! The time limits of calls to Redis and of connecting to it.

use std::time::Duration;

/// A call takes no longer, connecting and one retry included. This is above the worst of a
/// healthy Redis (a slow `fork` or `fsync`), and far below any lease time.
pub const CALL_LIMIT: Duration = Duration::from_millis(150);

/// Connecting may take longer: it goes on in the background while several calls come and go.
/// It covers TLS, a look-up by Sentinel, the map of a cluster and one lost SYN.
pub const CONNECT_LIMIT: Duration = Duration::from_secs(2);
