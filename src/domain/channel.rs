//! The channels that notify people of alarms, as the settings name them.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use strum::{EnumDiscriminants, IntoStaticStr};
use url::Url;

use super::alarm::Kind;

/// The longest name of a channel, in characters. It is a label of metrics.
const LONGEST_NAME: usize = 32;
/// The key of a signed webhook, in bytes (Standard Webhooks).
const WEBHOOK_KEY: std::ops::RangeInclusive<usize> = 24..=64;

/// One channel.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Written")]
pub struct Channel {
    /// Its name. No other channel has it.
    pub name: String,
    /// The language of its messages.
    pub language: Language,
    /// The kinds of alarms that it gets; empty: all.
    pub alarms: Vec<Kind>,
    /// Whether its address may be in a private network.
    pub allow_private: bool,
    /// Who gets the messages, and how.
    pub receiver: Receiver,
}

impl Channel {
    /// Whether it gets alarms of this kind.
    #[must_use]
    pub fn gets(&self, kind: Kind) -> bool {
        self.alarms.is_empty() || self.alarms.contains(&kind)
    }
}

/// Who gets the messages of a channel, and how. Addresses are secrets, too: with the URL of a
/// group's bot anybody can write to the group.
#[derive(Clone, Debug, PartialEq, Eq, EnumDiscriminants)]
#[strum_discriminants(name(ReceiverKind), vis(pub(self)), derive(Deserialize, IntoStaticStr))]
#[strum_discriminants(serde(rename_all = "lowercase"), strum(serialize_all = "lowercase"))]
#[cfg_attr(test, strum_discriminants(derive(strum::EnumString, strum::VariantArray, serde::Serialize)))]
pub enum Receiver {
    /// The bot of a DingTalk group.
    DingTalk {
        /// Its address.
        url: Address,
        /// The key that signs messages, if the bot requires signed messages.
        secret: Option<Secret>,
    },
    /// The bot of a Feishu group.
    Feishu {
        /// Its address.
        url: Address,
        /// The key that signs messages, if the bot requires signed messages.
        secret: Option<Secret>,
    },
    /// The bot of a WeCom group. The key in its address is the secret.
    WeCom {
        /// Its address.
        url: Address,
    },
    /// A receiver that follows the Standard Webhooks specification.
    Webhook {
        /// Its address.
        url: Address,
        /// `whsec_` and the key in base64.
        secret: Secret,
    },
    /// Mail addresses.
    Mail {
        /// The mail server: `smtps://` with TLS from the start, `smtp://` with STARTTLS.
        url: Address,
        /// How the connection is protected.
        tls: MailTls,
        /// The sender.
        from: String,
        /// The receivers.
        to: Vec<String>,
        /// User name and password, if the server requires them.
        login: Option<(String, Secret)>,
    },
}

impl Receiver {
    /// The word of its kind, as in the settings.
    #[must_use]
    pub fn word(&self) -> &'static str {
        ReceiverKind::from(self).into()
    }
}

/// How the connection to a mail server is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MailTls {
    /// TLS from the start.
    FromStart,
    /// STARTTLS. If the server has none, nothing is sent.
    StartTls,
    /// No protection, for a relay inside the plant.
    None,
}

/// A language of messages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
pub enum Language {
    /// English.
    #[default]
    #[serde(rename = "en")]
    English,
    /// Chinese.
    #[serde(rename = "zh-CN")]
    Chinese,
}

/// A text that is never shown or logged.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct Secret(String);

impl Secret {
    /// The text itself. It must not be shown.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// A URL of which only scheme and host are ever shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Address(Url);

impl Address {
    /// The URL itself. It must not be shown.
    #[must_use]
    pub fn reveal(&self) -> &Url {
        &self.0
    }

    /// Its host.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host_str().unwrap_or_default()
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/***", self.0.scheme(), self.host())
    }
}

/// Why a channel can't be used.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("alarm channel {name:?}: {problem}")]
pub struct BadChannel {
    name: String,
    problem: String,
}

/// A channel as it is written in the settings.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    name: String,
    kind: ReceiverKind,
    url: Secret,
    secret: Option<Secret>,
    #[serde(default)]
    language: Language,
    #[serde(default)]
    alarms: Vec<Kind>,
    #[serde(default)]
    allow_private: bool,
    from: Option<String>,
    #[serde(default)]
    to: Vec<String>,
    username: Option<String>,
    tls: Option<bool>,
}

impl TryFrom<Written> for Channel {
    type Error = BadChannel;

    fn try_from(written: Written) -> Result<Self, BadChannel> {
        let name = written.name.clone();
        read(written).map_err(|problem| BadChannel { name, problem })
    }
}

fn read(written: Written) -> Result<Channel, String> {
    let Written { name, kind, url, secret, language, alarms, allow_private, from, to, username, tls } = written;
    let is_name = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if name.is_empty() || name.len() > LONGEST_NAME || !name.chars().all(is_name) {
        return Err(format!("its name must be 1 to {LONGEST_NAME} of a-z, 0-9 and -"));
    }
    let is_mail = matches!(kind, ReceiverKind::Mail);
    if !is_mail && (from.is_some() || !to.is_empty() || username.is_some() || tls.is_some()) {
        return Err("from, to, username and tls are only for kind mail".to_owned());
    }
    let url = address(&url, if is_mail { &["smtps", "smtp"] } else { &["https", "http"] })?;
    let receiver = match kind {
        ReceiverKind::DingTalk => Receiver::DingTalk { url, secret },
        ReceiverKind::Feishu => Receiver::Feishu { url, secret },
        ReceiverKind::WeCom if secret.is_some() => {
            return Err("remove secret: the secret of a WeCom bot is the key in its url".to_owned());
        }
        ReceiverKind::WeCom => Receiver::WeCom { url },
        ReceiverKind::Webhook => Receiver::Webhook { url, secret: webhook_secret(secret)? },
        ReceiverKind::Mail => {
            let tls = match (url.reveal().scheme(), tls) {
                ("smtps", Some(false)) => {
                    return Err("smtps always uses TLS: remove tls = false, or use smtp".to_owned());
                }
                ("smtps", _) => MailTls::FromStart,
                (_, None | Some(true)) => MailTls::StartTls,
                (_, Some(false)) => MailTls::None,
            };
            let login = match (username, secret) {
                (None, None) => None,
                (Some(_), Some(_)) if tls == MailTls::None => {
                    return Err(
                        "a password is never sent without TLS: remove tls = false, or the user name and password"
                            .to_owned(),
                    );
                }
                (Some(username), Some(secret)) => Some((username, secret)),
                (Some(_), None) | (None, Some(_)) => return Err("username and secret must be set together".to_owned()),
            };
            let from = from.ok_or("from is missing: the address of the sender")?;
            if to.is_empty() {
                return Err("to is missing: the addresses of the receivers".to_owned());
            }
            Receiver::Mail { url, tls, from, to, login }
        }
    };
    Ok(Channel { name, language, alarms, allow_private, receiver })
}

/// A refusal does not show the URL, because it is a secret.
fn address(url: &Secret, schemes: &[&str]) -> Result<Address, String> {
    let url = Url::parse(url.reveal()).map_err(|error| format!("its url can't be read: {error}"))?;
    if !schemes.contains(&url.scheme()) {
        return Err(format!("its url must begin with {}://", schemes.join(":// or ")));
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err("its url has no host".to_owned());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("its url must not have a user name or password".to_owned());
    }
    Ok(Address(url))
}

fn webhook_secret(secret: Option<Secret>) -> Result<Secret, String> {
    let secret = secret.ok_or("its secret is missing: it must be whsec_ and 24 to 64 random bytes in base64")?;
    let key = secret.reveal().strip_prefix("whsec_").and_then(|key| STANDARD.decode(key).ok());
    match key {
        Some(key) if WEBHOOK_KEY.contains(&key.len()) => Ok(secret),
        Some(_) | None => Err("its secret must be whsec_ and 24 to 64 random bytes in base64".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::words::words_agree;
    use super::*;

    fn read(json: &str) -> Result<Channel, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn every_kind_of_channel_is_read() {
        let channel = read(
            r#"{"name":"line-3","kind":"dingtalk","url":"https://oapi.dingtalk.com/robot/send?access_token=t",
                "secret":"SEC","language":"zh-CN","alarms":["drift","storage-failing"]}"#,
        )
        .unwrap();
        assert_eq!((channel.language, channel.allow_private), (Language::Chinese, false));
        assert!(channel.gets(Kind::Drift) && !channel.gets(Kind::DuplicateBurst));
        for rest in [
            r#""kind":"feishu","url":"https://f.example/hook/x""#,
            r#""kind":"wecom","url":"https://w.example/send?key=x""#,
            r#""kind":"webhook","url":"http://h.example/x","secret":"whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw""#,
            r#""kind":"mail","url":"smtps://m.example","from":"a@b.example","to":["c@d.example"]"#,
            r#""kind":"mail","url":"smtp://m:25","from":"a@b.example","to":["c@d.example"],"tls":false"#,
            r#""kind":"mail","url":"smtp://m","from":"a@b.example","to":["c@d.example"],"username":"u","secret":"p""#,
        ] {
            let channel = read(&format!(r#"{{"name":"x",{rest}}}"#)).unwrap();
            assert!(channel.gets(Kind::DuplicateBurst) && channel.language == Language::English);
        }
    }

    #[test]
    fn a_kind_has_one_word_in_settings_and_text() {
        words_agree::<ReceiverKind>();
        assert_eq!(<&str>::from(ReceiverKind::DingTalk), "dingtalk");
    }

    #[test]
    fn what_is_no_channel_is_told_without_its_secrets() {
        for (rest, part) in [
            (r#""name":"Line 3","kind":"wecom","url":"https://w.example/?key=SECRET""#, "a-z"),
            (r#""name":"x","kind":"pigeon","url":"https://w.example/?key=SECRET""#, "pigeon"),
            (r#""name":"x","kind":"wecom","url":"ftp://w.example/?key=SECRET""#, "https://"),
            (r#""name":"x","kind":"wecom","url":"//SECRET""#, "url"),
            (r#""name":"x","kind":"wecom","url":"https://u:SECRET@w.example""#, "password"),
            (r#""name":"x","kind":"wecom","url":"https://w.example","secret":"SECRET""#, "key in its url"),
            (r#""name":"x","kind":"wecom","url":"https://w.example","lang":"en""#, "lang"),
            (r#""name":"x","kind":"wecom","url":"https://w.example","to":["a@b"]"#, "kind mail"),
            (r#""name":"x","kind":"webhook","url":"https://w.example""#, "whsec_"),
            (r#""name":"x","kind":"webhook","url":"https://w.example","secret":"whsec_SECRET""#, "24 to 64"),
            (r#""name":"x","kind":"mail","url":"smtp://m","to":["a@b"]"#, "from"),
            (r#""name":"x","kind":"mail","url":"smtp://m","from":"a@b""#, "to is"),
            (r#""name":"x","kind":"mail","url":"smtps://m","from":"a@b","to":["a@b"],"tls":false"#, "smtps"),
            (r#""name":"x","kind":"mail","url":"smtp://m","from":"a@b","to":["a@b"],"secret":"SECRET""#, "together"),
            (
                r#""name":"x","kind":"mail","url":"smtp://m","from":"a@b","to":["a@b"],"tls":false,
                "username":"u","secret":"SECRET""#,
                "without TLS",
            ),
        ] {
            let problem = read(&format!("{{{rest}}}")).unwrap_err();
            assert!(problem.contains(part) && !problem.contains("SECRET"), "{rest}: {problem}");
        }
    }

    #[test]
    fn what_is_shown_of_a_channel_has_no_secret() {
        let channel = read(
            r#"{"name":"x","kind":"feishu","url":"https://f.example/bot/v2/hook/TOKEN?key=TOKEN","secret":"TOKEN"}"#,
        );
        let shown = format!("{:?}", channel.unwrap());
        assert!(shown.contains("https://f.example/***") && !shown.contains("TOKEN"), "{shown}");
    }
}
