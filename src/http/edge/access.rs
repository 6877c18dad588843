//! Who may call (contract, section 8).
//!
//! There are no keys yet. The service answers callers on its own machine. If it is told so, it
//! answers everybody on a network that is trusted as a whole. Handlers only see the principal, so
//! that keys and roles can be added here alone.

use std::net::SocketAddr;
use std::sync::LazyLock;

use axum::http::header::{FORWARDED, HOST, VIA};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Uri};

use crate::domain::ids::Principal;
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;

/// Which callers the service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Callers on the same machine, without a proxy between.
    Loopback,
    /// Everybody who reaches it.
    Open,
}

/// The other end of a connection. The server puts it into every request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer(pub SocketAddr);

static LOOPBACK: LazyLock<Principal> = LazyLock::new(|| Principal::named("loopback"));
static OPEN: LazyLock<Principal> = LazyLock::new(|| Principal::named("open"));

impl Access {
    /// The caller's name, if it may call.
    pub(super) fn authenticate(self, request: &Parts) -> Result<Principal, Problem> {
        match (self, is_loopback(request)) {
            (Self::Loopback | Self::Open, true) => Ok(LOOPBACK.clone()),
            (Self::Open, false) => Ok(OPEN.clone()),
            (Self::Loopback, false) => Err(Problem::new(
                Code::Unauthenticated,
                "only callers on the same machine are served (Host localhost, 127.0.0.1 or [::1], no proxy between); \
                 on a network that you trust as a whole, set SCANFENCE_ACCESS=open",
            )),
        }
    }
}

/// Whether the caller is on this machine and addresses it as such. A proxy on this machine must not
/// make everybody local. Neither may a web page whose host name resolves to 127.0.0.1.
fn is_loopback(request: &Parts) -> bool {
    let Some(Peer(peer)) = request.extensions.get::<Peer>() else { return false };
    peer.ip().to_canonical().is_loopback()
        && names_loopback(&request.uri, &request.headers)
        && !proxied(&request.headers)
}

fn names_loopback(uri: &Uri, headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next().map(HeaderValue::to_str).is_some_and(|host| host.is_ok_and(is_loopback_name));
    host && hosts.next().is_none() && uri.authority().is_none_or(|authority| is_loopback_name(authority.as_str()))
}

fn is_loopback_name(host: &str) -> bool {
    let name = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => host,
    };
    name.eq_ignore_ascii_case("localhost") || name == "127.0.0.1" || name == "[::1]"
}

fn proxied(headers: &HeaderMap) -> bool {
    headers.contains_key(FORWARDED)
        || headers.contains_key(VIA)
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn caller(access: Access, peer: &str, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        let mut request = Request::get(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer(peer.parse().unwrap()));
        access.authenticate(&parts).ok().map(|principal| principal.to_string())
    }

    #[test]
    fn only_a_caller_on_the_same_machine_without_a_proxy_is_loopback() {
        let (near, far) = ("127.0.0.1:4000", "10.0.0.7:4000");
        let local = ("host", "localhost:8080");
        for (peer, uri, headers, loopback) in [
            (near, "/", &[local][..], true),
            (near, "/", &[("host", "LOCALHOST")], true),
            (near, "/", &[("host", "127.0.0.1:1")], true),
            ("[::1]:4000", "/", &[("host", "[::1]:8080")], true),
            ("[::ffff:127.0.0.1]:4000", "/", &[("host", "[::1]")], true),
            (near, "http://localhost/", &[local], true),
            (near, "http://factory.example/", &[local], false),
            (near, "/", &[], false),
            (near, "/", &[("host", "factory.example")], false),
            (near, "/", &[("host", "localhost.factory.example")], false),
            (near, "/", &[("host", "localhost:8080@factory.example")], false),
            (near, "/", &[("host", "factory.example:localhost")], false),
            (near, "/", &[local, ("host", "factory.example")], false),
            (near, "/", &[local, ("forwarded", "for=10.0.0.7")], false),
            (near, "/", &[local, ("x-forwarded-for", "127.0.0.1")], false),
            (near, "/", &[local, ("X-Forwarded-Proto", "https")], false),
            (near, "/", &[local, ("via", "1.1 proxy")], false),
            (far, "/", &[local], false),
        ] {
            let at = format!("{peer} {uri} {headers:?}");
            let name =
                |loopback, other: Option<&str>| if loopback { Some("loopback") } else { other }.map(str::to_owned);
            assert_eq!(caller(Access::Loopback, peer, uri, headers), name(loopback, None), "{at}");
            assert_eq!(caller(Access::Open, peer, uri, headers), name(loopback, Some("open")), "{at}");
        }
    }
}
