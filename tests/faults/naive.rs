//! The failure of the old system beside this one: an endpoint that adds one for each request, and
//! terminals whose timeout is shorter than the answer takes.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{STAGE, say};
use crate::stage::client::Client;
use crate::stage::proxy::{Link, Proxy};
use crate::stage::service::Setup;
use crate::stage::unique;

/// The delay of the link, in both directions together.
const LATENCY: Duration = Duration::from_millis(200);
/// The timeout of the terminals.
const PATIENCE: Duration = Duration::from_millis(150);
/// Scans made, each sent again so often while the link is slow, and once more after.
const SCANS: i64 = 40;
const TRIES: usize = 4;

#[tokio::test]
async fn a_naive_increment_counts_again_what_its_client_gave_up_and_scanfence_does_not() {
    let _alone = STAGE.lock().await;
    let folder = tempfile::tempdir().expect("a temporary folder");
    let service = Setup::embedded(folder.path()).start().await;
    let planned = service.client().put_work_order("W", &json!({ "planned_quantity": 1_000 })).await;
    assert!(planned.status.is_success(), "{}", planned.text());
    let (naive, naive_count) = naive_increment().await;

    let ours = service.base_url();
    tokio::join!(scan_impatiently(&naive), scan_impatiently(&ours));
    let naive = naive_count.load(Ordering::Relaxed);
    let ours = service.client().work_order("W").await["input_quantity"].as_i64().expect("a quantity");
    say(format_args!(
        "{SCANS} scans over a link of {LATENCY:?}, clients that wait {PATIENCE:?}: naive {naive}, Scanfence {ours}"
    ));
    assert_eq!(ours, SCANS);
    assert!(naive > SCANS, "the naive one counts twice: otherwise the fault shows nothing");
}

/// Makes the scans through a slow link, and has each answered in the end.
async fn scan_impatiently(url: &str) {
    let link = Proxy::before(url).await;
    link.set(Link::Slow(LATENCY / 2));
    let client = Client::new(link.url().trim_end_matches('/'));
    let scan = json!({ "counter": "input" });
    let mut terminals = JoinSet::new();
    for _ in 0..SCANS {
        let (client, id, scan) = (client.clone(), unique("k"), scan.clone());
        terminals.spawn(async move {
            for _ in 0..TRIES {
                let answered = timeout(PATIENCE, client.try_scan("W", &id, &scan)).await;
                assert!(answered.is_err(), "the link is slower than that");
            }
            id
        });
    }
    let ids = terminals.join_all().await;
    link.set(Link::Good);
    for id in ids {
        assert!(client.scan("W", &id, &scan).await.status.is_success());
    }
}

/// An endpoint without request ids, as it is written in a minute; its URL, and its count.
async fn naive_increment() -> (String, Arc<AtomicI64>) {
    let count: Arc<AtomicI64> = Arc::default();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port of loopback");
    let url = format!("http://{}", listener.local_addr().expect("it is bound"));
    let counting = Arc::clone(&count);
    // Ends with the test's runtime.
    tokio::spawn(async move {
        while let Ok((connection, _)) = listener.accept().await {
            let count = Arc::clone(&counting);
            tokio::spawn(async move {
                let _ = add_one(connection, &count).await;
            });
        }
    });
    (url, count)
}

/// Reads one request, adds one, and says so.
async fn add_one(connection: TcpStream, count: &AtomicI64) -> std::io::Result<()> {
    let mut connection = BufReader::new(connection);
    let mut length = 0;
    let mut line = String::new();
    while connection.read_line(&mut line).await? > 2 {
        let header = line.to_ascii_lowercase();
        length = header.strip_prefix("content-length:").map_or(Ok(length), |text| text.trim().parse()).unwrap_or(0);
        line.clear();
    }
    connection.read_exact(&mut vec![0; length]).await?;
    count.fetch_add(1, Ordering::Relaxed);
    connection.write_all(b"HTTP/1.1 201 Created\r\nconnection: close\r\ncontent-length: 0\r\n\r\n").await
}
