//! The robots against real servers that misbehave.

#![expect(clippy::unwrap_used, reason = "a test ends at the first surprise")]

mod stage;

use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use scanfence::alarms::senders::address_policy::{self, Lookup};
use scanfence::alarms::senders::{Letter, Refused, Sender, Taken};
use scanfence::domain::channel::{Channel, Language};
use scanfence::domain::time::Timestamp;
use serde_json::{Value, json};
use stage::receivers::{Answer, GOOD, MailReceiver, Smtp, WebReceiver};

fn at(seconds: u64) -> Timestamp {
    Timestamp::parse("2026-01-03T01:00:00Z").unwrap().later(Duration::from_secs(seconds))
}

fn letter() -> Letter {
    Letter {
        message_id: "0192f0c1-6a3e-7c52-9d01-3b7a52c41e01".into(),
        at: at(0),
        language: Language::Chinese,
        title: "[Scanfence] 3 个工单数量与记录不符".into(),
        lines: vec!["• P2025：应为 275，实为 276".into(), ".一行以点开头".into()],
        event: json!({"type": "alarm.firing"}),
    }
}

fn robot(channel: Value) -> Sender {
    robot_with(channel, address_policy::system())
}

fn robot_with(channel: Value, lookup: Lookup) -> Sender {
    let channel: Channel = serde_json::from_value(channel).unwrap();
    Sender::new(channel, lookup).unwrap()
}

fn dingtalk(url: &str) -> Value {
    json!({"name": "d", "kind": "dingtalk", "url": url, "secret": "SECdemo0123456789", "allow_private": true})
}

fn mail(port: u16) -> Value {
    json!({
        "name": "m", "kind": "mail", "url": format!("smtp://127.0.0.1:{port}"), "tls": false,
        "from": "Scanfence <scanfence@plant.example>", "to": ["shift@plant.example", "it@plant.example"],
        "allow_private": true,
    })
}

/// Always these addresses, one call after the other; the last one for good.
fn lookup(answers: &'static [&'static str]) -> Lookup {
    let asked = Arc::new(AtomicUsize::new(0));
    Arc::new(move |_| {
        let turn = asked.fetch_add(1, Ordering::Relaxed).min(answers.len() - 1);
        let address: IpAddr = answers[turn].parse().unwrap();
        Box::pin(async move { Ok(vec![address]) })
    })
}

async fn send(robot: &Sender) -> Result<Taken, Refused> {
    robot.send(&letter(), at(1)).await
}

fn why(sent: Result<Taken, Refused>) -> String {
    sent.unwrap_err().why
}

#[tokio::test]
async fn every_kind_of_web_robot_gets_its_message_and_is_believed() {
    let receiver = WebReceiver::start(GOOD).await;
    let sent = send(&robot(dingtalk(&receiver.url()))).await.unwrap();
    assert_eq!(sent.said, "HTTP 200, code 0 ok");

    let feishu = Answer::Http("200 OK", "", r#"{"StatusCode":0,"StatusMessage":"success","code":0,"msg":"success"}"#);
    receiver.then(feishu);
    let channel = json!({"name": "f", "kind": "feishu", "url": receiver.url(), "secret": "s", "allow_private": true});
    send(&robot(channel)).await.unwrap();

    receiver.then(GOOD);
    let channel = json!({"name": "w", "kind": "wecom", "url": receiver.url(), "allow_private": true});
    send(&robot(channel)).await.unwrap();

    receiver.then(Answer::Http("204 No Content", "", ""));
    let key = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    let channel = json!({"name": "h", "kind": "webhook", "url": receiver.url(), "secret": key, "allow_private": true});
    send(&robot(channel)).await.unwrap();

    let received = receiver.received();
    assert!(received[0].target.starts_with("/robot/send?access_token=TOKENTOKEN&timestamp=1767402001000&sign="));
    assert_eq!(received[0].title(), letter().title);
    assert_eq!(received[1].body["content"]["post"]["zh_cn"]["title"], letter().title);
    assert_eq!(received[1].body["timestamp"], "1767402001");
    assert_eq!(received[2].target, "/robot/send?access_token=TOKENTOKEN");
    let headers = &received[3].headers;
    let verifier = standardwebhooks::Webhook::new(key).unwrap();
    let signed = verifier.sign(&headers["webhook-id"], 1_767_402_001, br#"{"type":"alarm.firing"}"#).unwrap();
    assert_eq!((&headers["webhook-id"], &headers["webhook-signature"]), (&letter().message_id, &signed));
    assert!(received.iter().all(|received| received.headers["content-type"] == "application/json; charset=utf-8"));
}

#[tokio::test]
async fn pitfall_38_a_receiver_that_misbehaves_is_no_success_and_says_why() {
    let receiver = WebReceiver::start(GOOD).await;
    let robot = robot(dingtalk(&receiver.url()));
    for (answer, part, pause) in [
        (Answer::Http("200 OK", "", r#"{"errcode":310000,"errmsg":"sign not match"}"#), "310000 sign not match", None),
        (Answer::Http("200 OK", "", "<html>portal</html>"), "without a code", None),
        (Answer::Http("429 Too Many Requests", "retry-after: 120\r\n", ""), "HTTP 429", Some(120)),
        (Answer::Http("503 Service Unavailable", "retry-after: 7\r\n", "busy"), "HTTP 503", Some(7)),
        (Answer::Http("302 Found", "location: http://127.0.0.1:1/\r\n", ""), "redirects are not followed", None),
        (Answer::Reset, "error sending request", None),
        (Answer::Endless, "without a code", None),
    ] {
        receiver.next(answer.clone());
        let refused = send(&robot).await.unwrap_err();
        assert!(refused.why.contains(part), "{answer:?}: {refused:?}");
        assert_eq!(refused.pause, pause.map(Duration::from_secs), "{answer:?}");
    }
    send(&robot).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_attempt_at_a_receiver_that_stalls_ends() {
    let receiver = WebReceiver::start(Answer::Stall).await;
    assert_eq!(why(send(&robot(dingtalk(&receiver.url()))).await), "no answer in time");
    let receiver = MailReceiver::start(Smtp::Stall).await;
    assert!(send(&robot(mail(receiver.port()))).await.is_err());
}

#[tokio::test]
async fn a_redirect_leads_nowhere() {
    let inner = WebReceiver::start(GOOD).await;
    let location: &'static str = format!("location: {}\r\n", inner.url()).leak();
    for status in ["301 Moved", "302 Found", "303 See Other", "307 Temporary", "308 Permanent"] {
        let receiver = WebReceiver::start(Answer::Http(status, location, "")).await;
        assert!(why(send(&robot(dingtalk(&receiver.url()))).await).contains("redirects"), "{status}");
    }
    assert!(inner.received().is_empty());
}

#[tokio::test]
async fn the_plants_own_network_is_out_of_reach_unless_allowed() {
    let receiver = WebReceiver::start(GOOD).await;
    let port = receiver.port();
    for host in
        ["127.0.0.1", "127.1", "0x7f000001", "2130706433", "[::1]", "[::ffff:127.0.0.1]", "localhost", "0.0.0.0"]
    {
        let mut channel = dingtalk(&format!("http://{host}:{port}/robot"));
        channel["allow_private"] = false.into();
        let why = why(send(&robot(channel)).await);
        assert!(why.contains("within the plant") || why.contains("no address of a channel"), "{host}: {why}");
    }
    let mut channel = mail(port);
    channel["allow_private"] = false.into();
    assert!(why(send(&robot(channel)).await).contains("within the plant"));
    assert!(receiver.received().is_empty());
}

#[tokio::test]
async fn a_name_that_points_elsewhere_the_second_time_gains_nothing() {
    let receiver = WebReceiver::start(GOOD).await;
    let mut channel = dingtalk(&format!("http://robot.example:{}/robot", receiver.port()));
    channel["allow_private"] = false.into();
    // 192.0.2.1 is nobody's; it is refused as such. Then the name turns to loopback.
    let rebinding = robot_with(channel.clone(), lookup(&["192.0.2.1", "127.0.0.1"]));
    assert!(why(send(&rebinding).await).contains("no address of a channel"));
    assert!(why(send(&rebinding).await).contains("within the plant"));
    assert!(receiver.received().is_empty());

    channel["allow_private"] = true.into();
    send(&robot_with(channel, lookup(&["127.0.0.1"]))).await.unwrap();
    assert_eq!(receiver.received()[0].headers["host"], format!("robot.example:{}", receiver.port()));
}

#[tokio::test]
async fn what_a_receiver_repeats_of_our_secrets_is_not_shown() {
    let echo =
        r#"{"errcode":1,"errmsg":"bad token TOKENTOKEN, secret SECdemo0123456789\r\nin access_token=TOKENTOKEN"}"#;
    let receiver = WebReceiver::start(Answer::Http("200 OK", "", echo)).await;
    let refused = why(send(&robot(dingtalk(&receiver.url()))).await);
    assert_eq!(refused, "HTTP 200, code 1 bad token ***, secret ***  in ***");
    drop(receiver);
    let receiver = WebReceiver::start(Answer::Reset).await;
    let refused = why(send(&robot(dingtalk(&receiver.url()))).await);
    assert!(!refused.contains("TOKEN") && !refused.contains("sign="), "{refused}");
}

#[tokio::test]
async fn mail_arrives_whole_and_is_known_by_its_id() {
    let receiver = MailReceiver::start(Smtp::Good).await;
    let robot = robot(mail(receiver.port()));
    let sent = send(&robot).await.unwrap();
    assert!(sent.said.contains("250") && sent.said.contains("queued as 4711"), "{sent:?}");
    send(&robot).await.unwrap();
    let mails = receiver.mails();
    for mail in &mails {
        for part in [
            "Message-ID: <0192f0c1-6a3e-7c52-9d01-3b7a52c41e01@scanfence>\r\n",
            "From: Scanfence <scanfence@plant.example>\r\n",
            "To: shift@plant.example, it@plant.example\r\n",
            "Auto-Submitted: auto-generated\r\n",
            "Content-Type: text/plain; charset=utf-8\r\n",
            "Subject: [Scanfence] 3 =?utf-8?b?",
        ] {
            assert!(mail.contains(part), "{part} is not in {mail}");
        }
    }
    assert_eq!(mails[0], mails[1], "an attempt more is the same mail");
    assert_eq!(mails.len(), 2);
}

#[tokio::test]
async fn a_mail_server_that_misbehaves_is_no_success_and_says_why() {
    let receiver = MailReceiver::start(Smtp::Good).await;
    let robot = robot(mail(receiver.port()));
    for (behaves, part) in [(Smtp::NoMailbox, "no such mailbox"), (Smtp::Later, "later"), (Smtp::Reset, "onnection")] {
        receiver.then(behaves);
        let refused = why(send(&robot).await);
        assert!(refused.contains(part), "{behaves:?}: {refused}");
    }
    receiver.then(Smtp::Good);
    send(&robot).await.unwrap();
}

#[tokio::test]
async fn mail_is_not_sent_in_the_clear_where_tls_is_asked_for() {
    let receiver = MailReceiver::start(Smtp::Good).await;
    for url in ["smtp", "smtps"] {
        let mut channel = mail(receiver.port());
        channel["url"] = format!("{url}://127.0.0.1:{}", receiver.port()).into();
        channel.as_object_mut().unwrap().remove("tls");
        channel["username"] = "u".into();
        channel["secret"] = "PASSWORD".into();
        let refused = why(send(&robot(channel)).await);
        assert!(!refused.contains("PASSWORD"), "{refused}");
    }
    assert!(receiver.mails().is_empty());
}
