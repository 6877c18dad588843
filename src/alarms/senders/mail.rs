//! Mail by SMTP, with TLS unless the configuration turns it off.
//!
//! The server's name is looked up here, and its address is handed to the transport. So only allowed
//! addresses are connected to. The certificate is checked against the name.

use std::time::Duration;

use lettre::message::header::{ContentType, HeaderName, HeaderValue};
use lettre::message::{Mailbox, MessageBuilder};
use lettre::transport::smtp;
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport as _, Message, Tokio1Executor};

use super::address_policy::AddressPolicy;
use super::delivery::{Delivered, NotDelivered};
use super::message::WordedMessage;
use crate::domain::channel::{Address, MailTls, Secret};

/// How long the server may take for each answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// The ports of `smtps://` and `smtp://`, if the URL names none.
const SUBMISSIONS: u16 = 465;
const SUBMISSION: u16 = 587;

/// Sends mail through one server to the same people.
pub(super) struct Mail {
    host: String,
    port: u16,
    tls: Tls,
    login: Option<Credentials>,
    message: MessageBuilder,
    policy: AddressPolicy,
}

impl Mail {
    /// A sender of mail from and to these addresses.
    pub(super) fn new(
        url: &Address,
        tls: MailTls,
        from: &str,
        to: &[String],
        login: Option<&(String, Secret)>,
        policy: AddressPolicy,
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
            policy,
            host,
        })
    }

    /// Sends one message. Its Message-ID is the same for all attempts.
    pub(super) async fn send(&self, worded: &WordedMessage) -> Result<Delivered, NotDelivered> {
        let message = self
            .message
            .clone()
            .subject(worded.title.clone())
            .date(worded.at.to_utc().into())
            .message_id(Some(format!("<{}@scanfence>", worded.message_id)))
            // So that no out-of-office answer comes back (RFC 3834).
            .raw_header(HeaderValue::new(HeaderName::new_from_ascii_str("Auto-Submitted"), "auto-generated".to_owned()))
            .header(ContentType::TEXT_PLAIN)
            .body(format!("{}\r\n", worded.lines.join("\r\n")))
            .map_err(NotDelivered::because)?;
        let addresses = self.policy.addresses(&self.host).await.map_err(NotDelivered::because)?;
        let mut last = NotDelivered::because("no address");
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
                    return Ok(Delivered { said: format!("{} {}", response.code(), said.join(" ")) });
                }
                Err(error) => {
                    let was_answered = was_answered(&error);
                    last = NotDelivered::because(error);
                    if was_answered {
                        break;
                    }
                }
            }
        }
        Err(last)
    }
}

/// Whether the server answered. Then its other addresses would answer the same.
fn was_answered(error: &smtp::Error) -> bool {
    error.status().is_some() || error.is_response() || error.is_client()
}
