//! A POST to a receiver that is not trusted: no redirects, no proxy, no retries of its own,
//! nothing read without end, and no address but those within reach.

use std::net::SocketAddr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt as _;
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::header::{CONTENT_TYPE, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use url::{Host, Url};

use super::Refused;
use super::address_policy::AddressPolicy;
use crate::telemetry;

/// How long connecting may take, TLS included.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long the whole exchange may take.
const EXCHANGE_LIMIT: Duration = Duration::from_secs(15);
/// How much of an answer is read: a sender's is below 200 bytes.
const MOST_READ: usize = 16 * 1024;

/// Posts to one receiver.
#[derive(Clone, Debug)]
pub(super) struct Web {
    reach: AddressPolicy,
}

/// What to post.
#[derive(Debug)]
pub(super) struct Post {
    /// Where.
    pub url: Url,
    /// Headers besides the usual.
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
    /// Posts within this reach.
    pub(super) fn new(reach: AddressPolicy) -> Self {
        Self { reach }
    }

    /// Posts once.
    pub(super) async fn post(&self, post: Post) -> Result<Reply, Refused> {
        // An address in place of a name is not looked up, so it is judged here.
        let literal = match post.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            Some(Host::Domain(_)) | None => None,
        };
        if let Some(address) = literal {
            self.reach.judge(address).map_err(|out| Refused::because(out.to_string()))?;
        }
        let client = self.client(post.url.scheme() == "https").await?;
        let mut request = client.post(post.url).header(CONTENT_TYPE, "application/json; charset=utf-8");
        for (name, value) in post.headers {
            request = request.header(name, value);
        }
        let mut response = request.body(post.body).send().await.map_err(broken)?;
        let status = response.status();
        if status.is_redirection() {
            return Err(Refused::because(format!("HTTP {}: redirects are not followed", status.as_u16())));
        }
        let retry_after = pause(&response);
        let body = match read(&mut response).await {
            Ok(body) => body,
            // It is said already whether it was taken.
            Err(_) if status.is_success() || status == StatusCode::TOO_MANY_REQUESTS => Vec::new(),
            Err(error) => return Err(broken(error)),
        };
        Ok(Reply { status: status.as_u16(), retry_after, body })
    }

    /// A client for one message. They are rare, so no connection is kept from one to the
    /// next; and a machine whose certificates are missing only fails its channels, until
    /// they are there.
    async fn client(&self, with_certificates: bool) -> Result<Client, Refused> {
        let builder = Client::builder()
            .user_agent(concat!("scanfence/", env!("CARGO_PKG_VERSION")))
            .dns_resolver(Names(self.reach.clone()))
            .redirect(redirect::Policy::none())
            .retry(reqwest::retry::never())
            .no_proxy()
            .referer(false)
            .connect_timeout(CONNECT_LIMIT)
            .timeout(EXCHANGE_LIMIT);
        let build = move || {
            // Whoever came first has set it, to the same.
            let _ = rustls::crypto::ring::default_provider().install_default();
            match with_certificates {
                true => builder.build(),
                false => builder.tls_certs_only([]).build(),
            }
        };
        // They are read from files.
        match tokio::task::spawn_blocking(build).await {
            Ok(built) => built.map_err(broken),
            Err(died) => Err(Refused::because(died.to_string())),
        }
    }
}

/// Looks names up within reach.
struct Names(AddressPolicy);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let reach = self.0.clone();
        async move {
            let addresses = reach.addresses(name.as_str()).await?;
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

/// Why there was no answer; the URL, being a secret, is left out.
fn broken(error: reqwest::Error) -> Refused {
    let error = error.without_url();
    let causes = telemetry::causes(&error);
    Refused::because(if error.is_timeout() { "no answer in time".to_owned() } else { format!("{error}: {causes}") })
}
