//! Who may call (contract, section 8).
//!
//! There are no keys yet. The service answers callers on its own machine. If it is told so, it
//! answers everybody on a network that is trusted as a whole. Handlers only see the principal, so
//! that keys and roles can be added here alone.
//!
//! No page of another origin can read or change anything, though nobody needs a key. A page whose name
//! resolves to our address (DNS rebinding) sends that name as `Host`, which is none of ours. A page that
//! sends a request here sends its `Origin`.

use std::net::{IpAddr, SocketAddr};
use std::sync::LazyLock;

use axum::http::header::{FORWARDED, HOST, ORIGIN, VIA};
use axum::http::request::Parts;
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderValue, Uri, Version};

use crate::domain::ids::Principal;
use crate::http::output::code::Code;
use crate::http::output::problem::Problem;

/// Which callers the service answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Access {
    /// Who may call.
    pub mode: Mode,
    /// Names of this service besides IP addresses and `localhost`, in lower case, for `Host`.
    pub allowed_hosts: Vec<String>,
    /// Our origins for browsers, in lower case. If there is none: the scheme of the connection, and `Host`.
    pub public_origins: Vec<String>,
}

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
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
    /// This mode, without further names.
    #[must_use]
    pub fn of(mode: Mode) -> Self {
        Self { mode, allowed_hosts: Vec::new(), public_origins: Vec::new() }
    }

    /// The caller's name, if it may call.
    pub(super) fn authenticate(&self, request: &Parts) -> Result<Principal, Problem> {
        let principal: &Principal = match (self.mode, is_loopback(request)) {
            (Mode::Loopback | Mode::Open, true) => &LOOPBACK,
            (Mode::Open, false) if self.is_ours(host(request)) => &OPEN,
            (Mode::Open, false) => {
                return Err(Problem::new(
                    Code::Forbidden,
                    "this service has no such name as in the header Host; use its IP address, or name it in allowed-hosts",
                ));
            }
            (Mode::Loopback, false) => {
                return Err(Problem::new(
                    Code::Unauthenticated,
                    "only callers on the same machine are served (Host localhost, 127.0.0.1 or [::1], no proxy \
                     between); on a network that you trust as a whole, set SCANFENCE_ACCESS=open",
                ));
            }
        };
        match request.method.is_safe() || self.is_from_here(request) {
            true => Ok(principal.clone()),
            false => Err(Problem::new(
                Code::Forbidden,
                "a page of another origin may change nothing here; name your own pages in public-origins",
            )),
        }
    }

    /// Whether this `Host` is a name of this service.
    fn is_ours(&self, host: Option<&str>) -> bool {
        let Some(host) = host.and_then(|host| host.parse::<Authority>().ok()) else { return false };
        let name = host.host().trim_start_matches('[').trim_end_matches(']').to_ascii_lowercase();
        !host.as_str().contains('@')
            && (name.parse::<IpAddr>().is_ok() || name == "localhost" || self.allowed_hosts.contains(&name))
    }

    /// Whether no page of another origin has sent this. Only browsers send an `Origin`.
    fn is_from_here(&self, request: &Parts) -> bool {
        let mut origins = request.headers.get_all(ORIGIN).iter();
        let origin = match (origins.next().map(HeaderValue::to_str), origins.next()) {
            (None, _) => return true,
            (Some(Ok(origin)), None) => origin.to_ascii_lowercase(),
            _ => return false,
        };
        match self.public_origins.is_empty() {
            // Nothing but plain HTTP is spoken here.
            true => host(request).is_some_and(|host| origin == format!("http://{}", host.to_ascii_lowercase())),
            false => self.public_origins.contains(&origin),
        }
    }
}

/// Refuses a request that does not say once for which host it is (RFC 9112, section 3.2).
pub(super) fn check_host(request: &Parts) -> Result<(), Problem> {
    let hosts = request.headers.get_all(HOST).iter().count();
    match hosts == 1 || hosts == 0 && request.version == Version::HTTP_10 {
        true => Ok(()),
        false => Err(Problem::new(Code::MalformedRequest, "send the header Host once")),
    }
}

/// For which host the request is.
fn host(request: &Parts) -> Option<&str> {
    match request.uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => request.headers.get(HOST)?.to_str().ok(),
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
        || headers.contains_key("x-real-ip")
        || headers.keys().any(|name| name.as_str().starts_with("x-forwarded-"))
}

#[cfg(test)]
mod tests {
    use axum::http::Request;

    use super::*;

    fn caller(mode: Mode, peer: &str, uri: &str, headers: &[(&str, &str)]) -> Option<String> {
        asked(&Access::of(mode), "GET", peer, uri, headers).ok()
    }

    /// The caller's name, or the code of the refusal.
    fn asked(access: &Access, method: &str, peer: &str, uri: &str, headers: &[(&str, &str)]) -> Result<String, Code> {
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        parts.extensions.insert(Peer(peer.parse().unwrap()));
        access.authenticate(&parts).map(|principal| principal.to_string()).map_err(|problem| problem.code)
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
            (near, "/", &[local, ("x-real-ip", "10.0.0.7")], false),
            (far, "/", &[local], false),
        ] {
            let at = format!("{peer} {uri} {headers:?}");
            let loopback = loopback.then(|| "loopback".to_owned());
            assert_eq!(caller(Mode::Loopback, peer, uri, headers), loopback, "{at}");
        }
    }

    #[test]
    fn a_request_says_once_for_which_host_it_is() {
        let checked = |version, hosts: &[&str]| {
            let request = Request::get("/").version(version);
            let request = hosts.iter().fold(request, |request, host| request.header("host", *host));
            check_host(&request.body(()).unwrap().into_parts().0).is_ok()
        };
        assert!(checked(Version::HTTP_11, &["h"]) && checked(Version::HTTP_10, &[]));
        assert!(!checked(Version::HTTP_11, &[]) && !checked(Version::HTTP_11, &["h", "h"]));
    }

    #[test]
    fn where_everybody_may_call_the_host_is_a_name_of_this_service() {
        let access = Access { allowed_hosts: vec!["line3.plant".into()], ..Access::of(Mode::Open) };
        for (host, open) in [
            ("10.0.0.2:8080", true),
            ("[fd00::2]:8080", true),
            ("localhost", true),
            ("LINE3.plant:80", true),
            ("line3", false),
            ("line3.plant.example", false),
            ("rebound.example:8080", false),
            ("10.0.0.2@rebound.example", false),
            ("10.0.0.2.rebound.example", false),
            ("", false),
        ] {
            let expected = if open { Ok("open".to_owned()) } else { Err(Code::Forbidden) };
            assert_eq!(asked(&access, "GET", "10.0.0.7:4000", "/", &[("host", host)]), expected, "{host}");
        }
        let absolute = asked(&access, "GET", "10.0.0.7:4000", "http://rebound.example/", &[("host", "10.0.0.2")]);
        assert_eq!(absolute, Err(Code::Forbidden), "the name in the request line counts");
    }

    #[test]
    fn a_page_of_another_origin_changes_nothing() {
        let named = Access { public_origins: vec!["https://line3.plant".into()], ..Access::of(Mode::Open) };
        let (open, loopback) = (Access::of(Mode::Open), Access::of(Mode::Loopback));
        for (access, host, origin, may) in [
            (&open, "10.0.0.2:8080", "http://10.0.0.2:8080", true),
            (&open, "10.0.0.2:8080", "http://10.0.0.2", false),
            (&open, "10.0.0.2:8080", "https://10.0.0.2:8080", false),
            (&open, "10.0.0.2:8080", "http://page.example", false),
            (&open, "10.0.0.2:8080", "null", false),
            (&named, "10.0.0.2:8080", "https://LINE3.plant", true),
            (&named, "10.0.0.2:8080", "http://10.0.0.2:8080", false),
            (&loopback, "localhost:8080", "http://localhost:8080", true),
            (&loopback, "localhost:8080", "http://localhost:3000", false),
            (&loopback, "127.0.0.1:8080", "http://page.example", false),
        ] {
            let peer = "127.0.0.1:4000";
            let headers = [("host", host), ("origin", origin)];
            for method in ["POST", "PUT", "PATCH", "DELETE", "BREW"] {
                let refused = asked(access, method, peer, "/", &headers).err();
                assert_eq!(refused, (!may).then_some(Code::Forbidden), "{method} {host} {origin}");
            }
            assert!(asked(access, "GET", peer, "/", &headers).is_ok(), "it can't read the answer");
        }
        let twice = [("host", "10.0.0.2"), ("origin", "http://10.0.0.2"), ("origin", "http://10.0.0.2")];
        assert_eq!(asked(&open, "POST", "10.0.0.7:1", "/", &twice), Err(Code::Forbidden));
    }
}
