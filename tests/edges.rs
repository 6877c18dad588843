//! The edges of the program: slow and greedy clients, overload, starts that are refused,
//! and its commands with their exit codes.

#[path = "edges/connections.rs"]
mod connections;
mod stage;

use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Stdio};

use hyper::StatusCode;
use serde_json::{Value, json};
use sqlx::PgConnection;
use stage::load::assert_unsettled;
use stage::postgres::{Database, Postgres};
use stage::service::{Service, Setup, program};
use stage::{SOON, eventually, unique};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

/// An embedded service, and the folder that holds its data.
async fn embedded(setup: impl FnOnce(Setup) -> Setup) -> (Service, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = setup(Setup::embedded(folder.path())).start().await;
    (service, folder)
}

/// Sends these bytes and no more, and gives what comes until the service ends the connection.
async fn cut_off(service: &Service, bytes: &[u8]) -> String {
    let mut connection = service.client().connect().await.expect("it listens");
    connection.write_all(bytes).await.expect("it listens");
    rest(connection).await
}

async fn rest(mut connection: TcpStream) -> String {
    let mut answer = Vec::new();
    let read = tokio::time::timeout(SOON, connection.read_to_end(&mut answer)).await;
    // A reset also ends the connection.
    let _ = read.expect("the service ends the connection");
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_head_is_cut_off() {
    let (service, _folder) = embedded(|setup| setup.set("SCANFENCE_HEADER_TIMEOUT", "500ms")).await;
    for head in ["", "GET /livez HT", "GET /livez HTTP/1.1\r\nHost: localhost\r\nX-Slow: "] {
        let answer = cut_off(&service, head.as_bytes()).await;
        let told = answer.starts_with("HTTP/1.1 408 ") && answer.contains("request-timeout");
        assert!(if head.is_empty() { answer.is_empty() } else { told }, "{head:?}: {answer}");
    }
    // The second head of a connection has the same limit.
    let second = b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let mut connection = service.client().connect().await.unwrap();
    connection.write_all(second).await.unwrap();
    let mut first = [0; 17];
    connection.read_exact(&mut first).await.unwrap();
    connection.write_all(b"GET /livez HT").await.unwrap();
    let answer = rest(connection).await;
    assert!(answer.contains("HTTP/1.1 408 "), "{answer}");
    assert_eq!(service.client().get("/livez").await.status, StatusCode::OK);
}

#[tokio::test]
async fn a_client_that_does_not_finish_its_body_is_answered_408() {
    let (service, _folder) = embedded(|setup| setup.set("SCANFENCE_REQUEST_TIMEOUT", "1s")).await;
    let head = "POST /v1/work-orders/W1/scans HTTP/1.1\r\nHost: localhost\r\nIdempotency-Key: k1\r\n\
                Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
    let answer = cut_off(&service, head.as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
    let problem: Value = serde_json::from_str(answer.split_once("\r\n\r\n").expect("head and body").1).unwrap();
    assert_eq!((&problem["code"], &problem["applied"]), (&json!("request-timeout"), &json!("unknown")));
    assert_eq!(problem["retryable"], true);
}

/// Rows that another session has locked: nothing can be counted until it releases them.
struct Locked(PgConnection);

impl Locked {
    async fn all(database: &Database) -> Self {
        let mut holder = database.connect().await;
        sqlx::raw_sql("begin; update work_orders set line = line")
            .execute(&mut holder)
            .await
            .expect("rows can be locked");
        Self(holder)
    }

    async fn let_go(mut self) {
        sqlx::raw_sql("rollback").execute(&mut self.0).await.expect("rows can be let go");
    }
}

async fn work_order(service: &Service) -> String {
    let number = unique("W");
    let reply = service.client().put_work_order(&number, &json!({ "planned_quantity": 100_000 })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    number
}

#[tokio::test]
async fn requests_beyond_the_limit_in_flight_are_told_to_come_back() {
    let database = Database::fresh().await;
    let service = Setup::shared(database.url()).set("SCANFENCE_MAX_IN_FLIGHT", "2").start().await;
    let number = work_order(&service).await;
    let rows = Locked::all(&database).await;
    let mut under_way = JoinSet::new();
    for _ in 0..2 {
        let (client, number, key) = (service.client(), number.clone(), unique("k"));
        under_way.spawn(async move { client.scan(&number, &key, &json!({ "counter": "input" })).await });
    }
    let client = service.client();
    let reply = eventually("no more is let in", SOON, async || {
        let reply = client.try_scan(&number, "k", &json!({ "counter": "nonsense" })).await.expect("it answers");
        (reply.status != StatusCode::UNPROCESSABLE_ENTITY).then_some(reply)
    })
    .await;
    assert_eq!((reply.status, reply.code().as_str()), (StatusCode::SERVICE_UNAVAILABLE, "overloaded"));
    assert_unsettled(&reply);
    assert_eq!(client.get("/livez").await.status, StatusCode::OK);
    assert_eq!(client.get("/readyz").await.status, StatusCode::OK);
    rows.let_go().await;
    for reply in under_way.join_all().await {
        assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    }
    assert_eq!(client.work_order(&number).await["input_quantity"], 2);
}

#[tokio::test]
async fn overload_is_answered_at_once_and_takes_no_memory() {
    const FLOOD: usize = 6_000;
    let database = Database::fresh().await;
    let service = Setup::shared(database.url())
        .set("SCANFENCE_QUEUE", "60")
        .set("SCANFENCE_QUEUE_PER_WORK_ORDER", "40")
        .set("RUST_LOG", "error,scanfence::app=info")
        .start()
        .await;
    let numbers = [work_order(&service).await, work_order(&service).await];
    let rows = Locked::all(&database).await;
    let client = service.client();
    let mut sent = JoinSet::new();
    let mut codes = std::collections::BTreeMap::<String, usize>::new();
    let mut before = None;
    for at in 0..FLOOD {
        while sent.len() >= 300 {
            let reply: stage::client::Reply = sent.join_next().await.unwrap().unwrap();
            assert_unsettled(&reply);
            *codes.entry(reply.code()).or_default() += 1;
        }
        if at == FLOOD / 3 {
            // Warm by now: connections, buffers and queues are there.
            before = Some(service.memory());
        }
        let (client, number) = (client.clone(), numbers[at % 2].clone());
        let scan = json!({ "counter": "input", "note": "x".repeat(400) });
        sent.spawn(async move { client.scan(&number, &unique("k"), &scan).await });
    }
    let after = service.memory();
    println!("{codes:?}, {before:?} KiB before, {after} KiB after");
    assert!(codes.get("overloaded").is_some_and(|&count| count > FLOOD / 2), "{codes:?}");
    assert!(after < before.unwrap() + 48 * 1024, "{before:?} KiB before, {after} KiB after");
    rows.let_go().await;
    let mut counted = 0;
    while let Some(reply) = sent.join_next().await {
        let reply = reply.unwrap();
        match reply.status {
            StatusCode::CREATED => counted += 1,
            _ => assert_unsettled(&reply),
        }
    }
    println!("{counted} of those that waited were counted");
    // The service counts again.
    let key = unique("k");
    let reply = eventually("it counts again", SOON, async || {
        let reply = client.scan(&numbers[0], &key, &json!({ "counter": "scrap" })).await;
        (reply.status == StatusCode::CREATED).then_some(reply)
    })
    .await;
    assert_eq!(reply.json()["after"], 1);
}

/// Runs the program to its end; its exit code, stdout and stderr.
fn run(arguments: &[&str], settings: &[(&str, &str)]) -> (Option<i32>, String, String) {
    let home = tempfile::tempdir().expect("a temporary folder");
    let output = Command::new(program())
        .args(arguments)
        .current_dir(home.path())
        .env_clear()
        .envs(settings.iter().copied())
        .stdin(Stdio::null())
        .output()
        .expect("the program is built");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

#[test]
fn wrong_usage_exits_with_2_and_says_what_is_wrong() {
    const SHARED: (&str, &str) = ("DATABASE_URL", "postgres://nobody:word-of-pass@127.0.0.1:1/none");
    for (arguments, settings, said) in [
        (&[][..], &[][..], "Usage"),
        (&["count"], &[], "unrecognized subcommand"),
        (&["serve", "--no-such-flag"], &[], "unexpected argument"),
        (&["serve", "--lease-ttl", "5"], &[], "lease-ttl"),
        (&["serve", "--lease-ttl", "10ms"], &[], "lease-ttl must be at least"),
        (&["serve", "--lease-ttl", "20s", "--lease-hold", "10s"], &[], "lease-hold is shorter"),
        (&["serve", "--queue", "0"], &[], "queue"),
        (&["serve"], &[("SCANFENCE_LISTEN", "localhost")], "must be an IP address and a port"),
        (&["serve"], &[("SCANFENCE_LISTEN", "0.0.0.0:0")], "SCANFENCE_ACCESS=open"),
        (&["serve", "--listen", "[::]:0"], &[], "SCANFENCE_ACCESS=open"),
        (&["serve"], &[("REDIS_URL", "redis://127.0.0.1:1")], "REDIS_URL without DATABASE_URL"),
        (&["serve"], &[SHARED, ("DATABASE_URL_FILE", "/nowhere")], "DATABASE_URL_FILE"),
        (&["serve", "--config", "not-there.toml"], &[], "not-there.toml"),
        (&["serve"], &[SHARED, ("SCANFENCE_LEASE_FALLBACK", "hope")], "lease-fallback"),
        (&["serve"], &[("RUST_LOG", "scanfence=loud=er")], "RUST_LOG"),
    ] {
        let (code, stdout, stderr) = run(arguments, settings);
        assert_eq!(code, Some(2), "{arguments:?} {settings:?}: {stderr}");
        assert!(stderr.contains(said), "{arguments:?} {settings:?}: {stderr}");
        assert!(!stderr.contains("word-of-pass"), "{stderr}");
        assert!(stdout.is_empty(), "data only on stdout: {stdout}");
    }
}

#[test]
fn servers_that_are_not_there_and_addresses_that_are_none_are_told_without_their_secret() {
    let nobody = format!("postgres://nobody:word-of-pass@127.0.0.1:{}/none", stage::free_port());
    for (command, database, expected, said) in [
        ("serve", nobody.as_str(), 1, "PostgreSQL can't be reached"),
        ("migrate", &nobody, 1, "PostgreSQL can't be reached"),
        ("serve", "mysql://root:word-of-pass@127.0.0.1/x", 2, "DATABASE_URL is no PostgreSQL address"),
    ] {
        let settings = [("DATABASE_URL", database), ("SCANFENCE_LISTEN", "127.0.0.1:0")];
        let (code, _, stderr) = run(&[command], &settings);
        assert_eq!(code, Some(expected), "{stderr}");
        assert!(stderr.contains(said), "{stderr}");
        assert!(!stderr.contains("word-of-pass"), "{stderr}");
    }
}

#[tokio::test]
async fn a_service_that_waits_for_its_database_can_be_stopped() {
    let nobody = format!("postgres://nobody@127.0.0.1:{}/none", stage::free_port());
    let mut service = Setup::shared(&nobody).spawn();
    let waits = async || service.log().contains("can't be reached yet").then_some(());
    eventually("it waits", SOON, waits).await;
    assert_eq!(service.terminate(SOON).await, Some(0), "{}", service.log());
}

#[tokio::test]
async fn a_redis_that_is_no_address_is_refused_and_one_that_is_away_is_not() {
    let database = Database::fresh().await;
    let setup = Setup::shared(database.url());
    let (code, log) = setup.clone().redis("http://127.0.0.1:1").refusal().await;
    assert_eq!(code, Some(2), "{log}");
    assert!(log.contains("REDIS_URL"), "{log}");
    let service = setup.redis(&format!("redis://127.0.0.1:{}", stage::free_port())).start().await;
    let number = work_order(&service).await;
    let reply = service.client().scan(&number, "k1", &json!({ "counter": "input" })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
    eventually("the lease is said to be away", SOON, async || {
        let reply = service.client().get("/readyz").await;
        assert_eq!(reply.status, StatusCode::OK, "{reply:?}");
        (reply.json()["checks"]["lease"]["status"] == "warn").then_some(())
    })
    .await;
}

#[tokio::test]
async fn servers_that_acknowledge_what_is_not_on_disk_are_refused() {
    let database = Database::fresh().await;
    let lazy = format!("{}?options=-c%20synchronous_commit%3Doff", database.url());
    let (code, log) = Setup::shared(&lazy).refusal().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("synchronous_commit=off"), "{log}");
    let name = database.url().rsplit('/').next().unwrap();
    let statement = format!("alter database {name} set synchronous_commit = off");
    sqlx::raw_sql(sqlx::AssertSqlSafe(statement)).execute(&mut database.connect().await).await.unwrap();
    let (code, log) = Setup::shared(database.url()).refusal().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("synchronous_commit=off"), "{log}");

    for setting in ["fsync", "full_page_writes"] {
        let postgres = Postgres::start(&[(setting, "off")]).await;
        let (code, log) = Setup::shared(&postgres.url("postgres")).refusal().await;
        assert_eq!(code, Some(1), "{log}");
        assert!(log.contains(&format!("{setting}=off")), "{log}");
    }
}

#[tokio::test]
async fn a_folder_is_made_for_its_owner_alone_and_served_once() {
    let home = tempfile::tempdir().unwrap();
    let data = home.path().join("data");
    let mut first = Setup::embedded(&data).start().await;
    assert_eq!(std::fs::metadata(&data).unwrap().permissions().mode() & 0o777, 0o700);
    let number = work_order(&first).await;

    let (code, log) = Setup::embedded(&data).refusal().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains("in use by another scanfence serve"), "{log}");

    // Commands work beside the running service.
    let folder = data.to_str().unwrap();
    let (code, _, stderr) = run(&["migrate"], &[("SCANFENCE_DATA", folder)]);
    assert_eq!(code, Some(0), "{stderr}");
    let reply = first.client().scan(&number, "k1", &json!({ "counter": "input" })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");

    assert_eq!(first.terminate(SOON).await, Some(0));
    let second = Setup::embedded(&data).start().await;
    assert_eq!(second.client().work_order(&number).await["input_quantity"], 1);
}

#[tokio::test]
async fn migrate_makes_the_tables_before_a_serve_and_does_nothing_beside_it() {
    let database = Database::fresh().await;
    let settings = [("DATABASE_URL", database.url())];
    let (code, _, stderr) = run(&["migrate"], &settings);
    assert_eq!(code, Some(0), "{stderr}");
    let service = Setup::shared(database.url()).start().await;
    let number = work_order(&service).await;
    let (code, _, stderr) = run(&["migrate"], &settings);
    assert_eq!(code, Some(0), "{stderr}");
    let reply = service.client().scan(&number, "k1", &json!({ "counter": "input" })).await;
    assert_eq!(reply.status, StatusCode::CREATED, "{reply:?}");
}

#[test]
fn version_and_config_print_data_and_no_secret() {
    let (code, stdout, _) = run(&["version"], &[]);
    assert_eq!((code, stdout.trim()), (Some(0), concat!("scanfence ", env!("CARGO_PKG_VERSION"))));
    let (code, stdout, _) = run(&["version", "--output", "json"], &[]);
    let version: Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &version["version"]), (Some(0), &json!(env!("CARGO_PKG_VERSION"))));

    let secret = tempfile::tempdir().unwrap();
    let file = secret.path().join("redis");
    std::fs::write(&file, "redis://user:second-word@127.0.0.1:6379\n").unwrap();
    let settings = [
        ("DATABASE_URL", "postgres://scans:first-word@127.0.0.1:5432/scans?password=third-word"),
        ("REDIS_URL_FILE", file.to_str().unwrap()),
        ("SCANFENCE_QUEUE", "77"),
    ];
    for output in ["text", "json"] {
        let (code, stdout, stderr) = run(&["config", "--output", output], &settings);
        assert_eq!(code, Some(0), "{stderr}");
        assert!(!format!("{stdout}{stderr}").contains("-word"), "{stdout}{stderr}");
        assert!(stdout.contains("127.0.0.1:5432") && stdout.contains("77"), "{stdout}");
        if output == "json" {
            let config: Value = serde_json::from_str(&stdout).unwrap();
            assert_eq!(config["queue"]["source"], "environment");
        }
    }
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_body_that_is_too_large_still_reads_why() {
    let data = tempfile::tempdir().unwrap();
    let service = Setup::embedded(data.path()).start().await;
    let body = "x".repeat(3 * 1024 * 1024);
    for framing in [
        format!("Content-Length: {}\r\n\r\n{body}", body.len()),
        format!("Transfer-Encoding: chunked\r\n\r\n{:x}\r\n{body}\r\n0\r\n\r\n", body.len()),
    ] {
        let request = format!(
            "POST /v1/work-orders/W/scans HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIdempotency-Key: k\r\n\
             Content-Type: application/json\r\n{framing}"
        );
        let answer = service.client().raw(request.as_bytes()).await.unwrap();
        assert!(answer.starts_with(b"HTTP/1.1 413 "), "{}", String::from_utf8_lossy(&answer));
    }
}
