//! The service as a process.

use serde_json::json;

use crate::plant::Plant;
use crate::stage::postgres::Postgres;
use crate::stage::receivers::{Answer, GOOD, MailReceiver, Smtp, WebReceiver};
use crate::stage::redis::Redis;
use crate::stage::service::Setup;
use crate::stage::{SOON, eventually};

// Long: one service runs through all of it; starting another for each part would take seconds.
pub async fn a_service_tells_people_of_drift_and_bursts_and_shows_no_secret(plant: Plant) {
    let (good, stalled) = (WebReceiver::start(GOOD).await, WebReceiver::start(Answer::Stall).await);
    let failing = WebReceiver::start(Answer::Http("200 OK", "", r#"{"errcode":1,"errmsg":"no TOKENTOKEN"}"#)).await;
    let mail = MailReceiver::start(Smtp::Good).await;
    let channels = json!([
        {"name": "good", "kind": "dingtalk", "url": good.url(), "secret": "SECRETSECRET", "allow_private": true},
        {"name": "stalled", "kind": "wecom", "url": stalled.url(), "allow_private": true},
        {"name": "failing", "kind": "wecom", "url": failing.url(), "allow_private": true, "language": "zh-CN"},
        {"name": "night", "kind": "mail", "url": format!("smtp://127.0.0.1:{}", mail.port()), "tls": false,
         "from": "scanfence@plant.example", "to": ["shift@plant.example"], "allow_private": true},
        {"name": "outside", "kind": "wecom", "url": good.url()},
    ]);
    let setup = plant.setup().set("SCANFENCE_ALARM_CHANNELS", &channels.to_string());
    let setup = setup.set("SCANFENCE_CHECK_RECENT", "off").set("SCANFENCE_CHECK_FULL", "off");
    let mut service = setup.start().await;
    plant.finding("P2025", 0).await;
    let has = |titles: Vec<String>, title: &str| titles.iter().any(|seen| seen == title).then_some(());
    let firing = async || has(good.titles(), "[Scanfence] Drift in a work order");
    eventually("the drift is told", SOON, firing).await;
    eventually("by mail too", SOON, async || (!mail.mails().is_empty()).then_some(())).await;
    eventually("the stalled one was tried", SOON, async || (!stalled.received().is_empty()).then_some(())).await;
    let chinese = async || failing.received().first().map(|message| message.text().to_owned());
    let text = eventually("the failing one was tried", SOON, chinese).await;
    assert!(text.starts_with("[Scanfence] 1 个工单数量与记录不符\n• P2025："), "{text}");

    // During that time a scanner repeats a scan, and each scan gets its answer.
    let client = service.client();
    let json = ("content-type", "application/json");
    client.request("PUT", "/v1/work-orders/W1", &[json], r#"{"planned_quantity":500}"#).await.unwrap();
    let scan = r#"{"counter":"input","barcode":"B1","station":"L3-T2"}"#;
    for n in 0..21 {
        let key = format!("burst-{n}");
        let reply = client.request("POST", "/v1/work-orders/W1/scans", &[json, ("idempotency-key", &key)], scan).await;
        assert_eq!(reply.unwrap().status.as_u16(), if n == 0 { 201 } else { 409 });
    }
    let firing = async || has(good.titles(), "[Scanfence] Duplicates at a station");
    eventually("the burst is told", SOON, firing).await;

    let shown = eventually("failing channels are shown", SOON, async || {
        let reply = client.request("GET", "/readyz", &[], "").await.ok()?;
        assert!(reply.status.is_success(), "scans are counted all the same");
        let ready: serde_json::Value = serde_json::from_slice(&reply.body).ok()?;
        let failing = ready["checks"]["alarms"]["failing"].as_array()?.clone();
        (failing.contains(&"failing".into()) && failing.contains(&"outside".into())).then_some(ready)
    })
    .await;
    assert_eq!((&shown["status"], &shown["checks"]["alarms"]["status"]), (&json!("warn"), &json!("warn")));

    let listed = setup.command(&["alarms", "--output", "json"]).await;
    assert_eq!(listed.status.code(), Some(0));
    let all: serde_json::Value = serde_json::from_slice(&listed.stdout).unwrap();
    let kinds: Vec<&str> =
        all["open"].as_array().unwrap().iter().map(|a| a["cause"]["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["drift", "duplicate-burst"]);
    assert_eq!(all["channels"][2]["last_error"], "HTTP 200, code 1 no ***");
    let error = all["channels"][4]["last_error"].as_str().unwrap();
    assert!(error.contains("in the plant's own network"), "{error}");
    assert!(all["channels"][0]["last_delivered_at"].is_string());

    let mut outputs = vec![listed, setup.command(&["alarms"]).await, setup.command(&["config"]).await];
    for (channel, code, part) in [
        ("good", 0, "good: delivered"),
        ("failing", 1, "failing: not delivered: HTTP 200, code 1"),
        ("none", 2, "night"),
    ] {
        let tested = setup.command(&["alarms", "test", channel]).await;
        let said = [&tested.stdout[..], &tested.stderr].concat();
        assert_eq!(tested.status.code(), Some(code), "{}", String::from_utf8_lossy(&said));
        assert!(String::from_utf8_lossy(&said).contains(part), "{}", String::from_utf8_lossy(&said));
        outputs.push(tested);
    }
    assert!(good.titles().contains(&"[Scanfence] Test".to_owned()));

    plant.repair("P2025").await;
    let resolved = async || has(good.titles(), "[Scanfence] Resolved: Drift in a work order");
    eventually("its end is told", SOON, resolved).await;

    let metrics = client.request("GET", "/metrics", &[], "").await.unwrap();
    assert_eq!(service.terminate(SOON).await, Some(0), "a stalled channel does not hold it up");
    let mut texts = vec![service.log(), metrics.text(), shown.to_string()];
    texts.extend(
        outputs
            .iter()
            .flat_map(|output| [&output.stdout, &output.stderr])
            .map(|bytes| String::from_utf8_lossy(bytes).into_owned()),
    );
    for text in texts {
        assert!(!text.contains("TOKENTOKEN") && !text.contains("SECRETSECRET"), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_and_the_database_that_die_are_told_of_while_they_are_away() {
    let (mut redis, mut server) = (Redis::start(), Postgres::start(&[]).await);
    let receiver = WebReceiver::start(GOOD).await;
    let channels = json!([{"name": "good", "kind": "wecom", "url": receiver.url(), "allow_private": true}]);
    let setup = Setup::shared(&server.url("postgres"))
        .redis(&redis.url())
        .set("SCANFENCE_ALARM_CHANNELS", &channels.to_string())
        .set("SCANFENCE_ALARM_AFTER", "1s");
    let _service = setup.start().await;
    let count = |title: &str| receiver.titles().iter().filter(|seen| *seen == title).count();
    redis.kill();
    let within = 2 * SOON;
    eventually("Redis is told of", within, async || (count("[Scanfence] Redis does not answer") == 1).then_some(()))
        .await;
    server.kill9().await;
    let told = async || (count("[Scanfence] Database failing") == 1).then_some(());
    eventually("the database is told of, without it", within, told).await;
    server.start_again().await;
    eventually("it is written down", within, async || {
        let listed = setup.command(&["alarms", "--output", "json"]).await;
        let all: serde_json::Value = serde_json::from_slice(&listed.stdout).ok()?;
        let open = all["open"].as_array()?.iter().filter_map(|alarm| alarm["cause"]["kind"].as_str());
        open.collect::<Vec<_>>().contains(&"storage-failing").then_some(())
    })
    .await;
    assert_eq!(
        (count("[Scanfence] Redis does not answer"), count("[Scanfence] Database failing")),
        (1, 1),
        "once each"
    );
}
