//! Mail by SMTP, with TLS unless the configuration says otherwise.
//!
//! The server's name is looked up here and its address handed to the transport, so that
//! only addresses within reach are connected to; the certificate is checked against the name.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::address_policy::AddressPolicy;
use super::{Letter, Refused, Taken};
use crate::domain::channel::{Address, MailTls, Secret};

/// How long each answer of the server may take.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// Ports by scheme, where the URL names none.
const SUBMISSIONS: u16 = 465;
const SUBMISSION: u16 = 587;

/// Sends mail by one server to the same people.
pub(super) struct Mail {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<Credentials>,
    message: MessageBuilder,
    reach: AddressPolicy,
}

impl Mail {
    /// Mail from and to these addresses.
    pub(super) fn new(
        url: &Address,
        tls: MailTls,
        from: &str,
        to: &[String],
        login: Option<&(String, Secret)>,
        reach: AddressPolicy,
    ) -> Result<Self, String> {
        let mailbox = |text: &str| text.parse::<Mailbox>().map_err(|error| format!("{text:?}: {error}"));
        let mut message = Message::builder().from(mailbox(from)?);
        for to in to {
            message = message.to(mailbox(to)?);
        }
        let host = url.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let parameters = || TlsParameters::new(host.clone()).map_err(|error| error.to_string());
        let (default_port, tls) = match tls {
            MailTls::FromStart => (SUBMISSIONS, Tls::Wrapper(parameters()?)),
            MailTls::StartTls => (SUBMISSION, Tls::Required(parameters()?)),
            MailTls::None => (SUBMISSION, Tls::None),
        };
        Ok(Self {
            port: url.reveal().port().unwrap_or(default_port),
            tls,
            login: login.map(|(name, secret)| Credentials::new(name.clone(), secret.reveal().to_owned())),
            message,
            reach,
            host,
        })
    }

    /// Sends one letter. Its Message-ID stays the same over all attempts.
    pub(super) async fn send(&self, letter: &Letter) -> Result<Taken, Refused> {
        let message = self
            .message
            .clone()
            .subject(letter.title.clone())
            .date(letter.at.to_utc().into())
            .message_id(Some(format!("<{}@scanfence>", letter.message_id)))
            // No answer from a machine that is on holiday (RFC 3834).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}\r\n", letter.lines.join("\r\n")))
            .map_err(|error| Refused::because(error.to_string()))?;
        let addresses = self.reach.addresses(&self.host).await.map_err(|out| Refused::because(out.to_string()))?;
        let mut refused = Refused::because("no address".to_owned());
        for address in addresses {
            let mut transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(address.to_string())
                .port(self.port)
                .tls(self.tls.clone())
                .timeout(Some(ANSWER_LIMIT));
            if let Some(login) = &self.login {
                transport = transport.credentials(login.clone());
            }
            match transport.build().send(message.clone()).await {
                Ok(response) => {
                    let said: Vec<&str> = response.message().collect();
                    return Ok(Taken { said: format!("{} {}", response.code(), said.join(" ")) });
                }
                Err(error) => {
                    refused = Refused::because(error.to_string());
                    if was_answered(&error) {
                        break;
                    }
                }
            }
        }
        Err(refused)
    }
}

/// Whether a server said no, so that its other addresses would too.
fn was_answered(error: &smtp::Error) -> bool {
    error.status().is_some() || error.is_response() || error.is_client()
}
