//! The commands and the routes, beside a running service.

use std::process::{Child, Command, Output, Stdio};

use scanfence::domain::work_order::BarcodePolicy;
use serde_json::{Value, json};

use crate::floor::Floor;
use crate::shop::{scan, scan_of};
use crate::stage::service::program;
use crate::stage::{SOON, eventually, unique};

/// Runs a command of the program beside a running service.
async fn command(floor: &Floor, args: &[&str]) -> Output {
    let mut command = of(floor, args);
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}

/// Starts a command of the program, and leaves it to the test.
pub fn start(floor: &Floor, args: &[&str]) -> Child {
    of(floor, args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn of(floor: &Floor, args: &[&str]) -> Command {
    let mut command = Command::new(program());
    command.args(args).env_clear().env("USER", "E1024").stdin(Stdio::null()).envs([floor.environment()]);
    command
}

fn json_of(output: &Output) -> Value {
    serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {output:?}"))
}

// Long: one drift goes through every command and route.
pub async fn drift_is_found_shown_repaired_and_resolved_by_commands_and_routes(floor: &Floor) {
    let number = floor.work_order(BarcodePolicy::Once).await;
    floor.count(&[scan_of(&number, "A"), scan(&number)]).await;
    let service = floor.setup().start().await;
    let client = service.client();

    let good = command(floor, &["check", "--full", "--output", "json"]).await;
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    assert_eq!(json_of(&good)["state"], "good");

    let bend = format!("update work_orders set input_quantity = 99 where work_order = '{number}'");
    floor.sql(&bend).await;
    let found = command(floor, &["check", "--full", "--output", "json"]).await;
    assert_eq!(found.status.code(), Some(3), "{found:?}");
    let report = json_of(&found);
    let finding = &report["findings"][0];
    for (field, value) in [
        ("work_order", json!(number)),
        ("kind", json!("quantity")),
        ("counter", json!("input")),
        ("seq", Value::Null),
        ("expected", json!(2)),
        ("actual", json!(99)),
        ("state", json!("open")),
    ] {
        assert_eq!(finding[field], value, "{field}: {report}");
    }
    let shown = command(floor, &["check", "--work-order", number.as_str()]).await;
    assert_eq!(shown.status.code(), Some(3));
    let shown = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.starts_with("drift: range work_order") && shown.contains("quantity"), "{shown}");

    let id = finding["finding_id"].as_str().unwrap();
    let dry = command(floor, &["repair", "--finding", id, "--dry-run", "--output", "json"]).await;
    assert_eq!(dry.status.code(), Some(0), "{dry:?}");
    assert_eq!(json_of(&dry)["after"]["input_quantity"], 2);
    assert_eq!(json_of(&dry)["dry_run"], true);
    assert_eq!(client.work_order(number.as_str()).await["input_quantity"], 99);

    // The routes see the same, and repair it.
    let verdict = client.get("/v1/consistency").await.json();
    assert_eq!((&verdict["good"], &verdict["open_findings"]), (&json!(false), &json!(1)), "{verdict}");
    let listed = client.get("/v1/consistency/findings?state=open").await.json();
    assert_eq!(listed["items"][0]["finding_id"], id, "{listed}");
    let path = format!("/v1/consistency/findings/{id}");
    assert_eq!(client.get(&path).await.json()["actual"], 99);
    let key = unique("k");
    let body = json!({ "reason": "bent by hand", "operator": "E1024" });
    let repair = format!("{path}/repair");
    let repaired = client.json("POST", &repair, &[("idempotency-key", &key)], &body).await.unwrap();
    assert_eq!(repaired.status, 200, "{repaired:?}");
    assert!(!repaired.replayed());
    let again = client.json("POST", &repair, &[("idempotency-key", &key)], &body).await.unwrap();
    assert!(again.replayed());
    assert_eq!(again.body, repaired.body, "the same bytes");
    let other = json!({ "reason": "another" });
    let reused = client.json("POST", &repair, &[("idempotency-key", &key)], &other).await.unwrap();
    assert_eq!((reused.status.as_u16(), reused.code()), (422, "idempotency-key-reused".to_owned()));
    let settled = client.json("POST", &repair, &[("idempotency-key", &unique("k"))], &body).await.unwrap();
    assert_eq!((settled.status.as_u16(), settled.code()), (409, "finding-settled".to_owned()));
    assert_eq!(client.work_order(number.as_str()).await["input_quantity"], 2);

    // Counting goes on where the log stands, though the service has kept the row in memory.
    let counted = client.scan(number.as_str(), &unique("s"), &json!({ "counter": "input" })).await;
    assert_eq!((counted.status.as_u16(), &counted.json()["before"]), (201, &json!(2)), "{counted:?}");

    let started = client.json("POST", "/v1/consistency/checks", &[], &json!({ "range": "full" })).await.unwrap();
    assert_eq!(started.status, 202, "{started:?}");
    let location = started.header("location").unwrap().to_owned();
    let report = eventually("the service runs the check", SOON, async || {
        let report = client.get(&location).await.json();
        report["finished_at"].is_string().then_some(report)
    })
    .await;
    assert_eq!((&report["state"], &report["findings"]), (&json!("good"), &json!([])), "{report}");
    assert_eq!(client.get("/v1/consistency").await.json()["good"], true);
    assert_eq!(client.get(&path).await.json()["state"], "resolved");
    let metrics = client.get("/metrics").await.text();
    assert!(metrics.contains("scanfence_checks_total{range=\"full\",result=\"good\"}"), "{metrics}");

    // What the log can't explain is left to a person.
    floor.sql(&format!("delete from update_log where work_order = '{number}' and seq = 2")).await;
    let gap = command(floor, &["check", "--full", "--output", "json"]).await;
    let gap = json_of(&gap);
    assert_eq!((&gap["findings"][0]["kind"], &gap["findings"][0]["seq"]), (&json!("gap"), &json!(3)), "{gap}");
    let id = gap["findings"][0]["finding_id"].as_str().unwrap();
    let decide = command(floor, &["repair", "--finding", id]).await;
    assert_eq!(decide.status.code(), Some(3), "{decide:?}");
    let repair = format!("/v1/consistency/findings/{id}/repair");
    let decide = client.json("POST", &repair, &[("idempotency-key", &unique("k"))], &body).await.unwrap();
    assert_eq!((decide.status.as_u16(), decide.code()), (409, "decision-needed".to_owned()));

    // And a person decides.
    let without_reason = command(floor, &["repair", "--finding", id, "--accept"]).await;
    assert_eq!(without_reason.status.code(), Some(2), "{without_reason:?}");
    let key = unique("k");
    let body = json!({ "reason": "lost in a restore", "operator": "E1024", "accept": true });
    let accepted = client.json("POST", &repair, &[("idempotency-key", &key)], &body).await.unwrap();
    assert_eq!((accepted.status.as_u16(), &accepted.json()["action"]), (200, &json!("accept")), "{accepted:?}");
    let good = command(floor, &["check", "--full"]).await;
    assert_eq!(good.status.code(), Some(0), "{good:?}");
    floor.sql(&format!("update work_orders set status = 'completed' where work_order = '{number}'")).await;
    let bent = json_of(&command(floor, &["check", "--full", "--output", "json"]).await);
    let id = bent["findings"][0]["finding_id"].as_str().unwrap();
    let repair = format!("/v1/consistency/findings/{id}/repair");
    let nothing = client.json("POST", &repair, &[("idempotency-key", &unique("k"))], &body).await.unwrap();
    assert_eq!((nothing.status.as_u16(), nothing.code()), (422, "invalid-field".to_owned()), "{nothing:?}");
    let shown = command(floor, &["repair", "--finding", id, "--accept", "--reason", "so be it"]).await;
    assert_eq!(shown.status.code(), Some(1), "{shown:?}");
    assert_eq!(command(floor, &["repair", "--finding", id]).await.status.code(), Some(0));

    for (args, code) in [
        (&["check", "--since", "yesterday"][..], 2),
        (&["check", "--full", "--work-order", "W"], 2),
        (&["check", "--work-order", "W-none"], 1),
        (&["repair"], 2),
        (&["repair", "--finding", "none"], 1),
    ] {
        let output = command(floor, args).await;
        assert_eq!(output.status.code(), Some(code), "{args:?}: {output:?}");
    }
}
