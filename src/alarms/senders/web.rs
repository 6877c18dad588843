//! Sends a POST to a receiver that is not trusted: no redirects, no proxy, no retries here, a limit
//! on what is read, and only allowed addresses.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use url::{Host, Url};

use super::address_policy::AddressPolicy;
use super::delivery::NotDelivered;
use crate::telemetry;

/// How long connecting may take, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the whole exchange may take.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(15);
/// How many bytes of an answer are read. A robot's answer is below 200 bytes.
const MOST_READ: usize = 16 * 1024;

/// Sends posts to one receiver.
#[derive(Clone, Debug)]
pub(super) struct Web {
    policy: AddressPolicy,
}

/// What to post.
#[derive(Debug)]
pub(super) struct Post {
    /// Where.
    pub url: Url,
    /// Headers in addition to the usual.
    pub headers: Vec<(&'static str, String)>,
    /// The body, JSON.
    pub body: String,
}

/// What was answered.
#[derive(Debug)]
pub(super) struct Reply {
    /// The status code.
    pub status: u16,
    /// The pause asked for.
    pub retry_after: Option<Duration>,
    /// The beginning of the body.
    pub body: Vec<u8>,
}

impl Web {
    /// Sends posts to addresses that this policy allows.
    pub(super) fn new(policy: AddressPolicy) -> Self {
        Self { policy }
    }

    /// Posts once.
    pub(super) async fn post(&self, post: Post) -> Result<Reply, NotDelivered> {
        // An IP address in the URL is not looked up, so it is judged here.
        let literal = match post.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = literal {
            self.policy.judge(address).map_err(NotDelivered::because)?;
        }
        let client = self.client(post.url.scheme() == "https").await?;
        let mut request = client.post(post.url).header(CONTENT_TYPE, "application/json; charset=utf-8");
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        let mut response = request.body(post.body).send().await.map_err(failed)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(NotDelivered::because(format!("HTTP {}: redirects are not followed", status.as_u16())));
        }
        let retry_after = pause(&response);
        let body = match read(&mut response).await {
            Ok(body) => body,
            // The status says enough.
            Err(_) if status.is_success() || status == StatusCode::TOO_MANY_REQUESTS => Vec::new(),
            Err(error) => return Err(failed(error)),
        };
        Ok(Reply { status: status.as_u16(), retry_after, body })
    }

    /// A client for one message. Messages are rare, so no connection is kept. If the machine's root
    /// certificates are missing, only the channels fail, until the certificates are there.
    async fn client(&self, with_certificates: bool) -> Result<Client, NotDelivered> {
        let builder = Client::builder()
            .user_agent(concat!("scanfence/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Names(self.policy.clone()))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(EXCHANGE_LIMIT);
        let build = move || {
            // An error says that it is set already, to the same provider.
            let _ = rustls::crypto::ring::default_provider().install_default();
            match with_certificates {
                true => builder.build(),
                false => builder.tls_certs_only([]).build(),
            }
        };
        // The certificates are read from files, which blocks.
        match tokio::task::spawn_blocking(build).await {
            Ok(built) => built.map_err(failed),
            Err(died) => Err(NotDelivered::because(died)),
        }
    }
}

/// Looks up names, and keeps the allowed addresses.
struct Names(AddressPolicy);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        async move {
            let addresses = policy.addresses(name.as_str()).await?;
            let addresses: Addrs = Box::new(addresses.into_iter().map(|address| SocketAddr::new(address, 0)));
            Ok(addresses)
        }
        .boxed()
    }
}

async fn read(response: &mut Response) -> Result<Vec<u8>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        let room = MOST_READ - body.len();
        body.extend_from_slice(&chunk[..chunk.len().min(room)]);
        if body.len() == MOST_READ {
            break;
        }
    }
    Ok(body)
}

/// `Retry-After` in seconds or as a date.
fn pause(response: &Response) -> Option<Duration> {
    let text = response.headers().get(RETRY_AFTER)?.to_str().ok()?.trim();
    match text.parse() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => (DateTime::parse_from_rfc2822(text).ok()?.to_utc() - Utc::now()).to_std().ok(),
    }
}

/// Why there was no answer. The URL is a secret and left out.
fn failed(error: reqwest::Error) -> NotDelivered {
    let error = error.without_url();
    let causes = telemetry::causes(&error);
    NotDelivered::because(if error.is_timeout() {
        "no answer in time".to_owned()
    } else {
        format!("{error}: {causes}")
    })
}
