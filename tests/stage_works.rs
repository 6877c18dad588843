//! Tests of the stage: with a broken stage the other tests would prove nothing.

mod stage;

use std::time::{Duration, Instant};

use bytes::Bytes;
use sqlx::{Connection as _, PgConnection};
use stage::client::Client;
use stage::clock::Clock;
use stage::disk::Disk;
use stage::postgres::{Database, Postgres};
use stage::proxy::{Link, Proxy};
use stage::service::Setup;
use stage::{SOON, database_url, eventually};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

async fn one(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    sqlx::query_scalar("select 1").fetch_one(connection).await
}

async fn is_there(name: &str) -> bool {
    let mut connection = PgConnection::connect(&database_url()).await.expect("the shared server");
    let found = sqlx::query_scalar("select exists (select from pg_database where datname = $1)").bind(name);
    found.fetch_one(&mut connection).await.expect("the list of databases")
}

async fn name_of(database: &Database) -> String {
    let name = sqlx::query_scalar("select current_database()::text");
    name.fetch_one(&mut database.connect().await).await.expect("its name")
}

#[tokio::test]
async fn a_database_is_dropped_at_the_end_though_sessions_are_left_in_it() {
    let database = Database::fresh().await;
    let name = name_of(&database).await;
    let mut left = database.connect().await;
    sqlx::raw_sql("begin; select 1").execute(&mut left).await.unwrap();
    assert_eq!(database.idle_in_transaction().await, 1);
    drop(database);
    assert!(!is_there(&name).await);
}

#[tokio::test]
async fn a_database_is_dropped_when_its_test_fails() {
    let (tell, told) = tokio::sync::oneshot::channel();
    let failing = tokio::spawn(async {
        let database = Database::fresh().await;
        tell.send(name_of(&database).await).unwrap();
        std::panic::resume_unwind(Box::new("a failed assertion")) // without a word on stderr
    });
    assert!(failing.await.is_err_and(|error: tokio::task::JoinError| error.is_panic()));
    assert!(!is_there(&told.await.unwrap()).await);
}

#[tokio::test]
async fn a_private_server_is_durable_and_comes_back_after_stop_and_kill() {
    let mut postgres = Postgres::start(&[("max_connections", "20")]).await;
    let database = Database::on(&postgres.url("postgres")).await;
    let mut connection = database.connect().await;
    for (setting, value) in [("fsync", "on"), ("synchronous_commit", "on"), ("max_connections", "20")] {
        let shown = sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&mut connection).await;
        assert_eq!(shown.unwrap_or_else(|error| error.to_string()), value, "{setting}");
    }
    sqlx::raw_sql("create table kept (n integer)").execute(&mut connection).await.unwrap();

    postgres.restart_fast().await;
    one(&mut connection).await.expect_err("sessions end with the server");
    let mut connection = database.connect().await;
    sqlx::raw_sql("insert into kept values (1)").execute(&mut connection).await.unwrap();

    postgres.kill9().await;
    one(&mut connection).await.expect_err("sessions end with the server");
    PgConnection::connect(database.url()).await.expect_err("nobody is there");
    postgres.start_again().await;
    let count: i64 =
        sqlx::query_scalar("select count(*) from kept").fetch_one(&mut database.connect().await).await.unwrap();
    assert_eq!(count, 1, "what was committed is there after a crash");
}

#[tokio::test]
async fn a_paused_server_answers_once_it_goes_on() {
    let postgres = Postgres::start(&[]).await;
    let mut connection = PgConnection::connect(&postgres.url("postgres")).await.unwrap();
    postgres.pause();
    let mut asked = Box::pin(one(&mut connection));
    tokio::time::timeout(Duration::from_millis(300), &mut asked).await.expect_err("nobody answers");
    postgres.resume();
    assert_eq!(asked.await.unwrap(), 1);
}

#[tokio::test]
async fn a_standby_has_what_was_committed_and_takes_over_alone() {
    let disks = [Disk::pretended(), Disk::small(256)];
    let mut primary = Postgres::start_on(&disks[0], &[("max_connections", "20")]).await;
    let standby = primary.standby_on(&disks[1]).await;
    let mut connection = PgConnection::connect(&primary.url("postgres")).await.unwrap();
    sqlx::raw_sql("create table kept (n integer); insert into kept values (1)").execute(&mut connection).await.unwrap();
    primary.kill9().await;
    standby.promote().await;
    let mut connection = PgConnection::connect(&standby.url("postgres")).await.unwrap();
    sqlx::raw_sql("insert into kept values (2)").execute(&mut connection).await.expect("it waits for no standby");
    let kept: i64 = sqlx::query_scalar("select count(*) from kept").fetch_one(&mut connection).await.unwrap();
    assert_eq!(kept, 2);
}

#[test]
fn a_disk_is_full_until_it_is_freed() {
    for disk in [Disk::small(1), Disk::pretended()] {
        let file = disk.path().join("file");
        let grow_to = |pages: u64| {
            let mut command = std::process::Command::new("fallocate");
            command.args(["--length", &(pages * 4096).to_string()]).arg(&file).envs(disk.environment());
            command.env("LC_ALL", "C"); // its words are looked at
            let done = command.output().expect("fallocate is on the PATH");
            if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) }
        };
        grow_to(1).expect("there is room");
        disk.fill();
        let refused = grow_to(2).expect_err("there is none");
        assert!(refused.contains("No space left on device"), "{refused}");
        grow_to(1).expect("what is there is there");
        disk.free();
        grow_to(2).expect("there is room again");
    }
}

#[test]
fn a_clock_goes_ahead_and_back_for_one_process() {
    let clock = Clock::right();
    let now = |clock: &Clock| -> i64 {
        let said = std::process::Command::new("date").arg("+%s").envs(clock.environment()).output().unwrap();
        String::from_utf8(said.stdout).unwrap().trim().parse().expect("seconds")
    };
    let before = now(&clock);
    for step in [3600, -3600, 0] {
        clock.step(step);
        let ahead = now(&clock) - before - step;
        assert!((0..60).contains(&ahead), "{ahead} s too much after a step of {step}");
    }
}

/// A server that answers every byte with the next one.
async fn successor() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
    let url = format!("tcp://{}", listener.local_addr().expect("it is bound"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                while let Ok(byte) = stream.read_u8().await {
                    stream.write_u8(byte + 1).await?;
                }
                std::io::Result::Ok(())
            });
        }
    });
    url
}

async fn ask(stream: &mut TcpStream, byte: u8) -> std::io::Result<u8> {
    stream.write_u8(byte).await?;
    stream.read_u8().await
}

async fn silent(stream: &mut TcpStream) {
    let wait = Duration::from_millis(200);
    tokio::time::timeout(wait, stream.read_u8()).await.expect_err("nothing passes");
}

#[tokio::test]
async fn a_link_passes_and_delays_and_stalls() {
    let proxy = Proxy::before(&successor().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
    assert_eq!(proxy.connections(), 1);

    proxy.set(Link::Slow(Duration::from_millis(50)));
    let asked = Instant::now();
    assert_eq!(ask(&mut stream, 2).await.unwrap(), 3);
    assert!(asked.elapsed() >= Duration::from_millis(100), "there and back: {:?}", asked.elapsed());

    // A byte each way, at so many a second.
    proxy.set(Link::Narrow(20));
    let asked = Instant::now();
    assert_eq!(ask(&mut stream, 2).await.unwrap(), 3);
    assert!(asked.elapsed() >= Duration::from_millis(100), "there and back: {:?}", asked.elapsed());

    proxy.set(Link::Jitter(Duration::from_millis(20)));
    for byte in 0..20 {
        assert_eq!(ask(&mut stream, byte).await.unwrap(), byte + 1, "in order, whatever the delay");
    }

    for stalled in [Link::Stalled, Link::AnswersStalled] {
        proxy.set(stalled);
        stream.write_u8(3).await.unwrap();
        silent(&mut stream).await;
        proxy.set(Link::Good);
        assert_eq!(stream.read_u8().await.unwrap(), 4, "what was stalled is not lost");
    }

    drop(stream);
    eventually("its end passes too", SOON, async || (proxy.connections() == 0).then_some(())).await;
}

#[tokio::test]
async fn a_link_leads_new_connections_elsewhere() {
    let proxy = Proxy::before("tcp://127.0.0.1:1").await;
    let mut nowhere = TcpStream::connect(proxy.address()).await.unwrap();
    ask(&mut nowhere, 1).await.expect_err("nobody is there");
    let elsewhere = successor().await;
    proxy.lead_to(elsewhere.trim_start_matches("tcp://").parse().unwrap());
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
}

#[tokio::test]
async fn a_link_is_reset_or_cut_within_an_answer() {
    let proxy = Proxy::before(&successor().await).await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    proxy.set(Link::AnswersCutAfter(2));
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
    assert_eq!(ask(&mut stream, 2).await.unwrap(), 3);
    ask(&mut stream, 3).await.expect_err("the third byte is cut off");
    assert_eq!(proxy.cuts(), 1);

    proxy.set(Link::Good);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
    proxy.reset().await;
    let reset = ask(&mut stream, 1).await.expect_err("it is reset");
    assert_eq!(reset.kind(), std::io::ErrorKind::ConnectionReset);

    proxy.set(Link::Down);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    ask(&mut stream, 1).await.expect_err("those that come are reset");
    proxy.set(Link::Good);
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert_eq!(ask(&mut stream, 1).await.unwrap(), 2);
}

#[tokio::test]
async fn a_database_is_reached_by_a_proxy() {
    let database = Database::fresh().await;
    let proxy = Proxy::before(database.url()).await;
    let mut connection = PgConnection::connect(proxy.url()).await.unwrap();
    assert_eq!(one(&mut connection).await.unwrap(), 1);
    // The request arrives and is done; its answer doesn't come back.
    proxy.set(Link::AnswersCutAfter(0));
    sqlx::raw_sql("create table made (n integer)").execute(&mut connection).await.expect_err("no answer");
    let made: bool = sqlx::query_scalar("select to_regclass('made') is not null")
        .fetch_one(&mut database.connect().await)
        .await
        .unwrap();
    assert!(made);
}

#[tokio::test]
async fn the_client_sends_once_and_returns_every_byte() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let client = Client::new(&format!("http://{}", listener.local_addr().unwrap()));
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"{\"counter\":\"input\"}") {
            request.push(stream.read_u8().await.unwrap());
        }
        let answer = "HTTP/1.1 201 Created\r\nIdempotency-Replayed: true\r\nContent-Length: 7\r\n\r\n{\"a\":1}";
        stream.write_all(answer.as_bytes()).await.unwrap();
        (String::from_utf8(request).unwrap(), listener)
    });
    let reply = client.scan("P1", "k 1", &serde_json::json!({ "counter": "input" })).await;
    assert_eq!((reply.status.as_u16(), reply.replayed()), (201, true));
    assert_eq!((&reply.body, reply.json()["a"].as_i64()), (&Bytes::from_static(b"{\"a\":1}"), Some(1)));
    let (request, listener) = server.await.unwrap();
    assert!(request.starts_with("POST /v1/work-orders/P1/scans HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\nidempotency-key: k 1\r\n"), "{request}");

    // One that is cut off is reported, not sent again.
    let scan = serde_json::json!({});
    let (reply, ()) = tokio::join!(client.try_scan("P1", "k 2", &scan), async {
        drop(listener.accept().await.unwrap());
    });
    reply.expect_err("no answer");
    tokio::time::timeout(Duration::from_millis(200), listener.accept()).await.expect_err("it is sent once");
}

#[tokio::test]
async fn the_service_starts_pauses_stops_and_dies_as_it_is_told() {
    let data = tempfile::tempdir().unwrap();
    let setup = Setup::embedded(data.path());
    let mut service = setup.start().await;
    service.pause();
    let client = service.client();
    let mut asked = Box::pin(client.get("/livez"));
    tokio::time::timeout(Duration::from_millis(200), &mut asked).await.expect_err("nobody answers");
    service.resume();
    assert_eq!(asked.await.status, 200);
    assert_eq!(service.terminate(SOON).await, Some(0));
    assert_eq!(service.logged("listening").len(), 1);

    let mut service = setup.start().await;
    let (code, log) = setup.refusal().await;
    assert_eq!(code, Some(1), "one folder, one service: {log}");
    service.kill9();
    assert_eq!(service.end(SOON).await, None, "no exit code: it was killed");
    setup.start().await;
}
