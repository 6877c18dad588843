//! What each sender is sent, and what its answer means. Pure: the time is handed in.
//!
//! All texts go as plain text, in formats that know no markup: what a scanner or a person
//! typed can't become a link, a mention or a heading on somebody's screen.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use serde::Deserialize;
use serde_json::json;
use sha2::Sha256;
use standardwebhooks::Webhook;

use super::web::{Post, Reply};
use super::{Letter, Refused, Taken};
use crate::domain::channel::{Address, Language, Secret};
use crate::domain::time::Timestamp;

/// The longest text that a WeCom sender takes, in bytes.
const WECOM_BYTES: usize = 2048;
/// How long DingTalk keeps a sender silent that sent too fast.
const DINGTALK_PENALTY: Duration = Duration::from_secs(600);
/// How long the other senders' rates take to allow messages again.
const A_MINUTE: Duration = Duration::from_secs(60);

/// To a DingTalk sender: the signature goes into the URL.
pub(super) fn dingtalk(url: &Address, secret: Option<&Secret>, letter: &Letter, now: Timestamp) -> Post {
    let mut url = url.reveal().clone();
    if let Some(secret) = secret {
        let timestamp = now.to_utc().timestamp_millis();
        let sign = signature(secret.reveal().as_bytes(), &format!("{timestamp}\n{}", secret.reveal()));
        url.query_pairs_mut().append_pair("timestamp", &timestamp.to_string()).append_pair("sign", &sign);
    }
    let body = json!({"msgtype": "text", "text": {"content": letter.whole()}});
    Post { url, headers: Vec::new(), body: body.to_string() }
}

/// To a Feishu sender: the signature goes into the body; key and message are not where one
/// would expect them.
pub(super) fn feishu(url: &Address, secret: Option<&Secret>, letter: &Letter, now: Timestamp) -> Post {
    let paragraphs: Vec<_> = letter.lines.iter().map(|line| json!([{"tag": "text", "text": line}])).collect();
    let language = match letter.language {
        Language::English => "en_us",
        Language::Chinese => "zh_cn",
    };
    let mut body = json!({
        "msg_type": "post",
        "content": {"post": {language: {"title": letter.title, "content": paragraphs}}},
    });
    if let Some(secret) = secret {
        let timestamp = now.to_utc().timestamp();
        body["timestamp"] = timestamp.to_string().into();
        body["sign"] = signature(format!("{timestamp}\n{}", secret.reveal()).as_bytes(), "").into();
    }
    Post { url: url.reveal().clone(), headers: Vec::new(), body: body.to_string() }
}

/// To a WeCom sender.
pub(super) fn wecom(url: &Address, letter: &Letter) -> Post {
    let body = json!({"msgtype": "text", "text": {"content": cut(&letter.whole(), WECOM_BYTES)}});
    Post { url: url.reveal().clone(), headers: Vec::new(), body: body.to_string() }
}

/// To whatever understands the Standard Webhooks specification. The id stays the same
/// over all attempts, so that a receiver knows a repeat.
pub(super) fn webhook(url: &Address, secret: &Secret, letter: &Letter, now: Timestamp) -> Result<Post, Refused> {
    let body = letter.event.to_string();
    let timestamp = now.to_utc().timestamp();
    let signed = Webhook::new(secret.reveal())
        .and_then(|webhook| webhook.sign(&letter.message_id, timestamp, body.as_bytes()))
        .map_err(|_| Refused::because("the secret is no key".to_owned()))?;
    let headers = vec![
        (standardwebhooks::HEADER_WEBHOOK_ID, letter.message_id.clone()),
        (standardwebhooks::HEADER_WEBHOOK_TIMESTAMP, timestamp.to_string()),
        (standardwebhooks::HEADER_WEBHOOK_SIGNATURE, signed),
    ];
    Ok(Post { url: url.reveal().clone(), headers, body })
}

/// What DingTalk, WeCom and Feishu say in the body; HTTP 200 alone means nothing.
#[derive(Deserialize)]
struct Said {
    #[serde(alias = "code", alias = "StatusCode")]
    errcode: i64,
    #[serde(default, alias = "msg", alias = "StatusMessage")]
    errmsg: String,
}

/// What a sender's answer means: taken only where its body says so.
pub(super) fn robots_verdict(reply: &Reply) -> Result<Taken, Refused> {
    let status = reply.status;
    let said = said(&reply.body);
    let pause = match said.as_ref().map(|said| said.errcode) {
        // too fast: DingTalk; WeCom; Feishu, in two ways
        Some(130_101) => Some(DINGTALK_PENALTY),
        Some(45_009 | 9499 | 11_232) => Some(A_MINUTE),
        _ if status == 429 => Some(A_MINUTE),
        _ => None,
    };
    let pause = reply.retry_after.max(pause);
    match said {
        Some(Said { errcode: 0, errmsg }) if (200..300).contains(&status) => {
            Ok(Taken { said: format!("HTTP {status}, code 0 {errmsg}") })
        }
        Some(Said { errcode, errmsg }) => {
            Err(Refused { why: format!("HTTP {status}, code {errcode} {errmsg}"), pause })
        }
        None => Err(Refused { why: format!("HTTP {status} without a code in the body"), pause }),
    }
}

/// What a webhook's answer means: any 2xx is taken.
pub(super) fn webhooks_verdict(reply: &Reply) -> Result<Taken, Refused> {
    let why = format!("HTTP {}", reply.status);
    match reply.status {
        200..300 => Ok(Taken { said: why }),
        429 => Err(Refused { why, pause: reply.retry_after.max(Some(A_MINUTE)) }),
        _ => Err(Refused { why, pause: reply.retry_after }),
    }
}

/// Feishu's older answers have both its codes; of two names for one field serde takes none.
fn said(body: &[u8]) -> Option<Said> {
    let mut body: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(body).ok()?;
    if body.contains_key("code") {
        body.remove("StatusCode");
        body.remove("StatusMessage");
    }
    serde_json::from_value(body.into()).ok()
}

fn signature(key: &[u8], message: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length will do");
    mac.update(message.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

/// At most so many bytes, cut between characters and marked as cut.
fn cut(text: &str, bytes: usize) -> String {
    const MARK: &str = "…";
    if text.len() <= bytes {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(bytes - MARK.len());
    format!("{}{MARK}", &text[..end])
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn url(text: &str) -> Address {
        let json = format!(r#"{{"name":"x","kind":"wecom","url":"{text}"}}"#);
        let channel: crate::domain::channel::Channel = serde_json::from_str(&json).unwrap();
        match channel.receiver {
            crate::domain::channel::Receiver::WeCom { url } => url,
            other => panic!("{other:?}"),
        }
    }

    fn secret(text: &str) -> Secret {
        serde_json::from_value(text.into()).unwrap()
    }

    fn letter() -> Letter {
        Letter {
            message_id: "0192f0c1-6a3e-7c52-9d01-3b7a52c41e01".into(),
            at: at(1_700_000_000_000),
            language: Language::English,
            title: "Drift".into(),
            lines: vec!["W1 & \"W2\" <at user_id=\"all\">".into(), "[x](http://evil.example)".into()],
            event: json!({"type": "alarm.firing"}),
        }
    }

    fn at(milliseconds: i64) -> Timestamp {
        Timestamp::cut(chrono::DateTime::from_timestamp_millis(milliseconds).unwrap()).unwrap()
    }

    fn body(post: &Post) -> Value {
        serde_json::from_str(&post.body).unwrap()
    }

    fn reply(status: u16, body: &str) -> Reply {
        Reply { status, retry_after: None, body: body.into() }
    }

    #[test]
    fn dingtalk_is_signed_in_the_url() {
        let address = url("https://oapi.dingtalk.com/sender/send?access_token=t");
        let post = dingtalk(&address, Some(&secret("SECdemo0123456789")), &letter(), at(1_700_000_000_000));
        assert_eq!(
            post.url.as_str(),
            "https://oapi.dingtalk.com/sender/send?access_token=t&timestamp=1700000000000\
             &sign=ww0uYz9hgC%2F%2Fla1LzHCxhiH8ja6t5XU0VlJXBRQKVAA%3D"
        );
        let content = "Drift\nW1 & \"W2\" <at user_id=\"all\">\n[x](http://evil.example)";
        assert_eq!(body(&post), json!({"msgtype": "text", "text": {"content": content}}));
        assert_eq!(dingtalk(&address, None, &letter(), at(0)).url, *address.reveal());
    }

    #[test]
    fn feishu_is_signed_in_the_body() {
        let address = url("https://open.feishu.cn/open-apis/bot/v2/hook/t");
        let post = feishu(&address, Some(&secret("feishu-demo-secret")), &letter(), at(1_700_000_000_999));
        let body = body(&post);
        assert_eq!(body["timestamp"], "1700000000");
        assert_eq!(body["sign"], "LJ3PlcwviZMXQxiZQ4Jou4SlI9YJEmjE2SI9xcS1EG0=");
        assert_eq!(body["msg_type"], "post");
        let post = &body["content"]["post"]["en_us"];
        assert_eq!(post["title"], "Drift");
        assert_eq!(post["content"][0], json!([{"tag": "text", "text": "W1 & \"W2\" <at user_id=\"all\">"}]));
        assert_eq!(post["content"].as_array().unwrap().len(), 2);
        let chinese = Letter { language: Language::Chinese, ..letter() };
        let unsigned: Value = serde_json::from_str(&feishu(&address, None, &chinese, at(0)).body).unwrap();
        assert!(unsigned["content"]["post"]["zh_cn"].is_object() && unsigned.get("sign").is_none());
    }

    #[test]
    fn wecom_gets_no_more_than_it_takes_and_no_half_character() {
        let address = url("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=k");
        for lines in [vec!["工单".repeat(2000)], vec!["x".repeat(2042)], vec!["x".repeat(2043)]] {
            let post = wecom(&address, &Letter { lines: lines.clone(), ..letter() });
            let body = body(&post);
            let content = body["text"]["content"].as_str().unwrap();
            assert!(content.len() <= 2048 && content.len() > 2040, "{}", content.len());
            assert_eq!(content.ends_with('…'), lines[0].len() + "Drift\n".len() > 2048);
        }
    }

    #[test]
    fn a_webhook_is_signed_by_the_standard_and_keeps_its_id() {
        let key = secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let post = webhook(&url("https://h.example/x"), &key, &letter(), at(1_614_265_330_000)).unwrap();
        let header = |name| post.headers.iter().find(|(given, _)| *given == name).unwrap().1.clone();
        assert_eq!(header("webhook-id"), letter().message_id);
        assert_eq!(header("webhook-timestamp"), "1614265330");
        // Worked out beside: HMAC-SHA256 of "id.timestamp.body" under the decoded key.
        let key = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&key, &format!("{}.1614265330.{}", letter().message_id, post.body));
        assert_eq!(header("webhook-signature"), format!("v1,{signed}"));
        let later = webhook(
            &url("https://h.example/x"),
            &secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
            &letter(),
            at(1_614_265_390_000),
        )
        .unwrap();
        assert_eq!((later.body, &later.headers[0]), (post.body, &post.headers[0]));
    }

    #[test]
    fn pitfall_38_a_robot_took_it_only_where_its_body_says_so() {
        for (status, body, taken, pause) in [
            (200, r#"{"errcode":0,"errmsg":"ok"}"#, true, None),
            (200, r#"{"code":0,"msg":"success","data":{}}"#, true, None),
            (200, r#"{"StatusCode":0,"StatusMessage":"success","code":0,"data":{},"msg":"success"}"#, true, None),
            (200, r#"{"StatusCode":0,"StatusMessage":"success"}"#, true, None),
            (200, r#"{"errcode":310000,"errmsg":"sign not match"}"#, false, None),
            (200, r#"{"errcode":130101,"errmsg":"send too fast"}"#, false, Some(DINGTALK_PENALTY)),
            (200, r#"{"errcode":45009,"errmsg":"api freq out of limit"}"#, false, Some(A_MINUTE)),
            (200, r#"{"code":19021,"msg":"sign match fail"}"#, false, None),
            (200, r#"{"code":9499,"msg":"too many request"}"#, false, Some(A_MINUTE)),
            (200, r#"{"ok":true}"#, false, None),
            (200, "<html>log in</html>", false, None),
            (200, "", false, None),
            (500, r#"{"errcode":0}"#, false, None),
            (429, "", false, Some(A_MINUTE)),
        ] {
            let verdict = robots_verdict(&reply(status, body));
            assert_eq!(verdict.is_ok(), taken, "{status} {body}");
            assert_eq!(verdict.err().and_then(|refused| refused.pause), pause, "{status} {body}");
        }
    }

    #[test]
    fn a_webhook_took_it_with_any_2xx() {
        for (status, taken) in [(200, true), (204, true), (302, false), (400, false), (410, false), (503, false)] {
            assert_eq!(webhooks_verdict(&reply(status, "")).is_ok(), taken, "{status}");
        }
        let asked = Reply { retry_after: Some(Duration::from_secs(90)), ..reply(429, "") };
        assert_eq!(webhooks_verdict(&asked).unwrap_err().pause, Some(Duration::from_secs(90)));
    }
}
